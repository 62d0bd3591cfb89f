//! Reads where one query of the run stands, and when it is done counts its rows and keeps the first
//! of them.
//!
//! May be repeated: it only reads, and records what it read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::run::QueryState;

use crate::{Platform, run_query};

/// One query of a run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// Number of the query, from 0.
    pub query: u32,
}

/// Where the query stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Call again while it is running.
    pub state: QueryState,
}

/// Reads where the query stands. A failed query is an outcome, recorded with the reason.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let mut query = run_query::stored(&platform, &input.run_id, input.query).await?;
    let (QueryState::Running, Some(execution_id)) = (query.state, &query.execution_id) else {
        return Ok(Output { state: query.state });
    };
    let progress = platform.clients.query_progress(execution_id).await?;
    if progress.state == QueryState::Running {
        return Ok(Output {
            state: QueryState::Running,
        });
    }
    if progress.state == QueryState::Succeeded {
        let results = platform.clients.query_results(execution_id).await?;
        query.rows = results.rows;
        query.sample = Some(results.sample);
    }
    query.state = progress.state;
    query.reason = progress.reason;
    query.result_location = progress.result_location;
    query.scanned_bytes = progress.scanned_bytes;
    platform.runs().put_query(&input.run_id, &query).await?;
    Ok(Output { state: query.state })
}
