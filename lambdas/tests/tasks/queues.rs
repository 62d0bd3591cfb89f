use lambdas::queue::{SqsBatchResponse, SqsEvent};
use lambdas::{inventory_file_consolidator, inventory_object_processor};
use serde_json::{Value, json};
use shared::manifest::{Manifest, Md5Hash};
use shared::run::{InventoryFile, Run, SourceBucket};
use shared::smoke_report::SmokeReport;

use crate::support::{
    Aws, CONFIGURATION, DESTINATION, Line, MEMBER, Reply, account, cancelled, condition_failed,
    deleted, destination, done, error, error_with, existing, finished, frozen_run, head_of,
    head_of_bucket, in_progress, item, items, named, no_item, run, the_run,
};

mod forged;
mod large_files;

const BUCKET: &str = "GetItem bucket#111111111111#photos";
const DESTINATION_OF: &str = "GetItem destination#eu-west-1";
const CHECKSUM: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum";
const MANIFEST: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/2026-03-01T00-00Z/manifest.json";
const DATA: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/data/smoke-test.parquet";
const DATA_HEAD: &str = "HEAD@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/data/smoke-test.parquet";
const ROWS: &str = "PUT@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet";
const TOTALS: &str =
    "PUT@us-east-1 consolidated/totals/nightly/111111111111/photos/smoke-test.json";
const COUNT_ONE: &str = "TransactWriteItems file#photos#smoke-test bucket#111111111111#photos";
const COUNT_LAST: &str = "TransactWriteItems file#photos#smoke-test bucket#111111111111#photos run";
const END: &str = "TransactWriteItems run bucket#111111111111#photos";
const REMOVE: &str =
    "DELETE@eu-west-1 photos?inventory&id=s3insights-insights-nightly as 111111111111";
const FLAG: &str = "UpdateItem bucket#111111111111#photos";

// --- reports and messages ----------------------------------------------------------------------

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

// --- inventory-object-processor ----------------------------------------------------------------

pub(crate) fn processor_event() -> SqsEvent {
    batch(&[message("m", 1, &report_came())])
}

pub(crate) fn processor_script() -> Vec<Line> {
    let report = report();
    vec![
        ("GetItem run", item(&the_run())),
        (BUCKET, item(&in_progress("photos"))),
        (DESTINATION_OF, item(&destination())),
        (CHECKSUM, Reply::Bytes(report.checksum)),
        (MANIFEST, Reply::Bytes(report.manifest)),
        ("UpdateItem bucket#111111111111#photos", done()),
        ("PutItem file#photos#smoke-test", done()),
        ("SendMessageBatch files", sent()),
    ]
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

#[tokio::test]
async fn a_verified_report_becomes_a_record_and_a_message_for_each_file() {
    let (aws, response) = process_one(processor_script()).await;
    assert!(returned(&response).is_empty());

    let claim = aws.call(FLAG);
    assert_eq!(
        claim.condition(),
        "#status = :in_progress AND (attribute_not_exists(report) OR (report = :report AND \
         report_md5 = :md5))"
    );
    // A manifest that takes the place of this one lists other files.
    assert_eq!(
        claim.value(":md5"),
        Md5Hash::of(&report().manifest).to_string()
    );
    assert_eq!(claim.value(":files"), 1);
    // Claimed, then recorded, then told: a message finds its file.
    aws.assert_order(FLAG, "PutItem file#photos#smoke-test");
    aws.assert_order("PutItem file#photos#smoke-test", "SendMessageBatch files");
    let record = aws.call("PutItem file#photos#smoke-test");
    assert_eq!(record.condition(), "attribute_not_exists(pk)");
    let record = record.item();
    assert_eq!(record["size"], report().data.len());
    assert_eq!(record["md5"], Md5Hash::of(&report().data).to_string());
    assert_eq!(record["destination_bucket"], DESTINATION);
    let entry = aws.call("SendMessageBatch files").json()["Entries"][0].clone();
    let body: Value = serde_json::from_str(entry["MessageBody"].as_str().unwrap()).unwrap();
    assert_eq!(body, file_message());
}

#[tokio::test]
async fn a_report_that_comes_again_is_queued_again_and_changes_nothing_else() {
    // The first attempt broke off after its messages were sent: the claim is its own.
    let mut script = processor_script();
    script[6].1 = condition_failed();
    let (_, response) = process_one(script).await;
    assert!(returned(&response).is_empty());

    // Another report of the bucket was faster, or the bucket has ended.
    let mut other_report = in_progress("photos");
    other_report.report = Some("another manifest.json".into());
    for bucket in [other_report, finished("photos")] {
        let mut script = processor_script();
        script[5].1 = condition_failed();
        script.truncate(6);
        script.push((BUCKET, item(&bucket)));
        let (_, response) = process_one(script).await;
        assert!(returned(&response).is_empty());
    }
}

/// A bucket that took a report of so many files, of which no more is there than its key.
fn replaced(files: u64) -> SourceBucket {
    let key = MANIFEST.split_once(DESTINATION).expect("it lies there").1;
    let mut bucket = in_progress("photos");
    bucket.report = Some(key.trim_start_matches('/').to_owned());
    bucket.report_md5 = Some(Md5Hash::of(b"the manifest that was there").to_string());
    bucket.files = Some(files);
    bucket.files_pending = Some(files);
    bucket
}

/// Another report of the same key is found, and does not get the bucket; a damaged one does not ask.
fn replacements(taken: &SourceBucket) -> [Vec<Line>; 2] {
    let mut sound = processor_script();
    sound[1].1 = item(taken);
    sound[5].1 = condition_failed();
    sound.truncate(6);
    let mut damaged = processor_script();
    damaged[1].1 = item(taken);
    damaged[4].1 = Reply::Bytes(b"{}".to_vec());
    damaged.truncate(5);
    [sound, damaged].map(|mut script| {
        script.push((BUCKET, item(taken)));
        script
    })
}

#[tokio::test]
async fn a_report_that_takes_the_place_of_the_one_taken_has_that_one_gone_on_with() {
    let mut counted = file(&report());
    counted.done = true;
    counted.key = counted.key.replace("smoke-test", "counted");
    let files = [counted, file(&report())];
    for mut script in replacements(&replaced(2)) {
        script.extend([
            ("Query file#photos#", items(&files)),
            ("SendMessageBatch files", sent()),
        ]);
        let (aws, response) = process_one(script).await;
        assert!(returned(&response).is_empty());
        let entries = aws.call("SendMessageBatch files").json()["Entries"].clone();
        assert_eq!(entries.as_array().map(Vec::len), Some(1));
        let body = entries[0]["MessageBody"].as_str().expect("a text");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, file_message());
    }
}

#[tokio::test]
async fn a_report_of_no_files_that_was_replaced_makes_its_bucket_done() {
    for mut script in replacements(&replaced(0)) {
        let none: [InventoryFile; 0] = [];
        script.push(("Query file#photos#", items(&none)));
        script.extend(refused());
        let (aws, response) = process_one(script).await;
        assert!(returned(&response).is_empty());
        assert_eq!(aws.call(END).parts()[1].value(":next"), "done");
    }
}

#[tokio::test]
async fn a_report_that_was_replaced_before_it_was_on_record_is_waited_for_and_ends_its_bucket() {
    for mut script in replacements(&replaced(2)) {
        script.push(("Query file#photos#", items(&[file(&report())])));
        let mut early = script.clone();
        early.push(("ChangeMessageVisibility notifications", done()));
        let (_, response) = process(early, &[message("m", 9, &report_came())]).await;
        assert_eq!(returned(&response), ["m"]);

        script.extend(refused());
        let (aws, response) = process(script, &[message("m", 10, &report_came())]).await;
        assert!(returned(&response).is_empty());
        assert_refused(&aws, "ReportReplaced");
    }
}

#[tokio::test]
async fn a_report_that_nobody_awaits_is_acknowledged() {
    let mut other_report = in_progress("photos");
    other_report.report = Some("another manifest.json".into());
    let mut other_place = destination();
    other_place.bucket = Some(named("another-bucket"));
    let known = |run: &Run, bucket: &SourceBucket, place: &shared::run::Destination| {
        vec![
            ("GetItem run", item(run)),
            (BUCKET, item(bucket)),
            (DESTINATION_OF, item(place)),
            // The last of a bucket's messages may have been answered only half.
            ("GetItem run", item(run)),
        ]
    };
    let open = in_progress("photos");
    let cases: [Vec<Line>; 6] = [
        vec![("GetItem run", no_item())],
        vec![("GetItem run", item(&the_run())), (BUCKET, no_item())],
        known(&frozen_run(), &open, &destination()),
        known(&the_run(), &finished("photos"), &destination()),
        known(&the_run(), &other_report, &destination()),
        known(&the_run(), &open, &other_place),
    ];
    for script in cases {
        let (_, response) = process_one(script).await;
        assert!(returned(&response).is_empty());
    }
}

#[tokio::test]
async fn what_is_no_end_of_a_report_of_ours_is_acknowledged() {
    let messages: Vec<Value> = [
        created("111111111111/photos/s3insights-insights-nightly/data/a.parquet"),
        created("111111111111/photos/daily/2026-03-01T00-00Z/manifest.checksum"),
        created("stranger"),
        json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": DESTINATION }),
        json!({ "Records": [] }),
        json!("{ this is no JSON"),
        json!(""),
    ]
    .iter()
    .map(|body| message("m", 1, body))
    .collect();
    let (aws, response) = process(vec![], &messages).await;
    assert!(returned(&response).is_empty());
    assert!(aws.names().is_empty());
}

#[tokio::test]
async fn one_bad_message_of_three_goes_back_alone_and_later() {
    let mut script = processor_script();
    script.extend([
        (
            "GetItem other:run",
            error(400, "ProvisionedThroughputExceededException"),
        ),
        ("ChangeMessageVisibility notifications", done()),
    ]);
    let other = created(
        "111111111111/photos/s3insights-insights-other/2026-03-01T00-00Z/manifest.checksum",
    );
    let messages = [
        message("first", 1, &json!("nonsense")),
        message("second", 3, &other),
        message("third", 1, &report_came()),
    ];
    let (aws, response) = process(script, &messages).await;
    assert_eq!(returned(&response), ["second"]);
    let delay = aws.call("ChangeMessageVisibility notifications").json();
    assert_eq!(delay["ReceiptHandle"], "receipt of second");
    // 5 seconds, doubled with each time it was received before.
    assert_eq!(delay["VisibilityTimeout"], 20);
}

#[tokio::test]
async fn a_message_that_cannot_be_delayed_still_goes_back() {
    let script = vec![
        ("GetItem run", error(500, "InternalServerError")),
        (
            "ChangeMessageVisibility notifications",
            error(400, "InvalidParameterValue"),
        ),
    ];
    let (_, response) = process_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}

#[tokio::test]
async fn a_manifest_that_is_not_there_is_waited_for_and_at_last_counts_as_missing() {
    let mut script = processor_script();
    script[4].1 = error(404, "NoSuchKey");
    script.truncate(5);
    let mut early = script.clone();
    early.push(("ChangeMessageVisibility notifications", done()));
    let (_, response) = process(early, &[message("m", 9, &report_came())]).await;
    assert_eq!(returned(&response), ["m"]);

    script.extend(refused());
    let (aws, response) = process(script, &[message("m", 10, &report_came())]).await;
    assert!(returned(&response).is_empty());
    assert_refused(&aws, "ManifestMissing");
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

#[tokio::test]
async fn a_report_that_does_not_verify_ends_its_bucket() {
    let mut damaged = report();
    damaged.manifest.push(b' ');
    let cases = [
        (damaged, "ManifestChecksumMismatch"),
        (
            report_with(|manifest| manifest["sourceBucket"] = json!("another")),
            "ForeignReport",
        ),
        (
            report_with(|manifest| manifest["destinationBucket"] = json!("arn:aws:s3:::another")),
            "ForeignReport",
        ),
        (
            report_with(|manifest| {
                manifest["files"][0]["key"] = json!("222222222222/theirs/x/data/a.parquet");
            }),
            "ForeignReport",
        ),
        (
            report_with(|manifest| manifest["files"][0]["size"] = json!(-1)),
            "MalformedManifest",
        ),
    ];
    for (report, code) in cases {
        let mut script = processor_script();
        script[3].1 = Reply::Bytes(report.checksum);
        script[4].1 = Reply::Bytes(report.manifest);
        script.truncate(5);
        script.extend(refused());
        let (aws, response) = process_one(script).await;
        assert!(returned(&response).is_empty(), "{code}");
        assert_refused(&aws, code);
    }
}

#[tokio::test]
async fn a_manifest_too_large_to_be_read_ends_its_bucket() {
    let mut large_checksum = processor_script();
    large_checksum[3].1 = Reply::Bytes(vec![b'1'; 2_000]);
    large_checksum.truncate(5);
    let mut large_manifest = processor_script();
    large_manifest[4].1 = Reply::Bytes(vec![b'1'; 33 * 1024 * 1024]);
    large_manifest.truncate(5);
    // It is asked for first.
    large_manifest.remove(3);
    for mut script in [large_checksum, large_manifest] {
        script.extend(refused());
        let (aws, response) = process_one(script).await;
        assert!(returned(&response).is_empty());
        assert_refused(&aws, "ManifestTooLarge");
    }
}

#[tokio::test]
async fn a_report_of_no_files_makes_its_bucket_done_and_answers_the_wait() {
    let empty = report_with(|manifest| manifest["files"] = json!([]));
    let mut settled = the_run();
    settled.in_progress = 0;
    settled.task_token = Some("token".into());
    let mut script = processor_script();
    script[3].1 = Reply::Bytes(empty.checksum);
    script[4].1 = Reply::Bytes(empty.manifest);
    script.truncate(6);
    script.extend([
        (END, done()),
        ("GetItem run", item(&settled)),
        ("SendTaskSuccess token", done()),
        (REMOVE, done()),
        (FLAG, done()),
    ]);
    let (aws, response) = process_one(script).await;
    assert!(returned(&response).is_empty());
    let parts = aws.call(END).parts();
    assert_eq!(
        parts[0].condition(),
        "attribute_exists(pk) AND attribute_not_exists(frozen_at)"
    );
    assert_eq!(parts[1].value(":next"), "done");
    assert_eq!(
        parts[1].condition(),
        "#status = :from AND files_pending = :none"
    );
}

/// A script of a report of so many files.
fn script_of_many(count: usize) -> Vec<Line> {
    let many = report_with(|manifest| {
        let file = manifest["files"][0].clone();
        let files: Vec<Value> = (0..count)
            .map(|number| {
                let mut file = file.clone();
                file["key"] = json!(format!(
                    "111111111111/photos/s3insights-insights-nightly/data/f{number:04}.parquet"
                ));
                file
            })
            .collect();
        manifest["files"] = json!(files);
    });
    let mut script = processor_script();
    script[3].1 = Reply::Bytes(many.checksum);
    script[4].1 = Reply::Bytes(many.manifest);
    script.truncate(6);
    for number in 0..count {
        let name = format!("PutItem file#photos#f{number:04}");
        script.push((Box::leak(name.into_boxed_str()), done()));
    }
    for _ in 0..count.div_ceil(10) {
        script.push(("SendMessageBatch files", sent()));
    }
    script
}

#[tokio::test]
async fn many_files_are_queued_ten_at_a_time_and_none_is_lost() {
    // The larger report is worked on in parts.
    for count in [23, 1_040] {
        let (aws, response) = process_one(script_of_many(count)).await;
        assert!(returned(&response).is_empty());
        assert_eq!(aws.call(FLAG).value(":files"), count);
        let names = aws.names();
        let mut recorded: Vec<&str> = Vec::new();
        let mut batches = aws.calls("SendMessageBatch files").into_iter();
        let mut sent: Vec<String> = Vec::new();
        for name in &names {
            recorded.extend(name.strip_prefix("PutItem file#photos#"));
            if name != "SendMessageBatch files" {
                continue;
            }
            let batch = batches.next().expect("as many as there are names");
            // 1 MiB is the most that a request has, and ten messages are far from it.
            assert!(batch.body.len() < 10_000, "{}", batch.body.len());
            for entry in batch.json()["Entries"].as_array().unwrap() {
                let body = entry["MessageBody"].as_str().unwrap();
                let body: Value = serde_json::from_str(body).unwrap();
                let file = body["file"].as_str().unwrap().to_owned();
                // A message finds its file.
                assert!(recorded.contains(&file.as_str()), "{file}");
                sent.push(file);
            }
        }
        sent.sort();
        sent.dedup();
        assert_eq!(sent.len(), count);
    }
}

#[tokio::test]
async fn a_file_message_that_the_queue_did_not_take_sends_the_report_back() {
    let mut script = processor_script();
    script[7].1 = Reply::Json(json!({ "Successful": [], "Failed": [
        { "Id": "0", "SenderFault": false, "Code": "InternalError", "Message": "try again" },
    ] }));
    script.push(("ChangeMessageVisibility notifications", done()));
    let (_, response) = process_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}

// --- inventory-object-processor: reports that existed before the run -----------------------------

const HEAD: &str = "HEAD@us-east-1 reports";
const EXISTING_MANIFEST: &str =
    "GET@eu-central-1 reports/team/photos/daily/2026-02-27T01-00Z/manifest.json";
const EXISTING_CHECKSUM: &str =
    "GET@eu-central-1 reports/team/photos/daily/2026-02-27T01-00Z/manifest.checksum";

fn existing_message() -> Value {
    json!({ "run_id": "nightly", "account_id": MEMBER, "bucket": "photos" })
}

fn existing_report(change: impl FnOnce(&mut Value)) -> Report {
    report_with(|manifest| {
        manifest["destinationBucket"] = json!("arn:aws:s3:::reports");
        manifest["files"][0]["key"] = json!("team/photos/daily/data/smoke-test.parquet");
        change(manifest);
    })
}

pub(crate) fn existing_event() -> SqsEvent {
    batch(&[message("m", 1, &existing_message())])
}

pub(crate) fn existing_script() -> Vec<Line> {
    existing_script_with(existing_report(|_| ()))
}

fn existing_script_with(report: Report) -> Vec<Line> {
    vec![
        ("GetItem run", item(&the_run())),
        (BUCKET, item(&existing("photos"))),
        (HEAD, head_of_bucket(200, Some("eu-central-1"))),
        (EXISTING_MANIFEST, Reply::Bytes(report.manifest)),
        (EXISTING_CHECKSUM, Reply::Bytes(report.checksum)),
        (FLAG, done()),
        ("PutItem file#photos#smoke-test", done()),
        ("SendMessageBatch files", sent()),
    ]
}

async fn process_existing(script: Vec<Line>) -> (Aws, SqsBatchResponse) {
    process(script, &[message("m", 1, &existing_message())]).await
}

/// As [`refused`], but there is no configuration to remove.
fn refused_existing() -> Vec<Line> {
    vec![(END, done()), ("GetItem run", item(&the_run()))]
}

#[tokio::test]
async fn an_existing_report_is_taken_from_the_place_and_region_that_its_record_leads_to() {
    // S3 tells the Region also to whom it sends there.
    for status in [200, 301, 403] {
        let mut script = existing_script();
        script[2].1 = head_of_bucket(status, Some("eu-central-1"));
        let (aws, response) = process_existing(script).await;
        assert!(returned(&response).is_empty());
        let claim = aws.call(FLAG);
        assert_eq!(
            claim.value(":report"),
            "team/photos/daily/2026-02-27T01-00Z/manifest.json"
        );
        let record = aws.call("PutItem file#photos#smoke-test").item();
        assert_eq!(record["destination_bucket"], "reports");
        assert_eq!(record["region"], "eu-central-1");
        assert_eq!(record["key"], "team/photos/daily/data/smoke-test.parquet");
        let entry = aws.call("SendMessageBatch files").json()["Entries"][0].clone();
        let body: Value = serde_json::from_str(entry["MessageBody"].as_str().unwrap()).unwrap();
        assert_eq!(body, file_message());
    }
}

#[tokio::test]
async fn a_message_can_have_no_report_taken_that_the_record_does_not_name() {
    let mut ended = existing("photos");
    ended.status = shared::status::InventoryStatus::VerificationFailed;
    let known = |run: &Run, bucket: &SourceBucket| {
        vec![
            ("GetItem run", item(run)),
            (BUCKET, item(bucket)),
            ("GetItem run", item(run)),
        ]
    };
    let cases: [Vec<Line>; 5] = [
        vec![("GetItem run", no_item())],
        vec![("GetItem run", item(&the_run())), (BUCKET, no_item())],
        known(&the_run(), &in_progress("photos")),
        known(&the_run(), &ended),
        known(&frozen_run(), &existing("photos")),
    ];
    for script in cases {
        let (_, response) = process_existing(script).await;
        assert!(returned(&response).is_empty());
    }
    // A message that names a place is none of ours.
    let mut forged = existing_message();
    forged["manifest"] = json!("s3://elsewhere/photos/daily/1/manifest.json");
    let (aws, response) = process(vec![], &[message("m", 1, &forged)]).await;
    assert!(returned(&response).is_empty());
    assert!(aws.names().is_empty());
}

#[tokio::test]
async fn no_delivery_is_taken_for_a_bucket_whose_report_exists() {
    let script = vec![
        ("GetItem run", item(&the_run())),
        (BUCKET, item(&existing("photos"))),
        (DESTINATION_OF, item(&destination())),
        ("GetItem run", item(&the_run())),
    ];
    let (_, response) = process_one(script).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn an_existing_report_that_is_not_what_it_is_said_to_be_ends_its_bucket_at_once() {
    let mut damaged = existing_report(|_| ());
    damaged.manifest.push(b' ');
    let cases = [
        (damaged, "ManifestChecksumMismatch"),
        (
            existing_report(|manifest| manifest["sourceBucket"] = json!("another")),
            "ForeignReport",
        ),
        (
            existing_report(|manifest| {
                manifest["destinationBucket"] = json!("arn:aws:s3:::another");
            }),
            "ForeignReport",
        ),
    ];
    for (report, code) in cases {
        let mut script = existing_script_with(report);
        script.truncate(5);
        script.extend(refused_existing());
        let (aws, response) = process_existing(script).await;
        assert!(returned(&response).is_empty(), "{code}");
        assert_refused(&aws, code);
    }
}

#[tokio::test]
async fn a_manifest_of_others_is_not_read_beyond_what_a_manifest_can_be() {
    let mut script = existing_script();
    script[3].1 = Reply::Bytes(vec![b' '; 33 * 1024 * 1024]);
    script.truncate(4);
    script.extend(refused_existing());
    let (aws, response) = process_existing(script).await;
    assert!(returned(&response).is_empty());
    assert_refused(&aws, "ManifestTooLarge");
}

#[tokio::test]
async fn an_existing_report_that_is_not_there_is_not_waited_for() {
    for (at, code, said) in [
        (3, "NoSuchKey", "Z/manifest.json is not there"),
        (
            4,
            "NoSuchKey",
            "manifest.checksum beside s3://reports/team/",
        ),
    ] {
        let mut script = existing_script();
        script[at].1 = error(404, code);
        script.truncate(5);
        script.extend(refused_existing());
        let (aws, response) = process_existing(script).await;
        assert!(returned(&response).is_empty());
        assert_refused(&aws, "ManifestMissing");
        let reason = aws.call(END).parts()[1].value(":reason");
        assert!(
            reason["message"].as_str().unwrap().contains(said),
            "{reason}"
        );
    }
    let mut script = existing_script();
    script[2].1 = head_of_bucket(404, None);
    script.truncate(3);
    script.extend(refused_existing());
    let (aws, _) = process_existing(script).await;
    assert_refused(&aws, "ManifestMissing");
}

#[tokio::test]
async fn who_may_not_read_an_existing_report_says_which_permission_and_parameter() {
    let mut no_head = existing_script();
    no_head[2].1 = head_of_bucket(403, None);
    no_head.truncate(3);
    let mut no_get = existing_script();
    no_get[3].1 = error(403, "AccessDenied");
    no_get.truncate(4);
    for mut script in [no_head, no_get] {
        script.extend(refused_existing());
        let (aws, response) = process_existing(script).await;
        assert!(returned(&response).is_empty());
        let reason = aws.call(END).parts()[1].value(":reason");
        assert_eq!(reason["missing_permission"], "s3:GetObject");
        let message = reason["message"].as_str().unwrap();
        assert!(message.contains("ExistingInventoryBucketArns"), "{message}");
        assert!(message.contains("the bucket reports"), "{message}");
    }
    let mut no_key = existing_script();
    let refusal = "not authorized to perform: kms:Decrypt on resource: arn:aws:kms:x";
    no_key[3].1 = error_with(403, "AccessDenied", refusal);
    no_key.truncate(4);
    no_key.extend(refused_existing());
    let (aws, _) = process_existing(no_key).await;
    let reason = aws.call(END).parts()[1].value(":reason");
    assert_eq!(reason["missing_permission"], "kms:Decrypt");
}

#[tokio::test]
async fn an_existing_report_that_cannot_be_read_now_is_tried_again() {
    for (at, reply) in [(2, error(503, "SlowDown")), (3, Reply::Unreachable)] {
        let mut script = existing_script();
        script[at].1 = reply;
        script.truncate(at + 1);
        script.push(("ChangeMessageVisibility notifications", done()));
        let (_, response) = process_existing(script).await;
        assert_eq!(returned(&response), ["m"]);
    }
}

// --- inventory-file-consolidator ---------------------------------------------------------------

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

fn with_files(pending: u64) -> SourceBucket {
    let mut bucket = in_progress("photos");
    bucket.report = Some("manifest.json".into());
    bucket.files = Some(2);
    bucket.files_pending = Some(pending);
    bucket
}

pub(crate) fn consolidator_event() -> SqsEvent {
    batch(&[message("m", 1, &file_message())])
}

/// The last file of the last bucket.
pub(crate) fn consolidator_script() -> Vec<Line> {
    let report = report();
    let mut settled = the_run();
    settled.in_progress = 0;
    settled.task_token = Some("token".into());
    vec![
        ("GetItem file#photos#smoke-test", item(&file(&report))),
        (BUCKET, item(&with_files(1))),
        (
            DATA_HEAD,
            head_of(&report.data, &Md5Hash::of(&report.data).to_string()),
        ),
        (DATA, Reply::Bytes(report.data)),
        (ROWS, done()),
        (TOTALS, done()),
        (COUNT_ONE, cancelled(&["None", "ConditionalCheckFailed"])),
        (COUNT_LAST, done()),
        ("GetItem run", item(&settled)),
        ("SendTaskSuccess token", done()),
        (REMOVE, done()),
        (FLAG, done()),
    ]
}

async fn consolidate(script: Vec<Line>, messages: &[Value]) -> (Aws, SqsBatchResponse) {
    let event = batch(messages);
    let (aws, answer) = run(script, |platform| {
        inventory_file_consolidator::handle(platform, event)
    })
    .await;
    (aws, answer.unwrap())
}

async fn consolidate_one(script: Vec<Line>) -> (Aws, SqsBatchResponse) {
    consolidate(script, &[message("m", 1, &file_message())]).await
}

#[tokio::test]
async fn the_last_file_makes_the_bucket_done_and_the_last_bucket_ends_the_wait() {
    let (aws, response) = consolidate_one(consolidator_script()).await;
    assert!(returned(&response).is_empty());
    // A file counts once its rows and totals are there.
    aws.assert_order(ROWS, COUNT_ONE);
    aws.assert_order(TOTALS, COUNT_ONE);

    let parts = aws.call(COUNT_LAST).parts();
    assert_eq!(parts[0].condition(), "done = :no");
    assert_eq!(
        parts[1].condition(),
        "#status = :in_progress AND files_pending = :one"
    );
    assert_eq!(parts[1].value(":done"), "done");
    assert_eq!(parts[1].value(":rows"), 2);
    assert_eq!(parts[1].value(":objects"), 2);
    assert_eq!(parts[1].value(":bytes"), 3);
    assert_eq!(
        parts[2].condition(),
        "attribute_exists(pk) AND attribute_not_exists(frozen_at)"
    );
    assert_eq!(parts[2].value(":by"), -1);
    assert_eq!(aws.call(TOTALS).json()["all"]["objects"], 2);
    // S3 is kept from reporting, and billing, again.
    let flag = aws.call(FLAG).json();
    assert_eq!(
        flag["ExpressionAttributeNames"]["#flag"],
        "configuration_removed"
    );
}

#[tokio::test]
async fn one_of_many_files_is_counted_and_no_more() {
    let mut script = consolidator_script();
    script[1].1 = item(&with_files(2));
    script[6].1 = done();
    script.truncate(7);
    script.push(("GetItem run", item(&the_run())));
    let (aws, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    let parts = aws.call(COUNT_ONE).parts();
    assert_eq!(parts[0].condition(), "done = :no");
    assert_eq!(
        parts[1].condition(),
        "#status = :in_progress AND files_pending > :one"
    );
    assert_eq!(parts[1].value(":minus_one"), -1);
}

#[tokio::test]
async fn a_file_that_was_counted_is_only_looked_after() {
    let mut counted = file(&report());
    counted.done = true;
    // Other files are still to come.
    let script = vec![
        ("GetItem file#photos#smoke-test", item(&counted)),
        (BUCKET, item(&with_files(1))),
        (BUCKET, item(&with_files(1))),
        ("GetItem run", item(&the_run())),
        (BUCKET, item(&with_files(1))),
    ];
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());

    // It was the last one, and the attempt before stopped right after counting it.
    let mut settled = the_run();
    settled.in_progress = 0;
    settled.task_token = Some("token".into());
    let script = vec![
        ("GetItem file#photos#smoke-test", item(&counted)),
        (BUCKET, item(&finished("photos"))),
        (BUCKET, item(&finished("photos"))),
        ("GetItem run", item(&settled)),
        ("SendTaskSuccess token", error(400, "TaskTimedOut")),
        (REMOVE, error(404, "NoSuchConfiguration")),
        (FLAG, done()),
    ];
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn a_file_written_twice_at_once_counts_once_and_has_the_same_bytes() {
    let (first, _) = consolidate_one(consolidator_script()).await;
    let mut counted = file(&report());
    counted.done = true;
    let mut script = consolidator_script();
    script[7].1 = cancelled(&["ConditionalCheckFailed", "None", "None"]);
    script.truncate(8);
    let mut done_since = finished("photos");
    done_since.configuration_removed = true;
    script.extend([
        ("GetItem file#photos#smoke-test", item(&counted)),
        (BUCKET, item(&done_since)),
        ("GetItem run", item(&the_run())),
        // Its rows belong to the snapshot, so they stay, also when the run was frozen since.
        ("GetItem run", item(&frozen_run())),
        (BUCKET, item(&done_since)),
        (BUCKET, item(&done_since)),
        ("GetItem run", item(&the_run())),
    ]);
    let (again, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    for key in [ROWS, TOTALS] {
        assert_eq!(first.call(key).body, again.call(key).body, "{key}");
    }
}

#[tokio::test]
async fn rows_that_come_after_publication_are_deleted_again() {
    let mut script = consolidator_script();
    script[7].1 = cancelled(&["None", "None", "ConditionalCheckFailed"]);
    script.truncate(8);
    script.extend([
        ("GetItem file#photos#smoke-test", item(&file(&report()))),
        (BUCKET, item(&with_files(1))),
        ("GetItem run", item(&frozen_run())),
        (BUCKET, item(&with_files(1))),
        ("GetItem run", item(&frozen_run())),
        ("POST@us-east-1 consolidated?delete", deleted()),
        (BUCKET, item(&with_files(1))),
    ]);
    let (aws, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    assert!(
        aws.call("POST@us-east-1 consolidated?delete")
            .text()
            .contains("bucketname=photos/smoke-test.parquet")
    );
}

const DELETE_ROWS: &str = "POST@us-east-1 consolidated?delete";

/// Rows of a bucket that the run was published without are looked at and deleted.
fn stray() -> Vec<Line> {
    vec![
        (BUCKET, item(&with_files(1))),
        ("GetItem run", item(&frozen_run())),
        (DELETE_ROWS, deleted()),
    ]
}

#[tokio::test]
async fn a_file_counted_after_publication_leaves_no_rows() {
    let mut script = consolidator_script();
    script[1].1 = item(&with_files(2));
    script[6].1 = done();
    script.truncate(7);
    script.push(("GetItem run", item(&frozen_run())));
    script.extend(stray());
    let (aws, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    aws.assert_order(COUNT_ONE, DELETE_ROWS);
    // Read the other way round, a bucket that is done by now could look as if it never were.
    let reads = aws.names();
    let reads = &reads[reads.iter().position(|name| name == COUNT_ONE).unwrap() + 1..];
    assert_eq!(reads[..3], ["GetItem run", "GetItem run", BUCKET]);
}

#[tokio::test]
async fn a_repeat_deletes_the_rows_that_an_attempt_left_which_was_killed_before_it_could() {
    let mut counted = file(&report());
    counted.done = true;
    let mut script = vec![
        ("GetItem file#photos#smoke-test", item(&counted)),
        (BUCKET, item(&with_files(1))),
    ];
    script.extend(stray());
    script.push((BUCKET, item(&with_files(1))));
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn a_file_that_existed_before_a_run_that_is_over_is_not_counted() {
    let mut bucket = with_files(2);
    bucket.existing_report = existing("photos").existing_report;
    let script = vec![
        ("GetItem file#photos#smoke-test", item(&file(&report()))),
        (BUCKET, item(&bucket)),
        ("GetItem run", item(&frozen_run())),
        ("GetItem run", item(&frozen_run())),
        (BUCKET, item(&bucket)),
        (DELETE_ROWS, deleted()),
    ];
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn a_count_that_meets_another_is_tried_again() {
    let mut script = consolidator_script();
    script.insert(6, (COUNT_ONE, cancelled(&["None", "TransactionConflict"])));
    script.insert(
        8,
        (
            COUNT_LAST,
            cancelled(&["None", "None", "TransactionConflict"]),
        ),
    );
    let (aws, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    assert_eq!(aws.calls(COUNT_ONE).len(), 2);
    assert_eq!(aws.calls(COUNT_LAST).len(), 2);
}

#[tokio::test]
async fn a_file_that_is_not_what_the_manifest_says_ends_its_bucket() {
    let good = report();
    let mut flipped = good.data.clone();
    flipped[10] ^= 1;
    let cut = good.data[..good.data.len() - 1].to_vec();
    let garbage = b"PAR1 but no Parquet".to_vec();
    let mut promised = file(&good);
    promised.size = garbage.len() as u64;
    promised.md5 = Md5Hash::of(&garbage);
    let cases = [
        (file(&good), flipped, "FileMismatch"),
        (file(&good), cut, "FileMismatch"),
        (promised, garbage, "UnreadableFile"),
    ];
    for (record, data, code) in cases {
        let mut script = consolidator_script();
        script[0].1 = item(&record);
        script[2].1 = head_of(&data, &Md5Hash::of(&data).to_string());
        // Another size says it all.
        let is_read = data.len() as u64 == record.size;
        script[3].1 = Reply::Bytes(data);
        script.truncate(if is_read { 4 } else { 3 });
        script.extend(refused());
        let (aws, response) = consolidate_one(script).await;
        assert!(returned(&response).is_empty(), "{code}");
        assert_refused(&aws, code);
    }
}

#[tokio::test]
async fn an_e_tag_that_proves_nothing_leaves_the_bytes_to_prove_it() {
    let (proven, _) = consolidate_one(consolidator_script()).await;
    let report = report();
    let mut script = consolidator_script();
    // Of an object written in parts.
    script[2].1 = head_of(&report.data, "0123456789abcdef0123456789abcdef-2");
    let (hashed, response) = consolidate_one(script.clone()).await;
    assert!(returned(&response).is_empty());
    assert_eq!(proven.call(ROWS).body, hashed.call(ROWS).body);

    // With keys of KMS an ETag may look like an MD5.
    let mut flipped = report.data.clone();
    flipped[10] ^= 1;
    let Reply::Head {
        status,
        mut headers,
    } = head_of(&flipped, &Md5Hash::of(&report.data).to_string())
    else {
        unreachable!("the head of an object");
    };
    headers.push(("x-amz-server-side-encryption", "aws:kms".to_owned()));
    script[2].1 = Reply::Head { status, headers };
    script[3].1 = Reply::Bytes(flipped);
    script.truncate(4);
    script.extend(refused());
    let (aws, _) = consolidate_one(script).await;
    assert_refused(&aws, "FileMismatch");
}

#[tokio::test]
async fn what_is_read_is_the_object_that_was_looked_at() {
    let (aws, _) = consolidate_one(consolidator_script()).await;
    let e_tag = format!("\"{}\"", Md5Hash::of(&report().data));
    assert_eq!(aws.call(DATA).headers.get("if-match"), Some(&e_tag));

    // It was written anew meanwhile.
    let mut script = consolidator_script();
    script[3].1 = error(412, "PreconditionFailed");
    script.truncate(4);
    script.push(("ChangeMessageVisibility files", done()));
    let (_, response) = consolidate_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_waited_for_and_at_last_counts_as_missing() {
    let mut script = consolidator_script();
    script[2].1 = Reply::Head {
        status: 404,
        headers: Vec::new(),
    };
    script.truncate(3);
    script.push(("GetItem run", item(&the_run())));
    let mut early = script.clone();
    early.push(("ChangeMessageVisibility files", done()));
    let (_, response) = consolidate(early, &[message("m", 9, &file_message())]).await;
    assert_eq!(returned(&response), ["m"]);

    let mut missing = script.clone();
    missing.extend(refused());
    let (aws, response) = consolidate(missing, &[message("m", 10, &file_message())]).await;
    assert!(returned(&response).is_empty());
    assert_refused(&aws, "FileMissing");

    // The run went on without it, and Cleanup has emptied the destination.
    script[3].1 = item(&frozen_run());
    script.extend(stray());
    let (_, response) = consolidate(script, &[message("m", 10, &file_message())]).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn one_bad_file_message_of_three_goes_back_alone() {
    let mut script = consolidator_script();
    script.extend([
        ("ChangeMessageVisibility files", done()),
        ("GetItem file#photos#unknown", no_item()),
        (BUCKET, item(&with_files(1))),
    ]);
    let mut typo = file_message();
    typo["files"] = json!("smoke-test");
    let mut unknown = file_message();
    unknown["file"] = json!("unknown");
    let messages = [
        message("good", 1, &file_message()),
        message("typo", 2, &typo),
        message("unknown", 1, &unknown),
    ];
    let (aws, response) = consolidate(script, &messages).await;
    assert_eq!(returned(&response), ["typo"]);
    let delay = aws.call("ChangeMessageVisibility files").json();
    assert_eq!(delay["ReceiptHandle"], "receipt of typo");
    assert_eq!(delay["VisibilityTimeout"], 10);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_removed_now_is_left_to_cleanup() {
    let mut script = consolidator_script();
    script[10].1 = error(403, "AccessDenied");
    script.pop();
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
}
