//! SQS.

use real_shared::aws::AwsError;

use super::Clients;
use crate::queues;

impl Clients {
    /// Sends messages, ten at a time.
    pub async fn send_messages(&self, queue_url: &str, bodies: &[String]) -> Result<(), AwsError> {
        let queue = queues::of_url(queue_url);
        for chunk in bodies.chunks(10) {
            self.world
                .request(
                    "SendMessageBatch",
                    || format!("{queue} {chunk:?}"),
                    |state| {
                        for body in chunk {
                            queues::send(state, queue, body, None);
                        }
                        Ok(())
                    },
                )
                .await?;
        }
        Ok(())
    }

    /// Has a message come again after some seconds.
    pub async fn delay_message(
        &self,
        queue_url: &str,
        receipt: &str,
        seconds: i32,
    ) -> Result<(), AwsError> {
        let queue = queues::of_url(queue_url);
        let id: u64 = receipt.parse().expect("receipts are numbers here");
        self.world
            .request(
                "ChangeMessageVisibility",
                || format!("{receipt} {seconds} s"),
                |state| {
                    let time = state.now + i64::from(seconds);
                    queues::delay(state, queue, id, time);
                    Ok(())
                },
            )
            .await
    }
}
