//! Messages that somebody else put into the queues, or that tell of what is not theirs: nothing of a run
//! changes. Forged notifications are in the module above and in a whole run
//! (`tests/whole_runs/delivery_disorder.rs`).

use lambdas::inventory_object_processor::{ExistingReportMessage, FileMessage};
use proptest::prelude::*;
use serde_json::{Value, json};
use shared::error::TaskError;
use shared::runtime;

use super::inventory_files::{consolidate, with_files};
use super::{BUCKET, file, file_message, message, process, report, returned};
use crate::support::{Line, done, finished, item, no_item};

fn file_message_with(field: &str, value: impl Into<Value>) -> Value {
    let mut message = file_message();
    message[field] = value.into();
    message
}

#[tokio::test]
async fn a_file_message_about_what_is_not_on_record_is_acknowledged() {
    let on_record = || item(&file(&report()));
    let cases: [(Value, Vec<Line>); 4] = [
        (
            file_message_with("run_id", "other"),
            vec![
                ("GetItem other:file#photos#smoke-test", no_item()),
                ("GetItem other:bucket#111111111111#photos", no_item()),
            ],
        ),
        // The file is one of the run, and the bucket is not the account's.
        (
            file_message_with("account_id", "222222222222"),
            vec![
                ("GetItem file#photos#smoke-test", on_record()),
                ("GetItem bucket#222222222222#photos", no_item()),
            ],
        ),
        // Another bucket of the run, whose report has no such file.
        (
            file_message_with("bucket", "backup"),
            vec![
                ("GetItem file#backup#smoke-test", no_item()),
                (
                    "GetItem bucket#111111111111#backup",
                    item(&finished("backup")),
                ),
            ],
        ),
        (
            file_message_with("file", "another"),
            vec![
                ("GetItem file#photos#another", no_item()),
                (BUCKET, item(&with_files(1))),
            ],
        ),
    ];
    for (forged, script) in cases {
        // Nothing but these is asked of AWS, and nothing is written.
        let (_, response) = consolidate(script, &[message("m", 1, &forged)]).await;
        assert!(returned(&response).is_empty(), "{forged}");
    }
}

#[tokio::test]
async fn a_file_message_with_a_name_that_no_file_has_asks_for_nothing() {
    let long = "x".repeat(1_000_000);
    for name in [
        "",
        "_smoke-test",
        "..",
        "../../photos/smoke-test",
        "a\0b",
        "a\nb",
        &long,
    ] {
        let forged = file_message_with("file", name);
        let (aws, response) = consolidate(vec![], &[message("m", 1, &forged)]).await;
        assert!(returned(&response).is_empty(), "{name:?}");
        assert!(aws.names().is_empty(), "{name:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_none_dies_with_a_small_reason_that_says_why() {
    let long = "\u{1b}[2J'; DROP".repeat(80_000);
    for (forged, said) in [
        (
            file_message_with("run_id", "../other"),
            "run_id: \"../other\" is not 1 to 16",
        ),
        (
            file_message_with("bucket", "../../etc"),
            "bucket: \"../../etc\" is not a bucket",
        ),
        (
            file_message_with("account_id", 7),
            "account_id: invalid type",
        ),
        (
            file_message_with("file", json!(["a"])),
            "file: invalid type",
        ),
        (
            file_message_with("destination", "elsewhere"),
            "unknown field `destination`",
        ),
        (
            file_message_with("bucket", long.as_str()),
            "bucket: \"\\u{1b}[2J",
        ),
        (json!("no JSON"), "file message: "),
        (json!(long), "file message: "),
    ] {
        let script = vec![
            ("UpdateItem message#m failure", done()),
            ("ChangeMessageVisibility files", done()),
        ];
        let (aws, response) = consolidate(script, &[message("m", 20, &forged)]).await;
        assert_eq!(returned(&response), ["m"]);
        let failure = aws.call("UpdateItem message#m failure").value(":failure");
        assert_eq!(failure["reason"]["code"], "InvalidInput");
        let told = failure["reason"]["message"].as_str().unwrap();
        assert!(told.contains(said) && told.len() < 3_000, "{told}");
        assert!(!told.contains(char::is_control), "{told:?}");
    }
}

#[tokio::test]
async fn a_notification_of_ten_thousand_strangers_asks_for_nothing() {
    let record = |number: u64| {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
            "s3": { "bucket": { "name": "theirs" }, "object": { "key": match number % 4 {
                0 => "111111111111/photos/daily/2026-03-01T00-00Z/manifest.checksum".to_owned(),
                1 => "../111111111111/photos/s3insights-insights-nightly/2026-03-01T00-00Z/\
                      manifest.checksum".to_owned(),
                2 => "'; DROP TABLE inventory; --".to_owned(),
                _ => "k".repeat(1_024),
            } } },
        })
    };
    let records: Vec<Value> = (0..10_000).map(record).collect();
    let event = json!({ "Records": records });
    let (aws, response) = process(vec![], &[message("m", 1, &event)]).await;
    assert!(returned(&response).is_empty());
    assert!(aws.names().is_empty());
}

/// A value that others may have put in the place of another.
fn other() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[a-z0-9./_-]{0,40}".prop_map(Value::from),
        proptest::collection::vec(any::<String>(), 0..3).prop_map(Value::from),
    ]
}

proptest! {
    #[test]
    fn any_message_is_one_of_ours_or_refused_by_name(
        field in prop::sample::select(&["run_id", "account_id", "bucket", "file", "more"][..]),
        value in other(),
    ) {
        let changed = file_message_with(field, value);
        match runtime::parse::<FileMessage>(changed.clone()) {
            Ok(message) => prop_assert_eq!(serde_json::to_value(message).unwrap(), changed),
            Err(TaskError::InvalidInput(said)) => {
                prop_assert!(said.starts_with("task input at "), "{said}");
            }
            Err(error) => prop_assert!(false, "{error:?}"),
        }
        // A message about a file is never taken for one about a report.
        prop_assert!(runtime::parse::<ExistingReportMessage>(file_message_with(field, 1)).is_err());
    }
}
