//! Takes one delivered file into the snapshot: verifies it against its manifest, consolidates it, and
//! counts it.
//!
//! Where S3 vouches for the MD5 of the file, no byte is read to verify it; where it does not, as with
//! keys of KMS, all are. Either way every request names the state of the object that was verified, so
//! that what is copied into the snapshot is what the manifest lists.
//!
//! May be repeated: a repeat writes the same bytes to the same keys, and a file is counted once.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use shared::aws::{AwsError, ConsolidatedUpload, DeliveredFile, FileContent, FileCount};
use shared::consolidation::{self, Consolidated, ConsolidationError, Delivered, ReadAt, Work};
use shared::dead_letter::Queue;
use shared::error::TaskError;
use shared::ids::RunId;
use shared::manifest::ManifestFile;
use shared::metrics::Metric;
use shared::run::{InventoryFile, SourceBucket};
use shared::status::{InventoryStatus, Reason};
use shared::{naming, runtime};

use crate::inventory_object_processor::FileMessage;
use crate::queue::{self, SqsBatchResponse, SqsEvent};
use crate::{Platform, settling};

/// Works on a batch of file messages.
///
/// # Errors
/// None for the batch: a message that fails goes back to the queue alone.
pub async fn handle(
    platform: Arc<Platform>,
    event: SqsEvent,
) -> Result<SqsBatchResponse, TaskError> {
    let response = queue::work(&platform, Queue::Files, event, async |message, receives| {
        let body = message.body.as_str();
        let body: Value = serde_json::from_str(body)
            .map_err(|error| TaskError::InvalidInput(format!("file message: {error}")))?;
        take_file(&platform, runtime::parse(body)?, receives).await
    })
    .await;
    Ok(response)
}

async fn take_file(
    platform: &Platform,
    message: FileMessage,
    receives: u32,
) -> Result<(), TaskError> {
    let FileMessage {
        run_id,
        account_id,
        bucket,
        file: name,
    } = message;
    queue::is_about(&run_id, &account_id, &bucket);
    let unknown = || {
        // Run records expire; a message that outlives its run has nothing to add to.
        tracing::warn!(file = name, "file is not on record and is ignored");
        Ok(())
    };
    if !naming::is_file_stem(&name) {
        // No key of the table is that long, and no report has such a file.
        return unknown();
    }
    let runs = platform.runs();
    let file = runs.file(&run_id, &bucket, &name).await?;
    let bucket = runs.bucket(&run_id, &account_id, &bucket).await?;
    let (Some(file), Some(bucket)) = (file, bucket) else {
        return unknown();
    };
    let prefix = naming::partition_prefix(&run_id, &bucket.account, &bucket.region, &bucket.bucket);
    let rows_key = format!("{prefix}{name}.parquet");
    if file.done || bucket.status != InventoryStatus::InProgress {
        // A repeat: the attempt before may have stopped right after writing, or after counting.
        if bucket.status != InventoryStatus::Done {
            discard_if_stray(platform, &run_id, &bucket, &rows_key).await?;
        }
        return settling::after_end_if_ended(platform, &run_id, &bucket).await;
    }
    // Cleanup deletes what was delivered; a file that existed before the run stays, and only the run
    // tells that it is not wanted any more.
    if bucket.existing_report.is_some() && platform.run(&run_id).await?.frozen_at.is_some() {
        tracing::info!(file = file.key, "the run is over without this file");
        return discard_if_stray(platform, &run_id, &bucket, &rows_key).await;
    }
    let objects = platform.clients.objects(&file.region);
    let found = objects.delivered_file(&file.destination_bucket, &file.key);
    let Some(delivered) = found.await? else {
        if platform.run(&run_id).await?.frozen_at.is_some() {
            tracing::info!(file = file.key, "the run is over without this file");
            return discard_if_stray(platform, &run_id, &bucket, &rows_key).await;
        }
        if settling::has_waited_long_enough(receives) {
            let reason = Reason::new("FileMissing", format!("{} did not come", file.key));
            return settling::refuse(platform, &run_id, &bucket, &reason).await;
        }
        return Err(TaskError::Unavailable(format!(
            "{} is not there yet",
            file.key
        )));
    };
    // A report that existed before the run may be of any age.
    let delivered_at = match bucket.existing_report {
        Some(_) => None,
        None => delivered.delivered_at(),
    };
    let taken = async {
        match consolidate(platform, &rows_key, file, delivered).await? {
            Ok(consolidated) => {
                let metrics = measured(&consolidated, delivered_at, platform.clients.now());
                if count(platform, &run_id, &bucket, &name, &rows_key, consolidated).await? {
                    platform.measure(Some(&run_id), &metrics);
                }
                Ok(())
            }
            Err(reason) => settling::refuse(platform, &run_id, &bucket, &reason).await,
        }
    }
    .await;
    // The rows may be there all the same. If the run ended meanwhile and this was the last attempt,
    // nobody else deletes them.
    if taken.is_err()
        && let Err(error) = discard_if_stray(platform, &run_id, &bucket, &rows_key).await
    {
        tracing::warn!(%error, "rows that were not counted may be left");
    }
    taken
}

fn measured(
    consolidated: &Consolidated,
    delivered_at: Option<Timestamp>,
    now: Timestamp,
) -> Vec<Metric> {
    let mut metrics = vec![
        Metric::Files(1),
        Metric::Rows(consolidated.rows),
        Metric::Bytes(consolidated.totals.all.version_bytes),
    ];
    if let Some(at) = delivered_at {
        let lag = now.duration_since(at).as_secs_f64();
        metrics.push(Metric::ConsolidationLag(lag.max(0.0)));
    }
    metrics
}

/// Verifies the file and makes its part of the snapshot. The reason is why the file is not what its
/// manifest says.
async fn consolidate(
    platform: &Platform,
    rows_key: &str,
    file: InventoryFile,
    delivered: DeliveredFile,
) -> Result<Result<Consolidated, Reason>, TaskError> {
    let delivered = Arc::new(delivered);
    let mut upload = platform.consolidated().upload(
        &platform.settings.consolidated_bucket,
        rows_key,
        "application/vnd.apache.parquet",
        Some(&delivered),
    );
    let key = file.key.clone();
    let span = tracing::Span::current();
    // It waits for bytes and computes with them, in turn.
    let work = tokio::task::spawn_blocking(move || {
        let _entered = span.enter();
        let made = make(&file, delivered, &mut upload);
        if made.is_err()
            && let Err(error) = upload.abort()
        {
            tracing::warn!(%error, "parts of an upload are left to the bucket's lifecycle rule");
        }
        made
    });
    let made = work
        .await
        .map_err(|error| TaskError::Internal(error.to_string()))?;
    match made {
        Ok(consolidated) => Ok(Ok(consolidated)),
        Err(error) if error.is_fault_of_the_file() => {
            let code = match error {
                ConsolidationError::Mismatch(_) => "FileMismatch",
                _ => "UnreadableFile",
            };
            Ok(Err(Reason::new(code, format!("{key}: {error}"))))
        }
        Err(ConsolidationError::Fetch(error) | ConsolidationError::Write(error)) => {
            Err(match error.downcast::<AwsError>() {
                Ok(error) => error.into(),
                Err(error) => TaskError::Internal(format!("{key}: {error}")),
            })
        }
        Err(error) => Err(TaskError::Internal(format!("{key}: {error}"))),
    }
}

/// The same, and all of it that blocks.
fn make(
    file: &InventoryFile,
    delivered: Arc<DeliveredFile>,
    upload: &mut ConsolidatedUpload,
) -> Result<Consolidated, ConsolidationError> {
    let expected = ManifestFile {
        key: file.key.clone(),
        size: file.size,
        md5: file.md5,
    };
    let described = Delivered {
        source_bucket: &file.bucket,
        format: file.format,
        schema: &file.schema,
    };
    let known_md5 = delivered.md5();
    let source: Arc<dyn ReadAt> = delivered;
    let (consolidated, work) =
        consolidation::consolidate_verified(described, &expected, known_md5, source, upload)?;
    upload
        .complete()
        .map_err(|error| ConsolidationError::Write(std::io::Error::other(error)))?;
    let Work {
        bytes_read,
        bytes_hashed,
        hashing: _,
    } = work;
    let (bytes_written, bytes_copied) = (upload.bytes_written(), upload.bytes_copied());
    tracing::info!(
        file = file.key,
        rows = consolidated.rows,
        bytes_read,
        bytes_hashed,
        bytes_written,
        bytes_copied,
        "inventory file consolidated"
    );
    Ok(consolidated)
}

/// Counts the file; gives whether that was not done before.
async fn count(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    name: &str,
    rows_key: &str,
    consolidated: Consolidated,
) -> Result<bool, TaskError> {
    let objects = platform.consolidated();
    let home = &platform.settings.consolidated_bucket;
    let totals_key = naming::file_totals_key(run_id, &bucket.account, &bucket.bucket, name);
    let totals = serde_json::to_vec(&consolidated.totals)
        .map_err(|error| TaskError::Internal(error.to_string()))?;
    objects
        .put(home, &totals_key, "application/json", Bytes::from(totals))
        .await?;

    let content = FileContent {
        rows: consolidated.rows,
        objects: consolidated.totals.all.objects,
        bytes: consolidated.totals.all.version_bytes,
        undecodable_keys: consolidated.undecodable_keys,
    };
    match platform
        .runs()
        .count_file(run_id, bucket, name, content)
        .await?
    {
        FileCount::Counted => {
            // Whoever freezes the run deletes afterwards what is there by then; what was written
            // since is left to whoever wrote it.
            if platform.run(run_id).await?.frozen_at.is_some() {
                discard_if_stray(platform, run_id, bucket, rows_key).await?;
            }
            Ok(true)
        }
        FileCount::BucketDone => {
            tracing::info!(file = rows_key, rows = content.rows, "bucket is done");
            settling::after_end(platform, run_id, bucket).await?;
            Ok(true)
        }
        FileCount::NotCounted => {
            discard_if_stray(platform, run_id, bucket, rows_key).await?;
            settling::after_end_if_ended(platform, run_id, bucket).await?;
            Ok(false)
        }
    }
}

/// Deletes rows that were written after the bucket came to another end than `done`, or after the
/// run went on without it. Rows of a file that a repeat counted meanwhile stay.
async fn discard_if_stray(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    rows_key: &str,
) -> Result<(), TaskError> {
    let runs = platform.runs();
    // The run first: from when it is frozen no bucket becomes `done`, so what the bucket is
    // afterwards, it stays.
    let run = runs.run(run_id).await?;
    let is_frozen = run.is_none_or(|run| run.frozen_at.is_some());
    let bucket = runs.bucket(run_id, &bucket.account, &bucket.bucket).await?;
    let belongs = match bucket.map(|bucket| bucket.status) {
        Some(InventoryStatus::Done) => true,
        Some(InventoryStatus::InProgress) => !is_frozen,
        _ => false,
    };
    if belongs {
        return Ok(());
    }
    tracing::info!(file = rows_key, "rows came too late and are deleted");
    let home = &platform.settings.consolidated_bucket;
    platform
        .consolidated()
        .delete(home, &[rows_key.to_owned()])
        .await?;
    Ok(())
}
