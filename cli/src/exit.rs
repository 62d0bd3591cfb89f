//! How the command ends.

use shared::aws::Execution;
use shared::run::Outcome;

/// Exit codes; `--help` documents them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, or the run is complete.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// An argument or a file given cannot be used.
    Misuse = 2,
    /// The run is partial.
    Partial = 3,
    /// Ctrl-C; what shells give.
    Interrupted = 130,
}

impl Exit {
    /// For a run that has ended. `execution` is absent when Step Functions has forgotten it. An
    /// execution that failed after a good summary left something behind: that is a failure.
    pub(crate) fn of_run(execution: Option<&Execution>, outcome: Outcome) -> Self {
        if execution.is_some_and(|execution| execution.status != "SUCCEEDED") {
            return Self::Failed;
        }
        match outcome {
            Outcome::Complete => Self::Done,
            Outcome::Partial => Self::Partial,
            Outcome::Failed => Self::Failed,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(status: &str) -> Execution {
        Execution {
            arn: String::new(),
            status: status.to_owned(),
            output: None,
            error: None,
            cause: None,
            started_at: None,
            ended_at: None,
        }
    }

    #[test]
    fn a_run_is_done_only_when_it_is_complete_and_its_execution_succeeded() {
        let cases = [
            (Some("SUCCEEDED"), Outcome::Complete, Exit::Done),
            (Some("SUCCEEDED"), Outcome::Partial, Exit::Partial),
            (Some("SUCCEEDED"), Outcome::Failed, Exit::Failed),
            (Some("FAILED"), Outcome::Complete, Exit::Failed),
            (Some("ABORTED"), Outcome::Partial, Exit::Failed),
            (Some("TIMED_OUT"), Outcome::Complete, Exit::Failed),
            (None, Outcome::Complete, Exit::Done),
            (None, Outcome::Partial, Exit::Partial),
            (None, Outcome::Failed, Exit::Failed),
        ];
        for (status, outcome, exit) in cases {
            let execution = status.map(execution);
            assert_eq!(
                Exit::of_run(execution.as_ref(), outcome),
                exit,
                "{status:?} {outcome}"
            );
        }
    }

    #[test]
    fn the_numbers_are_those_of_the_help() {
        let numbers = [
            Exit::Done,
            Exit::Failed,
            Exit::Misuse,
            Exit::Partial,
            Exit::Interrupted,
        ]
        .map(|e| e as u8);
        assert_eq!(numbers, [0, 1, 2, 3, 130]);
    }
}
