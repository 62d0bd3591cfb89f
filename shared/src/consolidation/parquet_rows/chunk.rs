//! Reads the values of one column chunk, as S3 and most writers encode them: plain or with a
//! dictionary. Everything else goes through the library's own readers, see [`super::unusual`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;

use super::Meaning;
use super::pages::{Levels, Page, Pages};
use super::unusual::UnusualChunk;
use super::window::Window;
use crate::consolidation::ConsolidationError;
use crate::consolidation::files::ReadAt;
use crate::consolidation::hybrid::{self, Piece};
use crate::consolidation::rows::{
    Coded, Dictionary, Flags, NULL, Numbers, Span, Texts, Values, spread,
};
use crate::snapshot_schema::AthenaType;

/// Where a chunk is cut to be fetched: the part of the chunk that goes before, and the range.
pub(super) fn windows(
    start: u64,
    length: u64,
    window: u64,
) -> impl Iterator<Item = (f64, Range<u64>)> {
    let window = window.max(1);
    (0..length.div_ceil(window)).map(move |number| {
        let from = number * window;
        #[expect(clippy::cast_precision_loss, reason = "it is for sorting")]
        let before = from as f64 / length as f64;
        (before, start + from..start + length.min(from + window))
    })
}

/// The values of one column chunk, in order.
pub(super) enum ChunkReader {
    Usual(Box<UsualChunk>),
    Unusual(Box<UnusualChunk>),
}

impl ChunkReader {
    pub(super) fn new(
        source: Arc<dyn ReadAt>,
        chunk: &ColumnChunkMetaData,
        meaning: Meaning,
        athena_type: AthenaType,
        is_diverse: bool,
    ) -> Result<Self, ConsolidationError> {
        let window = Window::new(source, chunk.byte_range());
        if meaning != Meaning::Same || !chunk.encodings().all(is_usual) {
            let chunk = UnusualChunk::new(window, chunk, meaning, athena_type, is_diverse)?;
            return Ok(Self::Unusual(Box::new(chunk)));
        }
        let pages = Pages::new(&window, chunk);
        let column = Column {
            name: chunk.column_descr().name().to_owned(),
            window,
        };
        let pages = pages.map_err(|error| column.damaged(&error))?;
        Ok(Self::Usual(Box::new(UsualChunk {
            column,
            pages,
            athena_type,
            is_diverse,
            is_optional: chunk.column_descr().max_def_level() > 0,
            dictionary: PageDictionary::default(),
            left: 0,
            levels: None,
            encoded: Encoded::Plain(Bytes::new(), 0),
            defined: Vec::new(),
            codes: Vec::new(),
        })))
    }

    /// How many rows can be read into one buffer; at least one before the end.
    pub(super) fn rows_at_once(&mut self) -> Result<usize, ConsolidationError> {
        match self {
            Self::Usual(chunk) => chunk.rows_at_once(),
            Self::Unusual(_) => Ok(usize::MAX),
        }
    }

    /// Reads the next rows, which have to be there.
    pub(super) fn read(
        &mut self,
        rows: usize,
        values: &mut Values,
    ) -> Result<(), ConsolidationError> {
        match self {
            Self::Usual(chunk) => chunk.read(rows, values),
            Self::Unusual(chunk) => chunk.read(rows, values),
        }
    }
}

/// Whether values in this encoding are decoded here.
#[expect(
    deprecated,
    reason = "old writers name it for levels that flat columns do not have"
)]
fn is_usual(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::PLAIN
            | Encoding::RLE
            | Encoding::BIT_PACKED
            | Encoding::PLAIN_DICTIONARY
            | Encoding::RLE_DICTIONARY
    )
}

/// Whose values are read, for errors.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) window: Window,
}

impl Column {
    /// The error of the library, or the one of the source behind it.
    pub(super) fn damaged(&self, error: &ParquetError) -> ConsolidationError {
        match self.window.take_trouble() {
            Some(trouble) => ConsolidationError::Fetch(trouble),
            None => self.wrong(&error.to_string()),
        }
    }

    pub(super) fn wrong(&self, what: &str) -> ConsolidationError {
        let message = format!("the column {:?}: {what}", self.name);
        ConsolidationError::Read(ParquetError::General(message).into())
    }
}

pub(super) struct UsualChunk {
    column: Column,
    pages: Pages,
    athena_type: AthenaType,
    is_diverse: bool,
    is_optional: bool,
    dictionary: PageDictionary,
    /// Rows of the page that are still to be read.
    left: usize,
    levels: Option<hybrid::Decoder>,
    encoded: Encoded,
    /// For each row of the last read whether it has a value; empty if all have.
    defined: Vec<u32>,
    codes: Vec<u32>,
}

/// The values of a page.
enum Encoded {
    /// One after the other, from a place on.
    Plain(Bytes, usize),
    /// Numbers of the dictionary's values.
    Codes(hybrid::Decoder),
    /// Truths, from a bit on.
    Bits(Bytes, usize),
    /// Truths in runs.
    Runs(hybrid::Decoder),
}

/// The dictionary page of the chunk.
#[derive(Default)]
struct PageDictionary {
    texts: Bytes,
    spans: Vec<Span>,
    numbers: Vec<i64>,
    /// The code of each text in the dictionary of the column, as far as it is known.
    codes: Vec<u32>,
    epoch: u32,
}

impl PageDictionary {
    /// The code in the dictionary of the column of one in that of the page; `None` if there is none.
    #[inline]
    fn code(&mut self, code: u32, column: &mut Dictionary) -> Option<u32> {
        let place = code as usize;
        let known = self.codes.get_mut(place)?;
        if *known == NULL {
            *known = column.intern(self.spans[place].of(&self.texts));
        }
        Some(*known)
    }
}

const SHORT: &str = "a page ends too early";

impl UsualChunk {
    fn rows_at_once(&mut self) -> Result<usize, ConsolidationError> {
        while self.left == 0 {
            self.next_page()?;
        }
        Ok(self.left)
    }

    fn read(&mut self, rows: usize, values: &mut Values) -> Result<(), ConsolidationError> {
        match self.athena_type {
            AthenaType::String if self.is_diverse => {
                // They stay in the buffer of their page, so they are of one page.
                if self.rows_at_once()? < rows {
                    return Err(self.column.wrong(SHORT));
                }
                self.read_texts(rows, values.texts())
            }
            AthenaType::String => {
                let coded = values.coded();
                coded.clear();
                self.by_page(rows, |chunk, rows| chunk.read_codes(rows, coded))
            }
            AthenaType::Boolean => {
                let flags = values.flags();
                flags.values.clear();
                self.by_page(rows, |chunk, rows| chunk.read_flags(rows, flags))
            }
            AthenaType::Bigint | AthenaType::Timestamp => {
                let numbers = values.numbers();
                numbers.clear();
                self.by_page(rows, |chunk, rows| chunk.read_numbers(rows, numbers))
            }
        }
    }

    fn by_page(
        &mut self,
        rows: usize,
        mut read: impl FnMut(&mut Self, usize) -> Result<(), ConsolidationError>,
    ) -> Result<(), ConsolidationError> {
        let mut wanted = rows;
        while wanted > 0 {
            let rows = wanted.min(self.rows_at_once()?);
            read(self, rows)?;
            wanted -= rows;
        }
        Ok(())
    }

    fn next_page(&mut self) -> Result<(), ConsolidationError> {
        let page = self.pages.next();
        let page = page.map_err(|error| self.column.damaged(&error))?;
        match page {
            None => Err(self.column.wrong("it has fewer values than rows")),
            Some(Page::Dictionary { values, count }) => self.open_dictionary(values, count),
            Some(Page::Data {
                levels,
                mut values,
                count,
                encoding,
            }) => {
                self.levels = None;
                if self.is_optional {
                    let levels = match levels {
                        Levels::Apart(levels) => levels,
                        Levels::Before(Encoding::RLE) => self.take_prefixed(&mut values)?,
                        Levels::Before(encoding) => {
                            let what = format!("levels in {encoding} are not supported");
                            return Err(self.column.wrong(&what));
                        }
                    };
                    self.levels = hybrid::Decoder::new(levels, 1);
                }
                self.open_values(values, count, encoding)
            }
        }
    }

    /// Takes bytes off that are preceded by their number.
    fn take_prefixed(&self, bytes: &mut Bytes) -> Result<Bytes, ConsolidationError> {
        let length = bytes
            .first_chunk()
            .map(|length| u32::from_le_bytes(*length) as usize);
        match length {
            Some(length) if length <= bytes.len() - 4 => {
                let taken = bytes.slice(4..4 + length);
                *bytes = bytes.slice(4 + length..);
                Ok(taken)
            }
            _ => Err(self.column.wrong(SHORT)),
        }
    }

    fn open_values(
        &mut self,
        mut bytes: Bytes,
        rows: usize,
        encoding: Encoding,
    ) -> Result<(), ConsolidationError> {
        self.left = rows;
        self.encoded = match encoding {
            Encoding::PLAIN if self.athena_type == AthenaType::Boolean => Encoded::Bits(bytes, 0),
            Encoding::PLAIN => Encoded::Plain(bytes, 0),
            Encoding::RLE if self.athena_type == AthenaType::Boolean => {
                let runs = self.take_prefixed(&mut bytes)?;
                let decoder = hybrid::Decoder::new(runs, 1);
                Encoded::Runs(decoder.ok_or_else(|| self.column.wrong(SHORT))?)
            }
            Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY => {
                // A page without any value may have no width.
                let width = bytes.first().copied().unwrap_or_default();
                let codes = bytes.slice(bytes.len().min(1)..);
                let decoder = hybrid::Decoder::new(codes, u32::from(width));
                let too_wide = || self.column.wrong("codes of a dictionary are too wide");
                Encoded::Codes(decoder.ok_or_else(too_wide)?)
            }
            other => {
                let what = format!("a page is in {other}, which the footer does not say");
                return Err(self.column.wrong(&what));
            }
        };
        Ok(())
    }

    fn open_dictionary(&mut self, page: Bytes, count: usize) -> Result<(), ConsolidationError> {
        let dictionary = &mut self.dictionary;
        *dictionary = PageDictionary::default();
        if self.athena_type == AthenaType::String {
            let end = read_spans(&page, 0, count, &mut dictionary.spans);
            end.ok_or_else(|| self.column.wrong("its dictionary ends too early"))?;
            dictionary.codes.resize(count, NULL);
            dictionary.texts = page;
        } else {
            let numbers = page.chunks_exact(8).take(count).map(number);
            dictionary.numbers.extend(numbers);
            if dictionary.numbers.len() < count {
                return Err(self.column.wrong("its dictionary ends too early"));
            }
        }
        Ok(())
    }

    /// Goes on by rows of the page: puts into `defined` which have values, and says how many.
    fn take_levels(&mut self, rows: usize) -> Result<usize, ConsolidationError> {
        self.left -= rows;
        self.defined.clear();
        let Some(levels) = &mut self.levels else {
            return Ok(rows);
        };
        // Mostly all rows have one, or none.
        let mut known = 0;
        while known < rows {
            let piece = levels.read_piece(rows - known, &mut self.defined);
            known += match piece.ok_or_else(|| self.column.wrong(SHORT))? {
                Piece::Repeated(1, count) if count == rows => return Ok(rows),
                Piece::Repeated(value, count) => {
                    self.defined.resize(known + count, u32::from(value == 1));
                    count
                }
                Piece::Appended(count) => count,
            };
        }
        Ok(self.defined.iter().sum::<u32>() as usize)
    }

    fn take_codes(&mut self, count: usize) -> Result<(), ConsolidationError> {
        self.codes.clear();
        let (Encoded::Codes(decoder) | Encoded::Runs(decoder)) = &mut self.encoded else {
            return Err(self.column.wrong(SHORT));
        };
        let read = decoder.read(count, &mut self.codes);
        read.ok_or_else(|| self.column.wrong(SHORT))
    }

    fn read_texts(&mut self, rows: usize, texts: &mut Texts) -> Result<(), ConsolidationError> {
        let count = self.take_levels(rows)?;
        texts.spans.clear();
        if let Encoded::Plain(bytes, position) = &mut self.encoded {
            let end = read_spans(bytes, *position, count, &mut texts.spans);
            *position = end.ok_or_else(|| self.column.wrong(SHORT))?;
            texts.buffer = bytes.clone();
        } else {
            self.take_codes(count)?;
            let Self {
                dictionary, codes, ..
            } = self;
            let spans = codes
                .iter()
                .map_while(|code| dictionary.spans.get(*code as usize));
            texts.spans.extend(spans);
            if texts.spans.len() < count {
                return Err(self.column.wrong(NO_SUCH_CODE));
            }
            texts.buffer = dictionary.texts.clone();
        }
        self.spread(&mut texts.spans, 0, Span::NULL);
        Ok(())
    }

    fn read_codes(&mut self, rows: usize, coded: &mut Coded) -> Result<(), ConsolidationError> {
        let before = coded.codes.len();
        let count = self.take_levels(rows)?;
        if let Encoded::Plain(bytes, position) = &mut self.encoded {
            let mut spans = Vec::with_capacity(count);
            let end = read_spans(bytes, *position, count, &mut spans);
            *position = end.ok_or_else(|| self.column.wrong(SHORT))?;
            for span in spans {
                coded.push(Some(span.of(bytes)));
            }
        } else {
            self.read_coded(count, coded)?;
        }
        self.spread(&mut coded.codes, before, NULL);
        Ok(())
    }

    fn read_coded(&mut self, count: usize, coded: &mut Coded) -> Result<(), ConsolidationError> {
        let Self {
            column,
            dictionary,
            codes,
            encoded,
            ..
        } = self;
        let Encoded::Codes(decoder) = encoded else {
            return Err(column.wrong(SHORT));
        };
        if dictionary.epoch != coded.dictionary.epoch() {
            dictionary.epoch = coded.dictionary.epoch();
            dictionary.codes.fill(NULL);
        }
        let mut left = count;
        while left > 0 {
            codes.clear();
            let piece = decoder.read_piece(left, codes);
            left -= match piece.ok_or_else(|| column.wrong(SHORT))? {
                Piece::Repeated(code, times) => {
                    let own = dictionary.code(code, &mut coded.dictionary);
                    let own = own.ok_or_else(|| column.wrong(NO_SUCH_CODE))?;
                    coded.codes.extend(std::iter::repeat_n(own, times));
                    times
                }
                Piece::Appended(times) => {
                    let before = coded.codes.len();
                    coded.codes.resize(before + times, NULL);
                    for (own, code) in coded.codes[before..].iter_mut().zip(&*codes) {
                        let known = dictionary.code(*code, &mut coded.dictionary);
                        *own = known.ok_or_else(|| column.wrong(NO_SUCH_CODE))?;
                    }
                    times
                }
            };
        }
        Ok(())
    }

    fn read_numbers(
        &mut self,
        rows: usize,
        numbers: &mut Numbers,
    ) -> Result<(), ConsolidationError> {
        let before = numbers.values.len();
        let count = self.take_levels(rows)?;
        if let Encoded::Plain(bytes, position) = &mut self.encoded {
            let end = count
                .checked_mul(8)
                .and_then(|length| position.checked_add(length));
            let plain = end.and_then(|end| bytes.get(*position..end));
            let plain = plain.ok_or_else(|| self.column.wrong(SHORT))?;
            numbers.values.extend(plain.chunks_exact(8).map(number));
            *position += plain.len();
        } else {
            self.take_codes(count)?;
            let Self {
                dictionary, codes, ..
            } = self;
            let values = codes
                .iter()
                .map_while(|code| dictionary.numbers.get(*code as usize));
            numbers.values.extend(values);
            if numbers.values.len() < before + count {
                return Err(self.column.wrong(NO_SUCH_CODE));
            }
        }
        if count < rows && numbers.valid.is_empty() {
            numbers.valid.resize(before, true);
        }
        if count < rows || !numbers.valid.is_empty() {
            if self.defined.is_empty() {
                numbers.valid.resize(before + rows, true);
            } else {
                numbers
                    .valid
                    .extend(self.defined.iter().map(|level| *level == 1));
            }
        }
        self.spread(&mut numbers.values, before, 0);
        Ok(())
    }

    fn read_flags(&mut self, rows: usize, flags: &mut Flags) -> Result<(), ConsolidationError> {
        let before = flags.values.len();
        let count = self.take_levels(rows)?;
        if let Encoded::Bits(bytes, position) = &mut self.encoded {
            if position.saturating_add(count) > bytes.len().saturating_mul(8) {
                return Err(self.column.wrong(SHORT));
            }
            read_bits(bytes, *position, count, &mut flags.values);
            *position += count;
        } else {
            self.take_codes(count)?;
            flags
                .values
                .extend(self.codes.iter().map(|code| u8::from(*code != 0)));
        }
        self.spread(&mut flags.values, before, Flags::NULL);
        Ok(())
    }

    /// Puts the values that were read, from a place on, where their rows are.
    fn spread<T: Copy>(&self, values: &mut Vec<T>, start: usize, null: T) {
        if !self.defined.is_empty() {
            spread(
                values,
                start,
                self.defined.iter().map(|level| *level == 1),
                null,
            );
        }
    }
}

/// Appends bits, which have to be there.
fn read_bits(bytes: &[u8], from: usize, count: usize, out: &mut Vec<u8>) {
    let bit = |bit: usize| (bytes[bit / 8] >> (bit % 8)) & 1;
    let to = from + count;
    let whole = from.next_multiple_of(8).min(to);
    out.extend((from..whole).map(bit));
    let whole_bytes = bytes[whole / 8..].iter().take((to - whole) / 8);
    out.extend(whole_bytes.flat_map(|byte| -> [u8; 8] {
        // Each bit goes into the lowest one of a byte.
        std::array::from_fn(|bit| (byte >> bit) & 1)
    }));
    out.extend((to - (to - whole) % 8..to).map(bit));
}

const NO_SUCH_CODE: &str = "a code is not in its dictionary";

fn number(eight: &[u8]) -> i64 {
    i64::from_le_bytes(eight.try_into().unwrap_or_default())
}

/// Finds plain texts, each preceded by its length; gives where they end. `None` if there are not
/// as many.
fn read_spans(bytes: &[u8], start: usize, count: usize, spans: &mut Vec<Span>) -> Option<usize> {
    // A text takes 4 bytes at least, whatever the page says of their number.
    if count > bytes.len().saturating_sub(start) / 4 {
        return None;
    }
    spans.reserve(count);
    let mut position = start;
    for _ in 0..count {
        let length = bytes.get(position..)?.first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        position += 4;
        let end = position
            .checked_add(length)
            .filter(|end| *end <= bytes.len())?;
        spans.push(Span::new(position, length));
        position = end;
    }
    Some(position)
}
