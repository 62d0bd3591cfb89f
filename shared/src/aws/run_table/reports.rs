//! Reports and their files on record, and how files are counted.

use aws_sdk_dynamodb::types::builders::UpdateBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use futures::{StreamExt, TryStreamExt};

use super::{
    ATTEMPTS, AwsError, CONCURRENCY, RunTable, bucket_key, conflict, held, key, number, status,
    text,
};
use crate::ids::{BucketName, RunId};
use crate::manifest::Md5Hash;
use crate::run::{InventoryFile, SourceBucket};
use crate::status::InventoryStatus;

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

impl RunTable<'_> {
    /// Has the run take one report of a bucket, named by its manifest's key and MD5: a report that is
    /// delivered anew within the same minute has the same key and other files. A report of no files
    /// makes the bucket `done` at once; see [`Self::finish_without_files`].
    pub async fn claim_report(
        &self,
        run_id: &RunId,
        bucket: &SourceBucket,
        manifest_key: &str,
        manifest_md5: Md5Hash,
        files: u64,
    ) -> Result<ReportClaim, AwsError> {
        let answer = self
            .client
            .update_item()
            .table_name(self.name)
            .set_key(Some(key(run_id, &bucket_key(bucket))))
            .update_expression(
                "SET report = :report, report_md5 = :md5, #files = :files, \
                 files_pending = if_not_exists(files_pending, :files)",
            )
            .condition_expression(
                "#status = :in_progress AND (attribute_not_exists(report) OR \
                 (report = :report AND report_md5 = :md5))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#files", "files")
            .expression_attribute_values(":report", text(manifest_key))
            .expression_attribute_values(":md5", text(&manifest_md5.to_string()))
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
                self.put_if_absent(run_id, &file_key(&file.bucket, name), file)
                    .await
            })
            .buffer_unordered(CONCURRENCY)
            .try_for_each(|()| async { Ok(()) })
            .await
    }

    /// All files on record of the report of a bucket.
    pub async fn files(
        &self,
        run_id: &RunId,
        bucket: &BucketName,
    ) -> Result<Vec<InventoryFile>, AwsError> {
        self.all(run_id, &format!("file#{bucket}#")).await
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
}

const ADD_CONTENT: &str = "ADD #rows :rows, #objects :objects, #bytes :bytes, \
                           undecodable_keys :undecodable_keys";

fn add_content(update: UpdateBuilder, content: FileContent) -> UpdateBuilder {
    update
        .expression_attribute_names("#rows", "rows")
        .expression_attribute_names("#objects", "objects")
        .expression_attribute_names("#bytes", "bytes")
        .expression_attribute_values(":rows", number(content.rows))
        .expression_attribute_values(":objects", number(content.objects))
        .expression_attribute_values(":bytes", number(content.bytes))
        .expression_attribute_values(":undecodable_keys", number(content.undecodable_keys))
}

fn file_key(bucket: &BucketName, file: &str) -> String {
    format!("file#{bucket}#{file}")
}
