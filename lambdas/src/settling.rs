//! What follows when a bucket has come to its end, shared by the functions that may see the last
//! one.

use shared::error::TaskError;
use shared::ids::RunId;
use shared::metrics::Metric;
use shared::run::{Run, SourceBucket};
use shared::status::{InventoryStatus, Reason};
use shared::{naming, protocol};

use crate::Platform;

/// Answers the waiting Harvester if every bucket of the run has come to its end. Repeating it is
/// harmless: a token is answered once.
pub(crate) async fn answer_if_settled(
    platform: &Platform,
    run_id: &RunId,
) -> Result<(), TaskError> {
    let Some(run) = platform.runs().run(run_id).await? else {
        return Ok(());
    };
    if !run.is_settled() {
        return Ok(());
    }
    answer(platform, &run).await
}

/// Answers the waiting Harvester, if it waits.
pub(crate) async fn answer(platform: &Platform, run: &Run) -> Result<(), TaskError> {
    let Some(token) = &run.task_token else {
        return Ok(());
    };
    let output = serde_json::json!({ "settled": run.is_settled() });
    if platform.clients.answer_token(token, &output).await? {
        tracing::info!(in_progress = run.in_progress, "the wait is over");
    }
    Ok(())
}

/// Removes the inventory configuration of a bucket whose report is no longer waited for, so that S3
/// does not report, and bill, again. What cannot be removed now is left to Cleanup.
pub(crate) async fn remove_configuration(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
) -> Result<(), TaskError> {
    if !bucket.configured || bucket.configuration_removed {
        return Ok(());
    }
    let id = naming::configuration_id(&platform.settings.deployment, run_id);
    let source = platform
        .clients
        .source_account(&platform.settings, &bucket.account);
    match source
        .remove_configuration(&bucket.region, &bucket.bucket, &id)
        .await
    {
        Ok(()) => Ok(platform
            .runs()
            .record_configuration_removed(run_id, bucket)
            .await?),
        Err(error) => {
            tracing::warn!(bucket = %bucket.bucket, %error,
                "inventory configuration stays until Cleanup");
            Ok(())
        }
    }
}

/// Both of the above, after the bucket has come to its end.
pub(crate) async fn after_end(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
) -> Result<(), TaskError> {
    answer_if_settled(platform, run_id).await?;
    remove_configuration(platform, run_id, bucket).await
}

/// The same for a bucket that may have come to its end, read anew.
pub(crate) async fn after_end_if_ended(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
) -> Result<(), TaskError> {
    let now = platform
        .runs()
        .bucket(run_id, &bucket.account, &bucket.bucket)
        .await?;
    match now {
        Some(now) if now.status != InventoryStatus::InProgress => {
            after_end(platform, run_id, &now).await
        }
        _ => Ok(()),
    }
}

/// Ends a bucket whose report does not verify.
pub(crate) async fn refuse(
    platform: &Platform,
    run_id: &RunId,
    bucket: &SourceBucket,
    reason: &Reason,
) -> Result<(), TaskError> {
    tracing::warn!(
        code = reason.code,
        message = reason.message,
        "report does not verify"
    );
    let next = InventoryStatus::VerificationFailed;
    let runs = platform.runs();
    if runs
        .end_in_progress(run_id, bucket, next, Some(reason))
        .await?
    {
        platform.measure(Some(run_id), &[Metric::VerificationFailures(1)]);
    }
    after_end(platform, run_id, bucket).await
}

/// Whether a message that could not be worked on has been received so often that what it waits for
/// counts as missing.
pub(crate) fn has_waited_long_enough(receives: u32) -> bool {
    receives >= protocol::RECEIVES_BEFORE_MISSING
}
