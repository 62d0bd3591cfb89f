//! What the templates of the mail see of a summary.
//!
//! Names, messages and queries come from outside. Before a template sees a text it is made visible
//! ([`visible`]) and cut to a length; the HTML template escapes it besides. A summary that would be
//! too long is rendered again with shorter lists and texts.

use serde_json::{Map, Value, json};

use super::{Changes, QueryResult, Summary, bytes, counted, number, visible};
use crate::catalogue::Severity;
use crate::remedy::remedy;
use crate::run::cause_message;
use crate::run::{Outcome, QueryState};
use crate::status::{InventoryStatus, Reason};

/// Entries that are addresses: whole, or they lead nowhere.
const ADDRESSES: &[&str] = &[
    "console_link",
    "execution_link",
    "location",
    "manifest",
    "report_link",
    "report_location",
    "result_location",
];

/// Columns of a result that fit beside each other into a mail.
const SAMPLE_COLUMNS: usize = 5;
/// Names of queries that stand in one line, and the characters of each.
const MAX_NAMES: usize = 60;

/// How much of a summary is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries of each list.
    entries: usize,
    /// Characters of each text.
    characters: usize,
    /// Rows of what each query found.
    rows: usize,
    /// Characters of the input.
    input: usize,
}

/// Ever less, until it fits.
pub(super) const LADDER: [Limits; 7] = [
    Limits {
        entries: 200,
        characters: 600,
        rows: 3,
        input: 8_000,
    },
    Limits {
        entries: 100,
        characters: 300,
        rows: 3,
        input: 4_000,
    },
    Limits {
        entries: 50,
        characters: 200,
        rows: 3,
        input: 3_000,
    },
    Limits {
        entries: 50,
        characters: 200,
        rows: 1,
        input: 2_000,
    },
    Limits {
        entries: 25,
        characters: 150,
        rows: 1,
        input: 2_000,
    },
    Limits {
        entries: 10,
        characters: 100,
        rows: 0,
        input: 1_000,
    },
    Limits {
        entries: 3,
        characters: 60,
        rows: 0,
        input: 300,
    },
];

/// What the templates see.
pub(super) fn view(summary: &Summary, limits: Limits) -> Value {
    let failure = summary
        .failure
        .as_ref()
        .map(|failure| json!({ "error": failure.error, "message": cause_message(&failure.cause) }));
    let fields = json!({
        "subject": summary.subject(),
        "ending": summary.ending(),
        "colour": colour(summary.outcome),
        "headline": headline(summary),
        "run_id": summary.run_id,
        "failure": failure,
        "mail_failure": summary.mail_failure,
        "cleanup": cleanup(summary),
        "execution_arn": summary.execution_arn,
        "execution_link": summary.execution_link,
        "started_at": summary.started_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "deadline": summary.deadline.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "is_smoke_test": summary.is_smoke_test,
        "has_table": !summary.is_smoke_test,
        "database": summary.database,
        "table": summary.table,
        "work_group": summary.work_group,
        "figures": figures(summary),
        "contents": summary.contents,
        "breakdowns": summary.breakdowns,
        "location": summary.location,
        "report_location": summary.report_location,
        "report_link": summary.report_link,
    });
    let mut view = Map::new();
    if let Value::Object(fields) = readable(None, fields, limits.characters) {
        view = fields;
    }
    let (mut findings, mut nothing_found, mut not_run) = (Vec::new(), Vec::new(), Vec::new());
    for query in summary.findings() {
        match query.state {
            QueryState::Waiting => not_run.push(query),
            _ if query.is_empty() => nothing_found.push(query),
            _ => findings.push(finding(query, limits)),
        }
    }
    let unread: Vec<Value> = summary
        .unread_accounts
        .iter()
        .map(|entry| remediable("account", &entry.account, &entry.reason))
        .collect();
    let failed_destinations: Vec<Value> = summary
        .failed_destinations
        .iter()
        .map(|entry| remediable("region", &entry.region, &entry.reason))
        .collect();
    let lists = [
        ("findings", cut(&findings, limits)),
        ("not_covered", cut(&summary.not_covered, limits)),
        ("not_found", cut(&summary.not_found, limits)),
        ("existing_reports", cut(&summary.existing_reports, limits)),
        ("unread_accounts", cut(&unread, limits)),
        ("failed_destinations", cut(&failed_destinations, limits)),
        ("left_out", cut(&summary.left_out, limits)),
        ("warnings", cut(&summary.warnings, limits)),
    ];
    view.extend(lists.map(|(name, list)| (name.to_owned(), list)));
    let changes = summary.changes.as_ref();
    view.insert(
        "changes".to_owned(),
        changes.map_or(Value::Null, |changes| changes_view(changes, limits)),
    );
    view.insert("nothing_found".to_owned(), names(&nothing_found, limits));
    view.insert("not_run".to_owned(), names(&not_run, limits));
    view.insert("queries".to_owned(), summary.queries.len().into());
    view.insert("coverage".to_owned(), coverage(summary));
    view.insert("input".to_owned(), input(summary, limits.input));
    Value::Object(view)
}

/// The three numbers that a reader looks for first.
fn figures(summary: &Summary) -> Value {
    let covered: u64 = InventoryStatus::ALL
        .into_iter()
        .filter(|status| status.is_covered())
        .filter_map(|status| summary.coverage.get(&status))
        .sum();
    let note = (summary.source_buckets > 0)
        .then(|| format!("covered, of {}", number(summary.source_buckets)));
    if summary.is_smoke_test {
        return json!([{ "name": "Regions", "value": number(covered), "note": note }]);
    }
    let contents = &summary.contents;
    json!([
        {
            "name": "Objects",
            "value": number(contents.objects),
            "note": contents.versions.map(|versions| format!("{} versions", number(versions))),
        },
        { "name": "Bytes", "value": bytes(contents.bytes), "note": null },
        { "name": "Buckets", "value": number(covered), "note": note },
    ])
}

fn finding(query: &QueryResult, limits: Limits) -> Value {
    let has_result = query.state == QueryState::Succeeded;
    let label = match (has_result, query.severity) {
        (false, _) => "no result",
        (true, Some(severity)) => severity.as_str(),
        (true, None) => "yours",
    };
    let colour = match (has_result, query.severity) {
        (false, _) | (true, Some(Severity::High)) => "#cf222e",
        (true, Some(Severity::Medium)) => "#9a6700",
        (true, Some(Severity::Low)) => "#57606a",
        (true, Some(Severity::Info) | None) => "#0969da",
    };
    let rows_text = query.rows.map_or_else(String::new, |rows| match rows {
        1 => "1 row".to_owned(),
        rows => format!("{} rows", number(rows)),
    });
    let sample = query.sample.as_ref().filter(|_| limits.rows > 0);
    let sample = sample.map(|sample| {
        let row = |row: &Vec<Option<String>>| row.iter().take(SAMPLE_COLUMNS).cloned().collect();
        let rows: Vec<Vec<Option<String>>> =
            sample.rows.iter().take(limits.rows).map(row).collect();
        let columns: Vec<&String> = sample.columns.iter().take(SAMPLE_COLUMNS).collect();
        json!({ "columns": columns, "rows": rows })
    });
    json!({
        "name": query.name,
        "tells": query.tells,
        "label": label,
        "colour": colour,
        "state": query.state,
        "rows": query.rows,
        "rows_text": rows_text,
        "sample": sample,
        "console_link": query.console_link,
        "result_location": query.result_location,
        "reason": query.reason,
    })
}

/// Queries of which there is no more to say, by name.
fn names(queries: &[&QueryResult], limits: Limits) -> Value {
    let shown: Vec<String> = queries
        .iter()
        .take(MAX_NAMES.min(limits.entries))
        .map(|query| shortened(&visible(&query.name), MAX_NAMES.min(limits.characters)))
        .collect();
    let mut names = shown.join(", ");
    if shown.len() < queries.len() {
        names = format!("{names} and {} more", queries.len() - shown.len());
    }
    json!({ "total": queries.len(), "names": names })
}

fn remediable(name: &str, value: &impl ToString, reason: &Reason) -> Value {
    json!({ name: value.to_string(), "reason": reason, "remedy": remedy(reason) })
}

fn changes_view(changes: &Changes, limits: Limits) -> Value {
    json!({
        "since": changes.since,
        "sentence": changes.sentence(),
        "buckets": cut(&changes.buckets, limits),
    })
}

fn coverage(summary: &Summary) -> Value {
    InventoryStatus::ALL
        .into_iter()
        .map(|status| {
            json!({
                "status": status.name(),
                "meaning": status.meaning(),
                "is_covered": status.is_covered(),
                "buckets": summary.coverage.get(&status).copied().unwrap_or_default(),
            })
        })
        .collect()
}

/// The beginning of a list, and how much of it is missing.
fn cut<T: serde::Serialize>(list: &[T], limits: Limits) -> Value {
    let shown: Vec<Value> = list
        .iter()
        .take(limits.entries)
        .map(|entry| {
            let entry = serde_json::to_value(entry).expect("a summary is JSON");
            readable(None, entry, limits.characters)
        })
        .collect();
    json!({ "total": list.len(), "cut": list.len() - shown.len(), "shown": shown })
}

/// Every text in a value made visible, and short unless it is an address.
fn readable(name: Option<&str>, value: Value, characters: usize) -> Value {
    match value {
        Value::String(text) if name.is_some_and(|name| ADDRESSES.contains(&name)) => {
            Value::String(visible(&text))
        }
        Value::String(text) => Value::String(shortened(&visible(&text), characters)),
        Value::Array(list) => list
            .into_iter()
            .map(|entry| readable(None, entry, characters))
            .collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| {
                let value = readable(Some(&name), value, characters);
                (name, value)
            })
            .collect(),
        other => other,
    }
}

fn input(summary: &Summary, characters: usize) -> Value {
    let text = serde_json::to_string_pretty(&summary.input).expect("a run input is JSON");
    let lines: Vec<String> = text.lines().map(visible).collect();
    let text = lines.join("\n");
    let is_cut = text.chars().count() > characters;
    json!({ "text": shortened(&text, characters), "is_cut": is_cut })
}

/// Dark enough for white text on it.
fn colour(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "#1a7f37",
        Outcome::Partial => "#9a6700",
        Outcome::Failed => "#cf222e",
    }
}

/// One sentence that says no more than is true.
pub(crate) fn headline(summary: &Summary) -> String {
    let shortfalls = summary.shortfalls().join(", ");
    let left_out = match summary.left_out.len() {
        0 => String::new(),
        number => format!(
            " The input leaves out {}.",
            counted(number as u64, "bucket")
        ),
    };
    if summary.outcome == Outcome::Failed {
        let known = if shortfalls.is_empty() {
            String::new()
        } else {
            format!(" Missing: {shortfalls}.")
        };
        return format!("The run broke off.{known}{left_out}");
    }
    if !shortfalls.is_empty() {
        return format!("Something is missing: {shortfalls}.{left_out}");
    }
    if summary.is_smoke_test {
        return format!(
            "Reports were delivered, verified and consolidated in {}. A smoke test covers no source bucket.",
            counted(summary.source_buckets, "Region")
        );
    }
    if summary.source_buckets == 0 {
        return format!("The accounts were read and have no source buckets.{left_out}");
    }
    format!(
        "All of {} in {} are covered.{left_out}",
        counted(summary.source_buckets, "source bucket"),
        counted(summary.accounts, "account")
    )
}

/// What became of what the run made for itself.
pub(crate) fn cleanup(summary: &Summary) -> String {
    let cleanup = &summary.cleanup;
    let (configurations, destinations) = (cleanup.configurations, cleanup.destinations);
    let configuration = |number| counted(number, "inventory configuration");
    let destination = |number| counted(number, "inventory destination");
    if cleanup.finished_at.is_some() {
        return format!(
            "Cleaned up: {} and {} are removed, nothing is left.",
            configuration(configurations),
            destination(destinations)
        );
    }
    let removed = format!(
        "{} of {} and {} of {} are removed",
        cleanup.configurations_removed,
        configuration(configurations),
        cleanup.destinations_removed,
        destination(destinations)
    );
    if summary.outcome == Outcome::Failed {
        return format!(
            "Not cleaned up to the end: {removed}; `s3insights run cleanup {}` removes what is left.",
            summary.run_id
        );
    }
    format!("Cleanup follows: so far {removed}.")
}

pub(crate) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
