//! `deadletters replay`. A message is sent first and marked as replayed afterwards: whoever dies in
//! between sends it once more the next time, which changes nothing, because the protocol of a run
//! counts nothing twice.

use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use super::{Found, State, find, table};
use crate::arguments::ReplayArguments;
use crate::exit::Exit;
use crate::output;
use crate::platform::Platform;
use crate::run::interruptible;

/// What a replay did, or with `--dry-run` would do.
#[derive(Debug, Serialize)]
struct Replay {
    dry_run: bool,
    /// Ids of the messages that were sent, in this order.
    replayed: Vec<String>,
    left_out: Vec<LeftOut>,
}

/// A letter that is not replayed.
#[derive(Debug, Serialize)]
struct LeftOut {
    message_id: String,
    state: State,
}

pub(super) async fn run(platform: &Platform, arguments: ReplayArguments) -> Result<Exit> {
    let letters = find(platform, &arguments.filters).await?;
    let (meant, left_out) = chosen(letters, arguments.all);
    let told = left_out_text(&left_out);
    if arguments.dry_run {
        let replayed = meant.iter().map(|found| found.letter.message_id.clone());
        let replayed = Replay {
            dry_run: true,
            replayed: replayed.collect(),
            left_out,
        };
        if arguments.json {
            output::json(&replayed)?;
        } else {
            if !meant.is_empty() {
                output::data(&table(&meant))?;
            }
            output::note(&format!(
                "{} would be replayed{told}",
                messages(meant.len())
            ));
        }
        return Ok(Exit::Done);
    }
    let work = Box::pin(async {
        let replayed = send_all(platform, meant, &arguments).await?;
        let count = replayed.len();
        if arguments.json {
            output::json(&Replay {
                dry_run: false,
                replayed,
                left_out,
            })?;
        }
        output::note(&format!("{} replayed{told}", messages(count)));
        Ok(Exit::Done)
    });
    interruptible(work, || {
        "interrupted: what was not replayed is still kept".to_owned()
    })
    .await
}

/// Letters to replay, the oldest first, and those that are left out.
fn chosen(letters: Vec<Found>, all: bool) -> (Vec<Found>, Vec<LeftOut>) {
    let (mut meant, left_out): (Vec<_>, Vec<_>) = letters
        .into_iter()
        .partition(|found| all || found.state == State::Waiting);
    meant.reverse();
    let left_out = left_out.into_iter().map(|found| LeftOut {
        state: found.state,
        message_id: found.letter.message_id,
    });
    (meant, left_out.collect())
}

async fn send_all(
    platform: &Platform,
    letters: Vec<Found>,
    arguments: &ReplayArguments,
) -> Result<Vec<String>> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / arguments.rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut replayed = Vec::with_capacity(letters.len());
    for mut found in letters {
        pace.tick().await;
        let letter = &mut found.letter;
        let id = letter.message_id.clone();
        let sent = async {
            let queue_url = platform.queue_url(letter.queue);
            platform
                .clients
                .send_replay(queue_url, &letter.body, &id)
                .await?;
            letter.replayed_at.push(Timestamp::now());
            platform.store(&found.key, letter.document()).await
        };
        sent.await
            .with_context(|| format!("replaying {id}, after {}", messages(replayed.len())))?;
        if !arguments.json {
            output::data(&id)?;
        }
        replayed.push(id);
    }
    Ok(replayed)
}

fn messages(count: usize) -> String {
    match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    }
}

fn left_out_text(left_out: &[LeftOut]) -> String {
    let count = |state| left_out.iter().filter(|left| left.state == state).count();
    let parts = [
        (count(State::Replayed), "replayed before"),
        (count(State::RunIsOver), "of runs that are over"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; left out: {} (--all takes them too)", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletters::found;

    fn letters() -> Vec<Found> {
        vec![
            found("newest", State::Waiting),
            found("over", State::RunIsOver),
            found("sent", State::Replayed),
            found("oldest", State::Waiting),
        ]
    }

    fn ids(letters: &[Found]) -> Vec<&str> {
        let ids = letters.iter().map(|found| found.letter.message_id.as_str());
        ids.collect()
    }

    #[test]
    fn what_was_replayed_or_is_of_no_use_is_left_out_and_said() {
        let (meant, left_out) = chosen(letters(), false);
        assert_eq!(ids(&meant), ["oldest", "newest"]);
        assert_eq!(
            left_out_text(&left_out),
            "; left out: 1 replayed before, 1 of runs that are over (--all takes them too)"
        );
        let (meant, left_out) = chosen(letters(), true);
        assert_eq!(ids(&meant), ["oldest", "sent", "over", "newest"]);
        assert_eq!(left_out_text(&left_out), "");
    }
}
