//! The queue through which S3 tells of delivered reports, as its owner sees it.

use anyhow::{Context, Result};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName;

use crate::Platform;

/// The notification queue of the platform.
#[derive(Debug)]
pub struct NotificationQueue<'a> {
    platform: &'a Platform,
    client: Client,
    url: &'a str,
}

impl<'a> NotificationQueue<'a> {
    /// The queue as the root of the host account.
    pub fn new(platform: &'a Platform) -> Self {
        let aws = &platform.aws;
        let config = aws.sdk_config(&aws.host_account_id, &aws.region);
        Self {
            platform,
            client: Client::new(&config),
            url: platform.output("NotificationQueueUrl"),
        }
    }

    /// Its policy.
    pub async fn policy(&self) -> Result<String> {
        let [policy] = self.attributes([QueueAttributeName::Policy]).await?;
        policy.context("the queue has a policy")
    }

    /// Gives it another policy.
    pub async fn set_policy(&self, policy: &str) -> Result<()> {
        self.client
            .set_queue_attributes()
            .queue_url(self.url)
            .attributes(QueueAttributeName::Policy, policy)
            .send()
            .await?;
        Ok(())
    }

    /// Sends messages, one after the other.
    pub async fn send(&self, bodies: &[String]) -> Result<()> {
        for body in bodies {
            let message = self.client.send_message().queue_url(self.url);
            message.message_body(body).send().await?;
        }
        Ok(())
    }

    /// Waits until no message is waiting or being worked on.
    pub async fn is_worked_off(&self) -> Result<()> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        self.platform
            .eventually("the end of all messages", async || {
                let left = self.attributes(counts.clone()).await?;
                Ok(left.iter().all(|count| count.as_deref() == Some("0")))
            })
            .await
    }

    async fn attributes<const N: usize>(
        &self,
        names: [QueueAttributeName; N],
    ) -> Result<[Option<String>; N]> {
        let answer = self
            .client
            .get_queue_attributes()
            .queue_url(self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await?;
        Ok(names.map(|name| answer.attributes()?.get(&name).cloned()))
    }
}
