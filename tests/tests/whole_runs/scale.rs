use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;
use shared::run::Outcome;
use tests::scale::Seen;
use tests::{Platform, check_outcome, test};

/// States on loops that go round as long as something takes, whatever the estate.
const WAITING: [&str; 8] = [
    "Await inventories",
    "Refresh statuses",
    "Anything more to await?",
    "Wait for the next refresh",
    "Create destination",
    "Destination settled?",
    "Wait for the destination stack",
    // The branch that was first ends the wait.
    "Nothing more to await",
];

async fn run_over(
    platform: &Platform,
    account: &str,
    run_id: &str,
    buckets: usize,
) -> Result<(BTreeMap<String, u64>, u64)> {
    let names: Vec<String> = (0..buckets)
        .map(|number| format!("      - {{name: {run_id}-{number:02}, objects: [{{key: a}}]}}\n"))
        .collect();
    let names = names.concat();
    let estate = format!("accounts:\n  - id: \"{account}\"\n    buckets:\n{names}");
    platform.build(&estate).await?;
    let mut input = platform.input(&[account]);
    input["run_id"] = json!(run_id);
    input["athena_table_name"] = json!(run_id);
    let ended = platform.harvest(&input).await?;
    check_outcome(&ended, Outcome::Complete);
    assert_eq!(ended.parts.buckets.len(), buckets);
    let mut seen = Seen::default();
    seen.add_whole(platform, &ended.execution.arn).await?;
    let mut states = seen.states;
    states.retain(|name, _| !WAITING.contains(&name.as_str()) && name != "Every bucket is settled");
    Ok((states, seen.largest_payload))
}

#[test]
fn transitions_and_payloads_do_not_grow_with_buckets() {
    test(async |platform| {
        let few = run_over(platform, "445000000001", "scalefew", 3).await?;
        let many = run_over(platform, "445000000002", "scalemny", 30).await?;
        assert_eq!(few.0, many.0);
        assert!(few.0.contains_key("Configure inventories"), "{few:?}");
        // Both run ids and accounts have the same length; counts may have a digit more.
        assert!(many.1 <= few.1 + 16, "{} and {} bytes", few.1, many.1);
        Ok(())
    });
}
