//! What must hold, looked at after every write, whenever nothing is under way, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use real_shared::ids::RunId;
use real_shared::run::{InventoryFile, Outcome, Run, SourceBucket};
use real_shared::status::InventoryStatus;
use real_shared::totals::Totals;
use real_shared::{dead_letter, naming};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::dynamodb::Key;
use crate::estate::{CONSOLIDATED, DEPLOYMENT};
use crate::expression::Item;
use crate::inventory::Content;
use crate::queues;
use crate::world::{State, Token, seconds};

/// The status of a bucket's record.
fn status(item: &Item) -> Option<InventoryStatus> {
    let text = item.get("status")?.as_s().ok()?;
    InventoryStatus::ALL
        .into_iter()
        .find(|status| status.name() == text)
}

fn decode<T: DeserializeOwned>(item: &Item) -> T {
    serde_dynamo::from_item(item.clone()).expect("the tasks write what they read")
}

fn run(state: &State, run_id: &str) -> Option<Run> {
    let key = (format!("run#{run_id}"), "run".to_owned());
    state.table.items.get(&key).map(decode)
}

fn parts<T: DeserializeOwned>(state: &State, pk: &str, prefix: &str) -> Vec<T> {
    items(state, pk, prefix)
        .map(|(_, item)| decode(item))
        .collect()
}

fn items<'a>(
    state: &'a State,
    pk: &'a str,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Item)> {
    state
        .table
        .items
        .range((pk.to_owned(), prefix.to_owned())..)
        .take_while(move |((found, sk), _)| found == pk && sk.starts_with(prefix))
}

/// After an item was written.
pub(crate) fn after_write(state: &mut State, key: &Key, before: Option<&Item>) {
    if !key.1.starts_with("bucket#") {
        return;
    }
    let after = &state.table.items[key];
    let Some(next) = status(after) else {
        state.violated(format!("{} has no status", key.1));
        return;
    };
    let Some(was) = before.and_then(status) else {
        return;
    };
    if was == next {
        return;
    }
    let has_reason = before.is_some_and(|item| item.contains_key("reason"));
    if !was.may_become(has_reason, next) && was != InventoryStatus::InProgress {
        state.violated(format!("{} went from {was} to {next}", key.1));
    }
    if next == InventoryStatus::Done {
        state.figures.done += 1;
        let bucket: SourceBucket = decode(&state.table.items[key]);
        let run_id = key.0.trim_start_matches("run#").to_owned();
        if run(state, &run_id).is_none_or(|run| run.frozen_at.is_some()) {
            state.violated(format!("{} became done after its run was frozen", key.1));
        }
        rows_are_there(state, &run_id, &bucket);
    }
}

/// Whether every row of the report that a `done` bucket took is in the snapshot, once, and nothing
/// else is in its partition.
fn rows_are_there(state: &mut State, run_id: &str, bucket: &SourceBucket) {
    let name = &bucket.bucket;
    let report = state.reports.iter().find(|report| {
        report.is_sound
            && bucket.report.as_ref() == Some(&report.manifest_key)
            && bucket.report_md5 == Some(report.manifest_md5.to_string())
    });
    let Some(report) = report else {
        state.violated(format!(
            "{name} is done of a report that is damaged or not there"
        ));
        return;
    };
    let truth = report.files.clone();
    let there = rows(state, run_id, bucket);
    if there != truth {
        let names = |rows: &BTreeMap<String, Bytes>| {
            let names: Vec<&str> = rows.keys().map(String::as_str).collect();
            names.join(", ")
        };
        let (truth, there) = (names(&truth), names(&there));
        state.violated(format!(
            "{name} is done of files [{truth}], and [{there}] are in the snapshot"
        ));
        return;
    }
    let count: u64 = there
        .values()
        .filter_map(|body| Content::parse(body))
        .map(|content| content.rows)
        .sum();
    if count != bucket.rows || bucket.files_pending != Some(0) {
        let (rows, pending) = (bucket.rows, bucket.files_pending);
        state.violated(format!(
            "{name} has {count} rows, counted are {rows}, pending {pending:?}"
        ));
    }
}

/// What is in the partition of a bucket, by file.
fn rows(state: &State, run_id: &str, bucket: &SourceBucket) -> BTreeMap<String, Bytes> {
    let run_id = RunId::try_from(run_id).expect("it is a run");
    let prefix = naming::partition_prefix(&run_id, &bucket.account, &bucket.region, &bucket.bucket);
    under(state, CONSOLIDATED, &prefix)
        .map(|(key, body)| {
            let file = key[prefix.len()..].trim_end_matches(".parquet");
            (file.to_owned(), body.clone())
        })
        .collect()
}

fn under<'a>(
    state: &'a State,
    bucket: &'a str,
    prefix: &'a str,
) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
    state
        .objects
        .range((bucket.to_owned(), prefix.to_owned())..)
        .take_while(move |((of, key), _)| of == bucket && key.starts_with(prefix))
        .map(|((_, key), body)| (key.as_str(), body))
}

/// After a transaction: the counter of the run is the number of its buckets in progress.
pub(crate) fn after_transaction(state: &mut State, pk: &str) {
    let in_progress = items(state, pk, "bucket#")
        .filter(|(_, item)| status(item) == Some(InventoryStatus::InProgress))
        .count();
    let run = &state.table.items[&(pk.to_owned(), "run".to_owned())];
    let counted = run.get("in_progress").and_then(|count| count.as_n().ok());
    let counted = counted.map_or("nothing", String::as_str);
    if counted != in_progress.to_string() {
        let what = format!("{in_progress} buckets are in progress, counted are {counted}");
        state.violated(what);
    }
    if in_progress == 0 {
        let now = state.now;
        let run_id = pk.trim_start_matches("run#").to_owned();
        state.waits.entry(run_id).or_default().settled_at = Some(now);
    }
}

/// After a token was answered: nothing is to be waited for.
pub(crate) fn after_answer(state: &mut State, token: &str, _output: &Value) {
    let run_id = token.split('-').nth(1).unwrap_or_default().to_owned();
    let Some(run) = run(state, &run_id) else {
        return;
    };
    let now = state.timestamp();
    if !run.is_settled() && now < run.deadline && run.frozen_at.is_none() {
        let in_progress = run.in_progress;
        state.violated(format!(
            "the wait is answered with {in_progress} buckets in progress"
        ));
    }
}

/// After the wait: it ended for a reason, and not much later than it could.
pub(crate) fn after_wait(state: &mut State, run_id: &str, refresh: u32) {
    let now = state.now;
    let run = run(state, run_id).expect("it waited");
    let waiting = state.waits.entry(run_id.to_owned()).or_default();
    waiting.ended_at = Some(now);
    let (began, settled) = (waiting.began_at.unwrap_or(now), waiting.settled_at);
    // One interval, one more for every look that failed, and the retries of a task that stood still.
    let most = i64::from(refresh) * (1 + waiting.failed_looks) + 7_200;
    let time = state.timestamp();
    if !run.is_settled() && time < run.deadline && run.frozen_at.is_none() {
        state.violated(format!(
            "run {run_id} stopped waiting for {} buckets",
            run.in_progress
        ));
    }
    if run.is_settled() {
        let late = now - settled.unwrap_or(began).max(began);
        if late > most {
            state.violated(format!(
                "run {run_id} waited {late} s after all was settled"
            ));
        }
    }
    let past = seconds(run.deadline, time);
    if past > most {
        state.violated(format!("run {run_id} waited {past} s after its deadline"));
    }
}

/// Buckets that a published snapshot speaks of.
fn done_buckets(state: &State, run_id: &str) -> Vec<SourceBucket> {
    let mut buckets: Vec<SourceBucket> = parts(state, &format!("run#{run_id}"), "bucket#");
    buckets.retain(|bucket| bucket.status == InventoryStatus::Done);
    buckets
}

/// After publication: partitions and totals speak of the `done` buckets.
pub(crate) fn after_publication(state: &mut State, run_id: &str) {
    speaks_of_the_done(state, run_id);
    let names = done_buckets(state, run_id);
    let names = names.into_iter().map(|bucket| bucket.bucket.to_string());
    let names: BTreeSet<String> = names.collect();
    state.published.insert(run_id.to_owned(), names);
}

fn speaks_of_the_done(state: &mut State, run_id: &str) {
    let done = done_buckets(state, run_id);
    let run = run(state, run_id).expect("it is published");
    let place = (
        run.input.athena_database_name.clone(),
        run.input.athena_table_name.clone(),
    );
    let Some(partitions) = state.tables.get(&place) else {
        state.violated(format!("run {run_id} is published and has no table"));
        return;
    };
    let expected: BTreeSet<String> = done
        .iter()
        .filter(|bucket| bucket.files != Some(0))
        .map(|bucket| {
            let prefix = naming::partition_prefix(
                &run.run_id,
                &bucket.account,
                &bucket.region,
                &bucket.bucket,
            );
            format!("s3://{CONSOLIDATED}/{prefix}")
        })
        .collect();
    if *partitions != expected {
        let what = format!("run {run_id} has partitions {partitions:?} and not {expected:?}");
        state.violated(what);
    }
    let totals = naming::run_totals_key(&run.run_id);
    let totals = state.objects.get(&(CONSOLIDATED.to_owned(), totals));
    let totals: Option<Totals> = totals.and_then(|body| serde_json::from_slice(body).ok());
    let counted: u64 = done.iter().map(|bucket| bucket.rows).sum();
    let totals = totals.map(|totals| totals.all.versions);
    if totals != Some(counted) {
        state.violated(format!(
            "run {run_id} has totals of {totals:?} rows and not {counted}"
        ));
    }
}

/// When nothing is under way and no message is left: nobody is forgotten.
pub(crate) fn when_idle(state: &mut State) {
    // What was lost, only the deadline brings; what is dead, a replay too.
    let is_missing = state.figures.lost > 0 || !state.dead.not_replayed.is_empty();
    if is_missing || !state.open_invocations.is_empty() {
        return;
    }
    let runs: Vec<String> = state
        .waits
        .iter()
        .filter(|(_, waiting)| waiting.began_at.is_some() && waiting.ended_at.is_none())
        .map(|(run_id, _)| run_id.clone())
        .collect();
    for run_id in runs {
        let Some(run) = run(state, &run_id) else {
            continue;
        };
        if run.frozen_at.is_some() {
            continue;
        }
        let token = run
            .task_token
            .as_ref()
            .and_then(|token| state.tokens.get(token));
        // Only the next look notices that a bucket was ended by a task that its caller gave up on, or
        // by a look that failed afterwards.
        let waiting = &state.waits[&run_id];
        let is_left_to_the_next_look = waiting
            .last_look_failed_at
            .is_some_and(|failed| waiting.settled_at <= Some(failed));
        let is_exact = state.figures.orphaned == 0 && !is_left_to_the_next_look;
        if run.is_settled() && token == Some(&Token::Waiting) && is_exact {
            state.violated(format!(
                "run {run_id} is settled and nobody answers its token"
            ));
        }
        let pk = format!("run#{run_id}");
        let buckets: Vec<SourceBucket> = parts(state, &pk, "bucket#");
        for bucket in buckets {
            if bucket.status == InventoryStatus::InProgress && bucket.report.is_some() {
                let name = bucket.bucket;
                state.violated(format!(
                    "the report of {name} was taken and nobody works on it"
                ));
            }
        }
    }
}

/// Whether a run left something that it made for itself, and what.
pub(crate) fn leftovers(state: &State, run_id: &str) -> Vec<String> {
    let configuration = format!("s3insights-{DEPLOYMENT}-{run_id}");
    let configurations = state
        .configurations
        .keys()
        .filter(|(bucket, id)| {
            // Of what is closed to us nothing can be removed, and the run stays open for it.
            let source = &state.sources[bucket];
            *id == configuration && source.exists && source.open
        })
        .map(|(bucket, _)| format!("a configuration on {bucket}"));
    let own = format!("{DEPLOYMENT}-{run_id}-");
    let stacks = state.stacks.keys();
    let stacks = stacks
        .filter(|(_, name)| name.starts_with(&own))
        .map(|(_, name)| format!("stack {name}"));
    let objects = state.objects.keys();
    let objects = objects
        .filter(|(bucket, _)| bucket.starts_with(&own))
        .map(|(bucket, key)| format!("{bucket}/{key}"));
    configurations.chain(stacks).chain(objects).collect()
}

/// Whether a run takes nothing more.
pub(crate) fn is_over(state: &State, run_id: &RunId) -> bool {
    run(state, run_id.as_str()).is_none_or(|run| run.frozen_at.is_some())
}

/// What is kept of all runs: their records, and what is in the consolidated bucket besides letters.
pub(crate) fn kept(state: &State) -> (BTreeMap<Key, Item>, BTreeMap<String, Bytes>) {
    let records = state.table.items.iter();
    let records = records.filter(|((pk, _), _)| pk.starts_with("run#"));
    let records = records.map(|(key, item)| (key.clone(), item.clone()));
    let objects = under(state, CONSOLIDATED, "");
    let objects = objects.filter(|(key, _)| !key.starts_with(dead_letter::PREFIX));
    let objects = objects.map(|(key, body)| (key.to_owned(), body.clone()));
    (records.collect(), objects.collect())
}

/// Every message that was given up is kept to the byte, with all that was done about it, and told of.
fn no_message_is_lost(state: &mut State) {
    let letters = queues::letters(state);
    for (id, body) in state.dead.bodies.clone() {
        let id = id.to_string();
        let kept = letters.iter().find(|(_, letter)| letter.message_id == id);
        if kept.is_none_or(|(_, letter)| *letter.body != *body) {
            state.violated(format!("message {id} was given up and is not kept: {body}"));
        }
    }
    if letters.len() != state.dead.bodies.len() {
        let (kept, dead) = (letters.len(), state.dead.bodies.len());
        state.violated(format!("{kept} letters are kept of {dead} dead messages"));
    }
    for (key, letter) in letters {
        let marks = state.dead.marks.get(&key).copied().unwrap_or_default();
        if letter.replayed_at.len() != marks {
            let known = letter.replayed_at.len();
            state.violated(format!(
                "{key} was replayed {marks} times and tells of {known}"
            ));
        }
        let (Some(run_id), Some(account), Some(name)) =
            (letter.run_id, letter.account_id, letter.bucket)
        else {
            continue;
        };
        let key = (format!("run#{run_id}"), format!("bucket#{account}#{name}"));
        let bucket: Option<SourceBucket> = state.table.items.get(&key).map(decode);
        if bucket.is_some_and(|bucket| bucket.dead_letter.is_none()) {
            state.violated(format!("nobody is told of a dead message about {name}"));
        }
    }
}

/// The runs on record.
pub(crate) fn runs(state: &State) -> Vec<Run> {
    let runs = state.table.items.iter().filter(|((_, sk), _)| sk == "run");
    runs.map(|(_, item)| decode(item)).collect()
}

/// At the end of a schedule, when nothing happens any more.
pub(crate) fn at_the_end(state: &mut State) {
    let running: Vec<String> = state
        .executions
        .iter()
        .filter(|(_, execution)| execution.status == "RUNNING")
        .map(|(arn, _)| arn.clone())
        .collect();
    for arn in running {
        state.violated(format!("{arn} waits, and nothing will happen any more"));
    }
    for run in runs(state) {
        of_run(state, &run);
    }
    no_message_is_lost(state);
}

fn of_run(state: &mut State, run: &Run) {
    let run_id = run.run_id.as_str();
    let pk = format!("run#{run_id}");
    let buckets: Vec<SourceBucket> = parts(state, &pk, "bucket#");
    let files: Vec<InventoryFile> = parts(state, &pk, "file#");
    // Of a run that broke off before it had a table nothing is kept.
    let is_kept = run.made_table || state.published.contains_key(run_id);
    for bucket in &buckets {
        let name = &bucket.bucket;
        if bucket.status == InventoryStatus::Done && is_kept {
            rows_are_there(state, run_id, bucket);
        } else {
            let there = rows(state, run_id, bucket);
            if !there.is_empty() {
                let (status, count) = (bucket.status, there.len());
                state.violated(format!(
                    "{name} is {status}, and {count} files of it are left"
                ));
            }
        }
        let own = files.iter().filter(|file| file.bucket == *name);
        let counted = own.clone().filter(|file| file.done).count();
        let is_whole = counted > 0 && counted == own.count();
        if is_whole && bucket.status == InventoryStatus::InProgress {
            state.violated(format!(
                "every file of {name} is counted, and it is in progress"
            ));
        }
    }
    if let Some(published) = state.published.get(run_id).cloned() {
        let done = buckets
            .iter()
            .filter(|bucket| bucket.status == InventoryStatus::Done)
            .map(|bucket| bucket.bucket.to_string());
        let done: BTreeSet<String> = done.collect();
        if done == published {
            speaks_of_the_done(state, run_id);
        } else {
            state.violated(format!("{done:?} are done, published are {published:?}"));
        }
    }
    let is_covered = buckets.iter().all(|bucket| bucket.status.is_covered());
    if run.outcome == Some(Outcome::Complete) {
        state.figures.complete += 1;
        if !is_covered {
            state.violated(format!("run {run_id} says complete and is not"));
        }
    }
    let summary = naming::summary_key(&run.run_id, "json");
    let summary = state.objects.get(&(CONSOLIDATED.to_owned(), summary));
    let summary: Option<Value> = summary.and_then(|body| serde_json::from_slice(body).ok());
    if let Some(summary) = summary
        && state.published.contains_key(run_id)
    {
        let told = summary["coverage"]["done"].as_u64().unwrap_or_default();
        let done = buckets
            .iter()
            .filter(|bucket| bucket.status == InventoryStatus::Done)
            .count() as u64;
        if told != done {
            state.violated(format!(
                "the summary of {run_id} tells of {told} buckets, {done} are done"
            ));
        }
        if summary["outcome"] == "complete" && !is_covered {
            state.violated(format!(
                "the summary of {run_id} says complete, and it is not"
            ));
        }
    }
    if run.outcome.is_none() || run.frozen_at.is_none() {
        state.violated(format!("run {run_id} has not come to its end"));
    }
}
