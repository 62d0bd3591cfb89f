use anyhow::{Context, Result};
use aws_sdk_dynamodb::types::AttributeValue;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use shared::ids::RunId;
use shared::run::Outcome;
use tests::{Platform, leftovers, objects_under, test};

/// The Harvester as it is deployed.
const HARVESTER: &str = include_str!("../../../state-machines/harvester.asl.json");
/// The state that waits for the reports, with everything in it.
const WAITING: &str = "Wait for the inventory reports";
/// Executions at the same time.
const AT_ONCE: usize = 5;

/// Reports of one account come at once, those of the other never.
const ESTATE: &str = r#"
accounts:
  - id: "440000000001"
    buckets:
      - {name: stopping-virginia, objects: [{pattern: "a/{n}", count: 10}]}
      - {name: stopping-ireland, region: eu-west-1, objects: [{pattern: "a/{n}", count: 10}]}
  - id: "440000000002"
    buckets:
      - {name: stopping-held, objects: [{pattern: "a/{n}", count: 10}], faults: {hold: true}}
      - name: stopping-also-held
        region: eu-west-1
        objects: [{pattern: "a/{n}", count: 10}]
        faults: {hold: true}
"#;
const PROMPT: &str = "440000000001";
const HELD: &str = "440000000002";

/// One execution to be stopped.
#[derive(Debug)]
struct Case {
    run_id: String,
    /// The state it is stopped in.
    state: String,
    /// Whether it waits for reports there.
    is_waiting: bool,
    /// How Cleanup is asked.
    cleanup: Value,
    /// Whether the run's own record is lost before Cleanup.
    loses_record: bool,
}

/// States in which time passes. Children of distributed maps are executions of their own and stop
/// with the map.
fn lasting_states(scope: &Value, found: &mut Vec<String>) {
    let states = scope["States"].as_object().expect("a scope has states");
    for (name, state) in states {
        if ["Task", "Wait", "Map", "Parallel"]
            .iter()
            .any(|kind| state["Type"] == *kind)
        {
            found.push(name.clone());
        }
        if state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "INLINE" {
            lasting_states(&state["ItemProcessor"], found);
        }
        for branch in state["Branches"].as_array().into_iter().flatten() {
            lasting_states(branch, found);
        }
    }
}

fn cases() -> Result<Vec<Case>> {
    let machine: Value = serde_json::from_str(HARVESTER)?;
    let mut states = Vec::new();
    lasting_states(&machine, &mut states);
    let mut waiting = vec![WAITING.to_owned()];
    for branch in machine["States"][WAITING]["Branches"]
        .as_array()
        .context("the waiting state has branches")?
    {
        lasting_states(branch, &mut waiting);
    }
    // By the number of the case, and by the name of its run.
    let case = |number: usize, state: &str, loses_record: bool| {
        let run_id = format!("stopping{number}");
        let cleanup = if number % 3 == 0 {
            json!({"manual_cleanup": true})
        } else {
            json!({"run_id": run_id})
        };
        Case {
            state: state.to_owned(),
            is_waiting: waiting.iter().any(|name| name == state),
            cleanup,
            run_id,
            loses_record,
        }
    };
    let mut cases: Vec<Case> = states
        .iter()
        .enumerate()
        .map(|(number, state)| case(number, state, false))
        .collect();
    for state in [WAITING, "Publish snapshot"] {
        cases.push(case(cases.len(), state, true));
    }
    Ok(cases)
}

#[test]
fn an_execution_stopped_in_any_state_leaves_nothing_after_cleanup() {
    test(async |platform| {
        platform.build(ESTATE).await?;
        let cases = cases()?;
        assert!(cases.len() > 15, "{cases:#?}");
        stream::iter(&cases)
            .map(|case| async move {
                stop_and_clean_up(platform, case)
                    .await
                    .with_context(|| format!("stopped in {:?}: {case:?}", case.state))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    });
}

async fn stop_and_clean_up(platform: &Platform, case: &Case) -> Result<()> {
    let account = if case.is_waiting { HELD } else { PROMPT };
    let mut input = platform.input(&[account]);
    input["run_id"] = json!(case.run_id);
    input["status_refresh_minutes"] = json!(1);
    input["is_smoke_test"] = json!(case.state == "Seed smoke test");
    input["athena_queries"] = json!([{"catalog": "storage-by-bucket"}]);
    let execution = platform.start_harvester(&input).await?;
    platform.has_entered(&execution, &case.state).await?;
    platform.stop(&execution).await?;
    let stopped = platform.ended(&execution).await?;
    assert_eq!(stopped.status, "ABORTED", "{case:?}: {stopped:#?}");
    if case.loses_record {
        lose_record(platform, &case.run_id).await?;
    }

    platform.clean_up(&case.cleanup).await?;
    platform.clean_up(&case.cleanup).await?;
    let left = leftovers(platform, &case.run_id, &[PROMPT, HELD]).await?;
    assert_eq!(left, [""; 0], "{case:?}");

    let run_id = RunId::try_from(case.run_id.as_str())?;
    let run = platform
        .clients
        .run_table(platform.output("RunTableName"))
        .run(&run_id)
        .await?;
    if case.loses_record {
        assert_eq!(run, None, "{case:?}");
        return Ok(());
    }
    // Stopped in its first state, it may not have got as far as a record.
    let Some(run) = run else {
        assert_eq!(case.state, "Initialize");
        return Ok(());
    };
    if case.state != "Initialize" {
        assert!(run.cleaned_up_at.is_some(), "{case:?}: {run:#?}");
        assert!(run.outcome.is_some(), "{case:?}: {run:#?}");
    }
    if run.outcome == Some(Outcome::Failed) && !run.made_table {
        // What a function had in hand when the execution was stopped it takes back by itself.
        platform
            .eventually("the end of stray rows", async || {
                let rows = objects_under(platform, &format!("inventory/{run_id}/")).await?;
                Ok(rows.is_empty())
            })
            .await?;
    }
    Ok(())
}

/// Deletes the run's own item; what belongs to it stays.
async fn lose_record(platform: &Platform, run_id: &str) -> Result<()> {
    let aws = &platform.aws;
    let config = aws.sdk_config(&aws.host_account_id, &aws.region);
    aws_sdk_dynamodb::Client::new(&config)
        .delete_item()
        .table_name(platform.output("RunTableName"))
        .key("pk", AttributeValue::S(format!("run#{run_id}")))
        .key("sk", AttributeValue::S("run".to_owned()))
        .send()
        .await?;
    Ok(())
}
