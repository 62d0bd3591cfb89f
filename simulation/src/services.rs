//! What the tasks ask of AWS besides the run table: every function is one request of that name in
//! `shared::aws`, or a few, done to the state of the simulation.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use jiff::Timestamp;
use real_shared::aws::{
    AwsError, Class, Delivery, Emptied, Execution, FoundBucket, FoundStack, Mail, Partition,
    StackState,
};
use real_shared::ids::{AccountId, BucketName, DeploymentName, Region, RunId};
use real_shared::manifest::Md5Hash;
use real_shared::naming;
use real_shared::run_ended::RunEnded;
use real_shared::settings::Settings;
use real_shared::status::Reason;
use serde_json::Value;

use crate::consolidation::ReadAt;
use crate::dynamodb::Client;
use crate::inventory;
use crate::schedule::REGIONS;
use crate::world::{Event, FILES, NOTIFICATIONS, Source, Stack, State, Token, World};

fn error(operation: &str, code: &str, class: Class) -> AwsError {
    AwsError {
        operation: operation.to_owned(),
        code: code.to_owned(),
        message: "simulated".to_owned(),
        class,
    }
}

/// All clients.
#[derive(Debug)]
pub struct Clients {
    pub(crate) world: World,
    pub(crate) store: Client,
}

impl Clients {
    pub(crate) fn new(world: World) -> Self {
        let store = Client {
            world: world.clone(),
        };
        Self { world, store }
    }

    /// The host Region.
    pub fn region(&self) -> Region {
        Region::try_from(REGIONS[0]).expect("it is a Region")
    }

    /// The time of the simulation.
    pub fn now(&self) -> Timestamp {
        self.world.state().timestamp()
    }

    /// The Regions that are enabled.
    pub async fn enabled_regions(&self) -> Result<Vec<Region>, AwsError> {
        let regions = || REGIONS.iter().map(|code| Region::try_from(*code)).collect();
        let regions: Result<Vec<Region>, _> = regions();
        let regions = regions.expect("they are Regions");
        self.world
            .request("ListRegions", String::new, |_| Ok(regions.clone()))
            .await
    }

    // --- SQS ------------------------------------------------------------------------------------

    /// Sends messages, ten at a time.
    pub async fn send_messages(&self, queue_url: &str, bodies: &[String]) -> Result<(), AwsError> {
        let queue = if queue_url == FILES {
            FILES
        } else {
            NOTIFICATIONS
        };
        for chunk in bodies.chunks(10) {
            self.world
                .request(
                    "SendMessageBatch",
                    || format!("{queue} {chunk:?}"),
                    |state| {
                        for body in chunk {
                            state.send(queue, body);
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
        let queue = if queue_url == FILES {
            FILES
        } else {
            NOTIFICATIONS
        };
        let id: u64 = receipt.parse().expect("receipts are numbers here");
        self.world
            .request(
                "ChangeMessageVisibility",
                || format!("{receipt} {seconds} s"),
                |state| {
                    let time = state.now + i64::from(seconds);
                    let messages = state.queues.entry(queue).or_default();
                    if let Some(message) = messages.iter_mut().find(|message| message.id == id) {
                        message.visible_at = time;
                        state.at(time, Event::Wake);
                    }
                    Ok(())
                },
            )
            .await
    }

    // --- Step Functions -------------------------------------------------------------------------

    /// Answers a token, once.
    pub async fn answer_token(&self, token: &str, output: &Value) -> Result<bool, AwsError> {
        self.world
            .request(
                "SendTaskSuccess",
                || format!("{token} {output}"),
                |state| {
                    let answered = match state.tokens.get_mut(token) {
                        Some(token @ Token::Waiting) => {
                            *token = Token::Answered;
                            true
                        }
                        _ => false,
                    };
                    if answered {
                        crate::checks::after_answer(state, token, output);
                    }
                    Ok(answered)
                },
            )
            .await
    }

    /// An execution.
    pub async fn execution(&self, arn: &str) -> Result<Execution, AwsError> {
        self.world
            .request(
                "DescribeExecution",
                || arn.to_owned(),
                |state| match state.executions.get(arn) {
                    Some(known) => Ok(Execution {
                        arn: arn.to_owned(),
                        status: known.status.to_owned(),
                        output: None,
                        error: known.error.as_ref().map(|(error, _)| error.clone()),
                        cause: known.error.as_ref().map(|(_, cause)| cause.clone()),
                        started_at: None,
                        ended_at: None,
                    }),
                    None => Err(error(
                        "DescribeExecution",
                        "ExecutionDoesNotExist",
                        Class::Other,
                    )),
                },
            )
            .await
    }

    // --- CloudFormation -------------------------------------------------------------------------

    /// Starts a stack.
    pub async fn create_destination_stack(
        &self,
        region: &Region,
        name: &str,
        _template: &str,
        parameters: &BTreeMap<&str, String>,
        tags: &BTreeMap<&str, String>,
    ) -> Result<(), AwsError> {
        let key = (region.to_string(), name.to_owned());
        let owned = |pairs: &BTreeMap<&str, String>| {
            let pairs = pairs.iter();
            pairs
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect()
        };
        self.world
            .request(
                "CreateStack",
                || name.to_owned(),
                |state| {
                    if state.stacks.contains_key(&key) {
                        return Ok(());
                    }
                    let generation = state.id();
                    let host = crate::schedule::HOST;
                    let stack = Stack {
                        status: "CREATE_IN_PROGRESS",
                        bucket: format!(
                            "{}-{}-{host}-{region}",
                            parameters["DeploymentName"], parameters["RunId"]
                        ),
                        parameters: owned(parameters),
                        tags: owned(tags),
                        generation,
                    };
                    state.stacks.insert(key.clone(), stack);
                    let time = state.now + state.rng.i64(20..200);
                    let (region, name) = key.clone();
                    state.at(time, Event::StackMade(region, name, generation));
                    Ok(())
                },
            )
            .await
    }

    /// A stack by its name.
    pub async fn stack(&self, region: &Region, name: &str) -> Result<Option<FoundStack>, AwsError> {
        let key = (region.to_string(), name.to_owned());
        self.world
            .request(
                "DescribeStacks",
                || name.to_owned(),
                |state| Ok(state.stacks.get(&key).map(|stack| found(name, stack))),
            )
            .await
    }

    /// Why a stack failed.
    pub async fn stack_failure(&self, _region: &Region, id: &str) -> Result<Reason, AwsError> {
        self.world
            .request(
                "DescribeStackEvents",
                || id.to_owned(),
                |_| Ok(Reason::new("StackFailed", "simulated")),
            )
            .await
    }

    /// Starts to delete a stack.
    pub async fn delete_stack(&self, region: &Region, name: &str) -> Result<(), AwsError> {
        let key = (region.to_string(), name.to_owned());
        self.world
            .request(
                "DeleteStack",
                || name.to_owned(),
                |state| {
                    let Some(stack) = state.stacks.get_mut(&key) else {
                        return Ok(());
                    };
                    if stack.status == "DELETE_IN_PROGRESS" {
                        return Ok(());
                    }
                    stack.status = "DELETE_IN_PROGRESS";
                    let generation = stack.generation;
                    let time = state.now + state.rng.i64(10..200);
                    let (region, name) = key.clone();
                    state.at(time, Event::StackDeleted(region, name, generation));
                    Ok(())
                },
            )
            .await
    }

    /// The stacks of a deployment in a Region.
    pub async fn destination_stacks(
        &self,
        region: &Region,
        deployment: &DeploymentName,
    ) -> Result<Vec<(RunId, FoundStack)>, AwsError> {
        self.world
            .request(
                "DescribeStacks",
                || region.to_string(),
                |state| {
                    let stacks = state.stacks.iter();
                    let stacks = stacks.filter(|((of, _), stack)| {
                        of == region.as_str()
                            && stack.tags[naming::DEPLOYMENT_TAG] == deployment.as_str()
                    });
                    Ok(stacks
                        .map(|((_, name), stack)| {
                            let run_id = stack.tags[naming::RUN_ID_TAG].clone();
                            let run_id = RunId::try_from(run_id).expect("we made it");
                            (run_id, found(name, stack))
                        })
                        .collect())
                },
            )
            .await
    }

    // --- Glue -----------------------------------------------------------------------------------

    /// Whether a table exists.
    pub async fn table_exists(&self, database: &str, table: &str) -> Result<bool, AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "GetTable",
                || table.to_owned(),
                |state| Ok(state.tables.contains_key(&key)),
            )
            .await
    }

    /// Whether a database exists.
    pub async fn database_exists(&self, database: &str) -> Result<bool, AwsError> {
        self.world
            .request(
                "GetDatabase",
                || database.to_owned(),
                |state| Ok(state.databases.contains(database)),
            )
            .await
    }

    /// Makes a database.
    pub async fn create_database(&self, database: &str) -> Result<(), AwsError> {
        self.world
            .request(
                "CreateDatabase",
                || database.to_owned(),
                |state| {
                    state.databases.insert(database.to_owned());
                    Ok(())
                },
            )
            .await
    }

    /// Makes a table if it is not there.
    pub async fn create_table(
        &self,
        database: &str,
        table: &str,
        _location: &str,
        _description: &str,
    ) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "CreateTable",
                || table.to_owned(),
                |state| {
                    state.tables.entry(key.clone()).or_default();
                    Ok(())
                },
            )
            .await
    }

    /// Adds the partitions that are not there.
    pub async fn create_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[Partition],
    ) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        for partition in partitions {
            self.world
                .request(
                    "BatchCreatePartition",
                    || partition.location.clone(),
                    |state| {
                        let known = state.tables.get_mut(&key);
                        let Some(known) = known else {
                            let code = "EntityNotFoundException";
                            return Err(error("BatchCreatePartition", code, Class::Missing));
                        };
                        known.insert(partition.location.clone());
                        Ok(())
                    },
                )
                .await?;
        }
        Ok(())
    }

    /// Deletes a table.
    pub async fn delete_table(&self, database: &str, table: &str) -> Result<(), AwsError> {
        let key = (database.to_owned(), table.to_owned());
        self.world
            .request(
                "DeleteTable",
                || table.to_owned(),
                |state| {
                    state.tables.remove(&key);
                    Ok(())
                },
            )
            .await
    }

    /// Deletes a database that holds nothing.
    pub async fn delete_database_if_empty(&self, database: &str) -> Result<(), AwsError> {
        self.world
            .request(
                "DeleteDatabase",
                || database.to_owned(),
                |state| {
                    if state.tables.keys().all(|(of, _)| of != database) {
                        state.databases.remove(database);
                    }
                    Ok(())
                },
            )
            .await
    }

    // --- SES ------------------------------------------------------------------------------------

    /// Sends a mail.
    pub async fn send_mail(&self, _mail: &Mail) -> Result<String, AwsError> {
        self.world
            .request("SendEmail", String::new, |state| {
                state.mails += 1;
                Ok(state.mails.to_string())
            })
            .await
    }

    // --- EventBridge ----------------------------------------------------------------------------

    /// Tells other systems, of which there are none.
    pub async fn tell_run_ended(&self, _ended: &RunEnded) -> Result<(), AwsError> {
        self.world
            .request("PutEvents", String::new, |_| Ok(()))
            .await
    }

    // --- CloudWatch -----------------------------------------------------------------------------

    /// Metrics, which nobody reads.
    pub fn print_metrics(&self, _lines: &[String]) {}

    // --- Identities -----------------------------------------------------------------------------

    /// Whether an identity is verified: all are.
    pub async fn identity_is_verified(&self, identity: &str) -> Result<Option<bool>, AwsError> {
        self.world
            .request(
                "GetEmailIdentity",
                || identity.to_owned(),
                |_| Ok(Some(true)),
            )
            .await
    }

    /// Requests the verification of an address.
    pub async fn request_verification(&self, address: &str) -> Result<(), AwsError> {
        self.world
            .request("CreateEmailIdentity", || address.to_owned(), |_| Ok(()))
            .await
    }

    /// Whether SES mails to verified addresses only: it does not.
    pub async fn mail_is_sandboxed(&self) -> Result<bool, AwsError> {
        self.world
            .request("GetAccount", String::new, |_| Ok(false))
            .await
    }

    // --- S3 -------------------------------------------------------------------------------------

    /// The objects of our buckets.
    pub fn objects(&self, _region: &Region) -> Objects {
        Objects {
            world: self.world.clone(),
        }
    }

    /// The Region of a bucket.
    pub async fn region_of_bucket(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        let region = self.region();
        self.world
            .request("HeadBucket", || bucket.to_string(), |_| Ok(region.clone()))
            .await
    }

    /// The buckets of a source account.
    pub fn source_account<'a>(
        &'a self,
        _settings: &'a Settings,
        account: &'a AccountId,
    ) -> SourceAccount<'a> {
        SourceAccount {
            world: &self.world,
            account,
        }
    }
}

fn found(name: &str, stack: &Stack) -> FoundStack {
    let made = !matches!(stack.status, "CREATE_IN_PROGRESS" | "ROLLBACK_COMPLETE");
    let outputs = if made {
        BTreeMap::from([
            ("DestinationBucketName".to_owned(), stack.bucket.clone()),
            (
                "DestinationBucketArn".to_owned(),
                format!("arn:aws:s3:::{}", stack.bucket),
            ),
        ])
    } else {
        BTreeMap::new()
    };
    FoundStack {
        id: name.to_owned(),
        state: StackState::of(stack.status),
        status: stack.status.to_owned(),
        tags: stack.tags.clone(),
        parameters: stack.parameters.clone(),
        outputs,
    }
}

/// The objects of our own buckets.
#[derive(Debug, Clone)]
pub struct Objects {
    world: World,
}

fn place(bucket: &BucketName, key: &str) -> (String, String) {
    (bucket.to_string(), key.to_owned())
}

fn keys(state: &State, bucket: &str, prefix: &str) -> Vec<String> {
    let from = (bucket.to_owned(), prefix.to_owned());
    let found = state.objects.range(from..);
    found
        .take_while(|((of, key), _)| of == bucket && key.starts_with(prefix))
        .map(|((_, key), _)| key.clone())
        .collect()
}

impl Objects {
    /// The whole object.
    pub async fn get(&self, bucket: &BucketName, key: &str) -> Result<Option<Bytes>, AwsError> {
        let place = place(bucket, key);
        self.world
            .request(
                "GetObject",
                || format!("{bucket}/{key}"),
                |state| Ok(state.objects.get(&place).cloned()),
            )
            .await
    }

    /// The same: what is simulated is small.
    pub async fn get_at_most(
        &self,
        bucket: &BucketName,
        key: &str,
        _max_bytes: usize,
    ) -> Result<Option<Bytes>, AwsError> {
        self.get(bucket, key).await
    }

    /// Writes an object.
    pub async fn put(
        &self,
        bucket: &BucketName,
        key: &str,
        _content_type: &str,
        body: Bytes,
    ) -> Result<(), AwsError> {
        self.world
            .request(
                "PutObject",
                || format!("{bucket}/{key}"),
                |state| {
                    state.put_object(bucket.as_str(), key, body.clone());
                    Ok(())
                },
            )
            .await
    }

    /// Keys under a prefix.
    pub async fn list(&self, bucket: &BucketName, prefix: &str) -> Result<Vec<String>, AwsError> {
        self.world
            .request(
                "ListObjectsV2",
                || format!("{bucket}/{prefix}"),
                |state| Ok(keys(state, bucket.as_str(), prefix)),
            )
            .await
    }

    /// Deletes keys.
    pub async fn delete(&self, bucket: &BucketName, keys: &[String]) -> Result<(), AwsError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.world
            .request(
                "DeleteObjects",
                || format!("{bucket} {keys:?}"),
                |state| {
                    for key in keys {
                        state.objects.remove(&place(bucket, key));
                    }
                    Ok(())
                },
            )
            .await
    }

    /// Empties a bucket, a page of two at a time.
    pub async fn empty_bucket(
        &self,
        bucket: &BucketName,
        _stop_at: Instant,
    ) -> Result<Emptied, AwsError> {
        loop {
            let page = self
                .world
                .request(
                    "ListObjectVersions",
                    || bucket.to_string(),
                    |state| Ok(keys(state, bucket.as_str(), "")),
                )
                .await?;
            if page.is_empty() {
                return Ok(Emptied::Whole);
            }
            self.delete(bucket, &page[..page.len().min(2)]).await?;
        }
    }

    /// Whether a bucket holds nothing.
    pub async fn is_empty(&self, bucket: &BucketName) -> Result<bool, AwsError> {
        self.world
            .request(
                "ListObjectVersions",
                || bucket.to_string(),
                |state| Ok(keys(state, bucket.as_str(), "").is_empty()),
            )
            .await
    }

    /// A file to be read.
    pub async fn delivered_file(
        &self,
        bucket: &BucketName,
        key: &str,
    ) -> Result<Option<DeliveredFile>, AwsError> {
        let place = place(bucket, key);
        let world = self.world.clone();
        self.world
            .request(
                "HeadObject",
                || format!("{bucket}/{key}"),
                |state| {
                    let tells = state.rng.bool();
                    let body = state.objects.get(&place);
                    Ok(body.map(|body| DeliveredFile {
                        world: world.clone(),
                        place: place.clone(),
                        md5: tells.then(|| Md5Hash::of(body)),
                    }))
                },
            )
            .await
    }

    /// An object to be written with what is made of a delivered file.
    pub fn upload(
        &self,
        bucket: &BucketName,
        key: &str,
        _content_type: &str,
        _source: Option<&Arc<DeliveredFile>>,
    ) -> ConsolidatedUpload {
        ConsolidatedUpload {
            world: self.world.clone(),
            place: place(bucket, key),
            body: Bytes::new(),
        }
    }
}

/// A file that S3 delivered.
#[derive(Debug)]
pub struct DeliveredFile {
    world: World,
    place: (String, String),
    md5: Option<Md5Hash>,
}

impl DeliveredFile {
    /// Its MD5, where S3 tells it.
    pub fn md5(&self) -> Option<Md5Hash> {
        self.md5
    }

    /// When it was delivered, which only metrics tell.
    pub fn delivered_at(&self) -> Option<Timestamp> {
        None
    }
}

impl ReadAt for DeliveredFile {
    fn content(&self) -> io::Result<Bytes> {
        let state = self.world.state();
        let body = state.objects.get(&self.place).cloned();
        body.ok_or_else(|| io::Error::other(error("GetObject", "NoSuchKey", Class::Missing)))
    }
}

/// A file of the snapshot that is being written.
#[derive(Debug)]
pub struct ConsolidatedUpload {
    world: World,
    place: (String, String),
    body: Bytes,
}

impl ConsolidatedUpload {
    pub(crate) fn write(&mut self, body: Bytes) {
        self.body = body;
    }

    /// Bytes written.
    pub fn bytes_written(&self) -> u64 {
        self.body.len() as u64
    }

    /// Bytes copied within S3.
    pub fn bytes_copied(&self) -> u64 {
        0
    }

    /// Makes the object appear.
    pub fn complete(&mut self) -> Result<(), AwsError> {
        let mut state = self.world.state();
        let often = state.chaos.throttled;
        if state.happens(often) {
            return Err(error(
                "CompleteMultipartUpload",
                "SlowDown",
                Class::Throttled,
            ));
        }
        let (bucket, key) = &self.place;
        state.note(|| format!("  CompleteMultipartUpload {key}"));
        state.put_object(bucket, key, self.body.clone());
        Ok(())
    }

    /// Gives it up.
    pub fn abort(&mut self) -> Result<(), AwsError> {
        Ok(())
    }
}

/// The buckets of one source account.
#[derive(Debug, Clone)]
pub struct SourceAccount<'a> {
    world: &'a World,
    account: &'a AccountId,
}

fn open<'a>(
    state: &'a State,
    operation: &str,
    bucket: &BucketName,
) -> Result<&'a Source, AwsError> {
    match state.sources.get(bucket.as_str()) {
        Some(source) if !source.exists => Err(error(operation, "NoSuchBucket", Class::Missing)),
        Some(source) if !source.open => Err(error(operation, "AccessDenied", Class::Refused)),
        Some(source) => Ok(source),
        None => Err(error(operation, "NoSuchBucket", Class::Missing)),
    }
}

impl SourceAccount<'_> {
    /// All buckets of the account.
    pub async fn buckets(&self) -> Result<Vec<FoundBucket>, AwsError> {
        self.world
            .request(
                "ListBuckets",
                || self.account.to_string(),
                |state| {
                    let sources = state.sources.iter();
                    let sources = sources.filter(|(_, source)| {
                        source.exists && source.account == self.account.as_str()
                    });
                    Ok(sources
                        .map(|(name, source)| FoundBucket {
                            name: BucketName::try_from(name.as_str()).expect("we made it"),
                            region: Region::try_from(source.region.as_str()).ok(),
                        })
                        .collect())
                },
            )
            .await
    }

    /// The Region of a bucket.
    pub async fn region_of(&self, bucket: &BucketName) -> Result<Region, AwsError> {
        self.world
            .request(
                "GetBucketLocation",
                || bucket.to_string(),
                |state| {
                    let source = open(state, "GetBucketLocation", bucket)?;
                    Ok(Region::try_from(source.region.as_str()).expect("we made it"))
                },
            )
            .await
    }

    /// Whether a bucket holds nothing.
    pub async fn is_empty(&self, _region: &Region, bucket: &BucketName) -> Result<bool, AwsError> {
        self.world
            .request(
                "ListObjectVersions",
                || bucket.to_string(),
                |state| {
                    let source = open(state, "ListObjectVersions", bucket)?;
                    if !source.listable {
                        return Err(error("ListObjectVersions", "AccessDenied", Class::Refused));
                    }
                    Ok(source.is_empty)
                },
            )
            .await
    }

    /// Puts a configuration.
    pub async fn put_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        delivery: &Delivery<'_>,
    ) -> Result<(), AwsError> {
        let destination = delivery.destination_arn.trim_start_matches("arn:aws:s3:::");
        self.world
            .request(
                "PutBucketInventoryConfiguration",
                || format!("{bucket} {}", delivery.id),
                |state| {
                    let operation = "PutBucketInventoryConfiguration";
                    let source = open(state, operation, bucket)?;
                    if !source.configurable {
                        return Err(error(operation, "AccessDenied", Class::Refused));
                    }
                    inventory::put(state, bucket.as_str(), delivery.id, destination);
                    Ok(())
                },
            )
            .await
    }

    /// Whether a configuration is there.
    pub async fn has_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<bool, AwsError> {
        let key = (bucket.to_string(), id.to_owned());
        self.world
            .request(
                "GetBucketInventoryConfiguration",
                || format!("{bucket} {id}"),
                |state| {
                    open(state, "GetBucketInventoryConfiguration", bucket)?;
                    Ok(state.configurations.contains_key(&key))
                },
            )
            .await
    }

    /// Removes a configuration.
    pub async fn remove_configuration(
        &self,
        _region: &Region,
        bucket: &BucketName,
        id: &str,
    ) -> Result<(), AwsError> {
        let key = (bucket.to_string(), id.to_owned());
        self.world
            .request(
                "DeleteBucketInventoryConfiguration",
                || format!("{bucket} {id}"),
                |state| {
                    match open(state, "DeleteBucketInventoryConfiguration", bucket) {
                        Ok(_) => {}
                        Err(error) if error.is_missing() => return Ok(()),
                        Err(error) => return Err(error),
                    }
                    state.configurations.remove(&key);
                    Ok(())
                },
            )
            .await
    }
}
