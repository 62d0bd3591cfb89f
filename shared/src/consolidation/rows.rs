//! Rows of a report, decoded: what every format is read into, a batch at a time.

use std::hash::BuildHasher;
use std::ops::Range;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{ConsolidationError, Delivered};
use crate::snapshot_schema::{COLUMNS, Origin};

/// Columns of a report that the snapshot has: all of [`COLUMNS`] but the derived ones, which are
/// the last.
pub(super) const INVENTORY_COLUMNS: usize = COLUMNS.len() - 3;

/// Places of columns in [`COLUMNS`].
pub(super) mod place {
    pub(in super::super) const BUCKET: usize = 0;
    pub(in super::super) const KEY: usize = 1;
    pub(in super::super) const VERSION_ID: usize = 2;
    pub(in super::super) const IS_LATEST: usize = 3;
    pub(in super::super) const IS_DELETE_MARKER: usize = 4;
    pub(in super::super) const SIZE: usize = 5;
    pub(in super::super) const LAST_MODIFIED_DATE: usize = 6;
    pub(in super::super) const E_TAG: usize = 7;
    pub(in super::super) const STORAGE_CLASS: usize = 8;
    pub(in super::super) const REPLICATION_STATUS: usize = 10;
    pub(in super::super) const ENCRYPTION_STATUS: usize = 11;
    pub(in super::super) const ACCESS_CONTROL_LIST: usize = 18;
    pub(in super::super) const EXTENSION: usize = 21;
    pub(in super::super) const TOP_PREFIX: usize = 22;
    pub(in super::super) const CATEGORY: usize = 23;
}

/// Whether nearly every row has a value of its own in this column, so that a dictionary would be
/// filled only to be given up.
pub(super) const fn is_diverse(column: usize) -> bool {
    matches!(
        column,
        place::KEY | place::VERSION_ID | place::E_TAG | place::ACCESS_CONTROL_LIST
    )
}

/// The most rows of a batch: their values stay in the processor's cache.
pub(super) const BATCH_ROWS: usize = 4_096;

/// A batch of rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// Number of the first row in the file, from 0.
    pub(super) first: u64,
    /// How many there are.
    pub(super) len: usize,
    /// The values by the places of [`COLUMNS`], without the derived ones.
    pub(super) columns: [Values; INVENTORY_COLUMNS],
}

/// The values of one column in a batch.
#[derive(Debug, Default)]
pub(super) enum Values {
    /// All null, as of a column that the report does not have.
    #[default]
    Absent,
    /// Texts as they come.
    Texts(Texts),
    /// Texts by their number in a dictionary.
    Coded(Coded),
    /// Numbers, and instants in epoch milliseconds.
    Numbers(Numbers),
    /// Truths.
    Flags(Flags),
}

impl Values {
    pub(super) fn texts(&mut self) -> &mut Texts {
        if !matches!(self, Self::Texts(_)) {
            *self = Self::Texts(Texts::default());
        }
        let Self::Texts(texts) = self else {
            unreachable!("just set");
        };
        texts
    }

    pub(super) fn coded(&mut self) -> &mut Coded {
        if !matches!(self, Self::Coded(_)) {
            *self = Self::Coded(Coded::default());
        }
        let Self::Coded(coded) = self else {
            unreachable!("just set");
        };
        coded
    }

    pub(super) fn numbers(&mut self) -> &mut Numbers {
        if !matches!(self, Self::Numbers(_)) {
            *self = Self::Numbers(Numbers::default());
        }
        let Self::Numbers(numbers) = self else {
            unreachable!("just set");
        };
        numbers
    }

    pub(super) fn flags(&mut self) -> &mut Flags {
        if !matches!(self, Self::Flags(_)) {
            *self = Self::Flags(Flags::default());
        }
        let Self::Flags(flags) = self else {
            unreachable!("just set");
        };
        flags
    }
}

/// Texts that stand in a common buffer.
#[derive(Debug, Default)]
pub(super) struct Texts {
    /// The bytes, with anything between the texts.
    pub(super) buffer: Bytes,
    /// Where each row's text stands.
    pub(super) spans: Vec<Span>,
}

/// A place in a buffer, or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    /// No text.
    pub(super) const NULL: Self = Self {
        start: 0,
        length: u32::MAX,
    };

    /// The bytes from one place to another of a buffer below 4 GiB.
    pub(super) fn new(start: usize, length: usize) -> Self {
        Self {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }

    pub(super) fn is_null(self) -> bool {
        self.length == u32::MAX
    }

    /// The bytes, which are none for null.
    #[inline]
    pub(super) fn of(self, buffer: &[u8]) -> &[u8] {
        if self.is_null() {
            return &[];
        }
        let start = self.start as usize;
        &buffer[start..start + self.length as usize]
    }

    /// Where the text ends; the start of the buffer for null.
    pub(super) fn end(self) -> usize {
        if self.is_null() {
            0
        } else {
            self.start as usize + self.length as usize
        }
    }

    /// Where the text stands, which is not null.
    #[inline]
    pub(super) fn range(self) -> Range<usize> {
        let start = self.start as usize;
        start..start + self.length as usize
    }

    pub(super) fn start(self) -> usize {
        self.start as usize
    }

    /// The number of bytes, 0 for null.
    pub(super) fn length(self) -> usize {
        if self.is_null() {
            0
        } else {
            self.length as usize
        }
    }
}

impl Texts {
    /// The text of a row; `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let span = self.spans[row];
        (!span.is_null()).then(|| span.of(&self.buffer))
    }
}

/// Texts by their number in a dictionary.
#[derive(Debug, Default)]
pub(super) struct Coded {
    /// The number of each row's text; [`NULL`] for null.
    pub(super) codes: Vec<u32>,
    /// The distinct texts. Grows from batch to batch.
    pub(super) dictionary: Dictionary,
}

/// Stands for null among codes.
pub(super) const NULL: u32 = u32::MAX;

impl Coded {
    /// Begins a batch.
    pub(super) fn clear(&mut self) {
        self.codes.clear();
        self.dictionary.bound();
    }

    /// Adds a row.
    pub(super) fn push(&mut self, text: Option<&[u8]>) {
        let code = match text {
            None => NULL,
            // Neighbours are mostly alike.
            Some(text) => match self.codes.last() {
                Some(&last) if last != NULL && self.dictionary.get(last) == text => last,
                _ => self.dictionary.intern(text),
            },
        };
        self.codes.push(code);
    }

    /// The text of a row; `None` for null.
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let code = self.codes[row];
        (code != NULL).then(|| self.dictionary.get(code))
    }
}

/// Distinct texts, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    codes: HashTable<u32>,
    /// Seeded by chance, so that nobody can choose keys that collide.
    hasher: RandomState,
    epoch: u32,
}

/// A dictionary that holds more than this at the end of a batch is begun anew, so that a column of
/// ever new values takes no more memory than one of few.
const MAX_TEXTS: usize = 50_000;
const MAX_BYTES: usize = 2 * 1024 * 1024;

impl Dictionary {
    /// The number of a text, which is added if it is new.
    pub(super) fn intern(&mut self, text: &[u8]) -> u32 {
        let Self {
            bytes,
            ends,
            codes,
            hasher,
            ..
        } = self;
        let hash = |text: &[u8]| hasher.hash_one(text);
        let found = codes.find(hash(text), |code| text_of(bytes, ends, *code) == text);
        if let Some(code) = found {
            return *code;
        }
        let code = u32::try_from(ends.len()).expect("dictionaries are bounded");
        bytes.extend_from_slice(text);
        ends.push(bytes.len());
        codes.insert_unique(hash(text), code, |code| hash(text_of(bytes, ends, *code)));
        code
    }

    /// A text by its number.
    #[inline]
    pub(super) fn get(&self, code: u32) -> &[u8] {
        text_of(&self.bytes, &self.ends, code)
    }

    /// How many texts there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Changes whenever the numbers change their meaning.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Begins anew if there are too many texts.
    pub(super) fn bound(&mut self) {
        if self.ends.len() > MAX_TEXTS || self.bytes.len() > MAX_BYTES {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.codes.clear();
        self.epoch = self.epoch.wrapping_add(1);
    }
}

fn text_of<'a>(bytes: &'a [u8], ends: &[usize], code: u32) -> &'a [u8] {
    let code = code as usize;
    let start = code.checked_sub(1).map_or(0, |before| ends[before]);
    &bytes[start..ends[code]]
}

/// Numbers, or instants in epoch milliseconds.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// The value of each row; anything where there is none.
    pub(super) values: Vec<i64>,
    /// Whether each row has a value. Empty if all have.
    pub(super) valid: Vec<bool>,
}

impl Numbers {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.valid.clear();
    }

    /// Adds a row.
    pub(super) fn push(&mut self, value: Option<i64>) {
        if value.is_none() && self.valid.is_empty() {
            self.valid.resize(self.values.len(), true);
        }
        if value.is_none() || !self.valid.is_empty() {
            self.valid.push(value.is_some());
        }
        self.values.push(value.unwrap_or_default());
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<i64> {
        (self.valid.is_empty() || self.valid[row]).then(|| self.values[row])
    }
}

/// Truths.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// 0, 1, or [`Flags::NULL`] for each row.
    pub(super) values: Vec<u8>,
}

impl Flags {
    /// Stands for null.
    pub(super) const NULL: u8 = 2;

    /// Adds a row.
    pub(super) fn push(&mut self, value: Option<bool>) {
        self.values.push(value.map_or(Self::NULL, u8::from));
    }
}

/// How many rows of a batch are so. There are few enough for a small number, which the compiler adds
/// up many at a time.
pub(super) fn count(rows: impl Iterator<Item = bool>) -> usize {
    rows.map(u32::from).sum::<u32>() as usize
}

/// Puts values, from a place on, where the rows are that have one, and null in between. `defined`
/// tells for each row whether it has a value.
pub(super) fn spread<T: Copy>(
    values: &mut Vec<T>,
    start: usize,
    defined: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator,
    null: T,
) {
    let mut from = values.len();
    let mut to = start + defined.len();
    values.resize(to, null);
    for is_defined in defined.rev() {
        to -= 1;
        if is_defined {
            from -= 1;
            values[to] = values[from];
        } else {
            values[to] = null;
        }
    }
}

/// Checks that the columns are there that every file has or that the manifest promises: they would
/// silently read as null.
pub(super) fn check_promises(
    delivered: Delivered<'_>,
    is_there: impl Fn(usize) -> bool,
) -> Result<(), ConsolidationError> {
    for (place, column) in COLUMNS[..INVENTORY_COLUMNS].iter().enumerate() {
        let is_promised = column.origin == Origin::Always
            || delivered
                .schema
                .iter()
                .any(|field| field.name == column.name);
        if is_promised && !is_there(place) {
            return Err(ConsolidationError::MissingColumn {
                column: column.name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Reads a delivered file row by row.
pub(super) trait RowReader {
    /// Puts the next rows in the place of the last ones; `false` at the end of the file.
    ///
    /// Every batch but none in between has at least one row.
    fn next(&mut self, rows: &mut Rows) -> Result<bool, ConsolidationError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_the_snapshots_columns() {
        for (place, name) in [
            (place::BUCKET, "bucket"),
            (place::KEY, "key"),
            (place::VERSION_ID, "version_id"),
            (place::IS_LATEST, "is_latest"),
            (place::IS_DELETE_MARKER, "is_delete_marker"),
            (place::SIZE, "size"),
            (place::LAST_MODIFIED_DATE, "last_modified_date"),
            (place::E_TAG, "e_tag"),
            (place::STORAGE_CLASS, "storage_class"),
            (place::REPLICATION_STATUS, "replication_status"),
            (place::ENCRYPTION_STATUS, "encryption_status"),
            (place::ACCESS_CONTROL_LIST, "object_access_control_list"),
            (place::EXTENSION, "extension"),
            (place::TOP_PREFIX, "top_prefix"),
            (place::CATEGORY, "category"),
        ] {
            assert_eq!(COLUMNS[place].name, name);
        }
        for (place, column) in COLUMNS.iter().enumerate() {
            assert_eq!(column.origin == Origin::Derived, place >= INVENTORY_COLUMNS);
        }
    }

    #[test]
    fn a_dictionary_numbers_texts_once() {
        let mut coded = Coded::default();
        for text in [Some(&b"a"[..]), Some(b""), None, Some(b"a"), Some(b"bc")] {
            coded.push(text);
        }
        assert_eq!(coded.codes, [0, 1, NULL, 0, 2]);
        assert_eq!(coded.dictionary.get(1), b"");
        assert_eq!(coded.get(4), Some(&b"bc"[..]));
        assert_eq!(coded.get(2), None);
    }

    #[test]
    fn a_dictionary_of_ever_new_texts_begins_anew() {
        let mut coded = Coded::default();
        for number in 0..=MAX_TEXTS {
            coded.push(Some(number.to_string().as_bytes()));
        }
        let before = coded.dictionary.epoch();
        coded.clear();
        assert_ne!(coded.dictionary.epoch(), before);
        assert_eq!(coded.dictionary.len(), 0);
        coded.push(Some(b"7"));
        assert_eq!(coded.get(0), Some(&b"7"[..]));
    }

    #[test]
    fn numbers_tell_nulls_from_the_first_on() {
        let mut numbers = Numbers::default();
        numbers.push(Some(1));
        assert!(numbers.valid.is_empty());
        numbers.push(None);
        numbers.push(Some(3));
        let read: Vec<_> = (0..3).map(|row| numbers.get(row)).collect();
        assert_eq!(read, [Some(1), None, Some(3)]);
    }

    #[test]
    fn values_are_put_where_their_rows_are() {
        for (defined, expected) in [
            (vec![true, true], vec![9, 1, 2]),
            (
                vec![false, true, false, false, true],
                vec![9, 0, 1, 0, 0, 2],
            ),
            (vec![true, true, false], vec![9, 1, 2, 0]),
        ] {
            let mut values = vec![9, 1, 2];
            spread(&mut values, 1, defined.into_iter(), 0);
            assert_eq!(values, expected);
        }
    }
}
