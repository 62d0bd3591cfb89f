//! Summaries as text and as HTML.
//!
//! Names, messages and queries come from outside. Before a template sees a text it is made visible
//! ([`visible`]) and cut to a length; the HTML template escapes it besides. A summary that would be
//! too long is rendered again with shorter lists and texts.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as TemplateValue};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::{Map, Value, json};

use super::{Summary, cause_message, counted};
use crate::run::{Outcome, QueryState};
use crate::status::InventoryStatus;

/// Longest text or HTML part, in bytes. Mail programs cut messages off at about 100 KB.
pub const MAX_BYTES: usize = 90_000;

/// Entries that are addresses: whole, or they lead nowhere.
const ADDRESSES: &[&str] = &["console_link", "result_location", "location", "manifest"];

/// How much of a summary is shown.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Entries of each list.
    entries: usize,
    /// Characters of each text.
    characters: usize,
    /// Characters of the input.
    input: usize,
}

/// Ever less, until it fits.
const LADDER: [Limits; 6] = [
    Limits {
        entries: 200,
        characters: 600,
        input: 8_000,
    },
    Limits {
        entries: 100,
        characters: 300,
        input: 4_000,
    },
    Limits {
        entries: 50,
        characters: 200,
        input: 3_000,
    },
    Limits {
        entries: 25,
        characters: 150,
        input: 2_000,
    },
    Limits {
        entries: 10,
        characters: 100,
        input: 1_000,
    },
    Limits {
        entries: 3,
        characters: 60,
        input: 300,
    },
];

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    // Optional entries may be asked for, but not shown when they are missing.
    templates.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    templates.set_syntax(syntax.build().expect("the delimiters are the usual ones"));
    templates.add_filter("number", |number: u64| grouped(number));
    templates.add_filter("bytes", |bytes: u64| size(bytes));
    templates.add_filter("pad", |text: TemplateValue, width: usize| {
        format!("{:<width$}", text.to_string())
    });
    // The ending decides whether values are escaped.
    for (name, source) in [
        ("summary.txt", include_str!("summary.txt")),
        ("summary.html", include_str!("summary.html")),
    ] {
        templates
            .add_template(name, source)
            .expect("the templates are part of this program");
    }
    templates
});

pub(super) fn text(summary: &Summary) -> String {
    fit(summary, "summary.txt")
}

pub(super) fn html(summary: &Summary) -> String {
    fit(summary, "summary.html")
}

fn fit(summary: &Summary, template: &str) -> String {
    let mut rendered = String::new();
    for limits in LADDER {
        rendered = render(summary, template, limits);
        if rendered.len() <= MAX_BYTES {
            break;
        }
    }
    rendered
}

fn render(summary: &Summary, template: &str, limits: Limits) -> String {
    TEMPLATES
        .get_template(template)
        .and_then(|template| template.render(TemplateValue::from(Serde(view(summary, limits)))))
        .expect("the templates name only what every summary has")
}

/// What the templates see.
fn view(summary: &Summary, limits: Limits) -> Value {
    // Queries without a result come first: they must not be cut off.
    let mut queries: Vec<_> = summary.queries.iter().collect();
    queries.sort_by_key(|query| query.state == QueryState::Succeeded);
    let coverage: Vec<Value> = InventoryStatus::ALL
        .into_iter()
        .map(|status| {
            json!({
                "status": status.name(),
                "meaning": meaning(status),
                "is_covered": status.is_covered(),
                "buckets": summary.coverage.get(&status).copied().unwrap_or_default(),
            })
        })
        .collect();
    let failure = summary
        .failure
        .as_ref()
        .map(|failure| json!({ "error": failure.error, "message": cause_message(&failure.cause) }));
    let fields = json!({
        "subject": summary.subject(),
        "verdict": summary.verdict(),
        "headline": headline(summary),
        "run_id": summary.run_id,
        "outcome": summary.outcome,
        "failure": failure,
        "mail_failure": summary.mail_failure,
        "execution_arn": summary.execution_arn,
        "started_at": summary.started_at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "deadline": summary.deadline.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        "is_smoke_test": summary.is_smoke_test,
        "has_table": !summary.is_smoke_test,
        "database": summary.database,
        "table": summary.table,
        "work_group": summary.work_group,
        "contents": summary.contents,
        "location": summary.location,
    });
    let mut view = Map::new();
    if let Value::Object(fields) = readable(None, fields, limits.characters) {
        view = fields;
    }
    let lists = [
        ("not_covered", cut(&summary.not_covered, limits)),
        ("not_found", cut(&summary.not_found, limits)),
        ("existing_reports", cut(&summary.existing_reports, limits)),
        ("unread_accounts", cut(&summary.unread_accounts, limits)),
        (
            "failed_destinations",
            cut(&summary.failed_destinations, limits),
        ),
        ("left_out", cut(&summary.left_out, limits)),
        ("queries", cut(&queries, limits)),
        ("warnings", cut(&summary.warnings, limits)),
    ];
    view.extend(lists.map(|(name, list)| (name.to_owned(), list)));
    view.insert("coverage".to_owned(), Value::Array(coverage));
    view.insert("input".to_owned(), input(summary, limits.input));
    Value::Object(view)
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

/// One sentence that says no more than is true.
fn headline(summary: &Summary) -> String {
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

fn meaning(status: InventoryStatus) -> &'static str {
    match status {
        InventoryStatus::Done => "all rows of the verified report are in the snapshot",
        InventoryStatus::BucketIsEmpty => "no object, version or delete marker, so no report",
        InventoryStatus::InProgress => "the report has not come whole",
        InventoryStatus::InventoryConfigurationNotCreated => "S3 was not asked for a report",
        InventoryStatus::BucketNotAvailable => "vanished after it was discovered",
        InventoryStatus::BucketAccessLost => "closed to the platform after it was discovered",
        InventoryStatus::VerificationFailed => "the report is not what its manifest says",
    }
}

/// A text from outside with everything that could pass for something else spelled out: control
/// characters, which move the cursor of a terminal or begin a new line, and invisible ones, which
/// turn the direction of writing.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for character in text.chars() {
        let is_invisible = character.is_control()
            || matches!(
                character,
                '\u{61c}'
                    | '\u{200b}'
                    | '\u{200e}'
                    | '\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{e0000}'..='\u{e007f}'
            );
        if is_invisible {
            visible.extend(character.escape_default());
        } else {
            visible.push(character);
        }
    }
    visible
}

fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    let mut unit = 0;
    let mut whole = bytes;
    while whole >= 1_024 * 1_024 {
        whole /= 1_024;
        unit += 1;
    }
    format!(
        "{}.{} {}",
        whole / 1_024,
        whole % 1_024 * 10 / 1_024,
        UNITS[unit]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_pass_for_something_else_is_spelled_out() {
        assert_eq!(
            visible("a\nb\t\u{1b}[31m\u{7f}"),
            "a\\nb\\t\\u{1b}[31m\\u{7f}"
        );
        assert_eq!(visible("gpj.\u{202e}exe"), "gpj.\\u{202e}exe");
        assert_eq!(visible("Grüße, 写真 'x' \\"), "Grüße, 写真 'x' \\");
    }

    #[test]
    fn numbers_and_sizes_are_easy_to_read() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (bytes, text) in [
            (1_023, "1023 bytes"),
            (1_024, "1.0 KiB"),
            (1_536, "1.5 KiB"),
            (1 << 20, "1.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
