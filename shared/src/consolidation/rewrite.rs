//! Writes a consolidated file from rows of any format, all columns anew.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::SchemaDescPtr;

use super::chunk_writer::ChunkWriter;
use super::files::Output;
use super::observer::Observer;
use super::rows::{INVENTORY_COLUMNS, RowReader, Rows, Span, Texts, Values, place};
use super::{Consolidated, ConsolidationError, Delivered};
use crate::snapshot_schema;
use crate::totals::Totals;

/// A row group ends at this many rows or bytes, whatever comes first. It is held in memory until it
/// is written, so this bounds the memory; smaller ones would make worse scans.
const ROW_GROUP_ROWS: u64 = 500_000;
const ROW_GROUP_BYTES: usize = 48 * 1024 * 1024;

const MAGIC: &[u8] = b"PAR1";

/// What all rows came to.
pub(super) struct Rewritten {
    pub(super) rows: u64,
    pub(super) totals: Totals,
    pub(super) undecodable_keys: u64,
}

impl Rewritten {
    pub(super) fn into_consolidated(self, left_out_columns: Vec<String>) -> Consolidated {
        Consolidated {
            rows: self.rows,
            totals: self.totals,
            undecodable_keys: self.undecodable_keys,
            left_out_columns,
        }
    }
}

/// Writes all rows.
pub(super) fn rewrite(
    delivered: Delivered<'_>,
    reader: &mut dyn RowReader,
    output: &mut dyn Output,
) -> Result<Rewritten, ConsolidationError> {
    let schema = Arc::new(snapshot_schema::parquet_schema());
    let mut sink = TrackedWrite::new(output);
    sink.write_all(MAGIC).map_err(ConsolidationError::Write)?;
    let mut observer = Observer::new(delivered.source_bucket);
    let mut undecodable_keys = 0;
    let mut row_groups = Vec::new();
    let mut open = RowGroup::new(&schema);
    let mut rows = Rows::default();
    while reader.next(&mut rows)? {
        undecodable_keys += make_text(&mut rows);
        observer.observe(&rows)?;
        open.push(&rows, &observer).map_err(writing)?;
        if open.is_full() {
            row_groups.push(open.finish(&schema, row_groups.len(), &mut sink)?);
        }
    }
    if open.rows > 0 {
        row_groups.push(open.finish(&schema, row_groups.len(), &mut sink)?);
    }
    let (rows, totals) = observer.finish();
    write_footer(&mut sink, &schema, "s3insights".to_owned(), 1, row_groups)?;
    Ok(Rewritten {
        rows,
        totals,
        undecodable_keys,
    })
}

/// Writes everything after the last column chunk.
pub(super) fn write_footer<W: Write + Send>(
    sink: &mut TrackedWrite<W>,
    schema: &SchemaDescPtr,
    created_by: String,
    version: i32,
    row_groups: Vec<RowGroupMetaData>,
) -> Result<(), ConsolidationError> {
    let rows = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
    let file = FileMetaData::new(
        version,
        rows,
        Some(created_by),
        None,
        Arc::clone(schema),
        None,
    );
    let metadata = ParquetMetaData::new(file, row_groups);
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata)
        .finish()
        .map_err(writing)?;
    sink.write_all(&footer).map_err(ConsolidationError::Write)?;
    sink.flush().map_err(ConsolidationError::Write)
}

/// The column chunks of the row group that is being written.
struct RowGroup {
    columns: Vec<ChunkWriter>,
    rows: u64,
}

impl RowGroup {
    fn new(schema: &SchemaDescPtr) -> Self {
        let columns = schema.columns().iter().cloned().map(ChunkWriter::new);
        Self {
            columns: columns.collect(),
            rows: 0,
        }
    }

    fn push(&mut self, rows: &Rows, observer: &Observer) -> Result<(), ParquetError> {
        let inventory = rows.columns.iter();
        for (column, values) in self.columns.iter_mut().zip(inventory) {
            column.push(values, rows.len)?;
        }
        let derived = [
            &observer.derived.extension,
            &observer.derived.top_prefix,
            &observer.derived.category,
        ];
        for (column, values) in self.columns[INVENTORY_COLUMNS..].iter_mut().zip(derived) {
            column.push_coded(values, rows.len)?;
        }
        self.rows += rows.len as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        let held: usize = self.columns.iter().map(ChunkWriter::held_bytes).sum();
        self.rows >= ROW_GROUP_ROWS || held >= ROW_GROUP_BYTES
    }

    /// Writes the row group, and begins the next one.
    fn finish<W: Write + Send>(
        &mut self,
        schema: &SchemaDescPtr,
        ordinal: usize,
        sink: &mut TrackedWrite<W>,
    ) -> Result<RowGroupMetaData, ConsolidationError> {
        let start = sink.bytes_written();
        let rows = std::mem::take(&mut self.rows);
        let chunks = self.columns.iter_mut().map(|column| column.finish(sink, 0));
        let chunks = chunks.collect::<Result<Vec<_>, _>>().map_err(writing)?;
        let size = chunks
            .iter()
            .map(ColumnChunkMetaData::uncompressed_size)
            .sum();
        let metadata = || {
            RowGroupMetaData::builder(Arc::clone(schema))
                .set_num_rows(i64::try_from(rows)?)
                .set_total_byte_size(size)
                .set_ordinal(i32::try_from(ordinal)?)
                .set_file_offset(i64::try_from(start)?)
                .set_column_metadata(chunks)
                .build()
        };
        metadata().map_err(writing)
    }
}

/// Puts U+FFFD in the place of what is no text, and counts the keys of which that is so.
fn make_text(rows: &mut Rows) -> u64 {
    let mut keys = 0;
    for (column, values) in rows.columns.iter_mut().enumerate() {
        let Values::Texts(texts) = values else {
            continue;
        };
        if is_text(texts) {
            continue;
        }
        let mut buffer = Vec::with_capacity(texts.buffer.len());
        for span in &mut texts.spans {
            if span.is_null() {
                continue;
            }
            let bytes = span.of(&texts.buffer);
            let text = String::from_utf8_lossy(bytes);
            keys += u64::from(column == place::KEY && std::str::from_utf8(bytes).is_err());
            *span = Span::new(buffer.len(), text.len());
            buffer.extend_from_slice(text.as_bytes());
        }
        texts.buffer = Bytes::from(buffer);
    }
    keys
}

/// Whether all texts are.
fn is_text(texts: &Texts) -> bool {
    // Mostly there is nothing else in the buffer, and all is ASCII.
    let lengths: usize = texts.spans.iter().map(|span| span.length()).sum();
    if lengths == texts.buffer.len() && texts.buffer.is_ascii() {
        return true;
    }
    let there = || texts.spans.iter().filter(|span| !span.is_null());
    // Texts mostly stand one after the other and are ASCII, lengths in between too.
    let mut end = there().next().map_or(0, |first| first.start());
    let start = end;
    let is_in_order = there().all(|span| {
        let follows = span.start() >= end;
        end = span.end();
        follows
    });
    let together = texts.buffer.get(start..end).filter(|_| is_in_order);
    together.is_some_and(<[u8]>::is_ascii)
        || there().all(|span| {
            let text = span.of(&texts.buffer);
            text.is_ascii() || std::str::from_utf8(text).is_ok()
        })
}

pub(super) fn writing(error: ParquetError) -> ConsolidationError {
    ConsolidationError::Write(std::io::Error::other(error))
}
