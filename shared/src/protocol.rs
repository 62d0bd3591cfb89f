//! The decisions of a run: which bucket is in, which report counts, what comes next. Functions from
//! values to values, so that they can be driven through any order of events.

use jiff::Timestamp;

use crate::error::TaskError;
use crate::ids::{AccountId, BucketName, DeploymentName, Region, RunId};
use crate::input::{AccountInput, excluded_by};
use crate::manifest::{FileFormat, Manifest, ReportLocation, verify_checksum};
use crate::naming;
use crate::run::{Destination, DestinationState, Run, SourceBucket};
use crate::status::{InventoryStatus, Reason};

/// Times a message is received before what it waits for counts as missing. With the growing pauses
/// between them that is more than half an hour after the manifest came.
pub const RECEIVES_BEFORE_MISSING: u32 = 10;

/// Why a bucket is left out of a run; `None` when it is a source bucket.
pub fn left_out_because(
    account: &AccountInput,
    bucket: &BucketName,
    region: &Region,
    supported_regions: Option<&[Region]>,
) -> Option<String> {
    if let Some(pattern) = excluded_by(&account.exclude, bucket) {
        return Some(format!("accounts[].exclude names {pattern}"));
    }
    supported_regions
        .is_some_and(|supported| !supported.contains(region))
        .then(|| format!("supported_regions does not name {region}"))
}

/// The run that a report claims to belong to, with the account and the bucket it is about; `None`
/// for a stranger's.
pub fn report_of(
    deployment: &DeploymentName,
    location: &ReportLocation,
) -> Option<(RunId, AccountId, BucketName)> {
    let run_id = naming::run_of_configuration(deployment, &location.configuration_id)?;
    let account = AccountId::try_from(location.prefix.as_str()).ok()?;
    Some((run_id, account, location.source_bucket.clone()))
}

/// Whether a report is one that the run waits for. `Err` says why it is ignored: that is no fault,
/// since reports come twice, late, and from strangers.
pub fn is_awaited(
    run: &Run,
    bucket: &SourceBucket,
    destination: Option<&Destination>,
    delivered_to: &BucketName,
    manifest_key: &str,
) -> Result<(), &'static str> {
    if run.frozen_at.is_some() {
        return Err("the run is being published or over");
    }
    if bucket.status != InventoryStatus::InProgress {
        return Err("the bucket is not in progress");
    }
    if destination.and_then(|destination| destination.bucket.as_ref()) != Some(delivered_to) {
        return Err("it is not in the run's destination of the bucket's Region");
    }
    if bucket
        .report
        .as_deref()
        .is_some_and(|report| report != manifest_key)
    {
        return Err("the run takes another report of the bucket");
    }
    Ok(())
}

/// Checks a report's manifest against its checksum and against what the report is said to be.
///
/// # Errors
/// The reason why the report does not verify.
pub fn check_manifest(
    location: &ReportLocation,
    delivered_to: &BucketName,
    manifest: &[u8],
    checksum: &[u8],
) -> Result<Manifest, Reason> {
    verify_checksum(manifest, checksum)
        .map_err(|problem| Reason::new("ManifestChecksumMismatch", problem.to_string()))?;
    let manifest = Manifest::parse(manifest)
        .map_err(|problem| Reason::new("MalformedManifest", problem.to_string()))?;
    let foreign = |message: String| Err(Reason::new("ForeignReport", message));
    if manifest.source_bucket != location.source_bucket {
        return foreign(format!(
            "the manifest is about bucket {}, not {}",
            manifest.source_bucket, location.source_bucket
        ));
    }
    if manifest.destination_bucket != *delivered_to {
        return foreign(format!(
            "the manifest is for destination {}, not {delivered_to}",
            manifest.destination_bucket
        ));
    }
    if manifest.format != FileFormat::Parquet {
        return Err(Reason::new(
            "UnsupportedFormat",
            format!(
                "the report's files are {:?}; Parquet was asked for",
                manifest.format
            ),
        ));
    }
    // A manifest may list only what was delivered for its own bucket.
    let own = format!("{}/{}/", location.prefix, location.source_bucket);
    if let Some(file) = manifest
        .files
        .iter()
        .find(|file| !file.key.starts_with(&own))
    {
        return foreign(format!(
            "the manifest lists {:?}, which is not under {own}",
            file.key
        ));
    }
    let mut stems: Vec<&str> = manifest
        .files
        .iter()
        .map(|file| naming::file_stem(&file.key))
        .collect();
    stems.sort_unstable();
    if let Some([twin, _]) = stems
        .array_windows()
        .find(|[first, second]| first == second)
    {
        return Err(Reason::new(
            "MalformedManifest",
            format!("two files of the manifest are named {twin:?}"),
        ));
    }
    Ok(manifest)
}

/// What the Harvester does after it looked at buckets whose report has not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// Every bucket has come to an end.
    pub settled: bool,
    /// The run goes on with what is there.
    pub deadline_passed: bool,
}

/// Whether the Harvester waits on. A run that is being cleaned up has nothing to wait for.
pub fn wait(run: &Run, now: Timestamp) -> Wait {
    Wait {
        settled: run.is_settled(),
        deadline_passed: now >= run.deadline || run.frozen_at.is_some(),
    }
}

/// Whether anything may still be made for a run. An execution that was stopped may have a task
/// under way, which must not make anew what Cleanup removes.
///
/// # Errors
/// `InvalidInput` when the run is being published, cleaned up, or over.
pub fn may_still_make(run: &Run) -> Result<(), TaskError> {
    match run.frozen_at {
        None => Ok(()),
        Some(at) => Err(TaskError::InvalidInput(format!(
            "run_id: run {} is over since {at}; nothing is made for it any more",
            run.run_id
        ))),
    }
}

/// Why a bucket is still in progress when the run goes on without it.
pub fn overdue(bucket: &SourceBucket, deadline: Timestamp) -> Reason {
    let message = match (bucket.files, bucket.files_pending) {
        (Some(files), Some(pending)) => format!(
            "{} of {files} files of its report were consolidated by {deadline}",
            files.saturating_sub(pending)
        ),
        _ => format!("no report came by {deadline}"),
    };
    Reason::new("DeadlinePassed", message)
}

/// Whether an inventory configuration is still to be put on a bucket.
pub fn needs_configuration(bucket: &SourceBucket) -> bool {
    match bucket.status {
        InventoryStatus::InventoryConfigurationNotCreated => bucket.reason.is_none(),
        InventoryStatus::InProgress => !bucket.configured,
        _ => false,
    }
}

/// Where the configuration of a bucket is to deliver to; `Err` is why it cannot.
pub fn usable_destination(destination: Option<&Destination>) -> Result<&Destination, Reason> {
    match destination {
        Some(destination)
            if destination.state == DestinationState::Complete
                && destination.bucket_arn.is_some() =>
        {
            Ok(destination)
        }
        Some(Destination {
            reason: Some(reason),
            region,
            ..
        }) => Err(Reason::new(
            "DestinationNotCreated",
            format!(
                "the inventory destination in {region} could not be made: {}: {}",
                reason.code, reason.message
            ),
        )),
        _ => Err(Reason::new(
            "DestinationNotCreated",
            "there is no inventory destination in the bucket's Region",
        )),
    }
}

/// Whether rows of a bucket may have been written that must not be in the snapshot.
pub fn has_stray_rows(bucket: &SourceBucket) -> bool {
    bucket.report.is_some() && bucket.status != InventoryStatus::Done
}

/// What a smoke test proves: a report came whole through every Region. `Err` names the Regions
/// it did not come through, and why.
pub fn smoke_test_verdict(buckets: &[SourceBucket]) -> Result<(), String> {
    if buckets.is_empty() {
        return Err(
            "nothing was tested: the accounts have no buckets in the supported Regions".to_owned(),
        );
    }
    let broken: Vec<String> = buckets
        .iter()
        .filter(|bucket| bucket.status != InventoryStatus::Done)
        .map(|bucket| match &bucket.reason {
            Some(reason) => {
                format!(
                    "{}: {}: {} ({})",
                    bucket.region, bucket.status, reason.message, reason.code
                )
            }
            None => format!("{}: {}", bucket.region, bucket.status),
        })
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} of {} Regions did not deliver: {}",
        broken.len(),
        buckets.len(),
        broken.join("; ")
    ))
}

/// Seconds until a message whose work could not be done yet is received again.
pub fn retry_delay_seconds(receives: u32) -> i32 {
    5_i32
        .saturating_mul(1 << receives.saturating_sub(1).min(8))
        .min(900)
}

#[cfg(test)]
mod tests;
