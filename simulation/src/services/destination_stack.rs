//! CloudFormation.

use std::collections::BTreeMap;

use real_shared::aws::{AwsError, FoundStack, StackState};
use real_shared::ids::{DeploymentName, Region, RunId};
use real_shared::naming;
use real_shared::status::Reason;

use super::Clients;
use crate::estate::HOST;
use crate::world::{Event, Stack, State};

impl Clients {
    /// Starts a stack.
    pub async fn create_destination_stack(
        &self,
        region: &Region,
        name: &str,
        _template: &str,
        parameters: &BTreeMap<&str, String>,
        tags: &BTreeMap<&str, String>,
    ) -> Result<(), AwsError> {
        let key = (region.to_string(), name.to_owned());
        let owned = |pairs: &BTreeMap<&str, String>| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        self.world
            .request(
                "CreateStack",
                || name.to_owned(),
                |state| {
                    if state.stacks.contains_key(&key) {
                        return Ok(());
                    }
                    let generation = state.id();
                    let stack = Stack {
                        status: "CREATE_IN_PROGRESS",
                        bucket: format!(
                            "{}-{}-{HOST}-{region}",
                            parameters["DeploymentName"], parameters["RunId"]
                        ),
                        parameters: owned(parameters),
                        tags: owned(tags),
                        generation,
                    };
                    state.stacks.insert(key.clone(), stack);
                    let time = state.now + state.rng.i64(20..200);
                    let (region, name) = key.clone();
                    state.at(time, Event::StackMade(region, name, generation));
                    Ok(())
                },
            )
            .await
    }

    /// A stack by its name.
    pub async fn stack(&self, region: &Region, name: &str) -> Result<Option<FoundStack>, AwsError> {
        let key = (region.to_string(), name.to_owned());
        self.world
            .request(
                "DescribeStacks",
                || name.to_owned(),
                |state| Ok(state.stacks.get(&key).map(|stack| found(name, stack))),
            )
            .await
    }

    /// Why a stack failed.
    pub async fn stack_failure(&self, _region: &Region, id: &str) -> Result<Reason, AwsError> {
        self.world
            .request(
                "DescribeStackEvents",
                || id.to_owned(),
                |_| Ok(Reason::new("StackFailed", "simulated")),
            )
            .await
    }

    /// Starts to delete a stack.
    pub async fn delete_stack(&self, region: &Region, name: &str) -> Result<(), AwsError> {
        let key = (region.to_string(), name.to_owned());
        self.world
            .request(
                "DeleteStack",
                || name.to_owned(),
                |state| {
                    let Some(stack) = state.stacks.get_mut(&key) else {
                        return Ok(());
                    };
                    if stack.status == "DELETE_IN_PROGRESS" {
                        return Ok(());
                    }
                    stack.status = "DELETE_IN_PROGRESS";
                    let generation = stack.generation;
                    let time = state.now + state.rng.i64(10..200);
                    let (region, name) = key.clone();
                    state.at(time, Event::StackDeleted(region, name, generation));
                    Ok(())
                },
            )
            .await
    }

    /// The stacks of a deployment in a Region.
    pub async fn destination_stacks(
        &self,
        region: &Region,
        deployment: &DeploymentName,
    ) -> Result<Vec<(RunId, FoundStack)>, AwsError> {
        self.world
            .request(
                "DescribeStacks",
                || region.to_string(),
                |state| {
                    let stacks = state.stacks.iter();
                    let stacks = stacks.filter(|((of, _), stack)| {
                        of == region.as_str()
                            && stack.tags[naming::DEPLOYMENT_TAG] == deployment.as_str()
                    });
                    Ok(stacks
                        .map(|((_, name), stack)| {
                            let run_id = stack.tags[naming::RUN_ID_TAG].clone();
                            let run_id = RunId::try_from(run_id).expect("we made it");
                            (run_id, found(name, stack))
                        })
                        .collect())
                },
            )
            .await
    }
}

fn found(name: &str, stack: &Stack) -> FoundStack {
    let made = !matches!(stack.status, "CREATE_IN_PROGRESS" | "ROLLBACK_COMPLETE");
    let outputs = if made {
        BTreeMap::from([
            ("DestinationBucketName".to_owned(), stack.bucket.clone()),
            (
                "DestinationBucketArn".to_owned(),
                format!("arn:aws:s3:::{}", stack.bucket),
            ),
        ])
    } else {
        BTreeMap::new()
    };
    FoundStack {
        id: name.to_owned(),
        state: StackState::of(stack.status),
        status: stack.status.to_owned(),
        tags: stack.tags.clone(),
        parameters: stack.parameters.clone(),
        outputs,
    }
}

/// A stack has come to its end.
pub(crate) fn stack_made(state: &mut State, region: String, name: String, generation: u64) {
    let fails = state.failing_regions.contains(&region);
    let Some(stack) = state.stacks.get_mut(&(region, name)) else {
        return;
    };
    if stack.generation != generation || stack.status != "CREATE_IN_PROGRESS" {
        return;
    }
    if fails {
        stack.status = "ROLLBACK_COMPLETE";
        return;
    }
    stack.status = "CREATE_COMPLETE";
    let bucket = stack.bucket.clone();
    state.buckets.insert(bucket);
}

/// A stack is gone, unless its bucket holds something.
pub(crate) fn stack_deleted(state: &mut State, region: String, name: String, generation: u64) {
    let key = (region, name);
    let Some(stack) = state.stacks.get(&key) else {
        return;
    };
    if stack.generation != generation || stack.status != "DELETE_IN_PROGRESS" {
        return;
    }
    let bucket = stack.bucket.clone();
    let holds_something = state.objects.keys().any(|(of, _)| *of == bucket);
    if holds_something {
        state.note(|| format!("{bucket} holds something and is not deleted"));
        if let Some(stack) = state.stacks.get_mut(&key) {
            stack.status = "DELETE_FAILED";
        }
        return;
    }
    state.note(|| format!("stack of {bucket} is deleted"));
    state.buckets.remove(&bucket);
    state.stacks.remove(&key);
}
