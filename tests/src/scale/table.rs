//! The measurements as tables of Markdown.

use std::fmt::Write as _;

use super::Measurement;

/// What a column shows of a measurement.
type Column = (&'static str, fn(&Measurement) -> u64);

const COLUMNS: [Column; 14] = [
    ("accounts", |m| m.accounts),
    ("buckets", |m| m.buckets),
    ("Regions", |m| m.regions),
    ("files", |m| m.files),
    ("transitions", |m| m.transitions),
    ("history, events", |m| m.history_events),
    ("payload, bytes", |m| m.payload_bytes),
    ("calls by machines", |m| m.invocations.values().sum()),
    ("DynamoDB reads", reads),
    ("DynamoDB writes", |m| m.requests_of("dynamodb:") - reads(m)),
    ("S3 requests", |m| m.requests_of("s3:")),
    ("notifications", |m| m.notifications),
    ("all requests", |m| m.requests_of("")),
    ("seconds", |m| m.seconds),
];

/// Read requests of DynamoDB.
fn reads(measurement: &Measurement) -> u64 {
    ["dynamodb:Get", "dynamodb:Query", "dynamodb:BatchGet"]
        .iter()
        .map(|prefix| measurement.requests_of(prefix))
        .sum()
}

/// The tables of the page: counts, growth from one size of a subject to the next, and requests.
pub fn tables(measured: &[Measurement]) -> String {
    let mut text = String::from("### Counts\n\n");
    let names = COLUMNS.map(|(name, _)| name);
    let _ = writeln!(text, "| case | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(COLUMNS.len()));
    for measurement in measured {
        let cells = COLUMNS.map(|(_, value)| grouped(value(measurement)));
        let _ = writeln!(text, "| `{}` | {} |", measurement.case, cells.join(" | "));
    }

    text.push_str("\n### Growth\n\n");
    let _ = writeln!(text, "| from | to | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|---|{}", "---:|".repeat(COLUMNS.len()));
    for pair in measured.windows(2) {
        let [from, to] = pair else { continue };
        if subject(from) != subject(to) {
            continue;
        }
        let cells = COLUMNS.map(|(_, value)| ratio(value(from), value(to)));
        let cells = cells.join(" | ");
        let _ = writeln!(text, "| `{}` | `{}` | {cells} |", from.case, to.case);
    }

    text.push_str("\n### Requests and calls\n\n");
    let cases: Vec<String> = measured.iter().map(|m| format!("`{}`", m.case)).collect();
    let _ = writeln!(text, "| | {} |", cases.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(cases.len()));
    let mut rows = std::collections::BTreeSet::new();
    for measurement in measured {
        rows.extend(measurement.invocations.keys());
        rows.extend(measurement.requests.keys());
    }
    for row in rows {
        let cells: Vec<String> = measured
            .iter()
            .map(|m| m.invocations.get(row).or_else(|| m.requests.get(row)))
            .map(|found| found.copied().map_or_else(String::new, grouped))
            .collect();
        let _ = writeln!(text, "| {row} | {} |", cells.join(" | "));
    }
    text
}

/// What of a case's name comes before its size.
fn subject(measurement: &Measurement) -> &str {
    let name = measurement.case.as_str();
    name.rsplit_once('-').map_or(name, |(subject, _)| subject)
}

#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn ratio(from: u64, to: u64) -> String {
    if from == 0 {
        return String::new();
    }
    format!("{:.1} ×", to as f64 / from as f64)
}

/// With commas between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
