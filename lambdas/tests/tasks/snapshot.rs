use lambdas::{check_query, publish_snapshot, run_query};
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::run::QueryState;
use shared::status::{InventoryStatus, Reason};
use shared::totals::Totals;

use crate::support::{
    Aws, Line, Reply, condition_failed, deleted, done, error, error_with, finished, in_progress,
    input, item, items, items_and_more, keys, no_item, query, run, smoke_run, the_run, xml,
};

// --- publish-snapshot --------------------------------------------------------------------------

pub(crate) fn run_payload() -> Value {
    json!({ "run_id": "nightly" })
}

const LIST_STRAY: &str = "GET@us-east-1 consolidated?list-type=2&prefix=inventory/nightly/\
    account=111111111111/region=eu-west-1/bucketname=broken/";
const LIST_TOTALS: &str =
    "GET@us-east-1 consolidated?list-type=2&prefix=totals/nightly/111111111111/photos/";
const LIST_MORE_TOTALS: &str = "GET@us-east-1 consolidated?list-type=2&\
    prefix=totals/nightly/111111111111/photos/&continuation-token=more";
const DELETE_OBJECTS: &str = "POST@us-east-1 consolidated?delete";
const PUT_TOTALS: &str = "PUT@us-east-1 consolidated/totals/nightly/totals.json";
const PUT_PREFIXES: &str = "PUT@us-east-1 consolidated/totals/nightly/top-prefixes.json";

fn totals(objects: u64) -> Reply {
    let mut totals = Totals::default();
    totals.all.objects = objects;
    let tally = totals.all;
    totals.by_top_prefix.add("home/", tally);
    Reply::Json(serde_json::to_value(totals).expect("totals are JSON"))
}

/// A body of JSON where the protocol is not.
fn stored(reply: Reply) -> Reply {
    match reply {
        Reply::Json(value) => Reply::Bytes(value.to_string().into_bytes()),
        other => other,
    }
}

pub(crate) fn publish_script() -> Vec<Line> {
    let mut broken = in_progress("broken");
    broken.status = InventoryStatus::VerificationFailed;
    broken.report = Some("manifest".into());
    broken.reason = Some(Reason::new("FileMismatch", "no"));
    let mut nothing_in_it = finished("no-files");
    nothing_in_it.files = Some(0);
    vec![
        ("UpdateItem run", done()),
        ("GetItem run", item(&the_run())),
        (
            "Query bucket#",
            items_and_more(&[finished("photos"), in_progress("late")]),
        ),
        ("Query bucket#", items(&[broken, nothing_in_it])),
        ("UpdateItem bucket#111111111111#late", done()),
        (LIST_STRAY, keys(&["stray.parquet"])),
        (DELETE_OBJECTS, deleted()),
        (
            LIST_TOTALS,
            xml("<ListBucketResult><IsTruncated>true</IsTruncated>\
                 <NextContinuationToken>more</NextContinuationToken>\
                 <Contents><Key>t1</Key></Contents></ListBucketResult>"),
        ),
        (LIST_MORE_TOTALS, keys(&["t2"])),
        (
            "GET@us-east-1 consolidated?list-type=2&prefix=totals/nightly/111111111111/no-files/",
            keys(&[]),
        ),
        ("GET@us-east-1 consolidated/t1", stored(totals(2))),
        ("GET@us-east-1 consolidated/t2", stored(totals(3))),
        (PUT_TOTALS, done()),
        (PUT_PREFIXES, done()),
        (
            "GetDatabase s3insights",
            error(400, "EntityNotFoundException"),
        ),
        ("UpdateItem run", done()),
        ("CreateDatabase s3insights", done()),
        (
            "GetTable s3insights.inventory_nightly",
            error(400, "EntityNotFoundException"),
        ),
        ("UpdateItem run", done()),
        ("CreateTable s3insights.inventory_nightly", done()),
        ("BatchCreatePartition s3insights.inventory_nightly", done()),
        ("Query query#", items::<Value>(&[])),
        ("PutItem query#000", done()),
        ("PutItem query#001", done()),
    ]
}

async fn publish(script: Vec<Line>) -> (Aws, Result<publish_snapshot::Output, TaskError>) {
    run(script, |platform| {
        publish_snapshot::handle(platform, input(run_payload()))
    })
    .await
}

#[tokio::test]
async fn the_snapshot_has_exactly_the_buckets_that_are_done() {
    let (aws, answer) = publish(publish_script()).await;
    assert_eq!(answer.unwrap().query_count, 2);

    // First of all: from here on no bucket becomes done.
    assert_eq!(aws.names()[0], "UpdateItem run");
    let updates = aws.calls("UpdateItem run");
    assert_eq!(
        updates[0].json()["UpdateExpression"],
        "SET frozen_at = if_not_exists(frozen_at, :now)"
    );
    // Recorded before it is made.
    assert_eq!(
        updates[1].json()["UpdateExpression"],
        "SET made_database = :yes"
    );
    assert_eq!(
        updates[2].json()["UpdateExpression"],
        "SET made_table = :yes"
    );

    let late = aws.call("UpdateItem bucket#111111111111#late");
    assert_eq!(late.condition(), "#status = :in_progress");
    assert_eq!(late.value(":reason")["code"], "DeadlinePassed");
    assert!(
        aws.call(DELETE_OBJECTS)
            .text()
            .contains("<Key>stray.parquet</Key>")
    );
    assert_eq!(aws.call(PUT_TOTALS).json()["all"]["objects"], 5);
    // Both files of the bucket, and nothing of buckets without any.
    let prefixes = aws.call(PUT_PREFIXES).json();
    assert_eq!(prefixes["buckets"].as_array().unwrap().len(), 1);
    assert_eq!(prefixes["buckets"][0]["bucket"], "photos");
    assert_eq!(prefixes["buckets"][0]["prefixes"][0]["prefix"], "home/");
    assert_eq!(prefixes["buckets"][0]["prefixes"][0]["tally"]["objects"], 5);

    let table = aws.call("CreateTable s3insights.inventory_nightly").json()["TableInput"].clone();
    assert_eq!(table["TableType"], "EXTERNAL_TABLE");
    assert_eq!(
        table["StorageDescriptor"]["Location"],
        "s3://consolidated/inventory/nightly/"
    );
    let partitions = aws
        .call("BatchCreatePartition s3insights.inventory_nightly")
        .json()["PartitionInputList"]
        .clone();
    assert_eq!(partitions.as_array().unwrap().len(), 1);
    assert_eq!(
        partitions[0]["Values"],
        json!(["111111111111", "eu-west-1", "photos"])
    );
    assert_eq!(
        partitions[0]["StorageDescriptor"]["Location"],
        "s3://consolidated/inventory/nightly/account=111111111111/region=eu-west-1/\
         bucketname=photos/"
    );

    let first = aws.call("PutItem query#000").item();
    assert_eq!(first["state"], "waiting");
    let sql = first["sql"].as_str().unwrap();
    assert!(
        sql.contains("inventory_nightly") && !sql.contains("{ATHENA_TABLE}"),
        "{sql}"
    );
    let second = aws.call("PutItem query#001").item();
    assert_eq!(second["name"], "Stale buckets (days = 30)");
    assert_eq!(second["severity"], "low");
    assert!(second["tells"].is_string());
    let sql = second["sql"].as_str().unwrap();
    // The run started then.
    let limit = "< TIMESTAMP '2026-03-01 00:00:00' - INTERVAL '30' DAY";
    assert!(sql.contains(limit), "{sql}");
}

#[tokio::test]
async fn no_table_is_made_of_a_run_that_was_closed_meanwhile() {
    let mut script = publish_script();
    let last = script
        .iter()
        .rposition(|(name, _)| *name == "UpdateItem run")
        .unwrap();
    script[last].1 = condition_failed();
    let kept = script
        .iter()
        .position(|(name, _)| name.starts_with("CreateTable"));
    script.truncate(kept.unwrap());
    let (aws, answer) = publish(script).await;
    assert_eq!(answer.unwrap_err().name(), "InvalidInput");
    let claim = &aws.calls("UpdateItem run")[2];
    assert_eq!(
        claim.condition(),
        "attribute_exists(pk) AND attribute_not_exists(outcome)"
    );
}

pub(crate) fn publish_again_script() -> Vec<Line> {
    let mut run = the_run();
    run.made_database = true;
    run.made_table = true;
    let exists = || error(400, "AlreadyExistsException");
    let mut second = query(QueryState::Waiting);
    second.number = 1;
    vec![
        ("UpdateItem run", done()),
        ("GetItem run", item(&run)),
        ("Query bucket#", items(&[finished("photos")])),
        (LIST_TOTALS, keys(&["t1"])),
        ("GET@us-east-1 consolidated/t1", stored(totals(2))),
        (PUT_TOTALS, done()),
        (PUT_PREFIXES, done()),
        (
            "GetDatabase s3insights",
            Reply::Json(json!({ "Database": { "Name": "s3insights" } })),
        ),
        ("CreateTable s3insights.inventory_nightly", exists()),
        (
            "BatchCreatePartition s3insights.inventory_nightly",
            Reply::Json(json!({ "Errors": [{
                "PartitionValues": ["111111111111", "eu-west-1", "photos"],
                "ErrorDetail": { "ErrorCode": "AlreadyExistsException", "ErrorMessage": "is there" },
            }] })),
        ),
        ("Query query#", items(&[query(QueryState::Running), second])),
    ]
}

#[tokio::test]
async fn publishing_again_leaves_everything_as_it_is() {
    let (_, answer) = publish(publish_again_script()).await;
    assert_eq!(answer.unwrap().query_count, 2);
}

#[tokio::test]
async fn a_partition_that_was_not_made_is_not_overlooked() {
    let mut script = publish_again_script();
    script[9].1 = Reply::Json(json!({ "Errors": [
        { "ErrorDetail": { "ErrorCode": "AlreadyExistsException", "ErrorMessage": "is there" } },
        { "ErrorDetail": { "ErrorCode": "InternalServiceException", "ErrorMessage": "broke" } },
    ] }));
    script.pop();
    let (_, answer) = publish(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "Unavailable");
    assert!(error.to_string().contains("broke"), "{error}");
}

#[tokio::test]
async fn partitions_go_out_a_hundred_at_a_time() {
    let buckets: Vec<_> = (0..250)
        .map(|number| finished(&format!("bucket-{number:03}")))
        .collect();
    let mut script = publish_again_script();
    script[2].1 = items(&buckets);
    script.retain(|(name, _)| !name.contains("t1") && *name != LIST_TOTALS);
    for number in 0..250 {
        let name = format!(
            "GET@us-east-1 consolidated?list-type=2&prefix=totals/nightly/111111111111/\
             bucket-{number:03}/"
        );
        script.push((Box::leak(name.into_boxed_str()), keys(&[])));
    }
    for _ in 0..2 {
        script.push(("BatchCreatePartition s3insights.inventory_nightly", done()));
    }
    let (aws, answer) = publish(script).await;
    answer.unwrap();
    let sizes: Vec<usize> = aws
        .calls("BatchCreatePartition s3insights.inventory_nightly")
        .iter()
        .map(|call| call.json()["PartitionInputList"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
}

#[tokio::test]
async fn a_table_of_somebody_else_is_not_touched() {
    let mut script = publish_again_script();
    script[1].1 = item(&the_run());
    script.truncate(8);
    script.push((
        "GetTable s3insights.inventory_nightly",
        Reply::Json(json!({ "Table": { "Name": "inventory_nightly" } })),
    ));
    let (_, answer) = publish(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    assert!(
        error.to_string().starts_with("athena_table_name: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_smoke_test_without_a_report_of_every_region_fails_by_its_name() {
    let script = vec![
        ("UpdateItem run", done()),
        ("GetItem run", item(&smoke_run())),
        ("Query bucket#", items(&[in_progress("late")])),
        ("UpdateItem bucket#111111111111#late", done()),
    ];
    let (_, answer) = publish(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "SmokeTestFailed");
    assert!(error.to_string().contains("eu-west-1"), "{error}");
}

#[tokio::test]
async fn totals_that_cannot_be_read_are_a_broken_assumption() {
    let mut script = publish_again_script();
    script.truncate(5);
    script[4].1 = Reply::Bytes(b"not totals".to_vec());
    let (_, answer) = publish(script).await;
    assert_eq!(answer.unwrap_err().name(), "Internal");
}

// --- run-query ---------------------------------------------------------------------------------

pub(crate) fn query_payload() -> Value {
    json!({ "run_id": "nightly", "query": 0 })
}

pub(crate) fn run_query_script() -> Vec<Line> {
    vec![
        ("GetItem run", item(&the_run())),
        ("GetItem query#000", item(&query(QueryState::Waiting))),
        (
            "StartQueryExecution",
            Reply::Json(json!({ "QueryExecutionId": "q-1" })),
        ),
        ("PutItem query#000", done()),
    ]
}

async fn start(script: Vec<Line>) -> (Aws, Result<run_query::Output, TaskError>) {
    run(script, |platform| {
        run_query::handle(platform, input(query_payload()))
    })
    .await
}

#[tokio::test]
async fn a_query_is_started_with_a_token_that_derives_from_the_run() {
    let (aws, answer) = start(run_query_script()).await;
    assert_eq!(answer.unwrap().state, QueryState::Running);
    let request = aws.call("StartQueryExecution").json();
    assert_eq!(request["WorkGroup"], "insights");
    assert_eq!(request["QueryExecutionContext"]["Database"], "s3insights");
    assert_eq!(request["QueryString"], query(QueryState::Waiting).sql);
    let stored = aws.call("PutItem query#000").item();
    assert_eq!(stored["state"], "running");
    assert_eq!(stored["execution_id"], "q-1");

    // The attempt that started it broke off before it was recorded.
    let (again, _) = start(run_query_script()).await;
    let token = request["ClientRequestToken"].as_str().unwrap();
    assert_eq!(
        again.call("StartQueryExecution").json()["ClientRequestToken"],
        token
    );
    assert!((32..=128).contains(&token.len()));
}

#[tokio::test]
async fn a_query_that_was_started_is_not_started_again() {
    for state in [
        QueryState::Running,
        QueryState::Succeeded,
        QueryState::Failed,
    ] {
        let script = vec![
            ("GetItem run", item(&the_run())),
            ("GetItem query#000", item(&query(state))),
        ];
        let (_, answer) = start(script).await;
        assert_eq!(answer.unwrap().state, state);
    }
}

#[tokio::test]
async fn a_query_that_athena_refuses_is_an_outcome() {
    let mut script = run_query_script();
    script[2].1 = error_with(400, "InvalidRequestException", "mismatched input");
    let (aws, answer) = start(script).await;
    assert_eq!(answer.unwrap().state, QueryState::Failed);
    let stored = aws.call("PutItem query#000").item();
    assert_eq!(stored["reason"]["code"], "InvalidRequestException");
    assert_eq!(stored["reason"]["message"], "mismatched input");
}

#[tokio::test]
async fn a_query_that_is_not_on_record_is_named() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        ("GetItem query#000", no_item()),
    ];
    let (_, answer) = start(script).await;
    let error = answer.unwrap_err();
    assert_eq!(error.name(), "InvalidInput");
    assert!(error.to_string().starts_with("query: "), "{error}");
}

// --- check-query -------------------------------------------------------------------------------

fn execution(state: &str) -> Reply {
    Reply::Json(json!({ "QueryExecution": {
        "QueryExecutionId": "q-1",
        "Status": { "State": state, "StateChangeReason": "said Athena" },
        "ResultConfiguration": { "OutputLocation": "s3://consolidated/query-results/q-1.csv" },
        "Statistics": { "DataScannedInBytes": 1234 },
    } }))
}

fn rows(count: usize, next: Option<&str>) -> Reply {
    Reply::Json(json!({
        "ResultSet": { "Rows": vec![json!({ "Data": [] }); count] },
        "NextToken": next,
    }))
}

pub(crate) fn check_query_script() -> Vec<Line> {
    vec![
        ("GetItem query#000", item(&query(QueryState::Running))),
        ("GetQueryExecution q-1", execution("SUCCEEDED")),
        ("GetQueryResults q-1", rows(1_000, Some("more"))),
        ("GetQueryResults q-1", rows(3, None)),
        ("PutItem query#000", done()),
    ]
}

async fn check(script: Vec<Line>) -> (Aws, Result<check_query::Output, TaskError>) {
    run(script, |platform| {
        check_query::handle(platform, input(query_payload()))
    })
    .await
}

#[tokio::test]
async fn the_rows_of_every_page_are_counted_without_the_header() {
    let (aws, answer) = check(check_query_script()).await;
    assert_eq!(answer.unwrap().state, QueryState::Succeeded);
    let stored = aws.call("PutItem query#000").item();
    assert_eq!(stored["rows"], 1_002);
    assert_eq!(stored["scanned_bytes"], 1_234);
    assert_eq!(
        stored["result_location"],
        "s3://consolidated/query-results/q-1.csv"
    );
}

#[tokio::test]
async fn a_result_too_long_to_be_read_is_counted_by_athena() {
    let mut script = check_query_script();
    script.truncate(2);
    for page in 0..=200 {
        let next = format!("behind page {page}");
        script.push(("GetQueryResults q-1", rows(1_000, Some(&next))));
    }
    script.extend([
        (
            "GetQueryRuntimeStatistics q-1",
            Reply::Json(json!({ "QueryRuntimeStatistics": { "Rows": { "OutputRows": 900_000 } } })),
        ),
        ("PutItem query#000", done()),
    ]);
    let (aws, answer) = check(script).await;
    assert_eq!(answer.unwrap().state, QueryState::Succeeded);
    assert_eq!(aws.call("PutItem query#000").item()["rows"], 900_000);
}

#[tokio::test]
async fn a_query_that_is_under_way_or_over_is_only_read() {
    for state in ["QUEUED", "RUNNING"] {
        let script = vec![
            ("GetItem query#000", item(&query(QueryState::Running))),
            ("GetQueryExecution q-1", execution(state)),
        ];
        let (_, answer) = check(script).await;
        assert_eq!(answer.unwrap().state, QueryState::Running, "{state}");
    }
    for state in [
        QueryState::Waiting,
        QueryState::Succeeded,
        QueryState::Failed,
    ] {
        let (_, answer) = check(vec![("GetItem query#000", item(&query(state)))]).await;
        assert_eq!(answer.unwrap().state, state);
    }
}

#[tokio::test]
async fn a_query_that_failed_or_was_cancelled_is_an_outcome_with_the_reason() {
    for (state, code) in [("FAILED", "QueryFailed"), ("CANCELLED", "QueryCancelled")] {
        let script = vec![
            ("GetItem query#000", item(&query(QueryState::Running))),
            ("GetQueryExecution q-1", execution(state)),
            ("PutItem query#000", done()),
        ];
        let (aws, answer) = check(script).await;
        assert_eq!(answer.unwrap().state, QueryState::Failed);
        let reason = aws.call("PutItem query#000").item()["reason"].clone();
        assert_eq!(reason["code"], code);
        assert_eq!(reason["message"], "said Athena");
    }
}
