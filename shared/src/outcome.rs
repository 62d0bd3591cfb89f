//! What a run may claim: how many buckets stand where, and whether that is "complete".

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::BucketName;
use crate::input::{ExistingInventory, RunInput};
use crate::run::{Account, Failure, LeftOut, Outcome, Query, QueryState, SourceBucket};
use crate::status::InventoryStatus;

/// Source buckets by status.
pub type Coverage = BTreeMap<InventoryStatus, u64>;

/// Counts source buckets by status; a status nobody is in is left out.
pub fn coverage<'a>(buckets: impl IntoIterator<Item = &'a SourceBucket>) -> Coverage {
    let mut coverage = Coverage::new();
    for bucket in buckets {
        *coverage.entry(bucket.status).or_default() += 1;
    }
    coverage
}

/// What the input names a report for and no account of the run has: neither a source bucket nor one
/// that is left out.
pub fn not_found<'a>(
    input: &'a RunInput,
    buckets: &[SourceBucket],
    left_out: &[LeftOut],
) -> Vec<&'a ExistingInventory> {
    let found: BTreeSet<&BucketName> = buckets
        .iter()
        .map(|bucket| &bucket.bucket)
        .chain(left_out.iter().map(|bucket| &bucket.bucket))
        .collect();
    input
        .existing_inventories
        .iter()
        .filter(|existing| !found.contains(&existing.bucket))
        .collect()
}

/// How a run ended. "Complete" takes all of it: nothing broke off, every account was read, every
/// bucket that the input names was found, every source bucket is covered, every query succeeded.
pub fn outcome(
    failure: Option<&Failure>,
    accounts: &[Account],
    buckets: &[SourceBucket],
    not_found: &[&ExistingInventory],
    queries: &[Query],
) -> Outcome {
    if failure.is_some() {
        return Outcome::Failed;
    }
    let all_covered = accounts.iter().all(|account| account.reason.is_none())
        && not_found.is_empty()
        && buckets.iter().all(|bucket| bucket.status.is_covered())
        && queries
            .iter()
            .all(|query| query.state == QueryState::Succeeded);
    if all_covered {
        Outcome::Complete
    } else {
        Outcome::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccountId, Region};
    use crate::status::Reason;

    fn bucket(status: InventoryStatus) -> SourceBucket {
        let mut bucket = SourceBucket::discovered(
            AccountId::try_from("123456789012").unwrap(),
            BucketName::try_from("photos").unwrap(),
            Region::try_from("eu-west-1").unwrap(),
        );
        bucket.status = status;
        bucket
    }

    fn account(reason: Option<Reason>) -> Account {
        Account {
            account: AccountId::try_from("123456789012").unwrap(),
            reason,
        }
    }

    fn query(state: QueryState) -> Query {
        Query {
            number: 0,
            name: "n".into(),
            tells: None,
            severity: None,
            sql: String::new(),
            state,
            execution_id: None,
            rows: None,
            sample: None,
            result_location: None,
            scanned_bytes: None,
            reason: None,
        }
    }

    #[test]
    fn complete_takes_every_bucket_account_and_query() {
        let good = [
            bucket(InventoryStatus::Done),
            bucket(InventoryStatus::BucketIsEmpty),
        ];
        let read = [account(None)];
        let succeeded = [query(QueryState::Succeeded)];
        assert_eq!(
            outcome(None, &read, &good, &[], &succeeded),
            Outcome::Complete
        );
        for status in InventoryStatus::ALL {
            let mut buckets = good.to_vec();
            buckets.push(bucket(status));
            let expected = if status.is_covered() {
                Outcome::Complete
            } else {
                Outcome::Partial
            };
            assert_eq!(
                outcome(None, &read, &buckets, &[], &succeeded),
                expected,
                "{status}"
            );
        }
        let closed = [account(Some(Reason::new("AccessDenied", "no role")))];
        assert_eq!(
            outcome(None, &closed, &good, &[], &succeeded),
            Outcome::Partial
        );
        let named = ExistingInventory {
            bucket: BucketName::try_from("nowhere").unwrap(),
            manifest: "s3://reports/manifest.json".try_into().unwrap(),
        };
        assert_eq!(
            outcome(None, &read, &good, &[&named], &succeeded),
            Outcome::Partial
        );
        for state in [QueryState::Waiting, QueryState::Running, QueryState::Failed] {
            assert_eq!(
                outcome(None, &read, &good, &[], &[query(state)]),
                Outcome::Partial
            );
        }
        let failure = Failure {
            error: "Internal".into(),
            cause: String::new(),
        };
        assert_eq!(
            outcome(Some(&failure), &read, &good, &[], &succeeded),
            Outcome::Failed
        );
    }
}
