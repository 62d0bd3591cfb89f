//! Splits text into records and fields, as RFC 4180 has them. Lines may end without a carriage
//! return, and fields stand without quotes.

use memchr::{memchr, memchr2};

use crate::consolidation::ConsolidationError;

/// Where a field stands in a buffer, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    start: u32,
    end: u32,
}

impl Field {
    fn new(start: usize, end: usize) -> Self {
        let place = |place| u32::try_from(place).expect("buffers are bounded");
        Self {
            start: place(start),
            end: place(end),
        }
    }

    #[inline]
    pub(super) fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start as usize..self.end as usize]
    }
}

/// The fields of some records.
#[derive(Debug)]
pub(super) struct Records {
    /// How many fields a record has.
    width: usize,
    /// Those of one record after the other.
    fields: Vec<Field>,
    /// Places among `fields` of those in which quotes stand doubled.
    doubled: Vec<usize>,
}

/// How far a record goes.
enum End {
    /// To the place where the next one begins.
    At(usize),
    /// Beyond the bytes that are there.
    Beyond,
}

impl Records {
    pub(super) fn new(width: usize) -> Self {
        Self {
            width,
            fields: Vec::new(),
            doubled: Vec::new(),
        }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.fields.len() / self.width
    }

    /// One field of every record.
    pub(super) fn column(&self, field: usize) -> impl Iterator<Item = Field> {
        self.fields.iter().skip(field).step_by(self.width).copied()
    }

    /// Finds the records at the start of a buffer, at most so many, in place of those found before.
    /// Returns where the first one begins that is not among them.
    ///
    /// The last one may end at the end of the buffer, if that `is_all` there is. The first one's
    /// number in the file is for errors. What stands doubled in quotes is made single in the buffer.
    pub(super) fn split(
        &mut self,
        buffer: &mut [u8],
        is_all: bool,
        most: usize,
        first: u64,
    ) -> Result<usize, ConsolidationError> {
        self.fields.clear();
        self.doubled.clear();
        let mut at = 0;
        for row in (first..).take(most) {
            if at == buffer.len() {
                break;
            }
            let before = (self.fields.len(), self.doubled.len());
            match self.split_one(buffer, at, is_all, row)? {
                End::At(next) => at = next,
                End::Beyond => {
                    self.fields.truncate(before.0);
                    self.doubled.truncate(before.1);
                    break;
                }
            }
        }
        for place in &self.doubled {
            let field = &mut self.fields[*place];
            *field = make_single(buffer, *field);
        }
        Ok(at)
    }

    fn split_one(
        &mut self,
        buffer: &[u8],
        mut at: usize,
        is_all: bool,
        row: u64,
    ) -> Result<End, ConsolidationError> {
        let damaged = |what: &str| ConsolidationError::Read(format!("row {row} {what}").into());
        let mut found = 0;
        loop {
            let (field, is_doubled, after) = if buffer.get(at) == Some(&b'"') {
                let Some((end, is_doubled)) = closing_quote(buffer, at + 1) else {
                    if is_all {
                        return Err(damaged("ends before a closing quote"));
                    }
                    return Ok(End::Beyond);
                };
                (Field::new(at + 1, end), is_doubled, end + 1)
            } else {
                let Some(rest) = buffer.get(at..) else {
                    return Ok(End::Beyond);
                };
                let end = memchr2(b',', b'\n', rest).map_or(buffer.len(), |length| at + length);
                // A carriage return belongs to the end of the line.
                let is_line_end = buffer.get(end) != Some(&b',');
                let is_return = is_line_end && end > at && buffer[end - 1] == b'\r';
                let end = end - usize::from(is_return);
                (Field::new(at, end), false, end)
            };
            // Surplus fields are only counted.
            if found < self.width {
                if is_doubled {
                    self.doubled.push(self.fields.len());
                }
                self.fields.push(field);
            }
            found += 1;
            let next = match buffer.get(after..) {
                Some([b',', ..]) => {
                    at = after + 1;
                    continue;
                }
                Some([b'\n', ..]) => after + 1,
                Some([b'\r', b'\n', ..]) => after + 2,
                Some([] | [b'\r']) if is_all => buffer.len(),
                Some([] | [b'\r']) | None => return Ok(End::Beyond),
                Some(_) => return Err(damaged("goes on after a closing quote")),
            };
            if found != self.width {
                return Err(ConsolidationError::FieldCount {
                    row,
                    expected: self.width,
                    found,
                });
            }
            return Ok(End::At(next));
        }
    }
}

/// Where the quote stands that closes a field, and whether any stand doubled before it; `None` if it
/// is not among the bytes.
#[inline]
fn closing_quote(buffer: &[u8], start: usize) -> Option<(usize, bool)> {
    let mut at = start;
    let mut is_doubled = false;
    loop {
        let quote = at + next_quote(buffer.get(at..)?)?;
        if buffer.get(quote + 1) != Some(&b'"') {
            return Some((quote, is_doubled));
        }
        is_doubled = true;
        at = quote + 2;
    }
}

/// Where the next quote stands. Most fields are so short that all of their bytes can be looked at
/// as one number, in less time than it takes to begin a search.
#[inline]
fn next_quote(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
    const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);
    if let Some(eight) = bytes.first_chunk() {
        // Borrows from the byte above only where a byte is 0, so that the lowest one found is right.
        let other = u64::from_le_bytes(*eight) ^ QUOTES;
        let zeros = other.wrapping_sub(ONES) & !other & HIGH_BITS;
        if zeros != 0 {
            return Some(zeros.trailing_zeros() as usize / 8);
        }
    }
    memchr(b'"', bytes)
}

/// Moves what follows doubled quotes up, so that they are single. Every second quote goes.
fn make_single(buffer: &mut [u8], field: Field) -> Field {
    let (start, end) = (field.start as usize, field.end as usize);
    let mut to = start;
    let mut from = start;
    while from < end {
        let byte = buffer[from];
        buffer[to] = byte;
        to += 1;
        from += if byte == b'"' { 2 } else { 1 };
    }
    Field::new(start, to)
}
