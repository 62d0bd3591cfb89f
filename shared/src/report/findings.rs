//! The findings on the page: each query with the first rows of what it found.

use serde_json::{Value, json};

use super::render::{Limits, code, text};
use crate::catalogue::Severity;
use crate::run::QueryState;
use crate::sample::{MAX_COLUMNS, Sample};
use crate::summary::{QueryResult, number, visible};

pub(super) fn finding(query: &QueryResult, limits: Limits) -> Value {
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
