//! The run table. What the protocol of a run needs to be exactly once is a condition or a
//! transaction here: a counter changes only together with the status it counts, so a message that
//! comes twice changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AwsError, Class};
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::run::{Account, Destination, Failure, Outcome, Query, Run, RunParts, SourceBucket};
use crate::status::{InventoryStatus, Reason};
use crate::summary::earlier_run;

mod buckets;
mod messages;
mod reports;

pub use self::reports::{FileContent, FileCount, ReportClaim};

type Item = HashMap<String, AttributeValue>;

/// Requests under way at once where many items are written.
const CONCURRENCY: usize = 40;
/// Attempts of a transaction that meets another one on the same item.
const ATTEMPTS: u32 = 12;
const INDEX: &str = "runs";

/// The run table.
#[derive(Debug, Clone, Copy)]
pub struct RunTable<'a> {
    client: &'a Client,
    name: &'a str,
}

/// What opening a run met.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// The run is open; also when this execution had opened it before.
    Open(Box<Run>),
    /// Another execution has a run of this id.
    Taken(Box<Run>),
}

impl<'a> RunTable<'a> {
    pub(super) fn new(client: &'a Client, name: &'a str) -> Self {
        Self { client, name }
    }
    /// Records a new run. The same execution may do so again.
    pub async fn open(&self, run: &Run) -> Result<Opened, AwsError> {
        let mut item = item(&run.run_id, "run", run)?;
        item.insert("collection".into(), text(INDEX));
        item.insert("expires_at".into(), number(Run::expires_at(run.started_at)));
        let answer = self
            .client
            .put_item()
            .table_name(self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        if let Err(error) = answer {
            let error = AwsError::new(format!("PutItem of run {}", run.run_id), &error);
            if error.code != "ConditionalCheckFailedException" {
                return Err(error);
            }
            return match self.run(&run.run_id).await? {
                Some(found) if found.execution_arn == run.execution_arn => {
                    Ok(Opened::Open(Box::new(found)))
                }
                Some(found) => Ok(Opened::Taken(Box::new(found))),
                None => Err(error),
            };
        }
        Ok(Opened::Open(Box::new(run.clone())))
    }

    /// A run by its id.
    pub async fn run(&self, run_id: &RunId) -> Result<Option<Run>, AwsError> {
        self.get(run_id, "run").await
    }

    /// All runs on record, newest first. One whose record is damaged is left out: it must not keep
    /// the others from being found.
    pub async fn runs(&self) -> Result<Vec<Run>, AwsError> {
        let mut pages = self
            .client
            .query()
            .table_name(self.name)
            .index_name(INDEX)
            .key_condition_expression("#collection = :collection")
            .expression_attribute_names("#collection", "collection")
            .expression_attribute_values(":collection", text(INDEX))
            .scan_index_forward(false)
            .into_paginator()
            .items()
            .send();
        let mut runs = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| AwsError::new("Query of runs", &error))?;
            let key = item.get("pk").cloned();
            match decode(item) {
                Ok(run) => runs.push(run),
                Err(error) => tracing::warn!(?key, %error, "the record of a run is damaged"),
            }
        }
        Ok(runs)
    }

    /// Remembers a Region that has source buckets.
    pub async fn add_region(&self, run_id: &RunId, region: &Region) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "ADD regions :regions",
            [(":regions", AttributeValue::Ss(vec![region.to_string()]))],
        )
        .await
    }

    /// Stores the token of the waiting state in place of an older one.
    pub async fn store_token(&self, run_id: &RunId, token: &str) -> Result<(), AwsError> {
        self.update_run(run_id, "SET task_token = :token", [(":token", text(token))])
            .await
    }

    /// From here on no bucket of the run becomes `done`. The first moment stays.
    pub async fn freeze(&self, run_id: &RunId, now: Timestamp) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "SET frozen_at = if_not_exists(frozen_at, :now)",
            [(":now", text(&now.to_string()))],
        )
        .await
    }

    /// Records, before it is made, that this run makes the database.
    pub async fn record_making_database(&self, run_id: &RunId) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "SET made_database = :yes",
            [(":yes", AttributeValue::Bool(true))],
        )
        .await
    }

    /// Records, before it is made, that this run makes the table. `false` when the run has come to
    /// its outcome without one: then its rows may be gone.
    pub async fn record_making_table(&self, run_id: &RunId) -> Result<bool, AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, "run")))
            .update_expression("SET made_table = :yes")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(outcome)")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new("UpdateItem of run", &error)))
    }

    /// Records what broke the run off. The first failure stays.
    pub async fn record_failure(&self, run_id: &RunId, failure: &Failure) -> Result<(), AwsError> {
        let failure = serde_dynamo::to_attribute_value(failure).map_err(coding)?;
        self.update_run(
            run_id,
            "SET failure = if_not_exists(failure, :failure)",
            [(":failure", failure)],
        )
        .await
    }

    /// Claims the one summary of the run. `false` when it was claimed before.
    pub async fn claim_summary(&self, run_id: &RunId, now: Timestamp) -> Result<bool, AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, "run")))
            .update_expression("SET summary_sent_at = :now")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(summary_sent_at)")
            .expression_attribute_values(":now", text(&now.to_string()))
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new("UpdateItem of run", &error)))
    }

    /// Gives the claim back: the summary was not sent.
    pub async fn release_summary(&self, run_id: &RunId) -> Result<(), AwsError> {
        self.update_run(run_id, "REMOVE summary_sent_at", []).await
    }

    /// Records why SES did not take the summary.
    pub async fn record_mail_failure(
        &self,
        run_id: &RunId,
        reason: &Reason,
    ) -> Result<(), AwsError> {
        let reason = serde_dynamo::to_attribute_value(reason).map_err(coding)?;
        self.update_run(run_id, "SET mail_failure = :reason", [(":reason", reason)])
            .await
    }

    /// Records how the run ended. The first outcome stays.
    pub async fn record_outcome(&self, run_id: &RunId, outcome: Outcome) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "SET outcome = if_not_exists(outcome, :outcome)",
            [(":outcome", text(outcome.name()))],
        )
        .await
    }

    /// Records that nothing transient of the run is left.
    pub async fn record_clean(&self, run_id: &RunId, now: Timestamp) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "SET cleaned_up_at = :now",
            [(":now", text(&now.to_string()))],
        )
        .await
    }

    /// Records whether an account's buckets could be listed.
    pub async fn put_account(&self, run_id: &RunId, account: &Account) -> Result<(), AwsError> {
        self.put(run_id, &format!("account#{}", account.account), account)
            .await
    }

    /// Records a destination.
    pub async fn put_destination(
        &self,
        run_id: &RunId,
        destination: &Destination,
    ) -> Result<(), AwsError> {
        self.put(
            run_id,
            &format!("destination#{}", destination.region),
            destination,
        )
        .await
    }

    /// The destination of a Region.
    pub async fn destination(
        &self,
        run_id: &RunId,
        region: &Region,
    ) -> Result<Option<Destination>, AwsError> {
        self.get(run_id, &format!("destination#{region}")).await
    }

    /// All destinations of a run.
    pub async fn destinations(&self, run_id: &RunId) -> Result<Vec<Destination>, AwsError> {
        self.all(run_id, "destination#").await
    }

    /// Records a query.
    pub async fn put_query(&self, run_id: &RunId, query: &Query) -> Result<(), AwsError> {
        self.put(run_id, &query_key(query.number), query).await
    }

    /// A query by its number.
    pub async fn query(&self, run_id: &RunId, number: u32) -> Result<Option<Query>, AwsError> {
        self.get(run_id, &query_key(number)).await
    }

    /// All queries of a run by number.
    pub async fn queries(&self, run_id: &RunId) -> Result<Vec<Query>, AwsError> {
        self.all(run_id, "query#").await
    }

    /// All that is recorded of a run but its files.
    pub async fn parts(&self, run_id: &RunId) -> Result<RunParts, AwsError> {
        Ok(RunParts {
            accounts: self.all(run_id, "account#").await?,
            destinations: self.destinations(run_id).await?,
            buckets: self.buckets(run_id).await?,
            left_out: self.all(run_id, "left_out#").await?,
            queries: self.queries(run_id).await?,
        })
    }

    /// The run that a run is compared with, and its parts; `None` when there is none.
    pub async fn earlier(&self, run: &Run) -> Result<Option<(Run, RunParts)>, AwsError> {
        let runs = self.runs().await?;
        let Some(earlier) = earlier_run(&runs, run) else {
            return Ok(None);
        };
        let parts = self.parts(&earlier.run_id).await?;
        Ok(Some((earlier.clone(), parts)))
    }

    /// Changes the run's count of buckets in progress, as part of a transaction.
    fn count(&self, run_id: &RunId, by: i64, condition: Option<&str>) -> TransactWriteItem {
        let condition = condition.map_or_else(
            || "attribute_exists(pk)".to_owned(),
            |condition| format!("attribute_exists(pk) AND {condition}"),
        );
        let update = Update::builder()
            .table_name(self.name)
            .set_key(Some(key(run_id, "run")))
            .update_expression("ADD in_progress :by")
            .condition_expression(condition)
            .expression_attribute_values(":by", number(by))
            .build()
            .expect("table, key and expression are set");
        TransactWriteItem::builder().update(update).build()
    }

    fn status_update(
        &self,
        run_id: &RunId,
        sort: &str,
        from: InventoryStatus,
        next: InventoryStatus,
        reason: Option<&Reason>,
    ) -> Result<UpdateBuilder, AwsError> {
        let update = Update::builder()
            .table_name(self.name)
            .set_key(Some(key(run_id, sort)))
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":from", status(from))
            .expression_attribute_values(":next", status(next));
        Ok(match reason {
            Some(reason) => update
                .update_expression("SET #status = :next, reason = :reason")
                .expression_attribute_values(
                    ":reason",
                    serde_dynamo::to_attribute_value(reason).map_err(coding)?,
                ),
            None => update.update_expression("SET #status = :next"),
        })
    }

    async fn flag_bucket(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        flag: &str,
    ) -> Result<(), AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression("SET #flag = :yes")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_names("#flag", flag)
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new("UpdateItem of bucket", &error))).map(|_| ())
    }

    /// Updates the run's own item. A run whose record is gone has nothing to update.
    async fn update_run<const N: usize>(
        &self,
        run_id: &RunId,
        expression: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<(), AwsError> {
        let values: HashMap<String, AttributeValue> = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, "run")))
            .update_expression(expression)
            .condition_expression("attribute_exists(pk)")
            .set_expression_attribute_values((!values.is_empty()).then_some(values))
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new(format!("UpdateItem of run {run_id}"), &error)))
            .map(|_| ())
    }

    async fn put<T: Serialize>(
        &self,
        run_id: &RunId,
        sort: &str,
        value: &T,
    ) -> Result<(), AwsError> {
        let item = item(run_id, sort, value)?;
        self.client
            .put_item()
            .table_name(self.name)
            .set_item(Some(item))
            .send()
            .await
            .map_err(|error| AwsError::new(format!("PutItem of {sort}"), &error))?;
        Ok(())
    }

    /// Records an item unless one of its key is on record, which then stays.
    async fn put_if_absent<T: Serialize>(
        &self,
        run_id: &RunId,
        sort: &str,
        value: &T,
    ) -> Result<(), AwsError> {
        let item = item(run_id, sort, value)?;
        let answer = self
            .client
            .put_item()
            .table_name(self.name)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new(format!("PutItem of {sort}"), &error)))
            .map(|_| ())
    }

    async fn get<T: DeserializeOwned>(
        &self,
        run_id: &RunId,
        sort: &str,
    ) -> Result<Option<T>, AwsError> {
        let answer = self
            .client
            .get_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, sort)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| AwsError::new(format!("GetItem of {sort}"), &error))?;
        answer.item.map(decode).transpose()
    }

    async fn all<T: DeserializeOwned>(
        &self,
        run_id: &RunId,
        prefix: &str,
    ) -> Result<Vec<T>, AwsError> {
        let mut items = self
            .client
            .query()
            .table_name(self.name)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":pk", text(&partition(run_id)))
            .expression_attribute_values(":prefix", text(prefix))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut all = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::new(format!("Query of {prefix}"), &error))?;
            all.push(decode(item)?);
        }
        Ok(all)
    }

    /// One transaction. `Ok(Err(()))` when a condition did not hold; a meeting with another
    /// transaction is tried again.
    async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Result<(), ()>, AwsError> {
        let mut attempt = 0;
        loop {
            let answer = self
                .client
                .transact_write_items()
                .set_transact_items(Some(writes.clone()))
                .send()
                .await;
            let Err(error) = answer else {
                return Ok(Ok(()));
            };
            let codes: Vec<String> = error
                .as_service_error()
                .and_then(|error| match error {
                    aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(cancelled) => Some(cancelled),
                    _ => None,
                })
                .map(|cancelled| {
                    cancelled
                        .cancellation_reasons()
                        .iter()
                        .filter_map(|reason| reason.code().map(str::to_owned))
                        .collect()
                })
                .unwrap_or_default();
            if codes.iter().any(|code| code == "ConditionalCheckFailed") {
                return Ok(Err(()));
            }
            let error = AwsError::new("TransactWriteItems", &error);
            attempt += 1;
            if attempt >= ATTEMPTS || !error.is_passing() {
                return Err(error);
            }
            backoff(attempt).await;
        }
    }
}

/// Waits a random part of a time that doubles with each attempt: what two writers that met need
/// to not meet again.
async fn backoff(attempt: u32) {
    if attempt > 0 {
        let ceiling = 20_u64 << attempt.min(7);
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..ceiling))).await;
    }
}

fn partition(run_id: &RunId) -> String {
    format!("run#{run_id}")
}

fn key(run_id: &RunId, sort: &str) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(&partition(run_id))),
        ("sk".to_owned(), text(sort)),
    ])
}

fn bucket_key(bucket: &SourceBucket) -> String {
    bucket_key_of(&bucket.account, &bucket.bucket)
}

fn bucket_key_of(account: &AccountId, bucket: &BucketName) -> String {
    format!("bucket#{account}#{bucket}")
}

fn query_key(number: u32) -> String {
    format!("query#{number:03}")
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl std::fmt::Display) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn status(status: InventoryStatus) -> AttributeValue {
    text(status.name())
}

fn decode<T: DeserializeOwned>(item: Item) -> Result<T, AwsError> {
    serde_dynamo::from_item(item).map_err(coding)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn coding(error: serde_dynamo::Error) -> AwsError {
    AwsError {
        operation: "reading or writing an item of the run table".into(),
        code: "DamagedRecord".into(),
        message: error.to_string(),
        class: Class::Other,
    }
}

fn conflict(operation: &str, message: &str) -> AwsError {
    AwsError {
        operation: operation.into(),
        code: "Conflict".into(),
        message: message.into(),
        class: Class::Conflict,
    }
}

/// Whether a conditional write's condition held.
fn held<T>(answer: Result<T, AwsError>) -> Result<bool, AwsError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code == "ConditionalCheckFailedException" => Ok(false),
        Err(error) => Err(error),
    }
}

/// A value as it is stored: with its key, and with its end, so that nothing of a run stays for ever.
fn item<T: Serialize>(run_id: &RunId, sort: &str, value: &T) -> Result<Item, AwsError> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(coding)?;
    item.extend(key(run_id, sort));
    item.insert(
        "expires_at".into(),
        number(Run::expires_at(Timestamp::now())),
    );
    Ok(item)
}
