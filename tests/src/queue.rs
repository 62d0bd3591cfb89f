//! The queues of the platform, as their owner sees them.

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
        is_worked_off(self.platform, &self.client, self.url).await
    }

    async fn attributes<const N: usize>(
        &self,
        names: [QueueAttributeName; N],
    ) -> Result<[Option<String>; N]> {
        attributes(&self.client, self.url, names).await
    }
}

/// The queue with a message for each file.
#[derive(Debug)]
pub struct FileQueue<'a>(&'a Platform);

impl<'a> FileQueue<'a> {
    /// The queue as the root of the host account.
    pub fn new(platform: &'a Platform) -> Self {
        Self(platform)
    }

    fn client(&self) -> Client {
        let aws = &self.0.aws;
        Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region))
    }

    /// Sends messages, one after the other.
    pub async fn send(&self, bodies: &[String]) -> Result<()> {
        let client = self.client();
        for body in bodies {
            let message = client.send_message();
            let message = message.queue_url(self.0.output("FileQueueUrl"));
            message.message_body(body).send().await?;
        }
        Ok(())
    }

    /// Waits until no message is waiting or being worked on.
    pub async fn is_worked_off(&self) -> Result<()> {
        is_worked_off(self.0, &self.client(), self.0.output("FileQueueUrl")).await
    }
}

async fn is_worked_off(platform: &Platform, client: &Client, url: &str) -> Result<()> {
    let counts = [
        QueueAttributeName::ApproximateNumberOfMessages,
        QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        QueueAttributeName::ApproximateNumberOfMessagesDelayed,
    ];
    platform
        .eventually("the end of all messages", async || {
            let left = attributes(client, url, counts.clone()).await?;
            Ok(left.iter().all(|count| count.as_deref() == Some("0")))
        })
        .await
}

async fn attributes<const N: usize>(
    client: &Client,
    url: &str,
    names: [QueueAttributeName; N],
) -> Result<[Option<String>; N]> {
    let answer = client
        .get_queue_attributes()
        .queue_url(url)
        .set_attribute_names(Some(names.to_vec()))
        .send()
        .await?;
    Ok(names.map(|name| answer.attributes()?.get(&name).cloned()))
}
