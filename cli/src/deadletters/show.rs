//! `deadletters show`.

use anyhow::Result;
use jiff::Timestamp;
use shared::summary::visible;

use super::{Found, find};
use crate::exit::Exit;
use crate::output::{self, lines_visible};
use crate::platform::Platform;
use crate::trouble::Trouble;

pub(super) async fn run(platform: &Platform, id: &str, json: bool) -> Result<Exit> {
    let letters = find(platform, &[]).await?;
    let found = letters
        .into_iter()
        .find(|found| found.letter.message_id == id)
        .ok_or_else(|| {
            Trouble::failed(format!("there is no dead letter {id}"))
                .hint("`s3insights deadletters list` tells which there are")
        })?;
    if json {
        output::json(&found)?;
    } else {
        output::data(&text(&found))?;
    }
    Ok(Exit::Done)
}

fn text(found: &Found) -> String {
    let letter = &found.letter;
    let id = |value: Option<&dyn std::fmt::Display>| value.map(ToString::to_string);
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let replayed_at: Vec<String> = letter.replayed_at.iter().map(ToString::to_string).collect();
    let lines = [
        ("message_id", Some(letter.message_id.clone())),
        ("state", Some(found.state.words().to_owned())),
        ("queue", Some(letter.queue.to_string())),
        ("task", Some(letter.task.clone())),
        ("reason", Some(letter.reason.code.clone())),
        ("message", Some(letter.reason.message.clone())),
        (
            "missing_permission",
            letter.reason.missing_permission.clone(),
        ),
        (
            "failed_at_receive",
            letter.failed_at_receive.map(|count| count.to_string()),
        ),
        ("failed_at", time(letter.failed_at)),
        ("sent_at", time(letter.sent_at)),
        ("first_received_at", time(letter.first_received_at)),
        ("kept_at", time(Some(letter.kept_at))),
        ("run_id", id(letter.run_id.as_ref().map(|id| id as _))),
        (
            "account_id",
            id(letter.account_id.as_ref().map(|id| id as _)),
        ),
        ("bucket", id(letter.bucket.as_ref().map(|id| id as _))),
        ("file", letter.file.clone()),
        ("replay_of", letter.replay_of.clone()),
        (
            "replayed_at",
            (!replayed_at.is_empty()).then(|| replayed_at.join(", ")),
        ),
        ("key", Some(found.key.clone())),
    ];
    let mut rows: Vec<Vec<String>> = lines
        .into_iter()
        .filter_map(|(name, value)| Some(vec![format!("{name}:"), visible(&value?)]))
        .collect();
    let attributes = letter.attributes.iter();
    rows.extend(
        attributes
            .map(|(name, value)| vec![format!("attributes.{}:", visible(name)), visible(value)]),
    );
    format!(
        "{}\n{}\n",
        output::table(&rows),
        lines_visible(&letter.body)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deadletters::{State, found};

    #[test]
    fn everything_is_shown_and_nothing_moves_the_cursor() {
        let shown = text(&found("m-1", State::Waiting));
        for line in [
            "state:               waiting\n",
            "missing_permission:  s3:PutObject\n",
            "key:                 dead-letters/files/2026-03-01/m-1.json\n",
            "\n\n{\"a\":\\u{1b}}\n",
        ] {
            assert!(shown.contains(line), "{line} is not in {shown}");
        }
        // What there is not has no line.
        assert!(!shown.contains("replay_of") && !shown.contains("replayed_at"));
    }
}
