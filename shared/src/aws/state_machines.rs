//! Executions of the two machines.

use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use jiff::Timestamp;
use serde_json::Value;

use super::{AwsError, Clients};

/// An execution as Step Functions describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`, `ABORTED`.
    pub status: String,
    /// Output of an execution that succeeded.
    pub output: Option<Value>,
    /// Error name of one that failed.
    pub error: Option<String>,
    /// Its cause.
    pub cause: Option<String>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Execution {
    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        self.status == ExecutionStatus::Running.as_str()
    }
}

/// A state an execution entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Name of the state.
    pub state: String,
    /// When it was entered.
    pub entered_at: Option<Timestamp>,
}

impl Clients {
    /// Answers the waiting state. `Ok(false)` when nobody waits with this token any more: the
    /// state was answered, or gave up waiting and will ask again with a new token.
    pub async fn answer_token(&self, token: &str, output: &Value) -> Result<bool, AwsError> {
        let answer = self
            .sfn
            .send_task_success()
            .task_token(token)
            .output(output.to_string())
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) => {
                let error = AwsError::new("SendTaskSuccess", &error);
                match error.code.as_str() {
                    "TaskTimedOut" | "TaskDoesNotExist" | "InvalidToken" => Ok(false),
                    _ => Err(error),
                }
            }
        }
    }

    /// Starts an execution; Step Functions makes up its name. Gives its ARN.
    pub async fn start_execution(&self, machine: &str, input: &Value) -> Result<String, AwsError> {
        let answer = self
            .sfn
            .start_execution()
            .state_machine_arn(machine)
            .input(input.to_string())
            .send()
            .await
            .map_err(|error| AwsError::new(format!("StartExecution of {machine}"), &error))?;
        Ok(answer.execution_arn().to_owned())
    }

    /// Describes an execution.
    pub async fn execution(&self, arn: &str) -> Result<Execution, AwsError> {
        let answer = self
            .sfn
            .describe_execution()
            .execution_arn(arn)
            .send()
            .await
            .map_err(|error| AwsError::new(format!("DescribeExecution of {arn}"), &error))?;
        Ok(Execution {
            arn: arn.to_owned(),
            status: answer.status().as_str().to_owned(),
            output: answer
                .output()
                .and_then(|output| serde_json::from_str(output).ok()),
            error: answer.error().map(str::to_owned),
            cause: answer.cause().map(str::to_owned),
            started_at: timestamp(Some(answer.start_date())),
            ended_at: timestamp(answer.stop_date()),
        })
    }

    /// The states an execution entered, oldest first.
    pub async fn entered_states(&self, arn: &str) -> Result<Vec<HistoryEntry>, AwsError> {
        let mut pages = self
            .sfn
            .get_execution_history()
            .execution_arn(arn)
            .into_paginator()
            .send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page
                .map_err(|error| AwsError::new(format!("GetExecutionHistory of {arn}"), &error))?;
            entries.extend(page.events().iter().filter_map(entered));
        }
        Ok(entries)
    }
}

fn entered(event: &HistoryEvent) -> Option<HistoryEntry> {
    let details = event.state_entered_event_details()?;
    Some(HistoryEntry {
        state: details.name().to_owned(),
        entered_at: timestamp(Some(event.timestamp())),
    })
}

fn timestamp(time: Option<&aws_smithy_types::DateTime>) -> Option<Timestamp> {
    Timestamp::from_millisecond(time?.to_millis().ok()?).ok()
}
