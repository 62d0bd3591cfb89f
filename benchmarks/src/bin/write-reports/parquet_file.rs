//! Data files in Parquet, as parquet-mr writes them.

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::builder::{
    BooleanBuilder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use shared::snapshot_schema::{AthenaType, Column, Origin};

use crate::rows::{Constants, Row, Value};

/// Rows made at a time.
const BATCH_ROWS: usize = 8_192;

/// Columns that parquet-mr writes plainly: their dictionary would be larger than the values.
const WITHOUT_DICTIONARY: [&str; 5] = ["key", "version_id", "size", "last_modified_date", "e_tag"];

/// The schema as S3 spells it in manifests.
pub(crate) fn schema_text(columns: &[Column]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .map(
            |Column {
                 name,
                 athena_type,
                 origin,
             }| {
                let repetition = match origin {
                    Origin::Always => "required",
                    Origin::Optional | Origin::Derived => "optional",
                };
                let declared = match athena_type {
                    AthenaType::String => format!("binary {name} (STRING)"),
                    AthenaType::Boolean => format!("boolean {name}"),
                    AthenaType::Bigint => format!("int64 {name}"),
                    AthenaType::Timestamp => format!("int64 {name} (TIMESTAMP(MILLIS,true))"),
                };
                format!("  {repetition} {declared};")
            },
        )
        .collect();
    format!("message s3.inventory {{{}}}", fields.concat())
}

/// Writes one data file; returns the output.
pub(crate) fn write<W: Write + Send>(
    columns: &[Column],
    constants: &Constants,
    rows: &mut dyn Iterator<Item = Row>,
    row_group_rows: usize,
    output: W,
) -> Result<W> {
    let message = parse_message_type(&schema_text(columns))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(row_group_rows))
        .set_created_by(
            "parquet-mr version 1.12.3 (build f8dced182c4c1fbdec6ccb3185537b5a01e6ed6b)".to_owned(),
        );
    for name in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true)
        .with_parquet_schema(SchemaDescriptor::new(Arc::new(message)));
    let schema = arrow_schema(columns);
    let mut writer = ArrowWriter::try_new_with_options(output, Arc::clone(&schema), options)?;
    loop {
        let batch: Vec<Row> = rows.take(BATCH_ROWS).collect();
        if batch.is_empty() {
            break;
        }
        let arrays = columns
            .iter()
            .map(|column| array(column, constants, &batch))
            .collect();
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays)?)?;
    }
    Ok(writer.into_inner()?)
}

fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<Field> = columns
        .iter()
        .map(|column| {
            let nullable = column.origin != Origin::Always;
            Field::new(column.name, arrow_type(column.athena_type), nullable)
        })
        .collect();
    Arc::new(Schema::new(fields))
}

fn arrow_type(athena_type: AthenaType) -> DataType {
    match athena_type {
        AthenaType::String => DataType::Utf8,
        AthenaType::Boolean => DataType::Boolean,
        AthenaType::Bigint => DataType::Int64,
        AthenaType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    }
}

fn array(column: &Column, constants: &Constants, rows: &[Row]) -> ArrayRef {
    let values = rows.iter().map(|row| row.value(column.name, constants));
    match column.athena_type {
        AthenaType::String => {
            let mut builder = StringBuilder::new();
            values.for_each(|value| builder.append_option(value.text()));
            Arc::new(builder.finish())
        }
        AthenaType::Boolean => {
            let mut builder = BooleanBuilder::new();
            values.for_each(|value| builder.append_option(value.flag()));
            Arc::new(builder.finish())
        }
        AthenaType::Bigint => {
            let mut builder = Int64Builder::new();
            values.for_each(|value| builder.append_option(value.number()));
            Arc::new(builder.finish())
        }
        AthenaType::Timestamp => {
            let mut builder = TimestampMillisecondBuilder::new().with_timezone("UTC");
            values.for_each(|value| builder.append_option(value.number()));
            Arc::new(builder.finish())
        }
    }
}

impl<'a> Value<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => text,
            Self::Flag(_) | Self::Number(_) | Self::Instant(_) => None,
        }
    }

    fn flag(self) -> Option<bool> {
        match self {
            Self::Flag(flag) => flag,
            Self::Text(_) | Self::Number(_) | Self::Instant(_) => None,
        }
    }

    fn number(self) -> Option<i64> {
        match self {
            Self::Number(number) | Self::Instant(number) => number,
            Self::Text(_) | Self::Flag(_) => None,
        }
    }
}
