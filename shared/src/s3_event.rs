//! What a message of the notification queue tells.
//!
//! S3 publishes to a topic that passes the event on, raw or in an envelope. Whatever else turns up
//! in the queue is no error: a message that nobody understands would come back for ever. The format
//! is described in
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>.

use std::cmp::Ordering;

use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::Value;

use crate::ids::BucketName;

/// The meaning of a message; made by [`Notification::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification {
    /// Objects that were created, at least one. Records about other events are left out.
    ObjectsCreated(Vec<ObjectCreated>),
    /// What S3 sends when a notification is configured.
    Test,
    /// Anything else.
    Unknown,
}

impl Notification {
    /// Reads the body of a message.
    pub fn parse(body: &str) -> Self {
        let Ok(document) = serde_json::from_str::<Value>(body) else {
            return Self::Unknown;
        };
        match Self::of_document(&document) {
            Self::Unknown => {}
            known => return known,
        }
        // Without raw delivery SNS sends the event as text in an envelope.
        let message = document
            .get("Message")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match serde_json::from_str(message) {
            Ok(document) => Self::of_document(&document),
            Err(_) => Self::Unknown,
        }
    }

    fn of_document(document: &Value) -> Self {
        if document.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
            return Self::Test;
        }
        let Some(records) = document.get("Records").and_then(Value::as_array) else {
            return Self::Unknown;
        };
        let created: Vec<_> = records
            .iter()
            .filter_map(ObjectCreated::from_record)
            .collect();
        if created.is_empty() {
            Self::Unknown
        } else {
            Self::ObjectsCreated(created)
        }
    }
}

/// An object that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCreated {
    /// The bucket it is in.
    pub bucket: BucketName,
    /// Its key, decoded.
    pub key: String,
    /// Size in bytes, if told.
    pub size: Option<u64>,
    /// `ETag` without quotes, if told.
    pub e_tag: Option<String>,
    /// Its version, if the bucket is versioned.
    pub version_id: Option<String>,
    /// Tells events of the same key apart and puts them into order, if told.
    pub sequencer: Option<Sequencer>,
}

impl ObjectCreated {
    /// `None` if the record is not about a created object, or not of a version we understand.
    fn from_record(record: &Value) -> Option<Self> {
        let record = RawRecord::deserialize(record).ok()?;
        let is_understood = record.event_version.split('.').next() == Some("2");
        let event_name = record
            .event_name
            .strip_prefix("s3:")
            .unwrap_or(&record.event_name);
        if !is_understood
            || record.event_source != "aws:s3"
            || !event_name.starts_with("ObjectCreated:")
        {
            return None;
        }
        let object = record.s3.object;
        Some(Self {
            bucket: BucketName::try_from(record.s3.bucket.name).ok()?,
            key: decode_key(&object.key),
            size: object.size.as_ref().and_then(Value::as_u64),
            e_tag: object.e_tag.map(|e_tag| e_tag.trim_matches('"').to_owned()),
            version_id: object.version_id,
            sequencer: object.sequencer.as_deref().map(Sequencer::new),
        })
    }
}

/// The order of two events of **one** key. Between keys it means nothing.
///
/// S3 writes hexadecimal digits of varying length; the shorter is to be filled up with zeros on the
/// right before comparing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequencer(String);

impl Sequencer {
    /// Takes the digits as S3 writes them.
    pub fn new(digits: &str) -> Self {
        // Without trailing zeros, filling up is what comparing texts does anyway.
        Self(digits.trim_end_matches('0').to_ascii_uppercase())
    }
}

impl Ord for Sequencer {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Sequencer {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Decodes a key as HTML forms do: `+` is a blank, `%XX` is a byte. Bytes that are not UTF-8 become
/// U+FFFD.
pub fn decode_key(encoded: &str) -> String {
    let spaced = encoded.replace('+', " ");
    percent_decode(spaced.as_bytes())
        .decode_utf8_lossy()
        .into_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRecord {
    event_version: String,
    event_source: String,
    event_name: String,
    s3: RawS3,
}

#[derive(Deserialize)]
struct RawS3 {
    bucket: RawBucket,
    object: RawObject,
}

#[derive(Deserialize)]
struct RawBucket {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawObject {
    key: String,
    size: Option<Value>,
    e_tag: Option<String>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile;
    use proptest::prelude::*;
    use serde_json::json;

    fn record() -> Value {
        json!({
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "awsRegion": "eu-west-1",
            "eventTime": "2024-02-29T23:59:00.000Z",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": { "name": "reports", "arn": "arn:aws:s3:::reports" },
                "object": {
                    "key": "1/red+flower/caf%C3%A9%2Bx/manifest.checksum",
                    "size": 32,
                    "eTag": "\"d41d8cd98f00b204e9800998ecf8427e\"",
                    "versionId": "v1",
                    "sequencer": "0055AED6DCD90281E5"
                }
            }
        })
    }

    fn created() -> ObjectCreated {
        ObjectCreated {
            bucket: BucketName::try_from("reports").unwrap(),
            key: "1/red flower/café+x/manifest.checksum".to_owned(),
            size: Some(32),
            e_tag: Some("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            version_id: Some("v1".to_owned()),
            sequencer: Some(Sequencer::new("0055AED6DCD90281E5")),
        }
    }

    fn parse(document: &Value) -> Notification {
        Notification::parse(&document.to_string())
    }

    fn parse_with(pointer: &str, value: Value) -> Notification {
        let mut record = record();
        *record.pointer_mut(pointer).expect("the field is there") = value;
        parse(&json!({ "Records": [record] }))
    }

    #[test]
    fn reads_raw_events_and_envelopes() {
        let event = json!({ "Records": [record()] });
        let envelope =
            json!({ "Type": "Notification", "MessageId": "m", "Message": event.to_string() });
        assert_eq!(parse(&event), Notification::ObjectsCreated(vec![created()]));
        assert_eq!(
            parse(&envelope),
            Notification::ObjectsCreated(vec![created()])
        );
    }

    #[test]
    fn reads_test_events() {
        let event = json!({ "Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "reports" });
        assert_eq!(parse(&event), Notification::Test);
        assert_eq!(
            parse(&json!({ "Message": event.to_string() })),
            Notification::Test
        );
    }

    #[test]
    fn every_minor_version_and_every_way_to_create_is_understood() {
        let expected = Notification::ObjectsCreated(vec![created()]);
        for version in ["2.0", "2.1", "2.6", "2.99", "2"] {
            assert_eq!(
                parse_with("/eventVersion", json!(version)),
                expected,
                "{version}"
            );
        }
        for name in ["Put", "Post", "Copy", "CompleteMultipartUpload", "New"] {
            let name = format!("ObjectCreated:{name}");
            assert_eq!(parse_with("/eventName", json!(name)), expected, "{name}");
        }
    }

    #[test]
    fn strangers_are_unknown() {
        for body in [
            "",
            "hello",
            "null",
            "[]",
            "{}",
            "7",
            r#"{"Records":[]}"#,
            r#"{"Records":{}}"#,
            r#"{"Records":[1,null,{}]}"#,
            r#"{"Message":"hello"}"#,
            r#"{"Message":7}"#,
            r#"{"Message":"{\"Message\":\"{}\"}"}"#,
            r#"{"Event":"s3:Other"}"#,
        ] {
            assert_eq!(Notification::parse(body), Notification::Unknown, "{body}");
        }
        for (pointer, value) in [
            ("/eventVersion", json!("3.0")),
            ("/eventVersion", json!("20.1")),
            ("/eventSource", json!("aws:sns")),
            ("/eventName", json!("ObjectRemoved:Delete")),
            ("/s3/bucket/name", json!("../x")),
            ("/s3/object/key", json!(7)),
            ("/s3/object", json!(null)),
        ] {
            assert_eq!(
                parse_with(pointer, value.clone()),
                Notification::Unknown,
                "{pointer} {value}"
            );
        }
    }

    #[test]
    fn one_bad_record_does_not_hide_the_others() {
        let mut removed = record();
        removed["eventName"] = json!("ObjectRemoved:Delete");
        let event = json!({ "Records": [removed, { "odd": true }, record()] });
        assert_eq!(parse(&event), Notification::ObjectsCreated(vec![created()]));
    }

    #[test]
    fn what_is_not_told_is_none() {
        for field in ["size", "eTag", "versionId", "sequencer"] {
            let mut record = record();
            record["s3"]["object"]
                .as_object_mut()
                .unwrap()
                .remove(field);
            let Notification::ObjectsCreated(created) = parse(&json!({ "Records": [record] }))
            else {
                panic!("without {field} it is still a created object");
            };
            let told = [
                created[0].size.is_some(),
                created[0].e_tag.is_some(),
                created[0].version_id.is_some(),
                created[0].sequencer.is_some(),
            ];
            assert_eq!(told.iter().filter(|told| !**told).count(), 1, "{field}");
        }
        assert_eq!(
            parse_with("/s3/object/size", json!(-1)),
            Notification::ObjectsCreated(vec![ObjectCreated {
                size: None,
                ..created()
            }])
        );
    }

    #[test]
    fn keys_decode_as_forms_do() {
        for (encoded, expected) in [
            ("a+b", "a b"),
            ("a%2Bb", "a+b"),
            ("a%20b", "a b"),
            ("caf%C3%A9", "café"),
            ("%FF", "\u{FFFD}"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%252F", "%2F"),
            ("", ""),
        ] {
            assert_eq!(decode_key(encoded), expected, "{encoded}");
        }
    }

    #[test]
    fn sequencers_are_filled_up_on_the_right() {
        let order = |a: &str, b: &str| Sequencer::new(a).cmp(&Sequencer::new(b));
        assert_eq!(order("0055AE", "0055AE00"), Ordering::Equal);
        assert_eq!(order("0055ae", "0055AE"), Ordering::Equal);
        assert_eq!(order("0055AE", "0055AE01"), Ordering::Less);
        assert_eq!(order("0055AF", "0055AE01"), Ordering::Greater);
        assert_eq!(order("1", "0FFF"), Ordering::Greater);
    }

    #[test]
    fn an_event_of_any_size_and_depth_is_read_or_unknown() {
        let many = json!({ "Records": vec![record(); 10_000] });
        let Notification::ObjectsCreated(all) = parse(&many) else {
            panic!("there are 10,000 created objects");
        };
        assert_eq!(all.len(), 10_000);
        // Deeper than any stack.
        for (open, close) in [("[", "]"), ("{\"Records\":", "}"), ("{\"Message\":", "}")] {
            let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            assert_eq!(Notification::parse(&deep), Notification::Unknown);
        }
        // The longest key, each byte of it escaped, and one that S3 would not take.
        for bytes in [1_024, 1_000_000] {
            let Notification::ObjectsCreated(created) =
                parse_with("/s3/object/key", json!("%2F".repeat(bytes)))
            else {
                panic!("it is a created object");
            };
            assert_eq!(created[0].key, "/".repeat(bytes));
        }
    }

    proptest! {
        #[test]
        fn any_event_is_read_or_unknown(
            event in hostile::mutated(json!({ "Records": [record(), record()] })),
            is_wrapped in any::<bool>(),
        ) {
            let body = if is_wrapped {
                json!({ "Type": "Notification", "Message": event.to_string() }).to_string()
            } else {
                event.to_string()
            };
            if let Notification::ObjectsCreated(created) = Notification::parse(&body) {
                prop_assert!(!created.is_empty());
                for object in created {
                    prop_assert!(BucketName::try_from(object.bucket.as_str()).is_ok());
                }
            }
        }

        #[test]
        fn no_json_makes_the_parser_panic(event in hostile::json()) {
            let _ = parse(&event);
            let _ = parse(&json!({ "Records": event }));
            let _ = parse(&json!({ "Records": [event] }));
        }

        #[test]
        fn no_body_makes_the_parser_panic(body in any::<String>(), key in any::<String>()) {
            let _ = Notification::parse(&body);
            let _ = decode_key(&body);
            let _ = parse_with("/s3/object/key", json!(key));
        }

        #[test]
        fn decoding_undoes_encoding(key in any::<String>()) {
            let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
                .replace("%20", "+");
            prop_assert_eq!(decode_key(&encoded), key);
        }

        #[test]
        fn sequencers_order_like_filled_up_numbers(a in "[0-9A-F]{1,16}", b in "[0-9A-F]{1,16}") {
            let number = |digits: &str| u64::from_str_radix(&format!("{digits:0<16}"), 16).unwrap();
            prop_assert_eq!(Sequencer::new(&a).cmp(&Sequencer::new(&b)), number(&a).cmp(&number(&b)));
        }
    }
}
