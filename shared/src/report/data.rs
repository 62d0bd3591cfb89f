//! What the script of the page works with: every source bucket in few bytes, and the top prefixes.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Report;
use super::render::{Limits, text};
use crate::run::SourceBucket;
use crate::status::InventoryStatus;

/// Longest top prefix, in characters.
const PREFIX_CHARACTERS: usize = 120;

/// A list in which every text stands once.
#[derive(Default)]
struct Pool {
    places: HashMap<String, usize>,
    texts: Vec<Value>,
}

impl Pool {
    /// The place of a value in the list. `key` is what tells it from others.
    fn place(&mut self, key: String, value: impl FnOnce() -> Value) -> usize {
        let texts = &mut self.texts;
        *self.places.entry(key).or_insert_with(|| {
            texts.push(value());
            texts.len() - 1
        })
    }
}

/// The data as JSON that may stand in HTML. Buckets that are not covered come first, as in the
/// summary, and then the largest.
pub(super) fn json(report: &Report<'_>, limits: Limits) -> String {
    let not_covered: HashMap<_, _> = report
        .summary
        .not_covered
        .iter()
        .enumerate()
        .map(|(place, entry)| ((&entry.account, &entry.bucket), (place, entry)))
        .collect();
    let mut buckets: Vec<&SourceBucket> = report.buckets.iter().collect();
    buckets.sort_by_cached_key(|bucket| {
        let known = not_covered.get(&(&bucket.account, &bucket.bucket));
        let place = known.map_or(usize::MAX, |(place, _)| *place);
        let size = std::cmp::Reverse(bucket.bytes);
        (place, size, bucket.account.clone(), bucket.bucket.clone())
    });

    let (mut accounts, mut regions) = (Pool::default(), Pool::default());
    let (mut reasons, mut remedies) = (Pool::default(), Pool::default());
    let mut rows = Vec::with_capacity(buckets.len());
    let mut places = HashMap::new();
    for bucket in buckets {
        let account = accounts.place(bucket.account.to_string(), || {
            Value::from(bucket.account.as_str())
        });
        let region = regions.place(bucket.region.to_string(), || {
            Value::from(bucket.region.as_str())
        });
        let status = InventoryStatus::ALL
            .iter()
            .position(|status| *status == bucket.status);
        let is_done = bucket.status == InventoryStatus::Done;
        let mut row = vec![
            json!(account),
            json!(bucket.bucket.as_str()),
            json!(region),
            json!(status),
            json!(if is_done { bucket.objects } else { 0 }),
            json!(if is_done { bucket.bytes } else { 0 }),
        ];
        if let Some((_, entry)) = not_covered.get(&(&bucket.account, &bucket.bucket)) {
            let why = format!(
                "{}: {}",
                text(&entry.reason.code, limits.characters),
                text(&entry.reason.message, limits.characters)
            );
            let permission = entry.reason.missing_permission.as_deref();
            let needs = permission.map_or_else(String::new, |permission| {
                let permission = text(permission, limits.characters);
                format!("missing permission: {permission}")
            });
            let remedy = remedies.place(entry.remedy.clone(), || json!(entry.remedy));
            let value = json!([why, needs, remedy]);
            row.push(json!(reasons.place(value.to_string(), || value)));
        }
        places.insert((&bucket.account, &bucket.bucket), rows.len());
        rows.push(Value::Array(row));
    }

    let prefixes: Vec<Value> = report
        .top_prefixes
        .iter()
        .flat_map(|top| &top.buckets)
        .filter_map(|entry| {
            let place = places.get(&(&entry.account, &entry.bucket))?;
            let listed: Vec<Value> = entry
                .prefixes
                .iter()
                .map(|prefix| {
                    json!([
                        text(&prefix.prefix, PREFIX_CHARACTERS),
                        prefix.tally.version_bytes,
                        prefix.tally.objects
                    ])
                })
                .collect();
            Some(json!([
                place,
                listed,
                entry.more_prefixes,
                entry.other.version_bytes,
                entry.other.objects,
                entry.shortfall.version_bytes
            ]))
        })
        .collect();
    let statuses: Vec<Value> = InventoryStatus::ALL
        .iter()
        .map(|status| json!([status.name(), status.is_covered()]))
        .collect();
    in_html(&json!({
        "accounts": accounts.texts,
        "regions": regions.texts,
        "statuses": statuses,
        "reasons": reasons.texts,
        "remedies": remedies.texts,
        "buckets": rows,
        "prefixes": prefixes,
    }))
}

/// JSON that nothing in HTML or JavaScript could take for an end of it.
fn in_html(value: &Value) -> String {
    let json = value.to_string();
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            _ => escaped.push(character),
        }
    }
    escaped
}
