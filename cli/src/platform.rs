//! The deployed platform, found by its CloudFormation stack.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use shared::aws::{AwsError, Clients, Execution, RunTable};
use shared::dead_letter::Queue;
use shared::ids::BucketName;
use shared::naming;
use shared::run::Run;
use shared::summary::{Records, Setting, Summary};

use crate::trouble::Trouble;

/// A deployed platform.
#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) clients: Clients,
    /// ARN of the machine that takes a snapshot.
    pub(crate) harvester: String,
    /// ARN of the machine that removes what runs left behind.
    pub(crate) cleanup: String,
    run_table: String,
    notification_queue_url: String,
    file_queue_url: String,
    setting: Setting,
}

impl Platform {
    /// The platform that the ordinary AWS environment leads to.
    pub(crate) async fn from_environment(stack: &str) -> Result<Self> {
        let clients = Clients::from_environment().await;
        if !clients.has_region() {
            return Err(Trouble::failed("no Region is set")
                .hint("set AWS_REGION to the Region of the platform, or choose a profile that has one")
                .into());
        }
        Self::find(clients, stack).await
    }

    /// The platform deployed as a stack in the Region of the clients.
    pub(crate) async fn find(clients: Clients, stack: &str) -> Result<Self> {
        let region = clients.region();
        let Some(found) = clients.stack(&region, stack).await? else {
            return Err(Trouble::failed(format!("there is no stack {stack} in {region}"))
                .hint("name the platform's stack with --stack or S3INSIGHTS_STACK, and its Region with AWS_REGION")
                .into());
        };
        Self::of_outputs(clients, stack, &found.outputs)
    }

    fn of_outputs(
        clients: Clients,
        stack: &str,
        outputs: &BTreeMap<String, String>,
    ) -> Result<Self> {
        let output = |name: &str| {
            outputs.get(name).filter(|value| !value.is_empty()).cloned().ok_or_else(|| {
                Trouble::failed(format!("the stack {stack} has no output {name}")).hint(
                    "name the stack of cfn/host.yaml; while it is being deployed it has no outputs yet",
                )
            })
        };
        let bucket = output("ConsolidatedBucketName")?;
        Ok(Self {
            harvester: output("HarvesterStateMachineArn")?,
            cleanup: output("CleanupStateMachineArn")?,
            run_table: output("RunTableName")?,
            notification_queue_url: output("NotificationQueueUrl")?,
            file_queue_url: output("FileQueueUrl")?,
            setting: Setting {
                host_region: clients.region(),
                consolidated_bucket: BucketName::try_from(bucket)?,
                work_group: output("AthenaWorkGroupName")?,
            },
            clients,
        })
    }

    /// The run table.
    pub(crate) fn runs(&self) -> RunTable<'_> {
        self.clients.run_table(&self.run_table)
    }

    /// An execution; `None` when Step Functions does not know it (any more).
    pub(crate) async fn execution(&self, arn: &str) -> Result<Option<Execution>, AwsError> {
        match self.clients.execution(arn).await {
            Ok(execution) => Ok(Some(execution)),
            Err(error) if error.code == "ExecutionDoesNotExist" || error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The summary of a run as of now.
    pub(crate) async fn summary(&self, run: &Run) -> Result<Summary> {
        let parts = self.runs().parts(&run.run_id).await?;
        let totals = self.stored(&naming::run_totals_key(&run.run_id)).await?;
        let earlier = self.runs().earlier(run).await?;
        let records = Records {
            run,
            parts: &parts,
            totals: totals.as_ref(),
            earlier: earlier.as_ref().map(|(run, parts)| (run, parts)),
        };
        Ok(Summary::build(records, &self.setting))
    }

    /// An object of the consolidated bucket; `None` when there is none.
    pub(crate) async fn object(&self, key: &str) -> Result<Option<Bytes>, AwsError> {
        let objects = self.clients.objects(&self.setting.host_region);
        objects.get(&self.setting.consolidated_bucket, key).await
    }

    /// All objects of the consolidated bucket under a prefix, with their keys.
    pub(crate) async fn objects_under(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, Bytes)>, AwsError> {
        let objects = self.clients.objects(&self.setting.host_region);
        let bucket = &self.setting.consolidated_bucket;
        let keys = objects.list(bucket, prefix).await?;
        objects.get_many(bucket, &keys).await
    }

    /// Writes a JSON document into the consolidated bucket.
    pub(crate) async fn store(&self, key: &str, document: Vec<u8>) -> Result<(), AwsError> {
        let objects = self.clients.objects(&self.setting.host_region);
        let bucket = &self.setting.consolidated_bucket;
        objects
            .put(bucket, key, "application/json", document.into())
            .await
    }

    /// A queue that the platform works on.
    pub(crate) fn queue_url(&self, queue: Queue) -> &str {
        match queue {
            Queue::Notifications => &self.notification_queue_url,
            Queue::Files => &self.file_queue_url,
        }
    }

    /// A document of the consolidated bucket; `None` when there is none.
    pub(crate) async fn stored<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(body) = self.object(key).await? else {
            return Ok(None);
        };
        let document = serde_json::from_slice(&body).with_context(|| format!("reading {key}"))?;
        Ok(Some(document))
    }
}
