//! Queries in Athena.

use aws_sdk_athena::types::{
    QueryExecutionContext, QueryExecutionState, QueryExecutionStatistics,
    QueryRuntimeStatisticsRows, Row,
};

use super::{AwsError, Clients};
use crate::run::QueryState;
use crate::sample::{self, Sample};
use crate::status::Reason;

/// Pages of a result that are read to count its rows, 1,000 rows each. A longer result is counted
/// by Athena's own statistics.
const COUNTED_PAGES: usize = 200;

/// A query in Athena.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryProgress {
    /// Where it stands; never waiting.
    pub state: QueryState,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// `s3://` location of its result.
    pub result_location: Option<String>,
    /// Bytes it read so far.
    pub scanned_bytes: Option<u64>,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResults {
    /// How many rows, without the header; `None` when they are too many to count and Athena has no
    /// statistics of them.
    pub rows: Option<u64>,
    /// The first of them.
    pub sample: Sample,
}

impl Clients {
    /// Starts a query and gives its id; the same token starts it once. `token` has 32 to 128
    /// characters.
    pub async fn start_query(
        &self,
        work_group: &str,
        database: &str,
        sql: &str,
        token: &str,
    ) -> Result<String, AwsError> {
        let answer = self
            .athena
            .start_query_execution()
            .work_group(work_group)
            .query_execution_context(QueryExecutionContext::builder().database(database).build())
            .query_string(sql)
            .client_request_token(token)
            .send()
            .await
            .map_err(|error| AwsError::new("StartQueryExecution", &error))?;
        Ok(answer.query_execution_id().unwrap_or_default().to_owned())
    }

    /// Where a query stands.
    pub async fn query_progress(&self, execution_id: &str) -> Result<QueryProgress, AwsError> {
        let operation = || format!("GetQueryExecution of {execution_id}");
        let answer = self
            .athena
            .get_query_execution()
            .query_execution_id(execution_id)
            .send()
            .await
            .map_err(|error| AwsError::new(operation(), &error))?;
        let execution = answer.query_execution();
        let status = execution.and_then(|execution| execution.status());
        let state = match status.and_then(|status| status.state()) {
            Some(QueryExecutionState::Succeeded) => QueryState::Succeeded,
            Some(QueryExecutionState::Failed | QueryExecutionState::Cancelled) => {
                QueryState::Failed
            }
            _ => QueryState::Running,
        };
        let reason = (state == QueryState::Failed).then(|| {
            let code = status
                .and_then(|status| status.state())
                .map_or("FAILED", |state| state.as_str());
            let message = status
                .and_then(|status| status.state_change_reason())
                .unwrap_or("Athena gave no reason");
            Reason::new(format!("Query{}", title_case(code)), message)
        });
        Ok(QueryProgress {
            state,
            reason,
            result_location: execution
                .and_then(|execution| execution.result_configuration())
                .and_then(|configuration| configuration.output_location())
                .map(str::to_owned),
            scanned_bytes: execution
                .and_then(|execution| execution.statistics())
                .and_then(QueryExecutionStatistics::data_scanned_in_bytes)
                .and_then(|bytes| u64::try_from(bytes).ok()),
        })
    }

    /// Counts the rows of the result of a query that succeeded, and keeps the first of them.
    pub async fn query_results(&self, execution_id: &str) -> Result<QueryResults, AwsError> {
        let mut pages = self
            .athena
            .get_query_results()
            .query_execution_id(execution_id)
            .max_results(1_000)
            .into_paginator()
            .send();
        let mut first: Vec<Vec<Option<String>>> = Vec::new();
        let mut rows: u64 = 0;
        let mut read = 0;
        while let Some(page) = pages.next().await {
            if read == COUNTED_PAGES {
                return Ok(QueryResults {
                    rows: self.counted_by_athena(execution_id).await?,
                    sample: with_header(first),
                });
            }
            let page = page.map_err(|error| {
                AwsError::new(format!("GetQueryResults of {execution_id}"), &error)
            })?;
            read += 1;
            let page = page.result_set().map_or(&[][..], |set| set.rows());
            rows += page.len() as u64;
            let missing = (1 + sample::MAX_ROWS).saturating_sub(first.len());
            first.extend(page.iter().take(missing).map(values));
        }
        Ok(QueryResults {
            rows: Some(rows.saturating_sub(1)),
            sample: with_header(first),
        })
    }

    async fn counted_by_athena(&self, execution_id: &str) -> Result<Option<u64>, AwsError> {
        let answer = self
            .athena
            .get_query_runtime_statistics()
            .query_execution_id(execution_id)
            .send()
            .await
            .map_err(|error| {
                AwsError::new(
                    format!("GetQueryRuntimeStatistics of {execution_id}"),
                    &error,
                )
            })?;
        Ok(answer
            .query_runtime_statistics()
            .and_then(|statistics| statistics.rows())
            .and_then(QueryRuntimeStatisticsRows::output_rows)
            .and_then(|rows| u64::try_from(rows).ok()))
    }
}

/// The values of one row; `None` for NULL.
fn values(row: &Row) -> Vec<Option<String>> {
    row.data()
        .iter()
        .map(|value| value.var_char_value().map(str::to_owned))
        .collect()
}

/// The first row of a SELECT's result holds the names of its columns.
fn with_header(rows: Vec<Vec<Option<String>>>) -> Sample {
    let mut rows = rows.into_iter();
    let header = rows.next().unwrap_or_default();
    Sample::of(header.into_iter().map(Option::unwrap_or_default), rows)
}

fn title_case(code: &str) -> String {
    let mut characters = code.chars();
    characters
        .next()
        .map(|first| format!("{first}{}", characters.as_str().to_lowercase()))
        .unwrap_or_default()
}
