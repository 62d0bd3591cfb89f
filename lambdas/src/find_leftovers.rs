//! Finds the next run that left something: by the record of runs, and besides by the tags of our
//! stacks in every enabled Region, so that it also finds what no record tells of.
//!
//! The run it finds is over from then on: a task of a stopped execution that is still under way makes
//! nothing for it any more.
//!
//! May be repeated: a run that is over stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Execution, FoundStack};
use shared::error::TaskError;
use shared::ids::{AccountId, Region, RunId};
use shared::naming;
use shared::run::{DestinationState, Failure, Run};
use shared::runtime;

use crate::Platform;

/// Regions searched at once.
const CONCURRENCY: usize = 8;
/// How much of the cause of a failed execution is handed on.
const MAX_CAUSE_CHARACTERS: usize = 4_000;

/// What to clean up.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// This run only.
    pub run_id: Option<RunId>,
    /// The run of this execution only.
    pub execution_arn: Option<String>,
    /// The run that was cleaned last: go on behind it.
    pub after: Option<RunId>,
}

/// One run to clean up.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `None`: nothing (more) is to be done.
    pub run_id: Option<RunId>,
    /// Accounts that may have inventory configurations of it.
    pub accounts: BTreeSet<AccountId>,
    /// Regions that may have a destination of it.
    pub regions: BTreeSet<Region>,
    /// Whether nobody but this Cleanup can tell the recipients how it ended: no summary was sent, and its
    /// execution is over or has tried in vain.
    pub is_summary_due: bool,
    /// What broke it off, as far as that shows in an execution whose summary is due.
    pub failure: Option<Failure>,
}

type Stacks = BTreeMap<RunId, Vec<(Region, FoundStack)>>;

/// Finds the next run.
///
/// # Errors
/// `Throttled`, `Unavailable`, `AccessDenied`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let named = match (&input.run_id, &input.execution_arn) {
        (Some(run_id), _) => Some(run_id.clone()),
        (None, Some(execution_arn)) => {
            let runs = platform.runs().runs().await?;
            let Some(run) = runs
                .into_iter()
                .find(|run| run.execution_arn == *execution_arn)
            else {
                return Ok(Output::default());
            };
            Some(run.run_id)
        }
        (None, None) => None,
    };
    let mut stacks = tagged_stacks(&platform).await?;
    if let Some(run_id) = named {
        // One run, one turn.
        if input.after.is_some() {
            return Ok(Output::default());
        }
        let found = stacks.remove(&run_id).unwrap_or_default();
        let is_asked_for = input.run_id.is_some();
        return Ok(describe(&platform, run_id, found, None, is_asked_for).await?);
    }

    let mut candidates: BTreeSet<RunId> = stacks.keys().cloned().collect();
    let runs = platform.runs().runs().await?;
    candidates.extend(
        runs.iter()
            .filter(|run| run.cleaned_up_at.is_none())
            .map(|run| run.run_id.clone()),
    );
    let behind = candidates
        .into_iter()
        .filter(|run_id| input.after.as_ref() < Some(run_id));
    for run_id in behind {
        let execution = match runs.iter().find(|run| run.run_id == run_id) {
            Some(run) => execution_of(&platform, run).await?,
            None => None,
        };
        if execution.as_ref().is_some_and(Execution::is_running) {
            tracing::info!(%run_id, "the run is going on and is left alone");
            continue;
        }
        let found = stacks.remove(&run_id).unwrap_or_default();
        return Ok(describe(&platform, run_id, found, execution, false).await?);
    }
    Ok(Output::default())
}

async fn tagged_stacks(platform: &Platform) -> Result<Stacks, AwsError> {
    let regions = platform.clients.enabled_regions().await?;
    let per_region: Vec<_> = futures::stream::iter(regions)
        .map(|region| async move {
            let deployment = &platform.settings.deployment;
            let found = platform
                .clients
                .destination_stacks(&region, deployment)
                .await?;
            Ok::<_, AwsError>((region, found))
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut stacks = Stacks::new();
    for (region, found) in per_region {
        for (run_id, stack) in found {
            stacks
                .entry(run_id)
                .or_default()
                .push((region.clone(), stack));
        }
    }
    Ok(stacks)
}

/// The Harvester execution of a run; `None` after 90 days, when Step Functions has forgotten it.
async fn execution_of(platform: &Platform, run: &Run) -> Result<Option<Execution>, AwsError> {
    match platform.clients.execution(&run.execution_arn).await {
        Ok(execution) => Ok(Some(execution)),
        Err(error) if error.code == "ExecutionDoesNotExist" || error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What broke an execution off; `None` when it succeeded.
fn failure_of(execution: Execution) -> Option<Failure> {
    let (error, cause) = match execution.status.as_str() {
        "SUCCEEDED" => return None,
        "ABORTED" => (
            "ExecutionAborted",
            "somebody stopped the Harvester execution",
        ),
        "TIMED_OUT" => (
            "ExecutionTimedOut",
            "the Harvester execution ran out of time",
        ),
        _ => ("ExecutionFailed", "the Harvester execution failed"),
    };
    let cause = execution.cause.unwrap_or_else(|| cause.to_owned());
    Some(Failure {
        error: execution.error.unwrap_or_else(|| error.to_owned()),
        // Machines hand on 256 KiB, and a cause may have 32.
        cause: cause.chars().take(MAX_CAUSE_CHARACTERS).collect(),
    })
}

/// What is to be cleaned of a run; `execution` is that of the Harvester, if it is known already.
/// A run that is asked for by its id is cleaned again when it is clean: a task that outlived the
/// Cleanup of a stopped execution may have been killed right after it made something.
async fn describe(
    platform: &Platform,
    run_id: RunId,
    stacks: Vec<(Region, FoundStack)>,
    execution: Option<Execution>,
    is_asked_for: bool,
) -> Result<Output, AwsError> {
    runtime::is_about(&run_id);
    let mut accounts = BTreeSet::new();
    let mut regions = BTreeSet::new();
    for (region, stack) in stacks {
        for name in naming::SOURCE_ACCOUNTS_PARAMETERS {
            let named = stack
                .parameters
                .get(name)
                .map(String::as_str)
                .unwrap_or_default();
            accounts.extend(
                named
                    .split(',')
                    .filter_map(|id| AccountId::try_from(id.trim()).ok()),
            );
        }
        regions.insert(region);
    }
    let mut is_summary_due = false;
    let mut failure = None;
    match platform.readable_run(&run_id).await? {
        Some(run) if run.cleaned_up_at.is_some() && regions.is_empty() && !is_asked_for => {
            return Ok(Output::default());
        }
        Some(run) => {
            platform
                .runs()
                .freeze(&run_id, platform.clients.now())
                .await?;
            if run.summary_sent_at.is_none() {
                let execution = match execution {
                    Some(execution) => Some(execution),
                    None => execution_of(platform, &run).await?,
                };
                let is_over = !execution.as_ref().is_some_and(Execution::is_running);
                // A run that has come to its summary and could not tell it tries once more.
                let was_tried = run.outcome.is_some() && run.mail_failure.is_none();
                is_summary_due = is_over || was_tried;
                failure = execution.filter(|_| is_over).and_then(failure_of);
            }
            accounts.extend(run.input.accounts.into_iter().map(|account| account.id));
            let destinations = platform.runs().destinations(&run_id).await?;
            let left = destinations
                .into_iter()
                .filter(|destination| destination.state != DestinationState::Deleted);
            regions.extend(left.map(|destination| destination.region));
        }
        // Neither a record nor a stack: nothing tells of this run.
        None if regions.is_empty() => return Ok(Output::default()),
        None => {}
    }
    Ok(Output {
        run_id: Some(run_id),
        accounts,
        regions,
        is_summary_due,
        failure,
    })
}
