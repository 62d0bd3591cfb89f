//! Messages that fail, on record: why they went back to their queue, which keeps no reason itself.

use std::collections::HashMap;
use std::time::Duration;

use super::{AwsError, Item, RunTable, bucket_key_of, coding, decode, held, key, number, text};
use crate::dead_letter::MessageFailure;
use crate::ids::{AccountId, BucketName, RunId};
use crate::status::Reason;

/// How long a failure is on record: twice the 14 days that a queue keeps a message.
const KEPT: Duration = Duration::from_hours(28 * 24);

impl RunTable<'_> {
    /// Records why a message went back to its queue, in place of an earlier reason.
    pub async fn record_message_failure(
        &self,
        message_id: &str,
        failure: &MessageFailure,
    ) -> Result<(), AwsError> {
        let expires_at = (failure.failed_at + KEPT).as_second();
        self.client
            .update_item()
            .table_name(self.name)
            .set_key(Some(message_key(message_id)))
            .update_expression("SET failure = :failure, expires_at = :expires_at")
            .expression_attribute_values(
                ":failure",
                serde_dynamo::to_attribute_value(failure).map_err(coding)?,
            )
            .expression_attribute_values(":expires_at", number(expires_at))
            .send()
            .await
            .map_err(|error| AwsError::new("UpdateItem of message", &error))?;
        Ok(())
    }

    /// Why a message went back to its queue the last time; `None` when that was not recorded.
    pub async fn message_failure(
        &self,
        message_id: &str,
    ) -> Result<Option<MessageFailure>, AwsError> {
        #[derive(serde::Deserialize)]
        struct Message {
            failure: MessageFailure,
        }
        let answer = self
            .client
            .get_item()
            .table_name(self.name)
            .set_key(Some(message_key(message_id)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new("GetItem of message", &error))?;
        let message: Option<Message> = answer.item.map(decode).transpose()?;
        Ok(message.map(|message| message.failure))
    }

    /// Remembers that a message about a bucket was given up. A bucket that is not on record has
    /// nothing to remember.
    pub async fn record_dead_letter(
        &self,
        run_id: &RunId,
        account: &AccountId,
        bucket: &BucketName,
        reason: &Reason,
    ) -> Result<(), AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key_of(account, bucket))))
            .update_expression("SET dead_letter = :reason")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(
                ":reason",
                serde_dynamo::to_attribute_value(reason).map_err(coding)?,
            )
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new("UpdateItem of bucket", &error))).map(|_| ())
    }
}

fn message_key(message_id: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(&format!("message#{message_id}"))),
        ("sk".to_owned(), text("failure")),
    ])
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_failure_outlives_the_message_in_both_queues() {
        let failed_at: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let expires_at = (failed_at + KEPT).to_string();
        assert_eq!(expires_at, "2026-03-29T00:00:00Z");
    }
}
