//! Keeps messages that a queue gave up as files in the consolidated bucket, each with the reason, so
//! that they outlive the 14 days of the dead-letter queue and can be replayed.
//!
//! A message is acknowledged when its file is there; if it cannot be kept, it stays in its dead-letter
//! queue.
//!
//! May be repeated: a message has one key, and the file that is there stays, with the replays that are
//! noted in it.

use std::sync::Arc;

use bytes::Bytes;
use shared::dead_letter::{DeadLetter, DeadMessage, Queue, REPLAY_OF};
use shared::error::TaskError;
use shared::metrics::Metric;

use crate::Platform;
use crate::queue::{self, SqsBatchResponse, SqsEvent, SqsMessage};

/// Works on a batch of messages of either dead-letter queue.
///
/// # Errors
/// None for the batch: a message that cannot be kept goes back to the queue alone.
pub async fn handle(
    platform: Arc<Platform>,
    event: SqsEvent,
) -> Result<SqsBatchResponse, TaskError> {
    Ok(queue::each(event, async |message| keep(&platform, message).await).await)
}

async fn keep(platform: &Platform, message: &SqsMessage) -> Result<(), TaskError> {
    let settings = &platform.settings;
    let source = &message.event_source_arn;
    let queue = Queue::of_dead_letters(&settings.deployment, source).ok_or_else(|| {
        TaskError::Internal(format!(
            "{source} is no dead-letter queue of the deployment"
        ))
    })?;
    let failure = platform.runs().message_failure(&message.message_id).await?;
    let replay_of = message.message_attributes.get(REPLAY_OF);
    let dead = DeadMessage {
        id: &message.message_id,
        body: &message.body,
        attributes: &message.attributes,
        replay_of: replay_of.and_then(|attribute| attribute.string_value.as_deref()),
    };
    let letter = DeadLetter::new(
        &settings.deployment,
        queue,
        dead,
        failure,
        platform.clients.now(),
    );
    if let (Some(run_id), Some(account), Some(bucket)) =
        (&letter.run_id, &letter.account_id, &letter.bucket)
    {
        platform
            .runs()
            .record_dead_letter(run_id, account, bucket, &letter.reason)
            .await?;
    }
    let key = letter.key();
    let document = Bytes::from(letter.document());
    let is_new = platform
        .consolidated()
        .put_new(
            &settings.consolidated_bucket,
            &key,
            "application/json",
            document,
        )
        .await?;
    if is_new {
        platform.measure(letter.run_id.as_ref(), &[Metric::DeadLetters(1)]);
        tracing::error!(
            run_id = letter.run_id.as_ref().map(tracing::field::display),
            queue = %queue,
            bucket = letter.bucket.as_ref().map(tracing::field::display),
            reason = letter.reason.code,
            missing_permission = letter.reason.missing_permission,
            error = letter.reason.message,
            key,
            "dead letter kept"
        );
    }
    Ok(())
}
