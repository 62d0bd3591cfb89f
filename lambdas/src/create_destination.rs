//! Makes the inventory destination of one Region: starts its stack, then reports where it stands.
//!
//! May be repeated: the stack's name derives from run and Region.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Class, FoundStack, StackState};
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, Region, RunId};
use shared::run::{Destination, DestinationState, Run};
use shared::{naming, protocol};

use crate::Platform;

/// The template, which is deployed as it stands in the repository.
const TEMPLATE: &str = include_str!("../../cfn/inventory-destination.yaml");

/// Accounts that fit into one parameter with room to spare.
const ACCOUNTS_PER_PARAMETER: usize = 275;

/// One Region of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// The Region.
    pub region: Region,
}

/// Where the destination stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Call again while it is in progress.
    pub state: DestinationState,
}

/// Makes the destination or reports how far it is. One that cannot be made is an outcome: it is
/// recorded with the reason, and the buckets of its Region are not covered.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let run = platform.run(&input.run_id).await?;
    protocol::may_still_make(&run)?;
    let name = naming::destination_stack(&platform.settings.deployment, &run.run_id, &input.region);
    let recorded = platform
        .runs()
        .destination(&run.run_id, &input.region)
        .await?;
    let mut destination = if let Some(destination) = recorded {
        destination
    } else {
        let fresh = Destination {
            region: input.region.clone(),
            stack: name.clone(),
            state: DestinationState::InProgress,
            bucket: None,
            bucket_arn: None,
            reason: None,
            seen_empty_at: None,
        };
        // Recorded before it is made, so that Cleanup finds it after any crash.
        platform.runs().put_destination(&run.run_id, &fresh).await?;
        fresh
    };

    match advance(&platform, &run, &input.region, &name).await {
        Ok(Some(stack)) => settle(&mut destination, &stack)?,
        Ok(None) => take_back_if_over(&platform, &input, &name).await?,
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) => {
            destination.state = DestinationState::Failed;
            destination.reason = Some(error.reason());
        }
    }
    if destination.state == DestinationState::Failed && destination.reason.is_none() {
        let reason = platform.clients.stack_failure(&input.region, &name).await?;
        destination.reason = Some(reason);
    }
    if let Some(reason) = &destination.reason {
        tracing::warn!(region = %input.region, code = reason.code, message = reason.message,
            "destination cannot be made");
    }
    platform
        .runs()
        .put_destination(&run.run_id, &destination)
        .await?;
    Ok(Output {
        state: destination.state,
    })
}

/// The stack as it stands; `None` when it has just been started.
async fn advance(
    platform: &Platform,
    run: &Run,
    region: &Region,
    name: &str,
) -> Result<Option<FoundStack>, AwsError> {
    match platform.clients.stack(region, name).await? {
        Some(stack) if stack.state != StackState::Gone => return Ok(Some(stack)),
        _ => {}
    }
    let settings = &platform.settings;
    let mut parameters = BTreeMap::from([
        ("DeploymentName", settings.deployment.to_string()),
        ("RunId", run.run_id.to_string()),
        (
            "NotificationQueueArn",
            settings.notification_queue_arn.clone(),
        ),
    ]);
    parameters.extend(source_accounts(&accounts_in(platform, run, region).await?)?);
    let tags = BTreeMap::from([
        (naming::DEPLOYMENT_TAG, settings.deployment.to_string()),
        (naming::RUN_ID_TAG, run.run_id.to_string()),
    ]);
    platform
        .clients
        .create_destination_stack(region, name, TEMPLATE, &parameters, &tags)
        .await?;
    Ok(None)
}

/// Deletes the stack that was just started when the run is over by now: whoever cleans up says so
/// first and looks for stacks then, so that either of the two sees the other.
async fn take_back_if_over(
    platform: &Platform,
    input: &Input,
    name: &str,
) -> Result<(), TaskError> {
    let run = platform.run(&input.run_id).await;
    let over = run.and_then(|run| protocol::may_still_make(&run));
    if let Err(TaskError::InvalidInput(_)) = over {
        tracing::warn!(region = %input.region, "the run ended meanwhile, its stack goes again");
        platform.clients.delete_stack(&input.region, name).await?;
    }
    over
}

/// The accounts whose reports the destination takes: those with source buckets in the Region that a
/// report is asked for. The report of a smoke test is the host account's own.
async fn accounts_in(
    platform: &Platform,
    run: &Run,
    region: &Region,
) -> Result<BTreeSet<AccountId>, AwsError> {
    if run.input.is_smoke_test {
        return Ok([platform.settings.host_account.clone()].into());
    }
    let buckets = platform.runs().buckets(&run.run_id).await?;
    Ok(buckets
        .into_iter()
        .filter(|bucket| bucket.region == *region && bucket.existing_report.is_none())
        .map(|bucket| bucket.account)
        .collect())
}

/// The accounts as parameters of the template: one ends at 4,096 bytes.
fn source_accounts(
    accounts: &BTreeSet<AccountId>,
) -> Result<BTreeMap<&'static str, String>, AwsError> {
    if accounts.len() > naming::SOURCE_ACCOUNTS_PARAMETERS.len() * ACCOUNTS_PER_PARAMETER {
        return Err(AwsError {
            operation: "CreateStack".to_owned(),
            code: "TooManyAccounts".to_owned(),
            message: format!(
                "{} accounts have buckets in the Region, more than a bucket policy can name",
                accounts.len()
            ),
            class: Class::Other,
        });
    }
    let accounts: Vec<&str> = accounts.iter().map(AccountId::as_str).collect();
    let chunks = accounts
        .chunks(ACCOUNTS_PER_PARAMETER)
        .map(|chunk| chunk.join(","));
    Ok(naming::SOURCE_ACCOUNTS_PARAMETERS
        .into_iter()
        .zip(chunks)
        .collect())
}

fn settle(destination: &mut Destination, stack: &FoundStack) -> Result<(), TaskError> {
    destination.state = match stack.state {
        StackState::Complete => DestinationState::Complete,
        StackState::InProgress => DestinationState::InProgress,
        StackState::Failed | StackState::Gone => DestinationState::Failed,
    };
    if destination.state == DestinationState::Complete {
        let output = |name: &str| {
            stack.outputs.get(name).cloned().ok_or_else(|| {
                TaskError::Internal(format!("stack {} has no output {name}", destination.stack))
            })
        };
        let bucket = BucketName::try_from(output("DestinationBucketName")?)
            .map_err(|problem| TaskError::Internal(problem.to_string()))?;
        destination.bucket = Some(bucket);
        destination.bucket_arn = Some(output("DestinationBucketArn")?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_spread_over_the_parameters_and_none_is_lost() {
        let accounts = |count: u64| -> BTreeSet<AccountId> {
            let ids = (0..count).map(|n| AccountId::try_from(format!("{n:012}")));
            ids.collect::<Result<_, _>>().unwrap()
        };
        for count in [1, 275, 276, 1_100] {
            let parameters = source_accounts(&accounts(count)).unwrap();
            assert!(parameters.values().all(|value| value.len() <= 4_096));
            let named: usize = parameters
                .values()
                .map(|value| value.split(',').count())
                .sum();
            assert_eq!(named as u64, count);
        }
        assert_eq!(
            source_accounts(&accounts(1_101)).unwrap_err().code,
            "TooManyAccounts"
        );
    }
}
