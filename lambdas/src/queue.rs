//! What the queue-fed functions share: every message succeeds or fails on its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::dead_letter::{MessageFailure, Queue};
use shared::error::TaskError;
use shared::ids::{AccountId, BucketName, RunId};
use shared::protocol;
use tracing::{Instrument, field};

use crate::Platform;

/// What Lambda hands to a queue-fed function. Fields that are not needed are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct SqsEvent {
    /// The messages of the batch.
    #[serde(rename = "Records")]
    pub records: Vec<SqsMessage>,
}

/// One message of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsMessage {
    /// Identifies the message in the answer.
    pub message_id: String,
    /// Identifies this receipt of it to SQS.
    pub receipt_handle: String,
    /// What was sent.
    #[serde(default)]
    pub body: String,
    /// SQS's own attributes, such as `ApproximateReceiveCount`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Attributes that its sender gave it.
    #[serde(default)]
    pub message_attributes: BTreeMap<String, MessageAttribute>,
    /// ARN of the queue it was received from.
    #[serde(default, rename = "eventSourceARN")]
    pub event_source_arn: String,
}

/// An attribute that the sender of a message gave it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAttribute {
    /// Its value, if it is a text.
    #[serde(default)]
    pub string_value: Option<String>,
}

/// The answer: the messages that go back to the queue; none means that all are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SqsBatchResponse {
    /// One entry for each message that failed.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A message that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its message id.
    pub item_identifier: String,
}

/// Works on every message of a batch of a queue. One that fails goes back to the queue, to be received
/// again after a pause that grows with every time it was received. From the receive on at which it is
/// not just early any more, what it failed with is recorded: the queue keeps no reason.
pub(crate) async fn work<F>(
    platform: &Platform,
    queue: Queue,
    event: SqsEvent,
    work: F,
) -> SqsBatchResponse
where
    F: AsyncFn(&SqsMessage, u32) -> Result<(), TaskError>,
{
    let queue_url = match queue {
        Queue::Notifications => &platform.settings.notification_queue_url,
        Queue::Files => &platform.settings.file_queue_url,
    };
    each(event, async |message| {
        let receives = receives(message);
        let Err(error) = work(message, receives).await else {
            return Ok(());
        };
        if MessageFailure::is_recorded(receives) {
            let failure = MessageFailure::new(&error, receives, platform.clients.now());
            let runs = platform.runs();
            if let Err(error) = runs
                .record_message_failure(&message.message_id, &failure)
                .await
            {
                tracing::warn!(%error, "why the message failed is not on record");
            }
        }
        let seconds = protocol::retry_delay_seconds(receives);
        let receipt = &message.receipt_handle;
        if let Err(error) = platform
            .clients
            .delay_message(queue_url, receipt, seconds)
            .await
        {
            tracing::warn!(%error, "message comes back after the queue's own timeout");
        }
        Err(error)
    })
    .await
}

/// Works on every message of a batch. One that fails goes back to the queue.
pub(crate) async fn each<F>(event: SqsEvent, work: F) -> SqsBatchResponse
where
    F: AsyncFn(&SqsMessage) -> Result<(), TaskError>,
{
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let (message_id, receives) = (&message.message_id, receives(&message));
        let span = tracing::info_span!(
            "message",
            message_id,
            receives,
            run_id = field::Empty,
            account = field::Empty,
            bucket = field::Empty,
        );
        let result = work(&message).instrument(span.clone()).await;
        let Err(error) = result else { continue };
        span.in_scope(|| {
            tracing::warn!(error = error.name(), message = %error, "message goes back to the queue");
        });
        response.batch_item_failures.push(BatchItemFailure {
            item_identifier: message.message_id,
        });
    }
    response
}

/// Says what the work on a message is about, so that each line of the log does. Comes before the first
/// line.
pub(crate) fn is_about(run_id: &RunId, account: &AccountId, bucket: &BucketName) {
    let span = tracing::Span::current();
    span.record("run_id", run_id.as_str());
    span.record("account", account.as_str());
    span.record("bucket", bucket.as_str());
}

/// How often a message was received, this time included.
fn receives(message: &SqsMessage) -> u32 {
    message
        .attributes
        .get("ApproximateReceiveCount")
        .and_then(|count| count.parse().ok())
        .unwrap_or(1)
}
