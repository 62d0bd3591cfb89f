//! Deletes all objects, versions and uploads of the destination in one Region. It stops in good
//! order before its time is up.
//!
//! May be repeated: what is not there is deleted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Emptied};
use shared::error::TaskError;
use shared::ids::{BucketName, Region, RunId};
use shared::naming;

use crate::Platform;

/// Time after which the rest is left to the next call.
const TIME: Duration = Duration::from_mins(12);

/// One Region of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The Region.
    pub region: Region,
}

/// How far it came.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `false`: time was up, call again.
    pub finished: bool,
}

/// Empties the destination.
///
/// # Errors
/// `Throttled`, `Unavailable`, `AccessDenied`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let Some(bucket) = destination_bucket(&platform, &input.run_id, &input.region).await? else {
        return Ok(Output { finished: true });
    };
    let objects = platform.clients.objects(&input.region);
    let emptied = objects.empty_bucket(&bucket, Instant::now() + TIME).await?;
    Ok(Output {
        finished: emptied == Emptied::Whole,
    })
}

/// The destination's bucket: as the stack says, so that a damaged record does not matter. `None`
/// when there is no stack, or none that got as far as a bucket that could hold something.
pub(crate) async fn destination_bucket(
    platform: &Platform,
    run_id: &RunId,
    region: &Region,
) -> Result<Option<BucketName>, AwsError> {
    let name = naming::destination_stack(&platform.settings.deployment, run_id, region);
    let stack = platform.clients.stack(region, &name).await?;
    Ok(stack
        .and_then(|mut stack| stack.outputs.remove("DestinationBucketName"))
        .and_then(|bucket| BucketName::try_from(bucket).ok()))
}
