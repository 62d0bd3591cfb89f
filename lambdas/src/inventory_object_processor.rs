//! Turns reports into messages, one for each file. Of what S3 tells it acts on a report's
//! `manifest.checksum` only. Of reports that existed before their run `configure-inventories` tells;
//! such a message names a bucket, and where its report is stands on record. Everything else that
//! comes through the queue is acknowledged.
//!
//! May be repeated: a bucket takes one report, its files are recorded once, and a file message that
//! comes twice changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Class, Objects, ReportClaim};
use shared::dead_letter::Queue;
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, Region, RunId};
use shared::manifest::{
    CHECKSUM_FILE_NAME, MAX_CHECKSUM_BYTES, MAX_MANIFEST_BYTES, Manifest, ManifestUri, Md5Hash,
    ReportLocation,
};
use shared::run::{InventoryFile, SourceBucket};
use shared::s3_event::Notification;
use shared::status::{InventoryStatus, Reason};
use shared::{naming, protocol};

use crate::queue::{self, SqsBatchResponse, SqsEvent};
use crate::{Platform, settling};

/// Files that are recorded and queued together: of a report of very many, only these are held twice.
const FILES_AT_ONCE: usize = 1_000;

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

/// A bucket whose report existed before the run and is to be taken now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExistingReportMessage {
    /// The run.
    pub run_id: RunId,
    /// Owner of the source bucket.
    pub account_id: AccountId,
    /// The source bucket.
    pub bucket: BucketName,
}

/// Works on a batch of S3's notifications, and of messages about reports that existed.
///
/// # Errors
/// None for the batch: a message that fails goes back to the queue alone.
pub async fn handle(
    platform: Arc<Platform>,
    event: SqsEvent,
) -> Result<SqsBatchResponse, TaskError> {
    let queue = Queue::Notifications;
    let response = queue::work(&platform, queue, event, async |message, receives| {
        let body = message.body.as_str();
        if let Ok(existing) = serde_json::from_str(body) {
            return take_existing_report(&platform, existing, receives).await;
        }
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
        tracing::info!(key = location.manifest_key(), destination = %delivered_to, why, "report ignored");
        Ok(())
    };
    let settings = &platform.settings;
    let Some((run_id, account, name)) = protocol::report_of(&settings.deployment, location) else {
        return ignore("it belongs to no run of this deployment");
    };
    queue::is_about(&run_id, &account, &name);
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
    let checksum_key = location.checksum_key();
    let documents = read_documents(&objects, delivered_to, &manifest_key, &checksum_key);
    let (manifest, checksum) = match documents.await {
        Ok(documents) => documents,
        Err(error) => {
            let Some(reason) = too_large(&error) else {
                return Err(error.into());
            };
            return settling::refuse(platform, &run_id, &bucket, &reason).await;
        }
    };
    let (Some(checksum), Some(manifest)) = (checksum, manifest) else {
        if settling::has_waited_long_enough(receives) {
            let reason = Reason::new("ManifestMissing", format!("{manifest_key} did not come"));
            return settling::refuse(platform, &run_id, &bucket, &reason).await;
        }
        return Err(TaskError::Unavailable(format!(
            "{manifest_key} is not there yet"
        )));
    };
    let md5 = Md5Hash::of(&manifest);
    match protocol::check_manifest(location, delivered_to, &manifest, &checksum) {
        Ok(manifest) => {
            let report = Verified {
                manifest_key,
                md5,
                manifest,
                region: bucket.region.clone(),
            };
            queue_files(platform, &run_id, &bucket, report, receives).await
        }
        // The report that the bucket took did verify; this one has its place.
        Err(_) if bucket.report.is_some() => {
            go_on_with_taken(platform, &run_id, &bucket, &manifest_key, receives).await
        }
        Err(reason) => settling::refuse(platform, &run_id, &bucket, &reason).await,
    }
}

/// Takes a report that existed before its run. It is said to be there, so nothing is waited for.
async fn take_existing_report(
    platform: &Platform,
    message: ExistingReportMessage,
    receives: u32,
) -> Result<(), TaskError> {
    let ExistingReportMessage {
        run_id,
        account_id,
        bucket: name,
    } = message;
    queue::is_about(&run_id, &account_id, &name);
    let ignore = |why: &str| {
        tracing::info!(why, "message about an existing report ignored");
        Ok(())
    };
    let runs = platform.runs();
    let Some(run) = runs.run(&run_id).await? else {
        return ignore("its run is not on record");
    };
    let Some(bucket) = runs.bucket(&run_id, &account_id, &name).await? else {
        return ignore("its bucket is not in the run");
    };
    let uri = match protocol::existing_report(&run, &bucket) {
        Ok(uri) => uri,
        Err(why) => {
            // The last of a bucket's messages may have been answered only half.
            settling::answer_if_settled(platform, &run_id).await?;
            return ignore(why);
        }
    };
    let checked = match read_existing(platform, uri).await {
        Ok(report) => report.check(&bucket.bucket, uri),
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) if error.is_missing() => Err(Reason::new(
            "ManifestMissing",
            format!("{uri} is not there: there is no such bucket"),
        )),
        Err(error) => Err(too_large(&error)
            .unwrap_or_else(|| protocol::unreadable_existing_report(uri, error.reason()))),
    };
    match checked {
        Ok((manifest, md5, region)) => {
            let report = Verified {
                manifest_key: uri.manifest_key(),
                md5,
                manifest,
                region,
            };
            queue_files(platform, &run_id, &bucket, report, receives).await
        }
        Err(reason) => settling::refuse(platform, &run_id, &bucket, &reason).await,
    }
}

/// The manifest and the checksum of a report, each if it is there.
async fn read_documents(
    objects: &Objects,
    bucket: &BucketName,
    manifest_key: &str,
    checksum_key: &str,
) -> Result<(Option<Bytes>, Option<Bytes>), AwsError> {
    let manifest = objects.get_at_most(bucket, manifest_key, MAX_MANIFEST_BYTES);
    let manifest = manifest.await?;
    let checksum = objects.get_at_most(bucket, checksum_key, MAX_CHECKSUM_BYTES);
    Ok((manifest, checksum.await?))
}

/// Why a report does not verify of which a document is larger than what is read.
fn too_large(error: &AwsError) -> Option<Reason> {
    (error.class == Class::TooLarge).then(|| error.reason())
}

/// What is at the place of a report that existed.
struct Existing {
    region: Region,
    manifest: Option<Bytes>,
    checksum: Option<Bytes>,
}

async fn read_existing(platform: &Platform, uri: &ManifestUri) -> Result<Existing, AwsError> {
    let region = platform.clients.region_of_bucket(uri.bucket()).await?;
    let objects = platform.clients.objects(&region);
    let (manifest, checksum) = read_documents(
        &objects,
        uri.bucket(),
        &uri.manifest_key(),
        &uri.checksum_key(),
    )
    .await?;
    Ok(Existing {
        region,
        manifest,
        checksum,
    })
}

impl Existing {
    /// The manifest, if it is one of the bucket, its MD5, and the Region that its files are in.
    fn check(
        self,
        source_bucket: &BucketName,
        uri: &ManifestUri,
    ) -> Result<(Manifest, Md5Hash, Region), Reason> {
        let missing = |what: String| Reason::new("ManifestMissing", format!("{what} is not there"));
        let manifest = self.manifest.ok_or_else(|| missing(uri.to_string()))?;
        let checksum = self
            .checksum
            .ok_or_else(|| missing(format!("{CHECKSUM_FILE_NAME} beside {uri}")))?;
        let md5 = Md5Hash::of(&manifest);
        let manifest = protocol::check_existing_manifest(source_bucket, uri, &manifest, &checksum)?;
        Ok((manifest, md5, self.region))
    }
}

/// A report that is what it is said to be.
struct Verified {
    manifest_key: String,
    md5: Md5Hash,
    manifest: Manifest,
    /// Of the bucket that its files are in.
    region: Region,
}

/// Records the files of a verified report and queues them.
async fn queue_files(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    report: Verified,
    receives: u32,
) -> Result<(), TaskError> {
    let Verified {
        manifest_key,
        md5,
        manifest,
        region,
    } = report;
    let runs = platform.runs();
    let count = manifest.files.len() as u64;
    if runs
        .claim_report(run_id, bucket, &manifest_key, md5, count)
        .await?
        == ReportClaim::NotWanted
    {
        return go_on_with_taken(platform, run_id, bucket, &manifest_key, receives).await;
    }
    if manifest.files.is_empty() {
        runs.finish_without_files(run_id, bucket).await?;
        return settling::after_end(platform, run_id, bucket).await;
    }
    for some in manifest.files.chunks(FILES_AT_ONCE) {
        let mut files = Vec::with_capacity(some.len());
        let mut names = Vec::with_capacity(some.len());
        for file in some {
            let name = naming::file_stem(&file.key).to_owned();
            names.push(name.clone());
            let record = InventoryFile {
                account: bucket.account.clone(),
                bucket: bucket.bucket.clone(),
                region: region.clone(),
                report: manifest_key.clone(),
                destination_bucket: manifest.destination_bucket.clone(),
                key: file.key.clone(),
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
        send(platform, run_id, bucket, names).await?;
    }
    tracing::info!(files = count, "report verified");
    Ok(())
}

/// Sends a message for each file.
async fn send(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    files: impl IntoIterator<Item = String>,
) -> Result<(), TaskError> {
    let messages: Result<Vec<String>, _> = files
        .into_iter()
        .map(|file| {
            serde_json::to_string(&FileMessage {
                run_id: run_id.clone(),
                account_id: bucket.account.clone(),
                bucket: bucket.bucket.clone(),
                file,
            })
        })
        .collect();
    let messages = messages.map_err(|error| TaskError::Internal(error.to_string()))?;
    let queue_url = &platform.settings.file_queue_url;
    Ok(platform.clients.send_messages(queue_url, &messages).await?)
}

/// Looks after the report that a bucket took, when there is another one of the same key by now. Whoever
/// took it may have been killed, and no one reads its manifest any more: what is to be done for it is
/// what is on record.
async fn go_on_with_taken(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    manifest_key: &str,
    receives: u32,
) -> Result<(), TaskError> {
    let runs = platform.runs();
    let now = runs.bucket(run_id, &bucket.account, &bucket.bucket).await?;
    let is_replaced = |now: &SourceBucket| {
        now.status == InventoryStatus::InProgress && now.report.as_deref() == Some(manifest_key)
    };
    let Some(taken) = now.filter(is_replaced) else {
        tracing::info!(
            manifest_key,
            "report ignored: the bucket took another or has ended"
        );
        return Ok(());
    };
    let files = runs.files(run_id, &taken.bucket).await?;
    if (files.len() as u64) < taken.files.unwrap_or_default() {
        if settling::has_waited_long_enough(receives) {
            let message = format!("another {manifest_key} came before its files were on record");
            let reason = Reason::new("ReportReplaced", message);
            return settling::refuse(platform, run_id, bucket, &reason).await;
        }
        return Err(TaskError::Unavailable(format!(
            "the files of the {manifest_key} that was there before are not on record yet"
        )));
    }
    tracing::info!(
        manifest_key,
        "report ignored: another of its key was taken, whose files are queued again"
    );
    if files.is_empty() {
        runs.finish_without_files(run_id, bucket).await?;
        return settling::after_end(platform, run_id, bucket).await;
    }
    let open = files.into_iter().filter(|file| !file.done);
    let names = open.map(|file| naming::file_stem(&file.key).to_owned());
    send(platform, run_id, bucket, names).await
}
