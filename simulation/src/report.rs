//! The report page, which is not rendered: only that it is stored matters here.

use real_shared::run::SourceBucket;
use real_shared::top_prefixes::TopPrefixes;
use real_shared::totals::Totals;

use crate::summary::Summary;

/// What the page would show.
#[derive(Debug)]
pub struct Report<'a> {
    /// The summary.
    pub summary: &'a Summary,
    /// All source buckets.
    pub buckets: &'a [SourceBucket],
    /// What they add up to.
    pub totals: Option<&'a Totals>,
    /// What fills the largest.
    pub top_prefixes: Option<&'a TopPrefixes>,
    /// When the run was looked at, of one that goes on.
    pub as_of: Option<jiff::Timestamp>,
}

impl Report<'_> {
    /// The page.
    pub fn page(&self) -> String {
        String::new()
    }
}
