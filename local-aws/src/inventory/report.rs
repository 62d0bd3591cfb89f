//! One inventory report: columns, data files, manifest. What differs between the formats is in a
//! module for each; what they share is [`field`]'s table and here.
//!
//! Documents: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html>

use anyhow::Result;
use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

mod csv;
mod field;
mod orc;
mod parquet;

pub(crate) use field::Field;

/// File format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Format {
    #[serde(rename = "CSV")]
    Csv,
    #[serde(rename = "ORC")]
    Orc,
    Parquet,
}

impl Format {
    /// `fileFormat` of the manifest.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Orc => "ORC",
            Self::Parquet => "Parquet",
        }
    }

    /// What the names of data files end with, after a dot.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv.gz",
            Self::Orc => "orc",
            Self::Parquet => "parquet",
        }
    }

    /// `fileSchema` of the manifest.
    pub(crate) fn schema(self, columns: &[Field]) -> String {
        match self {
            Self::Csv => csv::schema(columns),
            Self::Orc => orc::schema(columns),
            Self::Parquet => parquet::schema(columns),
        }
    }

    /// The bytes of one data file.
    pub(crate) fn write(self, bucket: &str, columns: &[Field], rows: &[Row]) -> Result<Bytes> {
        match self {
            Self::Csv => csv::write(bucket, columns, rows),
            Self::Orc => orc::write(bucket, columns, rows),
            Self::Parquet => parquet::write(bucket, columns, rows),
        }
    }
}

/// One object, version or delete marker. `None` is null in the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: String,
    /// Empty for the null version.
    pub(crate) version_id: String,
    pub(crate) is_latest: bool,
    pub(crate) is_delete_marker: bool,
    pub(crate) size: Option<i64>,
    /// Milliseconds since 1970, as all times here.
    pub(crate) last_modified: Option<i64>,
    pub(crate) e_tag: Option<String>,
    pub(crate) storage_class: Option<String>,
    pub(crate) is_multipart_uploaded: Option<bool>,
    pub(crate) replication_status: Option<String>,
    pub(crate) encryption_status: Option<String>,
    pub(crate) lock_retain_until: Option<i64>,
    pub(crate) lock_mode: Option<String>,
    pub(crate) legal_hold: Option<String>,
    pub(crate) access_tier: Option<String>,
    pub(crate) bucket_key_status: Option<String>,
    pub(crate) checksum_algorithm: Option<String>,
    pub(crate) access_control_list: Option<String>,
    pub(crate) owner: Option<String>,
}

/// A data file of a report.
pub(crate) struct DataFile {
    pub(crate) key: String,
    pub(crate) body: Bytes,
}

/// `manifest.json`. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest<'a> {
    pub(crate) source_bucket: &'a str,
    /// ARN.
    pub(crate) destination_bucket: &'a str,
    pub(crate) version: &'static str,
    /// Milliseconds since 1970, as a string.
    pub(crate) creation_timestamp: String,
    pub(crate) file_format: &'static str,
    pub(crate) file_schema: String,
    pub(crate) files: Vec<ManifestFile>,
}

#[derive(Serialize)]
pub(crate) struct ManifestFile {
    pub(crate) key: String,
    pub(crate) size: usize,
    #[serde(rename = "MD5checksum")]
    pub(crate) md5: String,
}

pub(crate) fn md5_hex(body: &[u8]) -> String {
    hex::encode(Md5::digest(body))
}

/// The folder names of a report: `2026-11-21T01-00Z` of the manifest, `dt=2026-11-21-01-00` of the symlink.
pub(crate) fn stamps(scan_started: Timestamp) -> (String, String) {
    let utc = scan_started.to_zoned(TimeZone::UTC);
    (
        utc.strftime("%Y-%m-%dT%H-%MZ").to_string(),
        utc.strftime("dt=%Y-%m-%d-%H-%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_written_as_s3_writes_them() {
        let moment: Timestamp = "2026-03-09T01:02:59Z".parse().unwrap();
        let (manifest, symlink) = stamps(moment);
        assert_eq!(manifest, "2026-03-09T01-02Z");
        assert_eq!(symlink, "dt=2026-03-09-01-02");
    }

    /// Every column, and rows with odd keys, nulls, a null version and a delete marker.
    pub(super) fn sample() -> (Vec<Field>, Vec<Row>) {
        let object = Row {
            key: "a b+%2B/\"q\",\n\u{1F980}".to_owned(),
            is_latest: true,
            size: Some(7),
            last_modified: Some(1_700_000_000_123),
            e_tag: Some("abc".to_owned()),
            storage_class: Some("STANDARD".to_owned()),
            is_multipart_uploaded: Some(false),
            encryption_status: Some("SSE-S3".to_owned()),
            lock_retain_until: Some(1_900_000_000_000),
            ..Row::default()
        };
        let marker = Row {
            key: "gone".to_owned(),
            version_id: "v1".to_owned(),
            is_delete_marker: true,
            last_modified: Some(1_700_000_001_000),
            ..Row::default()
        };
        (Field::columns(true, &Field::OPTIONAL), vec![object, marker])
    }

    #[test]
    fn formats_are_named_in_manifests_as_in_configurations() {
        for format in [Format::Csv, Format::Orc, Format::Parquet] {
            assert_eq!(serde_json::to_value(format).unwrap(), format.name());
        }
    }
}
