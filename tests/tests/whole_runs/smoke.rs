use anyhow::{Context, Result};
use serde_json::{Value, json};
use shared::run::{Outcome, QueryState};
use tests::{
    DEPLOYMENT, Ended, NotificationQueue, Platform, check_outcome, leftovers, objects_under, test,
};

fn estate(account: &str, prefix: &str) -> String {
    format!(
        r#"
accounts:
  - id: "{account}"
    buckets:
      - {{name: {prefix}-virginia, region: us-east-1, objects: [{{key: a}}]}}
      - {{name: {prefix}-ireland, region: eu-west-1, objects: [{{key: a}}]}}
      - {{name: {prefix}-oregon, region: us-west-2, objects: [{{key: a}}]}}
      - {{name: {prefix}-frankfurt, region: eu-central-1}}
"#
    )
}

fn input(platform: &Platform, account: &str, run_id: &str) -> Value {
    let mut input = platform.input(&[account]);
    input["run_id"] = json!(run_id);
    input["is_smoke_test"] = json!(true);
    input["athena_database_name"] = json!(format!("{run_id}_database"));
    input["athena_queries"] = json!([
        {"name": "all of it", "query": "SELECT \"key\" FROM {ATHENA_TABLE}"},
        {"catalog": "storage-by-bucket"},
    ]);
    input
}

/// Nothing of a smoke run stays: no database, table or partition, no rows or totals, no result.
async fn check_nothing_stays(platform: &Platform, ended: &Ended, account: &str) -> Result<()> {
    let Ended { run, parts, .. } = ended;
    let (database, table) = (
        &run.input.athena_database_name,
        &run.input.athena_table_name,
    );
    assert!(!platform.clients.table_exists(database, table).await?);
    assert!(!platform.clients.database_exists(database).await?);
    for kind in ["inventory", "totals"] {
        let prefix = format!("{kind}/{}/", run.run_id);
        assert_eq!(objects_under(platform, &prefix).await?, [""; 0]);
    }
    let results = objects_under(platform, "query-results/").await?;
    for query in &parts.queries {
        let id = query.execution_id.as_deref().context("it was started")?;
        let left: Vec<_> = results.iter().filter(|key| key.contains(id)).collect();
        assert_eq!(left, Vec::<&String>::new());
    }
    let left = leftovers(platform, run.run_id.as_str(), &[account]).await?;
    assert_eq!(left, [""; 0]);
    Ok(())
}

#[test]
fn a_smoke_run_proves_every_region_and_leaves_nothing() {
    test(async |platform| {
        let account = "430000000001";
        platform.build(&estate(account, "smoke")).await?;
        let ended = platform.harvest(&input(platform, account, "smoke")).await?;
        check_outcome(&ended, Outcome::Complete);
        let mut proven: Vec<&str> = ended
            .parts
            .buckets
            .iter()
            .filter(|bucket| bucket.status.name() == "done" && bucket.rows > 0)
            .map(|bucket| bucket.region.as_str())
            .collect();
        proven.sort_unstable();
        let regions = ["eu-central-1", "eu-west-1", "us-east-1", "us-west-2"];
        assert_eq!(proven, regions);
        assert_eq!(ended.parts.queries.len(), 2);
        for query in &ended.parts.queries {
            assert_eq!(query.state, QueryState::Succeeded, "{query:#?}");
            assert_ne!(query.rows, Some(0), "{query:#?}");
        }
        let mail = platform.mail_of("smoke").await?;
        assert!(mail.subject.ends_with("smoke test passed"), "{mail:#?}");
        check_nothing_stays(platform, &ended, account).await
    });
}

#[test]
fn a_smoke_run_fails_and_names_the_region_whose_path_is_broken() {
    test(async |platform| {
        let (account, run_id) = ("430000000002", "smokebroken");
        platform.build(&estate(account, "smoke-broken")).await?;
        // The queue takes nothing from this run's topic in one Region.
        let queue = NotificationQueue::new(platform);
        let topic = format!(
            "arn:aws:sns:eu-west-1:{}:{DEPLOYMENT}-{run_id}",
            platform.aws.host_account_id
        );
        let policy = queue.policy().await?;
        let mut broken: Value = serde_json::from_str(&policy)?;
        let statements = broken["Statement"].as_array_mut();
        statements.context("a policy has statements")?.push(json!({
            "Sid": "Broken", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage",
            "Resource": "*", "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }));
        queue.set_policy(&broken.to_string()).await?;
        let mut input = input(platform, account, run_id);
        input["inventory_timeout_minutes"] = json!(1);
        let ended = platform.harvest(&input).await;
        queue.set_policy(&policy).await?;
        let ended = ended?;

        let execution = &ended.execution;
        assert_eq!(execution.status, "FAILED", "{execution:#?}");
        assert_eq!(execution.error.as_deref(), Some("SmokeTestFailed"));
        let cause = execution.cause.as_deref().unwrap_or_default();
        assert!(
            cause.contains("1 of 4 Regions did not deliver: eu-west-1:"),
            "{cause}"
        );
        for whole in ["eu-central-1", "us-east-1", "us-west-2"] {
            assert!(!cause.contains(whole), "{cause}");
        }
        assert_eq!(ended.run.outcome, Some(Outcome::Failed));
        assert!(ended.run.cleaned_up_at.is_some());
        let mail = platform.mail_of(run_id).await?;
        for part in [&mail.text, &mail.html] {
            assert!(part.contains("SmokeTestFailed"), "{part}");
            assert!(part.contains("nothing is left"), "{part}");
            assert!(part.contains("eu-west-1"), "{part}");
        }
        check_nothing_stays(platform, &ended, account).await
    });
}
