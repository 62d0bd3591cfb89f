//! Data files in Parquet: the schema S3 writes, snappy, one row group.

use std::sync::Arc;

use ::parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use anyhow::{Context, Result};
use bytes::Bytes;

use super::{Field, Row};

/// Name and type of a column, as they stand in the schema.
fn column(field: Field) -> (&'static str, &'static str) {
    const TEXT: &str = "optional binary {} (STRING)";
    const FLAG: &str = "optional boolean {}";
    const TIME: &str = "optional int64 {} (TIMESTAMP(MILLIS,true))";
    const REQUIRED: &str = "required binary {} (STRING)";
    match field {
        Field::Bucket => ("bucket", REQUIRED),
        Field::Key => ("key", REQUIRED),
        Field::VersionId => ("version_id", TEXT),
        Field::IsLatest => ("is_latest", FLAG),
        Field::IsDeleteMarker => ("is_delete_marker", FLAG),
        Field::Size => ("size", "optional int64 {}"),
        Field::LastModifiedDate => ("last_modified_date", TIME),
        Field::ETag => ("e_tag", TEXT),
        Field::StorageClass => ("storage_class", TEXT),
        Field::IsMultipartUploaded => ("is_multipart_uploaded", FLAG),
        Field::ReplicationStatus => ("replication_status", TEXT),
        Field::EncryptionStatus => ("encryption_status", TEXT),
        Field::ObjectLockRetainUntilDate => ("object_lock_retain_until_date", TIME),
        Field::ObjectLockMode => ("object_lock_mode", TEXT),
        Field::ObjectLockLegalHoldStatus => ("object_lock_legal_hold_status", TEXT),
        Field::IntelligentTieringAccessTier => ("intelligent_tiering_access_tier", TEXT),
        Field::BucketKeyStatus => ("bucket_key_status", TEXT),
        Field::ChecksumAlgorithm => ("checksum_algorithm", TEXT),
        Field::ObjectAccessControlList => ("object_access_control_list", TEXT),
        Field::ObjectOwner => ("object_owner", TEXT),
        Field::LifecycleExpirationDate => ("lifecycle_expiration_date", TIME),
        Field::ObjectLockEventHoldStatus => ("object_lock_event_hold_status", TEXT),
        Field::ObjectLockEventHoldDuration => ("object_lock_event_hold_duration", TEXT),
    }
}

/// The schema as the manifest gives it, double blanks and all.
pub(crate) fn schema(columns: &[Field]) -> String {
    let declared: Vec<String> = columns
        .iter()
        .map(|field| {
            let (name, shape) = column(*field);
            format!("  {};", shape.replace("{}", name))
        })
        .collect();
    format!("message s3.inventory {{{}}}", declared.concat())
}

/// The bytes of one data file.
pub(crate) fn write(bucket: &str, columns: &[Field], rows: &[Row]) -> Result<Bytes> {
    let schema = parse_message_type(&schema(columns)).context("the inventory schema")?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("parquet-mr version 1.12.0".to_owned())
        .build();
    let mut file = SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    for field in columns {
        let mut writer = group
            .next_column()?
            .context("a column too few in the inventory schema")?;
        match column_values(*field, bucket, rows) {
            Values::Required(values) => {
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, None, None)?;
            }
            Values::Text(values) => {
                let (values, levels) = dense(values.map(|value| value.map(ByteArray::from)));
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Values::Number(values) => {
                let (values, levels) = dense(values);
                writer
                    .typed::<Int64Type>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Values::Flag(values) => {
                let (values, levels) = dense(values);
                writer
                    .typed::<BoolType>()
                    .write_batch(&values, Some(&levels), None)?;
            }
        }
        writer.close()?;
    }
    group.close()?;
    Ok(Bytes::from(file.into_inner()?))
}

enum Values<'a> {
    Required(Vec<ByteArray>),
    Text(Box<dyn Iterator<Item = Option<&'a str>> + 'a>),
    Number(Box<dyn Iterator<Item = Option<i64>> + 'a>),
    Flag(Box<dyn Iterator<Item = Option<bool>> + 'a>),
}

fn column_values<'a>(field: Field, bucket: &'a str, rows: &'a [Row]) -> Values<'a> {
    fn text(rows: &[Row], value: fn(&Row) -> Option<&String>) -> Values<'_> {
        Values::Text(Box::new(
            rows.iter().map(move |row| value(row).map(String::as_str)),
        ))
    }
    fn number(rows: &[Row], value: fn(&Row) -> Option<i64>) -> Values<'_> {
        Values::Number(Box::new(rows.iter().map(value)))
    }
    fn flag(rows: &[Row], value: fn(&Row) -> Option<bool>) -> Values<'_> {
        Values::Flag(Box::new(rows.iter().map(value)))
    }
    match field {
        Field::Bucket => Values::Required(vec![ByteArray::from(bucket); rows.len()]),
        Field::Key => Values::Required(
            rows.iter()
                .map(|row| ByteArray::from(row.key.as_str()))
                .collect(),
        ),
        Field::VersionId => text(rows, |row| Some(&row.version_id)),
        Field::IsLatest => flag(rows, |row| Some(row.is_latest)),
        Field::IsDeleteMarker => flag(rows, |row| Some(row.is_delete_marker)),
        Field::Size => number(rows, |row| row.size),
        Field::LastModifiedDate => number(rows, |row| row.last_modified),
        Field::ETag => text(rows, |row| row.e_tag.as_ref()),
        Field::StorageClass => text(rows, |row| row.storage_class.as_ref()),
        Field::IsMultipartUploaded => flag(rows, |row| row.is_multipart_uploaded),
        Field::ReplicationStatus => text(rows, |row| row.replication_status.as_ref()),
        Field::EncryptionStatus => text(rows, |row| row.encryption_status.as_ref()),
        Field::ObjectLockRetainUntilDate => number(rows, |row| row.lock_retain_until),
        Field::ObjectLockMode => text(rows, |row| row.lock_mode.as_ref()),
        Field::ObjectLockLegalHoldStatus => text(rows, |row| row.legal_hold.as_ref()),
        Field::IntelligentTieringAccessTier => text(rows, |row| row.access_tier.as_ref()),
        Field::BucketKeyStatus => text(rows, |row| row.bucket_key_status.as_ref()),
        Field::ChecksumAlgorithm => text(rows, |row| row.checksum_algorithm.as_ref()),
        Field::ObjectAccessControlList => text(rows, |row| row.access_control_list.as_ref()),
        Field::ObjectOwner => text(rows, |row| row.owner.as_ref()),
        // The embedded S3 does not expire objects by lifecycle rules.
        Field::LifecycleExpirationDate => number(rows, |_| None),
        Field::ObjectLockEventHoldStatus | Field::ObjectLockEventHoldDuration => {
            text(rows, |_| None)
        }
    }
}

/// Parquet keeps the values that are there, and a level per row that says whether there is one.
fn dense<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
    let mut present = Vec::new();
    let levels = values.map(|value| match value {
        Some(value) => {
            present.push(value);
            1
        }
        None => 0,
    });
    let levels = levels.collect();
    (present, levels)
}

#[cfg(test)]
mod tests {
    use ::parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::RowAccessor as _,
    };

    use super::*;

    #[test]
    fn a_file_is_read_back_with_nulls_and_raw_keys() {
        let columns = Field::columns(true, &[Field::Size, Field::LastModifiedDate, Field::ETag]);
        let rows = [
            Row {
                key: "a b+%2B\n\u{1F980}".to_owned(),
                size: Some(7),
                last_modified: Some(1_700_000_000_123),
                e_tag: Some("abc".to_owned()),
                is_latest: true,
                ..Row::default()
            },
            Row {
                key: "gone".to_owned(),
                version_id: "v1".to_owned(),
                is_delete_marker: true,
                ..Row::default()
            },
        ];
        let file = write("source", &columns, &rows).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        assert_eq!(
            reader.metadata().file_metadata().schema().name(),
            "s3.inventory"
        );
        let read: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(read[0].get_string(0).unwrap(), "source");
        assert_eq!(read[0].get_string(1).unwrap(), "a b+%2B\n\u{1F980}");
        assert_eq!(read[0].get_string(2).unwrap(), "");
        assert_eq!(read[0].get_long(5).unwrap(), 7);
        assert_eq!(read[0].get_timestamp_millis(6).unwrap(), 1_700_000_000_123);
        assert!(read[1].get_bool(4).unwrap());
        assert!(read[1].get_long(5).is_err(), "a delete marker has no size");
    }

    #[test]
    fn every_field_has_a_column() {
        let columns = Field::columns(true, &Field::OPTIONAL);
        assert!(write("source", &columns, &[Row::default()]).is_ok());
        assert!(schema(&columns).starts_with(
            "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);"
        ));
    }
}
