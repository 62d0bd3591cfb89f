//! Makes the snapshot a table: from here on no bucket becomes `done`, rows of buckets that did not
//! make it are deleted, totals are merged, the table gets a partition for each `done` bucket, and
//! the queries are made ready.
//!
//! May be repeated: everything is made if it is not there.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use shared::aws::{AwsError, Partition};
use shared::catalogue::{Now, Table};
use shared::error::TaskError;
use shared::ids::RunId;
use shared::input::QueryInput;
use shared::run::{Query, QueryState, Run, SourceBucket};
use shared::status::InventoryStatus;
use shared::totals::Totals;
use shared::{catalogue, naming, protocol, top_prefixes};

use crate::Platform;

/// Totals fetched at once.
const CONCURRENCY: usize = 40;

/// A run whose waiting is over.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The run.
    pub run_id: RunId,
}

/// What is to be run next.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Queries, numbered from 0.
    pub query_count: usize,
}

/// Publishes the snapshot.
///
/// # Errors
/// `SmokeTestFailed` when a Region of a smoke run did not deliver; `InvalidInput` when somebody
/// made the table since the run started, or when the run was closed meanwhile.
pub async fn handle(platform: Arc<Platform>, input: Input) -> Result<Output, TaskError> {
    let runs = platform.runs();
    runs.freeze(&input.run_id, platform.clients.now()).await?;
    let run = platform.run(&input.run_id).await?;
    let buckets = explained(&platform, &run).await?;
    delete_stray_rows(&platform, &run, &buckets).await?;
    if run.input.is_smoke_test {
        protocol::smoke_test_verdict(&buckets).map_err(TaskError::SmokeTestFailed)?;
    }
    merge_totals(&platform, &run, &buckets).await?;
    make_table(&platform, &run, &buckets).await?;
    let query_count = prepare_queries(&platform, &run).await?;
    let done = buckets
        .iter()
        .filter(|bucket| bucket.status == InventoryStatus::Done)
        .count();
    tracing::info!(done, of = buckets.len(), "snapshot published");
    Ok(Output { query_count })
}

/// The buckets of the run; those that are still in progress now have the reason why.
async fn explained(platform: &Platform, run: &Run) -> Result<Vec<SourceBucket>, AwsError> {
    let runs = platform.runs();
    let mut buckets = runs.buckets(&run.run_id).await?;
    for bucket in &mut buckets {
        if bucket.status == InventoryStatus::InProgress {
            let reason = protocol::overdue(bucket, run.deadline);
            runs.explain_in_progress(&run.run_id, bucket, &reason)
                .await?;
            bucket.reason = Some(reason);
        }
    }
    Ok(buckets)
}

async fn delete_stray_rows(
    platform: &Platform,
    run: &Run,
    buckets: &[SourceBucket],
) -> Result<(), AwsError> {
    let objects = platform.consolidated();
    let home = &platform.settings.consolidated_bucket;
    for bucket in buckets
        .iter()
        .filter(|bucket| protocol::has_stray_rows(bucket))
    {
        let keys = objects.list(home, &location(run, bucket)).await?;
        objects.delete(home, &keys).await?;
    }
    Ok(())
}

/// Adds up the totals of all files, and the top prefixes of the largest buckets. Files are taken in
/// one order, the largest bucket first, so that the outcome is the same whenever this is repeated,
/// and so that no more than one bucket's prefixes are held at a time.
async fn merge_totals(
    platform: &Platform,
    run: &Run,
    buckets: &[SourceBucket],
) -> Result<(), TaskError> {
    let (objects, home) = (
        &platform.consolidated(),
        &platform.settings.consolidated_bucket,
    );
    let is_done = |bucket: &&SourceBucket| bucket.status == InventoryStatus::Done;
    let mut done: Vec<&SourceBucket> = buckets.iter().filter(is_done).collect();
    top_prefixes::largest_first(&mut done);
    let files: Vec<(usize, Vec<String>)> = futures::stream::iter(done.iter().enumerate())
        .map(|(rank, bucket)| async move {
            let prefix = naming::file_totals_key(&run.run_id, &bucket.account, &bucket.bucket, "");
            let prefix = prefix.trim_end_matches(".json");
            objects.list(home, prefix).await.map(|keys| (rank, keys))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let keys = files
        .into_iter()
        .flat_map(|(rank, keys)| keys.into_iter().map(move |key| (rank, key)));
    let mut parts = futures::stream::iter(keys)
        .map(|(rank, key)| async move {
            let body = objects.get(home, &key).await?;
            Ok::<_, AwsError>((rank, key, body))
        })
        .buffered(CONCURRENCY);
    let mut totals = Totals::default();
    let mut collector = top_prefixes::Collector::new(&done);
    while let Some((rank, key, body)) = parts.try_next().await? {
        let body = body.unwrap_or_default();
        let part: Totals = serde_json::from_slice(&body)
            .map_err(|error| TaskError::Internal(format!("totals {key}: {error}")))?;
        collector.add(rank, &part.by_top_prefix);
        totals.merge(part);
        totals.compact();
    }
    let prefixes = collector.finish();
    store(platform, &naming::run_totals_key(&run.run_id), &totals).await?;
    store(platform, &naming::top_prefixes_key(&run.run_id), &prefixes).await
}

async fn store(platform: &Platform, key: &str, document: &impl Serialize) -> Result<(), TaskError> {
    let body =
        serde_json::to_vec(document).map_err(|error| TaskError::Internal(error.to_string()))?;
    let home = &platform.settings.consolidated_bucket;
    platform
        .consolidated()
        .put(home, key, "application/json", Bytes::from(body))
        .await?;
    Ok(())
}

async fn make_table(
    platform: &Platform,
    run: &Run,
    buckets: &[SourceBucket],
) -> Result<(), TaskError> {
    let (clients, runs) = (&platform.clients, platform.runs());
    let (database, table) = (
        &run.input.athena_database_name,
        &run.input.athena_table_name,
    );
    if !clients.database_exists(database).await? {
        runs.record_making_database(&run.run_id).await?;
        clients.create_database(database).await?;
    }
    if !run.made_table {
        if clients.table_exists(database, table).await? {
            return Err(TaskError::InvalidInput(format!(
                "athena_table_name: table {table} of database {database} was made by somebody else \
                 since the run started"
            )));
        }
        if !runs.record_making_table(&run.run_id).await? {
            return Err(TaskError::InvalidInput(format!(
                "run_id: run {} is closed; no table is made of it any more",
                run.run_id
            )));
        }
    }
    let home = &platform.settings.consolidated_bucket;
    let place = |prefix: String| format!("s3://{home}/{prefix}");
    let description = format!("S3Insights run {}", run.run_id);
    let whole = place(naming::snapshot_prefix(&run.run_id));
    clients
        .create_table(database, table, &whole, &description)
        .await?;
    let partitions: Vec<Partition> = buckets
        .iter()
        .filter(|bucket| bucket.status == InventoryStatus::Done && bucket.files != Some(0))
        .map(|bucket| Partition {
            account: bucket.account.clone(),
            region: bucket.region.clone(),
            bucket: bucket.bucket.clone(),
            location: place(location(run, bucket)),
        })
        .collect();
    clients
        .create_partitions(database, table, &partitions)
        .await?;
    Ok(())
}

async fn prepare_queries(platform: &Platform, run: &Run) -> Result<usize, TaskError> {
    let runs = platform.runs();
    let table = Table {
        database: &run.input.athena_database_name,
        table: &run.input.athena_table_name,
    };
    // Ages are relative to the start of the run, so that its results can be had again.
    let now = Now::At(run.started_at);
    let known = runs.queries(&run.run_id).await?;
    for (number, query) in (0..).zip(&run.input.athena_queries) {
        if known.iter().any(|known| known.number == number) {
            continue;
        }
        let (name, tells, severity, sql) = match query {
            QueryInput::Sql { name, query } => {
                (name.clone(), None, None, catalogue::resolve(query, table))
            }
            QueryInput::Catalog {
                catalog,
                parameters,
            } => {
                let query = catalogue::find(catalog).ok_or_else(|| {
                    TaskError::Internal(format!("query {catalog} left the catalogue"))
                })?;
                let arguments = query.arguments(parameters).map_err(|problems| {
                    TaskError::Internal(format!(
                        "query {catalog} takes other arguments now: {problems:?}"
                    ))
                })?;
                (
                    query.title_with(&arguments),
                    Some(query.tells.to_owned()),
                    Some(query.severity),
                    query.sql_over(table, now, &arguments),
                )
            }
        };
        let query = Query {
            number,
            name,
            tells,
            severity,
            sql,
            state: QueryState::Waiting,
            execution_id: None,
            rows: None,
            sample: None,
            result_location: None,
            scanned_bytes: None,
            reason: None,
        };
        runs.put_query(&run.run_id, &query).await?;
    }
    Ok(run.input.athena_queries.len())
}

fn location(run: &Run, bucket: &SourceBucket) -> String {
    naming::partition_prefix(&run.run_id, &bucket.account, &bucket.region, &bucket.bucket)
}
