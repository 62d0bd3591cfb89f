//! Consolidates a Parquet file by decoding and writing it anew, a batch of rows at a time.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMillisecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray, new_null_array,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ConvertedType, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::ChunkReader;
use parquet::schema::types::{ColumnPath, SchemaDescriptor, Type};

use super::{Consolidated, ConsolidationError, Delivered};
use crate::derived::Derived;
use crate::snapshot_schema::{self, AthenaType, COLUMNS, Column, Origin};
use crate::totals::{Row, Totals};

/// Rows decoded at a time. At 1,024 bytes for the longest key this is 8 MiB.
const BATCH_ROWS: usize = 8_192;

/// A row group ends at this many rows or bytes, whatever comes first. It is held in memory until
/// it is written, so this bounds the memory; smaller ones would make worse scans.
const ROW_GROUP_ROWS: usize = 500_000;
const ROW_GROUP_BYTES: usize = 64 * 1024 * 1024;

/// Columns in which nearly every row differs: a dictionary would be filled only to be given up.
const WITHOUT_DICTIONARY: [&str; 3] = ["key", "version_id", "e_tag"];

/// See [`super::consolidate`].
pub(super) fn rewrite<R, W>(
    delivered: Delivered<'_>,
    input: R,
    output: W,
) -> Result<Consolidated, ConsolidationError>
where
    R: ChunkReader + 'static,
    W: Write + Send,
{
    let source = open(&input).map_err(ConsolidationError::Read)?;
    let schema = source.parquet_schema();
    let (known, left_out_columns) = sort_out_columns(schema)?;
    check_promises(delivered, &known)?;
    let expected_rows = check_row_counts(source.metadata(), &known)?;

    let mask = ProjectionMask::roots(schema, known.iter().map(|column| column.root));
    let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(input, source)
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(ConsolidationError::Read)?;
    let mut writer = ArrowWriter::try_new_with_options(
        output,
        snapshot_schema::arrow_schema(),
        writer_options(),
    )
    .map_err(ConsolidationError::Write)?;

    let mut rows = 0;
    let mut undecodable_keys = 0;
    let mut totals = Totals::default();
    for batch in batches {
        let batch = batch.map_err(reading)?;
        let rewritten = rewrite_batch(&batch, rows, delivered, &mut totals)?;
        undecodable_keys += rewritten.undecodable_keys;
        rows += batch.num_rows() as u64;
        writer
            .write(&rewritten.batch)
            .map_err(ConsolidationError::Write)?;
    }
    if i64::try_from(rows) != Ok(expected_rows) {
        let found = i64::try_from(rows).unwrap_or(i64::MAX);
        return Err(ConsolidationError::RowCount {
            expected: expected_rows,
            found,
        });
    }
    writer.close().map_err(ConsolidationError::Write)?;
    totals.compact();
    Ok(Consolidated {
        rows,
        totals,
        undecodable_keys,
        left_out_columns,
    })
}

/// Reads the footer in a way that text columns are read as bytes.
///
/// Keys are bytes in S3, and a file with one that is not UTF-8 must not fail as a whole.
fn open<R: ChunkReader>(input: &R) -> Result<ArrowReaderMetadata, ParquetError> {
    // An Arrow schema that a writer embedded is of no use here, and could contradict the columns.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let as_declared = ArrowReaderMetadata::load(input, options.clone())?;
    let as_bytes = Arc::new(without_text_annotations(as_declared.parquet_schema())?);
    ArrowReaderMetadata::load(input, options.with_parquet_schema(as_bytes))
}

fn without_text_annotations(schema: &SchemaDescriptor) -> Result<SchemaDescriptor, ParquetError> {
    let root = schema.root_schema();
    let fields = root
        .get_fields()
        .iter()
        .map(|field| {
            let is_bytes =
                field.is_primitive() && field.get_physical_type() == PhysicalType::BYTE_ARRAY;
            let is_decimal = field.get_basic_info().converted_type() == ConvertedType::DECIMAL;
            if !is_bytes || is_decimal {
                return Ok(Arc::clone(field));
            }
            let plain = Type::primitive_type_builder(field.name(), PhysicalType::BYTE_ARRAY)
                .with_repetition(field.get_basic_info().repetition())
                .build()?;
            Ok(Arc::new(plain))
        })
        .collect::<Result<Vec<_>, ParquetError>>()?;
    let root = Type::group_type_builder(root.name())
        .with_fields(fields)
        .build()?;
    Ok(SchemaDescriptor::new(Arc::new(root)))
}

/// A column of the file that the snapshot has too.
struct KnownColumn {
    column: &'static Column,
    /// Index among the roots of the file's schema.
    root: usize,
    /// Index among the leaves.
    leaf: usize,
}

/// The columns that the snapshot knows, and the names of the others.
fn sort_out_columns(
    schema: &SchemaDescriptor,
) -> Result<(Vec<KnownColumn>, Vec<String>), ConsolidationError> {
    let mut known: Vec<KnownColumn> = Vec::new();
    let mut left_out = Vec::new();
    for (root, field) in schema.root_schema().get_fields().iter().enumerate() {
        let of_inventory = |column: &&Column| column.origin != Origin::Derived;
        let Some(column) = snapshot_schema::find(field.name()).filter(of_inventory) else {
            left_out.push(field.name().to_owned());
            continue;
        };
        if known.iter().any(|earlier| earlier.column == column) {
            return Err(ConsolidationError::DuplicateColumn {
                column: column.name.to_owned(),
            });
        }
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
        match leaf {
            Some(leaf) if field.is_primitive() && schema.column(leaf).max_rep_level() == 0 => {
                known.push(KnownColumn { column, root, leaf });
            }
            _ => {
                return Err(ConsolidationError::ColumnType {
                    column: column.name.to_owned(),
                    found: "a list or group".to_owned(),
                });
            }
        }
    }
    Ok((known, left_out))
}

/// A column that the manifest promises and the file lacks would silently read as null.
fn check_promises(
    delivered: Delivered<'_>,
    known: &[KnownColumn],
) -> Result<(), ConsolidationError> {
    let always = COLUMNS
        .iter()
        .filter(|column| column.origin == Origin::Always);
    let promised = delivered
        .schema
        .iter()
        .filter_map(|field| snapshot_schema::find(&field.name));
    let promised = promised.filter(|column| column.origin != Origin::Derived);
    for column in always.chain(promised) {
        if known.iter().all(|known| known.column != column) {
            return Err(ConsolidationError::MissingColumn {
                column: column.name.to_owned(),
            });
        }
    }
    Ok(())
}

/// The number of rows, once all places that tell it agree.
fn check_row_counts(
    metadata: &ParquetMetaData,
    known: &[KnownColumn],
) -> Result<i64, ConsolidationError> {
    let expected = metadata.file_metadata().num_rows();
    let mut in_row_groups = 0_i64;
    for row_group in metadata.row_groups() {
        let rows = row_group.num_rows();
        in_row_groups = in_row_groups.saturating_add(rows);
        for column in known {
            let found = row_group.column(column.leaf).num_values();
            if found != rows {
                return Err(ConsolidationError::RowCount {
                    expected: rows,
                    found,
                });
            }
        }
    }
    if in_row_groups != expected {
        return Err(ConsolidationError::RowCount {
            expected,
            found: in_row_groups,
        });
    }
    Ok(expected)
}

/// Nothing in here may depend on the time, the machine or the version of a library, beyond how it
/// encodes values.
fn writer_options() -> ArrowWriterOptions {
    let mut properties = WriterProperties::builder()
        .set_created_by("s3insights".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for column in WITHOUT_DICTIONARY {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_parquet_schema(snapshot_schema::parquet_schema())
        .with_skip_arrow_metadata(true)
}

struct RewrittenBatch {
    batch: RecordBatch,
    undecodable_keys: u64,
}

fn rewrite_batch(
    batch: &RecordBatch,
    first_row: u64,
    delivered: Delivered<'_>,
    totals: &mut Totals,
) -> Result<RewrittenBatch, ConsolidationError> {
    let rows = batch.num_rows();
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(COLUMNS.len());
    for column in COLUMNS
        .iter()
        .filter(|column| column.origin != Origin::Derived)
    {
        columns.push(match batch.column_by_name(column.name) {
            Some(array) => convert(*column, array)?,
            None => new_null_array(&column.athena_type.arrow(), rows),
        });
    }
    let inventory = InventoryColumns::of(&columns);
    check_rows(&inventory, first_row, delivered)?;

    let mut extensions = StringBuilder::with_capacity(rows, rows * 4);
    let mut top_prefixes = StringBuilder::with_capacity(rows, rows * 16);
    let mut categories = StringBuilder::with_capacity(rows, rows * 8);
    for row in 0..rows {
        let derived = Derived::of(inventory.key.value(row));
        extensions.append_option(derived.extension.as_deref());
        top_prefixes.append_option(derived.top_prefix);
        categories.append_value(derived.category.as_str());
        totals.observe(&inventory.row(row, &derived));
    }
    // Counted against the delivered bytes: a key may hold U+FFFD of its own.
    let undecodable_keys = batch.column_by_name("key").map_or(0, count_undecodable);

    columns.push(Arc::new(extensions.finish()));
    columns.push(Arc::new(top_prefixes.finish()));
    columns.push(Arc::new(categories.finish()));
    let batch = RecordBatch::try_new(snapshot_schema::arrow_schema(), columns).map_err(reading)?;
    Ok(RewrittenBatch {
        batch,
        undecodable_keys,
    })
}

/// The columns of a converted batch that are looked into.
struct InventoryColumns<'a> {
    bucket: &'a StringArray,
    key: &'a StringArray,
    is_latest: &'a BooleanArray,
    is_delete_marker: &'a BooleanArray,
    size: &'a arrow_array::Int64Array,
    last_modified_date: &'a arrow_array::TimestampMillisecondArray,
    storage_class: &'a StringArray,
    encryption_status: &'a StringArray,
    replication_status: &'a StringArray,
}

impl<'a> InventoryColumns<'a> {
    /// The arrays have to be those of [`COLUMNS`], in that order and of those types.
    fn of(columns: &'a [ArrayRef]) -> Self {
        let array = |name: &str| {
            let index = COLUMNS.iter().position(|column| column.name == name);
            &columns[index.expect("only columns of the snapshot are asked for")]
        };
        Self {
            bucket: array("bucket").as_string(),
            key: array("key").as_string(),
            is_latest: array("is_latest").as_boolean(),
            is_delete_marker: array("is_delete_marker").as_boolean(),
            size: array("size").as_primitive::<Int64Type>(),
            last_modified_date: array("last_modified_date")
                .as_primitive::<TimestampMillisecondType>(),
            storage_class: array("storage_class").as_string(),
            encryption_status: array("encryption_status").as_string(),
            replication_status: array("replication_status").as_string(),
        }
    }

    fn row(&self, row: usize, derived: &'a Derived<'a>) -> Row<'a> {
        Row {
            bucket: self.bucket.value(row),
            key: self.key.value(row),
            derived,
            // Reports about current versions only have neither of the two columns.
            is_latest: !self.is_latest.is_valid(row) || self.is_latest.value(row),
            is_delete_marker: self.is_delete_marker.is_valid(row)
                && self.is_delete_marker.value(row),
            size: valid(self.size, row).and_then(|row| u64::try_from(self.size.value(row)).ok()),
            last_modified_milliseconds: valid(self.last_modified_date, row)
                .map(|row| self.last_modified_date.value(row)),
            storage_class: text(self.storage_class, row),
            encryption_status: text(self.encryption_status, row),
            replication_status: text(self.replication_status, row),
        }
    }
}

fn valid(array: &dyn Array, row: usize) -> Option<usize> {
    array.is_valid(row).then_some(row)
}

fn text(array: &StringArray, row: usize) -> Option<&str> {
    valid(array, row).map(|row| array.value(row))
}

fn check_rows(
    inventory: &InventoryColumns<'_>,
    first_row: u64,
    delivered: Delivered<'_>,
) -> Result<(), ConsolidationError> {
    let expected = delivered.source_bucket.as_str();
    for row in 0..inventory.bucket.len() {
        let number = first_row + row as u64;
        let found = text(inventory.bucket, row);
        if found != Some(expected) {
            return Err(ConsolidationError::ForeignRow {
                row: number,
                expected: expected.to_owned(),
                found: found.map(str::to_owned),
            });
        }
        if !inventory.key.is_valid(row) {
            return Err(ConsolidationError::MissingKey { row: number });
        }
    }
    Ok(())
}

/// Values of a delivered column as the snapshot's type.
fn convert(column: Column, array: &ArrayRef) -> Result<ArrayRef, ConsolidationError> {
    let cast = |target: &DataType| {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_with_options(array, target, &options).map_err(reading)
    };
    match (column.athena_type, array.data_type()) {
        (AthenaType::String, DataType::Binary) => Ok(Arc::new(decode(array.as_binary()))),
        (AthenaType::Boolean, DataType::Boolean) => Ok(Arc::clone(array)),
        (AthenaType::Bigint, DataType::Int64 | DataType::Int32) => cast(&DataType::Int64),
        // AWS's own table definitions call one of the dates a number; it means milliseconds. What is
        // not said to be in UTC is so all the same.
        (AthenaType::Timestamp, DataType::Int64 | DataType::Timestamp(_, _)) => {
            let instants = cast(&DataType::Timestamp(TimeUnit::Millisecond, None))?;
            let instants = instants.as_primitive::<TimestampMillisecondType>();
            Ok(Arc::new(instants.clone().with_timezone("UTC")))
        }
        (_, found) => Err(ConsolidationError::ColumnType {
            column: column.name.to_owned(),
            found: found.to_string(),
        }),
    }
}

/// Bytes as text, with U+FFFD where they are not UTF-8. Nothing is dropped.
fn decode(array: &BinaryArray) -> StringArray {
    match StringArray::try_from_binary(array.clone()) {
        Ok(text) => text,
        Err(_) => array
            .iter()
            .map(|bytes| bytes.map(String::from_utf8_lossy))
            .collect(),
    }
}

fn count_undecodable(keys: &ArrayRef) -> u64 {
    let Some(keys) = keys.as_binary_opt::<i32>() else {
        return 0;
    };
    keys.iter()
        .flatten()
        .filter(|key| std::str::from_utf8(key).is_err())
        .count() as u64
}

/// What Arrow complains about comes from the values read.
fn reading(error: ArrowError) -> ConsolidationError {
    ConsolidationError::Read(ParquetError::from(error))
}
