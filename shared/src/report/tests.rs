use serde_json::{Value, json};

use super::charts::{bars, months, share, sizes};
use super::render::{LADDER, MAX_BYTES};
use super::*;
use crate::ids::{AccountId, BucketName};
use crate::run::{Account, Query, QueryState, Run, RunParts};
use crate::sample::{self, Sample};
use crate::status::{InventoryStatus, Reason};
use crate::summary::{Records, Setting};
use crate::totals::{Breakdown, Month, Tally};

fn tally(versions: u64, bytes: u64) -> Tally {
    Tally {
        objects: versions,
        object_bytes: bytes,
        versions,
        version_bytes: bytes,
    }
}

fn run() -> Run {
    let input = json!({
        "run_id": "nightly",
        "accounts": [{ "id": "111111111111" }],
        "athena_database_name": "s3insights",
        "athena_table_name": "inventory_nightly",
        "is_smoke_test": false,
        "athena_queries": [],
        "sender_email_address": "s3@example.com",
        "recipient_email_addresses": ["team@example.com"],
        "inventory_timeout_minutes": 3000,
        "status_refresh_minutes": 30
    });
    serde_json::from_value(json!({
        "run_id": "nightly",
        "execution_arn": "arn:aws:states:us-east-1:111111111111:execution:h:e",
        "started_at": "2026-01-05T04:00:00Z",
        "deadline": "2026-01-07T06:00:00Z",
        "input": input.to_string(),
        "warnings": "[]",
    }))
    .unwrap()
}

fn parts() -> RunParts {
    RunParts {
        accounts: vec![Account {
            account: AccountId::try_from("111111111111").unwrap(),
            reason: None,
        }],
        ..RunParts::default()
    }
}

fn bucket(name: &str, status: InventoryStatus, bytes: u64) -> SourceBucket {
    let mut bucket = SourceBucket::discovered(
        AccountId::try_from("111111111111").unwrap(),
        BucketName::try_from(name).unwrap(),
        "eu-west-1".parse().unwrap(),
    );
    bucket.status = status;
    (bucket.objects, bucket.rows, bucket.bytes) = (1, 1, bytes);
    bucket
}

fn page(parts: &RunParts) -> String {
    let setting = Setting {
        host_region: "us-east-1".parse().unwrap(),
        consolidated_bucket: BucketName::try_from("consolidated").unwrap(),
        work_group: "insights".into(),
    };
    let records = Records {
        run: &run(),
        parts,
        totals: None,
        earlier: None,
    };
    let summary = Summary::build(records, &setting);
    let report = Report {
        summary: &summary,
        buckets: &parts.buckets,
        totals: None,
        top_prefixes: None,
        as_of: None,
    };
    report.page()
}

fn data(page: &str) -> Value {
    let (_, rest) = page
        .split_once(r#"<script id="data" type="application/json">"#)
        .unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    assert!(!json.contains(['<', '>', '&', '\u{2028}', '\u{2029}']));
    serde_json::from_str(json).unwrap()
}

#[test]
fn bars_say_what_they_leave_out() {
    let mut breakdown = Breakdown::default();
    for number in 1..=14_u64 {
        breakdown.add(&format!("kind-{number:02}"), tally(1, number * 10));
    }
    breakdown.add("", tally(1, 500));
    let drawn = bars(&breakdown, "none", LADDER[0]);
    let values: Vec<Option<&str>> = drawn.rows.iter().map(|bar| bar.value.as_deref()).collect();
    assert_eq!(values[..2], [Some("none"), Some("kind-14")]);
    assert_eq!((values.len(), values[10], drawn.more), (11, None, 5));
    assert_eq!(drawn.rows[10].tally, tally(5, 150));
    assert_eq!(drawn.rows[0].length, 1_000);
    assert_eq!(drawn.rows[0].share, "32.3 %");
    assert!(drawn.shortfall.is_none());

    breakdown.other = tally(7, 700);
    breakdown.shortfall = tally(2, 3);
    let drawn = bars(&breakdown, "none", LADDER[0]);
    assert_eq!(drawn.rows[10].tally, tally(12, 850));
    assert_eq!(drawn.shortfall, Some(tally(2, 3)));

    // A bar for one more value takes no more room than one for the others.
    let mut eleven = Breakdown::default();
    for number in 0..11 {
        eleven.add(&number.to_string(), tally(1, 1));
    }
    let drawn = bars(&eleven, "none", LADDER[0]);
    assert!(drawn.more == 0 && drawn.rows.iter().all(|bar| bar.value.is_some()));
}

#[test]
fn a_share_never_says_nothing_or_all_of_something_else() {
    let cases = [
        ((0, 0), ""),
        ((0, 10), "0.0 %"),
        ((1, 1_000_000), "< 0.1 %"),
        ((999_999, 1_000_000), "> 99.9 %"),
        ((10, 10), "100.0 %"),
        ((1, 3), "33.3 %"),
        ((u64::MAX, u64::MAX), "100.0 %"),
    ];
    for ((part, whole), text) in cases {
        assert_eq!(share(part, whole), text);
    }
}

#[test]
fn sizes_stand_under_their_unit() {
    let drawn = sizes(
        &[
            (0, tally(3, 0)),
            (1, tally(1, 1)),
            (1 << 20, tally(200, 1 << 28)),
            (1 << 63, tally(1, 1 << 63)),
        ]
        .into(),
    );
    assert_eq!(drawn.beside, [("empty".to_owned(), tally(3, 0))]);
    let labels: Vec<&str> = drawn
        .groups
        .iter()
        .map(|group| group.label.as_str())
        .collect();
    assert_eq!(labels, ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]);
    assert_eq!(drawn.groups[6].columns.len(), 4);
    let column = &drawn.groups[2].columns[0];
    assert_eq!(column.label, "1 to 2 MiB");
    // What is there is seen, however small it is beside the highest.
    assert_eq!((column.versions, column.bytes), (100, 1));
    assert_eq!(drawn.groups[0].columns[0].versions, 1);
    assert_eq!(drawn.groups[0].columns[1].versions, 0);

    let usual = sizes(&[(1 << 10, tally(1, 1_500))].into());
    assert_eq!(usual.groups.len(), 5);
    assert!(sizes(&[(0, tally(1, 0))].into()).groups.is_empty());
}

#[test]
fn months_go_back_twelve_years_and_tell_what_is_before() {
    let at = |time: &str| {
        let time: Timestamp = time.parse().unwrap();
        Month::of_milliseconds(time.as_millisecond()).unwrap()
    };
    let started_at = "2026-01-05T04:00:00Z".parse().unwrap();
    let by_month = [
        (at("1970-01-01T00:00:00Z"), tally(1, 10)),
        (at("2014-12-31T00:00:00Z"), tally(2, 20)),
        (at("2015-01-01T00:00:00Z"), tally(4, 40)),
        (at("2026-01-01T00:00:00Z"), tally(8, 80)),
        (at("2031-01-01T00:00:00Z"), tally(16, 160)),
    ];
    let drawn = months(&by_month.into(), started_at);
    assert_eq!(drawn.groups.len(), 12);
    assert_eq!(drawn.groups[0].label, "2015");
    assert_eq!(drawn.groups[0].columns[0].versions, 50);
    assert_eq!(drawn.groups[11].columns[0].tally, tally(8, 80));
    assert_eq!(
        drawn.beside,
        [
            ("before 2015".to_owned(), tally(3, 30)),
            ("after 2026".to_owned(), tally(16, 160))
        ]
    );
    let young = months(
        &[(at("2025-07-01T00:00:00Z"), tally(1, 1))].into(),
        started_at,
    );
    assert_eq!(young.groups.len(), 2);
    assert!(months(&[].into(), started_at).groups.is_empty());
}

#[test]
fn every_bucket_is_in_the_data_and_those_not_covered_come_first() {
    let mut parts = parts();
    parts.buckets = vec![
        bucket("small", InventoryStatus::Done, 1),
        bucket("large", InventoryStatus::Done, 9),
        bucket("late", InventoryStatus::InProgress, 5),
        bucket("unused", InventoryStatus::BucketIsEmpty, 0),
    ];
    let data = data(&page(&parts));
    let names: Vec<&str> = data["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row[1].as_str().unwrap())
        .collect();
    assert_eq!(names, ["late", "large", "small", "unused"]);
    // Rows of a bucket that is not done are not in the snapshot.
    assert_eq!(data["buckets"][0][5], 0);
    let reason = data["buckets"][0][6].as_u64().unwrap();
    let why = &data["reasons"][usize::try_from(reason).unwrap()][0];
    assert!(why.as_str().unwrap().starts_with("NotDelivered: "));
    assert_eq!(data["accounts"], json!(["111111111111"]));
}

#[test]
fn the_longest_texts_leave_every_bucket_on_a_page_of_bounded_size() {
    let long = "&\"<\n\u{202e}".repeat(1_000);
    let mut parts = parts();
    for number in 0..10_000 {
        let mut late = bucket(&format!("{number:0>63}"), InventoryStatus::InProgress, 0);
        late.reason = Some(Reason::new("Long", format!("{number} {long}")));
        parts.buckets.push(late);
    }
    let row = vec![Some(long.clone()); sample::MAX_COLUMNS];
    let columns = vec![long.clone(); sample::MAX_COLUMNS];
    for number in 0..40 {
        parts.queries.push(Query {
            number,
            name: long.clone(),
            tells: Some(long.clone()),
            severity: None,
            sql: long.clone(),
            state: QueryState::Succeeded,
            execution_id: None,
            rows: Some(10),
            sample: Some(Sample::of(
                columns.clone(),
                vec![row.clone(); sample::MAX_ROWS],
            )),
            result_location: None,
            scanned_bytes: None,
            reason: None,
        });
    }
    let page = page(&parts);
    assert!(page.len() <= MAX_BYTES, "{}", page.len());
    assert_eq!(data(&page)["buckets"].as_array().unwrap().len(), 10_000);
    assert!(page.contains("Texts are cut after "));
}
