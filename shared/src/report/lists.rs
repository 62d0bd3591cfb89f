//! Lists on the page that are tables: what is missing, what changed, what stands beside.

use serde_json::{Value, json};

use super::render::{Limits, text};
use super::view::time;
use crate::remedy::remedy;
use crate::status::{InventoryStatus, Reason};
use crate::summary::{ChangeKind, Changes, Summary};

/// What changed since the run before. Changes of one kind stand together.
pub(super) fn changed(changes: &Changes, limits: Limits) -> Value {
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

/// What makes a run partial, beside buckets and queries.
pub(super) fn missing(summary: &Summary, limits: Limits) -> Vec<Value> {
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

/// What does not make a run partial, and is worth knowing.
pub(super) fn beside(summary: &Summary, limits: Limits) -> Vec<Value> {
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
