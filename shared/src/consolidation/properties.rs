//! Whatever rows a report has, in whatever format, columns, files, row groups and order they come:
//! the table and the totals are the same, and are those that plain code computes.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_cast::cast;
use arrow_schema::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::fixture::{self, Listed, consolidate_in_memory, object};
use super::*;
use crate::derived::Derived;
use crate::snapshot_schema::{AthenaType, COLUMNS, Origin};
use crate::totals::Row;

/// Columns that a report may or may not have.
const OPTIONAL: [&str; 8] = [
    "version_id",
    "is_latest",
    "is_delete_marker",
    "size",
    "last_modified_date",
    "e_tag",
    "storage_class",
    "encryption_status",
];

/// How a file of the report is written.
#[derive(Clone, Copy, Debug)]
enum Written {
    /// As S3 writes Parquet.
    Parquet,
    /// With instants of the oldest kind, which cannot stay as they are.
    OldParquet,
    Csv,
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "(logs|data|a b|日本)?/?[a-z0-9]{0,6}[./][a-zA-Z0-9.]{0,8}".prop_map(String::into_bytes),
        2 => "[a-z]{1,3}/(id_rsa|\\.env|\\.env\\.x|Thumbs\\.db|credentials|README)(\\.gz|\\.1)?"
            .prop_map(String::into_bytes),
        2 => "[a-z]{1,3}\\.(PEM|tfstate|sql|bak|tar|JSON|x{20,30})(\\.gz|\\.[0-9]{1,3}|\\.zst){0,5}"
            .prop_map(String::into_bytes),
        1 => any::<String>().prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ]
}

fn any_row() -> impl Strategy<Value = Listed> {
    let size = prop_oneof![Just(0), 0..100_i64, 0..i64::MAX];
    // Instants that CSV can spell: years of four digits.
    let instant = -60_000_000_000_000..250_000_000_000_000_i64;
    (
        any_key(),
        size,
        instant,
        0..4_u8,
        "[A-C]{1,2}",
        "[a-z]{0,3}",
    )
        .prop_map(
            |(key, size, last_modified, kind, storage_class, version_id)| Listed {
                size,
                last_modified,
                version_id,
                storage_class,
                is_latest: kind > 0,
                is_delete_marker: kind > 2,
                ..object(key)
            },
        )
}

fn schema_text(columns: &[&str], instant: &str) -> String {
    let declared = columns.iter().map(|column| match *column {
        "bucket" | "key" => format!("required binary {column} (UTF8);"),
        "is_latest" | "is_delete_marker" => format!("optional boolean {column};"),
        "size" => "optional int64 size;".to_owned(),
        "last_modified_date" => format!("optional {instant};"),
        _ => format!("optional binary {column} (UTF8);"),
    });
    format!("message m {{ {} }}", declared.collect::<String>())
}

/// The rows of a consolidated file, all values as text.
fn table(file: &Bytes) -> Vec<Vec<Option<String>>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|column| {
                let plain = match column.data_type() {
                    DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
                    _ => Arc::clone(column),
                };
                cast(&plain, &DataType::Utf8).unwrap()
            })
            .collect();
        let value = |column: &ArrayRef, row| {
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        rows.extend(
            (0..batch.num_rows())
                .map(|row| columns.iter().map(|column| value(column, row)).collect()),
        );
    }
    rows
}

/// What the row has to be in the table.
fn expected_row(listed: &Listed, columns: &[&str]) -> Vec<Option<String>> {
    let key = String::from_utf8_lossy(&listed.key);
    let derived = Derived::of(&key);
    let content = |text: String| (!listed.is_delete_marker).then_some(text);
    COLUMNS
        .iter()
        .map(|column| match column.name {
            "extension" => derived.extension.as_deref().map(str::to_owned),
            "top_prefix" => derived.top_prefix.map(str::to_owned),
            "category" => Some(derived.category.to_string()),
            name if !columns.contains(&name) => None,
            "bucket" => Some(listed.bucket.clone()),
            "key" => Some(key.to_string()),
            "version_id" => Some(listed.version_id.clone()),
            "is_latest" => Some(listed.is_latest.to_string()),
            "is_delete_marker" => Some(listed.is_delete_marker.to_string()),
            "size" => content(listed.size.to_string()),
            "last_modified_date" => Some(listed.last_modified.to_string()),
            "e_tag" => content("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
            "storage_class" => content(listed.storage_class.clone()),
            "encryption_status" => content("SSE-S3".to_owned()),
            other => panic!("no test has the column {other}"),
        })
        .collect()
}

fn expected_totals(rows: &[Listed], columns: &[&str]) -> Totals {
    let mut totals = Totals::default();
    for listed in rows {
        let key = String::from_utf8_lossy(&listed.key);
        let has = |column: &str| columns.contains(&column);
        let content = |column| has(column) && !listed.is_delete_marker;
        totals.observe(&Row {
            bucket: &listed.bucket,
            key: &key,
            derived: &Derived::of(&key),
            is_latest: !has("is_latest") || listed.is_latest,
            is_delete_marker: has("is_delete_marker") && listed.is_delete_marker,
            size: content("size").then(|| listed.size.unsigned_abs()),
            last_modified_milliseconds: has("last_modified_date").then_some(listed.last_modified),
            storage_class: content("storage_class").then_some(&listed.storage_class),
            encryption_status: content("encryption_status").then_some("SSE-S3"),
            replication_status: None,
        });
    }
    totals.compact();
    totals
}

fn consolidate_file(
    written: Written,
    columns: &[&str],
    row_groups: &[Vec<Listed>],
) -> (Consolidated, Bytes) {
    let (format, file) = match written {
        Written::Parquet => {
            let instant = "int64 last_modified_date (TIMESTAMP(MILLIS,true))";
            let schema = schema_text(columns, instant);
            (FileFormat::Parquet, fixture::write(&schema, row_groups))
        }
        Written::OldParquet => {
            let schema = schema_text(columns, "int96 last_modified_date");
            (FileFormat::Parquet, fixture::write(&schema, row_groups))
        }
        Written::Csv => (
            FileFormat::Csv,
            fixture::write_csv(columns, &row_groups.concat()),
        ),
    };
    let schema = fixture::promised(columns);
    let delivered = Delivered {
        source_bucket: &BucketName::try_from("photos").unwrap(),
        format,
        schema: &schema,
    };
    consolidate_in_memory(delivered, &file).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn however_rows_come_the_table_and_the_totals_are_the_same(
        (rows, shuffled) in prop::collection::vec(any_row(), 0..120)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
        present in prop::collection::vec(any::<bool>(), OPTIONAL.len()),
        cuts in prop::collection::vec(0..120_usize, 0..6),
        files in prop::collection::vec(
            prop_oneof![Just(Written::Parquet), Just(Written::OldParquet), Just(Written::Csv)],
            1..4,
        ),
    ) {
        let mut columns = vec!["bucket", "key"];
        columns.extend(OPTIONAL.iter().zip(present).filter(|(_, is)| *is).map(|(name, _)| *name));
        // Whoever does not know delete markers cannot tell that they have no size.
        let known = |rows: Vec<Listed>| -> Vec<Listed> {
            rows.into_iter()
                .map(|row| Listed {
                    is_delete_marker: row.is_delete_marker && columns.contains(&"is_delete_marker"),
                    ..row
                })
                .collect()
        };
        let (rows, shuffled) = (known(rows), known(shuffled));
        let mut bounds: Vec<usize> = cuts.iter().map(|cut| *cut.min(&rows.len())).collect();
        bounds.extend([0, rows.len()]);
        bounds.sort_unstable();
        let groups: Vec<Vec<Listed>> =
            bounds.array_windows().map(|[from, to]| shuffled[*from..*to].to_vec()).collect();

        let mut found = Vec::new();
        let mut totals = Totals::default();
        let mut undecodable_keys = 0;
        for (number, written) in files.iter().enumerate() {
            // The row groups are dealt to the files.
            let own: Vec<Vec<Listed>> =
                groups.iter().skip(number).step_by(files.len()).cloned().collect();
            let (consolidated, output) = consolidate_file(*written, &columns, &own);
            let again = consolidate_file(*written, &columns, &own);
            prop_assert_eq!(&again, &(consolidated.clone(), output.clone()), "a repeat is the same");
            prop_assert_eq!(consolidated.rows, own.concat().len() as u64);
            found.extend(table(&output));
            totals.merge(consolidated.totals);
            undecodable_keys += consolidated.undecodable_keys;
        }
        totals.compact();

        let mut expected: Vec<_> = rows.iter().map(|row| expected_row(row, &columns)).collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(totals, expected_totals(&rows, &columns));
        let is_text = |row: &&Listed| std::str::from_utf8(&row.key).is_ok();
        let texts = rows.iter().filter(is_text).count() as u64;
        prop_assert_eq!(undecodable_keys, rows.len() as u64 - texts);
    }
}

#[test]
fn the_test_knows_the_types_of_its_columns() {
    for name in OPTIONAL {
        let column = crate::snapshot_schema::find(name).unwrap();
        assert_eq!(column.origin, Origin::Optional);
        let is_flag = column.athena_type == AthenaType::Boolean;
        assert_eq!(name.starts_with("is_"), is_flag, "{name}");
    }
}
