//! The CloudFormation stack that makes the inventory destination of one run in one Region.

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Parameter, ResourceStatus, Stack, StackStatus, Tag};

use super::{AwsError, Class, Clients};
use crate::ids::{DeploymentName, Region, RunId};
use crate::naming;
use crate::status::Reason;

/// A stack as CloudFormation describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStack {
    /// Its id; stays readable for 90 days after the stack is deleted.
    pub id: String,
    /// Where it stands.
    pub state: StackState,
    /// CloudFormation's own word for that.
    pub status: String,
    /// Tags by key.
    pub tags: BTreeMap<String, String>,
    /// Parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// Outputs by name.
    pub outputs: BTreeMap<String, String>,
}

/// What a stack's status means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackState {
    /// Being made, changed or deleted.
    InProgress,
    /// Made.
    Complete,
    /// Could not be made or deleted.
    Failed,
    /// Deleted.
    Gone,
}

impl StackState {
    /// Reads CloudFormation's status.
    pub fn of(status: &str) -> Self {
        match status {
            "DELETE_COMPLETE" => Self::Gone,
            "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE" => Self::Complete,
            // A stack that rolled back holds nothing, and its name is taken until it is deleted.
            "ROLLBACK_COMPLETE" => Self::Failed,
            status if status.ends_with("_IN_PROGRESS") => Self::InProgress,
            _ => Self::Failed,
        }
    }
}

impl Clients {
    /// Starts to make a stack. One that is there already is left as it is.
    pub async fn create_destination_stack(
        &self,
        region: &Region,
        name: &str,
        template: &str,
        parameters: &BTreeMap<&str, String>,
        tags: &BTreeMap<&str, String>,
    ) -> Result<(), AwsError> {
        let parameters = parameters
            .iter()
            .map(|(key, value)| {
                Parameter::builder()
                    .parameter_key(*key)
                    .parameter_value(value)
                    .build()
            })
            .collect();
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(*key).value(value).build())
            .collect();
        let answer = self
            .cloudformation(region)
            .create_stack()
            .stack_name(name)
            .template_body(template)
            .set_parameters(Some(parameters))
            .set_tags(Some(tags))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("CreateStack of {name} in {region}"), &error);
                if error.class == Class::Exists {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Describes a stack by name or id; `None` when there is none.
    pub async fn stack(&self, region: &Region, name: &str) -> Result<Option<FoundStack>, AwsError> {
        let answer = self
            .cloudformation(region)
            .describe_stacks()
            .stack_name(name)
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(answer.stacks().first().map(found)),
            Err(error) => {
                let error = AwsError::new(format!("DescribeStacks of {name} in {region}"), &error);
                if error.is_missing() {
                    Ok(None)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// Why a stack failed: the first failure among its events.
    pub async fn stack_failure(&self, region: &Region, id: &str) -> Result<Reason, AwsError> {
        let mut pages = self
            .cloudformation(region)
            .describe_stack_events()
            .stack_name(id)
            .into_paginator()
            .send();
        let mut reason = Reason::new("StackFailed", "CloudFormation gave no reason");
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| {
                AwsError::new(format!("DescribeStackEvents of {id} in {region}"), &error)
            })?;
            // Events come newest first, and the first failure drags the others along.
            for event in page.stack_events() {
                let status = event.resource_status().map(ResourceStatus::as_str);
                let Some(message) = event.resource_status_reason() else {
                    continue;
                };
                if status.is_some_and(|status| status.ends_with("_FAILED")) {
                    let resource = event.logical_resource_id().unwrap_or_default();
                    reason = Reason::new("StackFailed", format!("{resource}: {message}"));
                }
            }
        }
        Ok(reason)
    }

    /// Starts to delete a stack; one that is not there is deleted.
    pub async fn delete_stack(&self, region: &Region, name: &str) -> Result<(), AwsError> {
        let answer = self
            .cloudformation(region)
            .delete_stack()
            .stack_name(name)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = AwsError::new(format!("DeleteStack of {name} in {region}"), &error);
                if error.is_missing() {
                    Ok(())
                } else {
                    Err(error)
                }
            }
        }
    }

    /// The destination stacks of a deployment in one Region by run, found by their tags.
    pub async fn destination_stacks(
        &self,
        region: &Region,
        deployment: &DeploymentName,
    ) -> Result<Vec<(RunId, FoundStack)>, AwsError> {
        let mut pages = self
            .cloudformation(region)
            .describe_stacks()
            .into_paginator()
            .send();
        let mut stacks = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| AwsError::new(format!("DescribeStacks in {region}"), &error))?;
            for stack in page.stacks().iter().map(found) {
                let ours = stack.tags.get(naming::DEPLOYMENT_TAG).map(String::as_str)
                    == Some(deployment.as_str());
                let run_id = stack.tags.get(naming::RUN_ID_TAG).cloned();
                if let (true, Some(Ok(run_id))) = (
                    ours && stack.state != StackState::Gone,
                    run_id.map(RunId::try_from),
                ) {
                    stacks.push((run_id, stack));
                }
            }
        }
        Ok(stacks)
    }
}

fn found(stack: &Stack) -> FoundStack {
    let pair = |key: Option<&str>, value: Option<&str>| {
        Some((key?.to_owned(), value.unwrap_or_default().to_owned()))
    };
    let status = stack
        .stack_status()
        .map(StackStatus::as_str)
        .unwrap_or_default();
    FoundStack {
        id: stack.stack_id().unwrap_or_default().to_owned(),
        state: StackState::of(status),
        status: status.to_owned(),
        tags: stack
            .tags()
            .iter()
            .filter_map(|tag| pair(tag.key(), tag.value()))
            .collect(),
        parameters: stack
            .parameters()
            .iter()
            .filter_map(|parameter| pair(parameter.parameter_key(), parameter.parameter_value()))
            .collect(),
        outputs: stack
            .outputs()
            .iter()
            .filter_map(|output| pair(output.output_key(), output.output_value()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_meaning() {
        let cases = [
            ("CREATE_IN_PROGRESS", StackState::InProgress),
            ("ROLLBACK_IN_PROGRESS", StackState::InProgress),
            ("DELETE_IN_PROGRESS", StackState::InProgress),
            ("REVIEW_IN_PROGRESS", StackState::InProgress),
            ("CREATE_COMPLETE", StackState::Complete),
            ("UPDATE_COMPLETE", StackState::Complete),
            ("ROLLBACK_COMPLETE", StackState::Failed),
            ("ROLLBACK_FAILED", StackState::Failed),
            ("CREATE_FAILED", StackState::Failed),
            ("DELETE_FAILED", StackState::Failed),
            ("DELETE_COMPLETE", StackState::Gone),
        ];
        for (status, state) in cases {
            assert_eq!(StackState::of(status), state, "{status}");
        }
    }
}
