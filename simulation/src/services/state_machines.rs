//! Step Functions.

use real_shared::aws::{AwsError, Class, Execution};
use serde_json::Value;

use super::{Clients, error};
use crate::checks;
use crate::world::Token;

impl Clients {
    /// Answers a token, once.
    pub async fn answer_token(&self, token: &str, output: &Value) -> Result<bool, AwsError> {
        self.world
            .request(
                "SendTaskSuccess",
                || format!("{token} {output}"),
                |state| {
                    let answered = match state.tokens.get_mut(token) {
                        Some(token @ Token::Waiting) => {
                            *token = Token::Answered;
                            true
                        }
                        _ => false,
                    };
                    if answered {
                        checks::after_answer(state, token, output);
                    }
                    Ok(answered)
                },
            )
            .await
    }

    /// An execution.
    pub async fn execution(&self, arn: &str) -> Result<Execution, AwsError> {
        self.world
            .request(
                "DescribeExecution",
                || arn.to_owned(),
                |state| match state.executions.get(arn) {
                    Some(known) => Ok(Execution {
                        arn: arn.to_owned(),
                        status: known.status.to_owned(),
                        output: None,
                        error: known.error.as_ref().map(|(error, _)| error.clone()),
                        cause: known.error.as_ref().map(|(_, cause)| cause.clone()),
                        started_at: None,
                        ended_at: None,
                    }),
                    None => Err(error(
                        "DescribeExecution",
                        "ExecutionDoesNotExist",
                        Class::Other,
                    )),
                },
            )
            .await
    }
}
