//! Deletes the destination in one Region: starts to delete its stack once its bucket is seen to be
//! empty, then reports where it stands.
//!
//! May be repeated: what is not there is deleted.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::aws::{FoundStack, StackState};
use shared::error::TaskError;
use shared::ids::{Region, RunId};
use shared::naming;
use shared::run::DestinationState;

use crate::{Platform, empty_destination};

/// One Region of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The Region.
    pub region: Region,
}

/// Where the deletion stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Output {
    /// Nothing is left.
    Deleted,
    /// Call again.
    InProgress,
    /// Something was delivered since it was emptied: empty it again.
    NotEmpty,
    /// CloudFormation could not delete it; the deletion was started anew.
    Failed,
}

/// Deletes the destination or reports how far it is.
///
/// # Errors
/// `Throttled`, `Unavailable`, `AccessDenied`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let name =
        naming::destination_stack(&platform.settings.deployment, &input.run_id, &input.region);
    let stack = match platform.clients.stack(&input.region, &name).await? {
        Some(stack) if stack.state != StackState::Gone => stack,
        _ => {
            record(&platform, &input, |destination| {
                destination.state = DestinationState::Deleted;
            })
            .await?;
            return Ok(Output::Deleted);
        }
    };
    if stack.status == "DELETE_IN_PROGRESS" {
        return Ok(Output::InProgress);
    }
    // CloudFormation does not delete a bucket that holds something, and an emulator that does must
    // not hide that we left something in it.
    if let Some(bucket) =
        empty_destination::destination_bucket(&platform, &input.run_id, &input.region).await?
    {
        if !platform
            .clients
            .objects(&input.region)
            .is_empty(&bucket)
            .await?
        {
            return Ok(Output::NotEmpty);
        }
        tracing::info!(region = %input.region, %bucket, "destination is seen to be empty");
    }
    record(&platform, &input, |destination| {
        destination.seen_empty_at = Some(platform.clients.now());
    })
    .await?;
    platform.clients.delete_stack(&input.region, &name).await?;
    Ok(after_start(&stack))
}

fn after_start(stack: &FoundStack) -> Output {
    if stack.status == "DELETE_FAILED" {
        tracing::warn!(
            stack = stack.id,
            "the stack could not be deleted and is deleted again"
        );
        return Output::Failed;
    }
    Output::InProgress
}

async fn record(
    platform: &Platform,
    input: &Input,
    change: impl FnOnce(&mut shared::run::Destination),
) -> Result<(), TaskError> {
    if let Some(mut destination) = platform
        .runs()
        .destination(&input.run_id, &input.region)
        .await?
    {
        change(&mut destination);
        platform
            .runs()
            .put_destination(&input.run_id, &destination)
            .await?;
    }
    Ok(())
}
