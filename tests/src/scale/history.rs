//! What executions went through, from their histories.

use std::collections::BTreeMap;

use anyhow::Result;
use aws_sdk_sfn::types::HistoryEventType;

use super::count;
use crate::Platform;

/// What was seen in some executions.
#[derive(Debug, Default)]
pub struct Seen {
    /// States entered and attempts repeated.
    pub transitions: u64,
    /// How often each state was entered, by name.
    pub states: BTreeMap<String, u64>,
    /// Events of the largest history, as AWS would write them.
    pub largest_history: u64,
    /// Bytes of the largest input or output of a state.
    pub largest_payload: u64,
    /// How often each task state was entered, by name.
    pub invocations: BTreeMap<String, u64>,
}

/// All executions of a machine that an output of the stack names.
pub(super) async fn executions_of(platform: &Platform, output: &str) -> Result<Vec<String>> {
    let mut pages = step_functions(platform)
        .list_executions()
        .state_machine_arn(platform.output(output))
        .into_paginator()
        .send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let executions = page?.executions.into_iter();
        found.extend(executions.map(|execution| execution.execution_arn));
    }
    Ok(found)
}

impl Seen {
    /// Adds an execution with the child executions of its maps.
    pub async fn add_whole(&mut self, platform: &Platform, execution: &str) -> Result<()> {
        self.add(platform, execution).await?;
        let step_functions = step_functions(platform);
        let runs = step_functions
            .list_map_runs()
            .execution_arn(execution)
            .send()
            .await?;
        for run in runs.map_runs {
            let mut pages = step_functions
                .list_executions()
                .map_run_arn(run.map_run_arn)
                .into_paginator()
                .send();
            while let Some(page) = pages.next().await {
                for child in page?.executions {
                    self.add(platform, &child.execution_arn).await?;
                }
            }
        }
        Ok(())
    }

    async fn add(&mut self, platform: &Platform, execution: &str) -> Result<()> {
        // Started and ended.
        let mut events = 2;
        let mut tasks: u64 = 0;
        let mut attempts = 0;
        let mut pages = step_functions(platform)
            .get_execution_history()
            .execution_arn(execution)
            .max_results(1_000)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            for event in page?.events {
                if let Some(entered) = &event.state_entered_event_details {
                    self.transitions += 1;
                    *self.states.entry(entered.name.clone()).or_default() += 1;
                    self.payload(entered.input.as_deref());
                    if event.r#type == HistoryEventType::TaskStateEntered {
                        tasks += 1;
                        *self.invocations.entry(entered.name.clone()).or_default() += 1;
                    }
                    events += events_of(&event.r#type);
                }
                if let Some(exited) = &event.state_exited_event_details {
                    self.payload(exited.output.as_deref());
                }
                if event.r#type == HistoryEventType::TaskScheduled {
                    attempts += 1;
                }
            }
        }
        let repeated = u64::saturating_sub(attempts, tasks);
        self.transitions += repeated;
        // Ended, scheduled, started and submitted again.
        self.largest_history = self.largest_history.max(events + 4 * repeated);
        Ok(())
    }

    fn payload(&mut self, payload: Option<&str>) {
        let length = payload.map_or(0, |payload| count(payload.len()));
        self.largest_payload = self.largest_payload.max(length);
    }
}

/// Events that AWS writes for a state that was entered. The embedded AWS leaves some of them out.
fn events_of(entered: &HistoryEventType) -> u64 {
    match entered {
        // Entered, scheduled, started, submitted, succeeded, exited.
        HistoryEventType::TaskStateEntered => 6,
        // Entered, started, succeeded, exited.
        HistoryEventType::MapStateEntered | HistoryEventType::ParallelStateEntered => 4,
        _ => 2,
    }
}

fn step_functions(platform: &Platform) -> aws_sdk_sfn::Client {
    let (account, region) = (&platform.aws.host_account_id, &platform.aws.region);
    aws_sdk_sfn::Client::new(&platform.aws.sdk_config(account, region))
}
