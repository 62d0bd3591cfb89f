//! Records the source buckets of one account: lists its buckets with their Regions, leaves out
//! what the input leaves out, and tells empty ones apart.
//!
//! May be repeated: a record is keyed by its bucket and the first one stays.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, FoundBucket, SourceAccount};
use shared::error::TaskError;
use shared::ids::{AccountId, Region, RunId};
use shared::input::{AccountInput, RunInput};
use shared::run::{Account, LeftOut, Run, SourceBucket};
use shared::status::{InventoryStatus, Reason, is_refusal};
use shared::{naming, protocol};

use crate::Platform;

/// Buckets looked at at once.
const CONCURRENCY: usize = 50;

/// One account of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The account.
    pub account_id: AccountId,
}

/// What was found.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Source buckets on record.
    pub source_buckets: usize,
}

/// Records the source buckets of one account.
///
/// # Errors
/// `Throttled` and `Unavailable`, so that no bucket is missed. An account that cannot be read is an
/// outcome: it is recorded with the reason, and the run is partial.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let run = platform.run(&input.run_id).await?;
    let account = run
        .input
        .accounts
        .iter()
        .find(|account| account.id == input.account_id)
        .ok_or_else(|| {
            TaskError::InvalidInput(format!(
                "account_id: {} is not in the run",
                input.account_id
            ))
        })?;
    let source = platform
        .clients
        .source_account(&platform.settings, &account.id);
    let sorted = match sort_out(&platform, &run, account, &source).await {
        Ok(sorted) => sorted,
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(account = %account.id, %error, "account cannot be read");
            let record = Account {
                account: account.id.clone(),
                reason: Some(account_reason(&error)),
            };
            platform.runs().put_account(&run.run_id, &record).await?;
            return Ok(Output { source_buckets: 0 });
        }
    };

    if run.input.is_smoke_test {
        add_regions(
            &platform,
            &run,
            sorted.candidates.iter().map(|(_, region)| region),
        )
        .await?;
        record_read(&platform, &run, account).await?;
        return Ok(Output { source_buckets: 0 });
    }
    let buckets: Vec<SourceBucket> = futures::stream::iter(sorted.candidates)
        .map(|(bucket, region)| look_at(&run.input, &source, &account.id, bucket, region))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    platform.runs().add_buckets(&run.run_id, &buckets).await?;
    platform
        .runs()
        .put_left_out(&run.run_id, &sorted.left_out)
        .await?;
    let open = buckets
        .iter()
        .filter(|bucket| protocol::needs_configuration(bucket));
    add_regions(&platform, &run, open.map(|bucket| &bucket.region)).await?;
    record_read(&platform, &run, account).await?;
    tracing::info!(
        account = %account.id,
        source_buckets = buckets.len(),
        left_out = sorted.left_out.len(),
        "buckets discovered"
    );
    Ok(Output {
        source_buckets: buckets.len(),
    })
}

struct Sorted {
    candidates: Vec<(FoundBucket, Region)>,
    left_out: Vec<LeftOut>,
}

async fn sort_out(
    platform: &Platform,
    run: &Run,
    account: &AccountInput,
    source: &SourceAccount<'_>,
) -> Result<Sorted, AwsError> {
    let settings = &platform.settings;
    let mut sorted = Sorted {
        candidates: Vec::new(),
        left_out: Vec::new(),
    };
    for bucket in source.buckets().await? {
        if account.id == settings.host_account
            && naming::is_own_bucket(&settings.deployment, &settings.host_account, &bucket.name)
        {
            continue;
        }
        let region = match &bucket.region {
            Some(region) => region.clone(),
            None => match source.region_of(&bucket.name).await {
                Ok(region) => region,
                // Deleted between two requests: it was never discovered.
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            },
        };
        match protocol::left_out_because(&run.input, account, &bucket.name, &region) {
            Some(because) => sorted.left_out.push(LeftOut {
                account: account.id.clone(),
                bucket: bucket.name,
                region: Some(region),
                because,
            }),
            None => sorted.candidates.push((bucket, region)),
        }
    }
    Ok(sorted)
}

/// A bucket as it is discovered: open, empty, or gone again. One whose content cannot be listed
/// stays open: its report will tell. So does one whose report exists, which may be older than what a
/// look would show.
async fn look_at(
    input: &RunInput,
    source: &SourceAccount<'_>,
    account: &AccountId,
    bucket: FoundBucket,
    region: Region,
) -> Result<SourceBucket, AwsError> {
    if let Some(uri) = input.existing_inventory_of(&bucket.name) {
        let mut bucket = SourceBucket::discovered(account.clone(), bucket.name, region);
        bucket.existing_report = Some(uri.clone());
        return Ok(bucket);
    }
    let emptiness = source.is_empty(&region, &bucket.name).await;
    let mut bucket = SourceBucket::discovered(account.clone(), bucket.name, region);
    match emptiness {
        Ok(true) => bucket.status = InventoryStatus::BucketIsEmpty,
        Ok(false) => {}
        Err(error) if error.is_passing() => return Err(error),
        Err(error) if error.is_missing() => {
            bucket.status = InventoryStatus::BucketNotAvailable;
            bucket.reason = Some(error.reason());
        }
        Err(error) => {
            bucket.unlistable = is_refusal(&error.code);
            tracing::warn!(bucket = %bucket.bucket, %error, "bucket cannot be listed");
        }
    }
    Ok(bucket)
}

fn account_reason(error: &AwsError) -> Reason {
    let permission = if error.message.contains("AssumeRole") {
        "sts:AssumeRole"
    } else {
        "s3:ListAllMyBuckets"
    };
    error.reason().needing(permission)
}

async fn add_regions<'a>(
    platform: &Platform,
    run: &Run,
    regions: impl Iterator<Item = &'a Region>,
) -> Result<(), AwsError> {
    let regions: std::collections::BTreeSet<&Region> = regions.collect();
    for region in regions {
        platform.runs().add_region(&run.run_id, region).await?;
    }
    Ok(())
}

async fn record_read(
    platform: &Platform,
    run: &Run,
    account: &AccountInput,
) -> Result<(), AwsError> {
    let record = Account {
        account: account.id.clone(),
        reason: None,
    };
    platform.runs().put_account(&run.run_id, &record).await
}
