//! Writes one column chunk of a consolidated file: values are collected into pages, and dictionary
//! codes that a reader already knows are kept instead of looking every value up again.

use std::io::Write;

use parquet::basic::{Compression, Encoding, PageType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;
use super::rows::{Coded, Dictionary, Flags, NULL, Values, count};

mod bounds;
mod compress;
mod delta;
mod open_page;

use bounds::Bounds;
use compress::compress;
use open_page::OpenPage;

/// A dictionary that would be larger is given up for plain values.
const DICTIONARY_BYTES: usize = 1024 * 1024;

/// What compresses every page. It is what S3 uses, and every reader has it.
const COMPRESSION: Compression = Compression::SNAPPY;

/// Collects the values of one column chunk.
pub(super) struct ChunkWriter {
    column: ColumnDescPtr,
    page: OpenPage,
    /// Pages that are done, and their bytes.
    pages: Vec<CompressedPage>,
    held: usize,
    page_stats: Vec<PageEncodingStats>,
    dictionary: LocalDictionary,
    rows: usize,
    nulls: u64,
    bounds: Bounds,
}

/// The dictionary of the chunk.
#[derive(Default)]
struct LocalDictionary {
    /// Plain values.
    values: Vec<u8>,
    /// Where each value begins in `values`.
    starts: Vec<usize>,
    /// The code here of each code of the reader's dictionary; [`NULL`] for none yet.
    local: Vec<u32>,
    /// That of the reader's dictionary.
    epoch: Option<u32>,
    /// There were too many values; from here on they are written plainly.
    given_up: bool,
}

impl LocalDictionary {
    /// The code here of a code of the reader's dictionary; `None` if there is no room for it.
    #[inline]
    fn code(&mut self, theirs: u32, dictionary: &Dictionary) -> Option<u32> {
        let known = self.local[theirs as usize];
        if known != NULL {
            return Some(known);
        }
        let value = dictionary.get(theirs);
        if self.values.len() + value.len() > DICTIONARY_BYTES {
            return None;
        }
        let code = u32::try_from(self.starts.len()).ok()?;
        self.starts.push(self.values.len());
        push_readable(&mut self.values, value);
        self.local[theirs as usize] = code;
        Some(code)
    }

    fn width(&self) -> u32 {
        let largest = self.starts.len().saturating_sub(1);
        // Not all readers take a width of 0.
        (usize::BITS - largest.leading_zeros()).max(1)
    }

    fn texts(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self
            .starts
            .iter()
            .skip(1)
            .copied()
            .chain([self.values.len()]);
        let places = self.starts.iter().zip(ends);
        places.map(|(start, end)| &self.values[start + LENGTH_BYTES..end])
    }
}

/// A plain text begins with its length.
const LENGTH_BYTES: usize = 4;

/// Appends what may be no text, which readers would refuse, as a plain one.
fn push_readable(values: &mut Vec<u8>, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    values.extend_from_slice(&length.to_le_bytes());
    values.extend_from_slice(text.as_bytes());
}

impl ChunkWriter {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            column,
            page: OpenPage::default(),
            pages: Vec::new(),
            held: 0,
            page_stats: Vec::new(),
            dictionary: LocalDictionary::default(),
            rows: 0,
            nulls: 0,
            bounds: Bounds::default(),
        }
    }

    /// Bytes held until the chunk is finished.
    pub(super) fn held_bytes(&self) -> usize {
        self.held + self.dictionary.values.len() + self.page.held_bytes()
    }

    /// Adds the values of rows.
    pub(super) fn push(&mut self, values: &Values, rows: usize) -> Result<(), ParquetError> {
        match values {
            Values::Absent => self.push_nulls(rows),
            Values::Texts(texts) => {
                let nulls = count(texts.spans.iter().map(|span| span.is_null()));
                let valid = texts.spans.iter().map(|span| !span.is_null());
                self.nulls += nulls as u64;
                self.page.define(rows, nulls, valid);
                self.page.texts.extend(&texts.buffer, &texts.spans);
                if self.column.name() == "key" {
                    let there = texts.spans.iter().filter(|span| !span.is_null());
                    self.bounds.widen(there.map(|span| span.of(&texts.buffer)));
                }
            }
            Values::Coded(coded) => return self.push_coded(coded, rows),
            Values::Numbers(numbers) => {
                let nulls = count(numbers.valid.iter().map(|valid| !valid));
                self.nulls += nulls as u64;
                let valid = numbers.valid.iter().copied();
                self.page.define(rows, nulls, valid);
                let page = &mut self.page.numbers;
                let start = page.len();
                if nulls == 0 {
                    page.extend_from_slice(&numbers.values);
                } else {
                    page.extend((0..rows).filter_map(|row| numbers.get(row)));
                }
                self.bounds.widen_numbers(&page[start..]);
            }
            Values::Flags(flags) => {
                let is_valid = |flag: &u8| *flag != Flags::NULL;
                let nulls = count(flags.values.iter().map(|flag| !is_valid(flag)));
                self.nulls += nulls as u64;
                let valid = flags.values.iter().map(is_valid);
                self.page.define(rows, nulls, valid);
                let page = &mut self.page.flags;
                if nulls == 0 {
                    page.extend_from_slice(&flags.values);
                } else {
                    page.extend(flags.values.iter().copied().filter(is_valid));
                }
            }
        }
        self.pushed(rows)
    }

    /// Adds the values of rows, by their numbers in a dictionary.
    pub(super) fn push_coded(&mut self, coded: &Coded, rows: usize) -> Result<(), ParquetError> {
        self.push_codes(coded)?;
        self.pushed(rows)
    }

    fn pushed(&mut self, rows: usize) -> Result<(), ParquetError> {
        self.rows += rows;
        if self.page.is_full() {
            self.end_page()
        } else {
            Ok(())
        }
    }

    /// Adds rows without a value.
    fn push_nulls(&mut self, rows: usize) {
        self.nulls += rows as u64;
        self.page.define(rows, rows, std::iter::empty());
    }

    fn push_codes(&mut self, coded: &Coded) -> Result<(), ParquetError> {
        let is_null = |code: &u32| *code == NULL;
        let nulls = count(coded.codes.iter().map(is_null));
        self.nulls += nulls as u64;
        let dictionary = &mut self.dictionary;
        if dictionary
            .epoch
            .is_some_and(|epoch| epoch != coded.dictionary.epoch())
        {
            // So many values that the reader forgot some: they would be written twice.
            self.give_up_dictionary()?;
        }
        let dictionary = &mut self.dictionary;
        dictionary.epoch = Some(coded.dictionary.epoch());
        dictionary.local.resize(coded.dictionary.len(), NULL);
        let mut row = 0;
        while !dictionary.given_up && row < coded.codes.len() {
            let theirs = coded.codes[row];
            let end = hybrid::run_end(&coded.codes, row);
            if !is_null(&theirs) {
                match dictionary.code(theirs, &coded.dictionary) {
                    Some(code) => self.page.codes.extend(std::iter::repeat_n(code, end - row)),
                    None => break,
                }
            }
            row = end;
        }
        let (coded_rows, plain_rows) = coded.codes.split_at(row);
        let plain_nulls = count(plain_rows.iter().map(is_null));
        let valid = coded_rows.iter().map(|code| !is_null(code));
        self.page
            .define(coded_rows.len(), nulls - plain_nulls, valid);
        if plain_rows.is_empty() {
            return Ok(());
        }
        self.give_up_dictionary()?;
        let valid = plain_rows.iter().map(|code| !is_null(code));
        self.page.define(plain_rows.len(), plain_nulls, valid);
        for code in plain_rows.iter().filter(|code| !is_null(code)) {
            let text = String::from_utf8_lossy(coded.dictionary.get(*code));
            self.page.texts.push(text.as_bytes());
        }
        Ok(())
    }

    fn give_up_dictionary(&mut self) -> Result<(), ParquetError> {
        if !self.dictionary.given_up {
            self.end_page()?;
            self.dictionary.given_up = true;
            self.dictionary.local = Vec::new();
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), ParquetError> {
        if self.page.rows == 0 {
            return Ok(());
        }
        let num_values = u32::try_from(self.page.rows).unwrap_or(u32::MAX);
        let is_nullable = self.column.max_def_level() > 0;
        let encoded = self.page.encode(is_nullable, self.dictionary.width());
        let encoding = encoded.encoding;
        let page = Page::DataPage {
            buf: compress(&encoded.head, encoded.values)?,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let length = encoded.head.len() + encoded.values.len();
        let page = CompressedPage::new(page, length);
        self.held += page.compressed_size();
        self.pages.push(page);
        self.count_page(PageType::DATA_PAGE, encoding);
        self.page.clear();
        Ok(())
    }

    fn count_page(&mut self, page_type: PageType, encoding: Encoding) {
        let same = |stats: &&mut PageEncodingStats| {
            stats.page_type == page_type && stats.encoding == encoding
        };
        match self.page_stats.iter_mut().find(same) {
            Some(stats) => stats.count += 1,
            None => self.page_stats.push(PageEncodingStats {
                page_type,
                encoding,
                count: 1,
            }),
        }
    }

    /// Writes the chunk, and begins the next one. The sink's first byte stands at `base` in the file.
    pub(super) fn finish<W: Write + Send>(
        &mut self,
        sink: &mut TrackedWrite<W>,
        base: u64,
    ) -> Result<ColumnChunkMetaData, ParquetError> {
        self.end_page()?;
        let here = |sink: &TrackedWrite<W>| offset(base + sink.bytes_written() as u64);
        let start = here(sink)?;
        let mut compressed = 0;
        let mut uncompressed = 0;
        let mut write = |sink: &mut TrackedWrite<W>, page| {
            let written = SerializedPageWriter::new(sink).write_page(page)?;
            compressed += written.compressed_size;
            uncompressed += written.uncompressed_size;
            Ok::<_, ParquetError>(())
        };
        let mut encodings = vec![Encoding::RLE];
        let mut dictionary_offset = None;
        if !self.dictionary.starts.is_empty() {
            let values = &self.dictionary.values;
            let page = Page::DictionaryPage {
                buf: compress(&[], values)?,
                num_values: u32::try_from(self.dictionary.starts.len()).unwrap_or(u32::MAX),
                encoding: Encoding::PLAIN,
                is_sorted: false,
            };
            write(sink, CompressedPage::new(page, values.len()))?;
            self.count_page(PageType::DICTIONARY_PAGE, Encoding::PLAIN);
            dictionary_offset = Some(start);
        }
        encodings.extend(self.page_stats.iter().map(|stats| stats.encoding));
        encodings.sort_unstable();
        encodings.dedup();
        let data_offset = here(sink)?;
        let statistics = self.statistics();
        // The buffers of the page are used again.
        let next = Self {
            page: std::mem::take(&mut self.page),
            ..Self::new(self.column.clone())
        };
        let done = std::mem::replace(self, next);
        for page in done.pages {
            write(sink, page)?;
        }
        ColumnChunkMetaData::builder(done.column)
            .set_compression(COMPRESSION)
            .set_encodings(encodings)
            .set_page_encoding_stats(done.page_stats)
            .set_num_values(i64::try_from(done.rows)?)
            .set_total_compressed_size(i64::try_from(compressed)?)
            .set_total_uncompressed_size(i64::try_from(uncompressed)?)
            .set_data_page_offset(data_offset)
            .set_dictionary_page_offset(dictionary_offset)
            .set_statistics(statistics)
            .build()
    }

    fn statistics(&mut self) -> Statistics {
        if self.dictionary.epoch.is_some() && !self.dictionary.given_up {
            self.bounds.widen(self.dictionary.texts());
        }
        let bounds = std::mem::take(&mut self.bounds);
        bounds.into_statistics(self.column.physical_type(), self.nulls)
    }
}

fn offset(place: u64) -> Result<i64, ParquetError> {
    Ok(i64::try_from(place)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::Array;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::RowGroupMetaData;
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;
    use proptest::prelude::*;

    use super::*;
    use crate::consolidation::rewrite::write_footer;
    use crate::consolidation::rows::{Numbers, Span, Texts};

    /// A file of one column, of which pages end after these batches.
    fn file_of(declared: &str, batches: &[(Values, usize)]) -> (Bytes, ColumnChunkMetaData) {
        let schema = parse_message_type(&format!("message m {{ optional {declared}; }}")).unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let mut chunk = ChunkWriter::new(schema.column(0));
        for (values, rows) in batches {
            chunk.push(values, *rows).unwrap();
            if *rows % 3 == 0 {
                chunk.end_page().unwrap();
            }
        }
        let mut file = Vec::new();
        let mut sink = TrackedWrite::new(&mut file);
        sink.write_all(b"PAR1").unwrap();
        let chunk = chunk.finish(&mut sink, 0).unwrap();
        let row_group = RowGroupMetaData::builder(Arc::clone(&schema))
            .set_num_rows(chunk.num_values())
            .set_column_metadata(vec![chunk.clone()])
            .build()
            .unwrap();
        write_footer(&mut sink, &schema, "test".into(), 1, vec![row_group]).unwrap();
        drop(sink);
        (file.into(), chunk)
    }

    fn texts(batch: &[Option<String>]) -> Values {
        let mut buffer = Vec::new();
        let spans = batch.iter().map(|text| match text {
            None => Span::NULL,
            Some(text) => {
                // Every now and then there is something in between.
                buffer.resize(buffer.len() + text.len() / 7, b'-');
                buffer.extend_from_slice(text.as_bytes());
                Span::new(buffer.len() - text.len(), text.len())
            }
        });
        let spans = spans.collect();
        Values::Texts(Texts {
            spans,
            buffer: buffer.into(),
        })
    }

    fn any_text() -> impl Strategy<Value = Option<String>> {
        let beginning = prop_oneof![
            Just(""),
            Just("logs/"),
            Just("logs/2024/01/02/of a load balancer with a long name/")
        ];
        let text =
            (beginning, "[a-b日]{0,40}").prop_map(|(beginning, end)| beginning.to_owned() + &end);
        prop::option::weighted(0.8, text)
    }

    fn any_batches<T: std::fmt::Debug>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Vec<Vec<T>>> {
        prop::collection::vec(prop::collection::vec(value, 1..80), 1..6)
    }

    proptest! {
        #[test]
        fn texts_are_read_as_they_were(batches in any_batches(any_text())) {
            let pushed: Vec<_> = batches.iter().map(|batch| (texts(batch), batch.len())).collect();
            let (file, chunk) = file_of("binary key (UTF8)", &pushed);
            let all = batches.concat();
            let there = || all.iter().flatten().map(String::as_bytes);
            let Some(Statistics::ByteArray(told)) = chunk.statistics() else {
                panic!("no bounds are told");
            };
            prop_assert_eq!(told.min_opt().map(AsRef::as_ref), there().min());
            prop_assert_eq!(told.max_opt().map(AsRef::as_ref), there().max());
            let mut read = Vec::new();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column(0).as_string::<i32>();
                read.extend(column.iter().map(|text| text.map(str::to_owned)));
            }
            prop_assert_eq!(read, all);
        }

        #[test]
        fn numbers_are_read_as_they_were(
            batches in any_batches(prop::option::weighted(0.9, any::<i64>())),
            bits in 0..64_u32,
        ) {
            let batches: Vec<Vec<_>> = batches
                .into_iter()
                .map(|batch| batch.into_iter().map(|number| number.map(|number| number >> bits)).collect())
                .collect();
            let pushed = batches.iter().map(|batch| {
                let mut numbers = Numbers::default();
                for number in batch {
                    numbers.push(*number);
                }
                (Values::Numbers(numbers), batch.len())
            });
            let (file, chunk) = file_of("int64 size", &pushed.collect::<Vec<_>>());
            let mut read = Vec::new();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                read.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().iter());
            }
            let all = batches.concat();
            if let Some(Statistics::Int64(told)) = chunk.statistics() {
                prop_assert_eq!(told.min_opt(), all.iter().flatten().min());
                prop_assert_eq!(told.max_opt(), all.iter().flatten().max());
            }
            prop_assert_eq!(read, all);
        }

        #[test]
        fn truths_are_read_as_they_were(batches in any_batches(prop::option::weighted(0.9, any::<bool>()))) {
            let pushed = batches.iter().map(|batch| {
                let mut flags = Flags::default();
                for flag in batch {
                    flags.push(*flag);
                }
                (Values::Flags(flags), batch.len())
            });
            let (file, _) = file_of("boolean is_latest", &pushed.collect::<Vec<_>>());
            let mut read = Vec::new();
            for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
                read.extend(batch.unwrap().column(0).as_boolean().iter());
            }
            prop_assert_eq!(read, batches.concat());
        }
    }

    #[test]
    fn texts_are_front_coded_where_that_pays() {
        let keys: Vec<_> = (0..2_000)
            .map(|number| Some(format!("logs/2024/{number:08}")))
            .collect();
        let sums: Vec<_> = (1..2_000_u32)
            .map(|number| Some(format!("{:032x}", u128::from(number.reverse_bits()) << 96)))
            .collect();
        for (batch, encoding, most) in [
            (keys, Encoding::DELTA_BYTE_ARRAY, 6_000),
            (sums, Encoding::DELTA_LENGTH_BYTE_ARRAY, 64_500),
        ] {
            let (_, chunk) = file_of("binary key (UTF8)", &[(texts(&batch), batch.len())]);
            let encodings: Vec<_> = chunk.encodings().collect();
            assert_eq!(encodings, [Encoding::RLE, encoding]);
            let bytes = chunk.uncompressed_size();
            assert!(bytes < most, "{bytes} bytes");
        }
    }

    #[test]
    fn rows_without_a_value_are_pages_without_values() {
        let batch = vec![None; 300];
        let (file, chunk) = file_of("binary key (UTF8)", &[(texts(&batch), batch.len())]);
        assert_eq!(
            chunk.encodings().collect::<Vec<_>>(),
            [Encoding::PLAIN, Encoding::RLE]
        );
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        let nulls = reader.map(|batch| batch.unwrap().column(0).null_count());
        assert_eq!(nulls.sum::<usize>(), 300);
    }
}
