//! `inventory-object-processor`, told of a report that S3 delivered.

use lambdas::queue::SqsEvent;
use serde_json::{Value, json};
use shared::manifest::Md5Hash;
use shared::run::{InventoryFile, Run, SourceBucket};

use super::{
    BUCKET, DESTINATION_OF, END, FLAG, REMOVE, assert_refused, batch, created, file, file_message,
    message, process, process_one, refused, report, report_came, report_with, returned, sent,
};
use crate::support::{
    DESTINATION, Line, Reply, condition_failed, destination, done, error, finished, frozen_run,
    in_progress, item, items, named, no_item, the_run,
};

const CHECKSUM: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum";
const MANIFEST: &str = "GET@eu-west-1 insights-nightly-999999999999-eu-west-1/111111111111/photos/\
    s3insights-insights-nightly/2026-03-01T00-00Z/manifest.json";

pub(crate) fn event() -> SqsEvent {
    batch(&[message("m", 1, &report_came())])
}

pub(crate) fn sound_script() -> Vec<Line> {
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

#[tokio::test]
async fn a_verified_report_becomes_a_record_and_a_message_for_each_file() {
    let (aws, response) = process_one(sound_script()).await;
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
    let mut script = sound_script();
    script[6].1 = condition_failed();
    let (_, response) = process_one(script).await;
    assert!(returned(&response).is_empty());

    // Another report of the bucket was faster, or the bucket has ended.
    let mut other_report = in_progress("photos");
    other_report.report = Some("another manifest.json".into());
    for bucket in [other_report, finished("photos")] {
        let mut script = sound_script();
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
    let mut sound = sound_script();
    sound[1].1 = item(taken);
    sound[5].1 = condition_failed();
    sound.truncate(6);
    let mut damaged = sound_script();
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
    let mut script = sound_script();
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
    let mut script = sound_script();
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
        let mut script = sound_script();
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
    let mut large_checksum = sound_script();
    large_checksum[3].1 = Reply::Bytes(vec![b'1'; 2_000]);
    large_checksum.truncate(5);
    let mut large_manifest = sound_script();
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
    let mut script = sound_script();
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
    let mut script = sound_script();
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
    let mut script = sound_script();
    script[7].1 = Reply::Json(json!({ "Successful": [], "Failed": [
        { "Id": "0", "SenderFault": false, "Code": "InternalError", "Message": "try again" },
    ] }));
    script.push(("ChangeMessageVisibility notifications", done()));
    let (_, response) = process_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}
