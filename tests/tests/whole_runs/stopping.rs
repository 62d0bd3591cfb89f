use anyhow::{Context, Result, ensure};
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
const AT_ONCE: usize = 8;

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
/// For the rule alone.
const ESTATE_OF_THE_RULE: &str = r#"
accounts:
  - id: "440000000003"
    buckets:
      - {name: stopping-rule, objects: [{pattern: "a/{n}", count: 10}], faults: {hold: true}}
"#;
const RULE: &str = "440000000003";
const PROMPT: &str = "440000000001";
const HELD: &str = "440000000002";

/// A state, and how one sees in the history that an execution is in it. Of states inside a map or a
/// branch the history holds the tasks only.
#[derive(Debug, Clone)]
struct Moment {
    state: String,
    /// The outermost state it is in, or it itself.
    outermost: String,
    sign: Sign,
}

#[derive(Debug, Clone)]
enum Sign {
    /// The outermost state was entered.
    Entered,
    /// Since then, a task with this resource was scheduled.
    Scheduled(String),
    /// Since then, a task ended: a wait follows it.
    Succeeded,
}

/// One execution to be stopped.
#[derive(Debug)]
struct Case {
    run_id: String,
    /// When it is stopped.
    moment: Moment,
    /// How Cleanup is asked.
    cleanup: Value,
    /// Whether the run's own record is lost before Cleanup.
    loses_record: bool,
}

/// States in which time passes. Children of distributed maps are executions of their own, and go on
/// when the Harvester is stopped.
fn moments(scope: &Value, outermost: Option<&str>, found: &mut Vec<Moment>) {
    let states = scope["States"].as_object().expect("a scope has states");
    for (name, state) in states {
        let sign = match (outermost, state["Type"].as_str()) {
            (None, Some("Task" | "Wait" | "Map" | "Parallel")) => Some(Sign::Entered),
            (Some(_), Some("Task")) => {
                let resource = state["Resource"].as_str().unwrap_or_default();
                Some(Sign::Scheduled(resource.replace("${AWSPartition}", "aws")))
            }
            (Some(_), Some("Wait")) => Some(Sign::Succeeded),
            _ => None,
        };
        let outermost = outermost.unwrap_or(name);
        found.extend(sign.map(|sign| Moment {
            state: name.clone(),
            outermost: outermost.to_owned(),
            sign,
        }));
        if state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "INLINE" {
            moments(&state["ItemProcessor"], Some(outermost), found);
        }
        for branch in state["Branches"].as_array().into_iter().flatten() {
            moments(branch, Some(outermost), found);
        }
    }
}

fn cases() -> Result<Vec<Case>> {
    let machine: Value = serde_json::from_str(HARVESTER)?;
    let mut found = Vec::new();
    moments(&machine, None, &mut found);
    let without_record = found.len();
    for state in [WAITING, "Publish snapshot"] {
        let moment = found.iter().find(|moment| moment.state == state);
        found.push(moment.context("the machine has the state")?.clone());
    }
    let case = |(number, moment): (usize, Moment)| {
        let run_id = format!("stopping{number}");
        let cleanup = if number % 3 == 0 {
            json!({"manual_cleanup": true})
        } else {
            json!({"run_id": run_id})
        };
        Case {
            run_id,
            moment,
            cleanup,
            loses_record: number >= without_record,
        }
    };
    Ok(found.into_iter().enumerate().map(case).collect())
}

/// Waits until an execution is in a state; it must not end before.
async fn reached(platform: &Platform, execution: &str, moment: &Moment) -> Result<()> {
    let aws = &platform.aws;
    let sfn = aws_sdk_sfn::Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region));
    platform
        .eventually(&format!("{moment:?} of {execution}"), async || {
            // Asked first: what happened before its end is then in the history.
            let now = platform.clients.execution(execution).await?;
            let events: Vec<_> = sfn
                .get_execution_history()
                .execution_arn(execution)
                .into_paginator()
                .items()
                .send()
                .try_collect()
                .await?;
            let mut since = events.iter().skip_while(|event| {
                let entered = event.state_entered_event_details();
                entered.is_none_or(|details| details.name() != moment.outermost)
            });
            let is_there = match &moment.sign {
                Sign::Entered => since.next().is_some(),
                Sign::Scheduled(resource) => since.any(|event| {
                    let scheduled = event.task_scheduled_event_details();
                    scheduled.is_some_and(|details| details.resource() == resource)
                }),
                Sign::Succeeded => {
                    since.any(|event| event.task_succeeded_event_details().is_some())
                }
            };
            ensure!(is_there || now.is_running(), "never reached: {now:#?}");
            Ok(is_there)
        })
        .await
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
                    .with_context(|| format!("{case:?}"))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    });
}

async fn stop_and_clean_up(platform: &Platform, case: &Case) -> Result<()> {
    let is_waiting = case.moment.outermost == WAITING;
    let account = if is_waiting { HELD } else { PROMPT };
    let mut input = platform.input(&[account]);
    input["run_id"] = json!(case.run_id);
    input["status_refresh_minutes"] = json!(1);
    input["is_smoke_test"] = json!(case.moment.state == "Seed smoke test");
    input["athena_queries"] = json!([{"catalog": "storage-by-bucket"}]);
    let execution = platform.start_harvester(&input).await?;
    reached(platform, &execution, &case.moment).await?;
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
        assert_eq!(case.moment.state, "Initialize");
        return Ok(());
    };
    if case.moment.state != "Initialize" {
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

#[test]
fn stopping_an_execution_starts_a_cleanup_by_itself() {
    test(async |platform| {
        platform.build(ESTATE_OF_THE_RULE).await?;
        let run_id = "stoppingrule";
        let mut input = platform.input(&[RULE]);
        input["run_id"] = json!(run_id);
        let execution = platform.start_harvester(&input).await?;
        platform
            .bucket_is(run_id, "stopping-rule", |bucket| bucket.configured)
            .await?;
        assert_ne!(leftovers(platform, run_id, &[RULE]).await?, [""; 0]);
        platform.stop(&execution).await?;
        platform
            .eventually("the Cleanup that nobody asked for", async || {
                Ok(cleanup_of(platform, &execution).await?.as_deref() == Some("SUCCEEDED"))
            })
            .await?;
        assert_eq!(leftovers(platform, run_id, &[RULE]).await?, [""; 0]);
        let run = platform
            .run_of(&execution)
            .await?
            .context("it is on record")?;
        assert_eq!(run.outcome, Some(Outcome::Failed));
        assert!(run.cleaned_up_at.is_some());
        // Its Harvester could not tell anybody, so Cleanup did.
        let mail = platform.mail_of(run_id).await?;
        assert_eq!(
            mail.subject,
            format!("S3Insights run {run_id}: failed"),
            "{mail:#?}"
        );
        for part in [&mail.text, &mail.html] {
            for said in ["ExecutionAborted", "nothing is left"] {
                assert!(part.contains(said), "{said} is not in {part}");
            }
        }
        Ok(())
    });
}

/// Where the Cleanup stands that was started because an execution of the Harvester ended.
async fn cleanup_of(platform: &Platform, execution: &str) -> Result<Option<String>> {
    let aws = &platform.aws;
    let sfn = aws_sdk_sfn::Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region));
    let started: Vec<_> = sfn
        .list_executions()
        .state_machine_arn(platform.output("CleanupStateMachineArn"))
        .into_paginator()
        .items()
        .send()
        .try_collect()
        .await?;
    for cleanup in started {
        let arn = cleanup.execution_arn();
        let described = sfn.describe_execution().execution_arn(arn).send().await?;
        let input: Value = serde_json::from_str(described.input().unwrap_or("null"))?;
        if input["execution_arn"] == execution {
            return Ok(Some(described.status().as_str().to_owned()));
        }
    }
    Ok(None)
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
