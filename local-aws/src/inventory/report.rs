//! One inventory report: columns, data files, manifest. Everything about the file format is in
//! [`parquet`]; the rest is the same for every format.
//!
//! Documents: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory.html>

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};

pub(crate) mod parquet;

/// A column of a report. The order of the variants is that of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Field {
    #[serde(skip)]
    Bucket,
    #[serde(skip)]
    Key,
    #[serde(skip)]
    VersionId,
    #[serde(skip)]
    IsLatest,
    #[serde(skip)]
    IsDeleteMarker,
    Size,
    LastModifiedDate,
    ETag,
    StorageClass,
    IsMultipartUploaded,
    ReplicationStatus,
    EncryptionStatus,
    ObjectLockRetainUntilDate,
    ObjectLockMode,
    ObjectLockLegalHoldStatus,
    IntelligentTieringAccessTier,
    BucketKeyStatus,
    ChecksumAlgorithm,
    ObjectAccessControlList,
    ObjectOwner,
    LifecycleExpirationDate,
    ObjectLockEventHoldStatus,
    ObjectLockEventHoldDuration,
}

impl Field {
    /// The fields a configuration may ask for, in the order of their columns.
    pub(crate) const OPTIONAL: [Self; 18] = [
        Self::Size,
        Self::LastModifiedDate,
        Self::ETag,
        Self::StorageClass,
        Self::IsMultipartUploaded,
        Self::ReplicationStatus,
        Self::EncryptionStatus,
        Self::ObjectLockRetainUntilDate,
        Self::ObjectLockMode,
        Self::ObjectLockLegalHoldStatus,
        Self::IntelligentTieringAccessTier,
        Self::BucketKeyStatus,
        Self::ChecksumAlgorithm,
        Self::ObjectAccessControlList,
        Self::ObjectOwner,
        Self::LifecycleExpirationDate,
        Self::ObjectLockEventHoldStatus,
        Self::ObjectLockEventHoldDuration,
    ];

    /// Whether only `HeadObject` tells the value.
    pub(crate) fn needs_head(self) -> bool {
        matches!(
            self,
            Self::ReplicationStatus
                | Self::EncryptionStatus
                | Self::ObjectLockRetainUntilDate
                | Self::ObjectLockMode
                | Self::ObjectLockLegalHoldStatus
                | Self::BucketKeyStatus
        )
    }

    /// The columns of a report.
    pub(crate) fn columns(all_versions: bool, optional: &[Self]) -> Vec<Self> {
        let versions = [Self::VersionId, Self::IsLatest, Self::IsDeleteMarker];
        let mut columns = vec![Self::Bucket, Self::Key];
        columns.extend(versions.into_iter().filter(|_| all_versions));
        columns.extend(optional);
        columns
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

    #[test]
    fn current_reports_have_no_version_columns() {
        assert_eq!(
            Field::columns(false, &[Field::Size]),
            [Field::Bucket, Field::Key, Field::Size]
        );
        assert_eq!(Field::columns(true, &[]).len(), 5);
    }
}
