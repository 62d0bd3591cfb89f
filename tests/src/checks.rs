//! What must be true after a run, looked up past the platform.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use shared::ids::{AccountId, BucketName};
use shared::run::SourceBucket;

use crate::Platform;

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
    let s3 = aws_sdk_s3::Client::new(&platform.aws.sdk_config(account.as_str(), region));
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

/// What a run left anywhere: stacks, topics, destination buckets, inventory configurations.
/// Empty when Cleanup did its work.
pub async fn leftovers(
    platform: &Platform,
    run_id: &str,
    accounts: &[&str],
) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let host = &platform.aws.host_account_id;
    let name = format!("{}-{run_id}-", crate::DEPLOYMENT);
    for region in platform.clients.enabled_regions().await? {
        let config = platform.aws.sdk_config(host, region.as_str());
        let stacks = aws_sdk_cloudformation::Client::new(&config)
            .describe_stacks()
            .send()
            .await?;
        let standing = stacks.stacks().iter().filter(|stack| {
            stack
                .stack_status()
                .is_some_and(|status| status.as_str() != "DELETE_COMPLETE")
        });
        left.extend(
            standing
                .filter_map(|stack| stack.stack_name())
                .filter(|stack| stack.starts_with(&name))
                .map(|stack| format!("stack {stack}")),
        );
        let sns = aws_sdk_sns::Client::new(&config);
        let topic_name = format!("{}-{run_id}", crate::DEPLOYMENT);
        let topics = sns.list_topics().send().await?;
        left.extend(
            topics
                .topics()
                .iter()
                .filter_map(|topic| topic.topic_arn())
                .filter(|arn| arn.rsplit(':').next() == Some(&topic_name))
                .map(|arn| format!("topic {arn}")),
        );
        let subscriptions = sns.list_subscriptions().send().await?;
        left.extend(
            subscriptions
                .subscriptions()
                .iter()
                .filter_map(|subscription| subscription.topic_arn())
                .filter(|arn| arn.rsplit(':').next() == Some(&topic_name))
                .map(|arn| format!("subscription to {arn}")),
        );
    }
    let mut seen: BTreeMap<&str, ()> = BTreeMap::new();
    for account in accounts.iter().copied().chain([host.as_str()]) {
        if seen.insert(account, ()).is_none() {
            left.extend(left_in_account(platform, run_id, account).await?);
        }
    }
    Ok(left)
}

async fn left_in_account(platform: &Platform, run_id: &str, account: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let s3 = aws_sdk_s3::Client::new(&platform.aws.sdk_config(account, &platform.aws.region));
    let buckets = s3.list_buckets().max_buckets(1_000).send().await?;
    for bucket in buckets.buckets() {
        let name = bucket.name().unwrap_or_default();
        if name.starts_with(&format!("{}-{run_id}-", crate::DEPLOYMENT)) {
            left.push(format!("bucket {name}"));
        }
        let region = bucket.bucket_region().unwrap_or("us-east-1");
        let there = aws_sdk_s3::Client::new(&platform.aws.sdk_config(account, region));
        let configurations = there
            .list_bucket_inventory_configurations()
            .bucket(name)
            .send()
            .await;
        let Ok(configurations) = configurations else {
            continue;
        };
        let ours = format!("s3insights-{}-{run_id}", crate::DEPLOYMENT);
        left.extend(
            configurations
                .inventory_configuration_list()
                .iter()
                .filter(|configuration| configuration.id() == ours)
                .map(|configuration| format!("configuration {} on {name}", configuration.id())),
        );
    }
    Ok(left)
}
