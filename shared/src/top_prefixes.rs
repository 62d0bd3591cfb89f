//! Top prefixes of the largest source buckets: what the report page shows inside of a bucket.
//!
//! The totals of a run add up all buckets, those of a file are one of many. In between is what
//! people ask for: what fills this bucket. It is kept for the largest buckets only, and of each
//! only the weightiest prefixes, so that it stays small whatever the estate holds.

use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, BucketName};
use crate::run::SourceBucket;
use crate::totals::{Breakdown, Tally};

/// Of how many buckets the top prefixes are kept.
pub const MAX_BUCKETS: usize = 200;
/// How many top prefixes of a bucket are kept.
pub const MAX_PREFIXES: usize = 12;

/// Top prefixes of the largest source buckets of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopPrefixes {
    /// The largest buckets in status `done`, the largest first.
    pub buckets: Vec<BucketPrefixes>,
    /// How many more buckets are in status `done`.
    pub more_buckets: u64,
}

/// Top prefixes of one source bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPrefixes {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub bucket: BucketName,
    /// Those with the most bytes, the weightiest first.
    pub prefixes: Vec<Prefix>,
    /// How many more there are; at least so many if there is a shortfall.
    pub more_prefixes: u64,
    /// What they add up to.
    pub other: Tally,
    /// The most that a prefix may be listed short of, see [`Breakdown::shortfall`].
    #[serde(default, skip_serializing_if = "Tally::is_zero")]
    pub shortfall: Tally,
}

/// What is under one top prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// With its slash (`logs/`); the empty text stands for keys without a slash. Data from outside:
    /// escape it.
    pub prefix: String,
    /// What is under it.
    pub tally: Tally,
}

/// Puts buckets in the order in which [`Collector`] takes them: the largest first. Ties go to the
/// one that sorts first, so the same buckets always come in the same order.
pub fn largest_first(buckets: &mut [&SourceBucket]) {
    buckets.sort_by(|a, b| {
        let by_size = b.bytes.cmp(&a.bytes);
        by_size.then_with(|| (&a.account, &a.bucket).cmp(&(&b.account, &b.bucket)))
    });
}

/// Collects top prefixes file by file. One bucket at a time is held as a whole, which bounds what
/// is needed, so all files of a bucket have to come one after another.
#[derive(Debug)]
pub struct Collector<'a> {
    buckets: &'a [&'a SourceBucket],
    open: Option<(usize, Breakdown)>,
    collected: Vec<BucketPrefixes>,
}

impl<'a> Collector<'a> {
    /// For these buckets in status `done`, see [`largest_first`].
    pub fn new(buckets: &'a [&'a SourceBucket]) -> Self {
        Self {
            buckets,
            open: None,
            collected: Vec::new(),
        }
    }

    /// Adds a file of the bucket of that rank, from 0. Ranks never go down.
    pub fn add(&mut self, rank: usize, by_top_prefix: &Breakdown) {
        if rank >= self.buckets.len().min(MAX_BUCKETS) {
            return;
        }
        match &mut self.open {
            Some((open, breakdown)) if *open == rank => {
                breakdown.merge(by_top_prefix.clone());
                breakdown.compact();
            }
            _ => {
                self.close();
                self.open = Some((rank, by_top_prefix.clone()));
            }
        }
    }

    /// All that was collected.
    pub fn finish(mut self) -> TopPrefixes {
        self.close();
        TopPrefixes {
            more_buckets: self.buckets.len().saturating_sub(MAX_BUCKETS) as u64,
            buckets: self.collected,
        }
    }

    fn close(&mut self) {
        if let Some((rank, breakdown)) = self.open.take() {
            let bucket = self.buckets[rank];
            self.collected.push(BucketPrefixes::of(bucket, breakdown));
        }
    }
}

impl BucketPrefixes {
    fn of(bucket: &SourceBucket, breakdown: Breakdown) -> Self {
        let mut other = breakdown.other;
        let mut prefixes: Vec<Prefix> = breakdown
            .values
            .into_iter()
            .map(|(prefix, tally)| Prefix { prefix, tally })
            .collect();
        prefixes.sort_by(|a, b| {
            let weight = |entry: &Prefix| (entry.tally.version_bytes, entry.tally.versions);
            let by_weight = weight(b).cmp(&weight(a));
            by_weight.then_with(|| a.prefix.cmp(&b.prefix))
        });
        let rest = prefixes.split_off(prefixes.len().min(MAX_PREFIXES));
        for entry in &rest {
            other.add(entry.tally);
        }
        Self {
            account: bucket.account.clone(),
            bucket: bucket.bucket.clone(),
            prefixes,
            more_prefixes: rest.len() as u64,
            other,
            shortfall: breakdown.shortfall,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str, bytes: u64) -> SourceBucket {
        let mut bucket = SourceBucket::discovered(
            AccountId::try_from("111111111111").unwrap(),
            BucketName::try_from(name).unwrap(),
            "eu-west-1".parse().unwrap(),
        );
        bucket.bytes = bytes;
        bucket
    }

    fn breakdown(values: &[(&str, u64)]) -> Breakdown {
        let mut breakdown = Breakdown::default();
        for (value, bytes) in values {
            breakdown.add(value, tally(*bytes));
        }
        breakdown
    }

    fn tally(bytes: u64) -> Tally {
        Tally {
            objects: 1,
            object_bytes: bytes,
            versions: 1,
            version_bytes: bytes,
        }
    }

    #[test]
    fn files_of_a_bucket_are_added_up() {
        let (small, large) = (bucket("small", 1), bucket("large", 12));
        let mut buckets = vec![&small, &large];
        largest_first(&mut buckets);
        let mut collector = Collector::new(&buckets);
        collector.add(0, &breakdown(&[("logs/", 2), ("", 1)]));
        collector.add(0, &breakdown(&[("logs/", 3), ("data/", 6)]));
        collector.add(1, &breakdown(&[("", 1)]));
        let collected = collector.finish();
        let listed: Vec<(&str, Vec<(&str, u64)>)> = collected
            .buckets
            .iter()
            .map(|entry| {
                let prefixes = entry.prefixes.iter();
                let pairs = prefixes.map(|p| (p.prefix.as_str(), p.tally.version_bytes));
                (entry.bucket.as_str(), pairs.collect())
            })
            .collect();
        assert_eq!(
            listed,
            [
                ("large", vec![("data/", 6), ("logs/", 5), ("", 1)]),
                ("small", vec![("", 1)])
            ]
        );
        assert_eq!(collected.more_buckets, 0);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let all: Vec<SourceBucket> = (0..MAX_BUCKETS + 3)
            .map(|number| bucket(&format!("bucket-{number:04}"), 7))
            .collect();
        let mut buckets: Vec<&SourceBucket> = all.iter().rev().collect();
        largest_first(&mut buckets);
        let prefixes: Vec<String> = (0..MAX_PREFIXES + 2).map(|n| format!("{n:02}/")).collect();
        let values: Vec<(&str, u64)> = prefixes.iter().map(|p| (p.as_str(), 5)).collect();
        let mut collector = Collector::new(&buckets);
        for rank in 0..buckets.len() {
            collector.add(rank, &breakdown(&values));
        }
        let collected = collector.finish();
        assert_eq!(collected.buckets.len(), MAX_BUCKETS);
        assert_eq!(collected.more_buckets, 3);
        let first = &collected.buckets[0];
        assert_eq!(first.bucket.as_str(), "bucket-0000");
        assert_eq!(first.prefixes.len(), MAX_PREFIXES);
        assert_eq!((first.more_prefixes, first.other.version_bytes), (2, 10));
    }

    #[test]
    fn prefixes_beyond_counting_leave_a_shortfall() {
        let bucket = bucket("wide", 1);
        let buckets = [&bucket];
        let names: Vec<String> = (0..3_000).map(|number| format!("{number}/")).collect();
        let mut collector = Collector::new(&buckets);
        for half in names.chunks(1_500) {
            let values: Vec<(&str, u64)> = half.iter().map(|name| (name.as_str(), 2)).collect();
            collector.add(0, &breakdown(&values));
        }
        let collected = collector.finish();
        let wide = &collected.buckets[0];
        assert!(!wide.shortfall.is_zero());
        let listed: u64 = wide.prefixes.iter().map(|p| p.tally.version_bytes).sum();
        assert_eq!(listed + wide.other.version_bytes, 6_000);
    }
}
