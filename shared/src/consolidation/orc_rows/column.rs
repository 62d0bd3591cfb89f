//! Reads the values of one column in a stripe.
//!
//! <https://orc.apache.org/specification/ORCv1/#column-encodings>

use std::sync::Arc;

use bytes::Bytes;

use super::booleans::Booleans;
use super::integers::Integers;
use super::stream::{Stream, damaged};
use crate::consolidation::ConsolidationError;
use crate::consolidation::rows::{
    BATCH_ROWS, Coded, Flags, NULL, Numbers, Span, Texts, Values, count, spread,
};

/// The values of a column in a stripe, in order.
pub(super) struct ColumnReader {
    pub(super) presence: Presence,
    pub(super) encoded: Encoded,
}

/// The streams that values are made of.
pub(super) enum Encoded {
    /// Texts one after the other, or of a dictionary that they are to be copied from.
    Texts(TextReader),
    /// Texts by their numbers in a dictionary.
    Codes(CodeReader),
    /// Numbers.
    Numbers(Integers),
    /// Instants.
    Instants(InstantReader),
    /// Truths.
    Flags(Booleans),
}

impl ColumnReader {
    /// How many of the next rows, of which there are `rows`, fit into a batch; at least one.
    pub(super) fn rows_at_once(&mut self, rows: usize) -> Result<usize, ConsolidationError> {
        match &mut self.encoded {
            Encoded::Texts(texts) => texts.rows_at_once(&mut self.presence, rows),
            _ => Ok(rows),
        }
    }

    /// Reads the next rows, no more than fit into a batch.
    pub(super) fn read(
        &mut self,
        rows: usize,
        values: &mut Values,
    ) -> Result<(), ConsolidationError> {
        let presence = &mut self.presence;
        match &mut self.encoded {
            Encoded::Texts(reader) if reader.is_diverse => reader.read(rows, values.texts()),
            Encoded::Texts(reader) => reader.read_coded(rows, values.coded()),
            Encoded::Codes(reader) => reader.read(presence, rows, values.coded()),
            Encoded::Numbers(reader) => {
                let numbers = values.numbers();
                numbers.clear();
                let count = presence.take(rows)?;
                reader.read(count, &mut numbers.values)?;
                presence.complete(numbers);
                Ok(())
            }
            Encoded::Instants(reader) => {
                let numbers = values.numbers();
                numbers.clear();
                let count = presence.take(rows)?;
                reader.read(count, &mut numbers.values)?;
                presence.complete(numbers);
                Ok(())
            }
            Encoded::Flags(reader) => {
                let flags = values.flags();
                flags.values.clear();
                let count = presence.take(rows)?;
                let truths = &mut presence.truths;
                truths.clear();
                reader.read(count, truths)?;
                flags
                    .values
                    .extend(truths.iter().map(|truth| u8::from(*truth)));
                presence.spread(&mut flags.values, Flags::NULL);
                Ok(())
            }
        }
    }

    /// Checks that no stream has anything left after the last row of the stripe.
    pub(super) fn finish(&mut self) -> Result<(), ConsolidationError> {
        let is_at_end = match &mut self.encoded {
            Encoded::Texts(TextReader { origin, .. }) => match origin {
                TextOrigin::Direct(lengths, texts) => lengths.is_at_end()? && texts.is_at_end()?,
                TextOrigin::Dictionary(codes, _) => codes.is_at_end()?,
            },
            Encoded::Codes(reader) => reader.codes.is_at_end()?,
            Encoded::Numbers(numbers) => numbers.is_at_end()?,
            Encoded::Instants(InstantReader {
                seconds,
                nanoseconds,
                ..
            }) => seconds.is_at_end()? && nanoseconds.is_at_end()?,
            Encoded::Flags(flags) => flags.is_at_end()?,
        };
        let are_levels_at_end = match &mut self.presence.levels {
            Some(levels) => levels.is_at_end()?,
            None => true,
        };
        if is_at_end && are_levels_at_end {
            return Ok(());
        }
        Err(self.presence.wrong("it has more values than rows"))
    }
}

/// Which rows have a value.
pub(super) struct Presence {
    name: Arc<str>,
    /// Absent if all rows have one.
    levels: Option<Booleans>,
    /// For each row of the last read whether it has one; empty if all have.
    defined: Vec<bool>,
    /// Truths of the last read.
    truths: Vec<bool>,
}

impl Presence {
    /// For the column of that name.
    pub(super) fn new(name: Arc<str>, levels: Option<Booleans>) -> Self {
        Self {
            name,
            levels,
            defined: Vec::new(),
            truths: Vec::new(),
        }
    }

    /// Goes on by rows, and says how many of them have a value.
    fn take(&mut self, rows: usize) -> Result<usize, ConsolidationError> {
        self.defined.clear();
        let Some(levels) = &mut self.levels else {
            return Ok(rows);
        };
        levels.read(rows, &mut self.defined)?;
        let count = count(self.defined.iter().copied());
        if count == rows {
            self.defined.clear();
        }
        Ok(count)
    }

    /// Puts values where their rows are.
    fn spread<T: Copy>(&self, values: &mut Vec<T>, null: T) {
        if !self.defined.is_empty() {
            spread(values, 0, self.defined.iter().copied(), null);
        }
    }

    fn complete(&self, numbers: &mut Numbers) {
        self.spread(&mut numbers.values, 0);
        numbers.valid.extend_from_slice(&self.defined);
    }

    fn wrong(&self, what: &str) -> ConsolidationError {
        damaged(&self.name, what)
    }
}

/// Texts, whose lengths are looked at before they are read.
pub(super) struct TextReader {
    origin: TextOrigin,
    is_diverse: bool,
    /// The texts of rows ahead, the next one at `next`. Where there is no dictionary only their
    /// lengths count.
    ahead: Vec<Span>,
    bytes_ahead: usize,
    next: usize,
    integers: Vec<i64>,
}

/// Where texts come from.
pub(super) enum TextOrigin {
    /// The lengths, and the texts.
    Direct(Integers, Stream),
    /// Numbers of texts in a dictionary.
    Dictionary(Integers, StripeDictionary),
}

/// The texts of a batch in one column take no more bytes together, unless a single one does.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A longer text is a sign of damage. The longest that S3 writes are lists of a hundred grants, of
/// some hundred bytes each.
const MAX_TEXT: usize = 16 * 1024 * 1024;

const NO_SUCH_CODE: &str = "a code is not in its dictionary";

impl TextReader {
    pub(super) fn new(origin: TextOrigin, is_diverse: bool) -> Self {
        Self {
            origin,
            is_diverse,
            ahead: Vec::new(),
            bytes_ahead: 0,
            next: 0,
            integers: Vec::new(),
        }
    }

    fn rows_at_once(
        &mut self,
        presence: &mut Presence,
        rows: usize,
    ) -> Result<usize, ConsolidationError> {
        if self.next == self.ahead.len() {
            self.look_ahead(presence, rows.min(BATCH_ROWS))?;
        }
        if self.bytes_ahead <= BATCH_BYTES {
            return Ok((self.ahead.len() - self.next).clamp(1, rows));
        }
        let mut bytes = 0;
        let mut fits = 0;
        for span in &self.ahead[self.next..] {
            bytes += span.length();
            if bytes > BATCH_BYTES {
                break;
            }
            fits += 1;
        }
        Ok(fits.clamp(1, rows))
    }

    fn look_ahead(
        &mut self,
        presence: &mut Presence,
        rows: usize,
    ) -> Result<(), ConsolidationError> {
        let count = presence.take(rows)?;
        self.ahead.clear();
        self.bytes_ahead = 0;
        self.next = 0;
        self.integers.clear();
        match &mut self.origin {
            TextOrigin::Direct(lengths, _) => {
                lengths.read(count, &mut self.integers)?;
                self.ahead.reserve(self.integers.len());
                for length in &self.integers {
                    let length = text_length(*length, presence)?;
                    self.bytes_ahead += length;
                    self.ahead.push(Span::new(0, length));
                }
            }
            TextOrigin::Dictionary(codes, dictionary) => {
                codes.read(count, &mut self.integers)?;
                for code in &self.integers {
                    let place = usize::try_from(*code).ok();
                    let span = place.and_then(|place| dictionary.spans.get(place));
                    let span = span.ok_or_else(|| presence.wrong(NO_SUCH_CODE))?;
                    self.bytes_ahead += span.length();
                    self.ahead.push(*span);
                }
            }
        }
        presence.spread(&mut self.ahead, Span::NULL);
        Ok(())
    }

    fn read(&mut self, rows: usize, texts: &mut Texts) -> Result<(), ConsolidationError> {
        let spans = &self.ahead[self.next..self.next + rows];
        self.next += rows;
        let mut length = 0;
        texts.spans.clear();
        texts.spans.extend(spans.iter().map(|span| {
            if span.is_null() {
                return Span::NULL;
            }
            let start = length;
            length += span.length();
            Span::new(start, span.length())
        }));
        match &mut self.origin {
            TextOrigin::Direct(_, stream) => {
                stream.fill(length)?;
                if stream.bytes().len() < length {
                    return Err(stream.wrong("its texts end too early"));
                }
                texts.buffer = stream.split(length);
            }
            TextOrigin::Dictionary(_, dictionary) => {
                // Texts that stand one after the other are looked through faster.
                let mut buffer = Vec::with_capacity(length);
                for span in spans {
                    buffer.extend_from_slice(span.of(&dictionary.texts));
                }
                texts.buffer = Bytes::from(buffer);
            }
        }
        Ok(())
    }

    fn read_coded(&mut self, rows: usize, coded: &mut Coded) -> Result<(), ConsolidationError> {
        let spans = &self.ahead[self.next..self.next + rows];
        self.next += rows;
        coded.clear();
        for span in spans {
            if span.is_null() {
                coded.push(None);
                continue;
            }
            match &mut self.origin {
                TextOrigin::Direct(_, stream) => {
                    let length = span.length();
                    stream.fill(length)?;
                    let text = stream.bytes().get(..length);
                    let text = text.ok_or_else(|| stream.wrong("its texts end too early"))?;
                    coded.push(Some(text));
                    stream.advance(length);
                }
                TextOrigin::Dictionary(_, dictionary) => {
                    coded.push(Some(span.of(&dictionary.texts)));
                }
            }
        }
        Ok(())
    }
}

fn text_length(length: i64, presence: &Presence) -> Result<usize, ConsolidationError> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_TEXT);
    length.ok_or_else(|| presence.wrong("a text is too long"))
}

/// The texts of a column in a stripe, of which rows have the numbers.
pub(super) struct StripeDictionary {
    texts: Bytes,
    spans: Vec<Span>,
}

impl StripeDictionary {
    /// Reads `size` texts. They have to fit into `budget`, from which the bytes that they take in
    /// memory are deducted.
    pub(super) fn read(
        presence: &Presence,
        size: usize,
        mut lengths: Integers,
        mut stream: Stream,
        budget: &mut usize,
    ) -> Result<Self, ConsolidationError> {
        let too_large = || presence.wrong("its dictionary is too large");
        // Each text has a span here, and a code in what reads it.
        let places = size.saturating_mul(size_of::<Span>() + size_of::<u32>());
        *budget = budget.checked_sub(places).ok_or_else(too_large)?;
        let mut spans = Vec::with_capacity(size);
        let mut some = Vec::new();
        let mut end = 0;
        while spans.len() < size {
            some.clear();
            lengths.read(BATCH_ROWS.min(size - spans.len()), &mut some)?;
            for length in &some {
                let length = text_length(*length, presence)?;
                spans.push(Span::new(end, length));
                end += length;
                *budget = budget.checked_sub(length).ok_or_else(too_large)?;
            }
        }
        stream.fill(end)?;
        if stream.bytes().len() < end {
            return Err(stream.wrong("its dictionary ends too early"));
        }
        Ok(Self {
            texts: stream.split(end),
            spans,
        })
    }
}

/// Numbers of texts in a dictionary.
pub(super) struct CodeReader {
    codes: Integers,
    dictionary: StripeDictionary,
    /// The code of each text of the stripe in the dictionary of the column, as far as it is known.
    known: Vec<u32>,
    epoch: u32,
    integers: Vec<i64>,
}

impl CodeReader {
    pub(super) fn new(codes: Integers, dictionary: StripeDictionary) -> Self {
        Self {
            known: vec![NULL; dictionary.spans.len()],
            codes,
            dictionary,
            epoch: 0,
            integers: Vec::new(),
        }
    }

    fn read(
        &mut self,
        presence: &mut Presence,
        rows: usize,
        coded: &mut Coded,
    ) -> Result<(), ConsolidationError> {
        coded.clear();
        let Self {
            codes,
            dictionary,
            known,
            epoch,
            integers,
        } = self;
        if *epoch != coded.dictionary.epoch() {
            *epoch = coded.dictionary.epoch();
            known.fill(NULL);
        }
        let count = presence.take(rows)?;
        integers.clear();
        codes.read(count, integers)?;
        let mut last = None;
        for code in integers.iter() {
            // Neighbours are mostly alike.
            let known = match last {
                Some((before, known)) if before == *code => known,
                _ => {
                    let place = usize::try_from(*code)
                        .ok()
                        .filter(|place| *place < known.len());
                    let place = place.ok_or_else(|| presence.wrong(NO_SUCH_CODE))?;
                    if known[place] == NULL {
                        let text = dictionary.spans[place].of(&dictionary.texts);
                        known[place] = coded.dictionary.intern(text);
                    }
                    last = Some((*code, known[place]));
                    known[place]
                }
            };
            coded.codes.push(known);
        }
        presence.spread(&mut coded.codes, NULL);
        Ok(())
    }
}

/// Instants, as seconds and the nanoseconds within.
pub(super) struct InstantReader {
    name: Arc<str>,
    seconds: Integers,
    nanoseconds: Integers,
    integers: Vec<i64>,
}

/// Seconds are counted from here: 2015-01-01T00:00:00Z.
const BASE: i64 = 1_420_070_400;

impl InstantReader {
    pub(super) fn new(name: Arc<str>, seconds: Integers, nanoseconds: Integers) -> Self {
        Self {
            name,
            seconds,
            nanoseconds,
            integers: Vec::new(),
        }
    }

    /// Appends the next instants in epoch milliseconds.
    fn read(&mut self, count: usize, out: &mut Vec<i64>) -> Result<(), ConsolidationError> {
        let start = out.len();
        self.seconds.read(count, out)?;
        self.integers.clear();
        self.nanoseconds.read(count, &mut self.integers)?;
        let outside = || damaged(&self.name, "an instant is not within time");
        let seconds = &mut out[start..];
        // S3 tells whole seconds.
        if self.integers.iter().all(|nanosecond| *nanosecond == 0) {
            for second in seconds {
                *second = milliseconds(*second, 0).ok_or_else(outside)?;
            }
            return Ok(());
        }
        for (second, nanosecond) in seconds.iter_mut().zip(&self.integers) {
            *second = milliseconds(*second, *nanosecond).ok_or_else(outside)?;
        }
        Ok(())
    }
}

/// Epoch milliseconds; `None` if there are no such.
#[inline]
fn milliseconds(second: i64, nanosecond: i64) -> Option<i64> {
    /// What numbers are to be multiplied by, from which 0, or 2 to 8 decimal zeros were taken.
    const ZEROS: [i64; 8] = [
        1,
        100,
        1_000,
        10_000,
        100_000,
        1_000_000,
        10_000_000,
        100_000_000,
    ];
    let zeros = ZEROS[usize::try_from(nanosecond & 7).unwrap_or_default()];
    let milliseconds = (nanosecond >> 3).checked_mul(zeros)? / 1_000_000;
    if milliseconds.abs() >= 1_000 {
        return None;
    }
    let second = second.checked_add(BASE)?;
    // Writers round seconds before 1970 towards it. Most then count nanoseconds forward all the
    // same; the one behind pyarrow counts them back.
    let second = second - i64::from(second < 0 && milliseconds > 0);
    second.checked_mul(1_000)?.checked_add(milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_those_of_the_specification() {
        // Nanoseconds with zeros taken off: the number of zeros less one is in the lowest 3 bits.
        for (second, nanosecond, expected) in [
            (0, 0, Some(1_420_070_400_000)),
            (1, 1_000_000 << 3, Some(1_420_070_401_001)),
            (0, (1 << 3) | 5, Some(1_420_070_400_001)),
            (0, (123 << 3) | 5, Some(1_420_070_400_123)),
            (0, (5 << 3) | 7, Some(1_420_070_400_500)),
            (0, 999 << 3, Some(1_420_070_400_000)),
            // 1969-12-31T23:59:58.999Z
            (-BASE - 1, (999 << 3) | 5, Some(-1_001)),
            (-BASE - 1, (-1 << 3) | 5, Some(-1_001)),
            (-BASE - 1, 0, Some(-1_000)),
            (0, i64::MAX, None),
            (0, (1_000 << 3) | 5, None),
            (i64::MAX, 0, None),
            (i64::MIN, 0, None),
        ] {
            assert_eq!(
                milliseconds(second, nanosecond),
                expected,
                "{second} {nanosecond}"
            );
        }
    }
}
