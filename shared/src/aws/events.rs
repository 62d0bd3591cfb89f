//! Events through EventBridge.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;

use super::{AwsError, Clients};
use crate::run_ended::{DETAIL_TYPE, RunEnded, SOURCE};

impl Clients {
    /// Tells the default event bus that a run has ended. Success means accepted: rules get it at least
    /// once.
    pub async fn tell_run_ended(&self, ended: &RunEnded) -> Result<(), AwsError> {
        const OPERATION: &str = "PutEvents";
        let entry = PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .resources(&ended.execution_arn)
            .detail(ended.detail())
            .build();
        let answer = self
            .events
            .put_events()
            .entries(entry)
            .send()
            .await
            .map_err(|error| AwsError::new(OPERATION, &error))?;
        // The request is accepted even if an event in it is not.
        let refused = answer.entries().iter().find_map(|entry| entry.error_code());
        let Some(code) = refused else { return Ok(()) };
        let said = answer
            .entries()
            .iter()
            .find_map(|entry| entry.error_message());
        Err(AwsError::told(OPERATION, code, said.unwrap_or_default()))
    }
}
