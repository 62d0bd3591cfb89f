//! `s3insights deadletters …`: messages that failed until their queue gave them up, and how they come
//! back.

mod list;
mod replay;
mod show;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use shared::dead_letter::{self, DeadLetter, Filter};
use shared::ids::RunId;
use shared::summary::visible;

use crate::arguments::{DeadLettersArguments, DeadLettersVerb};
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;

pub(crate) async fn deadletters(
    DeadLettersArguments { stack, verb }: DeadLettersArguments,
) -> Result<Exit> {
    let platform = Platform::from_environment(&stack).await?;
    match verb {
        DeadLettersVerb::List { filters, json } => list::run(&platform, &filters, json).await,
        DeadLettersVerb::Show { id, json } => show::run(&platform, &id, json).await,
        DeadLettersVerb::Replay(arguments) => replay::run(&platform, arguments).await,
    }
}

/// What may be done about a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It can be replayed.
    Waiting,
    /// It was replayed.
    Replayed,
    /// Its run is over: a replay changes nothing.
    RunIsOver,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Replayed => "replayed",
            Self::RunIsOver => "run is over",
        }
    }
}

/// A dead letter with where it is and what may be done about it.
#[derive(Debug, Serialize)]
struct Found {
    state: State,
    /// In the consolidated bucket.
    key: String,
    #[serde(flatten)]
    letter: DeadLetter,
}

/// The dead letters that the filters mean, newest first. Documents that cannot be read are told of and
/// left out.
async fn find(platform: &Platform, filters: &[Filter]) -> Result<Vec<Found>> {
    let mut letters = Vec::new();
    for (key, document) in platform.objects_under(dead_letter::PREFIX).await? {
        match DeadLetter::parse(&document) {
            Ok(letter) if dead_letter::are_meant(filters, &letter) => letters.push((key, letter)),
            Ok(_) => {}
            Err(error) => output::note(&format!("{}: {error}", visible(&key))),
        }
    }
    letters.sort_by(|(key, a), (other, b)| (b.kept_at, other).cmp(&(a.kept_at, key)));
    let mut runs = Runs::default();
    let mut found = Vec::with_capacity(letters.len());
    for (key, letter) in letters {
        let state = if letter.is_replayed() {
            State::Replayed
        } else if runs.is_over(platform, letter.run_id.as_ref()).await? {
            State::RunIsOver
        } else {
            State::Waiting
        };
        found.push(Found { state, key, letter });
    }
    Ok(found)
}

/// Which runs are over, each asked for once.
#[derive(Debug, Default)]
struct Runs(BTreeMap<RunId, bool>);

impl Runs {
    /// Whether a run that a letter tells is over: it does not take reports any more, or it is not on
    /// record any more.
    async fn is_over(&mut self, platform: &Platform, run_id: Option<&RunId>) -> Result<bool> {
        let Some(run_id) = run_id else {
            return Ok(false);
        };
        if let Some(is_over) = self.0.get(run_id) {
            return Ok(*is_over);
        }
        let run = platform.runs().run(run_id).await?;
        let is_over = run.is_none_or(|run| run.frozen_at.is_some());
        self.0.insert(run_id.clone(), is_over);
        Ok(is_over)
    }
}

/// Letters as a table.
fn table<'a>(letters: impl IntoIterator<Item = &'a Found>) -> String {
    let heading = ["ID", "KEPT", "QUEUE", "RUN", "BUCKET", "REASON", "STATE"]
        .map(str::to_owned)
        .to_vec();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let row = |found: &Found| {
        let letter = &found.letter;
        let kept_at = letter.kept_at.strftime("%Y-%m-%d %H:%M:%S UTC");
        vec![
            visible(&letter.message_id),
            kept_at.to_string(),
            letter.queue.to_string(),
            or_dash(letter.run_id.as_ref().map(RunId::to_string)),
            or_dash(letter.bucket.as_ref().map(ToString::to_string)),
            visible(&letter.reason.code),
            found.state.words().to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading)
        .chain(letters.into_iter().map(row))
        .collect();
    output::table(&rows)
}

#[cfg(test)]
fn found(message_id: &str, state: State) -> Found {
    let letter: DeadLetter = serde_json::from_value(serde_json::json!({
        "format_version": 1, "message_id": message_id, "queue": "files",
        "task": "inventory-file-consolidator",
        "reason": { "code": "AccessDenied", "message": "PutObject: no",
                    "missing_permission": "s3:PutObject" },
        "failed_at_receive": 20, "failed_at": "2026-03-01T12:00:00Z",
        "sent_at": "2026-03-01T00:00:00Z", "kept_at": "2026-03-01T12:00:01Z",
        "run_id": "nightly", "account_id": "111111111111", "bucket": "photos", "file": "a",
        "body": "{\"a\":\u{1b}}", "attributes": {}, "replayed_at": [],
    }))
    .expect("a dead letter");
    Found {
        state,
        key: letter.key(),
        letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_a_table_that_says_what_may_be_done() {
        let letters = [
            found("m-1", State::Waiting),
            found("m-2", State::RunIsOver),
            found("m-3", State::Replayed),
        ];
        assert_eq!(
            table(&letters),
            "ID   KEPT                     QUEUE  RUN      BUCKET  REASON        STATE\n\
             m-1  2026-03-01 12:00:01 UTC  files  nightly  photos  AccessDenied  waiting\n\
             m-2  2026-03-01 12:00:01 UTC  files  nightly  photos  AccessDenied  run is over\n\
             m-3  2026-03-01 12:00:01 UTC  files  nightly  photos  AccessDenied  replayed\n"
        );
    }
}
