//! Records the source buckets of one account: lists its buckets with their Regions, leaves out
//! what the input leaves out, and tells empty ones apart.
//!
//! May be repeated: a record is keyed by its bucket and the first one stays.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, FoundBucket, SourceAccount};
use shared::error::TaskError;
use shared::ids::{AccountId, Region, RunId};
use shared::input::{AccountInput, RunInput};
use shared::run::{Account, Failure, LeftOut, Run, SourceBucket};
use shared::status::{InventoryStatus, Reason, is_refusal};
use shared::{naming, protocol};

use crate::Platform;

/// Buckets looked at at once.
const CONCURRENCY: usize = 50;
/// Buckets that are looked at and then recorded together.
const BATCH: usize = 500;
/// Time for looking at buckets, which leaves enough of the function's own to record 10,000 of them.
const TIME: Duration = Duration::from_mins(10);

/// One account of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The account.
    pub account_id: AccountId,
    /// What all earlier calls ended with. The account is given up: that is recorded, and nothing else
    /// is done.
    pub failure: Option<Failure>,
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
    let stop_at = platform.clients.now() + TIME;
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
    if let Some(failure) = &input.failure {
        tracing::warn!(account = %account.id, error = failure.error, "account is given up");
        let reason = failure.reason();
        record(&platform, &run, account, Some(reason)).await?;
        return Ok(Output { source_buckets: 0 });
    }
    let source = platform
        .clients
        .source_account(&platform.settings, &account.id);
    let sorted = match sort_out(&platform, &run, account, &source).await {
        Ok(sorted) => sorted,
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(account = %account.id, %error, "account cannot be read");
            record(&platform, &run, account, Some(account_reason(&error))).await?;
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
        record(&platform, &run, account, None).await?;
        return Ok(Output { source_buckets: 0 });
    }
    platform
        .runs()
        .put_left_out(&run.run_id, &sorted.left_out)
        .await?;
    let source_buckets = sorted.candidates.len();
    for batch in sorted.candidates.chunks(BATCH) {
        let buckets: Vec<SourceBucket> = futures::stream::iter(batch)
            .map(|(bucket, region)| {
                let in_time = platform.clients.now() < stop_at;
                look_at(&run.input, &source, &account.id, (bucket, region), in_time)
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let open = buckets
            .iter()
            .filter(|bucket| protocol::needs_configuration(bucket));
        add_regions(&platform, &run, open.map(|bucket| &bucket.region)).await?;
        platform.runs().add_buckets(&run.run_id, &buckets).await?;
    }
    record(&platform, &run, account, None).await?;
    tracing::info!(
        account = %account.id,
        source_buckets,
        left_out = sorted.left_out.len(),
        "buckets discovered"
    );
    Ok(Output { source_buckets })
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
/// look would show, and one that nobody could look at in time: if it is empty, that is seen while the
/// run waits.
async fn look_at(
    input: &RunInput,
    source: &SourceAccount<'_>,
    account: &AccountId,
    (bucket, region): (&FoundBucket, &Region),
    in_time: bool,
) -> SourceBucket {
    let mut record = SourceBucket::discovered(account.clone(), bucket.name.clone(), region.clone());
    if let Some(uri) = input.existing_inventory_of(&bucket.name) {
        record.existing_report = Some(uri.clone());
        return record;
    }
    if !in_time {
        return record;
    }
    match source.is_empty(region, &bucket.name).await {
        Ok(true) => record.status = InventoryStatus::BucketIsEmpty,
        Ok(false) => {}
        Err(error) if error.is_missing() => {
            record.status = InventoryStatus::BucketNotAvailable;
            record.reason = Some(error.reason());
        }
        Err(error) => {
            record.unlistable = is_refusal(&error.code);
            tracing::warn!(bucket = %bucket.name, %error, "bucket cannot be listed");
        }
    }
    record
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

/// Records whether an account could be read.
async fn record(
    platform: &Platform,
    run: &Run,
    account: &AccountInput,
    reason: Option<Reason>,
) -> Result<(), AwsError> {
    let account = account.id.clone();
    let record = Account { account, reason };
    platform.runs().put_account(&run.run_id, &record).await
}
