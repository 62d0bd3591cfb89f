//! Charts as numbers: how long each bar is and what it says. The template draws them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::render::{Limits, text};
use crate::summary::{bytes, number};
use crate::totals::{Breakdown, Month, Tally, Totals};

/// How many bars a breakdown has.
const MAX_BARS: usize = 10;
/// How many years a chart of months goes back.
const MAX_YEARS: i64 = 12;
/// Powers of two between one unit of bytes and the next.
const POWERS: u32 = 10;
/// How high a column is at most.
const HEIGHT: u64 = 100;

/// Bars by the values of one column.
#[derive(Debug, Serialize)]
pub(super) struct Bars {
    /// The weightiest values, and what the others add up to.
    pub(super) rows: Vec<Bar>,
    /// How many values are in the last bar; at least so many if there is a shortfall.
    pub(super) more: usize,
    /// How short a bar may be at most; absent if all are exact.
    pub(super) shortfall: Option<Tally>,
}

/// One bar.
#[derive(Debug, Serialize)]
pub(super) struct Bar {
    /// The value; absent for what the others add up to.
    pub(super) value: Option<String>,
    /// What is counted under it.
    pub(super) tally: Tally,
    /// Length in thousandths of the longest bar.
    pub(super) length: u64,
    /// Its part of all bytes, such as `12.3 %`.
    pub(super) share: String,
}

/// Columns in groups: one group for each unit of bytes, or for each year.
#[derive(Debug, Serialize)]
pub(super) struct Histogram {
    pub(super) groups: Vec<Group>,
    /// What the highest columns stand for.
    pub(super) most: Tally,
    /// What has no column: `(which, what is counted)`.
    pub(super) beside: Vec<(String, Tally)>,
}

/// Columns with one label.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) label: String,
    pub(super) columns: Vec<Column>,
}

/// One column.
#[derive(Debug, Serialize)]
pub(super) struct Column {
    /// What it stands for.
    pub(super) label: String,
    pub(super) tally: Tally,
    /// Height of the column of versions, in hundredths of the highest.
    pub(super) versions: u64,
    /// Height of the column of bytes, in hundredths of the highest.
    pub(super) bytes: u64,
}

/// Bars of a breakdown; `none` is what its empty text stands for.
pub(super) fn bars(breakdown: &Breakdown, none: &str, limits: Limits) -> Bars {
    let mut values: Vec<(&String, &Tally)> = breakdown.values.iter().collect();
    values.sort_by(|(a_value, a), (b_value, b)| {
        let weight = |tally: &Tally| (tally.version_bytes, tally.versions);
        weight(b).cmp(&weight(a)).then_with(|| a_value.cmp(b_value))
    });
    // One bar for a single value takes no more room than one for "1 other".
    let shown = if values.len() == MAX_BARS + 1 && breakdown.other.is_zero() {
        MAX_BARS + 1
    } else {
        MAX_BARS
    };
    let rest = values.split_off(values.len().min(shown));
    let other = rest.iter().fold(breakdown.other, |mut sum, (_, tally)| {
        sum.add(**tally);
        sum
    });
    let mut rows: Vec<(Option<String>, Tally)> = values
        .into_iter()
        .map(|(value, tally)| {
            let value = if value.is_empty() { none } else { value };
            (Some(text(value, limits.characters)), *tally)
        })
        .collect();
    if !other.is_zero() {
        rows.push((None, other));
    }
    let all = breakdown.sum().version_bytes;
    let longest = rows.iter().map(|(_, tally)| tally.version_bytes).max();
    Bars {
        more: rest.len(),
        shortfall: Some(breakdown.shortfall).filter(|shortfall| !shortfall.is_zero()),
        rows: rows
            .into_iter()
            .map(|(value, tally)| Bar {
                value,
                length: part(tally.version_bytes, longest.unwrap_or_default(), 1_000),
                share: share(tally.version_bytes, all),
                tally,
            })
            .collect(),
    }
}

/// Columns by size: one for each power of two, in a group for each unit.
pub(super) fn sizes(by_size: &BTreeMap<u64, Tally>) -> Histogram {
    let mut by_power: BTreeMap<u32, Tally> = BTreeMap::new();
    let mut beside = Vec::new();
    for (lower_bound, tally) in by_size {
        match lower_bound.checked_ilog2() {
            Some(power) => by_power.entry(power).or_default().add(*tally),
            None => beside.push(("empty".to_owned(), *tally)),
        }
    }
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let last = by_power.last_key_value().map(|(power, _)| *power / POWERS);
    let most = most(by_power.values());
    let groups = (0..).zip(units).take_while(|(unit, _)| {
        // Always up to the unit in which the largest objects of S3 are told.
        *unit <= last.unwrap_or_default().max(4) && !by_power.is_empty()
    });
    let groups = groups
        .map(|(unit, label)| Group {
            label: label.to_owned(),
            columns: (0..POWERS)
                .filter(|power| unit * POWERS + power < u64::BITS)
                .map(|power| {
                    let tally = by_power.get(&(unit * POWERS + power));
                    let ends = format!("{} to {} {label}", 1 << power, 2 << power);
                    column(ends, tally.copied().unwrap_or_default(), &most)
                })
                .collect(),
        })
        .collect();
    Histogram {
        groups,
        most,
        beside,
    }
}

/// Columns by month of the last modification, in a group for each year up to that of the run.
pub(super) fn months(by_month: &BTreeMap<Month, Tally>, started_at: Timestamp) -> Histogram {
    let ends_in = i64::from(started_at.to_zoned(jiff::tz::TimeZone::UTC).year());
    let first = by_month.keys().map(|month| year_and_month(*month).0).min();
    let begins_in = first
        .unwrap_or(ends_in)
        .clamp(ends_in - MAX_YEARS + 1, ends_in);
    let mut within: BTreeMap<(i64, i64), Tally> = BTreeMap::new();
    let (mut earlier, mut later) = (Tally::default(), Tally::default());
    for (month, tally) in by_month {
        let (year, month) = year_and_month(*month);
        if year < begins_in {
            earlier.add(*tally);
        } else if year > ends_in {
            later.add(*tally);
        } else {
            within.entry((year, month)).or_default().add(*tally);
        }
    }
    let beside = [
        (format!("before {begins_in}"), earlier),
        (format!("after {ends_in}"), later),
    ];
    let most = most(within.values());
    let years = (begins_in..=ends_in).filter(|_| !within.is_empty());
    Histogram {
        most,
        groups: years
            .map(|year| Group {
                label: year.to_string(),
                columns: (1..=12)
                    .map(|month| {
                        let tally = within.get(&(year, month));
                        let label = format!("{year}-{month:02}");
                        column(label, tally.copied().unwrap_or_default(), &most)
                    })
                    .collect(),
            })
            .collect(),
        beside: beside
            .into_iter()
            .filter(|(_, tally)| !tally.is_zero())
            .collect(),
    }
}

fn year_and_month(month: Month) -> (i64, i64) {
    let text = month.to_string();
    let (year, month) = text.rsplit_once('-').unwrap_or((&text, ""));
    (year.parse().unwrap_or(0), month.parse().unwrap_or(0))
}

/// Each number as the largest of any column.
fn most<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Tally {
    tallies.fold(Tally::default(), |most, tally| most.max(*tally))
}

fn column(label: String, tally: Tally, most: &Tally) -> Column {
    Column {
        label,
        versions: part(tally.versions, most.versions, HEIGHT),
        bytes: part(tally.version_bytes, most.version_bytes, HEIGHT),
        tally,
    }
}

/// A part of a whole in so many steps; never none of them if there is something.
fn part(number: u64, whole: u64, steps: u64) -> u64 {
    if number == 0 || whole == 0 {
        return 0;
    }
    let part = u128::from(number) * u128::from(steps) / u128::from(whole);
    u64::try_from(part).unwrap_or(steps).clamp(1, steps)
}

/// A part of a whole as a percentage. Something is never said to be nothing, nor a part to be all.
pub(super) fn share(number: u64, whole: u64) -> String {
    if whole == 0 {
        return String::new();
    }
    let thousandths = (u128::from(number) * 1_000 + u128::from(whole) / 2) / u128::from(whole);
    match thousandths {
        0 if number > 0 => "< 0.1 %".to_owned(),
        1_000 if number < whole => "> 99.9 %".to_owned(),
        _ => format!("{}.{} %", thousandths / 10, thousandths % 10),
    }
}

/// Bars by storage class and the like.
pub(super) fn bar_charts(totals: &Totals, limits: Limits) -> Vec<Value> {
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
            let bars = bars(breakdown, none, limits);
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

/// Columns by size and by month.
pub(super) fn histograms(totals: &Totals, started_at: Timestamp) -> Vec<Value> {
    let charts = [
        (
            "Sizes",
            "size",
            sizes(&totals.by_size),
            sum(totals.by_size.values()),
            "size",
        ),
        (
            "Last modified",
            "month",
            months(&totals.by_month, started_at),
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
