use std::io;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, Encoding};
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use super::fixture::{
    Annotations, Listed, MemoryFile, NULL, consolidate_in_memory, delete_marker, noncurrent,
    object, promised, schema, write,
};
use super::*;
use crate::hostile::TEXTS;
use crate::snapshot_schema::{self, COLUMNS};
use crate::totals::{self, Tally};

fn consolidate_with(
    fields: &[&str],
    file: &Bytes,
) -> Result<(Consolidated, Bytes), ConsolidationError> {
    let bucket = BucketName::try_from("photos").unwrap();
    let schema = promised(fields);
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Parquet,
        schema: &schema,
    };
    consolidate_in_memory(delivered, file)
}

fn consolidated(file: &Bytes) -> (Consolidated, Bytes) {
    consolidate_with(&["bucket", "key"], file).unwrap()
}

fn failure(file: &Bytes) -> ConsolidationError {
    consolidate_with(&["bucket", "key"], file).unwrap_err()
}

fn read(file: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone())
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap();
    let mut batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert!(batches.len() <= 1, "tests read one batch");
    batches
        .pop()
        .unwrap_or_else(|| RecordBatch::new_empty(arrow_schema()))
}

/// The schema of every consolidated file, as it is read.
fn arrow_schema() -> SchemaRef {
    let schema = snapshot_schema::parquet_schema();
    Arc::new(parquet_to_arrow_schema(&schema, None).unwrap())
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap().as_string::<i32>();
    array.iter().map(|text| text.map(str::to_owned)).collect()
}

fn numbers(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch
        .column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .iter()
        .collect()
}

fn sample() -> Vec<Vec<Listed>> {
    vec![
        vec![
            object("2024/cat.JPG"),
            noncurrent("2024/cat.JPG"),
            delete_marker("gone.sql.gz"),
        ],
        vec![object("live/terraform.tfstate")],
        vec![
            Listed {
                storage_class: "GLACIER".to_owned(),
                size: 0,
                ..object(" odd +%2B\t\"'\\,日本/ключ.pem ")
            },
            Listed {
                size: i64::MAX,
                ..object("/")
            },
        ],
    ]
}

/// One line per row: the values of some columns, `∅` for null.
fn lines(batch: &RecordBatch, columns: &[&str]) -> String {
    let options = FormatOptions::new().with_null("∅");
    let without_zone = DataType::Timestamp(TimeUnit::Millisecond, None);
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|name| {
            let array = batch
                .column_by_name(name)
                .expect("the file has all columns");
            match array.data_type() {
                DataType::Timestamp(_, _) => arrow_cast::cast(array, &without_zone).unwrap(),
                _ => Arc::clone(array),
            }
        })
        .collect();
    let columns: Vec<ArrayFormatter<'_>> = arrays
        .iter()
        .map(|array| ArrayFormatter::try_new(array, &options).unwrap())
        .collect();
    (0..batch.num_rows())
        .map(|row| {
            let values: Vec<String> = columns
                .iter()
                .map(|column| format!("{:?}", column.value(row).to_string()))
                .collect();
            values.join(" ").replace("\"∅\"", "∅") + "\n"
        })
        .collect()
}

#[test]
fn all_rows_and_values_arrive_however_the_schema_is_annotated() {
    for annotations in [
        Annotations::Documented,
        Annotations::Delivered,
        Annotations::Bare,
    ] {
        let (consolidated, output) = consolidated(&write(&schema(annotations), &sample()));
        assert_eq!(consolidated.rows, 6, "{annotations:?}");
        assert_eq!(consolidated.undecodable_keys, 0);
        assert_eq!(consolidated.left_out_columns, [] as [&str; 0]);

        let batch = read(&output);
        assert_eq!(batch.schema(), arrow_schema());
        let identity = [
            "bucket",
            "key",
            "version_id",
            "is_latest",
            "is_delete_marker",
        ];
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines(&batch, &identity), @r#"
            "photos" "2024/cat.JPG" "" "true" "false"
            "photos" "2024/cat.JPG" "v1" "false" "false"
            "photos" "gone.sql.gz" "v2" "true" "true"
            "photos" "live/terraform.tfstate" "" "true" "false"
            "photos" " odd +%2B\t\"'\\,日本/ключ.pem " "" "true" "false"
            "photos" "/" "" "true" "false"
            "#);
        }
        let content = [
            "size",
            "last_modified_date",
            "e_tag",
            "storage_class",
            "encryption_status",
        ];
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines(&batch, &content), @r#"
            "100" "2024-02-29T23:59:59.999" "d41d8cd98f00b204e9800998ecf8427e" "STANDARD" "SSE-S3"
            "100" "2024-02-29T23:59:59.999" "d41d8cd98f00b204e9800998ecf8427e" "STANDARD" "SSE-S3"
            ∅ "2024-02-29T23:59:59.999" ∅ ∅ ∅
            "100" "2024-02-29T23:59:59.999" "d41d8cd98f00b204e9800998ecf8427e" "STANDARD" "SSE-S3"
            "0" "2024-02-29T23:59:59.999" "d41d8cd98f00b204e9800998ecf8427e" "GLACIER" "SSE-S3"
            "9223372036854775807" "2024-02-29T23:59:59.999" "d41d8cd98f00b204e9800998ecf8427e" "STANDARD" "SSE-S3"
            "#);
        }
        insta::allow_duplicates! {
            insta::assert_snapshot!(lines(&batch, &["extension", "top_prefix", "category"]), @r#"
            "jpg" "2024" "image"
            "jpg" "2024" "image"
            "gz" ∅ "database-dump"
            "tfstate" "live" "terraform-state"
            ∅ " odd +%2B\t\"'\\,日本" "other"
            ∅ "" "other"
            "#);
        }
        for name in [
            "object_lock_retain_until_date",
            "lifecycle_expiration_date",
            "object_owner",
        ] {
            assert_eq!(
                batch.column_by_name(name).unwrap().null_count(),
                6,
                "{name}"
            );
        }
    }
}

#[test]
fn keys_as_long_and_as_odd_as_s3_takes_arrive_as_they_are() {
    let long = |part: &str| {
        let mut key = part.repeat(1_024 / part.len());
        key.push_str(&"k".repeat(1_024 - key.len()));
        key
    };
    let keys: Vec<String> = TEXTS
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| long(text))
        .chain(["/", ".", "a.b/", "\u{1f5c3}"].map(long))
        .collect();
    let rows: Vec<Listed> = keys.iter().map(|key| object(key.as_str())).collect();
    let (consolidated, output) = consolidated(&write(&schema(Annotations::Delivered), &[rows]));
    assert_eq!(consolidated.rows, keys.len() as u64);
    let read = texts(&read(&output), "key");
    let expected: Vec<Option<String>> = keys.into_iter().map(Some).collect();
    assert_eq!(read, expected);
}

#[test]
fn instants_are_taken_from_every_type_that_they_come_in() {
    for declared in [
        "int64 last_modified_date (TIMESTAMP(MILLIS,true))",
        "int64 last_modified_date (TIMESTAMP(MILLIS,false))",
        "int64 last_modified_date (TIMESTAMP_MILLIS)",
        "int64 last_modified_date",
        "int96 last_modified_date",
    ] {
        let schema = format!(
            "message m {{ required binary bucket; required binary key; optional {declared}; }}"
        );
        let (consolidated, output) = consolidated(&write(&schema, &[vec![object("a")]]));
        assert_eq!(
            lines(&read(&output), &["last_modified_date"]),
            "\"2024-02-29T23:59:59.999\"\n",
            "{declared}"
        );
        assert_eq!(consolidated.totals.by_month.len(), 1);
    }
}

#[test]
fn totals_are_those_of_the_rows() {
    let (consolidated, _) = consolidated(&write(&schema(Annotations::Delivered), &sample()));
    let totals = consolidated.totals;
    assert_eq!(totals.rows(), consolidated.rows);
    assert_eq!(totals.delete_markers, 1);
    let most = i64::MAX.unsigned_abs();
    assert_eq!(
        totals.all,
        Tally {
            objects: 4,
            object_bytes: most + 200,
            versions: 5,
            version_bytes: most + 300
        }
    );
    assert_eq!(
        totals.by_category.values.keys().collect::<Vec<_>>(),
        ["image", "other", "terraform-state"]
    );
    assert_eq!(totals.by_storage_class.values["GLACIER"].objects, 1);
    assert_eq!(
        totals.by_top_prefix.values.keys().collect::<Vec<_>>(),
        [" odd +%2B\t\"'\\,日本/", "/", "2024/", "live/"]
    );
    assert_eq!(
        totals
            .by_month
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["2024-02"]
    );
    assert_eq!(totals.largest_objects[0].key, "/");
}

#[test]
fn the_same_input_becomes_the_same_bytes() {
    let file = write(&schema(Annotations::Delivered), &sample());
    let (_, first) = consolidated(&file);
    let (_, second) = consolidated(&file);
    assert_eq!(first, second);
}

#[test]
fn the_file_on_disk_becomes_the_same_as_the_one_in_memory() {
    let content = write(&schema(Annotations::Delivered), &sample());
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, &content).unwrap();
    let bucket = BucketName::try_from("photos").unwrap();
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Parquet,
        schema: &[],
    };
    let mut output = MemoryFile::of(&content);
    let source: Arc<dyn ReadAt> = Arc::new(LocalFile::new(file).unwrap());
    let from_disk = consolidate(delivered, &source, &mut output).unwrap();
    assert_eq!((from_disk, output.into_bytes()), consolidated(&content));
}

#[test]
fn the_file_is_one_that_athena_reads() {
    let (_, output) = consolidated(&write(&schema(Annotations::Delivered), &sample()));
    let reader = SerializedFileReader::new(output).unwrap();
    let metadata = reader.metadata();
    assert_eq!(metadata.file_metadata().key_value_metadata(), None);
    assert_eq!(
        metadata.file_metadata().created_by(),
        Some("parquet-mr version 1.10.0")
    );
    let row_group = metadata.row_group(0);
    for (column, chunk) in COLUMNS.iter().zip(row_group.columns()) {
        assert_eq!(chunk.column_path().string(), column.name);
        let expected = match column.athena_type {
            snapshot_schema::AthenaType::String => ConvertedType::UTF8,
            snapshot_schema::AthenaType::Timestamp => ConvertedType::TIMESTAMP_MILLIS,
            _ => ConvertedType::NONE,
        };
        assert_eq!(
            chunk.column_descr().converted_type(),
            expected,
            "{}",
            column.name
        );
        let is_newer_kind = chunk.column_descr().logical_type_ref().is_some();
        assert_eq!(
            is_newer_kind,
            expected == ConvertedType::UTF8,
            "{}",
            column.name
        );
        if column.origin == snapshot_schema::Origin::Derived {
            assert!(
                chunk
                    .encodings()
                    .any(|encoding| encoding == Encoding::RLE_DICTIONARY),
                "{}",
                column.name
            );
        }
    }
}

#[test]
fn a_report_about_current_versions_has_objects_only() {
    let schema =
        "message s3.inventory { required binary bucket (UTF8); required binary key (UTF8); }";
    let (consolidated, output) = consolidated(&write(schema, &[vec![object("a"), object("b")]]));
    assert_eq!(
        consolidated.totals.all,
        Tally {
            objects: 2,
            object_bytes: 0,
            versions: 2,
            version_bytes: 0
        }
    );
    assert_eq!(
        read(&output)
            .column_by_name("is_latest")
            .unwrap()
            .null_count(),
        2
    );
}

#[test]
fn columns_of_tomorrow_are_left_out_and_named() {
    let schema = "message s3.inventory { required binary bucket (UTF8); optional binary new_field (UTF8); \
        required binary key (UTF8); optional binary category (UTF8); }";
    let (consolidated, output) = consolidated(&write(schema, &[vec![object("a.pem")]]));
    assert_eq!(consolidated.left_out_columns, ["new_field", "category"]);
    assert_eq!(
        texts(&read(&output), "category"),
        [Some("secret".to_owned())]
    );
}

#[test]
fn keys_that_are_not_text_are_kept_and_counted() {
    for annotations in [
        Annotations::Documented,
        Annotations::Delivered,
        Annotations::Bare,
    ] {
        let rows = vec![
            object(b"caf\xE9/x.pem"),
            object("fine\u{FFFD}"),
            object(b"\xFF\xFE"),
        ];
        let (consolidated, output) = consolidated(&write(&schema(annotations), &[rows]));
        assert_eq!(
            (consolidated.rows, consolidated.undecodable_keys),
            (3, 2),
            "{annotations:?}"
        );
        let batch = read(&output);
        let keys: Vec<String> = texts(&batch, "key").into_iter().flatten().collect();
        assert_eq!(
            keys,
            ["caf\u{FFFD}/x.pem", "fine\u{FFFD}", "\u{FFFD}\u{FFFD}"]
        );
        assert_eq!(texts(&batch, "category")[0].as_deref(), Some("secret"));
    }
}

#[test]
fn a_row_about_another_bucket_fails_the_file() {
    let mut rows = sample();
    rows[2][1].bucket = "holidays".to_owned();
    let error = failure(&write(&schema(Annotations::Delivered), &rows));
    assert!(error.is_fault_of_the_file());
    assert_eq!(
        error.to_string(),
        "row 5 is about the bucket \"holidays\", in a report about \"photos\""
    );
}

#[test]
fn every_file_has_buckets_and_keys() {
    for column in ["bucket", "key"] {
        let schema = format!("message m {{ required binary {column}; }}");
        let error = failure(&write(&schema, &[vec![object("a")]]));
        assert!(
            matches!(error, ConsolidationError::MissingColumn { column: missing } if missing != column)
        );
    }
    let optional = "message m { optional binary bucket; optional binary key; }";
    assert!(consolidate_with(&[], &write(optional, &[vec![object("a")]])).is_ok());

    let without_key = failure(&write(optional, &[vec![object("a"), object(NULL)]]));
    assert_eq!(without_key.to_string(), "row 1 has no key");
    let nobody = Listed {
        bucket: NULL.to_owned(),
        ..object("a")
    };
    let without_bucket = failure(&write(optional, &[vec![nobody]]));
    assert!(matches!(
        without_bucket,
        ConsolidationError::ForeignRow {
            row: 0,
            found: None,
            ..
        }
    ));
}

#[test]
fn what_the_manifest_promises_has_to_be_there() {
    let file = write(&schema(Annotations::Delivered), &sample());
    let all = [
        "bucket",
        "key",
        "size",
        "storage_class",
        "field_of_tomorrow",
        "category",
    ];
    assert!(consolidate_with(&all, &file).is_ok());
    let error = consolidate_with(&["bucket", "key", "object_owner"], &file).unwrap_err();
    assert!(
        matches!(error, ConsolidationError::MissingColumn { column } if column == "object_owner")
    );
}

#[test]
fn columns_of_wrong_types_fail_the_file() {
    for (wrong, named) in [
        ("optional binary size (UTF8)", "size"),
        ("optional boolean storage_class", "storage_class"),
        ("optional binary is_latest", "is_latest"),
        ("optional boolean last_modified_date", "last_modified_date"),
    ] {
        let schema =
            format!("message m {{ required binary bucket; required binary key; {wrong}; }}");
        let error = failure(&write(&schema, &[vec![object("a")]]));
        assert!(
            matches!(&error, ConsolidationError::ColumnType { column, .. } if column == named),
            "{error:?}"
        );
    }
    let twice = "message m { required binary bucket; required binary key; optional int64 size; optional int64 size; }";
    assert!(matches!(
        failure(&write(twice, &[vec![object("a")]])),
        ConsolidationError::DuplicateColumn { .. }
    ));
}

#[test]
fn a_file_without_rows_becomes_one_without_rows() {
    for row_groups in [vec![], vec![vec![]]] {
        let (consolidated, output) =
            consolidated(&write(&schema(Annotations::Delivered), &row_groups));
        assert_eq!(
            (consolidated.rows, &consolidated.totals),
            (0, &Totals::default())
        );
        let reader = ParquetRecordBatchReaderBuilder::try_new(output).unwrap();
        assert_eq!(reader.schema(), &arrow_schema());
        assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
    }
}

#[test]
fn batches_and_row_groups_do_not_lose_rows() {
    let rows = |range: std::ops::Range<u32>| {
        range
            .map(|number| object(format!("{number:06}/data.csv")))
            .collect::<Vec<_>>()
    };
    let file = write(
        &schema(Annotations::Delivered),
        &[rows(0..9_000), rows(9_000..9_001), rows(9_001..30_000)],
    );
    let (consolidated, output) = consolidated(&file);
    assert_eq!(consolidated.rows, 30_000);
    let keys = texts(&read(&output), "key");
    assert!(
        keys.iter()
            .enumerate()
            .all(|(number, key)| *key == Some(format!("{number:06}/data.csv")))
    );
    // As many top prefixes as rows: the totals are bounded, and still add up.
    let by_top_prefix = consolidated.totals.by_top_prefix;
    assert_eq!(by_top_prefix.values.len(), totals::MAX_VALUES);
    assert_eq!(by_top_prefix.sum(), consolidated.totals.all);
}

#[test]
fn a_damaged_file_is_refused() {
    let file = write(&schema(Annotations::Delivered), &sample());
    for broken in [
        file.slice(..file.len() - 1),
        file.slice(1..),
        file.slice(..0),
        Bytes::from_static(b"PAR1PAR1"),
    ] {
        let error = failure(&broken);
        assert!(
            matches!(error, ConsolidationError::Read(_)) && error.is_fault_of_the_file(),
            "{error:?}"
        );
    }
}

#[test]
fn a_full_disk_is_not_the_fault_of_the_file() {
    struct Full;
    impl Output for Full {
        fn copy_delivered(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn restart(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl io::Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bucket = BucketName::try_from("photos").unwrap();
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Parquet,
        schema: &[],
    };
    let source: Arc<dyn ReadAt> = Arc::new(write(&schema(Annotations::Delivered), &sample()));
    let error = consolidate(delivered, &source, &mut Full).unwrap_err();
    assert!(
        matches!(error, ConsolidationError::Write(_)) && !error.is_fault_of_the_file(),
        "{error:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_row_is_lost_or_changed(
        row_groups in prop::collection::vec(
            prop::collection::vec((prop::collection::vec(any::<u8>(), 0..12), any::<i64>(), any::<i64>(), 0..3_u8), 0..20),
            0..4,
        ),
    ) {
        let row_groups: Vec<Vec<Listed>> = row_groups
            .into_iter()
            .map(|rows| rows.into_iter().map(|(key, size, last_modified, kind)| Listed {
                size,
                last_modified,
                is_latest: kind > 0,
                is_delete_marker: kind > 1,
                ..object(key)
            }).collect())
            .collect();
        let rows = row_groups.concat();
        let (consolidated, output) = consolidated(&write(&schema(Annotations::Delivered), &row_groups));
        prop_assert_eq!(consolidated.rows, rows.len() as u64);
        prop_assert_eq!(consolidated.totals.rows(), rows.len() as u64);
        let undecodable = rows.iter().filter(|row| std::str::from_utf8(&row.key).is_err()).count() as u64;
        prop_assert_eq!(consolidated.undecodable_keys, undecodable);

        let batch = read(&output);
        let keys: Vec<_> = rows.iter().map(|row| Some(String::from_utf8_lossy(&row.key).into_owned())).collect();
        prop_assert_eq!(texts(&batch, "key"), keys);
        let sizes: Vec<_> = rows.iter().map(|row| (!row.is_delete_marker).then_some(row.size)).collect();
        prop_assert_eq!(numbers(&batch, "size"), sizes);
    }
}
