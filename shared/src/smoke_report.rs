//! The report of a smoke test: two rows about a bucket that does not exist, in the shape in which
//! S3 delivers reports, so that it goes the whole way of a real one.

use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::ids::{AccountId, BucketName};
use crate::manifest::Md5Hash;

const SCHEMA: &str = "message s3.inventory {  required binary bucket (STRING);  \
                      required binary key (STRING);  optional binary version_id (STRING);  \
                      optional boolean is_latest;  optional boolean is_delete_marker;  \
                      optional int64 size;  optional int64 last_modified_date (TIMESTAMP(MILLIS,true));}";

/// Objects to put into a destination, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmokeReport {
    /// Key, content type and content of each.
    pub objects: Vec<(String, &'static str, Vec<u8>)>,
}

/// Rows in the report.
pub const ROWS: u64 = 2;

impl SmokeReport {
    /// The report about `bucket`; the same arguments make the same bytes.
    pub fn new(
        account: &AccountId,
        bucket: &BucketName,
        configuration_id: &str,
        destination: &BucketName,
        at: Timestamp,
    ) -> Self {
        let data = data_file(bucket, at);
        let home = format!("{account}/{bucket}/{configuration_id}");
        let data_key = format!("{home}/data/smoke-test.parquet");
        let manifest = json!({
            "sourceBucket": bucket,
            "destinationBucket": format!("arn:aws:s3:::{destination}"),
            "version": "2016-11-30",
            "creationTimestamp": at.as_millisecond().to_string(),
            "fileFormat": "Parquet",
            "fileSchema": SCHEMA,
            "files": [{
                "key": data_key,
                "size": data.len(),
                "MD5checksum": Md5Hash::of(&data),
            }],
        })
        .to_string();
        let checksum = Md5Hash::of(manifest.as_bytes()).to_string();
        let stamp = at.strftime("%Y-%m-%dT%H-%MZ");
        Self {
            objects: vec![
                (data_key, "application/octet-stream", data),
                (
                    format!("{home}/{stamp}/manifest.json"),
                    "application/json",
                    manifest.into_bytes(),
                ),
                (
                    format!("{home}/{stamp}/manifest.checksum"),
                    "text/plain",
                    checksum.into_bytes(),
                ),
            ],
        }
    }
}

fn data_file(bucket: &BucketName, at: Timestamp) -> Vec<u8> {
    const SOUND: &str = "two rows of fixed columns always make a file";
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        (
            "bucket",
            Arc::new(StringArray::from(vec![bucket.as_str(); 2])),
            false,
        ),
        (
            "key",
            Arc::new(StringArray::from(vec![
                "smoke-test/first",
                "smoke-test/second.txt",
            ])),
            false,
        ),
        ("version_id", Arc::new(StringArray::from(vec![""; 2])), true),
        (
            "is_latest",
            Arc::new(BooleanArray::from(vec![true; 2])),
            true,
        ),
        (
            "is_delete_marker",
            Arc::new(BooleanArray::from(vec![false; 2])),
            true,
        ),
        ("size", Arc::new(Int64Array::from(vec![1, 2])), true),
        (
            "last_modified_date",
            Arc::new(
                TimestampMillisecondArray::from(vec![at.as_millisecond(); 2]).with_timezone("UTC"),
            ),
            true,
        ),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect(SOUND);
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).expect(SOUND);
    writer.write(&batch).expect(SOUND);
    writer.close().expect(SOUND);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::ReportLocation;
    use crate::protocol;

    #[test]
    fn the_report_passes_the_checks_of_a_real_one() {
        let account = AccountId::try_from("123456789012").unwrap();
        let bucket = BucketName::try_from("smoke-test-x-eu-west-1").unwrap();
        let destination = BucketName::try_from("destination").unwrap();
        let at = "2026-03-01T04:05:06Z".parse().unwrap();
        let make =
            || SmokeReport::new(&account, &bucket, "s3insights-insights-x", &destination, at);
        let report = make();
        assert_eq!(report, make());
        let [_, (manifest_key, _, manifest), (checksum_key, _, checksum)] = &report.objects[..]
        else {
            panic!("three objects");
        };
        let location = ReportLocation::parse(checksum_key).unwrap();
        assert_eq!(location.manifest_key(), *manifest_key);
        let manifest =
            protocol::check_manifest(&location, &destination, manifest, checksum).unwrap();
        assert_eq!(manifest.files.len(), 1);
        assert_eq!(manifest.schema.len(), 7);
    }
}
