//! `run start`.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use shared::aws::Execution;
use shared::ids::RunId;
use shared::run::cause_message;

use super::{RunStatus, interruptible, watch};
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;
use crate::progress::Display;
use crate::trouble::Trouble;

/// A run that was started, or refused.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Started {
    /// The Harvester execution.
    pub(crate) execution_arn: String,
    /// The run; absent when it was refused.
    pub(crate) run_id: Option<RunId>,
    /// Error name when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Every problem, when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
}

pub(super) async fn run(
    platform: &Platform,
    input: &Value,
    stay: bool,
    json: bool,
) -> Result<Exit> {
    let execution_arn = platform
        .clients
        .start_execution(&platform.harvester, input)
        .await?;
    let say_how_to_go_on = || "the run goes on; see `s3insights run list`".to_owned();
    let work = Box::pin(async {
        if !json {
            output::data(&format!("execution_arn: {execution_arn}"))?;
        }
        let started = start(platform, &execution_arn).await?;
        let Some(run_id) = &started.run_id else {
            if json {
                output::json(&started)?;
            }
            return Err(started.refusal().into());
        };
        match (json, stay) {
            (true, false) => output::json(&started)?,
            (false, _) => output::data(&format!("run_id: {run_id}"))?,
            (true, true) => {}
        }
        if !stay {
            return Ok(Exit::Done);
        }
        watch::watch(platform, run_id, &execution_arn).await?;
        let status = RunStatus::load(platform, run_id).await?;
        status.print(json)?;
        Ok(status.exit())
    });
    interruptible(work, say_how_to_go_on).await
}

/// Waits until an execution just started has opened its run, or has refused to.
pub(crate) async fn start(platform: &Platform, execution_arn: &str) -> Result<Started> {
    let display = Display::new(std::time::Duration::ZERO);
    loop {
        display.show("checking the run input");
        // In this order: an execution that has ended has opened its run before.
        let execution = platform.execution(execution_arn).await?;
        let runs = platform.runs().runs().await?;
        let opened = runs
            .into_iter()
            .find(|run| run.execution_arn == execution_arn);
        if let Some(run) = opened {
            return Ok(Started {
                execution_arn: execution_arn.to_owned(),
                run_id: Some(run.run_id),
                ..Started::default()
            });
        }
        if let Some(execution) = execution.filter(|execution| !execution.is_running()) {
            return Ok(Started::refused(execution));
        }
        tokio::time::sleep(watch::PACE).await;
    }
}

impl Started {
    fn refused(execution: Execution) -> Self {
        let cause = execution.cause.as_deref().map(cause_message);
        Self {
            execution_arn: execution.arn,
            run_id: None,
            error: Some(execution.error.unwrap_or(execution.status)),
            cause: cause.filter(|cause| !cause.is_empty()),
        }
    }

    /// The refusal as it is told.
    pub(crate) fn refusal(&self) -> Trouble {
        let error = self.error.as_deref().unwrap_or("unknown");
        let message = match &self.cause {
            Some(cause) => format!("the run was refused: {error}: {cause}"),
            None => format!("the run was refused: {error}"),
        };
        let trouble = Trouble::failed(message);
        if error == "InvalidInput" {
            trouble.hint("correct the run input and start again; nothing was created")
        } else {
            trouble
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_every_problem() {
        let cause = r#"{"errorType":"InvalidInput","errorMessage":"the run input has 2 problem(s):\n- accounts[0].id: \"1\" is not an account id\n- colour: unknown field"}"#;
        let started = Started::refused(Execution {
            arn: "arn:e".into(),
            status: "FAILED".into(),
            output: None,
            error: Some("InvalidInput".into()),
            cause: Some(cause.into()),
            started_at: None,
            ended_at: None,
        });
        assert_eq!(started.run_id, None);
        assert_eq!(
            started.refusal().to_string(),
            "the run was refused: InvalidInput: the run input has 2 problem(s):\n\
             - accounts[0].id: \"1\" is not an account id\n- colour: unknown field"
        );
    }

    #[test]
    fn an_execution_that_was_stopped_says_so() {
        let started = Started::refused(Execution {
            arn: "arn:e".into(),
            status: "ABORTED".into(),
            output: None,
            error: None,
            cause: None,
            started_at: None,
            ended_at: None,
        });
        assert_eq!(
            started.refusal().to_string(),
            "the run was refused: ABORTED"
        );
    }
}
