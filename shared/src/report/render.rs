//! The page as HTML.
//!
//! Names, messages, keys and queries come from outside. Before the template sees a text it is made
//! visible ([`visible`]) and cut to a length; the template escapes it besides. A page that would be
//! too long is rendered again with shorter texts and lists.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as TemplateValue};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Report, charts, data};
use crate::catalogue::Severity;
use crate::remedy::remedy;
use crate::run::{Outcome, QueryState};
use crate::sample::{MAX_COLUMNS, Sample};
use crate::status::{InventoryStatus, Reason};
use crate::summary::{
    ChangeKind, Changes, QueryResult, Summary, bytes, cause_message, cleanup_told, headline,
    number, shortened, visible,
};
use crate::top_prefixes::{MAX_PREFIXES, TopPrefixes};
use crate::totals::{Tally, Totals};

/// Longest page of a run over up to 10,000 buckets, in bytes.
pub const MAX_BYTES: usize = 3_000_000;

/// Beyond 10,000 buckets a page may grow with them: all of them are in it, and texts cut ever
/// shorter would not make up for that.
const MAX_BYTES_PER_BUCKET: usize = MAX_BYTES / 10_000;

const TEMPLATE: &str = "page.html";
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// How much of everything is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Characters of each text.
    pub(super) characters: usize,
    /// Entries of each list, the one of all buckets aside.
    pub(super) entries: usize,
    /// Rows of each sample.
    pub(super) sample_rows: usize,
    /// Characters of each value of a sample.
    pub(super) sample_characters: usize,
    /// Characters of each query and of the input.
    pub(super) code: usize,
}

/// Ever less, until it fits.
pub(super) const LADDER: [Limits; 7] = [
    Limits {
        characters: 2_000,
        entries: 1_000,
        sample_rows: 10,
        sample_characters: 300,
        code: 20_000,
    },
    Limits {
        characters: 600,
        entries: 500,
        sample_rows: 10,
        sample_characters: 200,
        code: 8_000,
    },
    Limits {
        characters: 300,
        entries: 200,
        sample_rows: 10,
        sample_characters: 120,
        code: 4_000,
    },
    Limits {
        characters: 150,
        entries: 100,
        sample_rows: 5,
        sample_characters: 80,
        code: 2_000,
    },
    Limits {
        characters: 60,
        entries: 50,
        sample_rows: 3,
        sample_characters: 40,
        code: 500,
    },
    Limits {
        characters: 40,
        entries: 20,
        sample_rows: 1,
        sample_characters: 20,
        code: 200,
    },
    Limits {
        characters: 20,
        entries: 10,
        sample_rows: 0,
        sample_characters: 20,
        code: 100,
    },
];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    // Optional entries may be asked for, but not shown when they are missing.
    templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    templates.set_syntax(syntax.build().expect("the delimiters are the usual ones"));
    templates.add_filter("number", number);
    templates.add_filter("bytes", bytes);
    // The ending has values escaped.
    templates
        .add_template(TEMPLATE, include_str!("page.html"))
        .expect("the template is part of this program");
    templates
});

pub(super) fn page(report: &Report<'_>) -> String {
    let most = MAX_BYTES.max(report.buckets.len() * MAX_BYTES_PER_BUCKET);
    let mut rendered = String::new();
    for limits in LADDER {
        rendered = render(report, limits);
        if rendered.len() <= most {
            break;
        }
    }
    rendered
}

fn render(report: &Report<'_>, limits: Limits) -> String {
    TEMPLATES
        .get_template(TEMPLATE)
        .and_then(|template| template.render(TemplateValue::from(Serde(view(report, limits)))))
        .expect("the template names only what every page has")
}

/// A text from outside as it may be shown.
pub(super) fn text(text: &str, characters: usize) -> String {
    // What is cut away need not be made visible first; one more tells that it is cut.
    let kept = text.char_indices().nth(characters + 1);
    let kept = kept.map_or(text, |(end, _)| &text[..end]);
    shortened(&visible(kept), characters)
}

/// Source of what is in the page, as its policy names it.
fn hash(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(content)))
}

/// What the template sees.
fn view(report: &Report<'_>, limits: Limits) -> Value {
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
        "changes": summary.changes.as_ref().map(|changes| changed(changes, limits)),
        "findings": summary.findings()
            .into_iter()
            .map(|query| finding(query, limits))
            .collect::<Vec<_>>(),
        "no_treemap": if summary.contents.bytes > 0 {
            "The map needs JavaScript, which this page brings along."
        } else {
            "The buckets that are done hold no bytes, so there is nothing to draw."
        },
        "prefixes_told": report.top_prefixes.and_then(prefixes_told),
        "charts": report.totals.map(|totals| bar_charts(totals, limits)),
        "histograms": report.totals.map(|totals| histograms(totals, summary.started_at)),
        "source_buckets": covered(summary),
        "coverage": InventoryStatus::ALL.map(|status| json!({
            "status": status.name(),
            "meaning": status.meaning(),
            "is_covered": status.is_covered(),
            "buckets": summary.coverage.get(&status).copied().unwrap_or_default(),
        })),
        "missing": missing(summary, limits),
        "beside": beside(summary, limits),
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

fn time(at: Timestamp) -> String {
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

/// What changed since the run before. Changes of one kind stand together.
fn changed(changes: &Changes, limits: Limits) -> Value {
    let status = |status: Option<InventoryStatus>| {
        status.map_or("not known", InventoryStatus::name).to_owned()
    };
    let kinds: Vec<Value> = ChangeKind::ALL
        .into_iter()
        .filter_map(|kind| {
            let of_kind: Vec<_> = changes
                .buckets
                .iter()
                .filter(|change| change.kind == kind)
                .collect();
            list(
                &kind.of_buckets(of_kind.len() as u64),
                &["bucket", "account", "then", "now"],
                &of_kind,
                limits,
                |change| {
                    vec![
                        change.bucket.to_string(),
                        change.account.to_string(),
                        status(change.then),
                        status(change.now),
                    ]
                },
            )
        })
        .collect();
    json!({
        "sentence": changes.sentence(),
        "since": changes.since,
        "since_started_at": time(changes.since_started_at),
        "kinds": kinds,
    })
}

fn finding(query: &QueryResult, limits: Limits) -> Value {
    let short = |value: &str| text(value, limits.characters);
    let rows = query.rows;
    let told = match query.state {
        QueryState::Succeeded => match rows {
            Some(1) => "1 row".to_owned(),
            Some(0) => "no rows".to_owned(),
            Some(rows) => format!("{} rows", number(rows)),
            None => "rows not counted".to_owned(),
        },
        QueryState::Failed => "failed".to_owned(),
        QueryState::Running => "not ended".to_owned(),
        QueryState::Waiting => "not started".to_owned(),
    };
    let (sql, is_cut) = code(&query.sql, limits.code);
    json!({
        "name": short(&query.name),
        "severity": query.severity.map_or("yours", Severity::as_str),
        "told": told,
        "is_empty": query.is_empty(),
        "is_bad": query.state != QueryState::Succeeded,
        "tells": query.tells.as_deref().map(short),
        "reason": query.reason.as_ref().map(|reason| json!({
            "code": short(&reason.code),
            "message": short(&reason.message),
        })),
        "sample": query
            .sample
            .as_ref()
            .filter(|_| limits.sample_rows > 0)
            .map(|sample| shown(sample, rows, limits)),
        "console_link": query.console_link,
        "result_location": query.result_location.as_deref().map(visible),
        "sql": sql,
        "is_sql_cut": is_cut,
    })
}

fn shown(sample: &Sample, rows: Option<u64>, limits: Limits) -> Value {
    let value = |value: &String| text(value, limits.sample_characters);
    let listed: Vec<Vec<Option<String>>> = sample
        .rows
        .iter()
        .take(limits.sample_rows)
        .map(|row| row.iter().map(|cell| cell.as_ref().map(value)).collect())
        .collect();
    let columns: Vec<Value> = (0..)
        .zip(&sample.columns)
        .map(|(column, name): (usize, _)| {
            let values = || {
                sample
                    .rows
                    .iter()
                    .filter_map(|row| row.get(column)?.as_ref())
            };
            // Ids of accounts are digits, but no numbers.
            let is_number = name != "account"
                && values().next().is_some()
                && values().all(|value| value.parse::<f64>().is_ok());
            json!({ "name": value(name), "is_number": is_number })
        })
        .collect();
    let mut told = Vec::new();
    let shown = listed.len() as u64;
    match rows {
        Some(rows) if rows > shown => {
            told.push(format!("the first {shown} of {} rows", number(rows)));
        }
        None => told.push(format!("the first {shown} rows")),
        Some(_) => {}
    }
    if sample.columns.len() == MAX_COLUMNS {
        told.push(format!("no more than {MAX_COLUMNS} columns"));
    }
    // A row may be shorter than the head, but not longer.
    json!({ "columns": columns, "rows": listed, "told": told.join(", ") })
}

/// A text in lines, made visible but for its line ends and tabs, and whether it is cut.
fn code(source: &str, characters: usize) -> (String, bool) {
    let lines: Vec<String> = source
        .lines()
        .map(|line| line.split('\t').map(visible).collect::<Vec<_>>().join("\t"))
        .collect();
    let whole = lines.join("\n");
    let is_cut = whole.chars().count() > characters;
    (shortened(&whole, characters), is_cut)
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

fn bar_charts(totals: &Totals, limits: Limits) -> Vec<Value> {
    let charts = [
        (
            "Storage classes",
            "storage class",
            "storage classes",
            &totals.by_storage_class,
            "not told",
        ),
        (
            "Encryption",
            "encryption",
            "kinds of encryption",
            &totals.by_encryption_status,
            "not told",
        ),
        (
            "Extensions",
            "extension",
            "extensions",
            &totals.by_extension,
            "none",
        ),
    ];
    charts
        .into_iter()
        .filter(|(_, _, _, breakdown, _)| !breakdown.sum().is_zero())
        .map(|(title, column, plural, breakdown, none)| {
            let bars = charts::bars(breakdown, none, limits);
            let mut told = Vec::new();
            if let Some(shortfall) = bars.shortfall {
                told.push(format!(
                    "Other has at least {} {plural}.",
                    number(bars.more as u64)
                ));
                told.push(format!(
                    "A bar may be short of up to {} and {} versions, which are in other.",
                    bytes(shortfall.version_bytes),
                    number(shortfall.versions)
                ));
            } else if bars.more > 0 {
                told.push(format!(
                    "Other has {} more {plural}.",
                    number(bars.more as u64)
                ));
            }
            json!({
                "title": title,
                "column": column,
                // As high as the two histograms beside it.
                "is_tall": bars.rows.len() > 7,
                "bars": bars,
                "told": told.join(" "),
            })
        })
        .collect()
}

fn histograms(totals: &Totals, started_at: Timestamp) -> Vec<Value> {
    let charts = [
        (
            "Sizes",
            "size",
            charts::sizes(&totals.by_size),
            sum(totals.by_size.values()),
            "size",
        ),
        (
            "Last modified",
            "month",
            charts::months(&totals.by_month, started_at),
            sum(totals.by_month.values()),
            "date",
        ),
    ];
    charts
        .into_iter()
        .map(|(title, column, histogram, counted, what)| {
            let mut told: Vec<String> = histogram
                .beside
                .iter()
                .map(|(which, tally)| {
                    let versions = number(tally.versions);
                    match tally.version_bytes {
                        0 => format!("{which}: {versions} versions"),
                        held => format!("{which}: {versions} versions, {}", bytes(held)),
                    }
                })
                .collect();
            let without = totals.all.versions.saturating_sub(counted.versions);
            if without > 0 {
                told.push(format!(
                    "no {what} in the report: {} versions",
                    number(without)
                ));
            }
            let told = if told.is_empty() {
                String::new()
            } else {
                format!("Not drawn: {}.", told.join("; "))
            };
            json!({ "title": title, "column": column, "histogram": histogram, "told": told })
        })
        .collect()
}

fn sum<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |mut sum, tally| {
        sum.add(*tally);
        sum
    })
}

/// A list as a table: the beginning of it, and how much is missing.
fn list<T>(
    title: &str,
    columns: &[&str],
    entries: &[T],
    limits: Limits,
    row: impl Fn(&T) -> Vec<String>,
) -> Option<Value> {
    if entries.is_empty() {
        return None;
    }
    let rows: Vec<Vec<String>> = entries
        .iter()
        .take(limits.entries)
        .map(|entry| {
            let values = row(entry);
            values
                .iter()
                .map(|value| text(value, limits.characters))
                .collect()
        })
        .collect();
    Some(json!({
        "title": title,
        "columns": columns,
        "total": entries.len(),
        "cut": entries.len() - rows.len(),
        "rows": rows,
    }))
}

fn why(reason: &Reason) -> String {
    let needs = match &reason.missing_permission {
        Some(permission) => format!(" (missing permission: {permission})"),
        None => String::new(),
    };
    format!("{}: {}{needs}", reason.code, reason.message)
}

/// What makes a run partial, beside buckets and queries.
fn missing(summary: &Summary, limits: Limits) -> Vec<Value> {
    let accounts = list(
        "Accounts that could not be read",
        &["account", "why", "what to do"],
        &summary.unread_accounts,
        limits,
        |entry| {
            vec![
                entry.account.to_string(),
                why(&entry.reason),
                remedy(&entry.reason).to_owned(),
            ]
        },
    );
    let destinations = list(
        "Inventory destinations that could not be made",
        &["Region", "why", "what to do"],
        &summary.failed_destinations,
        limits,
        |entry| {
            vec![
                entry.region.to_string(),
                why(&entry.reason),
                remedy(&entry.reason).to_owned(),
            ]
        },
    );
    let not_found = list(
        "Named in existing_inventories and not found",
        &["bucket", "why", "report"],
        &summary.not_found,
        limits,
        |entry| {
            vec![
                entry.bucket.to_string(),
                why(&entry.reason),
                entry.manifest.to_string(),
            ]
        },
    );
    [accounts, destinations, not_found]
        .into_iter()
        .flatten()
        .collect()
}

fn beside(summary: &Summary, limits: Limits) -> Vec<Value> {
    let existing = list(
        "Taken from reports that existed before the run",
        &["bucket", "account", "report"],
        &summary.existing_reports,
        limits,
        |entry| {
            vec![
                entry.bucket.to_string(),
                entry.account.to_string(),
                entry.manifest.to_string(),
            ]
        },
    );
    let left_out = list(
        "Left out by the input",
        &["bucket", "account", "because"],
        &summary.left_out,
        limits,
        |entry| {
            vec![
                entry.bucket.to_string(),
                entry.account.to_string(),
                entry.because.clone(),
            ]
        },
    );
    let warnings = list(
        "Warnings about the input",
        &["field", "warning"],
        &summary.warnings,
        limits,
        |entry| vec![entry.path.clone(), entry.message.clone()],
    );
    [existing, left_out, warnings]
        .into_iter()
        .flatten()
        .collect()
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
