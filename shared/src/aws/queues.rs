//! The queues that reports come through: one message per notification, then one per file.

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use futures::{StreamExt, TryStreamExt};

use super::{AwsError, Class, Clients};
use crate::dead_letter::REPLAY_OF;

/// Messages SQS takes in one request.
const BATCH: usize = 10;
/// Requests under way at once where many messages are sent.
const CONCURRENCY: usize = 20;

impl Clients {
    /// Has a message received again after some seconds instead of the queue's visibility timeout.
    pub async fn delay_message(
        &self,
        queue_url: &str,
        receipt: &str,
        seconds: i32,
    ) -> Result<(), AwsError> {
        self.sqs
            .change_message_visibility()
            .queue_url(queue_url)
            .receipt_handle(receipt)
            .visibility_timeout(seconds)
            .send()
            .await
            .map_err(|error| AwsError::new("ChangeMessageVisibility", &error))?;
        Ok(())
    }

    /// Sends a message again that was given up under the id `replay_of`.
    pub async fn send_replay(
        &self,
        queue_url: &str,
        body: &str,
        replay_of: &str,
    ) -> Result<(), AwsError> {
        let attribute = MessageAttributeValue::builder()
            .data_type("String")
            .string_value(replay_of)
            .build()
            .expect("the type is set");
        self.sqs
            .send_message()
            .queue_url(queue_url)
            .message_body(body)
            .message_attributes(REPLAY_OF, attribute)
            .send()
            .await
            .map_err(|error| AwsError::new("SendMessage", &error))?;
        Ok(())
    }

    /// Sends messages in any order; on an error some may have been sent.
    pub async fn send_messages(&self, queue_url: &str, bodies: &[String]) -> Result<(), AwsError> {
        futures::stream::iter(bodies.chunks(BATCH))
            .map(|batch| self.send_batch(queue_url, batch))
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    async fn send_batch(&self, queue_url: &str, bodies: &[String]) -> Result<(), AwsError> {
        let entries = bodies
            .iter()
            .enumerate()
            .map(|(index, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .build()
                    .expect("id and body are set")
            })
            .collect();
        let answer = self
            .sqs
            .send_message_batch()
            .queue_url(queue_url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| AwsError::new("SendMessageBatch", &error))?;
        // SQS answers 200 also when single messages were not taken.
        let Some(failed) = answer.failed().first() else {
            return Ok(());
        };
        Err(AwsError {
            operation: "SendMessageBatch".into(),
            code: failed.code().to_owned(),
            message: failed.message().unwrap_or_default().to_owned(),
            class: Class::Unavailable,
        })
    }
}
