use lambdas::queue::{SqsBatchResponse, SqsEvent};
use lambdas::{dead_letter_keeper, inventory_file_consolidator};
use serde_json::{Value, json};
use shared::dead_letter::{DeadLetter, PREFIX};

use crate::queues::{batch, file_message, message, returned};
use crate::support::{
    Aws, Fault, Line, Reply, condition_failed, done, error, error_with, no_item, run, xml,
};

const FAILURE: &str = "GetItem message#m failure";
const RECORD_FAILURE: &str = "UpdateItem message#m failure";
const BUCKET: &str = "UpdateItem bucket#111111111111#photos";
const LETTER: &str = "PUT@us-east-1 consolidated/dead-letters/files/2026-03-01/m.json";
const FILE: &str = "GetItem file#photos#smoke-test";

// --- the reason --------------------------------------------------------------------------------

async fn consolidate(script: Vec<Line>, receives: u32) -> (Aws, SqsBatchResponse) {
    let event = batch(&[message("m", receives, &file_message())]);
    let (aws, answer) = run(script, |platform| {
        inventory_file_consolidator::handle(platform, event)
    })
    .await;
    (aws, answer.unwrap())
}

fn refused() -> Reply {
    let said = "User: arn:aws:sts::999999999999:assumed-role/r/f is not authorized to perform: \
                dynamodb:GetItem on resource: arn:aws:dynamodb:t";
    error_with(400, "AccessDeniedException", said)
}

#[tokio::test]
async fn a_message_that_fails_late_leaves_its_reason_and_an_early_one_nothing() {
    let delay = ("ChangeMessageVisibility files", done());
    let script = vec![(FILE, refused()), delay.clone()];
    let (_, response) = consolidate(script, 9).await;
    assert_eq!(returned(&response), ["m"]);

    let script = vec![(FILE, refused()), (RECORD_FAILURE, done()), delay];
    let (aws, response) = consolidate(script, 10).await;
    assert_eq!(returned(&response), ["m"]);
    let call = aws.call(RECORD_FAILURE);
    let failure = call.value(":failure");
    assert_eq!(failure["receives"], 10);
    assert_eq!(failure["reason"]["code"], "AccessDenied");
    assert_eq!(failure["reason"]["missing_permission"], "dynamodb:GetItem");
    assert!(call.value(":expires_at").as_i64() > Some(1_700_000_000));
}

#[tokio::test]
async fn a_reason_that_cannot_be_recorded_keeps_no_message_from_coming_back() {
    let script = vec![
        (FILE, refused()),
        (RECORD_FAILURE, refused()),
        ("ChangeMessageVisibility files", done()),
    ];
    let (_, response) = consolidate(script, 20).await;
    assert_eq!(returned(&response), ["m"]);
}

// --- dead-letter-keeper ------------------------------------------------------------------------

fn dead(body: &Value) -> Value {
    let mut dead = message("m", 21, body);
    dead["attributes"]["SentTimestamp"] = json!("1772323200000");
    dead["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:999999999999:insights-files-dead");
    dead
}

fn event() -> SqsEvent {
    batch(&[dead(&file_message())])
}

fn recorded() -> Reply {
    Reply::Json(json!({ "Item": {
        "pk": { "S": "message#m" }, "sk": { "S": "failure" }, "expires_at": { "N": "1" },
        "failure": { "M": {
            "reason": { "M": {
                "code": { "S": "AccessDenied" }, "message": { "S": "PutObject: no" },
                "missing_permission": { "S": "s3:PutObject" },
            } },
            "receives": { "N": "20" }, "failed_at": { "S": "2026-03-01T03:00:00Z" },
        } },
    } }))
}

fn script() -> Vec<Line> {
    vec![(FAILURE, recorded()), (BUCKET, done()), (LETTER, done())]
}

async fn keep(script: Vec<Line>, event: SqsEvent) -> (Aws, SqsBatchResponse) {
    let (aws, answer) = run(script, |platform| {
        dead_letter_keeper::handle(platform, event)
    })
    .await;
    (aws, answer.unwrap())
}

fn letter(aws: &Aws) -> DeadLetter {
    DeadLetter::parse(&aws.call(LETTER).body).unwrap()
}

#[tokio::test]
async fn the_largest_message_is_kept_to_the_byte() {
    let mut body = file_message();
    body["more"] = json!("\u{1b}\"\u{202e}".repeat(1_048_000 / 10));
    let (aws, response) = keep(script(), batch(&[dead(&body)])).await;
    assert!(returned(&response).is_empty());
    assert_eq!(letter(&aws).body, body.to_string());
    // What the bucket remembers of it is small.
    let update = aws.call(BUCKET);
    assert!(update.body.len() < 10_000, "{}", update.body.len());
}

#[tokio::test]
async fn a_dead_letter_is_kept_with_its_reason_and_then_acknowledged() {
    let (aws, response) = keep(script(), event()).await;
    assert!(returned(&response).is_empty());
    let put = aws.call(LETTER);
    assert_eq!(put.headers["if-none-match"], "*");
    let letter = letter(&aws);
    assert_eq!(letter.body, file_message().to_string());
    assert_eq!(
        letter.reason.missing_permission.as_deref(),
        Some("s3:PutObject")
    );
    assert_eq!(letter.run_id.as_ref().unwrap().as_str(), "nightly");
    assert_eq!(letter.replay_of, None);
    // The bucket knows what it waits for in vain.
    let known = aws.call(BUCKET);
    assert_eq!(known.condition(), "attribute_exists(pk)");
    assert_eq!(known.value(":reason")["code"], "AccessDenied");
}

#[tokio::test]
async fn a_letter_that_is_there_stays_as_it_is() {
    let mut script = script();
    script[2].1 = error(412, "PreconditionFailed");
    let (_, response) = keep(script, event()).await;
    assert!(returned(&response).is_empty());
}

#[tokio::test]
async fn a_function_that_was_killed_and_a_run_that_is_gone_are_told_as_such() {
    let script = vec![
        (FAILURE, no_item()),
        (BUCKET, condition_failed()),
        (LETTER, done()),
    ];
    let (aws, response) = keep(script, event()).await;
    assert!(returned(&response).is_empty());
    assert_eq!(letter(&aws).reason.code, "NoErrorRecorded");
}

#[tokio::test]
async fn a_body_that_nobody_understands_is_kept_as_it_is() {
    let event = batch(&[dead(&json!("{ this is no JSON"))]);
    let script = vec![(FAILURE, recorded()), (LETTER, done())];
    let (aws, response) = keep(script, event).await;
    assert!(returned(&response).is_empty());
    let letter = letter(&aws);
    assert_eq!(letter.body, "{ this is no JSON");
    assert_eq!(letter.run_id, None);
}

#[tokio::test]
async fn a_replay_that_dies_again_says_what_it_repeats() {
    let mut replay = dead(&file_message());
    replay["messageAttributes"] =
        json!({ "replay_of": { "stringValue": "first", "dataType": "String" } });
    let (aws, _) = keep(script(), batch(&[replay])).await;
    assert_eq!(letter(&aws).replay_of.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_letter_that_cannot_be_kept_stays_in_its_queue() {
    for at in 0..script().len() {
        for fault in Fault::ALL {
            let aws = Aws::failing(script(), at, fault);
            let response = dead_letter_keeper::handle(aws.platform(), event()).await;
            assert_eq!(
                returned(&response.unwrap()),
                ["m"],
                "request {at}, {fault:?}"
            );
        }
    }
    let mut strange = dead(&file_message());
    strange["eventSourceARN"] = json!("arn:aws:sqs:us-east-1:999999999999:others-dead");
    let (_, response) = keep(vec![], batch(&[strange])).await;
    assert_eq!(returned(&response), ["m"]);
}

// --- replays -----------------------------------------------------------------------------------

#[tokio::test]
async fn every_page_of_letters_is_read_and_one_that_is_gone_is_left_out() {
    let page = |key: &str, next: Option<&str>| {
        let next = next.map_or_else(String::new, |token| {
            format!(
                "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
            )
        });
        xml(format!(
            "<ListBucketResult><Contents><Key>{key}</Key></Contents>{next}</ListBucketResult>"
        ))
    };
    let aws = Aws::scripted(vec![
        (
            "GET@us-east-1 consolidated?list-type=2&prefix=dead-letters/",
            page("dead-letters/a", Some("more")),
        ),
        (
            "GET@us-east-1 consolidated?list-type=2&prefix=dead-letters/&continuation-token=more",
            page("dead-letters/b", None),
        ),
        (
            "GET@us-east-1 consolidated/dead-letters/a",
            error(404, "NoSuchKey"),
        ),
        (
            "GET@us-east-1 consolidated/dead-letters/b",
            Reply::Bytes(b"letter".to_vec()),
        ),
    ]);
    let platform = aws.platform();
    let (objects, bucket) = (
        platform.consolidated(),
        &platform.settings.consolidated_bucket,
    );
    let keys = objects.list(bucket, PREFIX).await.unwrap();
    assert_eq!(keys, ["dead-letters/a", "dead-letters/b"]);
    let found = objects.get_many(bucket, &keys).await.unwrap();
    assert_eq!(found, [("dead-letters/b".to_owned(), "letter".into())]);
    aws.assert_used_up();
}

#[tokio::test]
async fn a_replay_is_the_body_and_the_id_of_what_it_repeats() {
    let aws = Aws::scripted(vec![("SendMessage files", done())]);
    let url = &aws.platform().settings.file_queue_url;
    let clients = aws.clients();
    clients
        .send_replay(url, "to the byte \u{e9}", "first")
        .await
        .unwrap();
    let sent = aws.call("SendMessage files").json();
    assert_eq!(sent["MessageBody"], "to the byte \u{e9}");
    let attribute = &sent["MessageAttributes"]["replay_of"];
    assert_eq!(
        *attribute,
        json!({ "DataType": "String", "StringValue": "first" })
    );
}
