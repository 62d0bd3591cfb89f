//! Writes one column chunk of a consolidated file: values are collected into pages, and dictionary
//! codes that a reader already knows are kept instead of looking every value up again.

use std::io::Write;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type as PhysicalType};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::hybrid;
use super::rows::{Coded, Dictionary, Flags, NULL, Values};

/// A page ends at this many bytes or rows before compression, whatever comes first.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_ROWS: usize = 128 * 1024;

/// A dictionary that would be larger is given up for plain values.
const DICTIONARY_BYTES: usize = 1024 * 1024;

/// Texts longer than this are not told as the least or the greatest of a chunk.
const MAX_BOUND: usize = 1024;

/// What compresses every page. It is what S3 uses, and every reader has it.
const COMPRESSION: Compression = Compression::SNAPPY;

/// Collects the values of one column chunk.
pub(super) struct ChunkWriter {
    column: ColumnDescPtr,
    page: OpenPage,
    /// Pages that are done.
    pages: TrackedWrite<Pieces>,
    uncompressed: usize,
    page_stats: Vec<PageEncodingStats>,
    dictionary: LocalDictionary,
    rows: usize,
    nulls: u64,
    bounds: Bounds,
}

/// Values that are not in a page yet.
#[derive(Default)]
struct OpenPage {
    rows: usize,
    /// For each row whether it has a value, as 1 or 0. Empty as long as all have.
    defined: Vec<u32>,
    /// Plain values.
    values: Vec<u8>,
    /// Codes of the chunk's dictionary.
    codes: Vec<u32>,
    /// Truths, which are packed when the page ends.
    flags: Vec<u32>,
}

impl OpenPage {
    /// Adds whether rows have values.
    fn define(&mut self, rows: usize, valid: Option<impl Iterator<Item = bool>>) {
        match valid {
            Some(valid) => {
                self.defined.resize(self.rows, 1);
                self.defined.extend(valid.map(u32::from));
            }
            None if !self.defined.is_empty() => self.defined.resize(self.rows + rows, 1),
            None => {}
        }
        self.rows += rows;
    }
}

/// The least and the greatest value so far.
#[derive(Default)]
enum Bounds {
    /// Not told: of no use, or a dictionary knows them.
    #[default]
    Untold,
    Numbers(i64, i64),
    Texts(Vec<u8>, Vec<u8>),
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

/// The same for what may be no text, which readers would refuse.
fn push_readable(values: &mut Vec<u8>, bytes: &[u8]) {
    push_text(values, String::from_utf8_lossy(bytes).as_bytes());
}

fn push_text(values: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    values.extend_from_slice(&length.to_le_bytes());
    values.extend_from_slice(text);
}

impl ChunkWriter {
    pub(super) fn new(column: ColumnDescPtr) -> Self {
        Self {
            column,
            page: OpenPage::default(),
            pages: TrackedWrite::new(Pieces::default()),
            uncompressed: 0,
            page_stats: Vec::new(),
            dictionary: LocalDictionary::default(),
            rows: 0,
            nulls: 0,
            bounds: Bounds::default(),
        }
    }

    /// Bytes held until the chunk is finished.
    pub(super) fn held_bytes(&self) -> usize {
        let OpenPage {
            values,
            codes,
            flags,
            ..
        } = &self.page;
        let page = values.len() + 4 * (codes.len() + flags.len());
        self.pages.bytes_written() + self.dictionary.values.len() + page
    }

    /// Adds the values of rows.
    pub(super) fn push(&mut self, values: &Values, rows: usize) -> Result<(), ParquetError> {
        match values {
            Values::Absent => self.push_nulls(rows),
            Values::Texts(texts) => {
                let nulls = texts.spans.iter().filter(|span| span.is_null()).count();
                let valid = texts.spans.iter().map(|span| !span.is_null());
                self.nulls += nulls as u64;
                self.page.define(rows, (nulls > 0).then_some(valid));
                let buffer: &[u8] = &texts.buffer;
                let there = || texts.spans.iter().filter(|span| !span.is_null());
                for span in there() {
                    push_text(&mut self.page.values, span.of(buffer));
                }
                if self.column.name() == "key" {
                    self.bounds.widen(there().map(|span| span.of(buffer)));
                }
            }
            Values::Coded(coded) => return self.push_coded(coded, rows),
            Values::Numbers(numbers) => {
                let nulls = numbers.valid.iter().filter(|valid| !**valid).count();
                self.nulls += nulls as u64;
                let valid = numbers.valid.iter().copied();
                self.page.define(rows, (nulls > 0).then_some(valid));
                for row in 0..rows {
                    if let Some(value) = numbers.get(row) {
                        self.page.values.extend_from_slice(&value.to_le_bytes());
                        self.bounds.widen_numbers(value);
                    }
                }
            }
            Values::Flags(flags) => {
                let is_valid = |flag: &u8| *flag != Flags::NULL;
                let nulls = flags.values.iter().filter(|flag| !is_valid(flag)).count();
                self.nulls += nulls as u64;
                let valid = flags.values.iter().map(is_valid);
                self.page.define(rows, (nulls > 0).then_some(valid));
                let there = flags.values.iter().filter(|flag| is_valid(flag));
                self.page.flags.extend(there.copied().map(u32::from));
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
        let is_full = self.page.values.len() >= PAGE_BYTES || self.page.rows >= PAGE_ROWS;
        if is_full { self.end_page() } else { Ok(()) }
    }

    /// Adds rows without a value.
    fn push_nulls(&mut self, rows: usize) {
        self.nulls += rows as u64;
        let none = std::iter::repeat_n(false, rows);
        self.page.define(rows, Some(none));
    }

    fn push_codes(&mut self, coded: &Coded) -> Result<(), ParquetError> {
        let is_null = |code: &u32| *code == NULL;
        let nulls = coded.codes.iter().filter(|code| is_null(code)).count();
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
        let valid = coded_rows.iter().map(|code| !is_null(code));
        self.page
            .define(coded_rows.len(), (nulls > 0).then_some(valid));
        if plain_rows.is_empty() {
            return Ok(());
        }
        self.give_up_dictionary()?;
        let valid = plain_rows.iter().map(|code| !is_null(code));
        self.page
            .define(plain_rows.len(), (nulls > 0).then_some(valid));
        for code in plain_rows.iter().filter(|code| !is_null(code)) {
            push_readable(&mut self.page.values, coded.dictionary.get(*code));
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
        let mut page = std::mem::take(&mut self.page);
        if page.rows == 0 {
            return Ok(());
        }
        let is_coded = !page.codes.is_empty();
        // All but plain values.
        let mut body = Vec::with_capacity(page.rows / 2 + 64);
        if self.column.max_def_level() > 0 {
            body.extend_from_slice(&[0; LENGTH_BYTES]);
            if page.defined.is_empty() {
                hybrid::encode_run(1, page.rows, 1, &mut body);
            } else {
                hybrid::encode(&page.defined, 1, &mut body);
            }
            let length = u32::try_from(body.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
            body[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        }
        let mut encoding = Encoding::PLAIN;
        if is_coded {
            encoding = Encoding::RLE_DICTIONARY;
            let width = self.dictionary.width();
            body.push((width & 0xFF) as u8);
            hybrid::encode(&page.codes, width, &mut body);
        }
        for eight in page.flags.chunks(8) {
            let packed = eight
                .iter()
                .enumerate()
                .map(|(bit, flag)| (flag & 1) << bit);
            body.push((packed.sum::<u32>() & 0xFF) as u8);
        }
        let num_values = u32::try_from(page.rows).unwrap_or(u32::MAX);
        let compressed = compress(&body, &page.values)?;
        let data_page = Page::DataPage {
            buf: compressed,
            num_values,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = SerializedPageWriter::new(&mut self.pages).write_page(
            CompressedPage::new(data_page, body.len() + page.values.len()),
        )?;
        self.uncompressed += written.uncompressed_size;
        self.count_page(PageType::DATA_PAGE, encoding);
        // The buffers are used again.
        page.rows = 0;
        page.defined.clear();
        page.values.clear();
        page.codes.clear();
        page.flags.clear();
        self.page = page;
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
        let mut compressed = self.pages.bytes_written();
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
            let written = SerializedPageWriter::new(sink)
                .write_page(CompressedPage::new(page, values.len()))?;
            compressed += written.compressed_size;
            self.uncompressed += written.uncompressed_size;
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
        for piece in done.pages.into_inner()?.0 {
            sink.write_all(&piece)?;
        }
        ColumnChunkMetaData::builder(done.column)
            .set_compression(COMPRESSION)
            .set_encodings(encodings)
            .set_page_encoding_stats(done.page_stats)
            .set_num_values(i64::try_from(done.rows)?)
            .set_total_compressed_size(i64::try_from(compressed)?)
            .set_total_uncompressed_size(i64::try_from(done.uncompressed)?)
            .set_data_page_offset(data_offset)
            .set_dictionary_page_offset(dictionary_offset)
            .set_statistics(statistics)
            .build()
    }

    fn statistics(&mut self) -> Statistics {
        let nulls = Some(self.nulls);
        if self.dictionary.epoch.is_some() && !self.dictionary.given_up {
            self.bounds.widen(self.dictionary.texts());
        }
        let told = std::mem::take(&mut self.bounds);
        match (self.column.physical_type(), told) {
            (PhysicalType::BOOLEAN, _) => Statistics::boolean(None, None, None, nulls, false),
            (PhysicalType::INT64, Bounds::Numbers(least, greatest)) => {
                Statistics::int64(Some(least), Some(greatest), None, nulls, false)
            }
            (PhysicalType::INT64, _) => Statistics::int64(None, None, None, nulls, false),
            (_, Bounds::Texts(least, greatest)) if greatest.len().max(least.len()) <= MAX_BOUND => {
                Statistics::byte_array(
                    Some(least.into()),
                    Some(greatest.into()),
                    None,
                    nulls,
                    false,
                )
            }
            _ => Statistics::byte_array(None, None, None, nulls, false),
        }
    }
}

impl Bounds {
    fn widen<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        let mut ends = None;
        for text in texts {
            let (least, greatest) = ends.get_or_insert((text, text));
            if text < *least {
                *least = text;
            } else if text > *greatest {
                *greatest = text;
            }
        }
        let Some((least, greatest)) = ends else {
            return;
        };
        if let Self::Texts(known_least, known_greatest) = self {
            if least < known_least.as_slice() {
                *known_least = least.to_vec();
            }
            if greatest > known_greatest.as_slice() {
                *known_greatest = greatest.to_vec();
            }
        } else {
            *self = Self::Texts(least.to_vec(), greatest.to_vec());
        }
    }

    fn widen_numbers(&mut self, number: i64) {
        *self = match self {
            Self::Numbers(least, greatest) => {
                Self::Numbers(number.min(*least), number.max(*greatest))
            }
            _ => Self::Numbers(number, number),
        };
    }
}

/// A page of which compression would save less than one part in so many is stored as it is, which
/// is several times as fast to write and to read.
const LEAST_SAVING: usize = 4;

/// What is compressed to find that out.
const SAMPLE_BYTES: usize = 32 * 1024;

/// Compresses two parts that make up a page, of which only the second one may be large.
fn compress(head: &[u8], values: &[u8]) -> Result<Bytes, ParquetError> {
    let failed = |error: snap::Error| ParquetError::External(Box::new(error));
    let mut encoder = snap::raw::Encoder::new();
    if values.is_empty() {
        return encoder.compress_vec(head).map(Bytes::from).map_err(failed);
    }
    let mut is_worth_it = true;
    if values.len() > 4 * SAMPLE_BYTES {
        let middle = values.len() / 2;
        let sample = encoder
            .compress_vec(&values[middle..middle + SAMPLE_BYTES])
            .map_err(failed)?;
        is_worth_it = sample.len() <= SAMPLE_BYTES - SAMPLE_BYTES / LEAST_SAVING;
    }
    // A stream is the length and then pieces one after the other, so streams can be joined.
    let mut stream;
    if is_worth_it {
        let compressed = encoder.compress_vec(values).map_err(failed)?;
        let length = compressed.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        stream = Vec::with_capacity(head.len() + compressed.len() + 64);
        hybrid::push_varint(&mut stream, head.len() + values.len());
        push_literals(&mut stream, head);
        stream.extend_from_slice(&compressed[length..]);
    } else {
        stream = Vec::with_capacity(head.len() + values.len() + values.len() / 1024 + 64);
        hybrid::push_varint(&mut stream, head.len() + values.len());
        push_literals(&mut stream, head);
        push_literals(&mut stream, values);
    }
    Ok(Bytes::from(stream))
}

/// Puts bytes into a Snappy stream as they are, in pieces no longer than an encoder makes them.
///
/// <https://github.com/google/snappy/blob/main/format_description.txt>
fn push_literals(stream: &mut Vec<u8>, bytes: &[u8]) {
    const MAX_LITERAL: usize = 64 * 1024;
    /// A literal whose length less one is in the next two bytes.
    const LITERAL: u8 = 61 << 2;
    for literal in bytes.chunks(MAX_LITERAL) {
        let [low, high, ..] = (literal.len() - 1).to_le_bytes();
        stream.extend_from_slice(&[LITERAL, low, high]);
        stream.extend_from_slice(literal);
    }
}

/// What is written, in the pieces in which it comes, so that none is moved when there is more.
#[derive(Default)]
struct Pieces(Vec<Vec<u8>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn offset(place: u64) -> Result<i64, ParquetError> {
    Ok(i64::try_from(place)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_what_they_were_whether_compressed_or_stored() {
        let repeated = b"logs/2024/".repeat(30_000);
        // A generator of numbers that nothing compresses.
        let mut state = 1_u64;
        let random = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let random: Vec<u8> = random.take(300_000).collect();
        for (head, values, is_smaller) in [
            (&b""[..], &repeated[..], true),
            (b"levels", &repeated, true),
            (b"", &random, false),
            (&random, &random, false),
            (&repeated, b"", true),
            (b"levels", b"few", false),
            (b"", b"", false),
        ] {
            let page = [head, values].concat();
            let compressed = compress(head, values).unwrap();
            let read = snap::raw::Decoder::new()
                .decompress_vec(&compressed)
                .unwrap();
            assert!(read == page, "{} and {} bytes", head.len(), values.len());
            assert_eq!(compressed.len() < page.len() / 2, is_smaller);
            assert!(compressed.len() <= page.len() + page.len() / 1_000 + 20);
        }
    }
}
