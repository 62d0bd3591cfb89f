//! Consolidates a Parquet file without rewriting it: the delivered bytes stay as they are up to the
//! footer, and what is missing follows them.
//!
//! ```text
//! delivered:     PAR1 | row groups | footer
//! consolidated:  PAR1 | row groups | derived and absent columns | new footer
//! ```
//!
//! The new footer lists the old column chunks where they are and the new ones behind them, in the
//! order and with the names and types of the snapshot. Only the footer and the columns that are
//! counted or derived from are read.
//!
//! Left out of the new footer: columns that the snapshot does not have, key-value metadata (an
//! embedded Arrow schema would contradict the columns), sorting columns, and the page indexes (a
//! file has them for all columns or for none). Bloom filters and statistics stay.

use std::io::Write;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::writer::TrackedWrite;
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};

use super::chunk_writer::ChunkWriter;
use super::files::Output;
use super::observer::Observer;
use super::parquet_rows::{Meaning, ParquetFile, ParquetRows};
use super::rewrite::{write_footer, writing};
use super::rows::{INVENTORY_COLUMNS, Rows, Values, place};
use super::{ConsolidationError, Delivered};
use crate::snapshot_schema::{self, COLUMNS};
use crate::totals::Totals;

/// The columns that are read.
const READ: [usize; 9] = [
    place::BUCKET,
    place::KEY,
    place::IS_LATEST,
    place::IS_DELETE_MARKER,
    place::SIZE,
    place::LAST_MODIFIED_DATE,
    place::STORAGE_CLASS,
    place::REPLICATION_STATUS,
    place::ENCRYPTION_STATUS,
];

/// What became of the attempt.
pub(super) enum Graft {
    /// The file is written.
    Done { rows: u64, totals: Box<Totals> },
    /// The delivered bytes cannot stay: a key is no text. Output was written to.
    NotText,
}

/// Whether the file's columns are of the snapshot's own types, so that they can stay.
pub(super) fn is_possible(file: &ParquetFile) -> bool {
    let known = file.known.iter().flatten();
    known.clone().all(|column| column.meaning == Meaning::Same)
}

/// Writes the consolidated file.
pub(super) fn graft(
    delivered: Delivered<'_>,
    file: &Arc<ParquetFile>,
    output: &mut dyn Output,
) -> Result<Graft, ConsolidationError> {
    output
        .copy_delivered(file.footer_start)
        .map_err(ConsolidationError::Write)?;
    let mut sink = TrackedWrite::new(output);
    let schema = Arc::new(schema_of(file));
    let mut observer = Observer::new(delivered.source_bucket);
    let mut reader = ParquetRows::new(Arc::clone(file), READ.to_vec());
    let mut rows = Rows::default();
    let mut row_groups = Vec::new();
    let mut derived = DerivedChunks::new(&schema);
    for old in file
        .metadata
        .row_groups()
        .iter()
        .filter(|old| old.num_rows() > 0)
    {
        reader.next_group()?;
        while reader.next_in_group(&mut rows)? {
            observer.observe(&rows)?;
            if !observer.derived.are_texts {
                return Ok(Graft::NotText);
            }
            derived.push(&observer, rows.len).map_err(writing)?;
        }
        let row_group = extend(
            old,
            file,
            &schema,
            &mut derived,
            row_groups.len(),
            &mut sink,
        );
        row_groups.push(row_group.map_err(writing)?);
    }
    let (rows, totals) = observer.finish();
    let old = file.metadata.file_metadata();
    // Readers work around the faults of old writers by this name.
    let created_by = old.created_by().unwrap_or("unknown").to_owned();
    write_footer(&mut sink, &schema, created_by, old.version(), row_groups)?;
    Ok(Graft::Done {
        rows,
        totals: Box::new(totals),
    })
}

/// The snapshot's schema, in which whatever may be null in the file may be.
fn schema_of(file: &ParquetFile) -> SchemaDescriptor {
    let old = file.metadata.file_metadata().schema_descr();
    snapshot_schema::parquet_schema_where(|place| match file.known.get(place).copied().flatten() {
        Some(column) => old.column(column.leaf).max_def_level() > 0,
        None => COLUMNS[place].is_nullable(),
    })
}

/// The derived columns of a row group.
struct DerivedChunks {
    extension: ChunkWriter,
    top_prefix: ChunkWriter,
    category: ChunkWriter,
}

impl DerivedChunks {
    fn new(schema: &SchemaDescPtr) -> Self {
        let chunk = |place| ChunkWriter::new(schema.column(place));
        Self {
            extension: chunk(place::EXTENSION),
            top_prefix: chunk(place::TOP_PREFIX),
            category: chunk(place::CATEGORY),
        }
    }

    fn push(&mut self, observer: &Observer, rows: usize) -> Result<(), ParquetError> {
        self.extension
            .push_coded(&observer.derived.extension, rows)?;
        self.top_prefix
            .push_coded(&observer.derived.top_prefix, rows)?;
        self.category.push_coded(&observer.derived.category, rows)
    }
}

/// Writes the new column chunks of a row group and lists them with the old ones.
fn extend<W: Write + Send>(
    old: &RowGroupMetaData,
    file: &ParquetFile,
    schema: &SchemaDescPtr,
    derived: &mut DerivedChunks,
    ordinal: usize,
    sink: &mut TrackedWrite<W>,
) -> Result<RowGroupMetaData, ParquetError> {
    let base = file.footer_start;
    let rows = usize::try_from(old.num_rows())?;
    let mut chunks = Vec::with_capacity(COLUMNS.len());
    for (place, known) in file.known.iter().enumerate() {
        chunks.push(if let Some(column) = known {
            without_page_indexes(old.column(column.leaf))?
        } else {
            let mut absent = ChunkWriter::new(schema.column(place));
            absent.push(&Values::Absent, rows)?;
            absent.finish(sink, base)?
        });
    }
    let DerivedChunks {
        extension,
        top_prefix,
        category,
    } = derived;
    for chunk in [extension, top_prefix, category] {
        chunks.push(chunk.finish(sink, base)?);
    }
    debug_assert_eq!(chunks.len(), INVENTORY_COLUMNS + 3);
    // Sizes of the delivered chunks are what their footer says, whatever that is.
    let sizes = chunks.iter().map(ColumnChunkMetaData::uncompressed_size);
    let size = sizes.fold(0, i64::saturating_add);
    let row_group = RowGroupMetaData::builder(Arc::clone(schema))
        .set_num_rows(old.num_rows())
        .set_total_byte_size(size)
        .set_ordinal(i32::try_from(ordinal)?)
        .set_column_metadata(chunks);
    match old.file_offset() {
        Some(offset) => row_group.set_file_offset(offset),
        None => row_group,
    }
    .build()
}

fn without_page_indexes(chunk: &ColumnChunkMetaData) -> Result<ColumnChunkMetaData, ParquetError> {
    chunk
        .clone()
        .into_builder()
        .set_column_index_offset(None)
        .set_column_index_length(None)
        .set_offset_index_offset(None)
        .set_offset_index_length(None)
        .build()
}
