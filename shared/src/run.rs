//! A run and its parts as they are stored.
//!
//! One table, `pk` = `run#<run_id>`:
//!
//! | `sk` | holds |
//! |---|---|
//! | `run` | [`Run`]: the run itself |
//! | `account#<id>` | [`Account`]: whether its buckets could be listed |
//! | `destination#<region>` | [`Destination`]: the stack that receives reports in one Region |
//! | `bucket#<account>#<name>` | [`SourceBucket`]: where one source bucket stands |
//! | `left_out#<account>#<name>` | [`LeftOut`]: a bucket the input leaves out |
//! | `file#<bucket>#<file>` | [`InventoryFile`]: one file of the report of one bucket |
//! | `query#<nnn>` | [`Query`]: one query and its result |
//!
//! Runs are also found by start in the index `runs` (`collection` = `runs`, `started_at`).

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalogue::Severity;
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::input::{Problem, RunInput};
use crate::manifest::{FileFormat, ManifestUri, Md5Hash, SchemaField};
use crate::sample::Sample;
use crate::status::{InventoryStatus, Reason};

/// Days that the record of a run is kept.
pub const RECORD_DAYS: i64 = 400;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every source bucket of every account is covered and every query succeeded.
    Complete,
    /// Something is missing; the summary says what and why.
    Partial,
    /// The run itself broke off.
    Failed,
}

impl Outcome {
    /// The name in tables, logs and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What broke a run off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Error name, one of `TaskError`'s or of Step Functions'.
    pub error: String,
    /// What it said. Data from outside: escape it.
    pub cause: String,
}

impl Failure {
    /// The same as the reason of an account or a bucket that is given up.
    pub fn reason(&self) -> Reason {
        Reason::new(&self.error, cause_message(&self.cause))
    }
}

/// The words in the cause of a failed execution or state, which may come wrapped in the JSON
/// document of a failed function.
pub fn cause_message(cause: &str) -> String {
    serde_json::from_str::<serde_json::Value>(cause)
        .ok()
        .and_then(|document| Some(document.get("errorMessage")?.as_str()?.to_owned()))
        .unwrap_or_else(|| cause.to_owned())
}

/// The run itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its id.
    pub run_id: RunId,
    /// The Harvester execution.
    pub execution_arn: String,
    /// When that execution started.
    pub started_at: Timestamp,
    /// When the run goes on without missing reports.
    pub deadline: Timestamp,
    /// The checked input.
    #[serde(with = "json_text")]
    pub input: RunInput,
    /// Doubtful points of the input.
    #[serde(with = "json_text")]
    pub warnings: Vec<StoredProblem>,
    /// Regions that have source buckets; grows while buckets are discovered.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub regions: BTreeSet<Region>,
    /// Source buckets in status `in_progress`; changes only together with the bucket.
    #[serde(default)]
    pub in_progress: u64,
    /// Token of the waiting state; the newest wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
    /// Since when no bucket can become `done` any more: publication has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_at: Option<Timestamp>,
    /// Whether this run made the database.
    #[serde(default)]
    pub made_database: bool,
    /// Whether this run made the table.
    #[serde(default)]
    pub made_table: bool,
    /// What broke the run off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When the summary was sent; claimed before sending, so at most one is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary_sent_at: Option<Timestamp>,
    /// Why SES did not take the summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mail_failure: Option<Reason>,
    /// How the run ended; set with the summary, or by Cleanup when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// When Cleanup found nothing left of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleaned_up_at: Option<Timestamp>,
}

impl Run {
    /// Whether every bucket that a report is expected of has come to an end. Meaningful once
    /// the inventory configurations are in place.
    pub fn is_settled(&self) -> bool {
        self.in_progress == 0
    }

    /// Seconds since the epoch after which the record may vanish.
    pub fn expires_at(started_at: Timestamp) -> i64 {
        started_at.as_second() + RECORD_DAYS * 24 * 3_600
    }
}

/// A problem of the input as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredProblem {
    /// The field.
    pub path: String,
    /// What is doubtful.
    pub message: String,
}

impl From<Problem> for StoredProblem {
    fn from(problem: Problem) -> Self {
        Self {
            path: problem.path,
            message: problem.message,
        }
    }
}

/// One account of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub account: AccountId,
    /// Why its buckets could not be listed; absent when they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// A stack of one run in one Region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Its Region.
    pub region: Region,
    /// Name of the stack.
    pub stack: String,
    /// Where it stands.
    pub state: DestinationState,
    /// The destination bucket; absent until the stack is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketName>,
    /// Its ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_arn: Option<String>,
    /// Why it could not be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When its bucket was seen to be empty, right before the stack was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_empty_at: Option<Timestamp>,
}

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// Recorded, or being made.
    InProgress,
    /// Ready to receive reports.
    Complete,
    /// Could not be made; the buckets of the Region are not covered.
    Failed,
    /// Removed again.
    Deleted,
}

/// One source bucket of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceBucket {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub bucket: BucketName,
    /// Region.
    pub region: Region,
    /// Inventory status.
    pub status: InventoryStatus,
    /// Why it is not covered; always there unless it is covered, in progress or just discovered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Whether we were refused to list its content from the start, which is then no sign that the
    /// bucket was closed to us later.
    #[serde(default)]
    pub unlistable: bool,
    /// Whether S3 accepted the inventory configuration.
    #[serde(default)]
    pub configured: bool,
    /// Whether the inventory configuration is known to be gone again.
    #[serde(default)]
    pub configuration_removed: bool,
    /// Where the report is that exists and that this run takes, instead of asking S3 for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_report: Option<ManifestUri>,
    /// Key of the manifest whose report this run takes; a later one changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// MD5 of that manifest, by which it is told from another one in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report_md5: Option<String>,
    /// Files that report has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Files of it that are not in the snapshot yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_pending: Option<u64>,
    /// Why a message about it was given up, if one was: the last one's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Reason>,
    /// Rows consolidated: one for each version and delete marker.
    #[serde(default)]
    pub rows: u64,
    /// Current objects among them.
    #[serde(default)]
    pub objects: u64,
    /// Bytes of all versions.
    #[serde(default)]
    pub bytes: u64,
    /// Keys that were not UTF-8 and are kept in a replaced form.
    #[serde(default)]
    pub undecodable_keys: u64,
}

impl SourceBucket {
    /// Whether our inventory configuration is, as far as is known, still on the bucket.
    pub fn has_configuration(&self) -> bool {
        self.configured && !self.configuration_removed
    }

    /// A bucket just discovered.
    pub fn discovered(account: AccountId, bucket: BucketName, region: Region) -> Self {
        Self {
            account,
            bucket,
            region,
            status: InventoryStatus::InventoryConfigurationNotCreated,
            reason: None,
            unlistable: false,
            configured: false,
            configuration_removed: false,
            existing_report: None,
            report: None,
            report_md5: None,
            files: None,
            files_pending: None,
            dead_letter: None,
            rows: 0,
            objects: 0,
            bytes: 0,
            undecodable_keys: 0,
        }
    }
}

/// A bucket that the input leaves out; it is no source bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub bucket: BucketName,
    /// Region, where it was needed to decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// Which part of the input leaves it out.
    pub because: String,
}

/// One file of an inventory report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryFile {
    /// Owner of the source bucket.
    pub account: AccountId,
    /// The source bucket.
    pub bucket: BucketName,
    /// Region of the bucket the file is in; of a delivered report that of the source bucket.
    pub region: Region,
    /// Manifest that lists the file.
    pub report: String,
    /// The bucket the file is in.
    pub destination_bucket: BucketName,
    /// Its key there.
    pub key: String,
    /// Bytes, by the manifest.
    pub size: u64,
    /// MD5, by the manifest.
    pub md5: Md5Hash,
    /// Format of the file.
    pub format: FileFormat,
    /// Its columns, by the manifest.
    #[serde(with = "json_text")]
    pub schema: Vec<SchemaField>,
    /// Whether its rows are counted on the bucket.
    #[serde(default)]
    pub done: bool,
}

/// One query of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// Its number, from 0 in the order of the input.
    pub number: u32,
    /// What the summary calls it.
    pub name: String,
    /// What it tells, for queries of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tells: Option<String>,
    /// How bad it is when it finds something, for queries of the catalogue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// The SQL with the table put in.
    pub sql: String,
    /// Where it stands.
    pub state: QueryState,
    /// Athena's id of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Rows of its result, without the header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Its first rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Where Athena put its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_location: Option<String>,
    /// Bytes Athena read for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// Where a query stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueryState {
    /// Not started.
    Waiting,
    /// Queued or running in Athena.
    Running,
    /// Its result is there.
    Succeeded,
    /// It failed or was cancelled.
    Failed,
}

impl QueryState {
    /// The name in tables, logs and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// All that is stored of a run, by kind.
#[derive(Debug, Clone, Default)]
pub struct RunParts {
    /// `account#` items.
    pub accounts: Vec<Account>,
    /// `destination#` items.
    pub destinations: Vec<Destination>,
    /// `bucket#` items.
    pub buckets: Vec<SourceBucket>,
    /// `left_out#` items.
    pub left_out: Vec<LeftOut>,
    /// `query#` items by number.
    pub queries: Vec<Query>,
}

/// Stores a value as JSON text: what came from the user stays one readable attribute and empty
/// lists or odd keys cannot disturb the item around it.
mod json_text {
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(value).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map_err(serde::de::Error::custom)
    }
}
