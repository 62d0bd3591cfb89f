//! The columns of a report: which there are, in which order, and how each is named and typed in
//! the three formats.

use serde::{Deserialize, Serialize};

use super::Row;

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

/// How a field is written.
pub(crate) struct Column {
    /// Its name in CSV, which is also the one configurations use.
    pub(crate) csv_name: &'static str,
    /// Its name in ORC and Parquet.
    pub(crate) name: &'static str,
    pub(crate) values: Values,
}

/// The type of a column, and where its values come from. `None` is null.
#[derive(Clone, Copy)]
pub(crate) enum Values {
    /// From the name of the source bucket and the row.
    Text(for<'a> fn(&'a str, &'a Row) -> Option<&'a str>),
    Flag(fn(&Row) -> Option<bool>),
    Number(fn(&Row) -> Option<i64>),
    /// Milliseconds since 1970.
    Time(fn(&Row) -> Option<i64>),
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

    /// The one table of names and types, which every format is written from.
    #[rustfmt::skip]
    pub(crate) fn column(self) -> Column {
        use Values::{Flag, Number, Text, Time};
        let (csv_name, name, values) = match self {
            Self::Bucket => ("Bucket", "bucket", Text(|bucket, _| Some(bucket))),
            Self::Key => ("Key", "key", Text(|_, row| Some(&row.key))),
            Self::VersionId => ("VersionId", "version_id", Text(|_, row| Some(&row.version_id))),
            Self::IsLatest => ("IsLatest", "is_latest", Flag(|row| Some(row.is_latest))),
            Self::IsDeleteMarker => ("IsDeleteMarker", "is_delete_marker", Flag(|row| Some(row.is_delete_marker))),
            Self::Size => ("Size", "size", Number(|row| row.size)),
            Self::LastModifiedDate => ("LastModifiedDate", "last_modified_date", Time(|row| row.last_modified)),
            Self::ETag => ("ETag", "e_tag", Text(|_, row| row.e_tag.as_deref())),
            Self::StorageClass => ("StorageClass", "storage_class", Text(|_, row| row.storage_class.as_deref())),
            Self::IsMultipartUploaded => ("IsMultipartUploaded", "is_multipart_uploaded", Flag(|row| row.is_multipart_uploaded)),
            Self::ReplicationStatus => ("ReplicationStatus", "replication_status", Text(|_, row| row.replication_status.as_deref())),
            Self::EncryptionStatus => ("EncryptionStatus", "encryption_status", Text(|_, row| row.encryption_status.as_deref())),
            Self::ObjectLockRetainUntilDate => ("ObjectLockRetainUntilDate", "object_lock_retain_until_date", Time(|row| row.lock_retain_until)),
            Self::ObjectLockMode => ("ObjectLockMode", "object_lock_mode", Text(|_, row| row.lock_mode.as_deref())),
            Self::ObjectLockLegalHoldStatus => ("ObjectLockLegalHoldStatus", "object_lock_legal_hold_status", Text(|_, row| row.legal_hold.as_deref())),
            Self::IntelligentTieringAccessTier => ("IntelligentTieringAccessTier", "intelligent_tiering_access_tier", Text(|_, row| row.access_tier.as_deref())),
            Self::BucketKeyStatus => ("BucketKeyStatus", "bucket_key_status", Text(|_, row| row.bucket_key_status.as_deref())),
            Self::ChecksumAlgorithm => ("ChecksumAlgorithm", "checksum_algorithm", Text(|_, row| row.checksum_algorithm.as_deref())),
            Self::ObjectAccessControlList => ("ObjectAccessControlList", "object_access_control_list", Text(|_, row| row.access_control_list.as_deref())),
            Self::ObjectOwner => ("ObjectOwner", "object_owner", Text(|_, row| row.owner.as_deref())),
            // The embedded S3 does not expire objects by lifecycle rules, and knows no event holds.
            Self::LifecycleExpirationDate => ("LifecycleExpirationDate", "lifecycle_expiration_date", Time(|_| None)),
            Self::ObjectLockEventHoldStatus => ("ObjectLockEventHoldStatus", "object_lock_event_hold_status", Text(|_, _| None)),
            Self::ObjectLockEventHoldDuration => ("ObjectLockEventHoldDuration", "object_lock_event_hold_duration", Text(|_, _| None)),
        };
        Column { csv_name, name, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn current_reports_have_no_version_columns() {
        assert_eq!(
            Field::columns(false, &[Field::Size]),
            [Field::Bucket, Field::Key, Field::Size]
        );
        assert_eq!(Field::columns(true, &[]).len(), 5);
    }

    #[test]
    fn names_in_csv_are_those_of_the_api() {
        for field in Field::OPTIONAL {
            assert_eq!(
                serde_json::to_value(field).unwrap(),
                field.column().csv_name
            );
        }
    }
}
