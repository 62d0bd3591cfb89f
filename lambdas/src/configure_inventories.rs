//! Asks S3 for an inventory of every source bucket of one account. A bucket whose report exists is
//! not touched: its report is sent to be taken.
//!
//! May be repeated: a bucket gets the same configuration under the same id, and what is done is
//! not done again. A report that is sent twice is taken once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Delivery, SourceAccount};
use shared::error::TaskError;
use shared::ids::{AccountId, Region, RunId};
use shared::run::{Destination, Failure, SourceBucket};
use shared::status::InventoryStatus;
use shared::{naming, protocol};

use crate::Platform;
use crate::inventory_object_processor::ExistingReportMessage;

/// Buckets configured at once. How many such writes a second S3 takes of an account is not known: the
/// client slows down when S3 says so.
const CONCURRENCY: usize = 10;
/// Buckets that are given up at once.
const GIVEN_UP_AT_ONCE: usize = 40;
/// Time after which no further bucket is begun, well before the function's own end.
const TIME: Duration = Duration::from_mins(12);
/// Buckets that are begun together.
const BATCH: usize = 200;

/// One account of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The account.
    pub account_id: AccountId,
    /// What all earlier calls ended with. The buckets that have no configuration by now are given up:
    /// that is recorded, and nothing else is done.
    pub failure: Option<Failure>,
}

/// How far it came.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `false`: time was up, call again.
    pub finished: bool,
}

/// Puts the configurations. A bucket that refuses is an outcome, recorded with the reason.
///
/// # Errors
/// `Throttled`, `Unavailable` and `Conflict`, when no bucket of those that are left could be
/// configured.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let stop_at = platform.clients.now() + TIME;
    protocol::may_still_make(&platform.run(&input.run_id).await?)?;
    let runs = platform.runs();
    let mut open: Vec<SourceBucket> = runs.buckets_of(&input.run_id, &input.account_id).await?;
    let mut existing = open.clone();
    existing.retain(protocol::awaits_existing_report);
    open.retain(protocol::needs_configuration);
    if let Some(failure) = &input.failure {
        give_up(&platform, &input.run_id, &open, failure).await?;
        return Ok(Output { finished: true });
    }
    let destinations: BTreeMap<Region, Destination> = runs
        .destinations(&input.run_id)
        .await?
        .into_iter()
        .map(|destination| (destination.region.clone(), destination))
        .collect();
    let work = Work {
        platform: &platform,
        source: platform
            .clients
            .source_account(&platform.settings, &input.account_id),
        run_id: &input.run_id,
        configuration_id: naming::configuration_id(&platform.settings.deployment, &input.run_id),
        destinations,
    };
    work.send_existing(&existing).await?;
    let mut open = VecDeque::from(open);
    // Buckets in a row that may do better later, and what the last one said.
    let mut put_off = 0;
    let mut last_error: Option<AwsError> = None;
    let mut progressed = false;
    while !open.is_empty() {
        let time_is_up = platform.clients.now() >= stop_at;
        if time_is_up && progressed {
            return Ok(Output { finished: false });
        }
        // The others are not kept from their turn by those that are throttled. When all that are left
        // were, a pause is due, and the machine makes it.
        if let Some(error) = &last_error
            && (time_is_up || put_off >= open.len())
        {
            return Err(error.clone().into());
        }
        let batch: Vec<SourceBucket> = open.drain(..open.len().min(BATCH)).collect();
        let configured = work.configure(&batch).await;
        // Whoever cleans up says first that the run is over and removes then, so that either of the
        // two sees the other.
        let run = platform.run(&input.run_id).await;
        let over = run.and_then(|run| protocol::may_still_make(&run));
        if let Err(TaskError::InvalidInput(_)) = over {
            work.take_back(&batch).await;
        }
        over?;
        let later = configured?;
        if later.len() < batch.len() {
            put_off = 0;
            progressed = true;
        } else {
            put_off += batch.len();
        }
        for (bucket, error) in later {
            open.push_back(bucket);
            last_error = Some(error);
        }
    }
    Ok(Output { finished: true })
}

/// Ends buckets that could not be configured, whatever was tried. Their configuration may be there all
/// the same, so Cleanup looks for it.
async fn give_up(
    platform: &Platform,
    run_id: &RunId,
    buckets: &[SourceBucket],
    failure: &Failure,
) -> Result<(), AwsError> {
    let next = InventoryStatus::InventoryConfigurationNotCreated;
    let reason = failure.reason();
    let runs = platform.runs();
    futures::stream::iter(buckets)
        .map(|bucket| {
            let reason = Some(&reason);
            async move {
                if bucket.status == InventoryStatus::InProgress {
                    runs.end_in_progress(run_id, bucket, next, reason).await
                } else {
                    runs.end_discovered(run_id, bucket, next, reason).await
                }
            }
        })
        .buffer_unordered(GIVEN_UP_AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    tracing::warn!(
        buckets = buckets.len(),
        error = failure.error,
        "buckets are given up"
    );
    Ok(())
}

struct Work<'a> {
    platform: &'a Platform,
    source: SourceAccount<'a>,
    run_id: &'a RunId,
    configuration_id: String,
    destinations: BTreeMap<Region, Destination>,
}

impl Work<'_> {
    /// Has the reports that exist taken. In progress before the message is sent, as the processor
    /// takes nothing for a bucket that is not.
    async fn send_existing(&self, buckets: &[SourceBucket]) -> Result<(), TaskError> {
        self.platform.runs().begin(self.run_id, buckets).await?;
        let mut messages = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let message = ExistingReportMessage {
                run_id: self.run_id.clone(),
                account_id: bucket.account.clone(),
                bucket: bucket.bucket.clone(),
            };
            messages.push(
                serde_json::to_string(&message)
                    .map_err(|error| TaskError::Internal(error.to_string()))?,
            );
        }
        let queue_url = &self.platform.settings.notification_queue_url;
        self.platform
            .clients
            .send_messages(queue_url, &messages)
            .await?;
        Ok(())
    }

    /// Configures buckets, and gives back those that may do better later, each with what it said.
    /// Every bucket has its turn, whatever the others say.
    async fn configure(
        &self,
        buckets: &[SourceBucket],
    ) -> Result<Vec<(SourceBucket, AwsError)>, AwsError> {
        let mut ready = Vec::new();
        for bucket in buckets {
            match protocol::usable_destination(self.destinations.get(&bucket.region)) {
                Ok(_) => ready.push(bucket.clone()),
                Err(reason) => {
                    let next = InventoryStatus::InventoryConfigurationNotCreated;
                    let runs = self.platform.runs();
                    runs.end_discovered(self.run_id, bucket, next, Some(&reason))
                        .await?;
                }
            }
        }
        // In progress before the configuration is there: whatever happens next, Cleanup knows of it
        // and a report that comes at once is awaited.
        let fresh: Vec<SourceBucket> = ready
            .iter()
            .filter(|bucket| bucket.status != InventoryStatus::InProgress)
            .cloned()
            .collect();
        self.platform.runs().begin(self.run_id, &fresh).await?;
        for bucket in &mut ready {
            bucket.status = InventoryStatus::InProgress;
        }
        let answers = futures::stream::iter(ready)
            .map(|bucket| async {
                let answer = self.put(&bucket).await;
                answer.err().map(|error| (bucket, error))
            })
            .buffer_unordered(CONCURRENCY);
        let answers: Vec<Option<(SourceBucket, AwsError)>> = answers.collect().await;
        let later: Vec<(SourceBucket, AwsError)> = answers.into_iter().flatten().collect();
        match later.iter().find(|(_, error)| !error.is_passing()) {
            Some((_, error)) => Err(error.clone()),
            None => Ok(later),
        }
    }

    /// Removes what was put for a run that ended meanwhile.
    async fn take_back(&self, buckets: &[SourceBucket]) {
        let mut answers = futures::stream::iter(buckets)
            .map(|bucket| async move {
                self.source
                    .remove_configuration(&bucket.region, &bucket.bucket, &self.configuration_id)
                    .await
            })
            .buffer_unordered(CONCURRENCY);
        while let Some(answer) = answers.next().await {
            if let Err(error) = answer {
                tracing::warn!(%error, "inventory configuration stays until the next Cleanup");
            }
        }
    }

    async fn put(&self, bucket: &SourceBucket) -> Result<(), AwsError> {
        let Ok(Destination {
            bucket_arn: Some(destination_arn),
            ..
        }) = protocol::usable_destination(self.destinations.get(&bucket.region))
        else {
            return Ok(());
        };
        let delivery = Delivery {
            id: &self.configuration_id,
            destination_arn,
            destination_owner: &self.platform.settings.host_account,
        };
        let runs = self.platform.runs();
        match self
            .source
            .put_configuration(&bucket.region, &bucket.bucket, &delivery)
            .await
        {
            Ok(()) => runs.record_configured(self.run_id, bucket).await,
            Err(error) if error.is_passing() => Err(error),
            Err(error) => {
                let next = if error.is_missing() {
                    InventoryStatus::BucketNotAvailable
                } else {
                    InventoryStatus::InventoryConfigurationNotCreated
                };
                let reason = error.reason().needing("s3:PutInventoryConfiguration");
                tracing::warn!(bucket = %bucket.bucket, %error, "no inventory configuration");
                runs.end_in_progress(self.run_id, bucket, next, Some(&reason))
                    .await
                    .map(|_| ())
            }
        }
    }
}
