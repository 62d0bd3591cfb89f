//! Consolidation: one delivered inventory file becomes one file of the snapshot, with its totals.
//!
//! Whatever the format of the delivered file, the consolidated one has the columns of
//! [`crate::snapshot_schema`]. The same input always becomes the same bytes, so a repeated delivery
//! changes nothing.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::ids::BucketName;
use crate::manifest::{FileFormat, Manifest, ManifestFile, Md5Hash, SchemaField};
use crate::totals::Totals;

mod buffers;
mod checked;
mod chunk_writer;
mod csv_rows;
mod file_check;
mod files;
#[cfg(test)]
mod finds;
#[cfg(test)]
mod fixture;
mod graft;
mod hybrid;
mod md5_lanes;
mod observer;
mod orc_rows;
mod parquet_rows;
mod rewrite;
mod rows;
mod together;

pub use checked::Work;
pub use file_check::FileMismatch;
pub use files::{LocalFile, Output, ReadAt};
pub use md5_lanes::LANES as FILES_TOGETHER;

use checked::CheckedFile;
use csv_rows::CsvRows;
use graft::Graft;
use orc_rows::OrcRows;
use parquet_rows::{ParquetFile, ParquetRows};
use rewrite::Rewritten;
use rows::INVENTORY_COLUMNS;

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

/// Verifies a delivered file against its manifest and consolidates it, see [`consolidate`].
///
/// `known_md5` is what the store of the file itself vouches for, or what [`verify_together`] found
/// through the same reader: if that is the manifest's, no byte is hashed. Otherwise every byte is, those
/// that the work itself does not need included.
///
/// # Errors
/// [`ConsolidationError::Mismatch`] if the file is not the one of the manifest, whatever else is
/// wrong with it. The output counts only if there is no error.
pub fn consolidate_verified(
    delivered: Delivered<'_>,
    expected: &ManifestFile,
    known_md5: Option<Md5Hash>,
    source: Arc<dyn ReadAt>,
    output: &mut dyn Output,
) -> Result<(Consolidated, Work), ConsolidationError> {
    check_size(expected, &*source)?;
    let is_known = known_md5 == Some(expected.md5);
    let checked = Arc::new(CheckedFile::new(source, is_known));
    let source: Arc<dyn ReadAt> = Arc::<CheckedFile>::clone(&checked);
    let consolidated = match consolidate(delivered, &source, output) {
        Err(error) if !error.is_fault_of_the_file() => return Err(error),
        consolidated => consolidated,
    };
    let (work, verdict) = checked
        .finish(expected)
        .map_err(ConsolidationError::Fetch)?;
    verdict.map_err(ConsolidationError::Mismatch)?;
    Ok((consolidated?, work))
}

/// Verifies a delivered file against its manifest, without consolidating it.
///
/// # Errors
/// [`ConsolidationError::Mismatch`] if the file is not the one of the manifest, and
/// [`ConsolidationError::Fetch`] if it could not be read.
pub fn verify(
    expected: &ManifestFile,
    known_md5: Option<Md5Hash>,
    source: Arc<dyn ReadAt>,
) -> Result<Work, ConsolidationError> {
    check_size(expected, &*source)?;
    let checked = CheckedFile::new(source, known_md5 == Some(expected.md5));
    let (work, verdict) = checked
        .finish(expected)
        .map_err(ConsolidationError::Fetch)?;
    verdict.map_err(ConsolidationError::Mismatch)?;
    Ok(work)
}

/// Verifies several delivered files against their manifest by hashing them at once, which takes a
/// fraction of the time that one after the other does. The answers are in the order of the files.
///
/// Each file is read from front to back, in small pieces and in turn with the others: good for files
/// on disk.
pub fn verify_together(
    files: &[(&ManifestFile, Arc<dyn ReadAt>)],
) -> Vec<Result<Work, ConsolidationError>> {
    let to_hash = || {
        files
            .iter()
            .filter(|(expected, file)| file.size() == expected.size)
    };
    let readers: Vec<&dyn ReadAt> = to_hash().map(|(_, file)| &**file).collect();
    let (sums, took) = checked::timed(|| together::hash_together(&readers));
    let mut sums = sums.into_iter();
    let bytes: u64 = to_hash().map(|(expected, _)| expected.size).sum();
    files
        .iter()
        .map(|(expected, file)| {
            check_size(expected, &**file)?;
            let sum = sums
                .next()
                .unwrap_or_else(|| Err(io::ErrorKind::Other.into()));
            let sum = sum.map_err(ConsolidationError::Fetch)?;
            file_check::compare_md5(expected, sum).map_err(ConsolidationError::Mismatch)?;
            #[expect(clippy::cast_precision_loss, reason = "it is for a share of time")]
            let share = expected.size as f64 / bytes.max(1) as f64;
            Ok(Work {
                bytes_read: 0,
                bytes_hashed: expected.size,
                hashing: took.mul_f64(share),
            })
        })
        .collect()
}

fn check_size(expected: &ManifestFile, file: &dyn ReadAt) -> Result<(), ConsolidationError> {
    let found = file.size();
    if found == expected.size {
        return Ok(());
    }
    Err(ConsolidationError::Mismatch(FileMismatch::Size {
        expected: expected.size,
        found,
    }))
}

/// Reads a delivered file and writes the consolidated one.
///
/// - Columns are taken by name. What the file has beyond the snapshot's columns is left out and
///   named in [`Consolidated::left_out_columns`]; what it lacks becomes null, unless the manifest
///   promises it.
/// - The derived columns are computed from the key.
/// - Rows keep their order. Memory is bounded, whatever the size of the input.
///
/// A Parquet file is grafted: its bytes stay as they are. What S3 does not write but Parquet allows,
/// such as instants in another unit, and files in other formats are written anew.
///
/// # Errors
/// After an error the output holds a file that is not complete and not readable. A file that makes a
/// library panic, as damaged ones may, is one that cannot be read.
pub fn consolidate(
    delivered: Delivered<'_>,
    source: &Arc<dyn ReadAt>,
    output: &mut dyn Output,
) -> Result<Consolidated, ConsolidationError> {
    // What is left half done is not used after an error.
    let consolidate = AssertUnwindSafe(|| consolidate_format(delivered, source, output));
    catch_unwind(consolidate).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let message = format!(
            "it makes the reader fail: {}",
            text.unwrap_or("for no reason given")
        );
        Err(ConsolidationError::Read(message.into()))
    })
}

fn consolidate_format(
    delivered: Delivered<'_>,
    source: &Arc<dyn ReadAt>,
    output: &mut dyn Output,
) -> Result<Consolidated, ConsolidationError> {
    match delivered.format {
        FileFormat::Parquet => consolidate_parquet(delivered, source, output),
        FileFormat::Orc => {
            let mut reader = OrcRows::open(delivered, Arc::clone(source))?;
            let written = rewrite::rewrite(delivered, &mut reader, output)?;
            Ok(written.into_consolidated(reader.left_out))
        }
        FileFormat::Csv => {
            let mut reader = CsvRows::new(delivered, Arc::clone(source))?;
            let written = rewrite::rewrite(delivered, &mut reader, output)?;
            Ok(written.into_consolidated(reader.left_out))
        }
    }
}

fn consolidate_parquet(
    delivered: Delivered<'_>,
    source: &Arc<dyn ReadAt>,
    output: &mut dyn Output,
) -> Result<Consolidated, ConsolidationError> {
    let file = Arc::new(ParquetFile::open(delivered, Arc::clone(source))?);
    let mut written = None;
    if graft::is_possible(&file) {
        match graft::graft(delivered, &file, output)? {
            Graft::Done { rows, totals } => {
                written = Some(Rewritten {
                    rows,
                    totals: *totals,
                    undecodable_keys: 0,
                });
            }
            Graft::NotText => output.restart().map_err(ConsolidationError::Write)?,
        }
    }
    let written = if let Some(written) = written {
        written
    } else {
        let all = (0..INVENTORY_COLUMNS).collect();
        let mut reader = ParquetRows::new(Arc::clone(&file), all);
        rewrite::rewrite(delivered, &mut reader, output)?
    };
    if written.rows != file.rows {
        return Err(ConsolidationError::RowCount {
            expected: file.rows.cast_signed(),
            found: written.rows.cast_signed(),
        });
    }
    Ok(written.into_consolidated(file.left_out.clone()))
}

/// A delivered file that could not be consolidated; from [`consolidate`].
#[derive(Debug, thiserror::Error)]
pub enum ConsolidationError {
    /// The file is not the one that the manifest lists.
    #[error(transparent)]
    Mismatch(FileMismatch),
    /// The file that the manifest lists is not there.
    #[error("it is not there")]
    Missing,
    /// A row is about another bucket than the report.
    #[error(
        "row {row} is about {}, in a report about {expected:?}",
        found.as_ref().map_or("no bucket".to_owned(), |found| format!("the bucket {found:?}"))
    )]
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
    /// A row of a CSV file does not have as many fields as the manifest names.
    #[error("row {row} has {found} fields, where the manifest names {expected}")]
    FieldCount {
        /// Number of the row in the file, from 0.
        row: u64,
        /// From the manifest.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// A field of a CSV file is not what its column holds.
    #[error("row {row} has {found} in the column {column:?}, which is not {expected}")]
    Value {
        /// Number of the row in the file, from 0.
        row: u64,
        /// Name of the column.
        column: String,
        /// Beginning of the field, escaped and in quotes.
        found: String,
        /// What the column holds.
        expected: &'static str,
    },
    /// The file is not one of its format, or is damaged.
    #[error("the file cannot be read: {0}")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bytes of the file could not be had.
    #[error("the file could not be fetched: {0}")]
    Fetch(#[source] io::Error),
    /// The consolidated file cannot be written.
    #[error("the consolidated file cannot be written: {0}")]
    Write(#[source] io::Error),
}

impl ConsolidationError {
    /// Whether the delivered file is to blame, so that trying again cannot help.
    pub fn is_fault_of_the_file(&self) -> bool {
        !matches!(self, Self::Fetch(_) | Self::Write(_))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
