//! `inventory-object-processor`, told of a report that existed before the run.

use lambdas::queue::{SqsBatchResponse, SqsEvent};
use serde_json::{Value, json};
use shared::run::{Run, SourceBucket};

use super::{
    BUCKET, DESTINATION_OF, END, FLAG, Report, assert_refused, batch, file_message, message,
    process, process_one, report_with, returned, sent,
};
use crate::support::{
    Aws, Line, MEMBER, Reply, destination, done, error, error_with, existing, frozen_run,
    head_of_bucket, in_progress, item, no_item, the_run,
};

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

pub(crate) fn event() -> SqsEvent {
    batch(&[message("m", 1, &existing_message())])
}

pub(crate) fn sound_script() -> Vec<Line> {
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
        let mut script = sound_script();
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
    let mut script = sound_script();
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
        let mut script = sound_script();
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
    let mut script = sound_script();
    script[2].1 = head_of_bucket(404, None);
    script.truncate(3);
    script.extend(refused_existing());
    let (aws, _) = process_existing(script).await;
    assert_refused(&aws, "ManifestMissing");
}

#[tokio::test]
async fn who_may_not_read_an_existing_report_says_which_permission_and_parameter() {
    let mut no_head = sound_script();
    no_head[2].1 = head_of_bucket(403, None);
    no_head.truncate(3);
    let mut no_get = sound_script();
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
    let mut no_key = sound_script();
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
        let mut script = sound_script();
        script[at].1 = reply;
        script.truncate(at + 1);
        script.push(("ChangeMessageVisibility notifications", done()));
        let (_, response) = process_existing(script).await;
        assert_eq!(returned(&response), ["m"]);
    }
}
