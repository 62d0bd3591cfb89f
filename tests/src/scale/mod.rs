//! What a run does as the estate grows: counted on the embedded AWS, with the machines, functions and
//! templates that go to AWS.

mod estate;
mod history;
mod table;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use estate::{Case, cases};
pub use history::Seen;
pub use table::tables;

use crate::{Ended, Platform};

/// Requests that go on at once when something is built or looked up.
const CONCURRENCY: usize = 16;

/// What one run was seen to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// Name of the case.
    pub case: String,
    /// Accounts of the run.
    pub accounts: u64,
    /// Source buckets.
    pub buckets: u64,
    /// Regions with source buckets.
    pub regions: u64,
    /// Rows of the snapshot.
    pub rows: u64,
    /// Inventory files, each of them one message of the file queue.
    pub files: u64,
    /// Objects that S3 delivered, each of them one SNS notification and one message of the
    /// notification queue.
    pub notifications: u64,
    /// State transitions as Step Functions bills them: states entered and attempts repeated, in the
    /// executions of both machines and in the child executions of their maps.
    pub transitions: u64,
    /// Events of the largest history, as AWS would write them: computed from the states entered.
    pub history_events: u64,
    /// Bytes of the largest input or output of a state.
    pub payload_bytes: u64,
    /// Calls of functions by the machines, by name of the state.
    pub invocations: BTreeMap<String, u64>,
    /// Requests of all functions, by IAM action. What a refused request asked for is among them.
    pub requests: BTreeMap<String, u64>,
    /// Seconds from the start of the Harvester to its end, on one machine for everything.
    pub seconds: u64,
}

impl Measurement {
    /// Requests whose action begins so.
    pub fn requests_of(&self, prefix: &str) -> u64 {
        let found = self
            .requests
            .iter()
            .filter(|(action, _)| action.starts_with(prefix));
        found.map(|(_, count)| count).sum()
    }
}

/// Builds the estate of a case and runs the Harvester over it.
pub async fn measure(platform: &Platform, case: &Case) -> Result<Measurement> {
    let estate = estate::build(platform, case).await?;
    let accounts: Vec<&str> = estate.accounts.iter().map(String::as_str).collect();
    let mut input = platform.input(&accounts);
    input["run_id"] = json!(case.run_id());
    input["athena_table_name"] = json!(case.run_id());
    input["supported_regions"] = json!(estate.regions);

    let before = requests(platform).await?;
    let executions_before = history::executions_of(platform, "CleanupStateMachineArn").await?;
    let started = Instant::now();
    let ended = platform.harvest(&input).await?;
    let seconds = started.elapsed().as_secs();
    check(&ended, &estate)?;
    let mut requests = requests(platform).await?;
    for (action, count) in before {
        if let Some(now) = requests.get_mut(&action) {
            *now -= count;
        }
    }
    requests.retain(|_, count| *count > 0);

    let mut executions = history::executions_of(platform, "CleanupStateMachineArn").await?;
    executions.retain(|execution| !executions_before.contains(execution));
    executions.push(ended.execution.arn.clone());
    let mut seen = Seen::default();
    for execution in &executions {
        seen.add_whole(platform, execution).await?;
    }

    Ok(Measurement {
        case: case.name.clone(),
        accounts: count(estate.accounts.len()),
        buckets: count(estate.buckets.len()),
        regions: count(estate.regions.len()),
        rows: ended.parts.buckets.iter().map(|bucket| bucket.rows).sum(),
        files: ended
            .parts
            .buckets
            .iter()
            .filter_map(|bucket| bucket.files)
            .sum(),
        notifications: notifications(platform, &estate).await?,
        transitions: seen.transitions,
        history_events: seen.largest_history,
        payload_bytes: seen.largest_payload,
        invocations: seen.invocations,
        requests,
        seconds,
    })
}

fn check(ended: &Ended, estate: &estate::Built) -> Result<()> {
    let done = ended
        .parts
        .buckets
        .iter()
        .filter(|bucket| bucket.status.name() == "done")
        .count();
    ensure!(
        ended.execution.status == "SUCCEEDED" && done == estate.buckets.len(),
        "{done} of {} buckets are done: {:#?}",
        estate.buckets.len(),
        ended.execution
    );
    Ok(())
}

/// Requests of the platform's functions so far, by IAM action.
async fn requests(platform: &Platform) -> Result<BTreeMap<String, u64>> {
    let mut requests = BTreeMap::new();
    for call in platform.aws.calls().await? {
        *requests.entry(call.action).or_default() += call.count;
    }
    Ok(requests)
}

/// Objects that were delivered to the destinations.
async fn notifications(platform: &Platform, estate: &estate::Built) -> Result<u64> {
    futures::stream::iter(&estate.buckets)
        .map(async |bucket| {
            let deliveries = platform.aws.deliveries(&bucket.name).await?;
            anyhow::Ok(
                deliveries
                    .iter()
                    .map(|delivery| count(delivery.keys.len()))
                    .sum::<u64>(),
            )
        })
        .buffer_unordered(CONCURRENCY)
        .try_fold(0, async |sum, more| anyhow::Ok(sum + more))
        .await
        .context("looking up what was delivered")
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
