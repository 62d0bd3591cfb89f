//! `inventory-file-consolidator`.

use lambdas::inventory_file_consolidator;
use lambdas::queue::{SqsBatchResponse, SqsEvent};
use serde_json::{Value, json};
use shared::manifest::Md5Hash;
use shared::run::SourceBucket;

use super::{
    BUCKET, COUNT_ONE, DATA, DATA_HEAD, FLAG, REMOVE, TOTALS, assert_refused, batch, file,
    file_message, message, refused, report, returned,
};
use crate::support::{
    Aws, Line, Reply, cancelled, deleted, done, error, existing, finished, frozen_run, head_of,
    in_progress, item, no_item, run, the_run,
};

const ROWS: &str = "PUT@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet";
const COUNT_LAST: &str = "TransactWriteItems file#photos#smoke-test bucket#111111111111#photos run";

pub(super) fn with_files(pending: u64) -> SourceBucket {
    let mut bucket = in_progress("photos");
    bucket.report = Some("manifest.json".into());
    bucket.files = Some(2);
    bucket.files_pending = Some(pending);
    bucket
}

pub(crate) fn event() -> SqsEvent {
    batch(&[message("m", 1, &file_message())])
}

/// The last file of the last bucket.
pub(crate) fn sound_script() -> Vec<Line> {
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

pub(super) async fn consolidate(script: Vec<Line>, messages: &[Value]) -> (Aws, SqsBatchResponse) {
    let event = batch(messages);
    let (aws, answer) = run(script, |platform| {
        inventory_file_consolidator::handle(platform, event)
    })
    .await;
    (aws, answer.unwrap())
}

pub(super) async fn consolidate_one(script: Vec<Line>) -> (Aws, SqsBatchResponse) {
    consolidate(script, &[message("m", 1, &file_message())]).await
}

#[tokio::test]
async fn the_last_file_makes_the_bucket_done_and_the_last_bucket_ends_the_wait() {
    let (aws, response) = consolidate_one(sound_script()).await;
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
    let mut script = sound_script();
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
    let (first, _) = consolidate_one(sound_script()).await;
    let mut counted = file(&report());
    counted.done = true;
    let mut script = sound_script();
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
    let mut script = sound_script();
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
    let mut script = sound_script();
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

/// What a failed attempt looks at before it goes back to the queue; the run goes on.
pub(super) fn looked_after() -> Vec<Line> {
    vec![
        ("GetItem run", item(&the_run())),
        (BUCKET, item(&with_files(1))),
        ("ChangeMessageVisibility files", done()),
    ]
}

#[tokio::test]
async fn an_attempt_that_cannot_count_leaves_no_rows_to_a_run_that_went_on_without_them() {
    // The answer to a write can be lost as well.
    for (step, failure) in [
        (ROWS, error(400, "RequestTimeout")),
        (TOTALS, error(403, "AccessDenied")),
        (COUNT_ONE, error(400, "AccessDeniedException")),
    ] {
        let script = |after: Vec<Line>| {
            let mut script = sound_script();
            let at = script.iter().position(|(name, _)| *name == step).unwrap();
            script[at].1 = failure.clone();
            script.truncate(at + 1);
            script.extend(after);
            script
        };
        let mut over = stray();
        over.push(("ChangeMessageVisibility files", done()));
        let (aws, response) = consolidate_one(script(over)).await;
        assert_eq!(returned(&response), ["m"], "{step}");
        aws.assert_order(step, DELETE_ROWS);

        let (_, response) = consolidate_one(script(looked_after())).await;
        assert_eq!(returned(&response), ["m"], "{step}");
    }
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
    let mut script = sound_script();
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
        let mut script = sound_script();
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
    let (proven, _) = consolidate_one(sound_script()).await;
    let report = report();
    let mut script = sound_script();
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
    let (aws, _) = consolidate_one(sound_script()).await;
    let e_tag = format!("\"{}\"", Md5Hash::of(&report().data));
    assert_eq!(aws.call(DATA).headers.get("if-match"), Some(&e_tag));

    // It was written anew meanwhile.
    let mut script = sound_script();
    script[3].1 = error(412, "PreconditionFailed");
    script.truncate(4);
    script.extend(looked_after());
    let (_, response) = consolidate_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_waited_for_and_at_last_counts_as_missing() {
    let mut script = sound_script();
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
    let mut script = sound_script();
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
    let mut script = sound_script();
    script[10].1 = error(403, "AccessDenied");
    script.pop();
    let (_, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
}
