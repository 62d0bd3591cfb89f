//! Counts everything that totals are made of, by numbers instead of names.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::deriving::Derived;
use crate::consolidation::hybrid::run_end;
use crate::consolidation::rows::{Coded, Dictionary, NULL, Rows, Texts, Values, place};
use crate::ids::BucketName;
use crate::totals::{self, Breakdown, LargeObject, MAX_LARGEST_OBJECTS, Month, Tally, Totals};

/// How a row counts; as 0 it is a noncurrent version.
const CURRENT: u8 = 1;
const DELETE_MARKER: u8 = 2;
const KINDS: usize = 3;

/// What the rows of one value add up to, by how they count. The sums of bytes are exact: it takes more
/// rows than a file can have to fill them.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    counts: [u64; KINDS],
    bytes: [u128; KINDS],
}

impl Cell {
    /// Adds a row that counts in a way and has a size.
    #[inline]
    fn add(&mut self, (kind, size): (u8, u64)) {
        let kind = usize::from(kind).min(KINDS - 1);
        self.counts[kind] += 1;
        self.bytes[kind] += u128::from(size);
    }

    fn tally(&self) -> Tally {
        let clamp = |bytes: u128| u64::try_from(bytes).unwrap_or(u64::MAX);
        let [noncurrent, current, _] = self.counts;
        let [noncurrent_bytes, current_bytes, _] = self.bytes;
        Tally {
            objects: current,
            object_bytes: clamp(current_bytes),
            versions: current + noncurrent,
            version_bytes: clamp(current_bytes + noncurrent_bytes),
        }
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

/// All counters.
#[derive(Debug)]
pub(super) struct Counted {
    weights: Weights,
    /// Under what each row's size is counted.
    powers: Vec<u8>,
    storage_class: ByText,
    encryption_status: ByText,
    replication_status: ByText,
    extension: ByText,
    top_prefix: ByText,
    category: ByText,
    by_power: Vec<Cell>,
    by_month: Vec<Cell>,
    rare_months: BTreeMap<Month, Cell>,
    largest: Vec<LargeObject>,
    delete_markers: u64,
}

impl Counted {
    pub(super) fn new() -> Self {
        Self {
            weights: Weights::default(),
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
            by_power: vec![Cell::default(); usize::from(NO_SIZE) + 1],
            by_month: vec![Cell::default(); MONTHS.1.len()],
            rare_months: BTreeMap::new(),
            largest: Vec::new(),
            delete_markers: 0,
        }
    }

    pub(super) fn count(&mut self, rows: &Rows, keys: &Texts, derived: &Derived) {
        self.classify(rows);
        let weights = &self.weights;
        let coded = |place: usize| match &rows.columns[place] {
            Values::Coded(coded) => Some(coded),
            _ => None,
        };
        for (by_text, coded) in [
            (&mut self.extension, Some(&derived.extension)),
            (&mut self.top_prefix, Some(&derived.top_prefix)),
            (&mut self.category, Some(&derived.category)),
            (&mut self.storage_class, coded(place::STORAGE_CLASS)),
            (&mut self.encryption_status, coded(place::ENCRYPTION_STATUS)),
            (
                &mut self.replication_status,
                coded(place::REPLICATION_STATUS),
            ),
        ] {
            by_text.count(coded, weights);
        }
        for (power, row) in self.powers.iter().zip(weights.rows()) {
            self.by_power[usize::from(*power)].add(row);
        }
        if let Values::Numbers(instants) = &rows.columns[place::LAST_MODIFIED_DATE] {
            let places = MONTHS.0.as_slice();
            let by_month = self.by_month.as_mut_slice();
            for (number, (instant, row)) in instants.values.iter().zip(weights.rows()).enumerate() {
                if !instants.valid.get(number).copied().unwrap_or(true) {
                    continue;
                }
                // Those before 1970 become huge, and are as rare.
                let day = instant.cast_unsigned() / MILLISECONDS_OF_DAY.cast_unsigned();
                match usize::try_from(day).ok().and_then(|day| places.get(day)) {
                    Some(place) => by_month[usize::from(*place)].add(row),
                    None => {
                        if let Some(month) = Month::of_milliseconds(*instant) {
                            self.rare_months.entry(month).or_default().add(row);
                        }
                    }
                }
            }
        }
        let is_marker = |kind: &u8| u64::from(*kind == DELETE_MARKER);
        self.delete_markers += weights.kinds.iter().map(is_marker).sum::<u64>();
        self.keep_largest(rows, keys);
    }

    /// Finds out how each row counts.
    fn classify(&mut self, rows: &Rows) {
        let Self {
            weights, powers, ..
        } = self;
        let Weights { kinds, sizes, .. } = weights;
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
                *kind = if *marker == 1 { DELETE_MARKER } else { *kind };
            }
        }
        sizes.clear();
        powers.clear();
        if let Values::Numbers(numbers) = &rows.columns[place::SIZE] {
            // Less than nothing is taken for no size.
            let values = numbers.values.iter();
            sizes.extend(values.clone().map(|size| (*size).max(0).cast_unsigned()));
            powers.extend(values.map(|size| u64::try_from(*size).map_or(NO_SIZE, power_of)));
            let counted = sizes.iter_mut().zip(powers.iter_mut());
            for ((size, power), valid) in counted.zip(&numbers.valid) {
                *size = if *valid { *size } else { 0 };
                *power = if *valid { *power } else { NO_SIZE };
            }
        } else {
            sizes.resize(rows.len, 0);
            powers.resize(rows.len, NO_SIZE);
        }
        weights.add_up();
    }

    fn keep_largest(&mut self, rows: &Rows, keys: &Texts) {
        let mut smallest = self.smallest_kept();
        if self.weights.largest < smallest {
            return;
        }
        for row in 0..rows.len {
            let size = self.weights.sizes[row];
            let is_object = self.weights.kinds[row] == CURRENT && self.powers[row] != NO_SIZE;
            if size < smallest || !is_object {
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

    pub(super) fn finish(mut self, bucket: &BucketName) -> Totals {
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
        for (power, cell) in (0..NO_SIZE).zip(&self.by_power) {
            let lower_bound = power.checked_sub(1).map_or(0, |exponent| 1 << exponent);
            keep(&mut totals.by_size, lower_bound, cell);
        }
        for (month, cell) in MONTHS.1.iter().zip(&self.by_month) {
            keep(&mut totals.by_month, *month, cell);
        }
        for (month, cell) in &self.rare_months {
            keep(&mut totals.by_month, *month, cell);
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
    let power = u64::BITS - size.leading_zeros();
    u8::try_from(power).unwrap_or(NO_SIZE)
}

/// Lists what has been counted, unless it is nothing but delete markers.
fn keep<K: Ord>(tallies: &mut BTreeMap<K, Tally>, key: K, cell: &Cell) {
    let tally = cell.tally();
    if !tally.is_zero() {
        tallies.entry(key).or_default().add(tally);
    }
}

/// How much each row of a batch weighs.
#[derive(Debug, Default)]
struct Weights {
    /// How each row counts.
    kinds: Vec<u8>,
    /// The size of each row, 0 if it has none.
    sizes: Vec<u64>,
    /// What all rows before each one weigh, and at the end what all do: the difference of two is what
    /// the rows in between weigh.
    before: Vec<Weight>,
    /// Rows whose sizes are sure to add up to less than 2 to the power of 64.
    addable: usize,
    /// The largest size.
    largest: u64,
}

/// Sums by how rows count, but for delete markers, which have none. They start over at 0 after the
/// largest number.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    counts: [u64; 2],
    bytes: [u64; 2],
}

impl Weights {
    fn add_up(&mut self) {
        let Self {
            kinds,
            sizes,
            before,
            addable,
            largest,
        } = self;
        before.clear();
        let mut sum = Weight::default();
        *largest = 0;
        before.push(sum);
        before.extend(kinds.iter().zip(sizes).map(|(kind, size)| {
            *largest = (*size).max(*largest);
            for (number, of_kind) in [0, CURRENT].into_iter().enumerate() {
                let counts = u64::from(*kind == of_kind);
                sum.counts[number] += counts;
                sum.bytes[number] = sum.bytes[number].wrapping_add(*size * counts);
            }
            sum
        }));
        // No object is as large, but a damaged file may say so.
        *addable = if *largest >> 48 == 0 { 1 << 16 } else { 1 };
    }

    /// Adds the rows from one to another, of which there are no more than `addable`.
    #[inline]
    fn add(&self, from: usize, to: usize, cell: &mut Cell) {
        let (from, to) = (&self.before[from], &self.before[to]);
        for kind in 0..2 {
            let bytes = to.bytes[kind].wrapping_sub(from.bytes[kind]);
            cell.counts[kind] += to.counts[kind] - from.counts[kind];
            cell.bytes[kind] += u128::from(bytes);
        }
    }

    fn rows(&self) -> impl Iterator<Item = (u8, u64)> {
        self.kinds.iter().copied().zip(self.sizes.iter().copied())
    }
}

/// Rows counted by the texts of one column.
#[derive(Debug, Default)]
struct ByText {
    /// What texts end with in totals.
    ending: &'static str,
    /// The texts of all cells but the first, which is for null.
    texts: Dictionary,
    cells: Vec<Cell>,
    /// For null and each code of the column its cell.
    cell_of: Vec<u32>,
    epoch: u32,
    /// What was counted before the texts were too many to go on.
    breakdown: Breakdown,
}

/// Texts that are counted in an array at a time.
const MAX_COUNTED_TEXTS: usize = 20_000;

impl ByText {
    fn count(&mut self, coded: Option<&Coded>, weights: &Weights) {
        let Some(coded) = coded else {
            let cell = self.cell_of_null();
            let rows = weights.sizes.len();
            for from in (0..rows).step_by(weights.addable) {
                weights.add(from, rows.min(from + weights.addable), cell);
            }
            return;
        };
        self.learn(&coded.dictionary);
        let mut from = 0;
        while let Some(code) = coded.codes.get(from) {
            let to = run_end(&coded.codes, from).min(from + weights.addable);
            // Null, the largest of all codes, becomes 0.
            let cell = self.cell_of[code.wrapping_add(1) as usize];
            weights.add(from, to, &mut self.cells[cell as usize]);
            from = to;
        }
    }

    fn cell_of_null(&mut self) -> &mut Cell {
        if self.cells.is_empty() {
            self.cells.push(Cell::default());
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
        self.cell_of_null();
        for code in self.cell_of.len() - 1..column.len() {
            let code = u32::try_from(code).expect("codes are numbers of 32 bits");
            let text = self.texts.intern(column.get(code));
            if text as usize + 1 == self.cells.len() {
                self.cells.push(Cell::default());
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
        for (name, cell) in std::iter::once(String::new())
            .chain(names)
            .zip(cells.iter())
        {
            let tally = cell.tally();
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
