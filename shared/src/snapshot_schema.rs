//! The columns of the snapshot table: one list that the consolidated files and the Glue table share.
//!
//! The first 15 columns have the names, types and order of the predecessor's table, so queries
//! written for it run unchanged. The newer inventory fields follow, then the derived columns.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, Type as PhysicalType};
use parquet::schema::types::{PrimitiveTypeBuilder, SchemaDescriptor, Type};

/// A column type of the snapshot table, as Athena spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AthenaType {
    /// `string`: UTF-8 text.
    String,
    /// `boolean`.
    Boolean,
    /// `bigint`: a signed 64-bit integer.
    Bigint,
    /// `timestamp`: an instant in milliseconds.
    Timestamp,
}

impl AthenaType {
    /// The spelling in a table definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Bigint => "bigint",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Where the values of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Delivered by S3 in every report.
    Always,
    /// Delivered by S3 if the inventory configuration asks for it; null otherwise.
    Optional,
    /// Computed from the key when a file is consolidated.
    Derived,
}

/// A column of the snapshot table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the table and in the files, which is also the inventory field's name in ORC and
    /// Parquet reports.
    pub name: &'static str,
    /// Type in the table.
    pub athena_type: AthenaType,
    /// Where its values come from.
    pub origin: Origin,
}

impl Column {
    /// Whether a row may have no value here. `bucket`, `key` and `category` always have one.
    pub fn is_nullable(&self) -> bool {
        self.origin != Origin::Always && self.name != "category"
    }
}

const fn column(name: &'static str, athena_type: AthenaType, origin: Origin) -> Column {
    Column {
        name,
        athena_type,
        origin,
    }
}

/// All columns in table order, without the partition columns.
pub const COLUMNS: [Column; 24] = {
    use AthenaType::{Bigint, Boolean, String, Timestamp};
    use Origin::{Always, Derived, Optional};
    [
        column("bucket", String, Always),
        column("key", String, Always),
        column("version_id", String, Optional),
        column("is_latest", Boolean, Optional),
        column("is_delete_marker", Boolean, Optional),
        column("size", Bigint, Optional),
        column("last_modified_date", Timestamp, Optional),
        column("e_tag", String, Optional),
        column("storage_class", String, Optional),
        column("is_multipart_uploaded", Boolean, Optional),
        column("replication_status", String, Optional),
        column("encryption_status", String, Optional),
        column("object_lock_retain_until_date", Timestamp, Optional),
        column("object_lock_mode", String, Optional),
        column("object_lock_legal_hold_status", String, Optional),
        column("intelligent_tiering_access_tier", String, Optional),
        column("bucket_key_status", String, Optional),
        column("checksum_algorithm", String, Optional),
        column("object_access_control_list", String, Optional),
        column("object_owner", String, Optional),
        column("lifecycle_expiration_date", Timestamp, Optional),
        column("extension", String, Derived),
        column("top_prefix", String, Derived),
        column("category", String, Derived),
    ]
};

/// The partition columns in path order, all of type `string`.
pub const PARTITION_COLUMNS: [&str; 3] = ["account", "region", "bucketname"];

/// The optional fields that our inventory configurations ask for, as the S3 API spells them.
///
/// The two event-hold fields of newer API versions are left out: a Region that does not know them
/// refuses the whole configuration.
pub const OPTIONAL_FIELDS: [&str; 16] = [
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectAccessControlList",
    "ObjectOwner",
    "LifecycleExpirationDate",
];

/// The column of that name, or `None` if the snapshot table has none.
pub fn find(name: &str) -> Option<&'static Column> {
    static TABLE: [Column; COLUMNS.len()] = COLUMNS;
    TABLE.iter().find(|column| column.name == name)
}

/// The schema of a consolidated file: [`COLUMNS`].
///
/// Timestamps have the annotation `TIMESTAMP_MILLIS` of the older kind alone, as S3 documents it for
/// its own files. Athena and Arrow take it for the same as the newer `TIMESTAMP(MILLIS,true)`, but
/// DuckDB reads that as a timestamp with time zone, which Athena's `timestamp` is not.
pub fn parquet_schema() -> SchemaDescriptor {
    parquet_schema_where(|place| COLUMNS[place].is_nullable())
}

/// The same for a file in which other columns may be null, by their places in [`COLUMNS`].
pub(crate) fn parquet_schema_where(is_nullable: impl Fn(usize) -> bool) -> SchemaDescriptor {
    let annotated = |column: &Column| -> PrimitiveTypeBuilder<'_> {
        let builder = |physical| Type::primitive_type_builder(column.name, physical);
        match column.athena_type {
            AthenaType::String => builder(PhysicalType::BYTE_ARRAY)
                .with_logical_type(Some(LogicalType::String))
                .with_converted_type(ConvertedType::UTF8),
            AthenaType::Boolean => builder(PhysicalType::BOOLEAN),
            AthenaType::Bigint => builder(PhysicalType::INT64),
            AthenaType::Timestamp => {
                builder(PhysicalType::INT64).with_converted_type(ConvertedType::TIMESTAMP_MILLIS)
            }
        }
    };
    let fields = COLUMNS
        .iter()
        .enumerate()
        .map(|(place, column)| {
            let repetition = if is_nullable(place) {
                Repetition::OPTIONAL
            } else {
                Repetition::REQUIRED
            };
            let field = annotated(column).with_repetition(repetition).build();
            Arc::new(field.expect("every annotation fits its physical type"))
        })
        .collect();
    let root = Type::group_type_builder("s3.inventory")
        .with_fields(fields)
        .build();
    SchemaDescriptor::new(Arc::new(
        root.expect("a message of fields is a valid schema"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::snake_case;

    #[test]
    fn begins_with_the_predecessors_columns() {
        let spelled: Vec<String> = COLUMNS
            .iter()
            .take(15)
            .map(|column| format!("{} {}", column.name, column.athena_type.as_str()))
            .collect();
        assert_eq!(
            spelled.join(", "),
            "bucket string, key string, version_id string, is_latest boolean, \
             is_delete_marker boolean, size bigint, last_modified_date timestamp, e_tag string, \
             storage_class string, is_multipart_uploaded boolean, replication_status string, \
             encryption_status string, object_lock_retain_until_date timestamp, \
             object_lock_mode string, object_lock_legal_hold_status string"
        );
    }

    #[test]
    fn has_a_column_for_every_field_asked_for() {
        for field in OPTIONAL_FIELDS {
            let name = snake_case(field);
            assert!(
                find(&name).is_some_and(|c| c.origin == Origin::Optional),
                "{field} -> {name}"
            );
        }
        let optional = COLUMNS
            .iter()
            .filter(|c| c.origin == Origin::Optional)
            .count();
        // `version_id`, `is_latest` and `is_delete_marker` come with the choice of all versions.
        assert_eq!(optional, OPTIONAL_FIELDS.len() + 3);
    }

    #[test]
    fn names_are_unique_and_apart_from_the_partition_columns() {
        let mut names: Vec<&str> = COLUMNS
            .iter()
            .map(|c| c.name)
            .chain(PARTITION_COLUMNS)
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn only_what_every_row_has_is_required() {
        let required: Vec<&str> = COLUMNS
            .iter()
            .filter(|column| !column.is_nullable())
            .map(|column| column.name)
            .collect();
        assert_eq!(required, ["bucket", "key", "category"]);
    }
}
