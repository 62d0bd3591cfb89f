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

use super::{
    Row,
    field::{Field, Values},
};

/// The schema as the manifest gives it, double blanks and all.
pub(super) fn schema(columns: &[Field]) -> String {
    let declared: Vec<String> = columns
        .iter()
        .map(|field| {
            let column = field.column();
            let name = column.name;
            let presence = if is_required(*field) {
                "required"
            } else {
                "optional"
            };
            let (kind, annotation) = match column.values {
                Values::Text(_) => ("binary", " (STRING)"),
                Values::Flag(_) => ("boolean", ""),
                Values::Number(_) => ("int64", ""),
                Values::Time(_) => ("int64", " (TIMESTAMP(MILLIS,true))"),
            };
            format!("  {presence} {kind} {name}{annotation};")
        })
        .collect();
    format!("message s3.inventory {{{}}}", declared.concat())
}

/// The bytes of one data file.
pub(super) fn write(bucket: &str, columns: &[Field], rows: &[Row]) -> Result<Bytes> {
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
        match field.column().values {
            Values::Text(value) => {
                let values = rows
                    .iter()
                    .map(|row| value(bucket, row).map(ByteArray::from));
                let (values, levels) = dense(values);
                let levels = (!is_required(*field)).then_some(&levels[..]);
                writer
                    .typed::<ByteArrayType>()
                    .write_batch(&values, levels, None)?;
            }
            Values::Number(value) | Values::Time(value) => {
                let (values, levels) = dense(rows.iter().map(value));
                writer
                    .typed::<Int64Type>()
                    .write_batch(&values, Some(&levels), None)?;
            }
            Values::Flag(value) => {
                let (values, levels) = dense(rows.iter().map(value));
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

/// Whether every row has a value, and the schema says so.
fn is_required(field: Field) -> bool {
    matches!(field, Field::Bucket | Field::Key)
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

    use super::{super::tests::sample, *};

    #[test]
    fn a_file_is_read_back_with_nulls_and_raw_keys() {
        let (columns, rows) = sample();
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
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].get_string(0).unwrap(), "source");
        assert_eq!(*read[0].get_string(1).unwrap(), rows[0].key);
        assert_eq!(read[0].get_string(2).unwrap(), "");
        assert_eq!(read[0].get_long(5).unwrap(), 7);
        assert_eq!(read[0].get_timestamp_millis(6).unwrap(), 1_700_000_000_123);
        assert!(read[1].get_bool(4).unwrap());
        assert!(read[1].get_long(5).is_err(), "a delete marker has no size");
    }

    #[test]
    fn the_schema_has_the_blanks_of_s3() {
        let columns = Field::columns(true, &[Field::Size, Field::LastModifiedDate]);
        assert_eq!(
            schema(&columns),
            "message s3.inventory {  required binary bucket (STRING);  required binary key (STRING);  \
             optional binary version_id (STRING);  optional boolean is_latest;  \
             optional boolean is_delete_marker;  optional int64 size;  \
             optional int64 last_modified_date (TIMESTAMP(MILLIS,true));}"
        );
    }
}
