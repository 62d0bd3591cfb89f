//! Reads rows of a Parquet file, whichever of its columns are wanted.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaData, ParquetMetaDataOptions,
    ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::schema::types::SchemaDescriptor;

use super::files::ReadAt;
use super::rows::{BATCH_ROWS, INVENTORY_COLUMNS, RowReader, Rows, check_promises, is_diverse};
use super::{ConsolidationError, Delivered};
use crate::snapshot_schema::{AthenaType, COLUMNS};

mod chunk;
mod delta;
mod pages;
mod thrift;
mod unusual;
mod window;

use chunk::ChunkReader;

/// Bytes at the end of a file that are read at once, in the hope that the whole footer is there.
const TAIL_BYTES: u64 = 64 * 1024;

const MAGIC_BYTES: u64 = 4;

/// Magic, and the length of the metadata.
const FOOTER_BYTES: usize = 8;

/// The most rows for each byte of a file. Repeated values take no bytes, so a damaged file of a few
/// bytes could be one of more rows than anyone can wait for. Those of a report differ in their keys
/// or versions, which takes some bits of each of them, compressed too.
const MAX_ROWS_PER_BYTE: u64 = 100;

/// A Parquet file whose footer was read and checked.
pub(super) struct ParquetFile {
    pub(super) source: Arc<dyn ReadAt>,
    pub(super) metadata: ParquetMetaData,
    /// Where the footer begins: the length of everything that row groups are made of.
    pub(super) footer_start: u64,
    /// For each column of the snapshot where the file has it.
    pub(super) known: KnownColumns,
    /// Columns that the snapshot does not have.
    pub(super) left_out: Vec<String>,
    pub(super) rows: u64,
}

/// The snapshot's columns that a file has, by their places.
type KnownColumns = [Option<KnownColumn>; INVENTORY_COLUMNS];

/// A column of the file that the snapshot has too.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownColumn {
    /// Place among the leaves of the file's schema.
    pub(super) leaf: usize,
    /// How its values become those of the snapshot.
    pub(super) meaning: Meaning,
}

/// How values of a column become those of the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They are the same.
    Same,
    /// Whole numbers of 32 bits.
    Int,
    /// Instants in micro- or nanoseconds: so many are a millisecond.
    Finer(i64),
    /// Instants of the oldest kind, a day and the nanoseconds of it.
    Int96,
}

impl ParquetFile {
    /// Reads the footer and checks it against what the manifest promises.
    pub(super) fn open(
        delivered: Delivered<'_>,
        source: Arc<dyn ReadAt>,
    ) -> Result<Self, ConsolidationError> {
        let (metadata, footer_start) = read_footer(&*source)?;
        let schema = metadata.file_metadata().schema_descr();
        let (known, left_out) = sort_out_columns(schema)?;
        check_promises(delivered, |place| known[place].is_some())?;
        let rows = check_row_groups(&metadata, &known, footer_start)?;
        Ok(Self {
            source,
            metadata,
            footer_start,
            known,
            left_out,
            rows,
        })
    }

    /// Where the wanted columns of a row group stand in the file.
    fn chunks(&self, row_group: &RowGroupMetaData, wanted: &[usize]) -> Vec<(u64, u64)> {
        let known = wanted.iter().filter_map(|place| self.known[*place]);
        known
            .map(|column| row_group.column(column.leaf).byte_range())
            .collect()
    }

    /// Says to the source what reading the wanted columns of all row groups will need.
    pub(super) fn announce(&self, wanted: &[usize]) {
        let window = self.source.window();
        let mut ranges = Vec::new();
        let with_rows = |row_group: &&RowGroupMetaData| row_group.num_rows() > 0;
        for row_group in self.metadata.row_groups().iter().filter(with_rows) {
            let mut windows: Vec<_> = self
                .chunks(row_group, wanted)
                .into_iter()
                .flat_map(|(start, length)| chunk::windows(start, length, window))
                .collect();
            // Columns are read side by side, so each one's first window is needed first.
            windows.sort_by(|(one, _), (other, _)| one.total_cmp(other));
            ranges.extend(windows.into_iter().map(|(_, range)| range));
        }
        self.source.announce(&ranges);
    }
}

fn read_footer(source: &dyn ReadAt) -> Result<(ParquetMetaData, u64), ConsolidationError> {
    let broken =
        |message: &str| ConsolidationError::Read(ParquetError::General(message.to_owned()).into());
    let size = source.size();
    if size < MAGIC_BYTES + FOOTER_BYTES as u64 {
        return Err(broken("it is too short for a Parquet file"));
    }
    let tail_start = size.saturating_sub(TAIL_BYTES);
    let mut tail = source
        .read(tail_start..size)
        .map_err(ConsolidationError::Fetch)?;
    let last: &[u8; FOOTER_BYTES] = tail
        .last_chunk()
        .ok_or_else(|| broken("it is too short for a Parquet file"))?;
    let end = FooterTail::try_from(*last).map_err(reading)?;
    if end.is_encrypted_footer() {
        return Err(broken("its footer is encrypted"));
    }
    let footer_start = (size - FOOTER_BYTES as u64)
        .checked_sub(end.metadata_length() as u64)
        .filter(|start| *start >= MAGIC_BYTES)
        .ok_or_else(|| broken("its footer is longer than the file"))?;
    if footer_start < tail_start {
        tail = source
            .read(footer_start..size)
            .map_err(ConsolidationError::Fetch)?;
    }
    let start = tail.len() - FOOTER_BYTES - end.metadata_length();
    let encoded = &tail[start..tail.len() - FOOTER_BYTES];
    if !thrift::is_bounded(encoded) {
        return Err(broken("its footer is damaged"));
    }
    // Statistics of encodings are kept as they are, to be written again.
    let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
    let metadata = ParquetMetaDataReader::decode_metadata_with_options(encoded, Some(&options))
        .map_err(reading)?;
    Ok((metadata, footer_start))
}

/// The columns that the snapshot knows, and the names of the others.
fn sort_out_columns(
    schema: &SchemaDescriptor,
) -> Result<(KnownColumns, Vec<String>), ConsolidationError> {
    let mut known = KnownColumns::default();
    let mut left_out = Vec::new();
    for (root, field) in schema.root_schema().get_fields().iter().enumerate() {
        let of_inventory = COLUMNS[..INVENTORY_COLUMNS]
            .iter()
            .position(|column| column.name == field.name());
        let Some(place) = of_inventory else {
            left_out.push(field.name().to_owned());
            continue;
        };
        let column = field.name().to_owned();
        if known[place].is_some() {
            return Err(ConsolidationError::DuplicateColumn { column });
        }
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
        let leaf = leaf.filter(|leaf| {
            field.is_primitive()
                && schema.column(*leaf).max_rep_level() == 0
                && schema.column(*leaf).max_def_level() <= 1
        });
        let Some(leaf) = leaf else {
            let found = "a list or group".to_owned();
            return Err(ConsolidationError::ColumnType { column, found });
        };
        let Some(meaning) = meaning(schema, leaf, COLUMNS[place].athena_type) else {
            let descriptor = schema.column(leaf);
            let found = match descriptor.logical_type_ref() {
                Some(logical) => format!("{} ({logical:?})", descriptor.physical_type()),
                None => format!(
                    "{} ({})",
                    descriptor.physical_type(),
                    descriptor.converted_type()
                ),
            };
            return Err(ConsolidationError::ColumnType { column, found });
        };
        known[place] = Some(KnownColumn { leaf, meaning });
    }
    Ok((known, left_out))
}

/// How a leaf's values become those of a column of this type; `None` if they cannot.
fn meaning(schema: &SchemaDescriptor, leaf: usize, wanted: AthenaType) -> Option<Meaning> {
    let descriptor = schema.column(leaf);
    let (converted, logical) = (descriptor.converted_type(), descriptor.logical_type_ref());
    match (wanted, descriptor.physical_type()) {
        (AthenaType::String, PhysicalType::BYTE_ARRAY) => {
            (converted != ConvertedType::DECIMAL).then_some(Meaning::Same)
        }
        (AthenaType::Boolean, PhysicalType::BOOLEAN) => Some(Meaning::Same),
        (AthenaType::Bigint, PhysicalType::INT64) => {
            matches!(converted, ConvertedType::NONE | ConvertedType::INT_64)
                .then_some(Meaning::Same)
        }
        (AthenaType::Bigint, PhysicalType::INT32) => {
            matches!(converted, ConvertedType::NONE | ConvertedType::INT_32).then_some(Meaning::Int)
        }
        // AWS's own table definitions call one of the dates a number; it means milliseconds. What is
        // not said to be in UTC is so all the same.
        (AthenaType::Timestamp, PhysicalType::INT64) => match (logical, converted) {
            (Some(LogicalType::Timestamp(timestamp)), _) => Some(match timestamp.unit {
                TimeUnit::MILLIS => Meaning::Same,
                TimeUnit::MICROS => Meaning::Finer(1_000),
                TimeUnit::NANOS => Meaning::Finer(1_000_000),
            }),
            (None, ConvertedType::TIMESTAMP_MICROS) => Some(Meaning::Finer(1_000)),
            (None, ConvertedType::NONE | ConvertedType::TIMESTAMP_MILLIS) => Some(Meaning::Same),
            _ => None,
        },
        (AthenaType::Timestamp, PhysicalType::INT96) => Some(Meaning::Int96),
        _ => None,
    }
}

/// The number of rows, once all places that tell it agree and every chunk is within the file.
fn check_row_groups(
    metadata: &ParquetMetaData,
    known: &KnownColumns,
    footer_start: u64,
) -> Result<u64, ConsolidationError> {
    let expected = metadata.file_metadata().num_rows();
    let count = |expected, found| ConsolidationError::RowCount { expected, found };
    let mut in_row_groups = 0_i64;
    for row_group in metadata.row_groups() {
        let rows = row_group.num_rows();
        if rows < 0 {
            return Err(count(expected, rows));
        }
        if rows == 0 {
            // Its chunks are never read, and writers put them anywhere.
            continue;
        }
        in_row_groups = in_row_groups.saturating_add(rows);
        for column in known.iter().flatten() {
            let chunk = row_group.column(column.leaf);
            if chunk.num_values() != rows {
                return Err(count(rows, chunk.num_values()));
            }
            check_place(chunk, footer_start)?;
        }
    }
    if in_row_groups != expected {
        return Err(count(expected, in_row_groups));
    }
    let rows = u64::try_from(expected).map_err(|_| count(expected, in_row_groups))?;
    if rows > footer_start.saturating_mul(MAX_ROWS_PER_BYTE) {
        let message = format!("it is said to hold {rows} rows in {footer_start} bytes");
        return Err(reading(ParquetError::General(message)));
    }
    Ok(rows)
}

fn check_place(chunk: &ColumnChunkMetaData, footer_start: u64) -> Result<(), ConsolidationError> {
    let name = chunk.column_descr().name();
    let outside = |why: &str| {
        let message = format!("the column {name:?} {why}");
        ConsolidationError::Read(ParquetError::General(message).into())
    };
    if chunk.file_path().is_some() {
        return Err(outside("stands in another file"));
    }
    let first = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let place = u64::try_from(first)
        .ok()
        .zip(u64::try_from(chunk.compressed_size()).ok());
    let end = place.and_then(|(start, length)| start.checked_add(length));
    match (place, end) {
        (Some((start, _)), Some(end)) if start >= MAGIC_BYTES && end <= footer_start => Ok(()),
        _ => Err(outside("is said to stand outside of the file")),
    }
}

/// Reads columns of a file side by side.
pub(super) struct ParquetRows {
    file: Arc<ParquetFile>,
    wanted: Vec<usize>,
    /// The row group that comes next.
    next_group: usize,
    open: Option<OpenGroup>,
    rows_before: u64,
}

struct OpenGroup {
    /// Place among the snapshot's columns, and the values.
    columns: Vec<(usize, ChunkReader)>,
    left: u64,
}

impl ParquetRows {
    /// Reads the columns at the given places of [`COLUMNS`], if the file has them.
    pub(super) fn new(file: Arc<ParquetFile>, wanted: Vec<usize>) -> Self {
        file.announce(&wanted);
        Self {
            file,
            wanted,
            next_group: 0,
            open: None,
            rows_before: 0,
        }
    }

    /// Goes on to the next row group that has rows; `false` after the last one.
    pub(super) fn next_group(&mut self) -> Result<bool, ConsolidationError> {
        self.open = None;
        let groups = self.file.metadata.row_groups();
        let mut rest = groups.iter().skip(self.next_group);
        let Some(position) = rest.position(|group| group.num_rows() > 0) else {
            return Ok(false);
        };
        let group = &groups[self.next_group + position];
        self.next_group += position + 1;
        let mut columns = Vec::with_capacity(self.wanted.len());
        for place in &self.wanted {
            if let Some(known) = self.file.known[*place] {
                let chunk = group.column(known.leaf);
                let source = Arc::clone(&self.file.source);
                let athena_type = COLUMNS[*place].athena_type;
                let reader = ChunkReader::new(
                    source,
                    chunk,
                    known.meaning,
                    athena_type,
                    is_diverse(*place),
                )?;
                columns.push((*place, reader));
            }
        }
        // Texts end at the end of their page, and say so first how many rows there are.
        columns.sort_by_key(|(place, _)| !is_diverse(*place));
        self.open = Some(OpenGroup {
            columns,
            left: u64::try_from(group.num_rows()).unwrap_or(0),
        });
        Ok(true)
    }

    /// The next rows of the row group; `false` at its end.
    pub(super) fn next_in_group(&mut self, rows: &mut Rows) -> Result<bool, ConsolidationError> {
        let Some(group) = self.open.as_mut().filter(|group| group.left > 0) else {
            return Ok(false);
        };
        let mut len = BATCH_ROWS.min(usize::try_from(group.left).unwrap_or(BATCH_ROWS));
        for (place, column) in &mut group.columns {
            if is_diverse(*place) {
                len = len.min(column.rows_at_once()?);
            }
        }
        for (place, column) in &mut group.columns {
            column.read(len, &mut rows.columns[*place])?;
        }
        rows.first = self.rows_before;
        rows.len = len;
        self.rows_before += len as u64;
        group.left -= len as u64;
        Ok(true)
    }
}

impl RowReader for ParquetRows {
    fn next(&mut self, rows: &mut Rows) -> Result<bool, ConsolidationError> {
        loop {
            if self.open.is_some() && self.next_in_group(rows)? {
                return Ok(true);
            }
            if !self.next_group()? {
                return Ok(false);
            }
        }
    }
}

fn reading(error: ParquetError) -> ConsolidationError {
    ConsolidationError::Read(error.into())
}
