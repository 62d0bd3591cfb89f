//! The event that tells other systems that a run has ended, so that they can act on its snapshot. It
//! goes to the default event bus of the host account, in the host Region.

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::{DeploymentName, RunId};
use crate::naming;
use crate::outcome::Coverage;
use crate::run::{Failure, Outcome, QueryState};
use crate::summary::{Contents, Setting, Summary};

/// `source` of the event.
pub const SOURCE: &str = "s3insights";
/// `detail-type` of the event.
pub const DETAIL_TYPE: &str = "S3Insights Run Ended";

/// The `detail` of the event. Counts only: what they are counts of is in the summary, which may
/// be of any size, while events are small.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunEnded {
    /// The deployment that the run is of.
    pub deployment: DeploymentName,
    /// The run. The event may come more than once: this is what tells a repeat.
    pub run_id: RunId,
    /// How it ended. `complete` means that all of it is in the snapshot.
    pub outcome: Outcome,
    /// What broke it off; null unless the outcome is `failed`.
    pub failure: Option<Failure>,
    /// Whether it only proved the delivery path, and left no snapshot.
    pub is_smoke_test: bool,
    /// The Harvester execution.
    pub execution_arn: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When its summary was ready. What it made for itself may still be being removed.
    pub ended_at: Timestamp,
    /// Glue database of the snapshot table.
    pub database: String,
    /// The snapshot table.
    pub table: String,
    /// `s3://` location of the rows of the snapshot.
    pub snapshot: String,
    /// `s3://` location of the summary in JSON.
    pub summary: String,
    /// `s3://` location of the report page.
    pub report: String,
    /// Accounts that the run was to read, and those of them that could not be read.
    pub accounts: u64,
    /// See `accounts`.
    pub accounts_unread: u64,
    /// Source buckets by inventory status; every status is there.
    pub buckets: Coverage,
    /// Buckets that the input names a report for and that no account has.
    pub buckets_not_found: u64,
    /// What the buckets in status `done` hold.
    pub contents: Contents,
    /// Queries that succeeded.
    pub queries_succeeded: u64,
    /// Queries that did not.
    pub queries_not_succeeded: u64,
}

impl RunEnded {
    /// The `detail` as it is sent.
    ///
    /// # Panics
    /// Never: counts and texts can be written.
    pub fn detail(&self) -> String {
        serde_json::to_string(self).expect("counts and texts are JSON")
    }

    /// Of a run whose summary is ready.
    pub fn of(
        deployment: &DeploymentName,
        summary: &Summary,
        setting: &Setting,
        ended_at: Timestamp,
    ) -> Self {
        let succeeded = summary
            .queries
            .iter()
            .filter(|query| query.state == QueryState::Succeeded)
            .count() as u64;
        Self {
            deployment: deployment.clone(),
            run_id: summary.run_id.clone(),
            outcome: summary.outcome,
            failure: summary.failure.clone(),
            is_smoke_test: summary.is_smoke_test,
            execution_arn: summary.execution_arn.clone(),
            started_at: summary.started_at,
            ended_at,
            database: summary.database.clone(),
            table: summary.table.clone(),
            snapshot: format!(
                "s3://{}/{}",
                setting.consolidated_bucket,
                naming::snapshot_prefix(&summary.run_id)
            ),
            summary: summary.location.clone(),
            report: summary.report_location.clone(),
            accounts: summary.accounts,
            accounts_unread: summary.unread_accounts.len() as u64,
            buckets: summary.coverage.clone(),
            buckets_not_found: summary.not_found.len() as u64,
            contents: summary.contents,
            queries_succeeded: succeeded,
            queries_not_succeeded: summary.queries.len() as u64 - succeeded,
        }
    }
}
