//! Tallies by the values of one column, in bounded space.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Tally;

/// How many values a breakdown holds after [`Breakdown::compact`].
pub const MAX_VALUES: usize = 1_000;

/// How many values a breakdown may collect before it compacts itself while rows are counted. The
/// fewer compactions, the smaller the shortfall; this many take a few megabytes.
const MAX_COLLECTED_VALUES: usize = 20 * MAX_VALUES;

/// Tallies by the values of one column.
///
/// Exact as long as there are no more than [`MAX_VALUES`] values in a file, which holds for nearly
/// all. Beyond that the small ones move to [`Breakdown::other`], and a value is listed with too
/// little if some of its rows were counted after it had moved.
/// How much too little at most is [`Breakdown::shortfall`]: a value's true tally, listed or not,
/// lies between what is listed and that plus the shortfall. `values` and `other` together are
/// always the exact sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Tally by value.
    pub values: BTreeMap<String, Tally>,
    /// What was moved away from `values`.
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub other: Tally,
    /// The most that any value may be listed short of; zero if all is exact.
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub shortfall: Tally,
}

impl Breakdown {
    /// Counts something under a value.
    pub fn add(&mut self, value: &str, tally: Tally) {
        if let Some(sum) = self.values.get_mut(value) {
            sum.add(tally);
            return;
        }
        if self.values.len() >= MAX_COLLECTED_VALUES {
            self.compact();
        }
        self.values.insert(value.to_owned(), tally);
    }

    /// Adds another breakdown. The values of both stay listed, however many they are.
    pub fn merge(&mut self, other: Self) {
        for (value, tally) in other.values {
            self.values.entry(value).or_default().add(tally);
        }
        self.other.add(other.other);
        self.shortfall.add(other.shortfall);
    }

    /// Keeps the [`MAX_VALUES`] weightiest values and moves the rest to [`Breakdown::other`].
    ///
    /// Half of them are those with the most versions, the others those with the most bytes. Ties go
    /// to the value that sorts first, so the same breakdown always becomes the same.
    pub fn compact(&mut self) {
        if self.values.len() <= MAX_VALUES {
            return;
        }
        let mut ranked: Vec<(String, Tally)> =
            std::mem::take(&mut self.values).into_iter().collect();
        ranked.sort_by_key(|(_, tally)| std::cmp::Reverse((tally.versions, tally.version_bytes)));
        let mut by_bytes = ranked.split_off(MAX_VALUES / 2);
        by_bytes.sort_by(|(a_value, a), (b_value, b)| {
            let weight = |tally: &Tally| (tally.version_bytes, tally.versions);
            weight(b).cmp(&weight(a)).then_with(|| a_value.cmp(b_value))
        });
        let moved = by_bytes.split_off(MAX_VALUES - MAX_VALUES / 2);
        let mut largest_moved = Tally::default();
        for (_, tally) in moved {
            self.other.add(tally);
            largest_moved = largest_moved.max(tally);
        }
        self.shortfall.add(largest_moved);
        self.values = ranked.into_iter().chain(by_bytes).collect();
    }

    /// Everything counted, under whatever value.
    pub fn sum(&self) -> Tally {
        self.values.values().fold(self.other, |mut sum, tally| {
            sum.add(*tally);
            sum
        })
    }
}
