//! Turns delivered reports into messages, one for each file. It acts on a report's
//! `manifest.checksum` only; everything else that comes through the queue is acknowledged.
//!
//! May be repeated: a bucket takes one report, its files are recorded once, and a file message that
//! comes twice changes nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::aws::ReportClaim;
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, RunId};
use shared::manifest::{Manifest, ReportLocation};
use shared::run::{InventoryFile, SourceBucket};
use shared::s3_event::Notification;
use shared::status::Reason;
use shared::{naming, protocol};

use crate::queue::{self, SqsBatchResponse, SqsEvent};
use crate::{Platform, settling};

/// One file to be consolidated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileMessage {
    /// The run.
    pub run_id: RunId,
    /// Owner of the source bucket.
    pub account_id: AccountId,
    /// The source bucket.
    pub bucket: BucketName,
    /// The file, by the name it is recorded under.
    pub file: String,
}

/// Works on a batch of S3's notifications.
///
/// # Errors
/// None for the batch: a message that fails goes back to the queue alone.
pub async fn handle(
    platform: Arc<Platform>,
    event: SqsEvent,
) -> Result<SqsBatchResponse, TaskError> {
    let queue_url = &platform.settings.notification_queue_url;
    let response = queue::work(&platform, queue_url, event, async |message, receives| {
        let body = message.body.as_str();
        match Notification::parse(body) {
            Notification::ObjectsCreated(created) => {
                for object in created {
                    let Some(location) = ReportLocation::parse(&object.key) else {
                        tracing::debug!(key = object.key, "not the end of a report");
                        continue;
                    };
                    take_report(&platform, &location, &object.bucket, receives).await?;
                }
            }
            Notification::Test => tracing::info!("notifications of a destination are set up"),
            Notification::Unknown => tracing::warn!("message of no known kind is acknowledged"),
        }
        Ok(())
    })
    .await;
    Ok(response)
}

async fn take_report(
    platform: &Platform,
    location: &ReportLocation,
    delivered_to: &BucketName,
    receives: u32,
) -> Result<(), TaskError> {
    let ignore = |why: &str| {
        tracing::info!(key = location.manifest_key(), bucket = %delivered_to, why, "report ignored");
        Ok(())
    };
    let settings = &platform.settings;
    let Some((run_id, account, name)) = protocol::report_of(&settings.deployment, location) else {
        return ignore("it belongs to no run of this deployment");
    };
    let runs = platform.runs();
    let Some(run) = runs.run(&run_id).await? else {
        return ignore("its run is not on record");
    };
    let Some(bucket) = runs.bucket(&run_id, &account, &name).await? else {
        return ignore("its bucket is not in the run");
    };
    let destination = runs.destination(&run_id, &bucket.region).await?;
    let manifest_key = location.manifest_key();
    if let Err(why) = protocol::is_awaited(
        &run,
        &bucket,
        destination.as_ref(),
        delivered_to,
        &manifest_key,
    ) {
        // The last of a bucket's messages may have been answered only half.
        settling::answer_if_settled(platform, &run_id).await?;
        return ignore(why);
    }

    let objects = platform.clients.objects(&bucket.region);
    let checksum = objects.get(delivered_to, &location.checksum_key()).await?;
    let manifest = objects.get(delivered_to, &manifest_key).await?;
    let (Some(checksum), Some(manifest)) = (checksum, manifest) else {
        if settling::has_waited_long_enough(receives) {
            let reason = Reason::new("ManifestMissing", format!("{manifest_key} did not come"));
            return settling::refuse(platform, &run_id, &bucket, &reason).await;
        }
        return Err(TaskError::Unavailable(format!(
            "{manifest_key} is not there yet"
        )));
    };
    match protocol::check_manifest(location, delivered_to, &manifest, &checksum) {
        Ok(manifest) => queue_files(platform, &run_id, &bucket, &manifest_key, manifest).await,
        Err(reason) => settling::refuse(platform, &run_id, &bucket, &reason).await,
    }
}

async fn queue_files(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    manifest_key: &str,
    manifest: Manifest,
) -> Result<(), TaskError> {
    let runs = platform.runs();
    let count = manifest.files.len() as u64;
    if runs
        .claim_report(run_id, bucket, manifest_key, count)
        .await?
        == ReportClaim::NotWanted
    {
        tracing::info!(
            manifest_key,
            "report ignored: the bucket took another or has ended"
        );
        return Ok(());
    }
    if manifest.files.is_empty() {
        runs.finish_without_files(run_id, bucket).await?;
        return settling::after_end(platform, run_id, bucket).await;
    }
    let mut files = Vec::with_capacity(manifest.files.len());
    let mut messages = Vec::with_capacity(manifest.files.len());
    for file in manifest.files {
        let name = naming::file_stem(&file.key).to_owned();
        let message = FileMessage {
            run_id: run_id.clone(),
            account_id: bucket.account.clone(),
            bucket: bucket.bucket.clone(),
            file: name.clone(),
        };
        messages.push(
            serde_json::to_string(&message)
                .map_err(|error| TaskError::Internal(error.to_string()))?,
        );
        let record = InventoryFile {
            account: bucket.account.clone(),
            bucket: bucket.bucket.clone(),
            region: bucket.region.clone(),
            report: manifest_key.to_owned(),
            destination_bucket: manifest.destination_bucket.clone(),
            key: file.key,
            size: file.size,
            md5: file.md5,
            format: manifest.format,
            schema: manifest.schema.clone(),
            done: false,
        };
        files.push((name, record));
    }
    // The records first: a message finds its file.
    runs.add_files(run_id, &files).await?;
    platform
        .clients
        .send_messages(&platform.settings.file_queue_url, &messages)
        .await?;
    tracing::info!(%run_id, bucket = %bucket.bucket, files = count, "report verified");
    Ok(())
}
