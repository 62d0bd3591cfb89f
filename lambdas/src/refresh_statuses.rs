//! Looks at the buckets whose report has not come: some may have become empty, vanished, or been
//! closed to us, and no report will ever come of those.
//!
//! May be repeated: statuses only move forward.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Class, Delivery};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::run::{Destination, Run, SourceBucket};
use shared::status::{InventoryStatus, Reason};
use shared::{naming, protocol};

use crate::{Platform, settling};

/// Buckets looked at at once.
const CONCURRENCY: usize = 20;
/// Buckets between two looks at the clock.
const BATCH: usize = 200;
/// Time after which the rest is left to the next call.
const TIME: Duration = Duration::from_mins(12);

/// A waiting run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// Where the last call stopped; `None` to begin.
    pub cursor: Option<String>,
}

/// Whether to wait on.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Every bucket has come to its end.
    pub settled: bool,
    /// The run goes on with what is there.
    pub deadline_passed: bool,
    /// Time was up: call again with it.
    pub cursor: Option<String>,
}

/// Looks at the buckets in progress.
///
/// # Errors
/// `Throttled`, `Unavailable`, `Conflict`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let stop_at = platform.clients.now() + TIME;
    let run = platform.run(&input.run_id).await?;
    let runs = platform.runs();
    let mut cursor = None;
    // The buckets of a smoke test do not exist.
    if !run.input.is_smoke_test {
        let destinations = runs.destinations(&run.run_id).await?;
        let mut open: Vec<SourceBucket> = runs.buckets(&run.run_id).await?;
        open.retain(|bucket| {
            bucket.status == InventoryStatus::InProgress
                // A report that exists is no less true when its bucket has changed since.
                && bucket.existing_report.is_none()
                && input
                    .cursor
                    .as_ref()
                    .is_none_or(|cursor| position(bucket) > *cursor)
        });
        open.sort_by_key(position);
        for batch in open.chunks(BATCH) {
            if platform.clients.now() >= stop_at {
                break;
            }
            futures::stream::iter(batch)
                .map(|bucket| refresh(&platform, &run, bucket, &destinations))
                .buffer_unordered(CONCURRENCY)
                .try_for_each(|()| async { Ok(()) })
                .await?;
            cursor = batch.last().map(position);
        }
        if open.last().map(position) == cursor {
            cursor = None;
        }
    }
    let run = platform.run(&input.run_id).await?;
    let wait = protocol::wait(&run, platform.clients.now());
    if cursor.is_none() && (wait.settled || wait.deadline_passed) {
        // The waiting state ends with the look that found nothing more to wait for.
        settling::answer(&platform, &run).await?;
    }
    Ok(Output {
        settled: wait.settled,
        deadline_passed: wait.deadline_passed,
        cursor,
    })
}

/// Where a bucket stands in the order of the look.
fn position(bucket: &SourceBucket) -> String {
    format!("{}#{}", bucket.account, bucket.bucket)
}

async fn refresh(
    platform: &Platform,
    run: &Run,
    bucket: &SourceBucket,
    destinations: &[Destination],
) -> Result<(), AwsError> {
    match look_at(platform, run, bucket, destinations).await {
        Ok(None) => Ok(()),
        Ok(Some((next, reason))) => {
            tracing::info!(bucket = %bucket.bucket, status = next.name(), "bucket has changed");
            platform
                .runs()
                .end_in_progress(&run.run_id, bucket, next, reason.as_ref())
                .await?;
            Ok(())
        }
        // The next look will tell, and no bucket keeps the run from the others.
        Err(error) => {
            tracing::warn!(bucket = %bucket.bucket, %error, "bucket cannot be looked at");
            Ok(())
        }
    }
}

/// The end a bucket has come to, if it has.
async fn look_at(
    platform: &Platform,
    run: &Run,
    bucket: &SourceBucket,
    destinations: &[Destination],
) -> Result<Option<(InventoryStatus, Option<Reason>)>, AwsError> {
    let source = platform
        .clients
        .source_account(&platform.settings, &bucket.account);
    let id = naming::configuration_id(&platform.settings.deployment, &run.run_id);
    match source
        .has_configuration(&bucket.region, &bucket.bucket, &id)
        .await
    {
        Ok(true) => {}
        // We removed it ourselves since the list of buckets was read.
        Ok(false) if !awaits_report(platform, run, bucket).await? => return Ok(None),
        Ok(false) => {
            // Somebody removed it, so no report would come.
            let destination = destinations
                .iter()
                .find(|destination| destination.region == bucket.region);
            if let Ok(Destination {
                bucket_arn: Some(arn),
                ..
            }) = protocol::usable_destination(destination)
            {
                let delivery = Delivery {
                    id: &id,
                    destination_arn: arn,
                    destination_owner: &platform.settings.host_account,
                };
                tracing::warn!(bucket = %bucket.bucket, "inventory configuration was removed");
                let put = source
                    .put_configuration(&bucket.region, &bucket.bucket, &delivery)
                    .await;
                // Whoever ends the bucket or the run says so first and removes then, so that either
                // of the two sees the other. Who cannot see takes it back: the next look puts it again.
                let awaits = awaits_report(platform, run, bucket).await;
                if !matches!(awaits, Ok(true)) {
                    source
                        .remove_configuration(&bucket.region, &bucket.bucket, &id)
                        .await?;
                    return awaits.map(|_| None);
                }
                put?;
            }
        }
        Err(error) => return ended(error, "s3:GetInventoryConfiguration").map(Some),
    }
    match source.is_empty(&bucket.region, &bucket.bucket).await {
        Ok(true) => Ok(Some((InventoryStatus::BucketIsEmpty, None))),
        Ok(false) => Ok(None),
        Err(error) if error.class == Class::Refused && bucket.unlistable => Ok(None),
        Err(error) => ended(error, "s3:ListBucketVersions").map(Some),
    }
}

/// Whether the bucket, read anew, still waits for its report, and the run for the bucket.
async fn awaits_report(
    platform: &Platform,
    run: &Run,
    bucket: &SourceBucket,
) -> Result<bool, AwsError> {
    let runs = platform.runs();
    let now = runs
        .bucket(&run.run_id, &bucket.account, &bucket.bucket)
        .await?;
    let awaits =
        now.is_some_and(|now| now.status == InventoryStatus::InProgress && now.report.is_none());
    Ok(awaits
        && runs
            .run(&run.run_id)
            .await?
            .is_some_and(|run| run.frozen_at.is_none()))
}

fn ended(error: AwsError, permission: &str) -> Result<(InventoryStatus, Option<Reason>), AwsError> {
    let next = match error.class {
        Class::Missing => InventoryStatus::BucketNotAvailable,
        Class::Refused => InventoryStatus::BucketAccessLost,
        _ => return Err(error),
    };
    Ok((next, Some(error.reason().needing(permission))))
}
