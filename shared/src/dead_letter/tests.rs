use serde_json::json;

use super::*;
use crate::hostile;

const FILE_MESSAGE: &str =
    r#"{"run_id":"nightly","account_id":"111111111111","bucket":"photos","file":"a"}"#;

fn deployment() -> DeploymentName {
    DeploymentName::try_from("insights").unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn letter_of(body: &str, failure: Option<MessageFailure>) -> DeadLetter {
    let attributes = BTreeMap::from(
        [
            ("SentTimestamp", "1772323200000"),
            ("ApproximateFirstReceiveTimestamp", "1772323201000"),
            ("ApproximateReceiveCount", "21"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let message = DeadMessage {
        id: "m-1",
        body,
        attributes: &attributes,
        replay_of: None,
    };
    let now = time("2026-03-02T00:00:00Z");
    DeadLetter::new(&deployment(), Queue::Files, message, failure, now)
}

fn refused(receives: u32) -> MessageFailure {
    let error = TaskError::AccessDenied("PutObject of consolidated/a: AccessDenied: no".into());
    MessageFailure::new(&error, receives, time("2026-03-01T12:00:00Z"))
}

#[test]
fn a_letter_says_what_died_and_why_and_is_read_as_it_was_written() {
    let letter = letter_of(FILE_MESSAGE, Some(refused(20)));
    assert_eq!(letter.key(), "dead-letters/files/2026-03-01/m-1.json");
    assert_eq!(DeadLetter::parse(&letter.document()), Ok(letter.clone()));
    let stored: serde_json::Value = serde_json::from_slice(&letter.document()).unwrap();
    assert_eq!(
        stored,
        json!({
            "format_version": 1, "message_id": "m-1", "queue": "files",
            "task": "inventory-file-consolidator",
            "reason": {
                "code": "AccessDenied",
                "message": "PutObject of consolidated/a: AccessDenied: no",
                "missing_permission": "s3:PutObject",
            },
            "failed_at_receive": 20, "failed_at": "2026-03-01T12:00:00Z",
            "sent_at": "2026-03-01T00:00:00Z", "first_received_at": "2026-03-01T00:00:01Z",
            "kept_at": "2026-03-02T00:00:00Z",
            "run_id": "nightly", "account_id": "111111111111", "bucket": "photos", "file": "a",
            "body": FILE_MESSAGE,
            "attributes": {
                "SentTimestamp": "1772323200000", "ApproximateFirstReceiveTimestamp": "1772323201000",
                "ApproximateReceiveCount": "21",
            },
            "replayed_at": [],
        })
    );
}

#[test]
fn a_function_that_left_no_reason_is_said_to_have_left_none() {
    let never = letter_of(FILE_MESSAGE, None);
    assert_eq!(never.reason.code, "NoErrorRecorded");
    assert!(never.reason.message.contains("out of memory"));
    assert_eq!((never.failed_at, never.failed_at_receive), (None, None));
    // The last word came before the last receive.
    let earlier = letter_of(FILE_MESSAGE, Some(refused(12)));
    assert_eq!(earlier.reason.code, "AccessDenied");
    assert!(earlier.reason.message.contains("receive 12 of 20"));
}

#[test]
fn a_notification_tells_its_run_and_bucket_and_a_stranger_nothing() {
    let key = "111111111111/photos/s3insights-insights-nightly/2026-03-01T00-00Z/manifest.checksum";
    let record = |key: &str| {
        json!({
            "eventName": "ObjectCreated:Put", "eventSource": "aws:s3", "eventVersion": "2.1",
            "s3": { "bucket": { "name": "delivered" }, "object": { "key": key } },
        })
    };
    let body = json!({ "Records": [record("some/thing"), record(key)] }).to_string();
    let letter = letter_of(&body, None);
    assert_eq!(letter.run_id.unwrap().as_str(), "nightly");
    assert_eq!(letter.account_id.unwrap().as_str(), "111111111111");
    assert_eq!(letter.bucket.unwrap().as_str(), "photos");
    assert_eq!(letter.file.as_deref(), Some(key));

    let stranger = letter_of("not \u{0} JSON", None);
    assert_eq!(stranger.run_id, None);
    assert_eq!(stranger.body, "not \u{0} JSON");
    assert_eq!(DeadLetter::parse(&stranger.document()), Ok(stranger));
}

#[test]
fn the_permission_is_what_aws_says_or_what_the_operation_needs() {
    let cases = [
        (
            "GetObject of a/b: AccessDenied: User: arn:aws:sts::1:assumed-role/r is not authorized to \
             perform: kms:Decrypt on resource: arn:aws:kms:k because no policy allows it",
            Some("kms:Decrypt"),
        ),
        (
            "HeadObject of a/b: 403: unhandled error",
            Some("s3:GetObject"),
        ),
        (
            "CompleteMultipartUpload of a/b: AccessDenied: no",
            Some("s3:PutObject"),
        ),
        // It reads one object and writes another.
        ("UploadPartCopy of a/b: AccessDenied: no", None),
        (
            "UploadPartCopy of a/b: x: not authorized to perform: it",
            None,
        ),
    ];
    for (message, permission) in cases {
        let error = TaskError::AccessDenied(message.into());
        let failure = MessageFailure::new(&error, 20, Timestamp::UNIX_EPOCH);
        assert_eq!(
            failure.reason.missing_permission.as_deref(),
            permission,
            "{message}"
        );
    }
    let error = TaskError::Unavailable("GetObject of a/b: 503: later".into());
    let failure = MessageFailure::new(&error, 20, Timestamp::UNIX_EPOCH);
    assert_eq!(failure.reason.missing_permission, None);
}

#[test]
fn a_dead_letter_queue_is_known_by_its_name() {
    let of = |name: &str| {
        let arn = format!("arn:aws:sqs:us-east-1:999999999999:{name}");
        Queue::of_dead_letters(&deployment(), &arn)
    };
    assert_eq!(of("insights-files-dead"), Some(Queue::Files));
    assert_eq!(
        of("insights-notifications-dead"),
        Some(Queue::Notifications)
    );
    for stranger in ["insights-files", "other-files-dead", ""] {
        assert_eq!(of(stranger), None, "{stranger}");
    }
}

#[test]
fn filters_of_one_key_are_alternatives_and_those_of_several_all_hold() {
    let letter = letter_of(FILE_MESSAGE, Some(refused(20)));
    let cases: [(&[&str], bool); 8] = [
        (&[], true),
        (&["run=nightly"], true),
        (&["run=weekly"], false),
        (&["run=weekly", "run=nightly"], true),
        (
            &["run=nightly", "bucket=photos", "reason=AccessDenied"],
            true,
        ),
        (&["run=nightly", "bucket=films"], false),
        (&["queue=files", "account=111111111111", "id=m-1"], true),
        (&["queue=notifications"], false),
    ];
    for (filters, meant) in cases {
        let filters: Vec<Filter> = filters.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(are_meant(&filters, &letter), meant, "{filters:?}");
    }
    // What the body does not tell is no value.
    let stranger = letter_of("{}", None);
    assert!(!are_meant(&["run=nightly".parse().unwrap()], &stranger));
}

#[test]
fn a_filter_that_cannot_be_meant_says_what_is_accepted() {
    let said = |text: &str| text.parse::<Filter>().unwrap_err().to_string();
    let keys = "id, run, queue, account, bucket, reason";
    for text in ["nightly", "run="] {
        assert!(said(text).contains(keys), "{}", said(text));
    }
    assert_eq!(
        said("rum=nightly"),
        format!("there is no key \"rum\"; accepted are {keys}")
    );
    assert!(said("queue=file").contains("notifications, files"));
}

#[test]
fn a_document_of_another_version_is_not_taken() {
    let mut letter = letter_of(FILE_MESSAGE, None);
    letter.format_version = 2;
    let error = DeadLetter::parse(&letter.document()).unwrap_err();
    assert!(error.to_string().contains("format version 2"));
    assert!(DeadLetter::parse(b"{}").is_err());
}

#[test]
fn a_letter_of_any_size_keeps_its_body_and_a_small_reason() {
    let body = "\u{1f5c3}\0\"\\".repeat(1_048_576 / 7);
    let error = TaskError::InvalidInput(body.clone());
    let failure = MessageFailure::new(&error, 20, time("2026-03-01T12:00:00Z"));
    let recorded = serde_json::to_string(&failure).unwrap();
    assert!(recorded.len() < 10_000, "{}", recorded.len());
    let letter = letter_of(&body, Some(failure));
    assert_eq!(letter.body, body);
    assert_eq!(DeadLetter::parse(&letter.document()), Ok(letter));
}

proptest::proptest! {
    #[test]
    fn every_body_is_kept_to_the_byte_and_read_again(body in hostile::text()) {
        let letter = letter_of(&body, None);
        proptest::prop_assert_eq!(&letter.body, &body);
        proptest::prop_assert_eq!(DeadLetter::parse(&letter.document()), Ok(letter));
    }

    #[test]
    fn what_a_message_is_about_is_told_or_not(
        message in hostile::mutated(serde_json::from_str(FILE_MESSAGE).unwrap()),
    ) {
        let letter = letter_of(&message.to_string(), None);
        // All of it or nothing: half of it would be held against another run.
        let told = [letter.run_id.is_some(), letter.account_id.is_some(), letter.bucket.is_some()];
        proptest::prop_assert!(told == [true; 3] || told == [false; 3]);
        proptest::prop_assert_eq!(letter.key(), "dead-letters/files/2026-03-01/m-1.json");
    }

    #[test]
    fn any_document_is_a_letter_or_is_not(
        document in hostile::mutated(
            serde_json::from_slice(&letter_of(FILE_MESSAGE, Some(refused(20))).document()).unwrap(),
        ),
    ) {
        if let Ok(letter) = DeadLetter::parse(document.to_string().as_bytes()) {
            proptest::prop_assert_eq!(DeadLetter::parse(&letter.document()), Ok(letter));
        }
    }
}
