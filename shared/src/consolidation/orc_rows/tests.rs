use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::*;
use crate::consolidation::fixture;
use crate::consolidation::rows::INVENTORY_COLUMNS;
use crate::ids::BucketName;
use crate::manifest::FileFormat;

/// Files that [`fixtures/orc.py`](../fixtures/orc.py) wrote.
const USUAL: &[u8] = include_bytes!("../fixtures/usual.orc");
const STRIPES: &[u8] = include_bytes!("../fixtures/stripes.orc");
const OLD: &[u8] = include_bytes!("../fixtures/old.orc");
const SNAPPY: &[u8] = include_bytes!("../fixtures/snappy.orc");

/// The values of a row by their columns.
type Row = [Option<String>; INVENTORY_COLUMNS];

fn open(
    source: Arc<dyn ReadAt>,
    promised: &[&str],
    stripe_bytes: u64,
) -> Result<OrcRows, ConsolidationError> {
    let bucket = BucketName::try_from("photos").unwrap();
    let schema = fixture::promised(promised);
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Orc,
        schema: &schema,
    };
    let mut reader = OrcRows::open(delivered, source)?;
    reader.stripe_bytes = stripe_bytes;
    Ok(reader)
}

fn read_all(reader: &mut OrcRows) -> Result<Vec<Row>, ConsolidationError> {
    let mut read = Vec::new();
    let mut rows = Rows::default();
    while reader.next(&mut rows)? {
        assert_eq!(rows.first, read.len() as u64);
        assert!(rows.len > 0 && rows.len <= BATCH_ROWS);
        for row in 0..rows.len {
            read.push(std::array::from_fn(|column| {
                value(&rows.columns[column], row)
            }));
        }
    }
    Ok(read)
}

fn value(values: &Values, row: usize) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match values {
        Values::Absent => None,
        Values::Texts(texts) => texts.get(row).map(text),
        Values::Coded(coded) => coded.get(row).map(text),
        Values::Numbers(numbers) => numbers.get(row).map(|number| number.to_string()),
        Values::Flags(flags) => match flags.values[row] {
            0 => Some("false".to_owned()),
            1 => Some("true".to_owned()),
            _ => None,
        },
    }
}

fn read(file: &'static [u8]) -> Result<Vec<Row>, ConsolidationError> {
    read_bytes(Bytes::from_static(file))
}

fn read_bytes(file: Bytes) -> Result<Vec<Row>, ConsolidationError> {
    read_all(&mut open(Arc::new(file), &[], u64::MAX)?)
}

/// The rows of the fixtures, of which the last one is the 600th.
fn expected(rows: i64) -> Vec<Row> {
    (0..rows).map(row).collect()
}

fn row(i: i64) -> Row {
    let is_marker = i % 50 == 1;
    let text = |text: &str| Some(text.to_owned());
    let value = |name: &str| match name {
        "bucket" => text("photos"),
        "key" => Some(format!("folder-{}/é{}.jpg", i / 100, i * 7919 % 1_000_003)),
        "version_id" if i % 5 == 0 => text(""),
        "version_id" => Some(format!("v{}", i * 31)),
        "is_latest" => Some((i % 3 != 0).to_string()),
        "is_delete_marker" => Some(is_marker.to_string()),
        "last_modified_date" if i % 61 == 0 => Some((-i * 1_001).to_string()),
        "last_modified_date" => Some((1_600_000_000_123 + i * 3_600_007).to_string()),
        "size" | "e_tag" | "storage_class" | "is_multipart_uploaded" if is_marker => None,
        "size" if i % 97 == 0 => Some((1_i64 << 62).to_string()),
        "size" => Some((i * i * 977).to_string()),
        "e_tag" => Some(format!("{:08x}", i * 2_654_435_761 % (1 << 32))),
        "storage_class" => {
            text(["STANDARD", "GLACIER", "STANDARD_IA"][usize::try_from(i % 3).unwrap()])
        }
        "is_multipart_uploaded" => Some((i % 4 == 0).to_string()),
        "replication_status" => text("COMPLETED").filter(|_| i % 3 == 0),
        "encryption_status" => text(if i < 90 { "SSE-S3" } else { "SSE-KMS" }),
        "object_lock_retain_until_date" => text("4102444800000").filter(|_| i == 599),
        "checksum_algorithm" => Some(format!("CRC{}", i % 300)),
        "object_access_control_list" => Some("x".repeat(usize::try_from(i % 40).unwrap())),
        _ => None,
    };
    std::array::from_fn(|place| value(COLUMNS[place].name))
}

fn assert_rows(found: &[Row], expected: &[Row]) {
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found, expected, "row {number}");
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn all_values_arrive_however_they_are_encoded() {
    assert_rows(&read(USUAL).unwrap(), &expected(600));
    assert_rows(&read(STRIPES).unwrap(), &expected(120));
    assert_rows(&read(OLD).unwrap(), &expected(120));
}

#[test]
fn columns_that_the_snapshot_lacks_are_left_out() {
    let reader = open(Arc::new(Bytes::from_static(USUAL)), &["size"], u64::MAX).unwrap();
    assert_eq!(reader.left_out, ["nested", "fraction"]);
}

#[test]
fn a_promised_column_that_is_missing_is_named() {
    let error = open(
        Arc::new(Bytes::from_static(USUAL)),
        &["object_owner"],
        u64::MAX,
    )
    .err();
    let error = error.unwrap().to_string();
    assert_eq!(error, "the file has no column \"object_owner\"");
}

#[test]
fn another_codec_is_named() {
    let error = read(SNAPPY).unwrap_err().to_string();
    assert!(
        error.contains("compressed with SNAPPY; S3 compresses with ZLIB"),
        "{error}"
    );
}

/// A file that notes what is read of it.
struct Noted {
    file: Bytes,
    read: Mutex<Vec<Range<u64>>>,
}

impl ReadAt for Noted {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.read.lock().unwrap().push(range.clone());
        self.file.read(range)
    }

    fn window(&self) -> u64 {
        1 << 20
    }
}

#[test]
fn stripes_are_read_whole_and_in_order() {
    let source = Arc::new(Noted {
        file: Bytes::from_static(STRIPES),
        read: Mutex::default(),
    });
    read_all(&mut open(source.clone(), &[], u64::MAX).unwrap()).unwrap();
    let read = source.read.lock().unwrap();
    // The tail goes first.
    assert_eq!(read[1].start, 3);
    assert!(
        read[1..]
            .windows(2)
            .all(|pair| pair[0].end == pair[1].start),
        "{read:?}"
    );
    assert_eq!(read.len(), 1 + 3);
}

#[test]
fn streams_of_a_large_stripe_are_read_in_windows() {
    for file in [USUAL, STRIPES, OLD] {
        let source = Arc::new(Noted {
            file: Bytes::from_static(file),
            read: Mutex::default(),
        });
        let rows = read_all(&mut open(source.clone(), &[], 0).unwrap()).unwrap();
        assert_rows(&rows, &expected(i64::try_from(rows.len()).unwrap()));
        assert!(source.read.lock().unwrap().len() > 20);
    }
}

#[test]
fn a_source_that_fails_is_not_the_files_fault() {
    struct Failing(Bytes);

    impl ReadAt for Failing {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
            if range.end == self.size() {
                return self.0.read(range);
            }
            Err(io::Error::other("the connection was closed"))
        }

        fn window(&self) -> u64 {
            1
        }
    }

    for stripe_bytes in [0, u64::MAX] {
        let source = Arc::new(Failing(Bytes::from_static(STRIPES)));
        let error = read_all(&mut open(source, &[], stripe_bytes).unwrap()).unwrap_err();
        assert!(!error.is_fault_of_the_file(), "{error}");
    }
}

#[test]
fn a_truncated_file_is_an_error() {
    for file in [STRIPES, OLD] {
        for length in 0..file.len() {
            let error = read(&file[..length]).map(|rows| rows.len());
            assert!(
                error.is_err_and(|error| error.is_fault_of_the_file()),
                "{length} bytes"
            );
        }
    }
}

/// Most changes go unnoticed, since nothing has a checksum: that is what the manifest's is for.
#[test]
fn a_changed_byte_makes_no_worse_trouble_than_an_error() {
    for file in [STRIPES, OLD] {
        let places = (0..file.len()).step_by(7);
        for (place, change) in places.zip([0x01, 0x80, 0xFF].into_iter().cycle()) {
            let mut changed = file.to_vec();
            changed[place] ^= change;
            if let Err(error) = read_bytes(changed.into()) {
                assert!(error.is_fault_of_the_file(), "{error}");
            }
        }
    }
}

#[test]
fn types_that_do_not_fit_are_named() {
    let struct_of = |kind: TypeKind, names: &[&str]| {
        let root = Type {
            kind: TypeKind::Struct as i32,
            subtypes: vec![1; names.len()],
            field_names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let column = Type {
            kind: kind as i32,
            ..Type::default()
        };
        sort_out_columns(&[root, column]).map(|(known, _)| known.iter().flatten().count())
    };
    for (kind, name) in [
        (TypeKind::Int, "size"),
        (TypeKind::Varchar, "key"),
        (TypeKind::Long, "object_lock_retain_until_date"),
        (TypeKind::TimestampInstant, "last_modified_date"),
    ] {
        assert_eq!(struct_of(kind, &[name]).unwrap(), 1, "{name}");
    }
    for (kind, name, found) in [
        (TypeKind::Decimal, "size", "decimal"),
        (TypeKind::Long, "key", "long"),
        (TypeKind::Date, "last_modified_date", "date"),
        (TypeKind::List, "bucket", "list"),
        (TypeKind::String, "is_latest", "string"),
    ] {
        let error = struct_of(kind, &[name]).unwrap_err().to_string();
        assert_eq!(error, format!("the column {name:?} is of type {found}"));
    }
    let error = struct_of(TypeKind::String, &["key", "key"])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "the file has the column \"key\" twice");
}
