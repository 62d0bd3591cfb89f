use proptest::prelude::*;

use super::*;

const KIB: u64 = 1024;

/// 2024-02-29T23:59:59.999Z
const LEAP_DAY: i64 = 1_709_251_199_999;

fn count(key: &str, change: impl FnOnce(&mut Row<'_>)) -> Totals {
    let derived = Derived::of(key);
    let mut row = Row {
        bucket: "photos",
        key,
        derived: &derived,
        is_latest: true,
        is_delete_marker: false,
        size: Some(5 * KIB),
        last_modified_milliseconds: Some(LEAP_DAY),
        storage_class: Some("STANDARD"),
        encryption_status: Some("SSE-S3"),
        replication_status: None,
    };
    change(&mut row);
    let mut totals = Totals::default();
    totals.observe(&row);
    totals
}

fn tally(objects: u64, object_bytes: u64, versions: u64, version_bytes: u64) -> Tally {
    Tally {
        objects,
        object_bytes,
        versions,
        version_bytes,
    }
}

#[test]
fn an_object_is_counted_everywhere() {
    let totals = count("2024/cat.JPG", |_| {});
    insta::assert_json_snapshot!(totals, @r#"
    {
      "all": {
        "objects": 1,
        "object_bytes": 5120,
        "versions": 1,
        "version_bytes": 5120
      },
      "delete_markers": 0,
      "by_storage_class": {
        "values": {
          "STANDARD": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_encryption_status": {
        "values": {
          "SSE-S3": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_replication_status": {
        "values": {
          "": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_extension": {
        "values": {
          "jpg": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_category": {
        "values": {
          "image": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_top_prefix": {
        "values": {
          "2024/": {
            "objects": 1,
            "object_bytes": 5120,
            "versions": 1,
            "version_bytes": 5120
          }
        }
      },
      "by_size": {
        "4096": {
          "objects": 1,
          "object_bytes": 5120,
          "versions": 1,
          "version_bytes": 5120
        }
      },
      "by_month": {
        "2024-02": {
          "objects": 1,
          "object_bytes": 5120,
          "versions": 1,
          "version_bytes": 5120
        }
      },
      "largest_objects": [
        {
          "bucket": "photos",
          "key": "2024/cat.JPG",
          "size": 5120,
          "storage_class": "STANDARD"
        }
      ]
    }
    "#);
    assert_eq!(totals.rows(), 1);
}

#[test]
fn a_noncurrent_version_is_stored_but_no_object() {
    let totals = count("cat.jpg", |row| row.is_latest = false);
    assert_eq!(totals.all, tally(0, 0, 1, 5 * KIB));
    assert_eq!(totals.by_category.values["image"], totals.all);
    assert_eq!(totals.largest_objects, []);
}

#[test]
fn a_delete_marker_is_counted_as_such_only() {
    let totals = count("cat.jpg", |row| row.is_delete_marker = true);
    assert_eq!(
        totals,
        Totals {
            delete_markers: 1,
            ..Totals::default()
        }
    );
    assert_eq!(totals.rows(), 1);
}

#[test]
fn what_is_not_told_is_counted_under_nothing() {
    let totals = count("README2", |row| {
        row.size = None;
        row.last_modified_milliseconds = None;
        row.storage_class = None;
        row.encryption_status = None;
    });
    let once = tally(1, 0, 1, 0);
    assert_eq!(totals.all, once);
    for breakdown in [
        &totals.by_storage_class,
        &totals.by_encryption_status,
        &totals.by_replication_status,
        &totals.by_extension,
        &totals.by_top_prefix,
    ] {
        assert_eq!(breakdown.values, BTreeMap::from([(String::new(), once)]));
    }
    assert!(totals.by_size.is_empty() && totals.by_month.is_empty());
    assert_eq!(totals.largest_objects, []);
}

#[test]
fn top_prefixes_are_told_apart_from_none() {
    for (key, expected) in [
        ("a/b", "a/"),
        ("/b", "/"),
        ("b", ""),
        ("日本/x", "日本/"),
        ("a/", "a/"),
    ] {
        let totals = count(key, |_| {});
        assert_eq!(
            totals.by_top_prefix.values.keys().collect::<Vec<_>>(),
            [expected],
            "{key}"
        );
    }
}

#[test]
fn sizes_fall_into_powers_of_two() {
    for (size, expected) in [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 2),
        (4, 4),
        (1023, 512),
        (1024, 1024),
        (u64::MAX, 1 << 63),
    ] {
        let totals = count("x", |row| row.size = Some(size));
        assert_eq!(
            totals.by_size.keys().collect::<Vec<_>>(),
            [&expected],
            "{size}"
        );
    }
}

#[test]
fn months_are_those_of_utc() {
    for (milliseconds, expected) in [
        (LEAP_DAY, Some("2024-02")),
        (LEAP_DAY + 1, Some("2024-03")),
        (0, Some("1970-01")),
        (-1, Some("1969-12")),
        (i64::MAX, None),
    ] {
        let month = Month::of_milliseconds(milliseconds);
        assert_eq!(month.map(|month| month.to_string()).as_deref(), expected);
        if let Some(month) = month {
            assert_eq!(month.to_string().parse(), Ok(month));
        }
    }
    for text in [
        "",
        "2024",
        "2024-2",
        "2024-13",
        "2024-00",
        "x-01",
        "2024-02-29",
    ] {
        assert!(text.parse::<Month>().is_err(), "{text}");
    }
}

#[test]
fn the_largest_objects_are_kept_in_order() {
    let mut totals = Totals::default();
    for number in 0..50_u64 {
        totals.merge(count(&format!("{number:02}"), |row| {
            row.size = Some(number % 25);
        }));
    }
    let kept: Vec<(u64, &str)> = totals
        .largest_objects
        .iter()
        .map(|object| (object.size, object.key.as_str()))
        .collect();
    assert_eq!(kept.len(), MAX_LARGEST_OBJECTS);
    assert_eq!(kept[..4], [(24, "24"), (24, "49"), (23, "23"), (23, "48")]);
    assert_eq!(kept[19], (15, "40"));
}

#[test]
fn hostile_sizes_do_not_overflow() {
    let mut totals = count("a", |row| row.size = Some(u64::MAX));
    totals.merge(totals.clone());
    assert_eq!(totals.all, tally(2, u64::MAX, 2, u64::MAX));
}

#[test]
fn totals_survive_being_stored() {
    let mut totals = count("a/b.tfstate", |_| {});
    totals.merge(count("", |row| row.is_delete_marker = true));
    let stored = serde_json::to_vec(&totals).unwrap();
    assert_eq!(serde_json::from_slice::<Totals>(&stored).unwrap(), totals);
    assert_eq!(serde_json::to_vec(&totals).unwrap(), stored);
}

#[test]
fn a_breakdown_keeps_the_weightiest_of_too_many_values() {
    let mut breakdown = Breakdown::default();
    let values = 10 * MAX_VALUES;
    for round in 0..2 {
        for number in 0..values {
            breakdown.add(&format!("small-{round}-{number:06}"), tally(1, 1, 1, 1));
            breakdown.add("frequent", tally(1, 0, 1, 0));
        }
        breakdown.add("heavy", tally(0, 0, 1, 1 << 40));
    }
    breakdown.compact();
    assert_eq!(breakdown.values.len(), MAX_VALUES);
    assert_eq!(breakdown.values["frequent"], tally(20_000, 0, 20_000, 0));
    assert_eq!(breakdown.values["heavy"], tally(0, 0, 2, 2 << 40));
    assert_eq!(
        breakdown.sum(),
        tally(40_000, 20_000, 40_002, 20_000 + (2 << 40))
    );
    // Each compaction moved values of one version; there were seven or fewer.
    assert!(
        (1..=7).contains(&breakdown.shortfall.versions),
        "{:?}",
        breakdown.shortfall
    );
}

/// What a row has that totals can depend on.
#[derive(Clone, Debug)]
struct AnyRow {
    bucket: &'static str,
    key: String,
    is_latest: bool,
    is_delete_marker: bool,
    size: Option<u64>,
    last_modified: Option<i64>,
    text: Option<String>,
}

fn any_row() -> impl Strategy<Value = AnyRow> {
    (
        prop_oneof![Just("photos"), Just("logs")],
        "[ab/.]{0,4}(jpg|sql|é)?",
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::option::of(prop_oneof![0..100_u64, any::<u64>()]),
        prop::option::of(any::<i64>()),
        prop::option::of("[A-C]"),
    )
        .prop_map(
            |(bucket, key, is_latest, is_delete_marker, size, last_modified, text)| AnyRow {
                bucket,
                key,
                is_latest,
                is_delete_marker,
                size,
                last_modified,
                text,
            },
        )
}

fn totals_of<'a>(rows: impl IntoIterator<Item = &'a AnyRow>) -> Totals {
    let mut totals = Totals::default();
    for row in rows {
        totals.observe(&Row {
            bucket: row.bucket,
            key: &row.key,
            derived: &Derived::of(&row.key),
            is_latest: row.is_latest,
            is_delete_marker: row.is_delete_marker,
            size: row.size,
            last_modified_milliseconds: row.last_modified,
            storage_class: row.text.as_deref(),
            encryption_status: row.text.as_deref(),
            replication_status: row.text.as_deref(),
        });
    }
    totals
}

fn merged(parts: impl IntoIterator<Item = Totals>) -> Totals {
    parts.into_iter().fold(Totals::default(), |mut sum, part| {
        sum.merge(part);
        sum
    })
}

/// Breakdowns of any history: compacted or not, before and after merging.
fn any_breakdown() -> impl Strategy<Value = Breakdown> {
    let tallies = (any::<u64>(), 0..9_u64).prop_map(|(bytes, n)| tally(n, bytes, n + 1, bytes));
    (
        prop::collection::btree_map("[a-d]{1,2}", tallies.clone(), 0..12),
        tallies.clone(),
        tallies,
    )
        .prop_map(|(values, other, shortfall)| Breakdown {
            values,
            other,
            shortfall,
        })
}

proptest! {
    #[test]
    fn rows_may_be_counted_in_any_order_and_grouping(
        rows in prop::collection::vec(any_row(), 0..60),
        cuts in (0..60_usize, 0..60_usize),
    ) {
        let first = cuts.0.min(cuts.1).min(rows.len());
        let second = cuts.0.max(cuts.1).min(rows.len());
        let (a, b, c) = (totals_of(&rows[..first]), totals_of(&rows[first..second]), totals_of(&rows[second..]));

        let whole = totals_of(&rows);
        prop_assert_eq!(whole.rows(), rows.len() as u64);
        prop_assert_eq!(&totals_of(rows.iter().rev()), &whole);
        prop_assert_eq!(&merged([a.clone(), b.clone(), c.clone()]), &whole);
        prop_assert_eq!(&merged([c.clone(), a.clone(), b.clone()]), &whole);
        prop_assert_eq!(&merged([a, merged([b, c])]), &whole);
    }

    #[test]
    fn all_breakdowns_add_up_to_the_whole(rows in prop::collection::vec(any_row(), 0..60)) {
        let totals = totals_of(&rows);
        for breakdown in [&totals.by_storage_class, &totals.by_encryption_status, &totals.by_replication_status,
            &totals.by_extension, &totals.by_category, &totals.by_top_prefix] {
            prop_assert_eq!(breakdown.sum(), totals.all);
            prop_assert_eq!(breakdown.shortfall, Tally::default());
        }
    }

    #[test]
    fn breakdowns_merge_associatively_and_commutatively(a in any_breakdown(), b in any_breakdown(), c in any_breakdown()) {
        let merged = |parts: [&Breakdown; 2]| {
            let mut sum = parts[0].clone();
            sum.merge(parts[1].clone());
            sum
        };
        prop_assert_eq!(merged([&a, &b]), merged([&b, &a]));
        prop_assert_eq!(merged([&merged([&a, &b]), &c]), merged([&a, &merged([&b, &c])]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_truth_lies_within_the_shortfall(
        additions in prop::collection::vec((0..9_000_u32, 1..1_000_u64), 12_000..16_000),
        cut in 0..12_000_usize,
    ) {
        let mut truth: BTreeMap<String, Tally> = BTreeMap::new();
        let mut parts = [Breakdown::default(), Breakdown::default()];
        for (index, (number, bytes)) in additions.iter().enumerate() {
            let (value, tally) = (number.to_string(), tally(1, *bytes, 1, *bytes));
            parts[usize::from(index >= cut)].add(&value, tally);
            truth.entry(value).or_default().add(tally);
        }
        let [mut whole, second] = parts;
        whole.compact();
        whole.merge(second);
        whole.compact();

        prop_assert!(whole.values.len() <= MAX_VALUES);
        prop_assert!(whole.shortfall.versions > 0);
        let sum = truth.values().fold(Tally::default(), |mut sum, tally| { sum.add(*tally); sum });
        prop_assert_eq!(whole.sum(), sum);
        for (value, true_tally) in truth {
            let listed = whole.values.get(&value).copied().unwrap_or_default();
            let mut at_most = listed;
            at_most.add(whole.shortfall);
            prop_assert_eq!(true_tally.max(listed), true_tally, "{} is listed with too much", value);
            prop_assert_eq!(true_tally.max(at_most), at_most, "{} is short of more than the shortfall", value);
        }
    }
}
