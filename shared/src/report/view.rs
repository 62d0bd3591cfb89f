//! What the template sees of a report, and the parts of it that are sentences and figures.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::render::{Limits, SCRIPT, STYLE, code, hash, text};
use super::{Report, charts, data, findings, lists};
use crate::run::cause_message;
use crate::run::{Outcome, QueryState};
use crate::status::{InventoryStatus, Reason};
use crate::summary::{QueryResult, Summary, bytes, cleanup_told, headline, number};
use crate::top_prefixes::{MAX_PREFIXES, TopPrefixes};

/// What the template sees.
pub(super) fn view(report: &Report<'_>, limits: Limits) -> Value {
    let summary = report.summary;
    let short = |value: &str| text(value, limits.characters);
    let reason =
        |reason: &Reason| json!({ "code": short(&reason.code), "message": short(&reason.message) });
    let (badge, mood) = badge(report);
    json!({
        "script": SCRIPT,
        "script_hash": hash(SCRIPT),
        "style": STYLE,
        "style_hash": hash(STYLE),
        "data": data::json(report, limits),
        "title": format!("S3Insights run {}: {badge}", summary.run_id),
        "run_id": summary.run_id,
        "badge": badge,
        "mood": mood,
        "sentence": sentence(report),
        "failure": summary.failure.as_ref().map(|failure| json!({
            "error": short(&failure.error),
            "message": short(&cause_message(&failure.cause)),
        })),
        "mail_failure": summary.mail_failure.as_ref().map(reason),
        "figures": figures(summary),
        "notes": notes(summary),
        "changes": summary.changes.as_ref().map(|changes| lists::changed(changes, limits)),
        "findings": summary.findings()
            .into_iter()
            .map(|query| findings::finding(query, limits))
            .collect::<Vec<_>>(),
        "no_treemap": if summary.contents.bytes > 0 {
            "The map needs JavaScript, which this page brings along."
        } else {
            "The buckets that are done hold no bytes, so there is nothing to draw."
        },
        "prefixes_told": report.top_prefixes.and_then(prefixes_told),
        "charts": report.totals.map(|totals| charts::bar_charts(totals, limits)),
        "histograms": report.totals.map(|totals| charts::histograms(totals, summary.started_at)),
        "source_buckets": covered(summary),
        "coverage": InventoryStatus::ALL.map(|status| json!({
            "status": status.name(),
            "meaning": status.meaning(),
            "is_covered": status.is_covered(),
            "buckets": summary.coverage.get(&status).copied().unwrap_or_default(),
        })),
        "missing": lists::missing(summary, limits),
        "beside": lists::beside(summary, limits),
        "facts": facts(summary, limits),
        "input": input(summary, limits),
        "location": summary.location,
        "cut": told_of(limits),
    })
}

/// How the run ended in a few words, and how that is meant.
fn badge(report: &Report<'_>) -> (String, &'static str) {
    let summary = report.summary;
    if report.as_of.is_some() {
        return ("goes on".to_owned(), "open");
    }
    let mood = match summary.outcome {
        Outcome::Complete => "good",
        Outcome::Partial => "doubtful",
        Outcome::Failed => "bad",
    };
    (summary.ending(), mood)
}

/// One sentence that says no more than is true. What a run that goes on misses is still to come.
fn sentence(report: &Report<'_>) -> String {
    let Some(as_of) = report.as_of else {
        return headline(report.summary);
    };
    let shortfalls = report.summary.shortfalls();
    let open = if shortfalls.is_empty() {
        String::new()
    } else {
        format!(" So far: {}.", shortfalls.join(", "))
    };
    format!(
        "The run goes on; this is how it stood at {}.{open}",
        time(as_of)
    )
}

pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn figures(summary: &Summary) -> Vec<Value> {
    let contents = &summary.contents;
    let optional = |value: Option<u64>| value.map_or_else(|| "not counted".to_owned(), number);
    let figure = |name: &str, value: String| json!({ "name": name, "value": value });
    let of = |name: &str, value: u64, all: u64| {
        json!({
            "name": name,
            "value": number(value),
            "of": format!("of {}", number(all)),
            "is_short": value < all,
        })
    };
    let queries = summary.queries.len() as u64;
    let succeeded = |query: &&QueryResult| query.state == QueryState::Succeeded;
    let with_result = summary.queries.iter().filter(succeeded).count() as u64;
    let unread = summary.unread_accounts.len() as u64;
    let not_covered = summary.not_covered.len() as u64;
    let mut figures = vec![
        figure("bytes", bytes(contents.bytes)),
        figure("objects", number(contents.objects)),
        figure("versions", optional(contents.versions)),
        figure("delete markers", optional(contents.delete_markers)),
        of(
            if summary.is_smoke_test {
                "Regions covered"
            } else {
                "buckets covered"
            },
            summary.source_buckets.saturating_sub(not_covered),
            summary.source_buckets,
        ),
    ];
    if !summary.is_smoke_test {
        let read = summary.accounts.saturating_sub(unread);
        figures.push(of("accounts read", read, summary.accounts));
    }
    if queries > 0 {
        figures.push(of("queries with a result", with_result, queries));
    }
    figures
}

fn notes(summary: &Summary) -> Vec<String> {
    let mut notes = Vec::new();
    if summary.contents.undecodable_keys > 0 {
        notes.push(format!(
            "{} keys were not UTF-8 and are kept in a replaced form.",
            number(summary.contents.undecodable_keys)
        ));
    }
    notes
}

fn covered(summary: &Summary) -> String {
    let what = match (summary.is_smoke_test, summary.source_buckets) {
        (true, _) => "Regions",
        (false, 0) => return "no source buckets".to_owned(),
        (false, _) => "buckets",
    };
    let not_covered = summary.not_covered.len() as u64;
    format!(
        "{} of {} {what}",
        number(summary.source_buckets.saturating_sub(not_covered)),
        number(summary.source_buckets)
    )
}

fn prefixes_told(prefixes: &TopPrefixes) -> Option<String> {
    let buckets = match prefixes.buckets.len() {
        0 => return None,
        1 => "1 bucket".to_owned(),
        many => format!("{} buckets", number(many as u64)),
    };
    let more = match prefixes.more_buckets {
        0 => String::new(),
        more => format!("; {} smaller buckets are not divided further", number(more)),
    };
    let largest = if more.is_empty() { "" } else { "the largest " };
    Some(format!(
        "The up to {MAX_PREFIXES} weightiest top prefixes are known of {largest}{buckets}{more}."
    ))
}

fn facts(summary: &Summary, limits: Limits) -> Vec<Value> {
    let fact =
        |name: &str, value: &str| json!({ "name": name, "value": text(value, limits.characters) });
    let mut facts = vec![
        fact("run", summary.run_id.as_str()),
        fact("started", &time(summary.started_at)),
        fact("deadline", &time(summary.deadline)),
    ];
    if !summary.is_smoke_test {
        let table = format!("{}.{}", summary.database, summary.table);
        facts.push(fact("table", &table));
        facts.push(fact("workgroup", &summary.work_group));
    }
    facts.push(json!({
        "name": "execution",
        "value": text(&summary.execution_arn, limits.characters),
        "link": summary.execution_link,
    }));
    facts.push(fact("cleanup", &cleanup_told(summary)));
    facts.push(fact("summary", &summary.location));
    facts.push(fact("this page", &summary.report_location));
    facts
}

fn input(summary: &Summary, limits: Limits) -> Value {
    let source = serde_json::to_string_pretty(&summary.input).expect("a run input is JSON");
    let (text, is_cut) = code(&source, limits.code);
    json!({ "text": text, "is_cut": is_cut })
}

/// How much of everything is shown at most.
fn told_of(limits: Limits) -> String {
    format!(
        "Texts are cut after {} characters, queries after {}, values in samples after {}, lists after {} entries.",
        number(limits.characters as u64),
        number(limits.code as u64),
        number(limits.sample_characters as u64),
        number(limits.entries as u64)
    )
}
