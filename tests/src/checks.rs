//! What must be true after a run, looked up past the platform.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::json;
use shared::ids::{AccountId, BucketName};
use shared::run::{Outcome, SourceBucket};
use shared::status::InventoryStatus;

use crate::{Ended, Platform};

/// A version or delete marker: its key, its version, whether it is a delete marker.
type Version = (String, String, bool);

/// What Athena sees of one bucket, and what S3 says is in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Rows of the bucket in the snapshot table.
    pub in_table: BTreeSet<Version>,
    /// Their number, duplicates counted.
    pub rows: usize,
    /// What `ListObjectVersions` returns.
    pub in_bucket: BTreeSet<Version>,
}

/// Compares a `done` bucket's rows with the bucket itself.
pub async fn snapshot_of(
    platform: &Platform,
    database: &str,
    table: &str,
    bucket: &SourceBucket,
) -> Result<Snapshot> {
    let sql = format!(
        "SELECT \"key\", version_id, is_delete_marker FROM \"{database}\".\"{table}\" \
         WHERE account = '{}' AND bucketname = '{}'",
        bucket.account, bucket.bucket
    );
    let rows = query(platform, database, &sql).await?;
    let in_table = rows
        .iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2] == "true"))
        .collect();
    let in_bucket = versions(
        platform,
        &bucket.account,
        bucket.region.as_str(),
        &bucket.bucket,
    )
    .await?;
    Ok(Snapshot {
        in_table,
        rows: rows.len(),
        in_bucket,
    })
}

/// Checks that an execution ended well with this outcome, by its own word and on record, and that
/// its run is known to be clean.
#[track_caller]
pub fn check_outcome(ended: &Ended, outcome: Outcome) {
    let Ended { execution, run, .. } = ended;
    assert_eq!(execution.status, "SUCCEEDED", "{execution:#?}");
    let expected = json!({"run_id": run.run_id, "outcome": outcome.name()});
    assert_eq!(execution.output, Some(expected));
    assert_eq!(run.outcome, Some(outcome));
    assert!(run.cleaned_up_at.is_some(), "{} is not clean", run.run_id);
    for destination in &ended.parts.destinations {
        assert!(
            destination.seen_empty_at.is_some(),
            "nobody saw that {} is empty",
            destination.stack
        );
    }
}

/// Checks for every `done` bucket that its rows in the table are its versions in S3, each once, and
/// that the record counts as many. Gives the number of such buckets.
pub async fn check_done_buckets(platform: &Platform, ended: &Ended) -> Result<usize> {
    let (database, table) = (
        &ended.run.input.athena_database_name,
        &ended.run.input.athena_table_name,
    );
    let mut done = 0;
    for bucket in &ended.parts.buckets {
        if bucket.status != InventoryStatus::Done {
            continue;
        }
        let snapshot = snapshot_of(platform, database, table, bucket).await?;
        assert_eq!(snapshot.in_table, snapshot.in_bucket, "{}", bucket.bucket);
        assert_eq!(snapshot.rows, snapshot.in_bucket.len(), "{}", bucket.bucket);
        assert_eq!(bucket.rows, snapshot.rows as u64, "{}", bucket.bucket);
        done += 1;
    }
    Ok(done)
}

/// How many rows the snapshot table has of a bucket.
pub async fn rows_in_table(platform: &Platform, ended: &Ended, bucket: &str) -> Result<u64> {
    let input = &ended.run.input;
    let (database, table) = (&input.athena_database_name, &input.athena_table_name);
    let sql =
        format!("SELECT count(*) FROM \"{database}\".\"{table}\" WHERE bucketname = '{bucket}'");
    let rows = query(platform, database, &sql).await?;
    let count = rows.first().and_then(|row| row.first());
    Ok(count.context("a count is one row")?.parse()?)
}

/// Turns versioning on.
pub async fn keep_versions(s3: &aws_sdk_s3::Client, bucket: &str) -> Result<()> {
    let enabled = VersioningConfiguration::builder()
        .status(BucketVersioningStatus::Enabled)
        .build();
    s3.put_bucket_versioning()
        .bucket(bucket)
        .versioning_configuration(enabled)
        .send()
        .await?;
    Ok(())
}

/// Keys of the consolidated bucket under a prefix.
pub async fn objects_under(platform: &Platform, prefix: &str) -> Result<Vec<String>> {
    let home = BucketName::try_from(platform.output("ConsolidatedBucketName"))?;
    let objects = platform.clients.objects(&platform.clients.region());
    Ok(objects.list(&home, prefix).await?)
}

/// Keys of the consolidated bucket under a prefix whose upload was begun and neither completed nor
/// aborted.
pub async fn unfinished_uploads(platform: &Platform, prefix: &str) -> Result<Vec<String>> {
    let answer = platform
        .s3(&platform.aws.host_account_id, &platform.aws.region)
        .list_multipart_uploads()
        .bucket(platform.output("ConsolidatedBucketName"))
        .prefix(prefix)
        .send()
        .await?;
    let uploads = answer.uploads().iter();
    Ok(uploads
        .map(|upload| upload.key().unwrap_or_default().to_owned())
        .collect())
}

/// Ids of the inventory configurations of a bucket.
pub async fn configurations(
    platform: &Platform,
    account: &str,
    region: &str,
    bucket: &str,
) -> Result<Vec<String>> {
    let answer = platform
        .s3(account, region)
        .list_bucket_inventory_configurations()
        .bucket(bucket)
        .send()
        .await?;
    let ids = answer.inventory_configuration_list().iter();
    Ok(ids
        .map(|configuration| configuration.id().to_owned())
        .collect())
}

/// Runs a query in the platform's workgroup and gives its rows without the header.
pub async fn query(platform: &Platform, database: &str, sql: &str) -> Result<Vec<Vec<String>>> {
    let config = platform
        .aws
        .sdk_config(&platform.aws.host_account_id, &platform.aws.region);
    let athena = aws_sdk_athena::Client::new(&config);
    let started = athena
        .start_query_execution()
        .work_group(platform.output("AthenaWorkGroupName"))
        .query_execution_context(
            aws_sdk_athena::types::QueryExecutionContext::builder()
                .database(database)
                .build(),
        )
        .query_string(sql)
        .send()
        .await?;
    let id = started.query_execution_id().context("Athena gives an id")?;
    platform
        .eventually("a query", async || {
            let progress = platform.clients.query_progress(id).await?;
            match progress.state {
                shared::run::QueryState::Succeeded => Ok(true),
                shared::run::QueryState::Failed => bail!("{sql}: {:?}", progress.reason),
                _ => Ok(false),
            }
        })
        .await?;
    let mut pages = athena
        .get_query_results()
        .query_execution_id(id)
        .into_paginator()
        .send();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await {
        for row in page?
            .result_set()
            .map(|set| set.rows().to_vec())
            .unwrap_or_default()
        {
            let values = row.data().iter();
            rows.push(
                values
                    .map(|v| v.var_char_value().unwrap_or_default().to_owned())
                    .collect(),
            );
        }
    }
    if !rows.is_empty() {
        rows.remove(0);
    }
    Ok(rows)
}

/// What `ListObjectVersions` returns of a bucket, in S3's own spelling.
async fn versions(
    platform: &Platform,
    account: &AccountId,
    region: &str,
    bucket: &BucketName,
) -> Result<BTreeSet<Version>> {
    let s3 = platform.s3(account.as_str(), region);
    let mut found = BTreeSet::new();
    let (mut key_marker, mut version_marker) = (None, None);
    // An inventory report leaves the version of objects without one empty.
    let version = |id: Option<&str>| id.filter(|id| *id != "null").unwrap_or_default().to_owned();
    loop {
        let page = s3
            .list_object_versions()
            .bucket(bucket.as_str())
            .set_key_marker(key_marker)
            .set_version_id_marker(version_marker)
            .send()
            .await?;
        found.extend(page.versions().iter().map(|entry| {
            (
                entry.key().unwrap_or_default().to_owned(),
                version(entry.version_id()),
                false,
            )
        }));
        found.extend(page.delete_markers().iter().map(|entry| {
            (
                entry.key().unwrap_or_default().to_owned(),
                version(entry.version_id()),
                true,
            )
        }));
        if page.is_truncated() != Some(true) {
            return Ok(found);
        }
        key_marker = page.next_key_marker;
        version_marker = page.next_version_id_marker;
    }
}

/// What a run left anywhere: stacks, topics, subscriptions, destination buckets, inventory
/// configurations. Empty when Cleanup did its work.
pub async fn leftovers(
    platform: &Platform,
    run_id: &str,
    accounts: &[&str],
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let host = &platform.aws.host_account_id;
    for region in platform.clients.enabled_regions().await? {
        left.extend(left_in_region(platform, run_id, region.as_str()).await?);
    }
    let accounts: BTreeSet<&str> = accounts.iter().copied().chain([host.as_str()]).collect();
    for account in accounts {
        left.extend(left_in_account(platform, run_id, account).await?);
    }
    Ok(left)
}

async fn left_in_region(platform: &Platform, run_id: &str, region: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let host = &platform.aws.host_account_id;
    let config = platform.aws.sdk_config(host, region);
    let name = format!("{}-{run_id}", crate::DEPLOYMENT);
    let mut stacks = aws_sdk_cloudformation::Client::new(&config)
        .describe_stacks()
        .into_paginator()
        .items()
        .send();
    while let Some(stack) = stacks.next().await.transpose()? {
        let status = stack.stack_status().map_or("", |status| status.as_str());
        let stack = stack.stack_name().unwrap_or_default();
        if stack.starts_with(&format!("{name}-")) && status != "DELETE_COMPLETE" {
            left.push(format!("stack {stack}, {status}"));
        }
    }
    let sns = aws_sdk_sns::Client::new(&config);
    let is_ours = |arn: &str| arn.rsplit(':').next() == Some(name.as_str());
    let mut topics = sns.list_topics().into_paginator().items().send();
    while let Some(topic) = topics.next().await.transpose()? {
        let arn = topic.topic_arn().unwrap_or_default();
        if is_ours(arn) {
            left.push(format!("topic {arn}"));
        }
    }
    let mut subscriptions = sns.list_subscriptions().into_paginator().items().send();
    while let Some(subscription) = subscriptions.next().await.transpose()? {
        let arn = subscription.topic_arn().unwrap_or_default();
        if is_ours(arn) {
            left.push(format!("subscription to {arn}"));
        }
    }
    Ok(left)
}

async fn left_in_account(platform: &Platform, run_id: &str, account: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let s3 = platform.s3(account, &platform.aws.region);
    let ours = format!("s3insights-{}-{run_id}", crate::DEPLOYMENT);
    let mut buckets = s3.list_buckets().max_buckets(1_000).into_paginator().send();
    while let Some(page) = buckets.next().await.transpose()? {
        for bucket in page.buckets() {
            let name = bucket.name().unwrap_or_default();
            if name.starts_with(&format!("{}-{run_id}-", crate::DEPLOYMENT)) {
                left.push(format!("bucket {name}"));
            }
            let region = bucket.bucket_region().unwrap_or("us-east-1");
            match configurations(platform, account, region, name).await {
                Ok(ids) if ids.contains(&ours) => {
                    left.push(format!("configuration {ours} on {name}"));
                }
                Ok(_) => {}
                // Buckets of the host account come and go with the runs of other tests.
                Err(error) if format!("{error:?}").contains("NoSuchBucket") => {}
                Err(error) => return Err(error.context(format!("configurations of {name}"))),
            }
        }
    }
    Ok(left)
}
