//! What is made of every batch of rows, whatever the format: the derived columns and the totals.
//!
//! [`crate::derived`] says what the values mean, and `Totals::observe` what is counted; this does the
//! same for millions of rows a second. It asks for each distinct text once, and adds into arrays.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::ConsolidationError;
use super::rows::{Coded, Dictionary, NULL, Rows, Texts, Values, place};
use crate::derived::{self, Category, MAX_EXTENSION_BYTES};
use crate::ids::BucketName;
use crate::totals::{self, Breakdown, LargeObject, MAX_LARGEST_OBJECTS, Month, Tally, Totals};

/// Derives and counts.
#[derive(Debug)]
pub(super) struct Observer {
    source_bucket: BucketName,
    /// The column `extension` of the last batch.
    pub(super) extension: Coded,
    /// The column `top_prefix` of the last batch.
    pub(super) top_prefix: Coded,
    /// The column `category` of the last batch.
    pub(super) category: Coded,
    extensions: Extensions,
    counted: Counted,
    rows: u64,
}

impl Observer {
    pub(super) fn new(source_bucket: &BucketName) -> Self {
        let mut category = Coded::default();
        for each in Category::ALL {
            category.dictionary.intern(each.as_str().as_bytes());
        }
        Self {
            source_bucket: source_bucket.clone(),
            extension: Coded::default(),
            top_prefix: Coded::default(),
            category,
            extensions: Extensions::default(),
            counted: Counted::new(),
            rows: 0,
        }
    }

    /// Takes a batch, whose keys have to be text.
    pub(super) fn observe(&mut self, rows: &Rows) -> Result<(), ConsolidationError> {
        self.check_bucket(rows)?;
        let Values::Texts(keys) = &rows.columns[place::KEY] else {
            return Err(ConsolidationError::MissingColumn {
                column: "key".to_owned(),
            });
        };
        self.derive(keys, rows.first)?;
        let derived = [&self.extension, &self.top_prefix, &self.category];
        self.counted.count(rows, keys, derived);
        self.rows += rows.len as u64;
        Ok(())
    }

    /// The rows seen, and what they add up to.
    pub(super) fn finish(self) -> (u64, Totals) {
        (self.rows, self.counted.finish(&self.source_bucket))
    }

    fn check_bucket(&self, rows: &Rows) -> Result<(), ConsolidationError> {
        let expected = self.source_bucket.as_str().as_bytes();
        let foreign = match &rows.columns[place::BUCKET] {
            Values::Coded(buckets) => {
                let own = buckets
                    .codes
                    .first()
                    .copied()
                    .filter(|code| *code != NULL && buckets.dictionary.get(*code) == expected);
                let is_own = |code: &u32| Some(*code) == own;
                // An epoch has one code for a text, so that all others are foreign.
                if own.is_some() && buckets.codes.iter().all(is_own) {
                    return Ok(());
                }
                (0..rows.len)
                    .find(|row| buckets.get(*row) != Some(expected))
                    .map(|row| (row, buckets.get(row)))
            }
            _ => Some((0, None)),
        };
        let Some((row, found)) = foreign else {
            return Ok(());
        };
        Err(ConsolidationError::ForeignRow {
            row: rows.first + row as u64,
            expected: self.source_bucket.to_string(),
            found: found.map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        })
    }

    fn derive(&mut self, keys: &Texts, first: u64) -> Result<(), ConsolidationError> {
        let Self {
            extension,
            top_prefix,
            category,
            extensions,
            ..
        } = self;
        extension.clear();
        top_prefix.clear();
        category.codes.clear();
        extensions.begin(&extension.dictionary);
        let buffer: &[u8] = &keys.buffer;
        // The top prefix of the row before with its slash, which keys in order mostly share.
        let mut last_prefix: &[u8] = b"/";
        let mut last_prefix_code = None;
        for (row, span) in keys.spans.iter().enumerate() {
            if span.is_null() {
                return Err(ConsolidationError::MissingKey {
                    row: first + row as u64,
                });
            }
            let key = span.of(buffer);
            let prefix_code = match last_prefix_code {
                Some(code) if key.starts_with(last_prefix) => code,
                _ => match memchr::memchr(b'/', key) {
                    Some(end) => {
                        let code = top_prefix.dictionary.intern(&key[..end]);
                        last_prefix = &key[..=end];
                        last_prefix_code = Some(code);
                        code
                    }
                    None => NULL,
                },
            };
            let name_start = memchr::memrchr(b'/', key).map_or(0, |slash| slash + 1);
            let (extension_code, known) =
                extensions.of(&key[name_start..], &mut extension.dictionary);
            top_prefix.codes.push(prefix_code);
            extension.codes.push(extension_code);
            category.codes.push(match known {
                Some(category) => category as u32,
                None => category_of(key) as u32,
            });
        }
        Ok(())
    }
}

fn category_of(key: &[u8]) -> Category {
    derived::category(&String::from_utf8_lossy(key))
}

/// What is known of extensions, as they are spelled in keys.
#[derive(Debug, Default)]
struct Extensions {
    spelled: Dictionary,
    /// For each of `spelled` its code in the column, and the category that it decides.
    known: Vec<(u32, Option<Category>)>,
    spelled_epoch: u32,
    column_epoch: u32,
    /// The extension of the row before, mostly that of this one too.
    last: u32,
    wrapped: Wrapped,
}

/// What is known of extensions that do not decide by themselves, with those inside: `log.gz`.
#[derive(Debug, Default)]
struct Wrapped {
    spelled: Dictionary,
    /// For each of `spelled` the category, unless there is more to look at.
    categories: Vec<Option<Category>>,
    last: u32,
}

impl Extensions {
    fn begin(&mut self, column: &Dictionary) {
        self.spelled.bound();
        if (self.spelled_epoch, self.column_epoch) != (self.spelled.epoch(), column.epoch()) {
            self.spelled = Dictionary::default();
            self.known.clear();
            self.spelled_epoch = self.spelled.epoch();
            self.column_epoch = column.epoch();
        }
        self.last = NULL;
        self.wrapped.begin();
    }

    /// The code of a file name's extension in the column, and the category of the key if no more
    /// than the extension has to be looked at.
    #[inline]
    fn of(&mut self, name: &[u8], column: &mut Dictionary) -> (u32, Option<Category>) {
        let dot = memchr::memrchr(b'.', name);
        let has_rule = derived::may_have_rule(name);
        let undecided = |decided: Category| (!has_rule).then_some(decided);
        let spelled = match dot {
            Some(dot) if dot > 0 && dot + 1 < name.len() => &name[dot + 1..],
            _ => return (NULL, undecided(Category::Other)),
        };
        if spelled.len() > MAX_EXTENSION_BYTES {
            return (NULL, None);
        }
        if self.last == NULL || self.spelled.get(self.last) != spelled {
            self.last = self.spelled.intern(spelled);
            if self.last as usize == self.known.len() {
                self.known.push(learn(spelled, column));
            }
        }
        let (code, category) = self.known[self.last as usize];
        let category = if has_rule {
            None
        } else {
            category.or_else(|| self.wrapped.of(name, name.len() - spelled.len()))
        };
        (code, category)
    }
}

impl Wrapped {
    fn begin(&mut self) {
        let epoch = self.spelled.epoch();
        self.spelled.bound();
        if self.spelled.epoch() != epoch {
            self.categories.clear();
        }
        self.last = NULL;
    }

    /// The category of a file name whose extension begins at a place; `None` if more than two
    /// extensions have to be looked at.
    #[inline]
    fn of(&mut self, name: &[u8], extension: usize) -> Option<Category> {
        let stem = &name[..extension - 1];
        let inner = memchr::memrchr(b'.', stem).map_or(extension, |dot| dot + 1);
        // Names such as `.env.gz` and `a..gz` are as rare as they are odd.
        if inner == 1 || inner == stem.len() || derived::may_have_rule(stem) {
            return None;
        }
        let spelled = &name[inner..];
        if spelled.len() > 2 * MAX_EXTENSION_BYTES {
            return None;
        }
        if self.last == NULL || self.spelled.get(self.last) != spelled {
            self.last = self.spelled.intern(spelled);
            if self.last as usize == self.categories.len() {
                self.categories.push(learn_wrapped(spelled));
            }
        }
        self.categories[self.last as usize]
    }
}

fn learn_wrapped(spelled: &[u8]) -> Option<Category> {
    let spelled = String::from_utf8_lossy(spelled);
    let inner = spelled
        .rsplit_once('.')
        .map(|(inner, _)| inner.to_ascii_lowercase());
    let is_decided = inner.is_none_or(|inner| derived::category_by_extension(&inner).is_some());
    is_decided.then(|| derived::category(&format!("x.{spelled}")))
}

fn learn(spelled: &[u8], column: &mut Dictionary) -> (u32, Option<Category>) {
    let spelled = String::from_utf8_lossy(spelled);
    let name = format!("x.{spelled}");
    let code =
        derived::extension(&name).map_or(NULL, |extension| column.intern(extension.as_bytes()));
    let category = derived::category_by_extension(&spelled.to_ascii_lowercase());
    (code, category)
}

/// How a row counts; as 0 it is a noncurrent version.
const CURRENT: u8 = 1;
const DELETE_MARKER: u8 = 2;

/// Rows of one value, by how they count.
type Cells = [Cell; 4];

/// The sum is exact: it takes more rows than a file can have to fill it.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    count: u64,
    bytes: u128,
}

fn tally_of(cells: &Cells) -> Tally {
    let clamp = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
    let [noncurrent, current, ..] = cells;
    Tally {
        objects: current.count,
        object_bytes: clamp(current.bytes),
        versions: current.count + noncurrent.count,
        version_bytes: clamp(current.bytes + noncurrent.bytes),
    }
}

/// Under what rows without a size are counted, beside the 64 powers of two and 0.
const NO_SIZE: u8 = 65;

/// The months of the days from 1970 on: for each day a place among the months, and these.
static MONTHS: LazyLock<(Vec<u16>, Vec<Month>)> = LazyLock::new(|| {
    let mut months: Vec<Month> = Vec::new();
    let places = (0..LAST_DAY)
        .filter_map(|day| {
            let month = Month::of_milliseconds(day * MILLISECONDS_OF_DAY)?;
            if months.last() != Some(&month) {
                months.push(month);
            }
            u16::try_from(months.len() - 1).ok()
        })
        .collect();
    (places, months)
});

/// Beyond it, in 2100, and before 1970 are rare days.
const LAST_DAY: i64 = 130 * 366;
const MILLISECONDS_OF_DAY: i64 = 86_400_000;

/// Everything that totals are made of, by numbers instead of names.
#[derive(Debug)]
struct Counted {
    /// How each row of the batch counts.
    kinds: Vec<u8>,
    /// The size of each row, 0 if it has none.
    sizes: Vec<u64>,
    /// Under what each row's size is counted.
    powers: Vec<u8>,
    storage_class: ByText,
    encryption_status: ByText,
    replication_status: ByText,
    extension: ByText,
    top_prefix: ByText,
    category: ByText,
    by_power: Vec<Cells>,
    by_month: Vec<Cells>,
    rare_months: BTreeMap<Month, Cells>,
    largest: Vec<LargeObject>,
    delete_markers: u64,
}

impl Counted {
    fn new() -> Self {
        Self {
            kinds: Vec::new(),
            sizes: Vec::new(),
            powers: Vec::new(),
            storage_class: ByText::default(),
            encryption_status: ByText::default(),
            replication_status: ByText::default(),
            extension: ByText::default(),
            top_prefix: ByText {
                ending: "/",
                ..ByText::default()
            },
            category: ByText::default(),
            by_power: vec![Cells::default(); usize::from(NO_SIZE) + 1],
            by_month: vec![Cells::default(); MONTHS.1.len()],
            rare_months: BTreeMap::new(),
            largest: Vec::new(),
            delete_markers: 0,
        }
    }

    fn count(&mut self, rows: &Rows, keys: &Texts, derived: [&Coded; 3]) {
        self.classify(rows);
        let Self {
            kinds,
            sizes,
            powers,
            ..
        } = self;
        let weights = Weights { kinds, sizes };
        let [extension, top_prefix, category] = derived;
        self.extension.count(Some(extension), &weights);
        self.top_prefix.count(Some(top_prefix), &weights);
        self.category.count(Some(category), &weights);
        for (by_text, place) in [
            (&mut self.storage_class, place::STORAGE_CLASS),
            (&mut self.encryption_status, place::ENCRYPTION_STATUS),
            (&mut self.replication_status, place::REPLICATION_STATUS),
        ] {
            let coded = match &rows.columns[place] {
                Values::Coded(coded) => Some(coded),
                _ => None,
            };
            by_text.count(coded, &weights);
        }
        for (row, power) in powers.iter().enumerate() {
            weights.add(row, &mut self.by_power[usize::from(*power)]);
        }
        if let Values::Numbers(instants) = &rows.columns[place::LAST_MODIFIED_DATE] {
            let places = &MONTHS.0;
            for row in 0..rows.len {
                let Some(instant) = instants.get(row) else {
                    continue;
                };
                let day = usize::try_from(instant.div_euclid(MILLISECONDS_OF_DAY)).ok();
                match day.and_then(|day| places.get(day)) {
                    Some(place) => weights.add(row, &mut self.by_month[usize::from(*place)]),
                    None => {
                        if let Some(month) = Month::of_milliseconds(instant) {
                            weights.add(row, self.rare_months.entry(month).or_default());
                        }
                    }
                }
            }
        }
        let is_marker = |kind: &u8| u64::from(*kind == DELETE_MARKER);
        self.delete_markers += kinds.iter().map(is_marker).sum::<u64>();
        self.keep_largest(rows, keys);
    }

    /// Finds out how each row counts.
    fn classify(&mut self, rows: &Rows) {
        let Self {
            kinds,
            sizes,
            powers,
            ..
        } = self;
        kinds.clear();
        match &rows.columns[place::IS_LATEST] {
            // Null is current: reports about current versions only do not have the column.
            Values::Flags(latest) => {
                kinds.extend(latest.values.iter().map(|value| u8::from(*value != 0)));
            }
            _ => kinds.resize(rows.len, CURRENT),
        }
        if let Values::Flags(markers) = &rows.columns[place::IS_DELETE_MARKER] {
            for (kind, marker) in kinds.iter_mut().zip(&markers.values) {
                if *marker == 1 {
                    *kind = DELETE_MARKER;
                }
            }
        }
        sizes.clear();
        powers.clear();
        if let Values::Numbers(numbers) = &rows.columns[place::SIZE] {
            for row in 0..rows.len {
                let size = numbers.get(row).and_then(|size| u64::try_from(size).ok());
                sizes.push(size.unwrap_or(0));
                powers.push(size.map_or(NO_SIZE, power_of));
            }
        } else {
            sizes.resize(rows.len, 0);
            powers.resize(rows.len, NO_SIZE);
        }
    }

    fn keep_largest(&mut self, rows: &Rows, keys: &Texts) {
        let mut smallest = self.smallest_kept();
        if self.sizes.iter().all(|size| *size < smallest) {
            return;
        }
        for row in 0..rows.len {
            let size = self.sizes[row];
            if size < smallest || self.kinds[row] != CURRENT || self.powers[row] == NO_SIZE {
                continue;
            }
            let key = String::from_utf8_lossy(keys.get(row).unwrap_or_default());
            // Among the smallest, only keys that sort before the last one get in.
            let is_full = self.largest.len() >= MAX_LARGEST_OBJECTS;
            let last = self
                .largest
                .last()
                .filter(|last| is_full && last.size == size);
            if last.is_some_and(|last| last.key.as_str() < &*key) {
                continue;
            }
            let storage_class = match &rows.columns[place::STORAGE_CLASS] {
                Values::Coded(classes) => classes.get(row),
                _ => None,
            };
            self.largest.push(LargeObject {
                bucket: String::new(),
                key: key.into_owned(),
                size,
                storage_class: storage_class
                    .map(|class| String::from_utf8_lossy(class).into_owned()),
            });
            totals::keep_largest(&mut self.largest);
            smallest = self.smallest_kept();
        }
    }

    /// The least size that may still be among the largest.
    fn smallest_kept(&self) -> u64 {
        let is_full = self.largest.len() >= MAX_LARGEST_OBJECTS;
        self.largest
            .last()
            .filter(|_| is_full)
            .map_or(0, |last| last.size)
    }

    fn finish(mut self, bucket: &BucketName) -> Totals {
        let mut totals = Totals {
            delete_markers: self.delete_markers,
            by_storage_class: self.storage_class.finish(),
            by_encryption_status: self.encryption_status.finish(),
            by_replication_status: self.replication_status.finish(),
            by_extension: self.extension.finish(),
            by_category: self.category.finish(),
            by_top_prefix: self.top_prefix.finish(),
            ..Totals::default()
        };
        totals.all = totals.by_category.sum();
        for (power, cells) in (0..NO_SIZE).zip(&self.by_power) {
            let lower_bound = power.checked_sub(1).map_or(0, |exponent| 1 << exponent);
            keep(&mut totals.by_size, lower_bound, cells);
        }
        for (month, cells) in MONTHS.1.iter().zip(&self.by_month) {
            keep(&mut totals.by_month, *month, cells);
        }
        for (month, cells) in &self.rare_months {
            keep(&mut totals.by_month, *month, cells);
        }
        for object in &mut self.largest {
            object.bucket = bucket.to_string();
        }
        totals.largest_objects = self.largest;
        totals.compact();
        totals
    }
}

/// Under what a size is counted: 0, or one more than its logarithm.
#[inline]
fn power_of(size: u64) -> u8 {
    let power = size.checked_ilog2().map_or(0, |exponent| exponent + 1);
    u8::try_from(power).unwrap_or(NO_SIZE)
}

/// Lists what has been counted, unless it is nothing but delete markers.
fn keep<K: Ord>(tallies: &mut BTreeMap<K, Tally>, key: K, cells: &Cells) {
    let tally = tally_of(cells);
    if !tally.is_zero() {
        tallies.entry(key).or_default().add(tally);
    }
}

/// How much each row of a batch weighs.
struct Weights<'a> {
    kinds: &'a [u8],
    sizes: &'a [u64],
}

impl Weights<'_> {
    #[inline]
    fn add(&self, row: usize, cells: &mut Cells) {
        let cell = &mut cells[usize::from(self.kinds[row] & 3)];
        cell.count += 1;
        cell.bytes += u128::from(self.sizes[row]);
    }
}

/// Rows counted by the texts of one column.
#[derive(Debug, Default)]
struct ByText {
    /// What texts end with in totals.
    ending: &'static str,
    /// The texts of all cells but the first, which is for null.
    texts: Dictionary,
    cells: Vec<Cells>,
    /// For null and each code of the column its cell.
    cell_of: Vec<u32>,
    epoch: u32,
    /// What was counted before the texts were too many to go on.
    breakdown: Breakdown,
}

/// Texts that are counted in an array at a time.
const MAX_COUNTED_TEXTS: usize = 20_000;

impl ByText {
    fn count(&mut self, coded: Option<&Coded>, weights: &Weights<'_>) {
        let Some(coded) = coded else {
            let rows = weights.kinds.len();
            let cells = self.cells_of_null();
            for row in 0..rows {
                weights.add(row, cells);
            }
            return;
        };
        self.learn(&coded.dictionary);
        for (row, code) in coded.codes.iter().enumerate() {
            // Null, the largest of all codes, becomes 0.
            let cell = self.cell_of[code.wrapping_add(1) as usize];
            weights.add(row, &mut self.cells[cell as usize]);
        }
    }

    fn cells_of_null(&mut self) -> &mut Cells {
        if self.cells.is_empty() {
            self.cells.push(Cells::default());
        }
        &mut self.cells[0]
    }

    /// Gives each new code of the column a cell.
    fn learn(&mut self, column: &Dictionary) {
        if self.texts.len() > MAX_COUNTED_TEXTS {
            self.flush();
        }
        if self.epoch != column.epoch() || self.cell_of.is_empty() {
            self.epoch = column.epoch();
            self.cell_of.clear();
            self.cell_of.push(0);
        }
        self.cells_of_null();
        for code in self.cell_of.len() - 1..column.len() {
            let code = u32::try_from(code).expect("codes are numbers of 32 bits");
            let text = self.texts.intern(column.get(code));
            if text as usize + 1 == self.cells.len() {
                self.cells.push(Cells::default());
            }
            self.cell_of.push(text + 1);
        }
    }

    /// Names what was counted so far.
    fn flush(&mut self) {
        let Self {
            ending,
            texts,
            cells,
            breakdown,
            ..
        } = self;
        let names = (0..texts.len()).map(|text| {
            let text = texts.get(u32::try_from(text).unwrap_or(NULL));
            String::from_utf8_lossy(text).into_owned() + *ending
        });
        for (name, cells) in std::iter::once(String::new())
            .chain(names)
            .zip(cells.iter())
        {
            let tally = tally_of(cells);
            if !tally.is_zero() {
                breakdown.add(&name, tally);
            }
        }
        *self = Self {
            ending: *ending,
            breakdown: std::mem::take(breakdown),
            ..Self::default()
        };
    }

    fn finish(mut self) -> Breakdown {
        self.flush();
        self.breakdown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_those_of_the_rules() {
        let parts = [
            "",
            "x",
            "photo",
            "access",
            "id_rsa",
            "credentials",
            "terraform",
            "env",
            ".env",
            "log",
            "sql",
            "jpg",
            "unknown",
            "tar",
            "gz",
            "zip",
            "1",
            "20240131",
            "bak",
            "tfstate",
            "JPG",
            "日本",
            "\u{fffd}",
            "abcdefghijklmnopqrstuvwxy",
        ];
        let mut extensions = Extensions::default();
        let mut column = Dictionary::default();
        extensions.begin(&column);
        let check = |name: &str, extensions: &mut Extensions, column: &mut Dictionary| {
            let (_, known) = extensions.of(name.as_bytes(), column);
            let found = known.unwrap_or_else(|| category_of(name.as_bytes()));
            assert_eq!(found, derived::category(name), "{name:?}");
        };
        for first in parts {
            check(first, &mut extensions, &mut column);
            for second in parts {
                check(&format!("{first}.{second}"), &mut extensions, &mut column);
                for third in parts {
                    let name = format!("{first}.{second}.{third}");
                    check(&name, &mut extensions, &mut column);
                    check(&format!("{name}.gz"), &mut extensions, &mut column);
                }
            }
        }
    }
}
