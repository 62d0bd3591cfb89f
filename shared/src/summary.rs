//! The summary of a run: what was covered and what was not and why, and every query with its
//! result. Building it is pure; it is stored as `reports/<run_id>/summary.json`, mailed as text
//! and HTML, and printed by the command.
//!
//! A summary never says more than the records do: what is missing from them counts as missing.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::catalogue;
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::input::{ExistingInventory, QueryInput, RunInput};
use crate::manifest::ManifestUri;
use crate::naming;
use crate::outcome::{Coverage, coverage, not_found, outcome};
use crate::remedy::remedy;
use crate::run::{
    Account, DestinationState, Failure, LeftOut, Outcome, Query, QueryState, Run, RunParts,
    SourceBucket, StoredProblem,
};
use crate::status::{InventoryStatus, Reason};
use crate::totals::Totals;

mod breakdowns;
mod changes;
mod findings;
mod links;
mod render;
mod view;

pub use crate::foreign_text::visible;
pub use breakdowns::{Breakdowns, Part, Parts};
pub use changes::{BucketChange, ChangeKind, Changes, earlier_run};
pub use findings::QueryResult;
pub use render::{MAX_BYTES, bytes, number};
pub(crate) use view::{cleanup as cleanup_told, headline, shortened};

/// Where a run happened, as far as its records do not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Region of the platform, and of Athena.
    pub host_region: Region,
    /// The bucket that holds snapshots, query results and reports.
    pub consolidated_bucket: BucketName,
    /// The Athena workgroup in which the queries are found.
    pub work_group: String,
}

/// Summary of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The run.
    pub run_id: RunId,
    /// How it ended; for a run that has not ended, how it would end now.
    pub outcome: Outcome,
    /// What broke it off.
    pub failure: Option<Failure>,
    /// Why the summary could not be mailed.
    pub mail_failure: Option<Reason>,
    /// The Harvester execution.
    pub execution_arn: String,
    /// It in the Step Functions console.
    pub execution_link: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it goes, or went, on without missing reports.
    pub deadline: Timestamp,
    /// Whether it only proved the delivery path.
    pub is_smoke_test: bool,
    /// Glue database of the snapshot table.
    pub database: String,
    /// The snapshot table.
    pub table: String,
    /// Athena workgroup of the queries.
    pub work_group: String,
    /// Number of source buckets.
    pub source_buckets: u64,
    /// Number of accounts the run was to read.
    pub accounts: u64,
    /// Source buckets by status; every status is there.
    pub coverage: Coverage,
    /// Source buckets that are not covered. Those in the rarest status come first, so that a list
    /// that has to be cut loses more of the same.
    pub not_covered: Vec<NotCovered>,
    /// Buckets that the input names a report for and that no account of the run has.
    pub not_found: Vec<NotFound>,
    /// Buckets in status `done` whose report existed before the run, and may be old.
    pub existing_reports: Vec<ExistingReport>,
    /// Accounts whose buckets could not be listed.
    pub unread_accounts: Vec<UnreadAccount>,
    /// Regions whose inventory destination could not be made.
    pub failed_destinations: Vec<FailedDestination>,
    /// Buckets that the input leaves out.
    pub left_out: Vec<LeftOut>,
    /// What the buckets in status `done` hold.
    pub contents: Contents,
    /// The same by storage class and the like; absent before publication.
    pub breakdowns: Option<Breakdowns>,
    /// What changed since the run before; absent when there is none to compare with.
    pub changes: Option<Changes>,
    /// How much of what the run made for itself is removed again.
    pub cleanup: Cleanup,
    /// The queries by number.
    pub queries: Vec<QueryResult>,
    /// Doubtful points of the input.
    pub warnings: Vec<StoredProblem>,
    /// `s3://` location of this summary in JSON, which is never cut.
    pub location: String,
    /// `s3://` location of the report page.
    pub report_location: String,
    /// The report page in the S3 console.
    pub report_link: String,
    /// The input with its defaults.
    pub input: RunInput,
}

/// A source bucket that is not covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCovered {
    /// Owner.
    pub account: AccountId,
    /// Region.
    pub region: Region,
    /// Name.
    pub bucket: BucketName,
    /// Inventory status.
    pub status: InventoryStatus,
    /// Why.
    pub reason: Reason,
    /// What to do about it.
    pub remedy: String,
}

/// A bucket that the input names a report for and that no account of the run has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotFound {
    /// Name.
    pub bucket: BucketName,
    /// The report.
    pub manifest: ManifestUri,
    /// Why it is not covered.
    pub reason: Reason,
}

/// A bucket whose rows are those of a report that existed before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExistingReport {
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub bucket: BucketName,
    /// The report.
    pub manifest: ManifestUri,
}

/// An account whose buckets could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadAccount {
    /// Its id.
    pub account: AccountId,
    /// Why.
    pub reason: Reason,
}

/// A Region whose inventory destination could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDestination {
    /// The Region.
    pub region: Region,
    /// Why.
    pub reason: Reason,
}

/// What the buckets in status `done` hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Rows of the snapshot: versions and delete markers.
    pub rows: u64,
    /// Current objects.
    pub objects: u64,
    /// Versions, the current ones included; absent before publication.
    pub versions: Option<u64>,
    /// Delete markers; absent before publication.
    pub delete_markers: Option<u64>,
    /// Bytes of all versions.
    pub bytes: u64,
    /// Keys that were not UTF-8 and are kept in a replaced form.
    pub undecodable_keys: u64,
}

/// How much of what a run made for itself is removed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Inventory configurations that S3 accepted.
    pub configurations: u64,
    /// Those of them that are known to be gone.
    pub configurations_removed: u64,
    /// Inventory destinations that were begun.
    pub destinations: u64,
    /// Those of them that are deleted.
    pub destinations_removed: u64,
    /// When Cleanup found nothing left; absent while it has not.
    pub finished_at: Option<Timestamp>,
}

/// All that is on record of a run, with what it is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Records<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its parts.
    pub parts: &'a RunParts,
    /// The totals of its snapshot; absent when it was not published.
    pub totals: Option<&'a Totals>,
    /// The run before, see [`earlier_run`], and its parts; absent when there is none.
    pub earlier: Option<(&'a Run, &'a RunParts)>,
}

impl Summary {
    /// Puts a summary together from what is on record.
    pub fn build(records: Records<'_>, setting: &Setting) -> Self {
        let Records {
            run,
            parts,
            totals,
            earlier,
        } = records;
        let accounts = accounts_of(run, parts);
        let queries = queries_of(run, parts);
        let counted = coverage(&parts.buckets);
        let missing = not_found(&run.input, &parts.buckets, &parts.left_out);
        let now = outcome(
            run.failure.as_ref(),
            &accounts,
            &parts.buckets,
            &missing,
            &queries,
        );
        Self {
            run_id: run.run_id.clone(),
            outcome: run.outcome.map_or(now, |recorded| worse(recorded, now)),
            failure: run.failure.clone(),
            mail_failure: run.mail_failure.clone(),
            execution_arn: run.execution_arn.clone(),
            execution_link: links::execution(&setting.host_region, &run.execution_arn),
            started_at: run.started_at,
            deadline: run.deadline,
            is_smoke_test: run.input.is_smoke_test,
            database: run.input.athena_database_name.clone(),
            table: run.input.athena_table_name.clone(),
            work_group: setting.work_group.clone(),
            source_buckets: parts.buckets.len() as u64,
            accounts: accounts.len() as u64,
            not_covered: not_covered(run, &parts.buckets, &counted),
            coverage: InventoryStatus::ALL
                .into_iter()
                .map(|status| (status, counted.get(&status).copied().unwrap_or_default()))
                .collect(),
            not_found: missing
                .into_iter()
                .map(|named| NotFound::of(named, &accounts))
                .collect(),
            existing_reports: existing_reports(&parts.buckets),
            unread_accounts: accounts
                .into_iter()
                .filter_map(|Account { account, reason }| {
                    Some(UnreadAccount {
                        account,
                        reason: reason?,
                    })
                })
                .collect(),
            failed_destinations: failed_destinations(parts),
            left_out: parts.left_out.clone(),
            contents: contents(&parts.buckets, totals),
            breakdowns: totals.map(Breakdowns::of),
            changes: earlier.and_then(|(earlier, then)| Changes::between(earlier, then, parts)),
            cleanup: cleanup(run, parts),
            queries: queries
                .into_iter()
                .map(|query| QueryResult::of(query, &setting.host_region))
                .collect(),
            warnings: run.warnings.clone(),
            location: format!(
                "s3://{}/{}",
                setting.consolidated_bucket,
                naming::summary_key(&run.run_id, "json")
            ),
            report_location: format!(
                "s3://{}/{}",
                setting.consolidated_bucket,
                naming::report_key(&run.run_id)
            ),
            report_link: links::object(
                &setting.host_region,
                &setting.consolidated_bucket,
                &naming::report_key(&run.run_id),
            ),
            input: run.input.clone(),
        }
    }

    /// Subject of the mail; ASCII, one line.
    pub fn subject(&self) -> String {
        format!("S3Insights run {}: {}", self.run_id, self.verdict())
    }

    /// How the run ended in a word or two, such as `partial`.
    pub fn ending(&self) -> String {
        match (self.is_smoke_test, self.outcome) {
            (false, outcome) => outcome.name().to_owned(),
            (true, Outcome::Complete) => "smoke test passed".to_owned(),
            (true, outcome) => format!("smoke test {outcome}"),
        }
    }

    /// The same with what is missing, such as `partial, 3 of 16 buckets not covered`.
    pub fn verdict(&self) -> String {
        let verdict = self.ending();
        if self.outcome != Outcome::Partial {
            return verdict;
        }
        let shortfalls = self.shortfalls();
        std::iter::once(verdict)
            .chain(shortfalls)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// What is missing, each as a few words; empty when nothing is.
    pub fn shortfalls(&self) -> Vec<String> {
        let mut shortfalls = Vec::new();
        if !self.not_covered.is_empty() {
            shortfalls.push(format!(
                "{} of {} not covered",
                self.not_covered.len(),
                counted(self.source_buckets, "bucket")
            ));
        }
        if !self.not_found.is_empty() {
            let named = counted(self.not_found.len() as u64, "bucket");
            shortfalls.push(format!("{named} of existing_inventories not found"));
        }
        if !self.unread_accounts.is_empty() {
            shortfalls.push(format!(
                "{} of {} not read",
                self.unread_accounts.len(),
                counted(self.accounts, "account")
            ));
        }
        let without_result = self
            .queries
            .iter()
            .filter(|query| query.state != QueryState::Succeeded)
            .count();
        if without_result > 0 {
            let queries = match self.queries.len() {
                1 => "1 query".to_owned(),
                number => format!("{number} queries"),
            };
            shortfalls.push(format!("{without_result} of {queries} without a result"));
        }
        shortfalls
    }

    /// The text part of the mail, at most [`MAX_BYTES`].
    pub fn text(&self) -> String {
        render::text(self)
    }

    /// The HTML part of the mail, at most [`MAX_BYTES`].
    pub fn html(&self) -> String {
        render::html(self)
    }
}

impl NotFound {
    fn of(named: &ExistingInventory, accounts: &[Account]) -> Self {
        let everywhere = accounts.iter().all(|account| account.reason.is_none());
        let which = if everywhere { "" } else { " that was read" };
        Self {
            bucket: named.bucket.clone(),
            manifest: named.manifest.clone(),
            reason: Reason::new(
                "BucketNotFound",
                format!("existing_inventories names it, but no account of the run{which} has it"),
            ),
        }
    }
}

/// A run that was stopped is on record as failed, whatever its parts look like.
fn worse(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
        (Outcome::Partial, _) | (_, Outcome::Partial) => Outcome::Partial,
        (Outcome::Complete, Outcome::Complete) => Outcome::Complete,
    }
}

fn counted(number: u64, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// The accounts on record, and those of the input that have no record: nobody listed their
/// buckets. A smoke run lists no buckets.
fn accounts_of(run: &Run, parts: &RunParts) -> Vec<Account> {
    let mut accounts = parts.accounts.clone();
    if run.input.is_smoke_test {
        return accounts;
    }
    let known: HashSet<&AccountId> = parts.accounts.iter().map(|entry| &entry.account).collect();
    for account in run
        .input
        .accounts
        .iter()
        .filter(|account| !known.contains(&account.id))
    {
        accounts.push(Account {
            account: account.id.clone(),
            reason: Some(Reason::new("NotDiscovered", "its buckets were not listed")),
        });
    }
    accounts
}

/// The queries on record, and those of the input that have no record: nobody started them. Those of
/// a smoke run prove nothing when they were not started, so only recorded ones count.
fn queries_of(run: &Run, parts: &RunParts) -> Vec<Query> {
    let mut queries = parts.queries.clone();
    if run.input.is_smoke_test {
        return queries;
    }
    let known: BTreeSet<u32> = queries.iter().map(|query| query.number).collect();
    for (number, query) in (0..).zip(&run.input.athena_queries) {
        if known.contains(&number) {
            continue;
        }
        let (name, known) = match query {
            QueryInput::Sql { name, .. } => (name.clone(), None),
            QueryInput::Catalog {
                catalog,
                parameters,
            } => match catalogue::find(catalog) {
                Some(query) => {
                    let arguments = query.arguments(parameters);
                    let arguments = arguments.unwrap_or_else(|_| query.defaults());
                    (query.title_with(&arguments), Some(query))
                }
                None => (catalog.clone(), None),
            },
        };
        queries.push(Query {
            number,
            name,
            tells: known.map(|query| query.tells.to_owned()),
            severity: known.map(|query| query.severity),
            sql: String::new(),
            state: QueryState::Waiting,
            execution_id: None,
            rows: None,
            sample: None,
            result_location: None,
            scanned_bytes: None,
            reason: None,
        });
    }
    queries.sort_by_key(|query| query.number);
    queries
}

fn not_covered(run: &Run, buckets: &[SourceBucket], counted: &Coverage) -> Vec<NotCovered> {
    let mut list: Vec<NotCovered> = buckets
        .iter()
        .filter(|bucket| !bucket.status.is_covered())
        .map(|bucket| {
            let reason = bucket.reason.clone();
            let reason = reason.unwrap_or_else(|| unexplained(run, bucket.status));
            NotCovered {
                account: bucket.account.clone(),
                region: bucket.region.clone(),
                bucket: bucket.bucket.clone(),
                status: bucket.status,
                remedy: remedy(&reason).to_owned(),
                reason,
            }
        })
        .collect();
    list.sort_by(|a, b| {
        let order = |entry: &NotCovered| (counted.get(&entry.status).copied(), entry.status);
        order(a)
            .cmp(&order(b))
            .then_with(|| (&a.account, &a.bucket).cmp(&(&b.account, &b.bucket)))
    });
    list
}

/// The reason of a bucket that has none on record, because the run has not come that far or broke
/// off before.
fn unexplained(run: &Run, status: InventoryStatus) -> Reason {
    match status {
        InventoryStatus::InProgress if run.frozen_at.is_some_and(|at| at >= run.deadline) => {
            Reason::new("DeadlinePassed", "no whole report had come by the deadline")
        }
        InventoryStatus::InProgress => Reason::new("NotDelivered", "no whole report had come yet"),
        InventoryStatus::InventoryConfigurationNotCreated => {
            Reason::new("NotConfigured", "the run had not asked S3 for a report yet")
        }
        _ => Reason::new("Unknown", "no reason is on record"),
    }
}

fn existing_reports(buckets: &[SourceBucket]) -> Vec<ExistingReport> {
    buckets
        .iter()
        .filter(|bucket| bucket.status == InventoryStatus::Done)
        .filter_map(|bucket| {
            Some(ExistingReport {
                account: bucket.account.clone(),
                bucket: bucket.bucket.clone(),
                manifest: bucket.existing_report.clone()?,
            })
        })
        .collect()
}

fn failed_destinations(parts: &RunParts) -> Vec<FailedDestination> {
    parts
        .destinations
        .iter()
        .filter(|destination| {
            // Cleanup turns failed ones into deleted ones; the reason stays.
            destination.state == DestinationState::Failed || destination.reason.is_some()
        })
        .map(|destination| FailedDestination {
            region: destination.region.clone(),
            reason: destination
                .reason
                .clone()
                .unwrap_or_else(|| Reason::new("Unknown", "no reason is on record")),
        })
        .collect()
}

fn cleanup(run: &Run, parts: &RunParts) -> Cleanup {
    let configured = parts.buckets.iter().filter(|bucket| bucket.configured);
    let removed = configured
        .clone()
        .filter(|bucket| !bucket.has_configuration());
    let deleted = parts
        .destinations
        .iter()
        .filter(|destination| destination.state == DestinationState::Deleted);
    Cleanup {
        configurations: configured.count() as u64,
        configurations_removed: removed.count() as u64,
        destinations: parts.destinations.len() as u64,
        destinations_removed: deleted.count() as u64,
        finished_at: run.cleaned_up_at,
    }
}

fn contents(buckets: &[SourceBucket], totals: Option<&Totals>) -> Contents {
    let mut contents = Contents {
        versions: totals.map(|totals| totals.all.versions),
        delete_markers: totals.map(|totals| totals.delete_markers),
        ..Contents::default()
    };
    for bucket in buckets
        .iter()
        .filter(|bucket| bucket.status == InventoryStatus::Done)
    {
        contents.rows = contents.rows.saturating_add(bucket.rows);
        contents.objects = contents.objects.saturating_add(bucket.objects);
        contents.bytes = contents.bytes.saturating_add(bucket.bytes);
        contents.undecodable_keys = contents
            .undecodable_keys
            .saturating_add(bucket.undecodable_keys);
    }
    contents
}

#[cfg(test)]
mod tests;
