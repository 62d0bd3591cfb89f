//! Files that are too large for one request: their bytes are copied within S3.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use shared::manifest::Md5Hash;
use shared::run::InventoryFile;

use super::inventory_files::{consolidate_one, looked_after, with_files};
use super::{
    BUCKET, COUNT_ONE, DATA, DATA_HEAD, TOTALS, assert_refused, file, refused, report, returned,
};
use crate::support::{Line, Reply, done, error, head_of, item, the_run, xml};

const BEGIN: &str = "POST@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet?uploads";
const COPY: &str = "PUT@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet?partNumber=1&uploadId=u";
const SEND: &str = "PUT@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet?partNumber=2&uploadId=u";
const COMPLETE: &str = "POST@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet?uploadId=u";
const ABORT: &str = "DELETE@us-east-1 consolidated/inventory/nightly/account=111111111111/\
    region=eu-west-1/bucketname=photos/smoke-test.parquet?uploadId=u";
const DELAY: &str = "ChangeMessageVisibility files";

/// What the `ETag` of an object says that was written in parts: nothing about its bytes.
const NO_PROOF: &str = "0123456789abcdef0123456789abcdef-2";

const ROWS: usize = 6_000;

/// A file of more than 5 MiB: nearly all of it is keys, as long as S3 takes them.
fn data() -> Bytes {
    let keys = (0..ROWS).map(|row| format!("{row:01000}"));
    let columns: [(&str, ArrayRef, bool); 7] = [
        (
            "bucket",
            Arc::new(StringArray::from(vec!["photos"; ROWS])),
            false,
        ),
        ("key", Arc::new(StringArray::from_iter_values(keys)), false),
        (
            "version_id",
            Arc::new(StringArray::from(vec![""; ROWS])),
            true,
        ),
        (
            "is_latest",
            Arc::new(BooleanArray::from(vec![true; ROWS])),
            true,
        ),
        (
            "is_delete_marker",
            Arc::new(BooleanArray::from(vec![false; ROWS])),
            true,
        ),
        ("size", Arc::new(Int64Array::from(vec![2; ROWS])), true),
        (
            "last_modified_date",
            Arc::new(TimestampMillisecondArray::from(vec![0; ROWS]).with_timezone("UTC")),
            true,
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

/// The file as its report lists it.
fn record(data: &[u8]) -> InventoryFile {
    let mut record = file(&report());
    record.size = data.len() as u64;
    record.md5 = Md5Hash::of(data);
    record
}

/// The first of two files.
fn script(data: &Bytes, e_tag: &str) -> Vec<Line> {
    vec![
        ("GetItem file#photos#smoke-test", item(&record(data))),
        (BUCKET, item(&with_files(2))),
        (DATA_HEAD, head_of(data, e_tag)),
        (DATA, Reply::Object(data.clone())),
        (
            BEGIN,
            xml("<InitiateMultipartUploadResult><UploadId>u</UploadId>\
                 </InitiateMultipartUploadResult>"),
        ),
        (
            COPY,
            xml("<CopyPartResult><ETag>\"copied\"</ETag></CopyPartResult>"),
        ),
        (
            SEND,
            Reply::Head {
                status: 200,
                headers: vec![("etag", "\"sent\"".to_owned())],
            },
        ),
        (
            COMPLETE,
            xml("<CompleteMultipartUploadResult><ETag>\"whole-2\"</ETag>\
                 </CompleteMultipartUploadResult>"),
        ),
        (TOTALS, done()),
        (COUNT_ONE, done()),
        ("GetItem run", item(&the_run())),
    ]
}

/// Where the footer begins: its length stands before the last four bytes.
fn footer_start(file: &[u8]) -> usize {
    let (length, magic) = file[file.len() - 8..].split_at(4);
    assert_eq!(magic, b"PAR1");
    file.len() - 8 - u32::from_le_bytes(length.try_into().unwrap()) as usize
}

#[tokio::test]
async fn a_large_file_is_copied_within_s3_and_its_new_end_follows() {
    let data = data();
    let copied = footer_start(&data);
    assert!(copied > 5 * 1024 * 1024, "{copied} bytes");
    let md5 = Md5Hash::of(&data).to_string();
    for e_tag in [md5.as_str(), NO_PROOF] {
        let (aws, response) = consolidate_one(script(&data, e_tag)).await;
        assert!(returned(&response).is_empty());
        // The object is there before it is counted.
        for pair in [BEGIN, COPY, SEND, COMPLETE, TOTALS, COUNT_ONE].windows(2) {
            aws.assert_order(pair[0], pair[1]);
        }
        let copy = aws.call(COPY);
        for (header, value) in [
            (
                "x-amz-copy-source",
                DATA.split_once(' ').unwrap().1.to_owned(),
            ),
            ("x-amz-copy-source-range", format!("bytes=0-{}", copied - 1)),
            ("x-amz-copy-source-if-match", format!("\"{e_tag}\"")),
        ] {
            assert_eq!(copy.headers.get(header), Some(&value), "{header}");
        }
        assert!(aws.call(SEND).body.ends_with(b"PAR1"));
        let parts = aws.call(COMPLETE).text();
        let place = |e_tag| parts.find(e_tag).expect("the part is listed");
        assert!(place("copied") < place("sent"), "{parts}");
        assert_eq!(aws.call(TOTALS).json()["all"]["objects"], ROWS);
        for request in aws.calls(DATA) {
            let condition = request.headers.get("if-match");
            assert_eq!(condition, Some(&format!("\"{e_tag}\"")));
        }
    }
}

#[tokio::test]
async fn an_upload_that_s3_refuses_to_go_on_with_is_aborted_and_its_file_tried_again() {
    let data = data();
    let e_tag = Md5Hash::of(&data).to_string();
    // S3 has begun to answer a copy or a completion when it fails.
    let late = || xml("<Error><Code>InternalError</Code><Message>late</Message></Error>");
    for (step, refusal) in [
        (COPY, error(403, "AccessDenied")),
        (COPY, error(412, "PreconditionFailed")),
        (COPY, late()),
        (SEND, error(503, "SlowDown")),
        (COMPLETE, error(400, "InvalidPart")),
        (COMPLETE, late()),
    ] {
        let mut script = script(&data, &e_tag);
        let at = script.iter().position(|(name, _)| *name == step).unwrap();
        script[at].1 = refusal;
        script.truncate(at + 1);
        script.push((ABORT, done()));
        script.extend(looked_after());
        let (aws, response) = consolidate_one(script).await;
        assert_eq!(returned(&response), ["m"], "{step}");
        aws.assert_order(ABORT, DELAY);
    }
}

#[tokio::test]
async fn an_upload_that_cannot_be_aborted_either_is_left_to_the_bucket() {
    let data = data();
    let mut script = script(&data, &Md5Hash::of(&data).to_string());
    script[5].1 = error(403, "AccessDenied");
    script.truncate(6);
    script.push((ABORT, error(403, "AccessDenied")));
    script.extend(looked_after());
    let (_, response) = consolidate_one(script).await;
    assert_eq!(returned(&response), ["m"]);
}

#[tokio::test]
async fn an_upload_of_what_turns_out_to_be_another_file_is_aborted_before_its_bucket_ends() {
    let data = data();
    let mut altered = data.to_vec();
    altered[data.len() / 2] ^= 1;
    let altered = Bytes::from(altered);
    let mut script = script(&altered, NO_PROOF);
    script[0].1 = item(&record(&data));
    script.truncate(6);
    script.push((ABORT, done()));
    script.extend(refused());
    let (aws, response) = consolidate_one(script).await;
    assert!(returned(&response).is_empty());
    assert_refused(&aws, "FileMismatch");
    aws.assert_order(COPY, ABORT);
    aws.assert_order(ABORT, super::END);
}
