use std::collections::BTreeSet;

use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::types::InventoryFormat::Parquet;
use local_aws::Call;
use serde::Deserialize;
use serde_json::json;
use shared::run::Outcome;
use tests::{
    DEPLOYMENT, EXISTING_REPORTS, Platform, ReportsBucket, check_outcome, leftovers, rows_in_table,
    test,
};
use tokio::sync::OnceCell;

use crate::documents::text;
use crate::granted::{Actions, granted, is_counted};

const ACCOUNT: &str = "530000000001";

/// Of every kind of bucket that takes a function another way.
const ESTATE: &str = r#"
accounts:
  - id: "530000000001"
    buckets:
      - {name: privileges-plain, region: eu-west-1, objects: [{pattern: "a/{n}", count: 10}]}
      - {name: privileges-virginia, objects: [{pattern: "a/{n}", count: 10}]}
      - {name: privileges-empty, region: eu-west-1}
      - {name: privileges-excluded, region: eu-west-1, objects: [{key: a}]}
      - {name: privileges-existing, region: eu-west-1, objects: [{pattern: "a/{n}", count: 10}]}
      - name: privileges-damaged
        region: eu-west-1
        objects: [{pattern: "a/{n:02}", count: 20}]
        faults: {truncated_file: true, rows_per_file: 5}
      - name: privileges-unfinished
        objects: [{pattern: "a/{n:02}", count: 20}]
        faults: {missing_file: true, rows_per_file: 5}
input:
  exclude: {"530000000001": [privileges-excluded]}
  other: {run_id: privileges, inventory_timeout_minutes: 1, status_refresh_minutes: 1}
"#;

/// For the run that is stopped.
const HELD_ESTATE: &str = r#"
accounts:
  - id: "530000000002"
    buckets:
      - {name: privileges-held, objects: [{pattern: "a/{n}", count: 10}], faults: {hold: true}}
"#;
const HELD: &str = "530000000002";

/// For the smoke run, which needs a Region with buckets.
const SMOKE_ESTATE: &str = r#"
accounts:
  - id: "530000000004"
    buckets:
      - {name: privileges-smoke, region: eu-west-1, objects: [{key: a}]}
"#;
const SMOKE: &str = "530000000004";

/// The calls of all runs, counted before any test here makes calls of its own.
static CALLS: OnceCell<Result<Vec<Call>, String>> = OnceCell::const_new();

/// Takes every function through its paths, once for all tests, and gives the calls that were seen.
pub(crate) async fn calls(platform: &Platform) -> Result<&'static [Call]> {
    let calls = CALLS
        .get_or_init(async || {
            // At the same time: each waits for S3 most of its time.
            let runs = tokio::try_join!(
                Box::pin(real_run(platform)),
                Box::pin(smoke_run(platform)),
                Box::pin(stopped_run(platform))
            );
            runs.map_err(|error| format!("{error:?}"))?;
            let calls = platform.aws.calls().await;
            calls.map_err(|error| format!("{error:?}"))
        })
        .await;
    calls.as_deref().map_err(|error| anyhow!("{error}"))
}

async fn real_run(platform: &Platform) -> Result<()> {
    let estate = platform.build(ESTATE).await?;
    let [reports, ..] = EXISTING_REPORTS;
    let reports = ReportsBucket::make(platform, reports).await?;
    let manifest = reports
        .report_of(ACCOUNT, "privileges-existing", Parquet)
        .await?;
    let mut input = estate.run_input(&platform.aws.host_account_id);
    input["existing_inventories"] =
        json!([{"bucket": "privileges-existing", "manifest": manifest}]);
    input["athena_database_name"] = json!("privileges");
    input["athena_queries"] = json!([{"catalog": "storage-by-bucket"}]);
    let ended = platform.harvest(&input).await?;
    check_outcome(&ended, Outcome::Partial);
    for (bucket, rows) in [
        ("privileges-plain", 10),
        ("privileges-virginia", 10),
        ("privileges-existing", 10),
        ("privileges-damaged", 0),
        ("privileges-unfinished", 0),
    ] {
        assert_eq!(
            rows_in_table(platform, &ended, bucket).await?,
            rows,
            "{bucket}"
        );
    }
    assert_eq!(
        leftovers(platform, "privileges", &[ACCOUNT]).await?,
        [""; 0]
    );
    Ok(())
}

async fn smoke_run(platform: &Platform) -> Result<()> {
    platform.build(SMOKE_ESTATE).await?;
    let mut input = platform.input(&[SMOKE]);
    input["run_id"] = json!("privsmoke");
    input["is_smoke_test"] = json!(true);
    input["athena_database_name"] = json!("privsmoke");
    let ended = platform.harvest(&input).await?;
    assert_eq!(ended.execution.status, "SUCCEEDED", "{ended:#?}");
    Ok(())
}

async fn stopped_run(platform: &Platform) -> Result<()> {
    platform.build(HELD_ESTATE).await?;
    let mut input = platform.input(&[HELD]);
    input["run_id"] = json!("privstopped");
    let execution = platform.start_harvester(&input).await?;
    platform
        .bucket_is("privstopped", "privileges-held", |bucket| bucket.configured)
        .await?;
    platform.stop(&execution).await?;
    platform.ended(&execution).await?;
    platform.clean_up(&json!({"run_id": "privstopped"})).await?;
    assert_eq!(leftovers(platform, "privstopped", &[HELD]).await?, [""; 0]);
    let run = platform.run_of(&execution).await?;
    run.context("it is on record")?;
    Ok(())
}

/// Actions that are granted and that runs on the embedded AWS are not, or not always, seen to ask for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unseen {
    /// Without the deployment's name.
    roles: Vec<String>,
    actions: BTreeSet<String>,
    /// Why the roles have them all the same.
    reason: String,
}

impl Unseen {
    fn tells_of(&self, role: &str, action: &str) -> bool {
        let task = role.strip_prefix(DEPLOYMENT).unwrap_or_default();
        let task = task.trim_start_matches('-');
        self.roles.iter().any(|role| role == task) && self.actions.contains(action)
    }
}

/// Every grant that is not seen in use has its reason there, or it goes.
fn unseen() -> Result<Vec<Unseen>> {
    let all: Vec<Unseen> = serde_yaml_ng::from_str(&text("tests/tests/privileges/unseen.yaml"))?;
    for unseen in &all {
        assert!(unseen.reason.ends_with('.'), "{unseen:?} has no reason");
    }
    Ok(all)
}

/// A role as it is called in an account's ARNs: its name.
fn role_of(call: &Call) -> Option<&str> {
    let (_, role) = call.principal.split_once(":assumed-role/")?;
    Some(role)
}

#[test]
fn every_role_is_granted_what_its_runs_ask_for_and_nothing_else_without_a_reason() {
    test(async |platform| {
        let calls = Box::pin(calls(platform)).await?;
        let granted: Actions = granted()
            .into_iter()
            .filter(|(role, _)| is_counted(role))
            .collect();
        let mut seen = Actions::new();
        let mut refused = BTreeSet::new();
        for call in calls {
            let Some(role) = role_of(call).filter(|role| granted.contains_key(*role)) else {
                continue;
            };
            if call.allowed {
                let actions = seen.entry(role.to_owned()).or_default();
                actions.insert(call.action.clone());
            } else {
                refused.insert(format!("{role} {} {}", call.action, call.last_resource));
            }
        }
        assert_eq!(refused, BTreeSet::new(), "asked for and not granted");

        let reasons = unseen()?;
        let mut unexplained = Vec::new();
        let (mut in_use, mut all) = (0, 0);
        for (role, actions) in &granted {
            let asked = seen.get(role).cloned().unwrap_or_default();
            let stray: Vec<_> = asked.difference(actions).collect();
            assert!(
                stray.is_empty(),
                "{role} did what no policy of its grants: {stray:?}"
            );
            all += actions.len();
            in_use += asked.len();
            let unasked = actions.difference(&asked);
            unexplained.extend(
                unasked
                    .filter(|action| !reasons.iter().any(|why| why.tells_of(role, action)))
                    .map(|action| format!("{role} {action}")),
            );
        }
        eprintln!("{all} actions granted, {in_use} seen in use");
        assert!(
            unexplained.is_empty(),
            "granted and never asked for:\n{}",
            unexplained.join("\n")
        );
        for why in &reasons {
            for (task, action) in why
                .roles
                .iter()
                .flat_map(|task| why.actions.iter().map(move |action| (task, action)))
            {
                let role = format!("{DEPLOYMENT}-{task}");
                let is_granted = granted.get(&role).is_some_and(|all| all.contains(action));
                assert!(
                    is_granted,
                    "{role} {action} needs no reason: it is not granted"
                );
            }
        }
        Ok(())
    });
}
