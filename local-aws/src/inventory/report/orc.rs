//! Data files in ORC: zlib, one stripe for every 64 MiB, keys as they are.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use orc_arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use orc_arrow_schema::{DataType, Field as ArrowField, Schema, TimeUnit};
use orc_rust::{ArrowWriterBuilder, compression::CompressionType};

use super::{
    Row,
    field::{Field, Values},
};

/// The schema as the manifest gives it.
pub(super) fn schema(columns: &[Field]) -> String {
    let declared: Vec<String> = columns
        .iter()
        .map(|field| {
            let column = field.column();
            let kind = match column.values {
                Values::Text(_) => "string",
                Values::Flag(_) => "boolean",
                Values::Number(_) => "bigint",
                Values::Time(_) => "timestamp",
            };
            format!("{}:{kind}", column.name)
        })
        .collect();
    format!("struct<{}>", declared.join(","))
}

/// The bytes of one data file.
pub(super) fn write(bucket: &str, columns: &[Field], rows: &[Row]) -> Result<Bytes> {
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|field| array(*field, bucket, rows))
        .collect();
    let schema = Arc::new(Schema::new(
        columns
            .iter()
            .map(|field| {
                let column = field.column();
                ArrowField::new(column.name, data_type(column.values), true)
            })
            .collect::<Vec<_>>(),
    ));
    let mut file = Vec::new();
    let mut writer = ArrowWriterBuilder::new(&mut file, Arc::clone(&schema))
        .with_compression(CompressionType::Zlib)
        .try_build()?;
    writer.write(&RecordBatch::try_new(schema, arrays)?)?;
    writer.close()?;
    Ok(Bytes::from(file))
}

fn data_type(values: Values) -> DataType {
    match values {
        Values::Text(_) => DataType::Utf8,
        Values::Flag(_) => DataType::Boolean,
        Values::Number(_) => DataType::Int64,
        // Without a time zone: ORC's `timestamp`, which is written as of UTC.
        Values::Time(_) => DataType::Timestamp(TimeUnit::Millisecond, None),
    }
}

fn array(field: Field, bucket: &str, rows: &[Row]) -> ArrayRef {
    match field.column().values {
        Values::Text(value) => Arc::new(
            rows.iter()
                .map(|row| value(bucket, row))
                .collect::<StringArray>(),
        ),
        Values::Flag(value) => Arc::new(rows.iter().map(value).collect::<BooleanArray>()),
        Values::Number(value) => Arc::new(rows.iter().map(value).collect::<Int64Array>()),
        Values::Time(value) => Arc::new(
            rows.iter()
                .map(value)
                .collect::<TimestampMillisecondArray>(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use orc_arrow_array::{
        Array as _,
        cast::AsArray as _,
        types::{Int64Type, TimestampNanosecondType},
    };
    use orc_rust::ArrowReaderBuilder;

    use super::{super::tests::sample, *};

    #[test]
    fn a_file_is_read_back_with_nulls_and_raw_keys() {
        let (columns, rows) = sample();
        let file = write("source", &columns, &rows).unwrap();
        let reader = ArrowReaderBuilder::try_new(file).unwrap();
        let compression = reader.file_metadata().compression().unwrap();
        assert!(matches!(
            compression.compression_type(),
            CompressionType::Zlib
        ));
        let read: Vec<_> = reader.build().map(Result::unwrap).collect();
        assert_eq!(read.len(), 1);
        let batch = &read[0];
        assert_eq!(batch.num_rows(), 2);
        let column = |name: &str| batch.column_by_name(name).unwrap();
        let text = |name: &str, row: usize| {
            let values = column(name).as_string::<i32>();
            values.is_valid(row).then(|| values.value(row).to_owned())
        };
        assert_eq!(text("bucket", 1).unwrap(), "source");
        assert_eq!(text("key", 0).unwrap(), rows[0].key);
        assert_eq!(text("version_id", 0).unwrap(), "");
        assert_eq!(text("version_id", 1).unwrap(), "v1");
        assert_eq!(text("e_tag", 0).unwrap(), "abc");
        assert_eq!(text("e_tag", 1), None);
        assert_eq!(text("object_lock_event_hold_status", 0), None);
        let flags = column("is_delete_marker").as_boolean();
        assert_eq!([flags.value(0), flags.value(1)], [false, true]);
        let sizes = column("size").as_primitive::<Int64Type>();
        assert_eq!((sizes.value(0), sizes.is_null(1)), (7, true));
        let times = column("last_modified_date").as_primitive::<TimestampNanosecondType>();
        assert_eq!(times.value(0), 1_700_000_000_123_000_000);
        assert_eq!(times.value(1), 1_700_000_001_000_000_000);
    }

    #[test]
    fn the_schema_declares_every_column_as_the_file_has_it() {
        let columns = Field::columns(true, &[Field::Size, Field::LastModifiedDate, Field::ETag]);
        let declared = schema(&columns);
        assert_eq!(
            declared,
            "struct<bucket:string,key:string,version_id:string,is_latest:boolean,is_delete_marker:boolean,\
             size:bigint,last_modified_date:timestamp,e_tag:string>"
        );
        let file = write("source", &columns, &[Row::default()]).unwrap();
        let reader = ArrowReaderBuilder::try_new(file).unwrap();
        let in_file: Vec<String> = reader
            .file_metadata()
            .root_data_type()
            .children()
            .iter()
            .map(|column| format!("{}:{}", column.name(), column.data_type()))
            .collect();
        let in_file = format!("struct<{}>", in_file.join(",").to_lowercase());
        // The reader calls a bigint by its name in ORC.
        assert_eq!(in_file.replace(":long", ":bigint"), declared);
    }
}
