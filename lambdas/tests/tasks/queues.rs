//! The functions that queues feed.

use lambdas::inventory_object_processor;
use lambdas::queue::{SqsBatchResponse, SqsEvent};
use serde_json::{Value, json};
use shared::manifest::{Manifest, Md5Hash};
use shared::run::InventoryFile;
use shared::smoke_report::SmokeReport;

use crate::support::{
    Aws, CONFIGURATION, DESTINATION, Line, MEMBER, Reply, account, done, item, named, run, the_run,
};

pub(crate) mod delivered_reports;
pub(crate) mod existing_reports;
mod forged;
pub(crate) mod inventory_files;
mod large_files;

const BUCKET: &str = "GetItem bucket#111111111111#photos";
const DESTINATION_OF: &str = "GetItem destination#eu-west-1";
const DATA: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/data/smoke-test.parquet";
const DATA_HEAD: &str = "HEAD@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/data/smoke-test.parquet";
const TOTALS: &str =
    "PUT@us-east-1 consolidated/totals/nightly/111111111111/photos/smoke-test.json";
const COUNT_ONE: &str = "TransactWriteItems file#photos#smoke-test bucket#111111111111#photos";
const END: &str = "TransactWriteItems run bucket#111111111111#photos";
const REMOVE: &str =
    "DELETE@eu-west-1 photos?inventory&id=s3insights-insights-nightly as 111111111111";
const FLAG: &str = "UpdateItem bucket#111111111111#photos";

/// A report about the bucket `photos`: data file, manifest, checksum.
struct Report {
    data: Vec<u8>,
    manifest: Vec<u8>,
    checksum: Vec<u8>,
}

fn report() -> Report {
    let report = SmokeReport::new(
        &account(MEMBER),
        &named("photos"),
        CONFIGURATION,
        &named(DESTINATION),
        the_run().started_at,
    );
    let mut bodies = report.objects.into_iter().map(|(_, _, body)| body);
    let mut next = || bodies.next().expect("three objects");
    Report {
        data: next(),
        manifest: next(),
        checksum: next(),
    }
}

/// The same with another manifest, and the checksum that it has.
fn report_with(change: impl FnOnce(&mut Value)) -> Report {
    let mut report = report();
    let mut manifest: Value = serde_json::from_slice(&report.manifest).expect("JSON");
    change(&mut manifest);
    report.manifest = manifest.to_string().into_bytes();
    report.checksum = Md5Hash::of(&report.manifest).to_string().into_bytes();
    report
}

pub(crate) fn message(id: &str, receives: u32, body: &Value) -> Value {
    let body = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    json!({
        "messageId": id, "receiptHandle": format!("receipt of {id}"), "body": body,
        "attributes": { "ApproximateReceiveCount": receives.to_string() },
        "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
    })
}

pub(crate) fn batch(messages: &[Value]) -> SqsEvent {
    serde_json::from_value(json!({ "Records": messages })).expect("a batch of SQS")
}

/// What S3 says when an object was created.
fn created(key: &str) -> Value {
    json!({ "Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": { "bucket": { "name": DESTINATION }, "object": { "key": key, "size": 32 } },
    }] })
}

fn report_came() -> Value {
    created("111111111111/photos/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum")
}

pub(crate) fn returned(response: &SqsBatchResponse) -> Vec<&str> {
    response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.as_str())
        .collect()
}

fn sent() -> Reply {
    Reply::Json(json!({ "Successful": [], "Failed": [] }))
}

async fn process(script: Vec<Line>, messages: &[Value]) -> (Aws, SqsBatchResponse) {
    let event = batch(messages);
    let (aws, answer) = run(script, |platform| {
        inventory_object_processor::handle(platform, event)
    })
    .await;
    (aws, answer.unwrap())
}

async fn process_one(script: Vec<Line>) -> (Aws, SqsBatchResponse) {
    process(script, &[message("m", 1, &report_came())]).await
}

pub(crate) fn file_message() -> Value {
    json!({ "run_id": "nightly", "account_id": MEMBER, "bucket": "photos", "file": "smoke-test" })
}

fn file(report: &Report) -> InventoryFile {
    let manifest = Manifest::parse(&report.manifest).expect("a manifest");
    let listed = manifest.files[0].clone();
    InventoryFile {
        account: account(MEMBER),
        bucket: named("photos"),
        region: "eu-west-1".try_into().expect("a Region"),
        report: "manifest.json".to_owned(),
        destination_bucket: named(DESTINATION),
        key: listed.key,
        size: listed.size,
        md5: listed.md5,
        format: manifest.format,
        schema: manifest.schema,
        done: false,
    }
}

/// What a report that does not verify leads to: the bucket ends, the run is still waited for, and
/// the configuration goes.
fn refused() -> Vec<Line> {
    vec![
        (END, done()),
        ("GetItem run", item(&the_run())),
        (REMOVE, done()),
        (FLAG, done()),
    ]
}

fn assert_refused(aws: &Aws, code: &str) {
    let parts = aws.call(END).parts();
    assert_eq!(parts[0].value(":by"), -1);
    assert_eq!(parts[1].condition(), "#status = :from");
    assert_eq!(parts[1].value(":next"), "verification_failed");
    assert_eq!(parts[1].value(":reason")["code"], code);
}
