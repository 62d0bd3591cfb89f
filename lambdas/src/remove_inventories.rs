//! Deletes our inventory configurations from the buckets of one account.
//!
//! May be repeated: what is not there is removed.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, SourceAccount};
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, Region, RunId};
use shared::naming;
use shared::run::SourceBucket;
use shared::status::InventoryStatus;

use crate::Platform;

/// Buckets worked on at once.
const CONCURRENCY: usize = 10;
/// Buckets between two looks at the clock.
const BATCH: usize = 200;
/// Time after which the rest is left to the next call.
const TIME: Duration = Duration::from_mins(12);

/// One account of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The account.
    pub account_id: AccountId,
}

/// How far it came.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `false`: time was up, call again.
    pub finished: bool,
}

/// Removes the configurations. One that we are refused to remove is an outcome: it stays on record,
/// and the run is not clean.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let stop_at = platform.clients.now() + TIME;
    let source = platform
        .clients
        .source_account(&platform.settings, &input.account_id);
    let recorded = match platform.readable_run(&input.run_id).await? {
        Some(run) => {
            let mut buckets = platform
                .runs()
                .buckets_of(&input.run_id, &input.account_id)
                .await?;
            let is_again = run.cleaned_up_at.is_some();
            buckets.retain(|bucket| may_have_configuration(bucket, is_again));
            Some(buckets)
        }
        None => None,
    };
    let work = Work {
        platform: &platform,
        source: &source,
        run_id: &input.run_id,
        id: naming::configuration_id(&platform.settings.deployment, &input.run_id),
    };
    let finished = match recorded {
        Some(buckets) => work.remove_recorded(&buckets, stop_at).await?,
        None => work.remove_everywhere(stop_at).await?,
    };
    Ok(Output { finished })
}

/// Whether a configuration may be on the bucket. One that was refused may have been put by an
/// attempt whose answer was lost, so only what never was begun, or is known to be gone, is left out.
/// When a clean run is cleaned again, what was known may not be true any more.
fn may_have_configuration(bucket: &SourceBucket, is_again: bool) -> bool {
    // A report may make a bucket `done` before it is recorded that it was configured.
    let is_hollow = bucket.status == InventoryStatus::BucketIsEmpty;
    let never_begun = bucket.existing_report.is_some() || (!bucket.configured && is_hollow);
    (is_again || !bucket.configuration_removed) && !never_begun
}

struct Work<'a> {
    platform: &'a Platform,
    source: &'a SourceAccount<'a>,
    run_id: &'a RunId,
    id: String,
}

impl Work<'_> {
    async fn remove_recorded(
        &self,
        buckets: &[SourceBucket],
        stop_at: Timestamp,
    ) -> Result<bool, TaskError> {
        for batch in buckets.chunks(BATCH) {
            if self.platform.clients.now() >= stop_at {
                return Ok(false);
            }
            let mut answers = futures::stream::iter(batch)
                .map(|bucket| async move {
                    if self.remove(&bucket.region, &bucket.bucket).await? {
                        let runs = self.platform.runs();
                        runs.record_configuration_removed(self.run_id, bucket)
                            .await?;
                    }
                    Ok(())
                })
                .buffer_unordered(CONCURRENCY);
            first_error(&mut answers).await?;
        }
        Ok(true)
    }

    /// Without a record, every bucket of the account may have a configuration.
    async fn remove_everywhere(&self, stop_at: Timestamp) -> Result<bool, TaskError> {
        let buckets = match self.source.buckets().await {
            Ok(buckets) => buckets,
            Err(error) if error.is_passing() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "account cannot be searched for inventory configurations");
                return Ok(true);
            }
        };
        for batch in buckets.chunks(BATCH) {
            if self.platform.clients.now() >= stop_at {
                return Ok(false);
            }
            let mut answers = futures::stream::iter(batch)
                .map(|bucket| async move {
                    let region = match &bucket.region {
                        Some(region) => region.clone(),
                        None => match self.source.region_of(&bucket.name).await {
                            Ok(region) => region,
                            Err(error) if error.is_passing() => return Err(error),
                            Err(_) => return Ok(()),
                        },
                    };
                    self.remove(&region, &bucket.name).await.map(|_| ())
                })
                .buffer_unordered(CONCURRENCY);
            first_error(&mut answers).await?;
        }
        Ok(true)
    }

    /// Whether the configuration is gone; `false` when we are refused.
    async fn remove(&self, region: &Region, bucket: &BucketName) -> Result<bool, AwsError> {
        match self
            .source
            .remove_configuration(region, bucket, &self.id)
            .await
        {
            Ok(()) => Ok(true),
            Err(error) if error.is_passing() => Err(error),
            Err(error) => {
                tracing::warn!(%bucket, %error, "inventory configuration may be left");
                Ok(false)
            }
        }
    }
}

/// Lets all have their turn, then gives the first error.
async fn first_error(
    answers: &mut (impl futures::Stream<Item = Result<(), AwsError>> + Unpin),
) -> Result<(), AwsError> {
    let mut first = Ok(());
    while let Some(answer) = answers.next().await {
        if first.is_ok() {
            first = answer;
        }
    }
    first
}
