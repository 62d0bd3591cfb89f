//! Inventory files as S3 writes them, for tests.

use std::io;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type, Int96, Int96Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

use crate::manifest::{FieldType, SchemaField};

use super::{Consolidated, ConsolidationError, Delivered, Output, ReadAt, consolidate};

/// What a manifest promises that names these columns.
pub(super) fn promised(columns: &[&str]) -> Vec<SchemaField> {
    let field = |name: &&str| SchemaField {
        name: (*name).to_owned(),
        field_type: FieldType::String,
    };
    columns.iter().map(field).collect()
}

/// A consolidated file in memory.
pub(super) struct MemoryFile {
    delivered: Bytes,
    written: Vec<u8>,
}

impl MemoryFile {
    pub(super) fn of(delivered: &Bytes) -> Self {
        Self {
            delivered: delivered.clone(),
            written: Vec::new(),
        }
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.written.into()
    }
}

impl io::Write for MemoryFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for MemoryFile {
    fn copy_delivered(&mut self, length: u64) -> io::Result<()> {
        assert!(self.written.is_empty(), "the copy comes first");
        let length = usize::try_from(length).unwrap();
        self.written.extend_from_slice(&self.delivered[..length]);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.written.clear();
        Ok(())
    }
}

/// What a file becomes.
pub(super) fn consolidate_in_memory(
    delivered: Delivered<'_>,
    file: &Bytes,
) -> Result<(Consolidated, Bytes), ConsolidationError> {
    let source: Arc<dyn ReadAt> = Arc::new(file.clone());
    let mut output = MemoryFile::of(file);
    let consolidated = consolidate(delivered, &source, &mut output)?;
    Ok((consolidated, output.into_bytes()))
}

/// A row as S3 reports it. A delete marker has no size and what follows from content.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) bucket: String,
    pub(super) key: Vec<u8>,
    pub(super) version_id: String,
    pub(super) is_latest: bool,
    pub(super) is_delete_marker: bool,
    pub(super) size: i64,
    pub(super) last_modified: i64,
    pub(super) storage_class: String,
}

/// 2024-02-29T23:59:59.999Z
const LEAP_DAY: i64 = 1_709_251_199_999;

/// Stands for null as a bucket or key, which only a damaged file has.
pub(super) const NULL: &str = "this text stands for null";

/// A current object of 100 bytes.
pub(super) fn object(key: impl AsRef<[u8]>) -> Listed {
    Listed {
        bucket: "photos".to_owned(),
        key: key.as_ref().to_vec(),
        version_id: String::new(),
        is_latest: true,
        is_delete_marker: false,
        size: 100,
        last_modified: LEAP_DAY,
        storage_class: "STANDARD".to_owned(),
    }
}

pub(super) fn delete_marker(key: &str) -> Listed {
    Listed {
        version_id: "v2".to_owned(),
        is_delete_marker: true,
        ..object(key)
    }
}

pub(super) fn noncurrent(key: &str) -> Listed {
    Listed {
        version_id: "v1".to_owned(),
        is_latest: false,
        ..object(key)
    }
}

/// How the schema of a file is annotated.
#[derive(Clone, Copy, Debug)]
pub(super) enum Annotations {
    /// As the documentation has it: `UTF8` and `TIMESTAMP_MILLIS`.
    Documented,
    /// As delivered: `STRING` and `TIMESTAMP(MILLIS,true)`.
    Delivered,
    /// None for text, and numbers for instants.
    Bare,
}

/// The schema of a report about all versions.
pub(super) fn schema(annotations: Annotations) -> String {
    let (text, instant) = match annotations {
        Annotations::Documented => ("(UTF8)", "(TIMESTAMP_MILLIS)"),
        Annotations::Delivered => ("(STRING)", "(TIMESTAMP(MILLIS,true))"),
        Annotations::Bare => ("", ""),
    };
    format!(
        "message s3.inventory {{
            required binary bucket {text}; required binary key {text}; optional binary version_id {text};
            optional boolean is_latest; optional boolean is_delete_marker; optional int64 size;
            optional int64 last_modified_date {instant}; optional binary e_tag {text};
            optional binary storage_class {text}; optional boolean is_multipart_uploaded;
            optional binary replication_status {text}; optional binary encryption_status {text};
            optional int64 object_lock_retain_until_date {instant};
        }}"
    )
}

/// A file with the given schema and row groups. Columns that the schema does not have are left out,
/// columns that [`Listed`] does not have are null.
pub(super) fn write(schema: &str, row_groups: &[Vec<Listed>]) -> Bytes {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let names: Vec<String> = schema
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    let required: Vec<bool> = schema
        .get_fields()
        .iter()
        .map(|field| !field.is_optional())
        .collect();
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("parquet-mr version 1.10.0".to_owned())
        .build();
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
    for rows in row_groups {
        let mut row_group = writer.next_row_group().unwrap();
        for (name, is_required) in names.iter().zip(&required) {
            write_column(&mut row_group, name, *is_required, rows);
        }
        row_group.close().unwrap();
    }
    writer.close().unwrap();
    Bytes::from(file)
}

/// The same rows as CSV of the given columns.
pub(super) fn write_csv(columns: &[&str], rows: &[Listed]) -> Bytes {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .quote_style(csv::QuoteStyle::Always)
        .from_writer(gzip);
    for row in rows {
        let fields = columns.iter().map(|column| match *column {
            "key" => {
                let encoded = percent_encoding::percent_encode(&row.key, KEPT).to_string();
                encoded.replace("%20", "+")
            }
            "last_modified_date" => {
                let instant = jiff::Timestamp::from_millisecond(row.last_modified).unwrap();
                format!("{instant:.3}")
            }
            "size" => number("size", row)
                .map(|size| size.to_string())
                .unwrap_or_default(),
            "is_latest" | "is_delete_marker" => truth(column, row)
                .map(|value| value.to_string())
                .unwrap_or_default(),
            _ => String::from_utf8(text(column, row).unwrap_or_default()).unwrap(),
        });
        writer.write_record(fields).unwrap();
    }
    let gzip = writer.into_inner().unwrap();
    gzip.finish().unwrap().into()
}

/// What S3 does not encode in keys.
const KEPT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*');

fn write_column<W: std::io::Write + Send>(
    row_group: &mut SerializedRowGroupWriter<'_, W>,
    name: &str,
    is_required: bool,
    rows: &[Listed],
) {
    use parquet::column::writer::ColumnWriter;

    let mut column = row_group.next_column().unwrap().unwrap();
    match column.untyped() {
        ColumnWriter::ByteArrayColumnWriter(_) => {
            let (values, levels) = split(rows.iter().map(|row| text(name, row)));
            let values: Vec<ByteArray> = values.into_iter().map(ByteArray::from).collect();
            let levels = (!is_required).then_some(&levels[..]);
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, levels, None)
                .unwrap();
        }
        ColumnWriter::BoolColumnWriter(_) => {
            let (values, levels) = split(rows.iter().map(|row| truth(name, row)));
            column
                .typed::<BoolType>()
                .write_batch(&values, Some(&levels), None)
                .unwrap();
        }
        ColumnWriter::Int64ColumnWriter(_) => {
            let (values, levels) = split(rows.iter().map(|row| number(name, row)));
            column
                .typed::<Int64Type>()
                .write_batch(&values, Some(&levels), None)
                .unwrap();
        }
        ColumnWriter::Int96ColumnWriter(_) => {
            let (values, levels) = split(rows.iter().map(|row| number(name, row).map(int96)));
            column
                .typed::<Int96Type>()
                .write_batch(&values, Some(&levels), None)
                .unwrap();
        }
        _ => panic!("no test has a column of the type of {name}"),
    }
    column.close().unwrap();
}

fn text(name: &str, row: &Listed) -> Option<Vec<u8>> {
    let content = |value: &str| (!row.is_delete_marker).then(|| value.as_bytes().to_vec());
    match name {
        "bucket" => {
            Some(row.bucket.clone().into_bytes()).filter(|bucket| bucket != NULL.as_bytes())
        }
        "key" => Some(row.key.clone()).filter(|key| key != NULL.as_bytes()),
        "version_id" => Some(row.version_id.clone().into_bytes()),
        "e_tag" => content("d41d8cd98f00b204e9800998ecf8427e"),
        "storage_class" => content(&row.storage_class),
        "encryption_status" => content("SSE-S3"),
        "new_field" => content("new"),
        _ => None,
    }
}

fn truth(name: &str, row: &Listed) -> Option<bool> {
    match name {
        "is_latest" => Some(row.is_latest),
        "is_delete_marker" => Some(row.is_delete_marker),
        "is_multipart_uploaded" => (!row.is_delete_marker).then_some(false),
        _ => None,
    }
}

fn number(name: &str, row: &Listed) -> Option<i64> {
    match name {
        "size" => (!row.is_delete_marker).then_some(row.size),
        "last_modified_date" => Some(row.last_modified),
        _ => None,
    }
}

/// Nanoseconds of the day and the Julian day.
fn int96(epoch_milliseconds: i64) -> Int96 {
    const MILLISECONDS_OF_DAY: i64 = 86_400_000;
    const JULIAN_DAY_OF_EPOCH: i64 = 2_440_588;
    let day = JULIAN_DAY_OF_EPOCH + epoch_milliseconds.div_euclid(MILLISECONDS_OF_DAY);
    let nanoseconds = epoch_milliseconds.rem_euclid(MILLISECONDS_OF_DAY) * 1_000_000;
    let part = |number: i64| u32::try_from(number & 0xFFFF_FFFF).unwrap();
    let mut instant = Int96::new();
    instant.set_data(part(nanoseconds), part(nanoseconds >> 32), part(day));
    instant
}

/// The values that are there, and for each row whether it has one.
fn split<T>(values: impl Iterator<Item = Option<T>>) -> (Vec<T>, Vec<i16>) {
    let values: Vec<Option<T>> = values.collect();
    let levels = values
        .iter()
        .map(|value| i16::from(value.is_some()))
        .collect();
    (values.into_iter().flatten().collect(), levels)
}
