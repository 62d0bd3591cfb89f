//! `run status`, and how a run stands.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde::Serialize;
use shared::aws::Execution;
use shared::ids::RunId;
use shared::run::cause_message;
use shared::run::{Outcome, Run};
use shared::summary::{Summary, visible};

use super::{interruptible, watch};
use crate::exit::Exit;
use crate::output::{self, lines_visible};
use crate::platform::Platform;
use crate::progress::{Standing, clock};
use crate::trouble::Trouble;

/// How a run stands.
#[derive(Debug, Serialize)]
pub(crate) struct RunStatus {
    /// The run.
    pub(crate) run_id: RunId,
    /// The Harvester execution.
    pub(crate) execution_arn: String,
    /// As Step Functions calls it; absent when it has forgotten the execution.
    pub(crate) execution_status: Option<String>,
    /// The state the execution entered last.
    pub(crate) state: Option<String>,
    /// Error name of an execution that failed.
    pub(crate) error: Option<String>,
    /// Its cause.
    pub(crate) cause: Option<String>,
    /// When the execution started.
    pub(crate) started_at: Timestamp,
    /// When it ended.
    pub(crate) ended_at: Option<Timestamp>,
    /// When Cleanup found nothing left of the run.
    pub(crate) cleaned_up_at: Option<Timestamp>,
    /// How the run ended; absent while it goes on.
    pub(crate) outcome: Option<Outcome>,
    /// Files of reports that are consolidated.
    pub(crate) files_consolidated: u64,
    /// Files of the reports that have come.
    pub(crate) files: u64,
    /// The summary as of now.
    pub(crate) summary: Summary,
    #[serde(skip)]
    execution: Option<Execution>,
    #[serde(skip)]
    standing: Standing,
}

pub(super) async fn run(
    platform: &Platform,
    run_id: &RunId,
    stay: bool,
    json: bool,
) -> Result<Exit> {
    let work = Box::pin(async {
        let mut status = RunStatus::load(platform, run_id).await?;
        if stay && !status.is_over() {
            watch::watch(platform, run_id, &status.execution_arn).await?;
            status = RunStatus::load(platform, run_id).await?;
        }
        status.print(json)?;
        Ok(status.exit())
    });
    interruptible(work, || {
        format!("the run goes on; see `s3insights run status {run_id}`")
    })
    .await
}

/// A run on record.
pub(super) async fn recorded(platform: &Platform, run_id: &RunId) -> Result<Run> {
    let run = platform.runs().run(run_id).await?;
    Ok(run.ok_or_else(|| {
        Trouble::failed(format!("there is no run {run_id}"))
            .hint("`s3insights run list` shows the runs on record")
    })?)
}

/// An execution that Step Functions has forgotten ended long ago.
fn is_over(execution: Option<&Execution>) -> bool {
    execution.is_none_or(|execution| !execution.is_running())
}

/// A run that was stopped before it could record how it ended has failed, and its summary must not
/// call it anything else.
fn record_stop(run: &mut Run, execution: Option<&Execution>) {
    if is_over(execution) {
        run.outcome.get_or_insert(Outcome::Failed);
    }
}

impl RunStatus {
    /// How a run on record stands.
    pub(crate) async fn load(platform: &Platform, run_id: &RunId) -> Result<Self> {
        let mut run = recorded(platform, run_id).await?;
        let execution = platform.execution(&run.execution_arn).await?;
        let states = match &execution {
            Some(_) => platform.clients.entered_states(&run.execution_arn).await?,
            None => Vec::new(),
        };
        let buckets = platform.runs().buckets(run_id).await?;
        record_stop(&mut run, execution.as_ref());
        let standing = Standing::new(states.last().map(|entry| entry.state.clone()), &buckets);
        let summary = platform.summary(&run).await?;
        Ok(Self::new(&run, execution, standing, summary))
    }

    fn new(run: &Run, execution: Option<Execution>, standing: Standing, summary: Summary) -> Self {
        let ended = execution.as_ref();
        Self {
            run_id: run.run_id.clone(),
            execution_arn: run.execution_arn.clone(),
            execution_status: ended.map(|execution| execution.status.clone()),
            state: standing.state.clone(),
            error: ended.and_then(|execution| execution.error.clone()),
            cause: ended.and_then(|execution| execution.cause.as_deref().map(cause_message)),
            started_at: run.started_at,
            ended_at: ended.and_then(|execution| execution.ended_at),
            cleaned_up_at: run.cleaned_up_at,
            outcome: is_over(execution.as_ref()).then_some(summary.outcome),
            files_consolidated: standing.files_consolidated,
            files: standing.files,
            summary,
            execution,
            standing,
        }
    }

    /// Whether its execution has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    /// The exit code: how it ended, or that it goes on well.
    pub(crate) fn exit(&self) -> Exit {
        self.outcome.map_or(Exit::Done, |outcome| {
            Exit::of_run(self.execution.as_ref(), outcome)
        })
    }

    /// Prints the status, or the summary of a run that is over.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            output::json(self)?;
        } else {
            output::data(&self.text(Timestamp::now()))?;
        }
        if let Some(trouble) = self.trouble() {
            output::note(&trouble);
        }
        Ok(())
    }

    fn text(&self, now: Timestamp) -> String {
        // What broke it off before there was a summary stands beside it, see `trouble`.
        if self.is_over() {
            return self.summary.text();
        }
        let elapsed = Duration::try_from(now.duration_since(self.started_at)).unwrap_or_default();
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let rows = [
            row("run", self.run_id.to_string()),
            row(
                "state",
                self.state.as_deref().map(visible).unwrap_or_default(),
            ),
            row("elapsed", clock(elapsed)),
            row(
                "deadline",
                self.summary
                    .deadline
                    .strftime("%Y-%m-%d %H:%M:%S UTC")
                    .to_string(),
            ),
            row("buckets", self.standing.buckets()),
            row("files", self.standing.files()),
        ];
        output::table(&rows)
    }

    /// What the summary does not tell: that the execution failed, and why.
    fn trouble(&self) -> Option<String> {
        let execution = self.execution.as_ref().filter(|_| self.is_over())?;
        if execution.status == "SUCCEEDED" {
            return None;
        }
        let said = [self.error.as_deref(), self.cause.as_deref()];
        let said: Vec<&str> = said
            .into_iter()
            .flatten()
            .filter(|said| !said.is_empty())
            .collect();
        let mut text = format!("error: the Harvester execution is {}", execution.status);
        if !said.is_empty() {
            text = format!("{text}: {}", said.join(": "));
        }
        text = lines_visible(&text);
        if self.cleaned_up_at.is_none() {
            text = format!(
                "{text}\nhint: `s3insights run cleanup {}` removes what it left behind",
                self.run_id
            );
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::run::RunParts;
    use shared::summary::{Records, Setting};

    use super::*;

    fn run(outcome: Option<Outcome>) -> Run {
        let input = json!({
            "run_id": "nightly",
            "accounts": [],
            "athena_database_name": "s3insights",
            "athena_table_name": "inventory_nightly",
            "is_smoke_test": false,
            "athena_queries": [],
            "sender_email_address": "s3@example.com",
            "recipient_email_addresses": ["team@example.com"],
            "supported_regions": ["eu-west-1"],
            "inventory_timeout_minutes": 3000,
            "status_refresh_minutes": 30
        });
        serde_json::from_value(json!({
            "run_id": "nightly",
            "execution_arn": "arn:aws:states:us-east-1:111111111111:execution:h:e",
            "started_at": "2026-01-05T04:00:00Z",
            "deadline": "2026-01-07T06:00:00Z",
            "input": input.to_string(),
            "warnings": "[]",
            "outcome": outcome,
        }))
        .unwrap()
    }

    fn status(execution_status: Option<&str>, outcome: Option<Outcome>) -> RunStatus {
        let mut run = run(outcome);
        let execution = execution_status.map(|status| Execution {
            arn: run.execution_arn.clone(),
            status: status.to_owned(),
            output: None,
            error: (status == "FAILED").then(|| "CleanupIncomplete".to_owned()),
            cause: (status == "FAILED").then(|| "2 accounts\u{1b}[2J".to_owned()),
            started_at: None,
            ended_at: None,
        });
        let setting = Setting {
            host_region: "us-east-1".parse().unwrap(),
            consolidated_bucket: "consolidated".parse().unwrap(),
            work_group: "insights".to_owned(),
        };
        record_stop(&mut run, execution.as_ref());
        let records = Records {
            run: &run,
            parts: &RunParts::default(),
            totals: None,
            earlier: None,
        };
        let summary = Summary::build(records, &setting);
        let standing = Standing::new(Some("Publish snapshot".into()), &[]);
        RunStatus::new(&run, execution, standing, summary)
    }

    #[test]
    fn a_run_that_goes_on_has_no_outcome_and_no_summary() {
        let status = status(Some("RUNNING"), None);
        assert_eq!((status.outcome, status.exit()), (None, Exit::Done));
        let now = "2026-01-05T05:00:00Z".parse().unwrap();
        let text = status.text(now);
        assert_eq!(
            text,
            "run       nightly\nstate     Publish snapshot\nelapsed   1:00:00\n\
             deadline  2026-01-07 06:00:00 UTC\nbuckets\nfiles\n"
        );
        assert_eq!(status.trouble(), None);
    }

    #[test]
    fn a_run_that_is_over_tells_its_outcome() {
        let cases = [
            (
                Some("SUCCEEDED"),
                Some(Outcome::Complete),
                Outcome::Complete,
                Exit::Done,
            ),
            (
                Some("SUCCEEDED"),
                Some(Outcome::Partial),
                Outcome::Partial,
                Exit::Partial,
            ),
            (Some("ABORTED"), None, Outcome::Failed, Exit::Failed),
            (
                Some("FAILED"),
                Some(Outcome::Complete),
                Outcome::Complete,
                Exit::Failed,
            ),
            (None, Some(Outcome::Complete), Outcome::Complete, Exit::Done),
            (None, None, Outcome::Failed, Exit::Failed),
        ];
        for (execution, recorded, outcome, exit) in cases {
            let status = status(execution, recorded);
            assert!(status.text(Timestamp::UNIX_EPOCH).contains(outcome.name()));
            assert_eq!(
                (status.outcome, status.exit()),
                (Some(outcome), exit),
                "{execution:?} {recorded:?}"
            );
        }
    }

    #[test]
    fn a_failed_execution_is_told_beside_the_summary() {
        let said = status(Some("FAILED"), Some(Outcome::Complete))
            .trouble()
            .unwrap();
        assert_eq!(
            said,
            "error: the Harvester execution is FAILED: CleanupIncomplete: 2 accounts\\u{1b}[2J\n\
             hint: `s3insights run cleanup nightly` removes what it left behind"
        );
    }

    #[test]
    fn the_json_has_the_summary_and_nothing_internal() {
        let status =
            serde_json::to_value(status(Some("SUCCEEDED"), Some(Outcome::Complete))).unwrap();
        assert_eq!(status["outcome"], "complete");
        assert_eq!(status["summary"]["run_id"], "nightly");
        assert!(status.get("execution").is_none() && status.get("standing").is_none());
    }
}
