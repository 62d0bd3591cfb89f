//! Starts one query of the run in Athena.
//!
//! May be repeated: Athena starts a query once per token, and the token derives from run and
//! query.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::run::QueryState;

use crate::Platform;

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
    /// Running, unless Athena refused it.
    pub state: QueryState,
}

/// Starts the query. One that Athena refuses is an outcome, recorded with the reason.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let run = platform.run(&input.run_id).await?;
    let mut query = stored(&platform, &input.run_id, input.query).await?;
    if query.state != QueryState::Waiting {
        return Ok(Output { state: query.state });
    }
    let token = hex::encode(Sha256::digest(format!(
        "{} {} {}",
        platform.settings.deployment, run.execution_arn, query.number
    )));
    let started = platform
        .clients
        .start_query(
            &platform.settings.work_group,
            &run.input.athena_database_name,
            &query.sql,
            &token,
        )
        .await;
    match started {
        Ok(execution_id) => {
            query.state = QueryState::Running;
            query.execution_id = Some(execution_id);
        }
        Err(error) if error.is_passing() => return Err(error.into()),
        Err(error) => {
            tracing::warn!(query = query.number, %error, "query was refused");
            query.state = QueryState::Failed;
            query.reason = Some(error.reason());
        }
    }
    platform.runs().put_query(&run.run_id, &query).await?;
    Ok(Output { state: query.state })
}

/// A query that has to be on record.
pub(crate) async fn stored(
    platform: &Platform,
    run_id: &RunId,
    number: u32,
) -> Result<shared::run::Query, TaskError> {
    platform.runs().query(run_id, number).await?.ok_or_else(|| {
        TaskError::InvalidInput(format!("query: run {run_id} has no query {number}"))
    })
}
