//! `s3insights queries …`: the catalogue, which needs no platform.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};
use shared::catalogue::{self, Query, Severity};

use crate::arguments::{QueriesArguments, QueriesVerb};
use crate::exit::Exit;
use crate::output;
use crate::trouble::Trouble;

/// How many ids are offered in place of one that is not there.
const OFFERED: usize = 3;

pub(crate) fn queries(QueriesArguments { verb }: QueriesArguments) -> Result<Exit> {
    match verb {
        QueriesVerb::List { json: true } => {
            let listed: Vec<Listed> = catalogue::all().iter().map(Listed::of).collect();
            output::json(&listed)?;
        }
        QueriesVerb::List { json: false } => output::data(&list())?,
        QueriesVerb::Show { id, json } => {
            let query = catalogue::find(&id).ok_or_else(|| unknown(&id))?;
            if json {
                output::json(&Shown::of(query))?;
            } else {
                output::data(&shown(query))?;
            }
        }
    }
    Ok(Exit::Done)
}

/// A query in a list.
#[derive(Debug, Serialize)]
struct Listed {
    id: &'static str,
    severity: Severity,
    counts: &'static str,
    title: &'static str,
    parameters: Vec<Parameter>,
}

#[derive(Debug, Serialize)]
struct Parameter {
    name: &'static str,
    kind: &'static str,
    /// What is accepted.
    expected: &'static str,
    default: Value,
    tells: &'static str,
}

impl Listed {
    fn of(query: &Query) -> Self {
        let parameters = query.parameters.iter().map(|parameter| Parameter {
            name: parameter.name,
            kind: parameter.kind.as_str(),
            expected: parameter.kind.expected(),
            default: parameter.default_json(),
            tells: parameter.tells,
        });
        Self {
            id: query.id,
            severity: query.severity,
            counts: query.counts.as_str(),
            title: query.title,
            parameters: parameters.collect(),
        }
    }
}

/// All of a query.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    listed: Listed,
    tells: &'static str,
    #[serde(rename = "do")]
    action: &'static str,
    /// With its placeholders.
    sql: &'static str,
}

impl Shown {
    fn of(query: &Query) -> Self {
        Self {
            listed: Listed::of(query),
            tells: query.tells,
            action: query.action,
            sql: query.sql,
        }
    }
}

fn default(parameter: &catalogue::Parameter) -> &str {
    match parameter.default.as_str() {
        "" => "empty",
        text => text,
    }
}

fn list() -> String {
    let heading = ["ID", "SEVERITY", "COUNTS", "TITLE", "PARAMETERS"]
        .map(str::to_owned)
        .to_vec();
    let row = |query: &Query| {
        let parameters: Vec<String> = query
            .parameters
            .iter()
            .map(|parameter| format!("{} = {}", parameter.name, default(parameter)))
            .collect();
        vec![
            query.id.to_owned(),
            query.severity.as_str().to_owned(),
            query.counts.as_str().to_owned(),
            query.title.to_owned(),
            parameters.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = std::iter::once(heading)
        .chain(catalogue::all().iter().map(row))
        .collect();
    output::table(&rows)
}

fn shown(query: &Query) -> String {
    let mut text = format!(
        "{}\nseverity {}, counts {}\n\n{}\nWhat to do: {}\n",
        query.title,
        query.severity.as_str(),
        query.counts.as_str(),
        query.tells,
        query.action
    );
    let mut input = json!({ "catalog": query.id });
    if !query.parameters.is_empty() {
        text.push_str("\nParameters\n");
        let rows: Vec<Vec<String>> = query
            .parameters
            .iter()
            .map(|parameter| {
                vec![
                    format!("  {}", parameter.name),
                    format!("default {}", default(parameter)),
                    parameter.tells.to_owned(),
                    format!("Takes {}.", parameter.kind.expected()),
                ]
            })
            .collect();
        text.push_str(&output::table(&rows));
        for parameter in &query.parameters {
            input["parameters"][parameter.name] = parameter.default_json();
        }
    }
    let _ = write!(
        text,
        "\nIn athena_queries of a run input\n  {input}\n\nSQL\n{}\n",
        query.sql
    );
    text
}

/// The answer to an id that the catalogue does not have.
fn unknown(id: &str) -> Trouble {
    let trouble = Trouble::misuse(format!("the catalogue has no query {id:?}"));
    let close = close_to(id);
    if close.is_empty() {
        return trouble.hint("`s3insights queries list` shows all of them");
    }
    trouble.hint(format!(
        "did you mean {}? `s3insights queries list` shows all of them",
        close.join(", ")
    ))
}

/// The ids that are nearest to what was typed, the nearest first: those that have a word of it, then
/// those that are spelled alike.
fn close_to(typed: &str) -> Vec<&'static str> {
    let typed = typed.to_lowercase().replace(['_', ' '], "-");
    let words: Vec<&str> = typed.split('-').filter(|word| word.len() > 2).collect();
    let mut close: Vec<(bool, usize, &str)> = catalogue::all()
        .iter()
        .filter_map(|query| {
            let distance = distance(&typed, query.id);
            let shares_a_word = words.iter().any(|word| query.id.contains(word));
            (distance <= 2 || shares_a_word).then_some((!shares_a_word, distance, query.id))
        })
        .collect();
    close.sort_unstable();
    close.truncate(OFFERED);
    close.into_iter().map(|(.., id)| id).collect()
}

/// How many letters have to be put in, taken out or changed to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_row_for_each_query_with_its_defaults() {
        let list = list();
        assert_eq!(list.lines().count(), catalogue::all().len() + 1);
        let row = |id: &str| {
            let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            let line = list.lines().find(|line| line.starts_with(id));
            line.map(words).unwrap_or_default()
        };
        assert_eq!(
            row("secrets"),
            "secrets high current objects Possible secrets"
        );
        assert_eq!(
            row("backup-comparison"),
            "backup-comparison medium current objects Backups that differ bucket = empty, backup = empty"
        );
        assert!(row("stale-buckets").ends_with("Stale buckets days = 365"));
    }

    #[test]
    fn a_query_is_shown_with_what_to_put_into_a_run_input() {
        let text = shown(catalogue::find("stale-buckets").unwrap());
        for part in [
            "Stale buckets\nseverity low, counts all versions\n",
            "\nWhat to do: ",
            "  days  default 365  ",
            r#"{"catalog":"stale-buckets","parameters":{"days":365}}"#,
            "\nSQL\nSELECT account",
            "INTERVAL '{days}' DAY",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let plain = shown(catalogue::find("secrets").unwrap());
        assert!(plain.contains(r#"{"catalog":"secrets"}"#) && !plain.contains("Parameters"));
    }

    #[test]
    fn json_has_all_that_the_text_has() {
        let shown = serde_json::to_value(Shown::of(catalogue::find("large-objects").unwrap()));
        let shown = shown.unwrap();
        assert_eq!(shown["parameters"][0]["default"], 1_073_741_824);
        assert_eq!(shown["severity"], "low");
        for field in ["id", "counts", "title", "tells", "do", "sql"] {
            assert!(shown[field].is_string(), "{field}");
        }
    }

    #[test]
    fn what_is_misspelt_is_answered_with_what_is_near() {
        for (typed, nearest) in [
            ("secret", "secrets"),
            ("stale_bucket", "stale-buckets"),
            ("Duplicate", "duplicates"),
            ("buckets", "stale-buckets"),
            ("hashes", "known-bad-hashes"),
            ("terraform", "terraform-state"),
        ] {
            assert_eq!(close_to(typed).first(), Some(&nearest), "{typed}");
        }
        assert_eq!(close_to("zzzzzzzzz"), [""; 0]);
        assert!(close_to("objects").len() <= OFFERED);
    }

    #[test]
    fn distances_count_letters() {
        for (one, other, expected) in [("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(one, other), expected);
        }
    }
}
