//! Records how the run ended, and removes what must not stay in the host account: everything that a
//! smoke test made, and the rows of a run that broke off before they became a table.
//!
//! May be repeated: what is gone is gone, and the first outcome stays.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::aws::AwsError;
use shared::error::TaskError;
use shared::ids::RunId;
use shared::naming;
use shared::run::{Outcome, Run};

use crate::Platform;

/// A run that is over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
}

/// How the run ended.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// `failed` also when no record of the run is left.
    pub outcome: Outcome,
}

/// Closes the run.
///
/// # Errors
/// `Throttled`, `Unavailable`, `AccessDenied`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let runs = platform.runs();
    // A run that was stopped is over now, whatever is still being delivered.
    runs.freeze(&input.run_id, platform.clients.now()).await?;
    // A task of it that is under way makes no table from here on; what it made, the record says.
    runs.record_outcome(&input.run_id, Outcome::Failed).await?;
    let Some(run) = platform.readable_run(&input.run_id).await? else {
        return Ok(Output {
            outcome: Outcome::Failed,
        });
    };
    let outcome = run.outcome.unwrap_or(Outcome::Failed);
    if run.input.is_smoke_test {
        remove_table(&platform, &run).await?;
        remove_query_results(&platform, &run).await?;
        remove_snapshot(&platform, &run).await?;
    } else if outcome == Outcome::Failed && !run.made_table {
        remove_snapshot(&platform, &run).await?;
    }
    let left = configurations_left(&platform, &run).await?;
    if left == 0 {
        runs.record_clean(&run.run_id, platform.clients.now())
            .await?;
    } else {
        tracing::warn!(left, "inventory configurations are left on source buckets");
    }
    tracing::info!(outcome = outcome.name(), "run closed");
    Ok(Output { outcome })
}

async fn remove_table(platform: &Platform, run: &Run) -> Result<(), AwsError> {
    let (database, table) = (
        &run.input.athena_database_name,
        &run.input.athena_table_name,
    );
    if run.made_table {
        platform.clients.delete_table(database, table).await?;
    }
    if run.made_database {
        platform.clients.delete_database_if_empty(database).await?;
    }
    Ok(())
}

async fn remove_query_results(platform: &Platform, run: &Run) -> Result<(), AwsError> {
    let objects = platform.consolidated();
    let home = &platform.settings.consolidated_bucket;
    for query in platform.runs().queries(&run.run_id).await? {
        // By its id: of a query that nobody saw end no location is on record.
        if let Some(execution_id) = &query.execution_id {
            let prefix = naming::query_results_prefix(execution_id);
            let keys = objects.list(home, &prefix).await?;
            objects.delete(home, &keys).await?;
        }
    }
    Ok(())
}

async fn remove_snapshot(platform: &Platform, run: &Run) -> Result<(), AwsError> {
    let objects = platform.consolidated();
    let home = &platform.settings.consolidated_bucket;
    for prefix in [
        naming::snapshot_prefix(&run.run_id),
        naming::totals_prefix(&run.run_id),
    ] {
        let keys = objects.list(home, &prefix).await?;
        objects.delete(home, &keys).await?;
    }
    Ok(())
}

async fn configurations_left(platform: &Platform, run: &Run) -> Result<usize, AwsError> {
    let buckets = platform.runs().buckets(&run.run_id).await?;
    Ok(buckets
        .iter()
        .filter(|bucket| bucket.has_configuration())
        .count())
}
