//! The values of a page, until it ends.

use parquet::basic::Encoding;

use super::delta;
use crate::consolidation::hybrid;
use crate::consolidation::rows::Span;

/// A page ends at this many bytes or rows before compression, whatever comes first.
const PAGE_BYTES: usize = 1024 * 1024;
const PAGE_ROWS: usize = 128 * 1024;

/// Values that are not in a page yet. All that have one are of the same kind.
#[derive(Default)]
pub(super) struct OpenPage {
    pub(super) rows: usize,
    /// For each row whether it has a value, as 1 or 0. Empty as long as that is `alike` for all.
    defined: Vec<u32>,
    alike: u32,
    pub(super) texts: OpenTexts,
    pub(super) numbers: Vec<i64>,
    /// Codes of the chunk's dictionary.
    pub(super) codes: Vec<u32>,
    /// Truths as 0 or 1, which are packed when the page ends.
    pub(super) flags: Vec<u8>,
    /// Numbers as they are written.
    packed: Vec<u8>,
}

/// A page as it is written, but for compression.
pub(super) struct Encoded<'a> {
    pub(super) encoding: Encoding,
    /// Whether rows have values, and all values that are small: codes, truths, and lengths of texts.
    pub(super) head: Vec<u8>,
    /// All others, which come behind.
    pub(super) values: &'a [u8],
}

impl OpenPage {
    /// Adds whether rows have values: so many have none, and `valid` tells which.
    pub(super) fn define(&mut self, rows: usize, nulls: usize, valid: impl Iterator<Item = bool>) {
        let alike = match nulls {
            0 => Some(1),
            nulls if nulls == rows => Some(0),
            _ => None,
        };
        let are_all = |level| self.defined.is_empty() && (self.rows == 0 || self.alike == level);
        match alike {
            Some(level) if are_all(level) => self.alike = level,
            _ => {
                self.defined.resize(self.rows, self.alike);
                match alike {
                    Some(level) => self.defined.resize(self.rows + rows, level),
                    None => self.defined.extend(valid.map(u32::from)),
                }
            }
        }
        self.rows += rows;
    }

    pub(super) fn is_full(&self) -> bool {
        let bytes = self.texts.bytes.len() + size_of_val(self.numbers.as_slice());
        bytes >= PAGE_BYTES || self.rows >= PAGE_ROWS
    }

    /// What it takes in memory.
    pub(super) fn held_bytes(&self) -> usize {
        let texts = &self.texts;
        let small = [&self.codes, &texts.lengths, &texts.shared];
        let small = small.into_iter().map(|numbers| size_of_val(&**numbers));
        texts.bytes.len()
            + size_of_val(self.numbers.as_slice())
            + small.sum::<usize>()
            + self.flags.len()
    }

    /// Encodes the page, with codes of a width.
    pub(super) fn encode(&mut self, is_nullable: bool, code_width: u32) -> Encoded<'_> {
        let mut head = Vec::with_capacity(self.rows / 2 + 64);
        if is_nullable {
            const LENGTH_BYTES: usize = size_of::<u32>();
            head.extend_from_slice(&[0; LENGTH_BYTES]);
            if self.defined.is_empty() {
                hybrid::encode_run(self.alike, self.rows, 1, &mut head);
            } else {
                hybrid::encode(&self.defined, 1, &mut head);
            }
            let length = u32::try_from(head.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
            head[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        }
        let mut values: &[u8] = &[];
        let mut encoding = Encoding::PLAIN;
        if !self.codes.is_empty() {
            encoding = Encoding::RLE_DICTIONARY;
            head.push(code_width.to_le_bytes()[0]);
            hybrid::encode(&self.codes, code_width, &mut head);
        } else if !self.texts.lengths.is_empty() {
            (encoding, values) = self.texts.encode(&mut head);
        } else if !self.numbers.is_empty() {
            encoding = Encoding::DELTA_BINARY_PACKED;
            self.packed.clear();
            delta::encode(&self.numbers, &mut self.packed);
            values = &self.packed;
        }
        let (eights, rest) = self.flags.as_chunks();
        head.extend(eights.iter().map(|eight| pack(*eight)));
        if !rest.is_empty() {
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            head.push(pack(eight));
        }
        Encoded {
            encoding,
            head,
            values,
        }
    }

    /// Begins the next page. The buffers are used again.
    pub(super) fn clear(&mut self) {
        self.rows = 0;
        self.defined.clear();
        self.texts.clear();
        self.numbers.clear();
        self.codes.clear();
        self.flags.clear();
    }
}

/// Makes a byte of eight numbers that are 0 or 1, the first one lowest.
fn pack(eight: [u8; 8]) -> u8 {
    // Moves the lowest bit of byte n from place 8n to place 56 + n, and all others elsewhere.
    const SPREAD: u64 = 0x0102_0408_1020_4080;
    let [packed, ..] = u64::from_le_bytes(eight).wrapping_mul(SPREAD).to_be_bytes();
    packed
}

/// Texts are front-coded, which leaves out what each one begins with in common with the one before, if
/// in the first batch of a page that is at least one part of all bytes in so many.
const LEAST_SHARE: usize = 4;

/// Texts by their lengths and their bytes.
#[derive(Default)]
pub(super) struct OpenTexts {
    is_front_coded: bool,
    /// How many bytes each text has in common with the one before, if they are left out.
    shared: Vec<u32>,
    /// How many bytes there are of each.
    lengths: Vec<u32>,
    bytes: Vec<u8>,
    /// The last text, if it may be the one before.
    last: Vec<u8>,
}

impl OpenTexts {
    /// Adds texts of a buffer, and nothing for nulls.
    pub(super) fn extend(&mut self, buffer: &[u8], spans: &[Span]) {
        if self.lengths.is_empty() {
            self.is_front_coded = share_much(buffer, spans);
        }
        if self.is_front_coded {
            self.extend_front_coded(buffer, spans);
        } else {
            self.extend_whole(buffer, spans);
        }
    }

    fn extend_whole(&mut self, buffer: &[u8], spans: &[Span]) {
        let mut there = spans.iter().filter(|span| !span.is_null()).peekable();
        let start = there.peek().map_or(0, |span| span.start());
        let mut end = start;
        let mut are_together = true;
        let lengths = there.map(|span| {
            are_together &= span.start() == end;
            end = span.end();
            length_of(span.length())
        });
        self.lengths.extend(lengths);
        if are_together {
            self.bytes.extend_from_slice(&buffer[start..end]);
            return;
        }
        for span in spans.iter().filter(|span| !span.is_null()) {
            push_bytes(&mut self.bytes, buffer, span.start(), span.length());
        }
    }

    fn extend_front_coded(&mut self, buffer: &[u8], spans: &[Span]) {
        let Self {
            shared,
            lengths,
            bytes,
            last,
            ..
        } = self;
        shared.reserve(spans.len());
        lengths.reserve(spans.len());
        let mut before: &[u8] = last;
        let mut newest = None;
        for span in spans.iter().filter(|span| !span.is_null()) {
            let text = span.of(buffer);
            let common = delta::shared_length(before, text);
            let length = text.len() - common;
            shared.push(length_of(common));
            lengths.push(length_of(length));
            push_bytes(bytes, buffer, span.start() + common, length);
            before = text;
            newest = Some(text);
        }
        if let Some(text) = newest {
            last.clear();
            last.extend_from_slice(text);
        }
    }

    /// Adds a text.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.extend(text, &[Span::new(0, text.len())]);
    }

    /// Appends what stands before the bytes, and returns these.
    fn encode(&self, head: &mut Vec<u8>) -> (Encoding, &[u8]) {
        let encoding = if self.is_front_coded {
            delta::encode(&self.shared, head);
            Encoding::DELTA_BYTE_ARRAY
        } else {
            Encoding::DELTA_LENGTH_BYTE_ARRAY
        };
        delta::encode(&self.lengths, head);
        (encoding, &self.bytes)
    }

    fn clear(&mut self) {
        self.shared.clear();
        self.lengths.clear();
        self.bytes.clear();
        self.last.clear();
    }
}

/// Whether texts begin with much that the ones before them begin with.
fn share_much(buffer: &[u8], spans: &[Span]) -> bool {
    /// So many tell enough.
    const SAMPLE: usize = 512;
    let mut texts = spans.iter().filter(|span| !span.is_null()).take(SAMPLE);
    let mut before = texts.next().map_or(&[][..], |span| span.of(buffer));
    let mut all = before.len();
    let mut shared = 0;
    for span in texts {
        let text = span.of(buffer);
        all += text.len();
        shared += delta::shared_length(before, text);
        before = text;
    }
    shared > 0 && shared >= all / LEAST_SHARE
}

/// Appends bytes of a buffer. Most texts are short, and a copy of a fixed size is much faster.
#[inline]
fn push_bytes(bytes: &mut Vec<u8>, buffer: &[u8], start: usize, length: usize) {
    const SHORT: usize = 32;
    let end = bytes.len() + length;
    match buffer[start..].first_chunk::<SHORT>() {
        Some(chunk) if length <= SHORT => {
            bytes.extend_from_slice(chunk);
            bytes.truncate(end);
        }
        _ => bytes.extend_from_slice(&buffer[start..start + length]),
    }
}

fn length_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
