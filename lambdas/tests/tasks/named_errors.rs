use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::LocalBoxFuture;
use lambdas::queue::{SqsBatchResponse, SqsEvent};
use lambdas::{
    Platform, await_inventories, check_query, close_run, configure_inventories, create_destination,
    delete_destination, discover_buckets, empty_destination, find_leftovers, initialize,
    inventory_file_consolidator, inventory_object_processor, publish_snapshot, refresh_statuses,
    remove_inventories, run_query, seed_smoke_test, send_summary,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::runtime;

use crate::support::{Aws, Fault, Line, error};
use crate::{destinations, discovery, endings, inventories, queues, snapshot};

type Answer<'a> = LocalBoxFuture<'a, Result<(), TaskError>>;

/// A task as the runtime calls it.
struct Task {
    name: &'static str,
    payload: Value,
    call: Box<dyn Fn(Arc<Platform>, Value) -> Answer<'static>>,
    /// Answers with which it succeeds, asking for everything it ever asks for.
    scripts: Vec<fn() -> Vec<Line>>,
}

fn task<I, O, H, F>(
    name: &'static str,
    payload: Value,
    scripts: &[fn() -> Vec<Line>],
    handle: H,
) -> Task
where
    I: DeserializeOwned,
    H: Fn(Arc<Platform>, I) -> F + Copy + 'static,
    F: Future<Output = Result<O, TaskError>>,
{
    Task {
        name,
        payload,
        scripts: scripts.to_vec(),
        call: Box::new(move |platform, payload| {
            Box::pin(async move { runtime::call(platform, handle, payload).await.map(|_| ()) })
        }),
    }
}

fn tasks() -> Vec<Task> {
    let mut tasks = tasks_until_publication();
    tasks.extend(tasks_after_it());
    tasks
}

fn tasks_until_publication() -> Vec<Task> {
    vec![
        task(
            "initialize",
            discovery::initialize_payload(),
            &[discovery::initialize_script],
            initialize::handle,
        ),
        task(
            "discover-buckets",
            discovery::discover_payload(),
            &[discovery::discover_script],
            discover_buckets::handle,
        ),
        task(
            "seed-smoke-test",
            json!({ "run_id": "nightly" }),
            &[discovery::seed_script],
            seed_smoke_test::handle,
        ),
        task(
            "create-destination",
            destinations::payload(),
            &[destinations::create_script, destinations::failed_script],
            create_destination::handle,
        ),
        task(
            "configure-inventories",
            inventories::configure_payload(),
            &[
                inventories::configure_script,
                inventories::configure_existing_script,
            ],
            configure_inventories::handle,
        ),
        task(
            "await-inventories",
            inventories::await_payload(),
            &[inventories::await_script],
            await_inventories::handle,
        ),
        task(
            "refresh-statuses",
            inventories::refresh_payload(),
            &[inventories::refresh_script],
            refresh_statuses::handle,
        ),
    ]
}

fn tasks_after_it() -> Vec<Task> {
    vec![
        task(
            "empty-destination",
            destinations::payload(),
            &[destinations::empty_script],
            empty_destination::handle,
        ),
        task(
            "delete-destination",
            destinations::payload(),
            &[
                destinations::delete_script,
                destinations::delete_gone_script,
            ],
            delete_destination::handle,
        ),
        task(
            "remove-inventories",
            inventories::account_payload(),
            &[
                inventories::remove_script,
                inventories::remove_everywhere_script,
            ],
            remove_inventories::handle,
        ),
        task(
            "publish-snapshot",
            snapshot::run_payload(),
            &[snapshot::publish_script, snapshot::publish_again_script],
            publish_snapshot::handle,
        ),
        task(
            "run-query",
            snapshot::query_payload(),
            &[snapshot::run_query_script],
            run_query::handle,
        ),
        task(
            "check-query",
            snapshot::query_payload(),
            &[snapshot::check_query_script],
            check_query::handle,
        ),
        task(
            "send-summary",
            endings::summary_payload(),
            &[endings::summary_script],
            send_summary::handle,
        ),
        task(
            "close-run",
            endings::close_payload(),
            &[endings::close_script, endings::close_smoke_script],
            close_run::handle,
        ),
        task(
            "find-leftovers",
            endings::leftovers_payload(),
            &[endings::leftovers_script],
            find_leftovers::handle,
        ),
    ]
}

/// A script with every request of the task in it: how many there are, by their order.
async fn requests(task: &Task, script: fn() -> Vec<Line>) -> Vec<String> {
    let aws = Aws::scripted(script());
    (task.call)(aws.platform(), task.payload.clone())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", task.name));
    aws.assert_used_up();
    aws.names()
}

#[test]
fn every_task_of_the_machines_is_here() {
    let mut here: Vec<&str> = tasks().iter().map(|task| task.name).collect();
    here.sort_unstable();
    let all: Vec<&str> = lambdas::input_fields().into_keys().collect();
    assert_eq!(here, all);
}

/// Whether a task makes up for a request that meets a passing trouble.
fn is_made_up_for(task: &str, request: &str) -> bool {
    match task {
        // The report of the bucket tells, or the next look.
        "discover-buckets" => request.contains("?versions&max-keys=1"),
        "refresh-statuses" if request.starts_with("GET@") => true,
        // Tried again on the spot, since its conditions tell whether it was done.
        _ => request.starts_with("TransactWriteItems"),
    }
}

/// Whether the bucket that the request is about has another turn, since the other one of the script was
/// configured. What then happens is not scripted here, but where it is the subject of a test.
fn has_another_turn(task: &str, script: usize, request: &str) -> bool {
    let is_of_a_bucket = ["PUT@", "UpdateItem bucket#"]
        .iter()
        .any(|name| request.starts_with(name));
    task == "configure-inventories" && script == 0 && is_of_a_bucket
}

/// Throttling, a server's error and a broken connection reach the machine by name, whichever
/// request they meet: none is ever taken for an outcome of a bucket, an account or a query.
#[tokio::test]
async fn a_passing_trouble_of_any_request_is_named() {
    for task in tasks() {
        for (number, script) in task.scripts.iter().enumerate() {
            for (at, request) in requests(&task, *script).await.iter().enumerate() {
                for fault in Fault::ALL {
                    let aws = Aws::failing(script(), at, fault);
                    let answer = (task.call)(aws.platform(), task.payload.clone()).await;
                    let where_ = format!("{}: {fault:?} at {request}", task.name);
                    if has_another_turn(task.name, number, request) {
                        continue;
                    }
                    if is_made_up_for(task.name, request) {
                        answer.unwrap_or_else(|error| panic!("{where_}: {error}"));
                        continue;
                    }
                    let error = answer.expect_err(&where_);
                    assert_eq!(error.name(), fault.error_name(), "{where_}: {error}");
                }
            }
        }
    }
}

/// What the process logs, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// As Lambda's log has it: one JSON document a line.
#[tokio::test]
async fn every_line_of_every_task_names_its_run() {
    // While there is a single subscriber, `tracing` asks the thread that meets a line first whether
    // anybody wants it, and that may be another test's, where nobody does. Of two it asks both.
    let quiet = lambda_runtime::tracing::subscriber::fmt().with_writer(io::sink);
    let _second = tracing::Dispatch::new(quiet.finish());
    for task in tasks() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = lambda_runtime::tracing::subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        let logging = tracing::subscriber::set_default(subscriber);
        for script in &task.scripts {
            let requests = requests(&task, *script).await.len();
            // Whatever it logs of its trouble, wherever that begins.
            for at in 0..requests {
                let aws = Aws::failing(script(), at, Fault::Throttled);
                let _ = (task.call)(aws.platform(), task.payload.clone()).await;
            }
        }
        drop(logging);
        let log = log.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<Value> = log
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).expect("a line is a JSON document"))
            .collect();
        let ours = |line: &&Value| {
            let target = line["target"].as_str().unwrap_or_default();
            target.starts_with("lambdas") || target.starts_with("shared")
        };
        let ours: Vec<&Value> = lines.iter().filter(ours).collect();
        assert!(!ours.is_empty(), "{} logs nothing", task.name);
        // Cleanup of all runs looks for one first, and knows none until it has found it.
        let looks_for_a_run = |line: &Value| {
            task.name == "find-leftovers"
                && line["fields"]["message"] != "the record of the run is damaged"
        };
        for line in ours {
            let named = &line["span"]["run_id"];
            let is_named = ["nightly", "weekly"].map(Value::from).contains(named);
            assert!(is_named || looks_for_a_run(line), "{}: {line}", task.name);
        }
    }
}

#[tokio::test]
async fn what_the_platform_itself_is_refused_is_access_denied() {
    for task in tasks() {
        let mut script = task.scripts[0]();
        script[0].1 = error(403, "AccessDeniedException");
        let aws = Aws::scripted(script);
        let answer = (task.call)(aws.platform(), task.payload.clone()).await;
        let error = answer.expect_err(task.name);
        assert_eq!(error.name(), "AccessDenied", "{}: {error}", task.name);
    }
}

#[tokio::test]
async fn bad_task_input_is_refused_before_any_request_and_names_the_field() {
    for task in tasks() {
        let mut bad: Vec<(Value, &str)> = vec![];
        let fields = task.payload.as_object().expect("an object");
        let mut unknown = task.payload.clone();
        unknown["typo"] = json!(1);
        bad.push((unknown, "typo"));
        for (field, value) in fields {
            // Of a type that no field has.
            let mut wrong = task.payload.clone();
            wrong[field] = json!([[]]);
            if !value.is_object() {
                bad.push((wrong, field));
            }
            if !value.is_null() {
                let mut missing = task.payload.clone();
                missing
                    .as_object_mut()
                    .expect("an object")
                    .shift_remove(field);
                bad.push((missing, field));
            }
        }
        for field in ["run_id", "account_id", "region"] {
            if fields.contains_key(field) {
                let mut malformed = task.payload.clone();
                malformed[field] = json!("../etc");
                bad.push((malformed, field));
            }
        }
        for (payload, field) in bad {
            let aws = Aws::scripted(vec![]);
            let answer = (task.call)(aws.platform(), payload.clone()).await;
            let error = answer.expect_err(&format!("{}: {payload}", task.name));
            assert_eq!(error.name(), "InvalidInput", "{}: {error}", task.name);
            assert!(
                error.to_string().contains(field),
                "{}: {error} does not name {field}",
                task.name
            );
        }
    }
}

/// The queue-fed functions fail by message: whichever request meets a trouble, the message comes
/// back, later, and nothing is lost.
#[tokio::test]
async fn a_message_that_meets_a_passing_trouble_comes_back() {
    type Function = fn(Arc<Platform>, SqsEvent) -> LocalBoxFuture<'static, SqsBatchResponse>;
    type Case = (Function, fn() -> SqsEvent, fn() -> Vec<Line>);
    let functions: [Case; 3] = [
        (
            |platform, event| {
                Box::pin(async move {
                    Box::pin(inventory_object_processor::handle(platform, event))
                        .await
                        .expect("fails by message")
                })
            },
            queues::delivered_reports::event,
            queues::delivered_reports::sound_script,
        ),
        (
            |platform, event| {
                Box::pin(async move {
                    Box::pin(inventory_object_processor::handle(platform, event))
                        .await
                        .expect("fails by message")
                })
            },
            queues::existing_reports::event,
            queues::existing_reports::sound_script,
        ),
        (
            |platform, event| {
                Box::pin(async move {
                    Box::pin(inventory_file_consolidator::handle(platform, event))
                        .await
                        .expect("fails by message")
                })
            },
            queues::inventory_files::event,
            queues::inventory_files::sound_script,
        ),
    ];
    for (function, event, script) in functions {
        let aws = Aws::scripted(script());
        assert!(
            function(aws.platform(), event())
                .await
                .batch_item_failures
                .is_empty()
        );
        for (at, request) in aws.names().iter().enumerate() {
            for fault in Fault::ALL {
                let aws = Aws::failing(script(), at, fault);
                let failures = function(aws.platform(), event()).await.batch_item_failures;
                // Transactions are tried again on the spot, and a configuration that cannot be
                // removed now is Cleanup's.
                let gets_by =
                    request.starts_with("TransactWriteItems") || request.starts_with("DELETE@");
                assert_eq!(failures.is_empty(), gets_by, "{fault:?} at {request}");
                let delayed = aws
                    .names()
                    .iter()
                    .any(|name| name.starts_with("ChangeMessageVisibility"));
                assert_eq!(delayed, !gets_by, "{fault:?} at {request}");
            }
        }
    }
}
