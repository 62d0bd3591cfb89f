//! Source buckets on record, and how their status changes.

use aws_sdk_dynamodb::types::{PutRequest, TransactWriteItem, Update, WriteRequest};
use futures::{StreamExt, TryStreamExt};

use super::{
    ATTEMPTS, AwsError, CONCURRENCY, RunTable, backoff, bucket_key, bucket_key_of, coding,
    conflict, held, item, key, status,
};
use crate::ids::{AccountId, BucketName, RunId};
use crate::run::{LeftOut, SourceBucket};
use crate::status::{InventoryStatus, Reason};

/// Buckets that one transaction moves to `in_progress`, besides the run's counter.
const BUCKETS_PER_TRANSACTION: usize = 50;

impl RunTable<'_> {
    /// Records buckets just discovered. One that is on record keeps its record.
    pub async fn add_buckets(
        &self,
        run_id: &RunId,
        buckets: &[SourceBucket],
    ) -> Result<(), AwsError> {
        futures::stream::iter(buckets)
            .map(|bucket| async move {
                self.put_if_absent(run_id, &bucket_key(bucket), bucket)
                    .await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// Records buckets that the input leaves out.
    pub async fn put_left_out(&self, run_id: &RunId, left_out: &[LeftOut]) -> Result<(), AwsError> {
        let mut requests = Vec::new();
        for bucket in left_out {
            let sort = format!("left_out#{}#{}", bucket.account, bucket.bucket);
            let put = PutRequest::builder()
                .set_item(Some(item(run_id, &sort, bucket)?))
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
        self.get(run_id, &bucket_key_of(account, bucket)).await
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
}
