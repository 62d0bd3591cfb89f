use std::collections::BTreeMap;

use anyhow::ensure;
use local_aws::estate::BUILT_IN;
use shared::run::Outcome;
use shared::status::InventoryStatus;
use tests::{leftovers, snapshot_of, test};

#[test]
fn every_bucket_ends_as_it_must_and_every_row_is_there() {
    test(async |platform| {
        let estate = platform.build(BUILT_IN).await?;
        let input = estate.run_input(&platform.aws.host_account_id);
        let ended = platform.harvest(&input).await?;
        ensure!(
            ended.execution.status == "SUCCEEDED",
            "{:#?}",
            ended.execution
        );

        let expected: BTreeMap<&str, Option<&str>> = estate
            .buckets()
            .map(|(_, bucket)| (bucket.name.as_str(), Some(bucket.expectation().as_str())))
            .collect();
        let found: BTreeMap<&str, Option<&str>> = expected
            .keys()
            .map(|name| (*name, ended.status(name)))
            .collect();
        assert_eq!(found, expected);
        assert_eq!(
            ended.run.outcome,
            Some(Outcome::Partial),
            "some buckets are not covered"
        );

        let (database, table) = (
            &ended.run.input.athena_database_name,
            &ended.run.input.athena_table_name,
        );
        for bucket in &ended.parts.buckets {
            if bucket.status == InventoryStatus::Done {
                let snapshot = snapshot_of(platform, database, table, bucket).await?;
                assert_eq!(snapshot.in_table, snapshot.in_bucket, "{}", bucket.bucket);
                assert_eq!(snapshot.rows, snapshot.in_bucket.len(), "{}", bucket.bucket);
                assert_eq!(bucket.rows, snapshot.rows as u64, "{}", bucket.bucket);
            } else if !bucket.status.is_covered() {
                assert!(bucket.reason.is_some(), "{} has no reason", bucket.bucket);
            }
        }
        assert!(
            ended
                .parts
                .destinations
                .iter()
                .all(|d| d.seen_empty_at.is_some())
        );
        let accounts: Vec<&str> = estate.accounts.iter().map(|a| a.id.as_str()).collect();
        assert_eq!(
            leftovers(platform, ended.run.run_id.as_str(), &accounts).await?,
            [""; 0]
        );
        Ok(())
    });
}
