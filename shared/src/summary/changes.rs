//! What changed since an earlier run: which buckets are covered no longer, and which are new.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{bytes, number};
use crate::ids::{AccountId, BucketName, RunId};
use crate::run::{Outcome, Run, RunParts, SourceBucket};
use crate::status::InventoryStatus;

/// What changed since an earlier run, over the accounts that both of them read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The earlier run.
    pub since: RunId,
    /// When it started.
    pub since_started_at: Timestamp,
    /// Source buckets whose status is another one, the worst change first.
    pub buckets: Vec<BucketChange>,
    /// Current objects in the buckets that are done in both runs, then.
    pub objects_then: u64,
    /// The same, now.
    pub objects_now: u64,
    /// Bytes of all versions in the buckets that are done in both runs, then.
    pub bytes_then: u64,
    /// The same, now.
    pub bytes_now: u64,
}

/// A source bucket whose status is another one than in the earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketChange {
    /// What that means.
    pub kind: ChangeKind,
    /// Owner.
    pub account: AccountId,
    /// Name.
    pub bucket: BucketName,
    /// Its status in the earlier run; absent when that run did not know it.
    pub then: Option<InventoryStatus>,
    /// Its status in this run; absent when this run does not know it.
    pub now: Option<InventoryStatus>,
}

/// How a source bucket changed, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Covered by the earlier run and not by this one.
    NoLongerCovered,
    /// Still not covered, with another status.
    OtherStatus,
    /// Gone.
    Gone,
    /// New.
    New,
    /// Not covered by the earlier run, and covered by this one.
    CoveredNow,
    /// Empty in one of the runs and not in the other.
    EmptiedOrFilled,
}

impl ChangeKind {
    /// All kinds, the worst first.
    pub const ALL: [Self; 6] = [
        Self::NoLongerCovered,
        Self::OtherStatus,
        Self::Gone,
        Self::New,
        Self::CoveredNow,
        Self::EmptiedOrFilled,
    ];

    /// What is said of so many buckets, such as `3 buckets are new`.
    pub fn of_buckets(self, number: u64) -> String {
        let (one, many) = match self {
            Self::NoLongerCovered => ("is covered no longer", "are covered no longer"),
            Self::OtherStatus => ("has another status", "have another status"),
            Self::Gone => ("is gone", "are gone"),
            Self::New => ("is new", "are new"),
            Self::CoveredNow => ("is covered now", "are covered now"),
            Self::EmptiedOrFilled => ("was emptied or filled", "were emptied or filled"),
        };
        let what = if number == 1 { one } else { many };
        format!("{} {what}", super::counted(number, "bucket"))
    }

    fn of(then: Option<InventoryStatus>, now: Option<InventoryStatus>) -> Self {
        let (Some(then), Some(now)) = (then, now) else {
            return if now.is_some() { Self::New } else { Self::Gone };
        };
        match (then.is_covered(), now.is_covered()) {
            (true, false) => Self::NoLongerCovered,
            (false, true) => Self::CoveredNow,
            (false, false) => Self::OtherStatus,
            (true, true) => Self::EmptiedOrFilled,
        }
    }
}

/// The run to compare with: the newest one that started before, took a snapshot, and read one of
/// the same accounts. `None` when there is none.
pub fn earlier_run<'a>(runs: &'a [Run], run: &Run) -> Option<&'a Run> {
    let accounts: HashSet<&AccountId> = accounts_of(run).collect();
    runs.iter()
        .filter(|other| {
            other.run_id != run.run_id
                && other.started_at < run.started_at
                && !other.input.is_smoke_test
                && matches!(other.outcome, Some(Outcome::Complete | Outcome::Partial))
                && accounts_of(other).any(|account| accounts.contains(account))
        })
        .max_by_key(|other| other.started_at)
}

fn accounts_of(run: &Run) -> impl Iterator<Item = &AccountId> {
    run.input.accounts.iter().map(|account| &account.id)
}

impl Changes {
    /// Compares a run with an earlier one; `None` when there is no account that both of them read.
    ///
    /// An account that one of them could not read tells nothing of its buckets, and a bucket that
    /// the input of one of them leaves out is neither new nor gone.
    pub fn between(earlier: &Run, then: &RunParts, now: &RunParts) -> Option<Self> {
        let read_then = read_accounts(then);
        let read_now = read_accounts(now);
        if read_then.is_disjoint(&read_now) {
            return None;
        }
        let left_out: BTreeSet<_> = [then, now]
            .into_iter()
            .flat_map(|parts| &parts.left_out)
            .map(|bucket| (&bucket.account, &bucket.bucket))
            .collect();
        let known = |parts: &RunParts| -> BTreeMap<(AccountId, BucketName), SourceBucket> {
            let compared = parts.buckets.iter().filter(|bucket| {
                read_then.contains(&bucket.account)
                    && read_now.contains(&bucket.account)
                    && !left_out.contains(&(&bucket.account, &bucket.bucket))
            });
            compared
                .map(|bucket| {
                    let key = (bucket.account.clone(), bucket.bucket.clone());
                    (key, bucket.clone())
                })
                .collect()
        };
        let (then, now) = (known(then), known(now));
        let mut changes = Self {
            since: earlier.run_id.clone(),
            since_started_at: earlier.started_at,
            buckets: Vec::new(),
            objects_then: 0,
            objects_now: 0,
            bytes_then: 0,
            bytes_now: 0,
        };
        let all: BTreeSet<_> = then.keys().chain(now.keys()).collect();
        for key in all {
            changes.add(key, then.get(key), now.get(key));
        }
        changes.buckets.sort_by_key(|change| change.kind);
        Some(changes)
    }

    fn add(
        &mut self,
        (account, bucket): &(AccountId, BucketName),
        then: Option<&SourceBucket>,
        now: Option<&SourceBucket>,
    ) {
        if let (Some(then), Some(now)) = (then, now)
            && then.status == InventoryStatus::Done
            && now.status == InventoryStatus::Done
        {
            self.objects_then = self.objects_then.saturating_add(then.objects);
            self.objects_now = self.objects_now.saturating_add(now.objects);
            self.bytes_then = self.bytes_then.saturating_add(then.bytes);
            self.bytes_now = self.bytes_now.saturating_add(now.bytes);
        }
        let status = |bucket: Option<&SourceBucket>| bucket.map(|bucket| bucket.status);
        let (then, now) = (status(then), status(now));
        if then != now {
            self.buckets.push(BucketChange {
                kind: ChangeKind::of(then, now),
                account: account.clone(),
                bucket: bucket.clone(),
                then,
                now,
            });
        }
    }

    /// The changes in a sentence or two.
    pub fn sentence(&self) -> String {
        let since = format!(
            "Since run {} ({})",
            self.since,
            self.since_started_at.strftime("%Y-%m-%d")
        );
        let counts: Vec<String> = self
            .counts()
            .into_iter()
            .map(|(kind, number)| kind.of_buckets(number))
            .collect();
        let counts = if counts.is_empty() {
            "every bucket has the status it had".to_owned()
        } else {
            counts.join(", ")
        };
        let grown = format!(
            "In the buckets that are done in both, {} objects became {}, and {} became {}.",
            number(self.objects_then),
            number(self.objects_now),
            bytes(self.bytes_then),
            bytes(self.bytes_now)
        );
        format!("{since}: {counts}. {grown}")
    }

    /// How many buckets changed in which way, the worst first; kinds without any are left out.
    pub fn counts(&self) -> Vec<(ChangeKind, u64)> {
        let count = |kind: ChangeKind| {
            let changed = self.buckets.iter().filter(|change| change.kind == kind);
            (kind, changed.count() as u64)
        };
        ChangeKind::ALL
            .into_iter()
            .map(count)
            .filter(|(_, number)| *number > 0)
            .collect()
    }
}

fn read_accounts(parts: &RunParts) -> HashSet<&AccountId> {
    parts
        .accounts
        .iter()
        .filter(|account| account.reason.is_none())
        .map(|account| &account.account)
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{Account, LeftOut};
    use crate::status::Reason;

    const A: &str = "111111111111";
    const B: &str = "222222222222";

    fn run(run_id: &str, day: u8, account: &str) -> Run {
        let input = json!({
            "run_id": run_id,
            "accounts": [{ "id": account }],
            "athena_database_name": "s3insights",
            "athena_table_name": "inventory",
            "is_smoke_test": false,
            "athena_queries": [],
            "sender_email_address": "s3@example.com",
            "recipient_email_addresses": ["team@example.com"],
            "inventory_timeout_minutes": 3000,
            "status_refresh_minutes": 30
        });
        serde_json::from_value(json!({
            "run_id": run_id,
            "execution_arn": "arn",
            "started_at": format!("2026-01-{day:02}T04:00:00Z"),
            "deadline": format!("2026-01-{day:02}T06:00:00Z"),
            "input": input.to_string(),
            "warnings": "[]",
            "outcome": "complete",
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_snapshot_before_is_compared_with() {
        let mut failed = run("failed", 8, A);
        failed.outcome = Some(Outcome::Failed);
        let mut going_on = run("goingon", 8, A);
        going_on.outcome = None;
        let mut smoke = run("smoke", 8, A);
        smoke.input.is_smoke_test = true;
        let mut partial = run("partial", 7, A);
        partial.outcome = Some(Outcome::Partial);
        let runs = [
            run("later", 10, A),
            run("this", 9, A),
            failed,
            going_on,
            smoke,
            run("others", 8, B),
            run("old", 6, A),
            partial,
        ];
        let earlier = |runs| earlier_run(runs, &run("this", 9, A)).map(|run| run.run_id.as_str());
        assert_eq!(earlier(&runs), Some("partial"));
        assert_eq!(earlier(&runs[..6]), None);
    }

    fn parts(accounts: &[(&str, bool)], buckets: &[(&str, &str, InventoryStatus)]) -> RunParts {
        let account = |id: &str| AccountId::try_from(id).unwrap();
        RunParts {
            accounts: accounts
                .iter()
                .map(|(id, is_read)| Account {
                    account: account(id),
                    reason: (!is_read).then(|| Reason::new("AccessDenied", "no")),
                })
                .collect(),
            buckets: buckets
                .iter()
                .map(|(id, name, status)| {
                    let name = BucketName::try_from(*name).unwrap();
                    let region = "eu-west-1".parse().unwrap();
                    let mut bucket = SourceBucket::discovered(account(id), name, region);
                    bucket.status = *status;
                    (bucket.objects, bucket.bytes) = (10, 100);
                    bucket
                })
                .collect(),
            ..RunParts::default()
        }
    }

    #[test]
    fn every_way_to_change_has_its_kind_and_the_worst_comes_first() {
        use InventoryStatus::{BucketAccessLost, BucketIsEmpty, Done, InProgress};
        let then = parts(
            &[(A, true), (B, false)],
            &[
                (A, "emptied", Done),
                (A, "fixed", InProgress),
                (A, "gone", Done),
                (A, "lost", Done),
                (A, "same", Done),
                (A, "skipped", Done),
                (A, "still", InProgress),
                (A, "stuck", InProgress),
            ],
        );
        let mut now = parts(
            &[(A, true), (B, true)],
            &[
                (A, "emptied", BucketIsEmpty),
                (A, "fixed", Done),
                (A, "lost", BucketAccessLost),
                (A, "new", Done),
                (A, "same", Done),
                (A, "still", BucketAccessLost),
                (A, "stuck", InProgress),
                // Of an account that could not be read then.
                (B, "known-now", Done),
            ],
        );
        now.left_out.push(LeftOut {
            account: AccountId::try_from(A).unwrap(),
            bucket: BucketName::try_from("skipped").unwrap(),
            region: None,
            because: String::new(),
        });
        now.buckets[4].bytes = 150;
        let changes = Changes::between(&run("before", 8, A), &then, &now).unwrap();
        let kinds: Vec<(&str, ChangeKind)> = changes
            .buckets
            .iter()
            .map(|change| (change.bucket.as_str(), change.kind))
            .collect();
        assert_eq!(
            kinds,
            [
                ("lost", ChangeKind::NoLongerCovered),
                ("still", ChangeKind::OtherStatus),
                ("gone", ChangeKind::Gone),
                ("new", ChangeKind::New),
                ("fixed", ChangeKind::CoveredNow),
                ("emptied", ChangeKind::EmptiedOrFilled),
            ]
        );
        assert_eq!(
            changes.sentence(),
            "Since run before (2026-01-08): 1 bucket is covered no longer, 1 bucket has another status, \
             1 bucket is gone, 1 bucket is new, 1 bucket is covered now, 1 bucket was emptied or filled. \
             In the buckets that are done in both, 10 objects became 10, and 100 bytes became 150 bytes."
        );
        let same = Changes::between(&run("before", 8, A), &then, &then).unwrap();
        assert_eq!(same.buckets, []);
        assert!(
            same.sentence()
                .contains("every bucket has the status it had")
        );
        // Nobody knows what is in an account that could not be read.
        let unread = parts(&[(A, false)], &[]);
        assert_eq!(Changes::between(&run("before", 8, A), &then, &unread), None);
    }
}
