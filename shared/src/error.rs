//! The one error of all tasks. Its names are an interface: the state machines retry by them and
//! `docs/troubleshooting.md` explains them.

use lambda_runtime::Diagnostic;

use crate::foreign_text::cut;

/// Why a task failed. What may happen to a single source bucket (refused, gone, empty) is an
/// outcome of the task and never one of these.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// A document of ours breaks its rules; the message names every problem with its field path.
    #[error("{0}")]
    InvalidInput(String),
    /// AWS throttled us until the SDK's own retries were used up.
    #[error("{0}")]
    Throttled(String),
    /// AWS was not reachable or answered with server errors until the SDK's retries were used up.
    #[error("{0}")]
    Unavailable(String),
    /// A conditional write lost against another writer and may win when repeated.
    #[error("{0}")]
    Conflict(String),
    /// The platform itself (not a source bucket) was refused something. New roles take a while to
    /// work everywhere, so the machines try again a few times.
    #[error("{0}")]
    AccessDenied(String),
    /// A smoke test did not see a report come through every Region of its run.
    #[error("{0}")]
    SmokeTestFailed(String),
    /// An assumption of ours is broken.
    #[error("{0}")]
    Internal(String),
}

impl TaskError {
    /// Every name a state machine may see, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &[
        "InvalidInput",
        "Throttled",
        "Unavailable",
        "Conflict",
        "AccessDenied",
        "SmokeTestFailed",
        "Internal",
    ];

    /// The name under which Step Functions matches this error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::InvalidInput(_) => "InvalidInput",
            Self::Throttled(_) => "Throttled",
            Self::Unavailable(_) => "Unavailable",
            Self::Conflict(_) => "Conflict",
            Self::AccessDenied(_) => "AccessDenied",
            Self::SmokeTestFailed(_) => "SmokeTestFailed",
            Self::Internal(_) => "Internal",
        }
    }
}

/// Most bytes of a message that reach a state machine: with what JSON escapes, the cause of a failed state
/// ends at 32,768 characters.
pub const MAX_MESSAGE_BYTES: usize = 10_000;

impl From<TaskError> for Diagnostic {
    fn from(error: TaskError) -> Self {
        Self {
            error_type: error.name().into(),
            error_message: cut(error.to_string(), MAX_MESSAGE_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reaches_the_machines() {
        let errors = [
            TaskError::InvalidInput(String::new()),
            TaskError::Throttled(String::new()),
            TaskError::Unavailable(String::new()),
            TaskError::Conflict(String::new()),
            TaskError::AccessDenied(String::new()),
            TaskError::SmokeTestFailed(String::new()),
            TaskError::Internal(String::new()),
        ];
        let names: Vec<String> = errors
            .map(|error| Diagnostic::from(error).error_type)
            .into_iter()
            .collect();
        assert_eq!(names, TaskError::NAMES);
    }

    #[test]
    fn a_message_of_any_length_is_a_cause_that_a_machine_takes() {
        let error = TaskError::Internal("\n\"".repeat(1_000_000));
        let cause = serde_json::to_string(&Diagnostic::from(error).error_message).unwrap();
        assert!(cause.len() < 32_768, "{}", cause.len());
    }
}
