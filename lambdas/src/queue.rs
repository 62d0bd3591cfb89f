//! What the two queue-fed functions share: every message succeeds or fails on its own.

use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use shared::error::TaskError;
use shared::protocol;
use tracing::Instrument;

use crate::Platform;

/// Works on every message of a batch. One that fails goes back to the queue, to be received again
/// after a pause that grows with every time it was received.
pub(crate) async fn work<F>(
    platform: &Platform,
    queue_url: &str,
    event: SqsEvent,
    work: F,
) -> SqsBatchResponse
where
    F: AsyncFn(&SqsMessage, u32) -> Result<(), TaskError>,
{
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let id = message.message_id.clone().unwrap_or_default();
        let receives = receives(&message);
        let span = tracing::info_span!("message", message_id = id, receives);
        let result = work(&message, receives).instrument(span.clone()).await;
        let Err(error) = result else { continue };
        span.in_scope(|| {
            tracing::warn!(error = error.name(), message = %error, "message goes back to the queue");
        });
        if let Some(receipt) = &message.receipt_handle {
            let seconds = protocol::retry_delay_seconds(receives);
            if let Err(error) = platform
                .clients
                .delay_message(queue_url, receipt, seconds)
                .await
            {
                tracing::warn!(%error, "message comes back after the queue's own timeout");
            }
        }
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = id;
        response.batch_item_failures.push(failure);
    }
    response
}

/// How often a message was received, this time included.
fn receives(message: &SqsMessage) -> u32 {
    message
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
}
