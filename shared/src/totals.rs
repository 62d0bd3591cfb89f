//! Totals: what one inventory file, one bucket or a whole snapshot adds up to.
//!
//! Every file is counted once, when it is consolidated. Its totals are merged with those of the
//! other files at publication, so the summary needs no scan of the snapshot.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::derived::Derived;

mod breakdown;

pub use breakdown::{Breakdown, MAX_VALUES};

/// How many objects [`Totals::largest_objects`] holds at most.
pub const MAX_LARGEST_OBJECTS: usize = 20;

/// Totals of any part of a snapshot.
///
/// Merging is commutative and associative, so that the order in which files arrive does not
/// matter. Counts stop at the largest number instead of overflowing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// All objects and versions.
    pub all: Tally,
    /// Delete markers. They are counted nowhere else.
    pub delete_markers: u64,
    /// By storage class as S3 spells it; the empty text stands for none.
    pub by_storage_class: Breakdown,
    /// By encryption status as S3 spells it; the empty text stands for none.
    pub by_encryption_status: Breakdown,
    /// By replication status as S3 spells it; the empty text stands for none.
    pub by_replication_status: Breakdown,
    /// By extension; the empty text stands for none.
    pub by_extension: Breakdown,
    /// By category.
    pub by_category: Breakdown,
    /// By top prefix **with its slash** (`logs/`); the empty text stands for keys without a slash,
    /// which `/` alone does not.
    pub by_top_prefix: Breakdown,
    /// By size: under 2ⁿ are those of 2ⁿ to 2ⁿ⁺¹ - 1 bytes, under 0 the empty ones. Whatever has no
    /// size in its report is missing here.
    pub by_size: BTreeMap<u64, Tally>,
    /// By month of the last modification, in UTC. Whatever has no date in its report is missing here.
    pub by_month: BTreeMap<Month, Tally>,
    /// The largest current objects, the largest first.
    pub largest_objects: Vec<LargeObject>,
}

impl Totals {
    /// Counts one row of an inventory report. This is what counting means; the consolidator, which
    /// counts millions of rows a second, is tested against it.
    #[cfg(test)]
    pub(crate) fn observe(&mut self, row: &Row<'_>) {
        if row.is_delete_marker {
            self.delete_markers = self.delete_markers.saturating_add(1);
            return;
        }
        let tally = Tally::of(row.is_latest, row.size.unwrap_or(0));
        self.all.add(tally);
        self.by_storage_class
            .add(row.storage_class.unwrap_or_default(), tally);
        self.by_encryption_status
            .add(row.encryption_status.unwrap_or_default(), tally);
        self.by_replication_status
            .add(row.replication_status.unwrap_or_default(), tally);
        self.by_extension
            .add(row.derived.extension.as_deref().unwrap_or_default(), tally);
        self.by_category.add(row.derived.category.as_str(), tally);
        let top_prefix = row
            .derived
            .top_prefix
            .and_then(|prefix| row.key.get(..=prefix.len()));
        self.by_top_prefix
            .add(top_prefix.unwrap_or_default(), tally);
        if let Some(size) = row.size {
            let lower_bound = size.checked_ilog2().map_or(0, |exponent| 1 << exponent);
            self.by_size.entry(lower_bound).or_default().add(tally);
        }
        if let Some(month) = row
            .last_modified_milliseconds
            .and_then(Month::of_milliseconds)
        {
            self.by_month.entry(month).or_default().add(tally);
        }
        if row.is_latest {
            self.observe_size(row);
        }
    }

    #[cfg(test)]
    fn observe_size(&mut self, row: &Row<'_>) {
        let Some(size) = row.size else { return };
        let smallest = self.largest_objects.last();
        let is_full = self.largest_objects.len() >= MAX_LARGEST_OBJECTS;
        if is_full && smallest.is_some_and(|smallest| size < smallest.size) {
            return;
        }
        self.largest_objects.push(LargeObject {
            bucket: row.bucket.to_owned(),
            key: row.key.to_owned(),
            size,
            storage_class: row.storage_class.map(str::to_owned),
        });
        keep_largest(&mut self.largest_objects);
    }

    /// Adds the totals of another part.
    ///
    /// The breakdowns grow with every new value; call [`Totals::compact`] now and then when merging
    /// many parts.
    pub fn merge(&mut self, other: Self) {
        self.all.add(other.all);
        self.delete_markers = self.delete_markers.saturating_add(other.delete_markers);
        self.by_storage_class.merge(other.by_storage_class);
        self.by_encryption_status.merge(other.by_encryption_status);
        self.by_replication_status
            .merge(other.by_replication_status);
        self.by_extension.merge(other.by_extension);
        self.by_category.merge(other.by_category);
        self.by_top_prefix.merge(other.by_top_prefix);
        for (size, tally) in other.by_size {
            self.by_size.entry(size).or_default().add(tally);
        }
        for (month, tally) in other.by_month {
            self.by_month.entry(month).or_default().add(tally);
        }
        self.largest_objects.extend(other.largest_objects);
        keep_largest(&mut self.largest_objects);
    }

    /// Bounds every breakdown, see [`Breakdown::compact`].
    pub fn compact(&mut self) {
        for breakdown in [
            &mut self.by_storage_class,
            &mut self.by_encryption_status,
            &mut self.by_replication_status,
            &mut self.by_extension,
            &mut self.by_category,
            &mut self.by_top_prefix,
        ] {
            breakdown.compact();
        }
    }

    /// Rows counted: all versions and delete markers.
    pub fn rows(&self) -> u64 {
        self.all.versions.saturating_add(self.delete_markers)
    }
}

/// One row of an inventory report, as far as totals need it.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) struct Row<'a> {
    /// The source bucket.
    pub bucket: &'a str,
    /// The key.
    pub key: &'a str,
    /// What the key tells.
    pub derived: &'a Derived<'a>,
    /// Whether this is the current version; true too if the report is about current ones only.
    pub is_latest: bool,
    /// Whether this is a delete marker, which has neither size nor content.
    pub is_delete_marker: bool,
    /// Size in bytes, if told.
    pub size: Option<u64>,
    /// Time of the last modification in epoch milliseconds, if told.
    pub last_modified_milliseconds: Option<i64>,
    /// As S3 spells it, if told.
    pub storage_class: Option<&'a str>,
    /// As S3 spells it, if told.
    pub encryption_status: Option<&'a str>,
    /// As S3 spells it; `None` if the object is not replicated.
    pub replication_status: Option<&'a str>,
}

/// Numbers of objects and their sizes. Delete markers do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Current versions.
    pub objects: u64,
    /// Bytes of the current versions.
    pub object_bytes: u64,
    /// All versions, the current ones included.
    pub versions: u64,
    /// Bytes of all versions, the current ones included.
    pub version_bytes: u64,
}

impl Tally {
    #[cfg(test)]
    fn of(is_latest: bool, size: u64) -> Self {
        let current = u64::from(is_latest);
        Self {
            objects: current,
            object_bytes: current * size,
            versions: 1,
            version_bytes: size,
        }
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }

    /// Adds another tally, and stops at the largest number.
    pub fn add(&mut self, other: Self) {
        *self = self.zip(other, u64::saturating_add);
    }

    /// Each number as the larger of the two.
    pub(crate) fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            objects: join(self.objects, other.objects),
            object_bytes: join(self.object_bytes, other.object_bytes),
            versions: join(self.versions, other.versions),
            version_bytes: join(self.version_bytes, other.version_bytes),
        }
    }
}

/// A month of the calendar. Its text is `YYYY-MM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month {
    year: i16,
    month: i8,
}

impl Month {
    /// The month in UTC; `None` for instants outside the years -9999 to 9999.
    pub fn of_milliseconds(epoch_milliseconds: i64) -> Option<Self> {
        let instant = jiff::Timestamp::from_millisecond(epoch_milliseconds).ok()?;
        let date = jiff::tz::Offset::UTC.to_datetime(instant).date();
        Some(Self {
            year: date.year(),
            month: date.month(),
        })
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (year, month) = text.rsplit_once('-')?;
            let parsed = Self {
                year: year.parse().ok()?,
                month: month.parse().ok()?,
            };
            let is_valid = (1..=12).contains(&parsed.month) && parsed.to_string() == text;
            is_valid.then_some(parsed)
        };
        parse().ok_or_else(|| format!("{text:?} is not a month (YYYY-MM)"))
    }
}

impl TryFrom<String> for Month {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        month.to_string()
    }
}

/// One of the largest objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LargeObject {
    /// The source bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// As S3 spells it, if told.
    pub storage_class: Option<String>,
}

/// Sorts by size, the largest first, and drops what is too much. Ties are broken by everything
/// else, so that the outcome does not depend on the order of arrival.
pub(crate) fn keep_largest(objects: &mut Vec<LargeObject>) {
    objects.sort_unstable_by(|a, b| b.size.cmp(&a.size).then_with(|| a.cmp(b)));
    objects.truncate(MAX_LARGEST_OBJECTS);
}

#[cfg(test)]
mod tests;
