//! The decisions of a run: which bucket is in, which report counts, what comes next. Functions from
//! values to values, so that they can be driven through any order of events.

use jiff::Timestamp;

use crate::error::TaskError;
use crate::foreign_text::excerpt;
use crate::ids::{AccountId, BucketName, DeploymentName, Region, RunId};
use crate::input::{AccountInput, RunInput, excluded_by};
use crate::manifest::{Manifest, ManifestUri, ReportLocation, verify_checksum};
use crate::naming;
use crate::run::{Destination, DestinationState, Run, SourceBucket};
use crate::status::{InventoryStatus, Reason, is_refusal};

/// Times a message is received before what it waits for counts as missing. With the growing pauses
/// between them that is more than half an hour after the manifest came.
pub const RECEIVES_BEFORE_MISSING: u32 = 10;

/// Why a bucket is left out of a run; `None` when it is a source bucket. What leaves a bucket out
/// wins over a report that the input names for it, and then says so.
pub fn left_out_because(
    input: &RunInput,
    account: &AccountInput,
    bucket: &BucketName,
    region: &Region,
) -> Option<String> {
    let supported = input.supported_regions.as_deref();
    let mut because = if let Some(pattern) = excluded_by(&account.exclude, bucket) {
        format!("accounts[].exclude names {pattern}")
    } else if supported.is_some_and(|supported| !supported.contains(region)) {
        format!("supported_regions does not name {region}")
    } else {
        return None;
    };
    if input.existing_inventory_of(bucket).is_some() {
        because.push_str("; its report in existing_inventories is not taken");
    }
    Some(because)
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
    if bucket.existing_report.is_some() {
        return Err("the run takes a report of the bucket that existed before");
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

/// Where the report is that existed before the run and that the run takes for a bucket: from the
/// record alone, whatever a message says. `Err` says why none is taken.
pub fn existing_report<'a>(
    run: &Run,
    bucket: &'a SourceBucket,
) -> Result<&'a ManifestUri, &'static str> {
    if run.frozen_at.is_some() {
        return Err("the run is being published or over");
    }
    if bucket.status != InventoryStatus::InProgress {
        return Err("the bucket is not in progress");
    }
    bucket
        .existing_report
        .as_ref()
        .ok_or("the run names no report of the bucket")
}

/// Checks the manifest of a delivered report against its checksum and against what the report is
/// said to be.
///
/// # Errors
/// The reason why the report does not verify.
pub fn check_manifest(
    location: &ReportLocation,
    delivered_to: &BucketName,
    manifest: &[u8],
    checksum: &[u8],
) -> Result<Manifest, Reason> {
    let own = format!("{}/{}/", location.prefix, location.source_bucket);
    let expected = Expected {
        source_bucket: &location.source_bucket,
        lies_in: delivered_to,
        place: format!("under {own}"),
    };
    check_report(&expected, manifest, checksum, |key| key.starts_with(&own))
}

/// Checks the manifest of a report that existed before the run. Its configuration was somebody
/// else's, so of its place no more is known than what S3 always does: the prefix is followed by the
/// name of the source bucket.
///
/// # Errors
/// The reason why the report does not verify.
pub fn check_existing_manifest(
    source_bucket: &BucketName,
    uri: &ManifestUri,
    manifest: &[u8],
    checksum: &[u8],
) -> Result<Manifest, Reason> {
    let expected = Expected {
        source_bucket,
        lies_in: uri.bucket(),
        place: format!("in a folder {source_bucket}/"),
    };
    check_report(&expected, manifest, checksum, |key| {
        let mut folders = key.split('/');
        // The last one is the file.
        folders.next_back();
        folders.any(|folder| folder == source_bucket.as_str())
    })
}

/// What a report is said to be.
struct Expected<'a> {
    source_bucket: &'a BucketName,
    lies_in: &'a BucketName,
    /// Where its files have to be, as the end of a sentence.
    place: String,
}

fn check_report(
    expected: &Expected<'_>,
    manifest: &[u8],
    checksum: &[u8],
    is_own: impl Fn(&str) -> bool,
) -> Result<Manifest, Reason> {
    verify_checksum(manifest, checksum)
        .map_err(|problem| Reason::new("ManifestChecksumMismatch", problem.to_string()))?;
    let manifest = Manifest::parse(manifest)
        .map_err(|problem| Reason::new("MalformedManifest", problem.to_string()))?;
    let foreign = |message: String| Err(Reason::new("ForeignReport", message));
    if manifest.source_bucket != *expected.source_bucket {
        return foreign(format!(
            "the manifest is about bucket {}, not {}",
            manifest.source_bucket, expected.source_bucket
        ));
    }
    if manifest.destination_bucket != *expected.lies_in {
        return foreign(format!(
            "the manifest is for destination {}, not {}",
            manifest.destination_bucket, expected.lies_in
        ));
    }
    // A manifest may list only what was delivered for its own bucket.
    if let Some(file) = manifest.files.iter().find(|file| !is_own(&file.key)) {
        return foreign(format!(
            "the manifest lists {}, which is not {}",
            excerpt(&file.key),
            expected.place
        ));
    }
    let mut stems: Vec<&str> = manifest
        .files
        .iter()
        .map(|file| naming::file_stem(&file.key))
        .collect();
    if let Some(stem) = stems.iter().find(|stem| !naming::is_file_stem(stem)) {
        return Err(Reason::new(
            "MalformedManifest",
            format!(
                "{} is not the name of a data file: 1 to {} bytes, the first not _ or a point",
                excerpt(stem),
                naming::MAX_FILE_STEM_BYTES
            ),
        ));
    }
    stems.sort_unstable();
    if let Some([twin, _]) = stems
        .array_windows()
        .find(|[first, second]| first == second)
    {
        return Err(Reason::new(
            "MalformedManifest",
            format!("two files of the manifest are named {}", excerpt(twin)),
        ));
    }
    Ok(manifest)
}

/// Why a report that existed before the run cannot be read, with what would let it: a parameter of
/// the platform's stack names the buckets it may read, and keys are their owners' own.
pub fn unreadable_existing_report(uri: &ManifestUri, mut reason: Reason) -> Reason {
    if !is_refusal(&reason.code) {
        return reason;
    }
    if reason.message.contains("kms:Decrypt") {
        return reason.needing("kms:Decrypt");
    }
    reason.message = format!(
        "{}; the stack parameter ExistingInventoryBucketArns has to name the bucket {bucket}, and \
         the policy of {bucket} has to allow it too if another account owns it",
        reason.message,
        bucket = uri.bucket(),
    );
    reason.needing("s3:GetObject")
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
    let mut message = match (bucket.files, bucket.files_pending) {
        (Some(files), Some(pending)) => format!(
            "{} of {files} files of its report were consolidated by {deadline}",
            files.saturating_sub(pending)
        ),
        _ => format!("no report came by {deadline}"),
    };
    let dead_letter = bucket.dead_letter.as_ref();
    if let Some(reason) = dead_letter {
        message = format!(
            "{message}; a message about it was given up: {}: {}",
            reason.code, reason.message
        );
    }
    Reason {
        missing_permission: dead_letter.and_then(|reason| reason.missing_permission.clone()),
        ..Reason::new("DeadlinePassed", message)
    }
}

/// Whether an inventory configuration is still to be put on a bucket.
pub fn needs_configuration(bucket: &SourceBucket) -> bool {
    if bucket.existing_report.is_some() {
        return false;
    }
    match bucket.status {
        InventoryStatus::InventoryConfigurationNotCreated => bucket.reason.is_none(),
        InventoryStatus::InProgress => !bucket.configured,
        _ => false,
    }
}

/// Whether a report that existed before the run is still to be taken for a bucket.
pub fn awaits_existing_report(bucket: &SourceBucket) -> bool {
    if bucket.existing_report.is_none() {
        return false;
    }
    match bucket.status {
        InventoryStatus::InventoryConfigurationNotCreated => bucket.reason.is_none(),
        InventoryStatus::InProgress => bucket.report.is_none(),
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
        Some(Destination { region, .. }) => Err(Reason::new(
            "DestinationNotCreated",
            format!("the inventory destination in {region} was not ready in time"),
        )),
        None => Err(Reason::new(
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
