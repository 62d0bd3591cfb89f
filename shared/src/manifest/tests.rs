use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::hostile;

const DOCUMENTED_PARQUET: &str = "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); \
    optional binary version_id (UTF8); optional boolean is_latest; optional boolean is_delete_marker; \
    optional int64 size; optional int64 last_modified_date (TIMESTAMP_MILLIS); optional binary e_tag (UTF8);}";

const DELIVERED_PARQUET: &str = "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);  \
    optional binary version_id (STRING);  optional boolean is_latest;  optional boolean is_delete_marker;  \
    optional int64 size;  optional int64 last_modified_date (TIMESTAMP(MILLIS,true));  optional binary e_tag (STRING);}";

const ORC: &str = "struct<bucket:string,key:string,version_id:string,is_latest:boolean,is_delete_marker:boolean,\
    size:bigint,last_modified_date:timestamp,e_tag:string>";

const CSV: &str = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag";

const FILE_KEY: &str = "111122223333/photos/s3insights-main-nightly/data/0c5e.parquet";
const MD5: &str = "f11166069f1990abeb9c97ace9cdfabc";

fn document() -> Value {
    json!({
        "sourceBucket": "photos",
        "destinationBucket": "arn:aws:s3:::main-nightly-444455556666-eu-west-1",
        "version": "2016-11-30",
        "creationTimestamp": "1514944800000",
        "fileFormat": "Parquet",
        "fileSchema": DELIVERED_PARQUET,
        "files": [{ "key": FILE_KEY, "size": 2_147_483_648_u64, "MD5checksum": MD5 }],
        "somethingNew": { "ignored": true }
    })
}

fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut document = document();
    *document.pointer_mut(pointer).expect("the field is there") = value;
    document.to_string().into_bytes()
}

#[test]
fn reads_what_s3_delivers() {
    insta::assert_debug_snapshot!(Manifest::parse(document().to_string().as_bytes()).unwrap(), @r#"
    Manifest {
        source_bucket: BucketName(
            "photos",
        ),
        destination_bucket: BucketName(
            "main-nightly-444455556666-eu-west-1",
        ),
        created_at: 2018-01-03T02:00:00Z,
        format: Parquet,
        schema: [
            SchemaField {
                name: "bucket",
                field_type: String,
            },
            SchemaField {
                name: "key",
                field_type: String,
            },
            SchemaField {
                name: "version_id",
                field_type: String,
            },
            SchemaField {
                name: "is_latest",
                field_type: Boolean,
            },
            SchemaField {
                name: "is_delete_marker",
                field_type: Boolean,
            },
            SchemaField {
                name: "size",
                field_type: Bigint,
            },
            SchemaField {
                name: "last_modified_date",
                field_type: Timestamp,
            },
            SchemaField {
                name: "e_tag",
                field_type: String,
            },
        ],
        files: [
            ManifestFile {
                key: "111122223333/photos/s3insights-main-nightly/data/0c5e.parquet",
                size: 2147483648,
                md5: Md5Hash(f11166069f1990abeb9c97ace9cdfabc),
            },
        ],
    }
    "#);
}

#[test]
fn all_spellings_of_a_schema_mean_the_same() {
    let parse = |format: &str, schema: &str| {
        let mut document = document();
        document["fileFormat"] = json!(format);
        document["fileSchema"] = json!(schema);
        Manifest::parse(document.to_string().as_bytes())
            .unwrap()
            .schema
    };
    let expected = parse("Parquet", DELIVERED_PARQUET);
    assert_eq!(expected.len(), 8);
    assert_eq!(parse("Parquet", DOCUMENTED_PARQUET), expected);
    assert_eq!(parse("PARQUET", DOCUMENTED_PARQUET), expected);
    assert_eq!(parse("ORC", ORC), expected);
    assert_eq!(parse("CSV", CSV), expected);
}

#[test]
fn fields_of_tomorrow_are_kept_by_name() {
    for (format, schema) in [
        (
            FileFormat::Parquet,
            "message s3.inventory { required binary key; optional double new_field; }",
        ),
        (
            FileFormat::Orc,
            "struct<key:string,new_field:decimal(10,2)>",
        ),
        (FileFormat::Csv, "Key,NewField"),
    ] {
        let fields = file_schema::parse(format, schema).unwrap();
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["key", "new_field"], "{format}");
        assert_eq!(fields[1].field_type, FieldType::Unknown, "{format}");
    }
}

#[test]
fn a_creation_time_may_be_a_number() {
    let manifest =
        Manifest::parse(&with("/creationTimestamp", json!(1_514_944_800_000_i64))).unwrap();
    assert_eq!(manifest.created_at.to_string(), "2018-01-03T02:00:00Z");
}

#[test]
fn a_destination_is_found_in_every_partition() {
    for arn in [
        "arn:aws:s3:::reports",
        "arn:aws-cn:s3:::reports",
        "arn:aws-us-gov:s3:::reports",
        "reports",
    ] {
        let manifest = Manifest::parse(&with("/destinationBucket", json!(arn))).unwrap();
        assert_eq!(manifest.destination_bucket.as_str(), "reports");
    }
}

fn assert_error(pointer: &str, value: Value, expected: &str) {
    let error = Manifest::parse(&with(pointer, value))
        .unwrap_err()
        .to_string();
    assert!(error.contains(expected), "{pointer}: {error}");
}

#[test]
fn errors_name_the_field_and_what_was_found() {
    let bucket = "arn:aws:sns:::x";
    for (pointer, value, expected) in [
        ("/sourceBucket", json!("a/b"), r#"`sourceBucket`: "a/b" is"#),
        (
            "/sourceBucket",
            json!(7),
            "`sourceBucket`: invalid type: integer `7`",
        ),
        (
            "/destinationBucket",
            json!(bucket),
            r#"`destinationBucket`: "arn:aws:sns:::x" is"#,
        ),
        (
            "/creationTimestamp",
            json!("now"),
            r#"`creationTimestamp`: "now" is"#,
        ),
        (
            "/creationTimestamp",
            json!("9".repeat(18)),
            "`creationTimestamp`: \"999999999999999999\" is",
        ),
        (
            "/fileFormat",
            json!("Avro"),
            r#"`fileFormat`: "Avro" is none of"#,
        ),
        ("/files", json!({}), "`files`: invalid type: map"),
        (
            "/files/0",
            json!({ "key": "k", "size": 1 }),
            "`files[0]`: missing field `MD5checksum`",
        ),
        ("/files/0/key", json!(""), "`files[0].key`: is empty"),
        (
            "/files/0/key",
            json!("a/../b"),
            r#"`files[0].key`: "a/../b" is"#,
        ),
        (
            "/files/0/key",
            json!("a\nb"),
            r#"`files[0].key`: "a\nb" is"#,
        ),
        (
            "/files/0/size",
            json!(-5),
            "`files[0].size`: -5 is not a size",
        ),
        (
            "/files/0/size",
            json!(1.5),
            "`files[0].size`: 1.5 is not a size",
        ),
        (
            "/files/0/size",
            json!("5"),
            "`files[0].size`: invalid type: string",
        ),
        (
            "/files/0/MD5checksum",
            json!("f1"),
            r#"`files[0].MD5checksum`: "f1" is"#,
        ),
    ] {
        assert_error(pointer, value, expected);
    }
}

#[test]
fn errors_about_the_schema_quote_it() {
    for (schema, expected) in [
        (ORC, "`fileSchema`: \"struct<"),
        (
            "message m { required group x { required binary key; } }",
            "is not a Parquet message",
        ),
        (
            "message m { required key; }",
            "\"required key\" is not a field",
        ),
        (
            "message m { required binary bucket; }",
            "has no field key but only \"bucket\"",
        ),
        (
            "message m { required binary key; optional binary key; }",
            "has the field \"key\" twice",
        ),
        ("message m {}", "has no fields"),
        ("", "is not a Parquet message"),
    ] {
        assert_error("/fileSchema", json!(schema), expected);
    }
}

#[test]
fn a_file_is_listed_once() {
    let files = |second: &str| {
        json!([
            { "key": FILE_KEY, "size": 0, "MD5checksum": MD5 },
            { "key": second, "size": 0, "MD5checksum": MD5 },
        ])
    };
    assert_eq!(
        Manifest::parse(&with("/files", files("other")))
            .unwrap()
            .files
            .len(),
        2
    );
    assert_error("/files", files(FILE_KEY), "`files[1].key`: \"111122223333");
}

#[test]
fn text_that_is_not_one_document_is_refused() {
    for text in ["", "{", "[]", "null", "{}", "\u{0}"] {
        assert!(Manifest::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    let mut twice = document().to_string();
    twice.push_str("{}");
    assert!(
        Manifest::parse(twice.as_bytes())
            .unwrap_err()
            .to_string()
            .contains("trailing")
    );
}

#[test]
fn a_key_is_no_longer_than_s3_takes() {
    let longest = "k".repeat(1_024);
    assert!(Manifest::parse(&with("/files/0/key", json!(longest))).is_ok());
    assert_error(
        "/files/0/key",
        json!(format!("{longest}k")),
        "has 1025 bytes, and S3 takes at most 1024",
    );
    assert_error(
        "/files/0/key",
        json!("k".repeat(1_000_000)),
        "1000000 bytes",
    );
}

#[test]
fn a_manifest_of_a_hundred_thousand_files_is_read_within_what_is_taken_into_memory() {
    let file = |number: u64| {
        let key = FILE_KEY.replace("0c5e", &format!("0c5e{number:032}"));
        json!({ "key": key, "size": number, "MD5checksum": MD5 })
    };
    let files: Vec<Value> = (0..100_000).map(file).collect();
    let document = with("/files", json!(files));
    assert!(document.len() < MAX_MANIFEST_BYTES, "{}", document.len());
    let manifest = Manifest::parse(&document).unwrap();
    assert_eq!(manifest.files.len(), 100_000);
    assert_eq!(manifest.files[99_999].size, 99_999);
}

#[test]
fn messages_stay_short() {
    let error = Manifest::parse(&with("/fileSchema", json!("x".repeat(1_000_000)))).unwrap_err();
    assert!(error.to_string().len() < 400);
}

#[test]
fn the_checksum_is_that_of_the_very_bytes() {
    let manifest = document().to_string();
    let checksum = Md5Hash::of(manifest.as_bytes()).to_string();
    assert_eq!(
        verify_checksum(manifest.as_bytes(), checksum.as_bytes()),
        Ok(())
    );
    assert_eq!(
        verify_checksum(
            manifest.as_bytes(),
            format!("{}\n", checksum.to_uppercase()).as_bytes()
        ),
        Ok(())
    );

    let changed = manifest.replace("photos", "fotos");
    assert_eq!(
        verify_checksum(changed.as_bytes(), checksum.as_bytes()),
        Err(ChecksumMismatch::Differs {
            expected: Md5Hash::of(manifest.as_bytes()),
            found: Md5Hash::of(changed.as_bytes()),
        })
    );
    for garbage in [
        &b""[..],
        b"abc",
        b"\xff\xfe",
        b"zz166069f1990abeb9c97ace9cdfabcd",
    ] {
        let result = verify_checksum(manifest.as_bytes(), garbage);
        assert!(
            matches!(result, Err(ChecksumMismatch::NotAChecksum { .. })),
            "{garbage:?}"
        );
    }
}

#[test]
fn md5_is_the_well_known_one() {
    assert_eq!(
        Md5Hash::of(b"").to_string(),
        "d41d8cd98f00b204e9800998ecf8427e"
    );
    assert_eq!(
        Md5Hash::parse("D41D8CD98F00B204E9800998ECF8427E"),
        Some(Md5Hash::of(b""))
    );
    assert_eq!(
        serde_json::to_value(Md5Hash::of(b"")).unwrap(),
        "d41d8cd98f00b204e9800998ecf8427e"
    );
    assert!(serde_json::from_value::<Md5Hash>(json!("d41d")).is_err());
}

#[test]
fn a_location_is_read_from_the_right() {
    let stamp = "2024-02-29T23-59Z";
    for (prefix, key) in [
        (
            "111122223333",
            format!("111122223333/photos/daily/{stamp}/manifest.checksum"),
        ),
        ("a/b", format!("a/b/photos/daily/{stamp}/manifest.checksum")),
        ("", format!("photos/daily/{stamp}/manifest.checksum")),
        ("a/", format!("a//photos/daily/{stamp}/manifest.checksum")),
    ] {
        let location = ReportLocation::parse(&key).unwrap();
        assert_eq!(location.prefix, prefix);
        assert_eq!(location.source_bucket.as_str(), "photos");
        assert_eq!(location.configuration_id, "daily");
        assert_eq!(location.stamp, stamp);
        assert_eq!(location.checksum_key(), key);
        assert_eq!(location.manifest_key(), key.replace(".checksum", ".json"));
    }
}

#[test]
fn other_keys_are_no_report() {
    for key in [
        "",
        "manifest.checksum",
        "daily/2024-02-29T23-59Z/manifest.checksum",
        "1/photos/daily/2024-02-29T23-59Z/manifest.json",
        "1/photos/daily/2024-02-29T23-59Z/xmanifest.checksum",
        "1/photos/daily/2024-02-30T23-59Z/manifest.checksum",
        "1/photos/daily/2024-02-29T24-00Z/manifest.checksum",
        "1/photos/daily/2024-2-29T23-59Z/manifest.checksum",
        "1/photos/daily/data/manifest.checksum",
        "1/photos/dai ly/2024-02-29T23-59Z/manifest.checksum",
        "1/photos//2024-02-29T23-59Z/manifest.checksum",
        "/photos/daily/2024-02-29T23-59Z/manifest.checksum",
        "1/../daily/2024-02-29T23-59Z/manifest.checksum",
        "1/photos/daily/data/x.parquet",
        "1/photos/daily/hive/dt=2024-02-29-23-59/symlink.txt",
    ] {
        assert_eq!(ReportLocation::parse(key), None, "{key}");
    }
}

#[test]
fn snake_case_table() {
    for (name, expected) in [
        ("ETag", "e_tag"),
        ("Key", "key"),
        ("VersionId", "version_id"),
        ("IsMultipartUploaded", "is_multipart_uploaded"),
        ("ObjectLockLegalHoldStatus", "object_lock_legal_hold_status"),
        ("e_tag", "e_tag"),
        ("", ""),
    ] {
        assert_eq!(snake_case(name), expected);
    }
}

proptest! {
    #[test]
    fn any_manifest_is_one_or_an_error_that_names_a_field(document in hostile::mutated(document())) {
        match Manifest::parse(document.to_string().as_bytes()) {
            Ok(manifest) => {
                for file in &manifest.files {
                    prop_assert!((1..=1_024).contains(&file.key.len()));
                    prop_assert!(!file.key.contains("..") && !file.key.contains(char::is_control));
                }
            }
            Err(error) => {
                prop_assert!(!error.field.is_empty());
                prop_assert!(!error.to_string().contains(char::is_control), "{error}");
            }
        }
    }

    #[test]
    fn nothing_makes_the_parsers_panic(text in any::<String>(), key in "[a-z./]{0,30}manifest.checksum") {
        let _ = Manifest::parse(text.as_bytes());
        let _ = ReportLocation::parse(&key);
        let _ = snake_case(&text);
        for format in [FileFormat::Parquet, FileFormat::Orc, FileFormat::Csv] {
            let _ = file_schema::parse(format, &text);
            let _ = file_schema::parse(format, &format!("message m {{{text}}}"));
            let _ = file_schema::parse(format, &format!("struct<{text}>"));
        }
    }

    #[test]
    fn blanks_do_not_matter(blanks in proptest::collection::vec(" {1,3}", 8)) {
        let spaced = |text: &str| {
            let mut parts = text.split(' ');
            let mut spaced = parts.next().unwrap_or_default().to_owned();
            for (index, part) in parts.enumerate() {
                spaced.push_str(&blanks[index % blanks.len()]);
                spaced.push_str(part);
            }
            spaced
        };
        for (format, schema) in [(FileFormat::Parquet, DOCUMENTED_PARQUET), (FileFormat::Csv, CSV)] {
            prop_assert_eq!(file_schema::parse(format, &spaced(schema)), file_schema::parse(format, schema));
        }
    }
}
