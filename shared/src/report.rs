//! The report page of a run: one HTML file with everything in it, stored as
//! `reports/<run_id>/index.html`. It is made from the records of the run and its totals, without a
//! scan of the snapshot, and shows what a mail has no room for: every bucket, what fills it, the
//! first rows of every query.
//!
//! It opens in any browser, from a disk or through a signed link, and asks the network for nothing:
//! its own policy forbids it. The policy also lets nothing run but the one script below, whatever
//! names and messages from outside hold.

use jiff::Timestamp;

use crate::run::SourceBucket;
use crate::summary::Summary;
use crate::top_prefixes::TopPrefixes;
use crate::totals::Totals;

mod charts;
mod data;
mod findings;
mod lists;
mod render;
mod view;

pub use render::MAX_BYTES;

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// The summary of the run.
    pub summary: &'a Summary,
    /// Its source buckets.
    pub buckets: &'a [SourceBucket],
    /// Totals of the snapshot; absent when it was not published.
    pub totals: Option<&'a Totals>,
    /// Top prefixes of the largest buckets; absent when they were not kept.
    pub top_prefixes: Option<&'a TopPrefixes>,
    /// When the records of a run that goes on were read; absent when it is over.
    pub as_of: Option<Timestamp>,
}

impl Report<'_> {
    /// The page. It is at most [`MAX_BYTES`] for up to 10,000 buckets: texts and samples are cut as
    /// much as that takes, and the page says so; the buckets themselves are all there.
    pub fn page(&self) -> String {
        render::page(self)
    }
}

#[cfg(test)]
mod tests;
