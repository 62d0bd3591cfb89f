//! Two seeds of the runs under faults, of which `fault-runs` runs as many as wanted, and faults that do
//! not pass. A test target of its own: the faults would disturb everything else in the same embedded
//! AWS.

use anyhow::Result;
use local_aws::{FaultKind, FaultPlan, FaultRule};
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{Ended, Platform, check_fault_runs, fault_run, fault_table, leftovers, test};
use tokio::sync::Mutex;

/// A plan of faults is the whole embedded AWS's, so the tests take turns.
static TURN: Mutex<()> = Mutex::const_new(());

#[test]
fn runs_end_and_tell_the_truth_while_aws_misbehaves() {
    test(async |platform| {
        let _turn = TURN.lock().await;
        let mut runs = Vec::new();
        for seed in [3, 4] {
            runs.push(fault_run(platform, seed).await?);
        }
        eprintln!("{}", fault_table(&runs));
        for run in &runs {
            assert!(run.faults.len() >= 8, "few faults: {:?}", run.faults);
        }
        check_fault_runs(&runs)
    });
}

#[test]
fn an_account_that_no_function_survives_is_named_and_the_run_ends() {
    test(async |platform| {
        let _turn = TURN.lock().await;
        let ended = run_with_lasting_fault(platform, "listless", "s3", "GET /").await?;
        let [account] = ended.parts.accounts.as_slice() else {
            panic!("{ended:#?}")
        };
        assert!(account.reason.is_some(), "{account:#?}");
        assert!(ended.parts.buckets.is_empty());
        Ok(())
    });
}

#[test]
fn a_region_that_no_function_survives_is_named_and_the_run_ends() {
    test(async |platform| {
        let _turn = TURN.lock().await;
        let ended =
            run_with_lasting_fault(platform, "stackless", "cloudformation", "CreateStack").await?;
        let bucket = ended.bucket("stackless-photos");
        assert_eq!(
            bucket.status,
            InventoryStatus::InventoryConfigurationNotCreated
        );
        let reason = bucket.reason.as_ref().expect("it says why");
        assert!(reason.message.contains("eu-west-1"), "{reason:?}");
        Ok(())
    });
}

/// Runs over one account with one bucket in eu-west-1, while every function that asks for one operation
/// is killed.
async fn run_with_lasting_fault(
    platform: &Platform,
    run_id: &str,
    service: &str,
    operation: &str,
) -> Result<Ended> {
    // An account of its own for each run.
    let account = &format!("54{:010}", run_id.len());
    let estate = platform
        .build(&format!(
            r#"
accounts:
  - id: "{account}"
    buckets:
      - {{name: {run_id}-photos, region: eu-west-1, objects: [{{pattern: "a/{{n}}", count: 3}}]}}
input:
  other: {{run_id: {run_id}, inventory_timeout_minutes: 2, status_refresh_minutes: 1}}
"#
        ))
        .await?;
    let aws = &platform.aws;
    aws.set_fault_plan(&FaultPlan {
        rules: vec![FaultRule {
            service: Some(service.to_owned()),
            operation: Some(operation.to_owned()),
            rate: 1.0,
            at_most: None,
            kind: FaultKind::KillBefore,
        }],
        ..FaultPlan::default()
    })
    .await?;
    let ended = platform
        .harvest(&estate.run_input(&aws.host_account_id))
        .await;
    aws.clear_fault_plan().await?;
    let ended = ended?;
    assert_eq!(ended.execution.status, "SUCCEEDED", "{ended:#?}");
    assert_eq!(ended.run.outcome, Some(Outcome::Partial), "{ended:#?}");
    let left = leftovers(platform, run_id, &[account]).await?;
    assert_eq!(left, Vec::<String>::new());
    Ok(ended)
}
