use lambdas::{close_run, find_leftovers, send_summary};
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::run::{Account, DestinationState, LeftOut, Outcome, QueryState, Run};
use shared::status::Reason;
use shared::top_prefixes::TopPrefixes;
use shared::totals::Totals;

use crate::support::{
    Aws, EXECUTION, Line, MEMBER, Reply, account, condition_failed, deleted, destination, done,
    error, error_with, finished, in_progress, input, item, items, keys, named, no_item, query,
    region, run, run_id, smoke_run, stack_of, stacks, the_run,
};

// --- send-summary ------------------------------------------------------------------------------

const TOTALS: &str = "GET@us-east-1 consolidated/totals/nightly/totals.json";
const PREFIXES: &str = "GET@us-east-1 consolidated/totals/nightly/top-prefixes.json";
const PAGE: &str = "PUT@us-east-1 consolidated/reports/nightly/index.html";
const TELL: &str = "PutEvents";
const MAIL: &str = "POST /v2/email/outbound-emails";

pub(crate) fn summary_payload() -> Value {
    json!({ "run_id": "nightly", "failure": null })
}

pub(crate) fn summary_script() -> Vec<Line> {
    let read = Account {
        account: account(MEMBER),
        reason: None,
    };
    let left_out = LeftOut {
        account: account(MEMBER),
        bucket: named("tmp-1"),
        region: Some(region("eu-west-1")),
        because: "accounts[].exclude names tmp-*".into(),
    };
    let mut second = query(QueryState::Succeeded);
    second.number = 1;
    let totals = serde_json::to_vec(&Totals::default()).expect("totals are JSON");
    let prefixes = serde_json::to_vec(&TopPrefixes::default()).expect("top prefixes are JSON");
    vec![
        ("GetItem run", item(&the_run())),
        ("Query account#", items(&[read])),
        ("Query destination#", items(&[destination()])),
        ("Query bucket#", items(&[finished("photos")])),
        ("Query left_out#", items(&[left_out])),
        (
            "Query query#",
            items(&[query(QueryState::Succeeded), second]),
        ),
        (TOTALS, Reply::Bytes(totals)),
        ("Query runs", items(&[the_run()])),
        (PREFIXES, Reply::Bytes(prefixes)),
        (
            "PUT@us-east-1 consolidated/reports/nightly/summary.json",
            done(),
        ),
        (
            "PUT@us-east-1 consolidated/reports/nightly/summary.html",
            done(),
        ),
        (
            "PUT@us-east-1 consolidated/reports/nightly/summary.txt",
            done(),
        ),
        (PAGE, done()),
        ("UpdateItem run", done()),
        ("UpdateItem run", done()),
        (MAIL, Reply::Json(json!({ "MessageId": "m-1" }))),
        (TELL, told(&json!({ "EventId": "e-1" }))),
    ]
}

/// The answer to the one event of a request.
fn told(entry: &Value) -> Reply {
    Reply::Json(json!({ "FailedEntryCount": 0, "Entries": [entry] }))
}

/// The reply to the nth request of a name, counted from 0.
fn reply<'a>(script: &'a mut [Line], name: &str, nth: usize) -> &'a mut Reply {
    let mut named = script.iter_mut().filter(|(other, _)| *other == name);
    &mut named.nth(nth).expect("the script has it").1
}

async fn summarise(
    script: Vec<Line>,
    payload: Value,
) -> (Aws, Result<send_summary::Output, TaskError>) {
    run(script, |platform| {
        send_summary::handle(platform, input(payload))
    })
    .await
}

fn expressions(aws: &Aws) -> Vec<String> {
    aws.calls("UpdateItem run")
        .iter()
        .map(|call| {
            call.json()["UpdateExpression"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn the_summary_is_stored_and_sent_once_it_is_claimed() {
    let (aws, answer) = summarise(summary_script(), summary_payload()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
    assert_eq!(
        expressions(&aws),
        [
            "SET outcome = if_not_exists(outcome, :outcome)",
            "SET summary_sent_at = :now"
        ]
    );
    let claim = &aws.calls("UpdateItem run")[1];
    assert_eq!(
        claim.condition(),
        "attribute_exists(pk) AND attribute_not_exists(summary_sent_at)"
    );
    // What the mail links to is there before it is sent.
    aws.assert_order(
        "PUT@us-east-1 consolidated/reports/nightly/summary.html",
        MAIL,
    );
    aws.assert_order(PAGE, MAIL);
    let page = aws.call(PAGE).text();
    assert!(page.starts_with("<!doctype html>") && page.contains("photos"));
    let mail = aws.call(MAIL).json();
    assert_eq!(mail["FromEmailAddress"], "platform@example.com");
    assert_eq!(
        mail["Destination"]["ToAddresses"],
        json!(["a@example.com", "b@example.com"])
    );
    let stored = aws.call("PUT@us-east-1 consolidated/reports/nightly/summary.txt");
    assert_eq!(
        mail["Content"]["Simple"]["Body"]["Text"]["Data"],
        stored.text()
    );
}

#[tokio::test]
async fn a_claim_that_is_lost_sends_no_second_mail() {
    let mut script = summary_script();
    *reply(&mut script, "UpdateItem run", 1) = condition_failed();
    script.retain(|(name, _)| *name != MAIL);
    let (aws, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
    assert!(aws.calls(MAIL).is_empty());
}

#[tokio::test]
async fn a_mail_that_ses_rejects_is_recorded_and_the_claim_released() {
    let mut script = summary_script();
    *reply(&mut script, MAIL, 0) =
        error_with(400, "MessageRejected", "Email address is not verified");
    script.extend([("UpdateItem run", done()), ("UpdateItem run", done())]);
    let (aws, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
    assert_eq!(
        expressions(&aws)[2..],
        ["REMOVE summary_sent_at", "SET mail_failure = :reason"]
    );
    let reason = aws.calls("UpdateItem run")[3].value(":reason");
    assert_eq!(reason["code"], "MessageRejected");
    assert_eq!(reason["message"], "Email address is not verified");
}

#[tokio::test]
async fn a_throttled_mail_is_sent_by_the_next_attempt() {
    let mut script = summary_script();
    *reply(&mut script, MAIL, 0) = error(429, "TooManyRequestsException");
    script.retain(|(name, _)| *name != TELL);
    script.push(("UpdateItem run", done()));
    let (aws, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap_err().name(), "Throttled");
    assert_eq!(expressions(&aws)[2], "REMOVE summary_sent_at");
}

#[tokio::test]
async fn a_failure_is_recorded_first_and_told() {
    let mut failed = the_run();
    failed.failure = Some(shared::run::Failure {
        error: "SmokeTestFailed".into(),
        cause: "1 of 2 Regions did not deliver".into(),
    });
    let mut script = summary_script();
    *reply(&mut script, "GetItem run", 0) = item(&failed);
    *reply(&mut script, TOTALS, 0) = error(404, "NoSuchKey");
    *reply(&mut script, PREFIXES, 0) = error(404, "NoSuchKey");
    script.insert(0, ("UpdateItem run", done()));
    let payload = json!({ "run_id": "nightly", "failure": {
        "error": "SmokeTestFailed", "cause": "1 of 2 Regions did not deliver",
    } });
    let (aws, answer) = summarise(script, payload).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Failed);
    let first = &aws.calls("UpdateItem run")[0];
    assert_eq!(
        first.json()["UpdateExpression"],
        "SET failure = if_not_exists(failure, :failure)"
    );
    assert_eq!(first.value(":failure")["error"], "SmokeTestFailed");
    assert_eq!(aws.calls("UpdateItem run")[1].value(":outcome"), "failed");
    let text = aws.call(MAIL).text();
    assert!(text.contains("1 of 2 Regions did not deliver"), "{text}");
}

#[tokio::test]
async fn a_bucket_without_its_report_makes_the_run_partial() {
    let mut script = summary_script();
    *reply(&mut script, "Query bucket#", 0) = items(&[finished("photos"), in_progress("late")]);
    let (aws, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Partial);
    assert_eq!(aws.calls("UpdateItem run")[0].value(":outcome"), "partial");
}

#[tokio::test]
async fn other_systems_are_told_of_the_outcome_once_the_snapshot_can_be_used() {
    let mut script = summary_script();
    *reply(&mut script, "Query bucket#", 0) = items(&[finished("photos"), in_progress("late")]);
    let (aws, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Partial);
    aws.assert_order(PAGE, TELL);
    let event = &aws.call(TELL).json()["Entries"][0];
    assert_eq!(event["Source"], "s3insights");
    assert_eq!(event["DetailType"], "S3Insights Run Ended");
    assert_eq!(event["Resources"], json!([EXECUTION]));
    assert_eq!(event["EventBusName"], Value::Null);
    let detail: Value = serde_json::from_str(event["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(detail["run_id"], "nightly");
    assert_eq!(detail["outcome"], "partial");
    assert_eq!(detail["failure"], Value::Null);
    assert_eq!(detail["buckets"]["done"], 1);
    assert_eq!(detail["buckets"]["in_progress"], 1);
    assert_eq!(detail["buckets"]["verification_failed"], 0);
    assert_eq!(detail["queries_succeeded"], 2);
    assert_eq!(detail["queries_not_succeeded"], 0);
    assert_eq!(
        detail["summary"],
        "s3://consolidated/reports/nightly/summary.json"
    );
    assert_eq!(detail["snapshot"], "s3://consolidated/inventory/nightly/");
}

#[tokio::test]
async fn an_event_that_is_refused_does_not_fail_the_run() {
    let refused = told(&json!({ "ErrorCode": "NotAuthorizedForSourceException" }));
    for refusal in [error(400, "AccessDeniedException"), refused] {
        let mut script = summary_script();
        *reply(&mut script, TELL, 0) = refusal;
        let (_, answer) = summarise(script, summary_payload()).await;
        assert_eq!(answer.unwrap().outcome, Outcome::Complete);
    }
}

#[tokio::test]
async fn an_event_that_is_throttled_is_sent_by_the_next_attempt() {
    let mut script = summary_script();
    *reply(&mut script, TELL, 0) = told(&json!({
        "ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded",
    }));
    let (_, answer) = summarise(script, summary_payload()).await;
    assert_eq!(answer.unwrap_err().name(), "Throttled");
}

#[tokio::test]
async fn what_changed_since_the_run_before_is_told() {
    let mut before = recorded("weekly");
    before.started_at = "2025-01-01T00:00:00Z".parse().unwrap();
    before.outcome = Some(Outcome::Complete);
    let mut script = summary_script();
    *reply(&mut script, "Query runs", 0) = items(&[the_run(), before]);
    let read = Account {
        account: account(MEMBER),
        reason: None,
    };
    script.extend([
        ("Query weekly:account#", items(&[read])),
        ("Query weekly:destination#", items::<Value>(&[])),
        (
            "Query weekly:bucket#",
            items(&[finished("photos"), finished("retired")]),
        ),
        ("Query weekly:left_out#", items::<Value>(&[])),
        ("Query weekly:query#", items::<Value>(&[])),
    ]);
    let (aws, answer) = summarise(script, summary_payload()).await;
    answer.unwrap();
    let text = aws.call(MAIL).text();
    assert!(
        text.contains("Since run weekly (2025-01-01): 1 bucket is gone."),
        "{text}"
    );
}

// --- close-run ---------------------------------------------------------------------------------

const LIST_RESULTS: &str = "GET@us-east-1 consolidated?list-type=2&prefix=query-results/q-1";
const LIST_MORE_RESULTS: &str = "GET@us-east-1 consolidated?list-type=2&prefix=query-results/q-2";
const LIST_ROWS: &str = "GET@us-east-1 consolidated?list-type=2&prefix=inventory/nightly/";
const LIST_TOTALS: &str = "GET@us-east-1 consolidated?list-type=2&prefix=totals/nightly/";
const DELETE_OBJECTS: &str = "POST@us-east-1 consolidated?delete";

pub(crate) fn close_payload() -> Value {
    json!({ "run_id": "nightly" })
}

pub(crate) fn close_script() -> Vec<Line> {
    let mut run = the_run();
    run.outcome = Some(Outcome::Complete);
    let mut removed = finished("photos");
    removed.configuration_removed = true;
    vec![
        ("GetItem run", item(&run)),
        ("UpdateItem run", done()),
        ("UpdateItem run", done()),
        ("Query bucket#", items(&[removed])),
        ("UpdateItem run", done()),
    ]
}

pub(crate) fn close_smoke_script() -> Vec<Line> {
    let mut run = smoke_run();
    run.outcome = Some(Outcome::Complete);
    run.made_database = true;
    run.made_table = true;
    // Nobody saw it end.
    let mut second = query(QueryState::Running);
    second.number = 1;
    second.execution_id = Some("q-2".into());
    let mut never_started = query(QueryState::Waiting);
    never_started.number = 2;
    vec![
        ("GetItem run", item(&run)),
        ("UpdateItem run", done()),
        ("UpdateItem run", done()),
        ("DeleteTable s3insights.inventory_nightly", done()),
        (
            "GetTables s3insights",
            Reply::Json(json!({ "TableList": [] })),
        ),
        ("DeleteDatabase s3insights", done()),
        (
            "Query query#",
            items(&[query(QueryState::Succeeded), second, never_started]),
        ),
        (
            LIST_RESULTS,
            keys(&["query-results/q-1.csv", "query-results/q-1.csv.metadata"]),
        ),
        (DELETE_OBJECTS, deleted()),
        (LIST_MORE_RESULTS, keys(&[])),
        (LIST_ROWS, keys(&["inventory/nightly/a.parquet"])),
        (DELETE_OBJECTS, deleted()),
        (LIST_TOTALS, keys(&["totals/nightly/totals.json"])),
        (DELETE_OBJECTS, deleted()),
        ("Query bucket#", items::<Value>(&[])),
        ("UpdateItem run", done()),
    ]
}

async fn close(script: Vec<Line>) -> (Aws, Result<close_run::Output, TaskError>) {
    run(script, |platform| {
        close_run::handle(platform, input(close_payload()))
    })
    .await
}

#[tokio::test]
async fn a_good_run_keeps_its_snapshot_and_is_clean() {
    for _ in 0..2 {
        let (aws, answer) = close(close_script()).await;
        assert_eq!(answer.unwrap().outcome, Outcome::Complete);
        assert_eq!(
            expressions(&aws),
            [
                "SET frozen_at = if_not_exists(frozen_at, :now)",
                // Counts only where there is no outcome yet.
                "SET outcome = if_not_exists(outcome, :outcome)",
                "SET cleaned_up_at = :now"
            ]
        );
    }
}

#[tokio::test]
async fn a_run_with_a_configuration_left_is_not_clean() {
    let mut script = close_script();
    script[3].1 = items(&[finished("photos")]);
    script.pop();
    let (_, answer) = close(script).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
}

#[tokio::test]
async fn all_that_a_smoke_test_made_is_removed_and_nothing_else() {
    let (aws, answer) = close(close_smoke_script()).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
    let deletions = aws.calls(DELETE_OBJECTS);
    let results = deletions[0].text();
    for key in ["query-results/q-1.csv", "query-results/q-1.csv.metadata"] {
        assert!(results.contains(&format!("<Key>{key}</Key>")), "{results}");
    }
    assert!(deletions[1].text().contains("inventory/nightly/a.parquet"));
    assert!(deletions[2].text().contains("totals/nightly/totals.json"));
}

#[tokio::test]
async fn a_second_close_of_a_smoke_run_finds_nothing_and_is_content() {
    let missing = || error(400, "EntityNotFoundException");
    let mut script = close_smoke_script();
    script[3].1 = missing();
    script[4].1 = missing();
    for (name, reply) in &mut script {
        if name.starts_with("GET@") {
            *reply = keys(&[]);
        }
    }
    script.retain(|(name, _)| *name != DELETE_OBJECTS && !name.starts_with("DeleteDatabase"));
    let (_, answer) = close(script).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Complete);
}

#[tokio::test]
async fn a_database_with_other_tables_stays() {
    let mut script = close_smoke_script();
    script[4].1 = Reply::Json(json!({ "TableList": [{ "Name": "another" }] }));
    script.remove(5);
    let (_, answer) = close(script).await;
    answer.unwrap();
}

#[tokio::test]
async fn a_smoke_run_leaves_a_table_alone_that_it_did_not_make() {
    let mut run = smoke_run();
    run.outcome = Some(Outcome::Failed);
    let mut script = close_smoke_script();
    script[0].1 = item(&run);
    script.drain(3..6);
    let (_, answer) = close(script).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Failed);
}

#[tokio::test]
async fn rows_of_a_run_that_never_became_a_table_are_deleted() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("UpdateItem run", done()),
        ("UpdateItem run", done()),
        (LIST_ROWS, keys(&["inventory/nightly/a.parquet"])),
        (DELETE_OBJECTS, deleted()),
        (LIST_TOTALS, keys(&[])),
        ("Query bucket#", items::<Value>(&[])),
        ("UpdateItem run", done()),
    ];
    let (aws, answer) = close(script).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Failed);
    // A publication that is under way makes its table before, or not any more.
    assert_eq!(
        aws.names()[..3],
        ["UpdateItem run", "UpdateItem run", "GetItem run"]
    );
}

#[tokio::test]
async fn a_run_without_a_record_failed() {
    let script = vec![
        ("UpdateItem run", condition_failed()),
        ("UpdateItem run", condition_failed()),
        ("GetItem run", no_item()),
    ];
    let (_, answer) = close(script).await;
    assert_eq!(answer.unwrap().outcome, Outcome::Failed);
}

// --- find-leftovers ----------------------------------------------------------------------------

const STACKS_EU: &str = "DescribeStacks@eu-west-1";
const STACKS_US: &str = "DescribeStacks@us-east-1";

pub(crate) fn leftovers_payload() -> Value {
    json!({ "run_id": null, "execution_arn": null, "after": null })
}

fn enabled() -> Line {
    (
        "POST /listRegions",
        Reply::Json(json!({ "Regions": [
            { "RegionName": "eu-west-1", "RegionOptStatus": "ENABLED" },
            { "RegionName": "us-east-1", "RegionOptStatus": "ENABLED_BY_DEFAULT" },
        ] })),
    )
}

fn execution(status: &str) -> Reply {
    Reply::Json(json!({
        "executionArn": EXECUTION, "stateMachineArn": "arn:machine", "status": status,
        "startDate": 1_772_323_200.0,
    }))
}

fn recorded(id: &str) -> Run {
    let mut run = the_run();
    run.run_id = run_id(id);
    run.execution_arn = format!("arn:aws:states:us-east-1:999999999999:execution:harvester:{id}");
    run
}

fn cleaned(id: &str) -> Run {
    let mut run = recorded(id);
    run.cleaned_up_at = Some("2026-03-02T00:00:00Z".parse().expect("a time"));
    run
}

pub(crate) fn leftovers_script() -> Vec<Line> {
    let stranger = stack_of("nightly", "CREATE_COMPLETE")
        .replace("<Value>insights</Value>", "<Value>insights2</Value>");
    vec![
        enabled(),
        (STACKS_EU, stacks(&[stranger], Some("more"))),
        (
            STACKS_EU,
            stacks(
                &[
                    stack_of("weekly", "CREATE_COMPLETE"),
                    stack_of("gone", "DELETE_COMPLETE"),
                ],
                None,
            ),
        ),
        (STACKS_US, stacks(&[], None)),
        (
            "Query runs",
            Reply::Json(more(&[recorded("weekly"), cleaned("b")])),
        ),
        ("Query runs", items(&[recorded("active")])),
        ("DescribeExecution active", execution("RUNNING")),
        ("DescribeExecution weekly", execution("ABORTED")),
        ("GetItem weekly:run", item(&recorded("weekly"))),
        ("UpdateItem weekly:run", done()),
        ("Query weekly:destination#", items(&[deleted_in_us()])),
    ]
}

fn more(runs: &[Run]) -> Value {
    match crate::support::items_and_more(runs) {
        Reply::Json(page) => page,
        other => panic!("{other:?} is no page"),
    }
}

fn deleted_in_us() -> shared::run::Destination {
    let mut deleted = destination();
    deleted.region = region("us-east-1");
    deleted.state = DestinationState::Deleted;
    deleted
}

async fn find(
    script: Vec<Line>,
    payload: Value,
) -> (Aws, Result<find_leftovers::Output, TaskError>) {
    run(script, |platform| {
        find_leftovers::handle(platform, input(payload))
    })
    .await
}

fn ids<T: ToString>(ids: impl IntoIterator<Item = T>) -> Vec<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

#[tokio::test]
async fn the_first_run_that_left_something_is_found_and_a_running_one_left_alone() {
    let (aws, answer) = find(leftovers_script(), leftovers_payload()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id, Some(run_id("weekly")));
    // Nobody told the recipients that somebody stopped it.
    assert!(answer.is_summary_due);
    assert_eq!(answer.failure.unwrap().error, "ExecutionAborted");
    // Of the record and of the stack's parameters.
    assert_eq!(ids(answer.accounts), [MEMBER, "222222222222"]);
    // Not the one whose destination is deleted.
    assert_eq!(ids(answer.regions), ["eu-west-1"]);
    // It is over from now on.
    let update = aws.call("UpdateItem weekly:run").json();
    assert_eq!(
        update["UpdateExpression"],
        "SET frozen_at = if_not_exists(frozen_at, :now)"
    );
}

#[tokio::test]
async fn the_next_turn_goes_on_behind_the_last_run() {
    let script = vec![
        enabled(),
        (
            STACKS_EU,
            stacks(&[stack_of("aaa", "CREATE_COMPLETE")], None),
        ),
        (STACKS_US, stacks(&[], None)),
        ("Query runs", items(&[recorded("weekly"), recorded("bbb")])),
    ];
    let payload = json!({ "run_id": null, "execution_arn": null, "after": "weekly" });
    let (_, answer) = find(script, payload).await;
    assert_eq!(answer.unwrap(), find_leftovers::Output::default());
}

#[tokio::test]
async fn a_named_run_has_one_turn_whatever_its_execution_does() {
    let script = || {
        vec![
            enabled(),
            (
                STACKS_EU,
                stacks(
                    &[
                        stack_of("nightly", "CREATE_COMPLETE"),
                        stack_of("weekly", "CREATE_COMPLETE"),
                    ],
                    None,
                ),
            ),
            (STACKS_US, stacks(&[], None)),
        ]
    };
    let mut first = script();
    first.extend([
        ("GetItem run", item(&the_run())),
        ("UpdateItem run", done()),
        ("DescribeExecution first", execution("RUNNING")),
        ("Query destination#", items(&[destination()])),
    ]);
    let payload = json!({ "run_id": "nightly", "execution_arn": null, "after": null });
    let (_, answer) = find(first, payload).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id, Some(run_id("nightly")));
    assert_eq!(ids(answer.regions), ["eu-west-1"]);
    // Its Harvester goes on, and tells the recipients itself.
    assert!(!answer.is_summary_due && answer.failure.is_none());

    let payload = json!({ "run_id": "nightly", "execution_arn": null, "after": "nightly" });
    let (_, answer) = find(script(), payload).await;
    assert_eq!(answer.unwrap(), find_leftovers::Output::default());
}

#[tokio::test]
async fn a_run_that_could_not_tell_its_summary_tries_once_more_unless_the_mail_was_refused() {
    let mut run = the_run();
    run.outcome = Some(Outcome::Complete);
    for (mail_failure, is_due) in [
        (None, true),
        (Some(Reason::new("MessageRejected", "no")), false),
    ] {
        run.mail_failure = mail_failure;
        let script = vec![
            enabled(),
            (STACKS_EU, stacks(&[], None)),
            (STACKS_US, stacks(&[], None)),
            ("GetItem run", item(&run)),
            ("UpdateItem run", done()),
            ("DescribeExecution first", execution("RUNNING")),
            ("Query destination#", items(&[destination()])),
        ];
        let payload = json!({ "run_id": "nightly", "execution_arn": null, "after": null });
        let (_, answer) = find(script, payload).await;
        let answer = answer.unwrap();
        assert_eq!(answer.is_summary_due, is_due);
        assert_eq!(answer.failure, None);
    }
}

#[tokio::test]
async fn the_run_of_an_execution_is_found_by_it() {
    let mut told = the_run();
    told.summary_sent_at = Some("2026-03-02T00:00:00Z".parse().unwrap());
    let script = vec![
        ("Query runs", items(&[recorded("weekly"), told.clone()])),
        enabled(),
        (STACKS_EU, stacks(&[], None)),
        (STACKS_US, stacks(&[], None)),
        ("GetItem run", item(&told)),
        ("UpdateItem run", done()),
        ("Query destination#", items(&[destination()])),
    ];
    let payload = json!({ "run_id": null, "execution_arn": EXECUTION, "after": null });
    let (_, answer) = find(script, payload.clone()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id, Some(run_id("nightly")));
    assert!(!answer.is_summary_due);

    // An execution that failed before it opened a run left nothing.
    let (_, answer) = find(vec![("Query runs", items(&[recorded("weekly")]))], payload).await;
    assert_eq!(answer.unwrap(), find_leftovers::Output::default());
}

#[tokio::test]
async fn a_stack_without_a_record_is_found_by_its_tags() {
    let damaged = Reply::Json(json!({ "Item": {
        "pk": { "S": "run#lost" }, "sk": { "S": "run" }, "run_id": { "S": "lost" },
    } }));
    for record in [no_item(), damaged] {
        let script = vec![
            enabled(),
            (
                STACKS_EU,
                stacks(&[stack_of("lost", "ROLLBACK_COMPLETE")], None),
            ),
            (STACKS_US, stacks(&[], None)),
            ("Query runs", items::<Value>(&[])),
            ("GetItem lost:run", record),
        ];
        let (_, answer) = find(script, leftovers_payload()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.run_id, Some(run_id("lost")));
        assert_eq!(ids(answer.accounts), [MEMBER, "222222222222"]);
        assert_eq!(ids(answer.regions), ["eu-west-1"]);
    }
}

#[tokio::test]
async fn one_damaged_record_does_not_keep_the_other_runs_from_being_found() {
    let broken = json!({ "pk": "run#broken", "sk": "run", "run_id": "broken" });
    let good = serde_json::to_value(recorded("weekly")).unwrap();
    let script = vec![
        enabled(),
        (STACKS_EU, stacks(&[], None)),
        (STACKS_US, stacks(&[], None)),
        ("Query runs", items(&[broken, good])),
        ("DescribeExecution weekly", execution("FAILED")),
        ("GetItem weekly:run", item(&recorded("weekly"))),
        ("UpdateItem weekly:run", done()),
        ("Query weekly:destination#", items(&[destination()])),
    ];
    let (_, answer) = find(script, leftovers_payload()).await;
    assert_eq!(answer.unwrap().run_id, Some(run_id("weekly")));
}

#[tokio::test]
async fn an_execution_that_is_forgotten_is_over() {
    let mut script = leftovers_script();
    let forgotten = || error(400, "ExecutionDoesNotExist");
    for (name, reply) in &mut script {
        if *name == "DescribeExecution weekly" {
            *reply = forgotten();
        }
    }
    script.push(("DescribeExecution weekly", forgotten()));
    let (_, answer) = find(script, leftovers_payload()).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id, Some(run_id("weekly")));
    assert!(answer.is_summary_due && answer.failure.is_none());
}

#[tokio::test]
async fn a_clean_run_is_not_cleaned_again() {
    let script = vec![
        enabled(),
        (STACKS_EU, stacks(&[], None)),
        (STACKS_US, stacks(&[], None)),
        ("Query runs", items(&[cleaned("weekly")])),
    ];
    let (_, answer) = find(script, leftovers_payload()).await;
    assert_eq!(answer.unwrap(), find_leftovers::Output::default());

    let mut clean = the_run();
    clean.cleaned_up_at = Some("2026-03-02T00:00:00Z".parse().unwrap());
    let script = vec![
        enabled(),
        (STACKS_EU, stacks(&[], None)),
        (STACKS_US, stacks(&[], None)),
        ("Query runs", items(&[clean.clone()])),
        ("GetItem run", item(&clean)),
    ];
    let payload = json!({ "run_id": null, "execution_arn": EXECUTION, "after": null });
    let (_, answer) = find(script, payload).await;
    assert_eq!(answer.unwrap(), find_leftovers::Output::default());
}

#[tokio::test]
async fn a_clean_run_is_cleaned_again_when_it_is_asked_for_by_its_id() {
    let mut clean = the_run();
    clean.cleaned_up_at = Some("2026-03-02T00:00:00Z".parse().unwrap());
    clean.summary_sent_at = clean.cleaned_up_at;
    let script = vec![
        enabled(),
        (STACKS_EU, stacks(&[], None)),
        (STACKS_US, stacks(&[], None)),
        ("GetItem run", item(&clean)),
        ("UpdateItem run", done()),
        ("Query destination#", items::<Value>(&[])),
    ];
    let payload = json!({ "run_id": "nightly", "execution_arn": null, "after": null });
    let (_, answer) = find(script, payload).await;
    let answer = answer.unwrap();
    assert_eq!(answer.run_id, Some(run_id("nightly")));
    assert!(!answer.accounts.is_empty() && !answer.is_summary_due);
}
