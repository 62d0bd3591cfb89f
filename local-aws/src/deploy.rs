//! Stacks in the embedded CloudFormation: the platform and its member accounts.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use aws_sdk_cloudformation::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata as _},
    types::{Capability, Parameter, Stack, StackStatus},
};
use aws_sdk_s3::{
    operation::create_bucket::CreateBucketError,
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{LocalAws, SECRET_ACCESS_KEY, package, sdk_config};

/// How long a stack may take.
const STACK_TIME: Duration = Duration::from_mins(3);

/// A template and where it goes.
#[derive(Clone, Copy, Debug)]
pub struct StackSource<'a> {
    /// Account that gets the stack.
    pub account_id: &'a str,
    /// Region that gets the stack.
    pub region: &'a str,
    /// Name of the stack.
    pub name: &'a str,
    /// The template file.
    pub template: &'a Path,
    /// Folder of the functions' binaries: `<task>` or `<task>/bootstrap`.
    pub binaries: Option<&'a Path>,
}

impl LocalAws {
    /// Deploys the platform (`cfn/host.yaml`) into the host account, as the stack `deployment_name`,
    /// and returns the stack's outputs. Repeating it updates the stack.
    pub async fn deploy(
        &self,
        deployment_name: &str,
        repository_root: &Path,
        lambda_binaries: &Path,
        parameters: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let mut parameters = parameters.clone();
        parameters.insert("DeploymentName".to_owned(), deployment_name.to_owned());
        // The functions were built for this machine.
        let architecture = if std::env::consts::ARCH == "aarch64" {
            "arm64"
        } else {
            "x86_64"
        };
        parameters
            .entry("Architecture".to_owned())
            .or_insert_with(|| architecture.to_owned());
        let template = repository_root.join("cfn/host.yaml");
        let source = StackSource {
            account_id: &self.host_account_id,
            region: &self.region,
            name: deployment_name,
            template: &template,
            binaries: Some(lambda_binaries),
        };
        self.deploy_stack(source, &parameters).await
    }

    /// Makes an account a member: deploys `cfn/member-account.yaml` in it, as the stack
    /// `<deployment name>-member`. Repeating it updates the stack.
    pub async fn add_member(
        &self,
        account_id: &str,
        deployment_name: &str,
        external_id: Option<&str>,
        repository_root: &Path,
    ) -> Result<BTreeMap<String, String>> {
        let mut parameters = BTreeMap::from([
            ("DeploymentName".to_owned(), deployment_name.to_owned()),
            ("HostAccountId".to_owned(), self.host_account_id.clone()),
        ]);
        if let Some(external_id) = external_id {
            parameters.insert("ExternalId".to_owned(), external_id.to_owned());
        }
        let name = format!("{deployment_name}-member");
        let template = repository_root.join("cfn/member-account.yaml");
        let source = StackSource {
            account_id,
            region: &self.region,
            name: &name,
            template: &template,
            binaries: None,
        };
        self.deploy_stack(source, &parameters).await
    }

    /// Creates or updates any stack and returns its outputs. Parameters the template does not
    /// have are an error, as in CloudFormation. What is uploaded for it is removed afterwards.
    pub async fn deploy_stack(
        &self,
        source: StackSource<'_>,
        parameters: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>> {
        let config = self.sdk_config(source.account_id, source.region);
        // Past the Inventory service: packages are large, and it has nothing to do with them.
        let credentials = aws_credential_types::Credentials::new(
            source.account_id,
            SECRET_ACCESS_KEY,
            None,
            None,
            "embedded",
        );
        let s3 = aws_sdk_s3::Client::new(&sdk_config(
            &self.endpoint_url,
            None,
            aws_credential_types::provider::SharedCredentialsProvider::new(credentials),
            source.region,
        ));
        let artifacts = format!(
            "{}-artifacts-{}-{}",
            source.name, source.account_id, source.region
        );
        let (template, binaries, bucket) = (
            source.template.to_owned(),
            source.binaries.map(Path::to_owned),
            artifacts.clone(),
        );
        let packaged = tokio::task::spawn_blocking(move || {
            package::package(&template, binaries.as_deref(), &bucket)
        })
        .await??;

        let upload = Upload {
            s3,
            bucket: artifacts,
            region: source.region,
        };
        upload.make_bucket().await?;
        let deployed = async {
            let template_url = upload.all(&packaged, &self.endpoint_url).await?;
            let request = Request {
                client: &Client::new(&config),
                name: source.name,
                template_url: &template_url,
                parameters: parameter_list(parameters),
            };
            request.create_or_update().await
        }
        .await;
        // Also after a failure: left behind, it would be a source bucket like any other.
        let removed = upload.remove_bucket(&packaged).await;
        let outputs = deployed.with_context(|| {
            format!(
                "deploying the stack {} in {}",
                source.name, source.account_id
            )
        })?;
        removed?;
        Ok(outputs)
    }
}

/// The bucket for packages and template, for as long as the deployment takes.
struct Upload<'a> {
    s3: aws_sdk_s3::Client,
    bucket: String,
    region: &'a str,
}

const TEMPLATE_KEY: &str = "template.json";

impl Upload<'_> {
    async fn make_bucket(&self) -> Result<()> {
        let place = (self.region != "us-east-1").then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(self.region))
                .build()
        });
        let made = self
            .s3
            .create_bucket()
            .bucket(&self.bucket)
            .set_create_bucket_configuration(place)
            .send()
            .await;
        match made {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(CreateBucketError::is_bucket_already_owned_by_you) =>
            {
                Err(error).with_context(|| format!("making the bucket {}", self.bucket))
            }
            _ => Ok(()),
        }
    }

    async fn all(&self, packaged: &package::Packaged, endpoint_url: &str) -> Result<String> {
        let upload = |(key, path): (&String, &std::path::PathBuf)| {
            let (key, path) = (key.clone(), path.clone());
            async move {
                let body = ByteStream::from_path(&path)
                    .await
                    .with_context(|| format!("reading {}", path.display()))?;
                let put = self
                    .s3
                    .put_object()
                    .bucket(&self.bucket)
                    .key(&key)
                    .body(body)
                    .send()
                    .await;
                put.with_context(|| format!("uploading {key}"))?;
                anyhow::Ok(())
            }
        };
        stream::iter(packaged.packages.iter().map(upload))
            .buffer_unordered(4)
            .try_collect::<()>()
            .await?;
        let template = ByteStream::from(serde_json::to_vec(&packaged.template)?);
        self.s3
            .put_object()
            .bucket(&self.bucket)
            .key(TEMPLATE_KEY)
            .body(template)
            .send()
            .await?;
        Ok(format!("{endpoint_url}/{}/{TEMPLATE_KEY}", self.bucket))
    }

    async fn remove_bucket(&self, packaged: &package::Packaged) -> Result<()> {
        for key in packaged
            .packages
            .keys()
            .map(String::as_str)
            .chain([TEMPLATE_KEY])
        {
            self.s3
                .delete_object()
                .bucket(&self.bucket)
                .key(key)
                .send()
                .await?;
        }
        self.s3.delete_bucket().bucket(&self.bucket).send().await?;
        Ok(())
    }
}

struct Request<'a> {
    client: &'a Client,
    name: &'a str,
    template_url: &'a str,
    parameters: Vec<Parameter>,
}

impl Request<'_> {
    async fn create_or_update(&self) -> Result<BTreeMap<String, String>> {
        let capabilities = vec![
            Capability::CapabilityIam,
            Capability::CapabilityNamedIam,
            Capability::CapabilityAutoExpand,
        ];
        match self.find().await? {
            // A stack that was never whole can only be made again.
            Some(stack) if is_unusable(&stack) => {
                self.client
                    .delete_stack()
                    .stack_name(self.name)
                    .send()
                    .await?;
                self.wait().await?;
                self.create(capabilities).await?;
            }
            Some(_) => {
                let updated = self
                    .client
                    .update_stack()
                    .stack_name(self.name)
                    .template_url(self.template_url)
                    .set_parameters(Some(self.parameters.clone()))
                    .set_capabilities(Some(capabilities))
                    .send()
                    .await;
                match updated {
                    Ok(_) => {}
                    Err(error)
                        if error
                            .message()
                            .is_some_and(|text| text.contains("No updates")) => {}
                    Err(error) => bail!("updating: {}", DisplayErrorContext(error)),
                }
            }
            None => self.create(capabilities).await?,
        }
        let stack = self.wait().await?.context("the stack is gone")?;
        if !is_whole(&stack) {
            bail!("{}{}", describe(&stack), self.failures().await?);
        }
        let outputs = stack.outputs().iter();
        Ok(outputs
            .filter_map(|output| {
                Some((
                    output.output_key()?.to_owned(),
                    output.output_value()?.to_owned(),
                ))
            })
            .collect())
    }

    async fn create(&self, capabilities: Vec<Capability>) -> Result<()> {
        self.client
            .create_stack()
            .stack_name(self.name)
            .template_url(self.template_url)
            .set_parameters(Some(self.parameters.clone()))
            .set_capabilities(Some(capabilities))
            .send()
            .await
            .map_err(|error| anyhow::anyhow!("creating: {}", DisplayErrorContext(error)))?;
        Ok(())
    }

    async fn find(&self) -> Result<Option<Stack>> {
        match self
            .client
            .describe_stacks()
            .stack_name(self.name)
            .send()
            .await
        {
            Ok(found) => Ok(found.stacks().first().cloned()),
            Err(error)
                if error
                    .message()
                    .is_some_and(|text| text.contains("does not exist")) =>
            {
                Ok(None)
            }
            Err(error) => bail!("describing: {}", DisplayErrorContext(error)),
        }
    }

    /// The stack once nothing is in progress any more; `None` when it is gone.
    async fn wait(&self) -> Result<Option<Stack>> {
        let deadline = Instant::now() + STACK_TIME;
        loop {
            let stack = self.find().await?;
            match &stack {
                Some(found) if status(found).ends_with("_IN_PROGRESS") => {}
                Some(found) if found.stack_status() == Some(&StackStatus::DeleteComplete) => {
                    return Ok(None);
                }
                _ => return Ok(stack),
            }
            if Instant::now() > deadline {
                bail!(
                    "it is still in progress after {} seconds",
                    STACK_TIME.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A line for each resource that failed, first failure first.
    async fn failures(&self) -> Result<String> {
        let events = self
            .client
            .describe_stack_events()
            .stack_name(self.name)
            .send()
            .await?;
        let mut lines: Vec<String> = events
            .stack_events()
            .iter()
            .filter(|event| {
                event
                    .resource_status()
                    .is_some_and(|status| status.as_str().ends_with("_FAILED"))
            })
            .map(|event| {
                format!(
                    "\n  {} ({}): {}",
                    event.logical_resource_id().unwrap_or("?"),
                    event.resource_type().unwrap_or("?"),
                    event.resource_status_reason().unwrap_or("no reason given")
                )
            })
            .collect();
        lines.reverse();
        Ok(lines.concat())
    }
}

fn status(stack: &Stack) -> &str {
    stack.stack_status().map_or("", StackStatus::as_str)
}

fn is_whole(stack: &Stack) -> bool {
    matches!(
        stack.stack_status(),
        Some(StackStatus::CreateComplete | StackStatus::UpdateComplete)
    )
}

fn is_unusable(stack: &Stack) -> bool {
    matches!(
        stack.stack_status(),
        Some(
            StackStatus::CreateFailed
                | StackStatus::RollbackComplete
                | StackStatus::RollbackFailed
                | StackStatus::DeleteFailed
        )
    )
}

fn describe(stack: &Stack) -> String {
    let reason = stack
        .stack_status_reason()
        .map(|reason| format!(", {reason}"))
        .unwrap_or_default();
    format!("the stack is {}{reason}", status(stack))
}

fn parameter_list(parameters: &BTreeMap<String, String>) -> Vec<Parameter> {
    let one = |(key, value): (&String, &String)| {
        Parameter::builder()
            .parameter_key(key)
            .parameter_value(value)
            .build()
    };
    parameters.iter().map(one).collect()
}
