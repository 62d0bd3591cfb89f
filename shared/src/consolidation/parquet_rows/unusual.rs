//! Reads column chunks that are encoded in rarer ways, or hold other types than S3 writes, through
//! the library's own readers. Slower, and for everything.

use std::sync::Arc;

use bytes::Bytes;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type, Int96, Int96Type,
};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use super::Meaning;
use super::chunk::Column;
use super::delta::CheckedPages;
use super::window::Window;
use crate::consolidation::ConsolidationError;
use crate::consolidation::rows::{Span, Values};
use crate::snapshot_schema::AthenaType;

pub(super) struct UnusualChunk {
    column: Column,
    reader: ColumnReader,
    meaning: Meaning,
    athena_type: AthenaType,
    is_diverse: bool,
    is_optional: bool,
}

impl UnusualChunk {
    pub(super) fn new(
        window: Window,
        chunk: &ColumnChunkMetaData,
        meaning: Meaning,
        athena_type: AthenaType,
        is_diverse: bool,
    ) -> Result<Self, ConsolidationError> {
        let column = Column {
            name: chunk.column_descr().name().to_owned(),
            window,
        };
        let pages = SerializedPageReader::new(Arc::new(column.window.clone()), chunk, 0, None)
            .map_err(|error| column.damaged(&error))?;
        let is_optional = chunk.column_descr().max_def_level() > 0;
        let values = usize::try_from(chunk.num_values()).unwrap_or_default();
        let pages = CheckedPages::new(pages, values, is_optional);
        Ok(Self {
            column,
            reader: get_column_reader(chunk.column_descr_ptr(), Box::new(pages)),
            meaning,
            athena_type,
            is_diverse,
            is_optional,
        })
    }

    pub(super) fn read(
        &mut self,
        rows: usize,
        values: &mut Values,
    ) -> Result<(), ConsolidationError> {
        match self.athena_type {
            AthenaType::String => {
                let texts = self.texts(rows)?;
                if self.is_diverse {
                    let mut buffer = Vec::new();
                    let into = values.texts();
                    into.spans.clear();
                    for text in &texts {
                        into.spans.push(match text {
                            Some(text) => Span::new(buffer.len(), text.len()),
                            None => Span::NULL,
                        });
                        buffer.extend_from_slice(text.as_ref().map_or(&[], ByteArray::data));
                    }
                    into.buffer = Bytes::from(buffer);
                } else {
                    let into = values.coded();
                    into.clear();
                    for text in &texts {
                        into.push(text.as_ref().map(ByteArray::data));
                    }
                }
            }
            AthenaType::Boolean => {
                let read = self.truths(rows)?;
                let into = values.flags();
                into.values.clear();
                for value in read {
                    into.push(value);
                }
            }
            AthenaType::Bigint | AthenaType::Timestamp => {
                let read = self.numbers(rows)?;
                let into = values.numbers();
                into.clear();
                for value in read {
                    into.push(value);
                }
            }
        }
        Ok(())
    }

    fn texts(&mut self, rows: usize) -> Result<Vec<Option<ByteArray>>, ConsolidationError> {
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                read::<ByteArrayType>(reader, rows, self.is_optional, &self.column)
            }
            _ => Err(self.column.wrong("it holds no texts")),
        }
    }

    fn truths(&mut self, rows: usize) -> Result<Vec<Option<bool>>, ConsolidationError> {
        match &mut self.reader {
            ColumnReader::BoolColumnReader(reader) => {
                read::<BoolType>(reader, rows, self.is_optional, &self.column)
            }
            _ => Err(self.column.wrong("it holds no truths")),
        }
    }

    fn numbers(&mut self, rows: usize) -> Result<Vec<Option<i64>>, ConsolidationError> {
        Ok(match &mut self.reader {
            ColumnReader::Int64ColumnReader(reader) => {
                let units = match self.meaning {
                    Meaning::Finer(units) => units,
                    _ => 1,
                };
                let values = read::<Int64Type>(reader, rows, self.is_optional, &self.column)?;
                let coarser = |value: Option<i64>| value.map(|value| value.div_euclid(units));
                values.into_iter().map(coarser).collect()
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let values = read::<Int32Type>(reader, rows, self.is_optional, &self.column)?;
                values
                    .into_iter()
                    .map(|value| value.map(i64::from))
                    .collect()
            }
            ColumnReader::Int96ColumnReader(reader) => {
                let values = read::<Int96Type>(reader, rows, self.is_optional, &self.column)?;
                let instant = |value: Option<Int96>| value.map(|value| value.to_millis());
                values.into_iter().map(instant).collect()
            }
            _ => return Err(self.column.wrong("it holds no numbers")),
        })
    }
}

/// The next values, which have to be there.
fn read<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    is_optional: bool,
    column: &Column,
) -> Result<Vec<Option<T::T>>, ConsolidationError> {
    let mut values = Vec::with_capacity(rows);
    let mut levels = Vec::new();
    let wanted = is_optional.then_some(&mut levels);
    let (records, _, _) = reader
        .read_records(rows, wanted, None, &mut values)
        .map_err(|error| column.damaged(&error))?;
    if records < rows {
        return Err(column.wrong("it has fewer values than rows"));
    }
    let mut values = values.into_iter();
    if !is_optional {
        return Ok(values.map(Some).collect());
    }
    let spread = levels
        .into_iter()
        .map(|level| if level > 0 { values.next() } else { None });
    Ok(spread.collect())
}
