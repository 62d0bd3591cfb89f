//! Stores the token that the last bucket answers, then looks whether all is settled already: the
//! last bucket may have come to its end before the token was there.
//!
//! May be repeated: the newest token wins.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::error::TaskError;
use shared::ids::RunId;

use crate::{Platform, settling};

/// A waiting run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
    /// Token of the waiting state.
    pub task_token: String,
}

/// Nothing: the answer goes through the token.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {}

/// Stores the token and answers it if nothing is to be waited for.
///
/// # Errors
/// `Throttled`, `Unavailable`.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    platform
        .runs()
        .store_token(&input.run_id, &input.task_token)
        .await?;
    settling::answer_if_settled(&platform, &input.run_id).await?;
    Ok(Output {})
}
