//! The run input: what a person or a schedule gives to start a run. `docs/run-input.md` is its
//! reference. Checking collects every problem with its field path, so that one answer is enough.

mod check;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::check::{
    Checked, FIELDS, MAX_STORED_BYTES, Problem, Surroundings, check, describe, is_identifier,
};
use crate::catalogue::Given;
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::manifest::ManifestUri;

/// Database that holds the snapshot tables when the input names none.
pub const DEFAULT_DATABASE: &str = "s3insights";
/// Minutes until a run goes on without the reports that have not come: S3 promises the first report
/// within 48 hours (2,880 minutes).
pub const DEFAULT_INVENTORY_TIMEOUT_MINUTES: u32 = 3_000;
/// The same for a smoke run, whose reports do not come from S3 Inventory.
pub const DEFAULT_SMOKE_TEST_TIMEOUT_MINUTES: u32 = 10;
/// Minutes between two looks at buckets whose report has not come.
pub const DEFAULT_STATUS_REFRESH_MINUTES: u32 = 30;

/// A checked run input with its defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInput {
    /// Made from the execution's start when left out.
    pub run_id: RunId,
    /// The accounts whose buckets the run covers; never empty, no account twice.
    pub accounts: Vec<AccountInput>,
    /// Glue database of the snapshot table.
    pub athena_database_name: String,
    /// Glue table of this run; must not exist yet.
    pub athena_table_name: String,
    /// Proves the delivery path of every Region and covers no bucket.
    pub is_smoke_test: bool,
    /// Queries to run over the snapshot, in this order.
    pub athena_queries: Vec<QueryInput>,
    /// Sender of the summary; must be a verified SES identity.
    pub sender_email_address: String,
    /// 1 to 50 recipients of the summary.
    pub recipient_email_addresses: Vec<String>,
    /// Regions the run covers, each enabled in the host account; `None` for every Region. Then a
    /// bucket in one that is not enabled is not covered, instead of left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_regions: Option<Vec<Region>>,
    /// Reports that exist, of buckets that so need none of this run; no bucket twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub existing_inventories: Vec<ExistingInventory>,
    /// Minutes after the start when the run goes on without missing reports.
    pub inventory_timeout_minutes: u32,
    /// Minutes between two looks at buckets whose report has not come.
    pub status_refresh_minutes: u32,
}

/// One account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountInput {
    /// Its id.
    pub id: AccountId,
    /// Bucket names to leave out; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// A report that exists, and the source bucket that it is taken for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExistingInventory {
    /// The source bucket.
    pub bucket: BucketName,
    /// Where the report is.
    pub manifest: ManifestUri,
}

/// One query of a run: SQL of the user's own, or one of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum QueryInput {
    /// A query of the catalogue by its id.
    Catalog {
        /// The id, see [`crate::catalogue`].
        catalog: String,
        /// Arguments that are not to be the default, checked when the input is.
        #[serde(default, skip_serializing_if = "Given::is_empty")]
        parameters: Given,
    },
    /// Trusted SQL; `{ATHENA_TABLE}` stands for the snapshot table.
    Sql {
        /// What the summary calls it.
        name: String,
        /// Its text.
        query: String,
    },
}

impl RunInput {
    /// When the run goes on without missing reports.
    pub fn deadline(&self, started_at: Timestamp) -> Timestamp {
        started_at + SignedDuration::from_mins(i64::from(self.inventory_timeout_minutes))
    }

    /// Where the report is that the input names for a bucket; `None` when it names none.
    pub fn existing_inventory_of(&self, bucket: &BucketName) -> Option<&ManifestUri> {
        self.existing_inventories
            .iter()
            .find(|existing| existing.bucket == *bucket)
            .map(|existing| &existing.manifest)
    }
}

/// Whether a bucket is left out by an account's exclusions; gives the pattern that does it.
pub fn excluded_by<'a>(exclude: &'a [String], bucket: &BucketName) -> Option<&'a str> {
    exclude
        .iter()
        .map(String::as_str)
        .find(|pattern| glob_matches(pattern, bucket.as_str()))
}

/// Whether a whole name fits a pattern, in which `*` stands for any text and everything else for itself.
/// An input may have tens of thousands of patterns, and each is held against every bucket.
fn glob_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut between) = name
        .strip_prefix(first)
        .and_then(|name| name.strip_suffix(last))
    else {
        return false;
    };
    // What is found as early as it can be leaves the most for what follows.
    for part in middle.split('*') {
        let Some((_, after)) = between.split_once(part) else {
            return false;
        };
        between = after;
    }
    true
}

#[cfg(test)]
mod tests;
