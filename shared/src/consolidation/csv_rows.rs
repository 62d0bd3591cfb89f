//! Reads rows of a CSV file, as S3 writes them: gzip, no header, every value in quotes, keys encoded
//! as in URLs.
//!
//! The file is inflated into a buffer and split into fields there, and then one column after the
//! other becomes values.

use std::sync::Arc;

use bytes::Bytes;

use super::files::ReadAt;
use super::rows::{
    BATCH_ROWS, Coded, Flags, INVENTORY_COLUMNS, Numbers, RowReader, Rows, Span, Texts, is_diverse,
    place,
};
use super::{ConsolidationError, Delivered};
use crate::foreign_text::excerpt;
use crate::manifest::SchemaField;
use crate::snapshot_schema::{AthenaType, COLUMNS};

mod field;
mod inflate;
mod split;

use inflate::Inflate;
use split::{Field, Records};

/// Bytes that are inflated at once. They and what is made of them stay in the processor's cache.
const BUFFER_BYTES: usize = 256 * 1024;

/// A longer record is an error. S3 writes at most some thousand bytes for an object.
const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Reads a file from front to back.
pub(super) struct CsvRows {
    /// Columns of the file that the snapshot does not have.
    pub(super) left_out: Vec<String>,
    columns: Vec<Column>,
    inflate: Inflate,
    /// Inflated bytes; whatever stands beyond `filled` means nothing.
    buffer: Vec<u8>,
    filled: usize,
    /// Where in the buffer the next record begins.
    at: usize,
    /// Where the fields of a batch stand in the buffer.
    records: Records,
    rows_before: u64,
}

/// A column of the file that the snapshot has too.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// Place among the fields of a record.
    field: usize,
    /// Place among [`COLUMNS`].
    place: usize,
}

impl CsvRows {
    /// Begins to read a file whose columns are what the manifest says, in that order.
    pub(super) fn new(
        delivered: Delivered<'_>,
        source: Arc<dyn ReadAt>,
    ) -> Result<Self, ConsolidationError> {
        let (columns, left_out) = sort_out_columns(delivered)?;
        Ok(Self {
            left_out,
            columns,
            inflate: Inflate::new(source),
            buffer: vec![0; BUFFER_BYTES],
            filled: 0,
            at: 0,
            records: Records::new(delivered.schema.len()),
            rows_before: 0,
        })
    }

    /// Finds the records of the next batch; `false` at the end of the file.
    ///
    /// Where a batch ends depends on nothing but the inflated bytes, so that the same file always
    /// becomes the same pages.
    fn next_records(&mut self) -> Result<bool, ConsolidationError> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        self.buffer.truncate(BUFFER_BYTES.max(self.filled));
        loop {
            self.filled += self.inflate.fill(&mut self.buffer[self.filled..])?;
            let is_all = self.filled < self.buffer.len();
            let filled = &mut self.buffer[..self.filled];
            self.at = self
                .records
                .split(filled, is_all, BATCH_ROWS, self.rows_before)?;
            if self.records.len() > 0 || is_all {
                return Ok(self.records.len() > 0);
            }
            // Not even one record fits.
            if self.buffer.len() >= MAX_RECORD_BYTES {
                let row = self.rows_before;
                let message = format!("row {row} is longer than {MAX_RECORD_BYTES} bytes");
                return Err(ConsolidationError::Read(message.into()));
            }
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
    }
}

impl RowReader for CsvRows {
    fn next(&mut self, rows: &mut Rows) -> Result<bool, ConsolidationError> {
        if !self.next_records()? {
            return Ok(false);
        }
        for column in &self.columns {
            let values = &mut rows.columns[column.place];
            let batch = Batch {
                column: *column,
                fields: self.records.column(column.field),
                buffer: &self.buffer,
                first: self.rows_before,
            };
            match COLUMNS[column.place].athena_type {
                AthenaType::String if column.place == place::KEY => batch.read_keys(values.texts()),
                AthenaType::String if is_diverse(column.place) => batch.read_texts(values.texts()),
                AthenaType::String => batch.read_coded(values.coded()),
                AthenaType::Boolean => batch.read_flags(values.flags())?,
                AthenaType::Bigint => {
                    batch.read_numbers(values.numbers(), "a whole number", field::number)?;
                }
                AthenaType::Timestamp => {
                    batch.read_numbers(values.numbers(), "an instant", field::instant)?;
                }
            }
        }
        rows.first = self.rows_before;
        rows.len = self.records.len();
        self.rows_before += rows.len as u64;
        Ok(true)
    }
}

/// One column of a batch, as it stands in the file.
struct Batch<'a, F> {
    column: Column,
    fields: F,
    buffer: &'a [u8],
    /// Number of the first row in the file.
    first: u64,
}

impl<F: Iterator<Item = Field>> Batch<'_, F> {
    /// Whether nothing in the field means null, and not a text of no letters.
    ///
    /// An object of before versioning has an empty version id, and that there is a bucket and a key
    /// is not for CSV to deny.
    fn empty_is_null(&self) -> bool {
        !matches!(
            self.column.place,
            place::BUCKET | place::KEY | place::VERSION_ID
        )
    }

    fn read_keys(self, texts: &mut Texts) {
        let mut decoded = begin_texts(texts);
        for field in self.fields {
            let start = decoded.len();
            field::decode_key(field.of(self.buffer), &mut decoded);
            texts.spans.push(Span::new(start, decoded.len() - start));
        }
        texts.buffer = Bytes::from(decoded);
    }

    fn read_texts(self, texts: &mut Texts) {
        let empty_is_null = self.empty_is_null();
        let mut copied = begin_texts(texts);
        for field in self.fields {
            let text = field.of(self.buffer);
            texts.spans.push(if text.is_empty() && empty_is_null {
                Span::NULL
            } else {
                Span::new(copied.len(), text.len())
            });
            copied.extend_from_slice(text);
        }
        texts.buffer = Bytes::from(copied);
    }

    fn read_coded(self, coded: &mut Coded) {
        let empty_is_null = self.empty_is_null();
        coded.clear();
        for field in self.fields {
            let text = field.of(self.buffer);
            coded.push((!text.is_empty() || !empty_is_null).then_some(text));
        }
    }

    fn read_flags(self, flags: &mut Flags) -> Result<(), ConsolidationError> {
        flags.values.clear();
        for (row, field) in self.fields.enumerate() {
            let text = field.of(self.buffer);
            let flag = field::flag(text)
                .ok_or_else(|| wrong(self.column, self.first, row, text, "true or false"))?;
            flags.push(flag);
        }
        Ok(())
    }

    fn read_numbers(
        self,
        numbers: &mut Numbers,
        expected: &'static str,
        parse: impl Fn(&[u8]) -> Option<i64>,
    ) -> Result<(), ConsolidationError> {
        numbers.clear();
        for (row, field) in self.fields.enumerate() {
            let text = field.of(self.buffer);
            if text.is_empty() {
                numbers.push(None);
                continue;
            }
            let number =
                parse(text).ok_or_else(|| wrong(self.column, self.first, row, text, expected))?;
            numbers.push(Some(number));
        }
        Ok(())
    }
}

/// An empty buffer, which is that of the batch before, to be used again.
fn begin_texts(texts: &mut Texts) -> Vec<u8> {
    texts.spans.clear();
    let mut buffer = Vec::from(std::mem::take(&mut texts.buffer));
    buffer.clear();
    buffer
}

#[cold]
fn wrong(
    column: Column,
    first: u64,
    row: usize,
    found: &[u8],
    expected: &'static str,
) -> ConsolidationError {
    ConsolidationError::Value {
        row: first + row as u64,
        column: COLUMNS[column.place].name.to_owned(),
        found: excerpt(&String::from_utf8_lossy(found)),
        expected,
    }
}

/// The columns that the snapshot knows, and the names of the others.
fn sort_out_columns(
    delivered: Delivered<'_>,
) -> Result<(Vec<Column>, Vec<String>), ConsolidationError> {
    let mut columns: Vec<Column> = Vec::new();
    let mut left_out = Vec::new();
    for (field, SchemaField { name, .. }) in delivered.schema.iter().enumerate() {
        let place = COLUMNS[..INVENTORY_COLUMNS]
            .iter()
            .position(|column| column.name == name);
        let Some(place) = place else {
            left_out.push(name.clone());
            continue;
        };
        if columns.iter().any(|column| column.place == place) {
            let column = name.clone();
            return Err(ConsolidationError::DuplicateColumn { column });
        }
        columns.push(Column { field, place });
    }
    for required in [place::BUCKET, place::KEY] {
        if columns.iter().all(|column| column.place != required) {
            let column = COLUMNS[required].name.to_owned();
            return Err(ConsolidationError::MissingColumn { column });
        }
    }
    Ok((columns, left_out))
}

#[cfg(test)]
mod tests;
