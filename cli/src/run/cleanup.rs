//! `run cleanup`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use shared::aws::Execution;
use shared::ids::RunId;
use shared::run::cause_message;
use shared::summary::visible;

use super::{interruptible, watch};
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;
use crate::trouble::Trouble;

/// How a Cleanup ended.
#[derive(Debug, Serialize)]
struct Cleaned {
    execution_arn: String,
    execution_status: String,
    output: Option<Value>,
    error: Option<String>,
    cause: Option<String>,
    /// Source buckets that keep an inventory configuration, with their accounts.
    configurations_left: Vec<String>,
}

pub(super) async fn run(
    platform: &Platform,
    run_id: Option<&RunId>,
    yes: bool,
    json: bool,
) -> Result<Exit> {
    if !yes && let Some(question) = question(platform, run_id).await? {
        if !std::io::stdin().is_terminal() {
            return Err(Trouble::misuse("a cleanup has to be confirmed")
                .hint("add --yes")
                .into());
        }
        if !ask(&question)? {
            output::note("nothing was done");
            return Ok(Exit::Done);
        }
    }
    let input = run_id.map_or_else(|| json!({}), |run_id| json!({ "run_id": run_id }));
    let execution_arn = platform
        .clients
        .start_execution(&platform.cleanup, &input)
        .await?;
    let work = Box::pin(async {
        if !json {
            output::data(&format!("execution_arn: {execution_arn}"))?;
        }
        let look = async |_: &Execution| {
            let states = platform.clients.entered_states(&execution_arn).await?;
            Ok(states
                .last()
                .map_or_else(|| "starting".to_owned(), |entry| visible(&entry.state)))
        };
        let execution = watch::wait(platform, &execution_arn, look).await?;
        let left = left_on(platform, run_id).await?;
        finish(execution, left, json)
    });
    interruptible(work, || "the cleanup goes on".to_owned()).await
}

/// What to ask before; nothing when all that can be lost is what is to be removed: a run that is
/// over needs neither its inventory configurations nor its destinations.
async fn question(platform: &Platform, run_id: Option<&RunId>) -> Result<Option<String>> {
    let Some(run_id) = run_id else {
        return Ok(Some("Clean up every run that is over?".to_owned()));
    };
    let Some(run) = platform.runs().run(run_id).await? else {
        return Ok(Some(format!(
            "Run {run_id} is not on record. Remove what is named after it?"
        )));
    };
    let execution = platform.execution(&run.execution_arn).await?;
    Ok(execution.filter(Execution::is_running).map(|_| {
        format!("Run {run_id} is going on and would lose the reports it waits for. Clean it up?")
    }))
}

fn ask(question: &str) -> Result<bool> {
    output::note(&format!("{question} [y/N]"));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Source buckets that still have an inventory configuration of the run, or of any run that is
/// over: the platform was refused to remove it.
async fn left_on(platform: &Platform, run_id: Option<&RunId>) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for run in platform.runs().runs().await? {
        let is_meant = run_id.is_none_or(|run_id| run.run_id == *run_id);
        if !is_meant || run.cleaned_up_at.is_some() || run.outcome.is_none() {
            continue;
        }
        let buckets = platform.runs().buckets(&run.run_id).await?;
        left.extend(
            buckets
                .iter()
                .filter(|bucket| bucket.has_configuration())
                .map(|bucket| format!("{} ({})", bucket.bucket, bucket.account)),
        );
    }
    Ok(left)
}

fn finish(execution: Execution, configurations_left: Vec<String>, json: bool) -> Result<Exit> {
    let cleaned = Cleaned {
        configurations_left,
        cause: execution.cause.as_deref().map(cause_message),
        execution_arn: execution.arn,
        execution_status: execution.status,
        output: execution.output,
        error: execution.error,
    };
    if json {
        output::json(&cleaned)?;
    }
    if cleaned.execution_status == "SUCCEEDED" {
        if !cleaned.configurations_left.is_empty() {
            let left = cleaned.configurations_left.join(", ");
            return Err(Trouble::failed(format!(
                "inventory configurations are left on {left}: the platform may not remove them"
            ))
            .hint("give the member role access to these buckets and clean up again")
            .into());
        }
        if !json {
            output::note("cleaned up");
        }
        return Ok(Exit::Done);
    }
    let said = [Some(cleaned.execution_status), cleaned.error, cleaned.cause];
    let said: Vec<String> = said.into_iter().flatten().collect();
    Err(
        Trouble::failed(format!("the cleanup failed: {}", said.join(": ")))
            .hint("a cleanup may be repeated at any time")
            .into(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, yes) in [
            ("y\n", true),
            ("YES\r\n", true),
            ("\n", false),
            ("", false),
            ("yep", false),
        ] {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }

    #[test]
    fn a_cleanup_that_left_something_fails_and_says_so() {
        let execution = |status: &str| Execution {
            arn: "arn:e".into(),
            status: status.into(),
            output: None,
            error: Some("CleanupIncomplete".into()),
            cause: Some("ap-south-1".into()),
            started_at: None,
            ended_at: None,
        };
        let nothing = Vec::new;
        assert_eq!(
            finish(execution("SUCCEEDED"), nothing(), false).unwrap(),
            Exit::Done
        );
        let left = vec!["photos (111111111111)".to_owned()];
        let error = finish(execution("SUCCEEDED"), left, false).unwrap_err();
        assert!(error.to_string().contains("photos (111111111111)"));
        let error = finish(execution("FAILED"), nothing(), false)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the cleanup failed: FAILED: CleanupIncomplete: ap-south-1"
        );
    }
}
