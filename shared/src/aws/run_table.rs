//! The run table. What the protocol of a run needs to be exactly once is a condition or a
//! transaction here: a counter changes only together with the status it counts, so a message that
//! comes twice changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeValue, PutRequest, TransactWriteItem, Update, WriteRequest,
};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AwsError, Class};
use crate::ids::{AccountId, BucketName, Region, RunId};
use crate::run::{
    Account, Destination, Failure, InventoryFile, LeftOut, Outcome, Query, Run, RunParts,
    SourceBucket,
};
use crate::status::{InventoryStatus, Reason};

type Item = HashMap<String, AttributeValue>;

/// Requests under way at once where many items are written.
const CONCURRENCY: usize = 40;
/// Attempts of a transaction that meets another one on the same item.
const ATTEMPTS: u32 = 12;
/// Buckets that one transaction moves to `in_progress`, besides the run's counter.
const BUCKETS_PER_TRANSACTION: usize = 50;
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

/// What claiming a bucket for a report met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportClaim {
    /// The run takes this report; also when it was claimed before.
    Taken,
    /// The bucket has another report, or is not in progress.
    NotWanted,
}

/// What counting a file met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileCount {
    /// Counted; other files of the bucket are still to come.
    Counted,
    /// Counted, and the bucket is `done` with it.
    BucketDone,
    /// Nothing changed: counted before, or the bucket is not in progress any more, or the run is
    /// being published.
    NotCounted,
}

/// What a file adds to its bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileContent {
    /// Rows.
    pub rows: u64,
    /// Current objects among them.
    pub objects: u64,
    /// Bytes of all versions.
    pub bytes: u64,
    /// Keys kept in a replaced form.
    pub undecodable_keys: u64,
}

impl<'a> RunTable<'a> {
    pub(super) fn new(client: &'a Client, name: &'a str) -> Self {
        Self { client, name }
    }

    // --- the run ---------------------------------------------------------------------------

    /// Records a new run. The same execution may do so again.
    pub async fn open(&self, run: &Run) -> Result<Opened, AwsError> {
        let mut item = self.item(&run.run_id, "run", run)?;
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

    /// All runs on record, newest first.
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
            runs.push(decode(item)?);
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

    /// Records, before it is made, that this run makes the table.
    pub async fn record_making_table(&self, run_id: &RunId) -> Result<(), AwsError> {
        self.update_run(
            run_id,
            "SET made_table = :yes",
            [(":yes", AttributeValue::Bool(true))],
        )
        .await
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

    // --- accounts, destinations, queries ----------------------------------------------------

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

    // --- source buckets --------------------------------------------------------------------

    /// Records buckets just discovered. One that is on record keeps its record.
    pub async fn add_buckets(
        &self,
        run_id: &RunId,
        buckets: &[SourceBucket],
    ) -> Result<(), AwsError> {
        futures::stream::iter(buckets)
            .map(|bucket| async move {
                let item = self.item(run_id, &bucket_key(bucket), bucket)?;
                let answer = self
                    .client
                    .put_item()
                    .table_name(self.name)
                    .set_item(Some(item))
                    .condition_expression("attribute_not_exists(pk)")
                    .send()
                    .await;
                held(answer.map_err(|error| AwsError::new("PutItem of bucket", &error)))
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// Records buckets that the input leaves out.
    pub async fn put_left_out(&self, run_id: &RunId, left_out: &[LeftOut]) -> Result<(), AwsError> {
        let mut requests = Vec::new();
        for bucket in left_out {
            let sort = format!("left_out#{}#{}", bucket.account, bucket.bucket);
            let put = PutRequest::builder()
                .set_item(Some(self.item(run_id, &sort, bucket)?))
                .build()
                .expect("the item is set");
            requests.push(WriteRequest::builder().put_request(put).build());
        }
        for chunk in requests.chunks(25) {
            let mut unwritten = chunk.to_vec();
            let mut attempt = 0;
            while !unwritten.is_empty() {
                backoff(attempt).await;
                let answer = self
                    .client
                    .batch_write_item()
                    .request_items(self.name, unwritten)
                    .send()
                    .await
                    .map_err(|error| AwsError::new("BatchWriteItem", &error))?;
                unwritten = answer
                    .unprocessed_items
                    .and_then(|mut items| items.remove(self.name))
                    .unwrap_or_default();
                attempt += 1;
                if attempt > ATTEMPTS {
                    return Err(conflict("BatchWriteItem", "items stayed unprocessed"));
                }
            }
        }
        Ok(())
    }

    /// A source bucket.
    pub async fn bucket(
        &self,
        run_id: &RunId,
        account: &AccountId,
        bucket: &BucketName,
    ) -> Result<Option<SourceBucket>, AwsError> {
        self.get(run_id, &format!("bucket#{account}#{bucket}"))
            .await
    }

    /// All source buckets of a run, by account and name.
    pub async fn buckets(&self, run_id: &RunId) -> Result<Vec<SourceBucket>, AwsError> {
        self.all(run_id, "bucket#").await
    }

    /// The source buckets of one account, by name.
    pub async fn buckets_of(
        &self,
        run_id: &RunId,
        account: &AccountId,
    ) -> Result<Vec<SourceBucket>, AwsError> {
        self.all(run_id, &format!("bucket#{account}#")).await
    }

    /// Moves discovered buckets to `in_progress` and counts them on the run. Those that are not
    /// just discovered stay as they are.
    pub async fn begin(&self, run_id: &RunId, buckets: &[SourceBucket]) -> Result<(), AwsError> {
        for chunk in buckets.chunks(BUCKETS_PER_TRANSACTION) {
            if self.begin_together(run_id, chunk).await? {
                continue;
            }
            // One of them is not just discovered: a repeated attempt. Find out which.
            for bucket in chunk {
                self.begin_together(run_id, std::slice::from_ref(bucket))
                    .await?;
            }
        }
        Ok(())
    }

    async fn begin_together(
        &self,
        run_id: &RunId,
        buckets: &[SourceBucket],
    ) -> Result<bool, AwsError> {
        let mut writes = vec![self.count(
            run_id,
            i64::try_from(buckets.len()).unwrap_or(i64::MAX),
            None,
        )];
        for bucket in buckets {
            let update = Update::builder()
                .table_name(self.name)
                .set_key(Some(key(run_id, &bucket_key(bucket))))
                .update_expression("SET #status = :in_progress")
                .condition_expression("#status = :discovered AND attribute_not_exists(reason)")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":in_progress", status(InventoryStatus::InProgress))
                .expression_attribute_values(
                    ":discovered",
                    status(InventoryStatus::InventoryConfigurationNotCreated),
                )
                .build()
                .expect("table, key and expression are set");
            writes.push(TransactWriteItem::builder().update(update).build());
        }
        Ok(self.transact(writes).await?.is_ok())
    }

    /// Remembers that S3 accepted the inventory configuration.
    pub async fn record_configured(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
    ) -> Result<(), AwsError> {
        self.flag_bucket(run_id, bucket, "configured").await
    }

    /// Remembers that the inventory configuration is gone.
    pub async fn record_configuration_removed(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
    ) -> Result<(), AwsError> {
        self.flag_bucket(run_id, bucket, "configuration_removed")
            .await
    }

    /// Ends a bucket that was just discovered. `false` when it was not any more.
    pub async fn end_discovered(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        next: InventoryStatus,
        reason: Option<&Reason>,
    ) -> Result<bool, AwsError> {
        let from = InventoryStatus::InventoryConfigurationNotCreated;
        let update = self
            .status_update(run_id, &bucket_key(bucket), from, next, reason)?
            .condition_expression("#status = :from AND attribute_not_exists(reason)")
            .build()
            .expect("table, key and expression are set");
        let writes = vec![TransactWriteItem::builder().update(update).build()];
        Ok(self.transact(writes).await?.is_ok())
    }

    /// Ends a bucket in progress in any status but `done`, and counts that on the run. `false`
    /// when it was not in progress any more.
    pub async fn end_in_progress(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        next: InventoryStatus,
        reason: Option<&Reason>,
    ) -> Result<bool, AwsError> {
        debug_assert!(
            next != InventoryStatus::Done,
            "only the last file makes a bucket done"
        );
        let update = self
            .status_update(
                run_id,
                &bucket_key(bucket),
                InventoryStatus::InProgress,
                next,
                reason,
            )?
            .condition_expression("#status = :from")
            .build()
            .expect("table, key and expression are set");
        let writes = vec![
            self.count(run_id, -1, None),
            TransactWriteItem::builder().update(update).build(),
        ];
        Ok(self.transact(writes).await?.is_ok())
    }

    /// Gives a bucket that stays in progress the reason why.
    pub async fn explain_in_progress(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        reason: &Reason,
    ) -> Result<(), AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression("SET reason = :reason")
            .condition_expression("#status = :in_progress")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(
                ":reason",
                serde_dynamo::to_attribute_value(reason).map_err(coding)?,
            )
            .expression_attribute_values(":in_progress", status(InventoryStatus::InProgress))
            .send()
            .await;
        held(answer.map_err(|error| AwsError::new("UpdateItem of bucket", &error))).map(|_| ())
    }

    // --- reports and files -----------------------------------------------------------------

    /// Has the run take one report of a bucket, named by its manifest's key. A report of no files
    /// makes the bucket `done` at once; see [`Self::finish_without_files`].
    pub async fn claim_report(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        manifest_key: &str,
        files: u64,
    ) -> Result<ReportClaim, AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression(
                "SET report = :report, #files = :files, \
                 files_pending = if_not_exists(files_pending, :files)",
            )
            .condition_expression(
                "#status = :in_progress AND (attribute_not_exists(report) OR report = :report)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#files", "files")
            .expression_attribute_values(":report", text(manifest_key))
            .expression_attribute_values(":files", number(files))
            .expression_attribute_values(":in_progress", status(InventoryStatus::InProgress))
            .send()
            .await;
        let taken = held(answer.map_err(|error| AwsError::new("UpdateItem of bucket", &error)))?;
        Ok(if taken {
            ReportClaim::Taken
        } else {
            ReportClaim::NotWanted
        })
    }

    /// Records the files of a claimed report. One that is on record keeps its record.
    pub async fn add_files(
        &self,
        run_id: &RunId,
        files: &[(String, InventoryFile)],
    ) -> Result<(), AwsError> {
        futures::stream::iter(files)
            .map(|(name, file)| async move {
                let mut item = self.item(run_id, &file_key(&file.bucket, name), file)?;
                item.insert(
                    "expires_at".into(),
                    number(Run::expires_at(Timestamp::now())),
                );
                let answer = self
                    .client
                    .put_item()
                    .table_name(self.name)
                    .set_item(Some(item))
                    .condition_expression("attribute_not_exists(pk)")
                    .send()
                    .await;
                held(answer.map_err(|error| AwsError::new("PutItem of file", &error)))
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// A file of the report of a bucket.
    pub async fn file(
        &self,
        run_id: &RunId,
        bucket: &BucketName,
        file: &str,
    ) -> Result<Option<InventoryFile>, AwsError> {
        self.get(run_id, &file_key(bucket, file)).await
    }

    /// Counts a consolidated file on its bucket, once. The last file makes the bucket `done` and
    /// counts that on the run, all in one transaction.
    pub async fn count_file(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        file: &str,
        content: FileContent,
    ) -> Result<FileCount, AwsError> {
        for _ in 0..ATTEMPTS {
            let others = self
                .transact(self.count_one_of_many(run_id, bucket, file, content))
                .await?;
            if others.is_ok() {
                return Ok(FileCount::Counted);
            }
            let last = self
                .transact(self.count_last(run_id, bucket, file, content))
                .await?;
            if last.is_ok() {
                return Ok(FileCount::BucketDone);
            }
            // Neither was true at its moment: the file is counted or the bucket has ended, or
            // another file was counted between the two attempts.
            let counted = self
                .file(run_id, &bucket.bucket, file)
                .await?
                .is_none_or(|file| file.done);
            let open = self
                .bucket(run_id, &bucket.account, &bucket.bucket)
                .await?
                .is_some_and(|bucket| bucket.status == InventoryStatus::InProgress);
            let frozen = self
                .run(run_id)
                .await?
                .is_none_or(|run| run.frozen_at.is_some());
            if counted || !open || frozen {
                return Ok(FileCount::NotCounted);
            }
        }
        Err(conflict("TransactWriteItems", "the bucket kept changing"))
    }

    /// Makes a bucket `done` whose report lists no file.
    pub async fn finish_without_files(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
    ) -> Result<bool, AwsError> {
        let done = self
            .status_update(
                run_id,
                &bucket_key(bucket),
                InventoryStatus::InProgress,
                InventoryStatus::Done,
                None,
            )?
            .condition_expression("#status = :from AND files_pending = :none")
            .expression_attribute_values(":none", number(0))
            .build()
            .expect("table, key and expression are set");
        let writes = vec![
            self.count(run_id, -1, Some("attribute_not_exists(frozen_at)")),
            TransactWriteItem::builder().update(done).build(),
        ];
        Ok(self.transact(writes).await?.is_ok())
    }

    fn count_one_of_many(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        file: &str,
        content: FileContent,
    ) -> Vec<TransactWriteItem> {
        let bucket_update = add_content(Update::builder(), content)
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression(format!("{ADD_CONTENT}, files_pending :minus_one"))
            .condition_expression("#status = :in_progress AND files_pending > :one")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":in_progress", status(InventoryStatus::InProgress))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":minus_one", number(-1))
            .build()
            .expect("table, key and expression are set");
        vec![
            self.mark_file(run_id, bucket, file),
            TransactWriteItem::builder().update(bucket_update).build(),
        ]
    }

    fn count_last(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        file: &str,
        content: FileContent,
    ) -> Vec<TransactWriteItem> {
        let bucket_update = add_content(Update::builder(), content)
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression(format!(
                "SET #status = :done, files_pending = :none {ADD_CONTENT}"
            ))
            .condition_expression("#status = :in_progress AND files_pending = :one")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":in_progress", status(InventoryStatus::InProgress))
            .expression_attribute_values(":done", status(InventoryStatus::Done))
            .expression_attribute_values(":none", number(0))
            .expression_attribute_values(":one", number(1))
            .build()
            .expect("table, key and expression are set");
        vec![
            self.mark_file(run_id, bucket, file),
            TransactWriteItem::builder().update(bucket_update).build(),
            self.count(run_id, -1, Some("attribute_not_exists(frozen_at)")),
        ]
    }

    fn mark_file(&self, run_id: &RunId, bucket: &SourceBucket, file: &str) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(self.name)
            .set_key(Some(key(run_id, &file_key(&bucket.bucket, file))))
            .update_expression("SET done = :yes")
            .condition_expression("done = :no")
            .expression_attribute_values(":yes", AttributeValue::Bool(true))
            .expression_attribute_values(":no", AttributeValue::Bool(false))
            .build()
            .expect("table, key and expression are set");
        TransactWriteItem::builder().update(update).build()
    }

    // --- plumbing --------------------------------------------------------------------------

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
    ) -> Result<aws_sdk_dynamodb::types::builders::UpdateBuilder, AwsError> {
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
        let item = self.item(run_id, sort, value)?;
        self.client
            .put_item()
            .table_name(self.name)
            .set_item(Some(item))
            .send()
            .await
            .map_err(|error| AwsError::new(format!("PutItem of {sort}"), &error))?;
        Ok(())
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

    fn item<T: Serialize>(&self, run_id: &RunId, sort: &str, value: &T) -> Result<Item, AwsError> {
        let mut item: Item = serde_dynamo::to_item(value).map_err(coding)?;
        item.extend(key(run_id, sort));
        Ok(item)
    }
}

const ADD_CONTENT: &str = "ADD #rows :rows, #objects :objects, #bytes :bytes, \
                           undecodable_keys :undecodable_keys";

fn add_content(
    update: aws_sdk_dynamodb::types::builders::UpdateBuilder,
    content: FileContent,
) -> aws_sdk_dynamodb::types::builders::UpdateBuilder {
    update
        .expression_attribute_names("#rows", "rows")
        .expression_attribute_names("#objects", "objects")
        .expression_attribute_names("#bytes", "bytes")
        .expression_attribute_values(":rows", number(content.rows))
        .expression_attribute_values(":objects", number(content.objects))
        .expression_attribute_values(":bytes", number(content.bytes))
        .expression_attribute_values(":undecodable_keys", number(content.undecodable_keys))
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
    format!("bucket#{}#{}", bucket.account, bucket.bucket)
}

fn file_key(bucket: &BucketName, file: &str) -> String {
    format!("file#{bucket}#{file}")
}

fn query_key(number: u32) -> String {
    format!("query#{number:03}")
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: impl ToString) -> AttributeValue {
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
