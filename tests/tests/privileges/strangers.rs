//! What an inventory destination and the notification queue take, and from whom. The policies are those of
//! the templates, enforced by the embedded AWS; each refusal stands beside the same act of somebody who may.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    InventoryConfiguration, InventoryDestination, InventoryFormat, InventoryFrequency,
    InventoryIncludedObjectVersions, InventoryS3BucketDestination, InventorySchedule,
    NotificationConfiguration, TopicConfiguration,
};
use aws_sdk_sqs::types::QueueAttributeName;
use local_aws::inventory::Delivery;
use serde_json::Value;
use shared::aws::StackState;
use shared::ids::Region;
use tests::{DEPLOYMENT, NotificationQueue, Platform, test};
use tokio::sync::OnceCell;

use crate::documents::text;
use crate::refused::{code, is_refusal, prepare};

/// An account of the run that the destination is of.
const SOURCE: &str = "530000000021";
/// An account that is not.
const OUTSIDER: &str = "530000000022";
const REGION: &str = "eu-west-1";

const ESTATE: &str = r#"
accounts:
  - id: "530000000021"
    member: false
    buckets:
      - {name: strangers-source, region: eu-west-1, objects: [{key: a, size: 1}]}
  - id: "530000000022"
    member: false
    buckets:
      - {name: strangers-outsider, region: eu-west-1, objects: [{key: a, size: 1}]}
"#;

static BUILT: OnceCell<()> = OnceCell::const_new();

/// Runs first, so that nothing tried here is among the calls of runs; then buckets to try it with.
async fn built(platform: &Platform) -> Result<()> {
    Box::pin(prepare(platform)).await?;
    BUILT
        .get_or_try_init(async || platform.build(ESTATE).await.map(drop))
        .await?;
    Ok(())
}

/// A policy without its refusal of plain HTTP, which is all that the embedded AWS has: so what is refused
/// is refused for nobody allowed it.
fn without_tls(policy: &str) -> Result<String> {
    let mut policy: Value = serde_json::from_str(policy)?;
    let statements = policy["Statement"].as_array_mut().context("statements")?;
    let before = statements.len();
    statements.retain(|statement| statement["Sid"] != "TlsOnly");
    assert_eq!(statements.len(), before - 1, "one statement is about TLS");
    Ok(policy.to_string())
}

/// The destination of a run that nobody started: made of the template, as `create-destination` does. It has
/// no tags, so no Cleanup takes it for one that was left behind.
struct Destination<'a> {
    platform: &'a Platform,
    region: Region,
    stack: String,
    bucket: String,
    topic: String,
}

impl<'a> Destination<'a> {
    async fn make(platform: &'a Platform, run_id: &str) -> Result<Self> {
        let aws = &platform.aws;
        let (host, region) = (&aws.host_account_id, Region::try_from(REGION)?);
        let stack = format!("{DEPLOYMENT}-{run_id}-{region}");
        let queue = format!(
            "arn:aws:sqs:{}:{host}:{DEPLOYMENT}-notifications",
            aws.region
        );
        let parameters = BTreeMap::from([
            ("DeploymentName", DEPLOYMENT.to_owned()),
            ("RunId", run_id.to_owned()),
            ("SourceAccounts", SOURCE.to_owned()),
            ("NotificationQueueArn", queue),
        ]);
        let template = text("cfn/inventory-destination.yaml");
        let clients = &platform.clients;
        clients
            .create_destination_stack(&region, &stack, &template, &parameters, &BTreeMap::new())
            .await?;
        let mut outputs = BTreeMap::new();
        platform
            .eventually("the destination", async || {
                let found = clients.stack(&region, &stack).await?;
                let found = found.context("the stack is being made")?;
                assert_ne!(found.state, StackState::Failed, "{}", found.status);
                outputs = found.outputs.into_iter().collect();
                Ok(found.state == StackState::Complete)
            })
            .await?;
        let mut output = |name: &str| outputs.remove(name).context(name.to_owned());
        let destination = Self {
            platform,
            region,
            stack,
            bucket: output("DestinationBucketName")?,
            topic: output("TopicArn")?,
        };
        destination.forget_tls(host).await?;
        Ok(destination)
    }

    async fn forget_tls(&self, host: &str) -> Result<()> {
        let (s3, sns) = (self.s3(host), self.sns(host));
        let policy = s3.get_bucket_policy().bucket(&self.bucket).send().await?;
        let policy = without_tls(policy.policy().context("the bucket has a policy")?)?;
        s3.put_bucket_policy()
            .bucket(&self.bucket)
            .policy(policy)
            .send()
            .await?;
        let topic = sns.get_topic_attributes().topic_arn(&self.topic);
        let attributes = topic.send().await?;
        let attributes = attributes
            .attributes()
            .context("the topic has attributes")?;
        let policy = without_tls(attributes.get("Policy").context("and a policy")?)?;
        sns.set_topic_attributes()
            .topic_arn(&self.topic)
            .attribute_name("Policy")
            .attribute_value(policy)
            .send()
            .await?;
        Ok(())
    }

    async fn delete(self) -> Result<()> {
        let clients = &self.platform.clients;
        clients.delete_stack(&self.region, &self.stack).await?;
        Ok(())
    }

    /// S3 as the root of an account, in the Region.
    fn s3(&self, account: &str) -> aws_sdk_s3::Client {
        self.platform.s3(account, REGION)
    }

    /// SNS as the root of an account, in the Region.
    fn sns(&self, account: &str) -> aws_sdk_sns::Client {
        aws_sdk_sns::Client::new(&self.platform.aws.sdk_config(account, REGION))
    }

    /// Has S3 report on a bucket into the destination, and tells what came of it.
    async fn report_on(&self, account: &str, bucket: &str) -> Result<Delivery> {
        let destination = InventoryS3BucketDestination::builder()
            .account_id(&self.platform.aws.host_account_id)
            .bucket(format!("arn:aws:s3:::{}", self.bucket))
            .format(InventoryFormat::Parquet)
            .prefix(account)
            .build()?;
        let configuration = InventoryConfiguration::builder()
            .id("mine")
            .is_enabled(true)
            .included_object_versions(InventoryIncludedObjectVersions::All)
            .destination(
                InventoryDestination::builder()
                    .s3_bucket_destination(destination)
                    .build(),
            )
            .schedule(
                InventorySchedule::builder()
                    .frequency(InventoryFrequency::Daily)
                    .build()?,
            )
            .build()?;
        self.s3(account)
            .put_bucket_inventory_configuration()
            .bucket(bucket)
            .id("mine")
            .inventory_configuration(configuration)
            .send()
            .await?;
        let mut deliveries = Vec::new();
        self.platform
            .eventually(&format!("what came of {bucket}"), async || {
                deliveries = self.platform.aws.deliveries(bucket).await?;
                Ok(!deliveries.is_empty())
            })
            .await?;
        deliveries.pop().context("there is one")
    }

    /// Has S3 tell the topic of what comes into a bucket; gives the code of the refusal.
    async fn notify_of(&self, account: &str, bucket: &str) -> Option<String> {
        let topic = TopicConfiguration::builder()
            .topic_arn(&self.topic)
            .events("s3:ObjectCreated:*".into())
            .build()
            .expect("topic and events are set");
        let notifications = NotificationConfiguration::builder()
            .topic_configurations(topic)
            .build();
        let put = self
            .s3(account)
            .put_bucket_notification_configuration()
            .bucket(bucket)
            .notification_configuration(notifications);
        code(put.send().await)
    }
}

#[test]
fn a_destination_takes_nothing_but_reports_of_the_accounts_of_its_run() {
    test(async |platform| {
        Box::pin(built(platform)).await?;
        let destination = Destination::make(platform, "strangersbucket").await?;
        let bucket = destination.bucket.as_str();

        // Nobody of another account reads or writes, whether the run is over it or not.
        for account in [SOURCE, OUTSIDER] {
            let s3 = destination.s3(account);
            let key = format!("{SOURCE}/strangers-source/forged/manifest.checksum");
            let body = ByteStream::from_static(b"x");
            let put = s3.put_object().bucket(bucket).key(&key).body(body);
            let codes = [
                ("PutObject", code(put.send().await)),
                (
                    "GetObject",
                    code(s3.get_object().bucket(bucket).key(&key).send().await),
                ),
                (
                    "DeleteObject",
                    code(s3.delete_object().bucket(bucket).key(&key).send().await),
                ),
                (
                    "ListBucket",
                    code(s3.list_objects_v2().bucket(bucket).send().await),
                ),
                (
                    "PutBucketPolicy",
                    code(
                        s3.put_bucket_policy()
                            .bucket(bucket)
                            .policy("{}")
                            .send()
                            .await,
                    ),
                ),
            ];
            for (call, code) in codes {
                assert!(is_refusal(code.as_deref()), "{account} {call}: {code:?}");
            }
        }

        // S3 delivers for an account of the run, and for no other, though it takes the configuration.
        let refused = destination
            .report_on(OUTSIDER, "strangers-outsider")
            .await?;
        assert!(
            refused.keys.is_empty() && refused.reason.is_some(),
            "{refused:?}"
        );
        let delivered = destination.report_on(SOURCE, "strangers-source").await?;
        assert_eq!(delivered.reason, None);
        let host = destination.s3(&platform.aws.host_account_id);
        let listed = host.list_objects_v2().bucket(bucket).send().await?;
        let delivered_for_source = listed
            .contents()
            .iter()
            .filter(|object| object.key().is_some_and(|key| key.starts_with(SOURCE)));
        assert_eq!(delivered_for_source.count(), delivered.keys.len());
        assert_eq!(listed.contents().len(), delivered.keys.len());
        destination.delete().await
    });
}

#[test]
fn a_topic_takes_nothing_but_what_its_bucket_tells() {
    test(async |platform| {
        Box::pin(built(platform)).await?;
        let destination = Destination::make(platform, "strangerstopic").await?;
        let forged = r#"{"Records":[]}"#;
        for account in [SOURCE, OUTSIDER] {
            let sns = destination.sns(account);
            let topic = &destination.topic;
            let published = sns.publish().topic_arn(topic).message(forged).send().await;
            let code = code(published);
            assert!(is_refusal(code.as_deref()), "{account}: {code:?}");
        }
        let host = platform.aws.host_account_id.as_str();
        let own = destination
            .sns(host)
            .publish()
            .topic_arn(&destination.topic);
        assert_eq!(code(own.message(forged).send().await), None);
        // Neither a bucket of another account nor another one of the host account.
        let other = "strangers-beside";
        destination
            .s3(host)
            .create_bucket()
            .bucket(other)
            .create_bucket_configuration(
                aws_sdk_s3::types::CreateBucketConfiguration::builder()
                    .location_constraint(REGION.into())
                    .build(),
            )
            .send()
            .await?;
        for (account, bucket) in [(OUTSIDER, "strangers-outsider"), (host, other)] {
            let code = destination.notify_of(account, bucket).await;
            assert!(code.is_some(), "{bucket} may tell the topic");
        }
        assert_eq!(destination.notify_of(host, &destination.bucket).await, None);
        destination.delete().await
    });
}

/// A queue with the policy of the notification queue and nobody that works on it, so that what it takes
/// is to be seen.
struct Probe {
    sqs: aws_sdk_sqs::Client,
    url: String,
    arn: String,
}

impl Probe {
    async fn make(platform: &Platform) -> Result<Self> {
        let aws = &platform.aws;
        let sqs = aws_sdk_sqs::Client::new(&aws.sdk_config(&aws.host_account_id, &aws.region));
        let name = "strangers-probe";
        let made = sqs.create_queue().queue_name(name).send().await?;
        let url = made.queue_url().context("it has an address")?.to_owned();
        let arn = format!("arn:aws:sqs:{}:{}:{name}", aws.region, aws.host_account_id);
        let policy = without_tls(&NotificationQueue::new(platform).policy().await?)?;
        let policy = policy.replace(&format!("{DEPLOYMENT}-notifications"), name);
        assert!(policy.contains(&arn), "{policy}");
        sqs.set_queue_attributes()
            .queue_url(&url)
            .attributes(QueueAttributeName::Policy, policy)
            .send()
            .await?;
        Ok(Self { sqs, url, arn })
    }

    /// Has a topic tell the queue, raw, and publishes a message to it.
    async fn publish(&self, sns: &aws_sdk_sns::Client, topic: &str, message: &str) -> Result<()> {
        let made = sns.create_topic().name(topic).send().await?;
        let arn = made.topic_arn().context("a topic has an ARN")?;
        sns.subscribe()
            .topic_arn(arn)
            .protocol("sqs")
            .endpoint(&self.arn)
            .attributes("RawMessageDelivery", "true")
            .send()
            .await?;
        sns.publish().topic_arn(arn).message(message).send().await?;
        Ok(())
    }

    /// The next message, which has to come.
    async fn next(&self, platform: &Platform) -> Result<String> {
        let mut body = None;
        platform
            .eventually("a message", async || {
                let received = self
                    .sqs
                    .receive_message()
                    .queue_url(&self.url)
                    .send()
                    .await?;
                if let Some(message) = received.messages().first() {
                    let receipt = message.receipt_handle().unwrap_or_default();
                    let delete = self.sqs.delete_message().queue_url(&self.url);
                    delete.receipt_handle(receipt).send().await?;
                    body = message.body().map(str::to_owned);
                }
                Ok(body.is_some())
            })
            .await?;
        body.context("it has a body")
    }
}

#[test]
fn the_queue_takes_nothing_but_what_topics_of_the_deployment_tell() {
    test(async |platform| {
        Box::pin(prepare(platform)).await?;
        let aws = &platform.aws;
        let probe = Probe::make(platform).await?;
        let config = |account: &str| aws.sdk_config(account, &aws.region);
        let sns = |account: &str| aws_sdk_sns::Client::new(&config(account));
        let host = aws.host_account_id.as_str();
        let ours = format!("{DEPLOYMENT}-probe");

        // The queue itself, by its address with the owner in it and without.
        let stranger = aws_sdk_sqs::Client::new(&config(OUTSIDER));
        let sent = stranger
            .send_message()
            .queue_url(&probe.url)
            .message_body("direct");
        let error = sent.send().await.expect_err("a stranger may not send");
        assert!(error.code().is_some(), "{error:?}");
        // A topic of ours by name, in another account.
        probe
            .publish(&sns(OUTSIDER), &ours, "of another account")
            .await?;
        // Topics of the host account that are none of a run.
        probe
            .publish(&sns(host), "other-topic", "of another name")
            .await?;
        let near = format!("{DEPLOYMENT}2-probe");
        probe
            .publish(&sns(host), &near, "of another deployment")
            .await?;

        // What was refused would stand before what is taken.
        probe.publish(&sns(host), &ours, "ours").await?;
        assert_eq!(probe.next(platform).await?, "ours");
        let rest = probe
            .sqs
            .receive_message()
            .queue_url(&probe.url)
            .send()
            .await?;
        assert_eq!(rest.messages(), []);
        Ok(())
    });
}
