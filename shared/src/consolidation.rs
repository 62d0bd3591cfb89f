//! Consolidation: one delivered inventory file becomes one file of the snapshot, with its totals.
//!
//! Whatever the format of the delivered file, the consolidated one has the columns of
//! [`crate::snapshot_schema`]. The same input always becomes the same bytes, so a repeated delivery
//! changes nothing.

use std::io::Write;

use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use crate::ids::BucketName;
use crate::manifest::{FileFormat, Manifest, SchemaField};
use crate::totals::Totals;

mod file_check;
#[cfg(test)]
mod fixture;
mod parquet_rewrite;

pub use file_check::{FileCheck, FileMismatch, verify_file};

/// What the manifest says about a delivered file.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    /// The bucket that every row has to be about.
    pub source_bucket: &'a BucketName,
    /// Format of the file.
    pub format: FileFormat,
    /// Columns that the file has to have.
    pub schema: &'a [SchemaField],
}

impl<'a> From<&'a Manifest> for Delivered<'a> {
    fn from(manifest: &'a Manifest) -> Self {
        Self {
            source_bucket: &manifest.source_bucket,
            format: manifest.format,
            schema: &manifest.schema,
        }
    }
}

/// What a file was turned into; from [`consolidate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consolidated {
    /// Rows read, which are all written.
    pub rows: u64,
    /// What the rows add up to, compacted.
    pub totals: Totals,
    /// Rows whose key is not UTF-8. They are written with U+FFFD in place of what cannot be
    /// decoded.
    pub undecodable_keys: u64,
    /// Columns of the file that the snapshot does not know, and so does not have.
    pub left_out_columns: Vec<String>,
}

/// Reads a delivered file and writes the consolidated one.
///
/// - Columns are taken by name. What the file has beyond the snapshot's columns is left out and
///   named in [`Consolidated::left_out_columns`]; what it lacks becomes null, unless the manifest
///   promises it.
/// - The derived columns are computed from the key.
/// - Rows keep their order. Memory is bounded by the row groups written, whatever the size of the
///   input.
///
/// `input` must be the verified file, see [`verify_file`]. After an error `output` holds a file
/// that is not complete and not readable.
pub fn consolidate<R, W>(
    delivered: Delivered<'_>,
    input: R,
    output: W,
) -> Result<Consolidated, ConsolidationError>
where
    R: ChunkReader + 'static,
    W: Write + Send,
{
    match delivered.format {
        FileFormat::Parquet => parquet_rewrite::rewrite(delivered, input, output),
        format @ (FileFormat::Orc | FileFormat::Csv) => {
            Err(ConsolidationError::UnsupportedFormat { format })
        }
    }
}

/// A delivered file that could not be consolidated; from [`consolidate`].
#[derive(Debug, thiserror::Error)]
pub enum ConsolidationError {
    /// Files of this format are not consolidated yet.
    #[error("inventory files in {format} are not supported yet; only Parquet is")]
    UnsupportedFormat {
        /// What the manifest says.
        format: FileFormat,
    },
    /// A row is about another bucket than the report.
    #[error("row {row} is about the bucket {found:?}, in a report about {expected:?}")]
    ForeignRow {
        /// Number of the row in the file, from 0.
        row: u64,
        /// The source bucket of the report.
        expected: String,
        /// The bucket of the row; `None` if it has none.
        found: Option<String>,
    },
    /// A row has no key.
    #[error("row {row} has no key")]
    MissingKey {
        /// Number of the row in the file, from 0.
        row: u64,
    },
    /// A column that every file has, or that the manifest promises, is not there.
    #[error("the file has no column {column:?}")]
    MissingColumn {
        /// Name of the column.
        column: String,
    },
    /// A column stands in the file twice, so that nobody knows which is meant.
    #[error("the file has the column {column:?} twice")]
    DuplicateColumn {
        /// Name of the column.
        column: String,
    },
    /// A column is of a type that its values cannot be taken from.
    #[error("the column {column:?} is of type {found}")]
    ColumnType {
        /// Name of the column.
        column: String,
        /// Its type in the file.
        found: String,
    },
    /// The file does not hold as many rows as its own metadata says.
    #[error("the file's metadata counts {expected} rows, but there are {found}")]
    RowCount {
        /// From the metadata.
        expected: i64,
        /// What was found.
        found: i64,
    },
    /// The file cannot be read.
    #[error("the file cannot be read as Parquet")]
    Read(#[source] ParquetError),
    /// The consolidated file cannot be written.
    #[error("the consolidated file cannot be written")]
    Write(#[source] ParquetError),
}

impl ConsolidationError {
    /// Whether the delivered file is to blame, so that trying again cannot help.
    ///
    /// If reading fails on a file that is not in memory, this does not tell a broken disk from a
    /// broken file.
    pub fn is_fault_of_the_file(&self) -> bool {
        !matches!(self, Self::UnsupportedFormat { .. } | Self::Write(_))
    }
}

#[cfg(test)]
mod tests;
