use std::io::{self, Write};
use std::ops::Range;
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::inflate::MIN_WINDOW;
use super::*;
use crate::consolidation::rows::Values;
use crate::consolidation::{Consolidated, Output, consolidate, fixture};
use crate::ids::BucketName;
use crate::manifest::FileFormat;

/// A file of which windows of any size are read, and which notes what was announced and read.
struct Windowed {
    bytes: Bytes,
    window: u64,
    announced: Mutex<Vec<Range<u64>>>,
    read: Mutex<Vec<Range<u64>>>,
}

impl Windowed {
    fn new(bytes: Vec<u8>, window: u64) -> Arc<Self> {
        Arc::new(Self {
            bytes: Bytes::from(bytes),
            window,
            announced: Mutex::default(),
            read: Mutex::default(),
        })
    }
}

impl ReadAt for Windowed {
    fn size(&self) -> u64 {
        self.bytes.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.read.lock().unwrap().push(range.clone());
        self.bytes.read(range)
    }

    fn announce(&self, ranges: &[Range<u64>]) {
        self.announced.lock().unwrap().extend_from_slice(ranges);
    }

    fn window(&self) -> u64 {
        self.window
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn with_reader<T>(
    columns: &[&str],
    source: Arc<dyn ReadAt>,
    read: impl FnOnce(CsvRows) -> Result<T, ConsolidationError>,
) -> Result<T, ConsolidationError> {
    let bucket = BucketName::try_from("photos").unwrap();
    let schema = fixture::promised(columns);
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Csv,
        schema: &schema,
    };
    read(CsvRows::new(delivered, source)?)
}

/// All rows with their values as text, in the order of the columns; those the snapshot does not have
/// are left out.
fn read_from(
    columns: &[&str],
    source: Arc<dyn ReadAt>,
) -> Result<Vec<Vec<Option<String>>>, ConsolidationError> {
    with_reader(columns, source, |mut reader| {
        let mut rows = Rows::default();
        let mut all = Vec::new();
        while reader.next(&mut rows)? {
            assert_eq!(rows.first, all.len() as u64);
            assert!((1..=BATCH_ROWS).contains(&rows.len));
            for row in 0..rows.len {
                let values = reader
                    .columns
                    .iter()
                    .map(|column| &rows.columns[column.place]);
                all.push(values.map(|values| value(values, row)).collect());
            }
        }
        Ok(all)
    })
}

fn value(values: &Values, row: usize) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match values {
        Values::Absent => None,
        Values::Texts(texts) => texts.get(row).map(text),
        Values::Coded(coded) => coded.get(row).map(text),
        Values::Numbers(numbers) => numbers.get(row).map(|number| number.to_string()),
        Values::Flags(flags) => match flags.values[row] {
            Flags::NULL => None,
            flag => Some((flag == 1).to_string()),
        },
    }
}

fn read(columns: &[&str], text: &str) -> Result<Vec<Vec<Option<String>>>, ConsolidationError> {
    let source = Windowed::new(gzip(text.as_bytes()), 1);
    read_from(columns, source)
}

fn failure(columns: &[&str], text: &str) -> String {
    let error = read(columns, text).unwrap_err();
    assert!(error.is_fault_of_the_file());
    error.to_string()
}

/// What a value of a column, in a second row, is read as.
fn read_one(column: &str, field: &str) -> Result<Option<String>, ConsolidationError> {
    let text = format!("\"b\",\"k\",\"\"\n\"b\",\"k\",\"{field}\"\n");
    let rows = read(&["bucket", "key", column], &text)?;
    assert_eq!(rows.len(), 2);
    Ok(rows[1][2].clone())
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "a value is compared with what may be null"
)]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

const KEYS: [&str; 2] = ["bucket", "key"];

#[test]
fn splits_records_as_csv_has_them() {
    let rows = |rows: &[[&str; 2]]| -> Vec<Vec<Option<String>>> {
        rows.iter().map(|row| row.map(some).to_vec()).collect()
    };
    for (text, expected) in [
        ("", &[][..]),
        ("\"a\",\"b\"\n", &[["a", "b"]]),
        ("\"a\",\"b\"", &[["a", "b"]]),
        ("\"a\",\"b\"\r\n\"c\",\"d\"\r\n", &[["a", "b"], ["c", "d"]]),
        ("\"a\",\"b\"\r", &[["a", "b"]]),
        ("\"\",\"\"\n", &[["", ""]]),
        ("a,b\nc,d\r\ne,f", &[["a", "b"], ["c", "d"], ["e", "f"]]),
        ("a,b\r", &[["a", "b"]]),
        ("a,\n,b\n", &[["a", ""], ["", "b"]]),
        ("a,", &[["a", ""]]),
        ("a\"b,c\n", &[["a\"b", "c"]]),
        ("a\rb,c\n", &[["a\rb", "c"]]),
        ("\"a,b\",\"c\nd\r\n\"\n", &[["a,b", "c\nd\r\n"]]),
        (
            "\"\"\"\",\"a\"\"b\"\n\"\"\"\"\"\",\"\"\"c\"\"\"\n",
            &[["\"", "a\"b"], ["\"\"", "\"c\""]],
        ),
    ] {
        assert_eq!(read(&KEYS, text).unwrap(), rows(expected), "{text:?}");
    }
}

#[test]
fn what_is_no_csv_is_told_with_its_row() {
    let good = "\"b\",\"k\"\n";
    for (bad, message) in [
        ("\"b\"\n", "row 1 has 1 fields, where the manifest names 2"),
        ("\n", "row 1 has 1 fields, where the manifest names 2"),
        (
            "\"b\",\"k\",\"v\",\n",
            "row 1 has 4 fields, where the manifest names 2",
        ),
        (
            "\"b\",\"k\"x\n",
            "the file cannot be read: row 1 goes on after a closing quote",
        ),
        (
            "\"b\",\"k\"\r\"",
            "the file cannot be read: row 1 goes on after a closing quote",
        ),
        (
            "\"b\",\"k\n",
            "the file cannot be read: row 1 ends before a closing quote",
        ),
        (
            "\"b\",\"",
            "the file cannot be read: row 1 ends before a closing quote",
        ),
        (
            "\"b\",\"\"\"",
            "the file cannot be read: row 1 ends before a closing quote",
        ),
    ] {
        assert_eq!(failure(&KEYS, &format!("{good}{bad}")), message, "{bad:?}");
    }
}

#[test]
fn keys_are_decoded_as_in_forms() {
    for (encoded, decoded) in [
        ("plain/key.txt", &b"plain/key.txt"[..]),
        ("", b""),
        ("a+b%20c", b"a b c"),
        ("1%2B1%3d2", b"1+1=2"),
        ("%E6%97%A5+%e6%9c%ac", "日 本".as_bytes()),
        ("%25%2525", b"%%25"),
        ("%zz%4%", b"%zz%4%"),
        ("%4z%%41", b"%4z%A"),
        ("%+1", b"% 1"),
        ("%ff%00", b"\xFF\x00"),
        ("100%", b"100%"),
        ("日本", "日本".as_bytes()),
    ] {
        let mut key = b"before".to_vec();
        field::decode_key(encoded.as_bytes(), &mut key);
        assert_eq!(key, [b"before", decoded].concat(), "{encoded}");
    }
}

#[test]
fn only_keys_are_decoded() {
    let rows = read(
        &["bucket", "key", "version_id", "e_tag"],
        "a+%41,a+%41,a+%41,a+%41\n",
    );
    let [raw, decoded] = ["a+%41", "a A"].map(some);
    assert_eq!(rows.unwrap(), [[raw.clone(), decoded, raw.clone(), raw]]);
}

#[test]
fn instants_are_told_in_many_ways() {
    for (text, milliseconds) in [
        ("1970-01-01T00:00:00.000Z", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
        ("2024-02-29T23:59:59Z", 1_709_251_199_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("0000-01-01T00:00:00.000Z", -62_167_219_200_000),
        ("9999-12-30T23:59:59.999Z", 253_402_214_399_999),
        ("2024-02-29T23:59:59.9Z", 1_709_251_199_900),
        ("2024-02-29T23:59:59.999999999Z", 1_709_251_199_999),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2024-02-29t23:59:59z", 1_709_251_199_000),
        ("2024-02-29 23:59:59", 1_709_251_199_000),
        ("2024-03-01T01:59:59+02:00", 1_709_251_199_000),
        ("1709251199999", 1_709_251_199_999),
        ("0", 0),
        ("-1", -1),
    ] {
        assert_eq!(
            field::instant(text.as_bytes()),
            Some(milliseconds),
            "{text}"
        );
    }
    for text in [
        "2023-02-29T00:00:00.000Z",
        "1900-02-29T00:00:00.000Z",
        "2024-13-01T00:00:00.000Z",
        "2024-00-01T00:00:00.000Z",
        "2024-04-31T00:00:00Z",
        "2024-01-00T00:00:00Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01T00:60:00Z",
        "2024-01-01T00:00:0:Z",
        "2024-01-01T00:00:00.Z",
        "yesterday",
        "1e3",
        "99999999999999999999",
        "\u{FFFD}",
        " ",
    ] {
        assert_eq!(field::instant(text.as_bytes()), None, "{text}");
    }
    assert_eq!(field::instant(b"\xFF"), None);
}

#[test]
fn values_are_those_of_their_column() {
    for (column, field, expected) in [
        ("version_id", "", Some("")),
        ("version_id", "v1", Some("v1")),
        ("e_tag", "", None),
        ("e_tag", "d41d", Some("d41d")),
        ("object_access_control_list", "", None),
        ("storage_class", "", None),
        ("storage_class", "STANDARD", Some("STANDARD")),
        ("is_latest", "", None),
        ("is_latest", "true", Some("true")),
        ("is_latest", "FALSE", Some("false")),
        ("is_delete_marker", "True", Some("true")),
        ("size", "", None),
        ("size", "0", Some("0")),
        ("size", "9223372036854775807", Some("9223372036854775807")),
        ("last_modified_date", "", None),
        (
            "last_modified_date",
            "2024-02-29T23:59:59.999Z",
            Some("1709251199999"),
        ),
        (
            "lifecycle_expiration_date",
            "1709251199999",
            Some("1709251199999"),
        ),
    ] {
        let found = read_one(column, field).unwrap();
        assert_eq!(found.as_deref(), expected, "{column} {field:?}");
    }
    for (column, field, message) in [
        (
            "is_latest",
            "yes",
            r#"row 1 has "yes" in the column "is_latest", which is not true or false"#,
        ),
        (
            "size",
            "1.5",
            r#"row 1 has "1.5" in the column "size", which is not a whole number"#,
        ),
        (
            "size",
            "9223372036854775808",
            r#"row 1 has "9223372036854775808" in the column "size", which is not a whole number"#,
        ),
        (
            "last_modified_date",
            "never",
            r#"row 1 has "never" in the column "last_modified_date", which is not an instant"#,
        ),
    ] {
        assert_eq!(read_one(column, field).unwrap_err().to_string(), message);
    }
}

#[test]
fn long_values_are_told_in_part() {
    let error = read_one("size", &"x".repeat(1_000))
        .unwrap_err()
        .to_string();
    assert!(error.contains("xxx\"…"), "{error}");
    assert!(error.len() < 400, "{error}");
}

#[test]
fn columns_stand_where_the_manifest_says() {
    let columns = ["new_field", "size", "key", "extension", "bucket"];
    let text = "\"new\",\"7\",\"k\",\"e\",\"b\"\n";
    // A derived column of that name is none of the snapshot's.
    assert_eq!(read(&columns, text).unwrap(), [["7", "k", "b"].map(some)]);
    let source = || Windowed::new(gzip(text.as_bytes()), 1);
    let left_out = with_reader(&columns, source(), |reader| Ok(reader.left_out)).unwrap();
    assert_eq!(left_out, ["new_field", "extension"]);
    for (columns, message) in [
        (&["bucket"][..], "the file has no column \"key\""),
        (&["key"], "the file has no column \"bucket\""),
        (
            &["bucket", "key", "key"],
            "the file has the column \"key\" twice",
        ),
    ] {
        let refused = with_reader(columns, source(), |_| Ok(())).unwrap_err();
        assert_eq!(refused.to_string(), message);
    }
}

/// A record of so many bytes with its line end.
fn record_of(bytes: usize) -> String {
    let around = "\"b\",\"\"\n".len();
    format!("\"b\",\"{}\"\n", "x".repeat(bytes - around))
}

#[test]
fn records_are_read_up_to_the_limit() {
    let text = "\"b\",\"k\"\n".repeat(3) + &record_of(MAX_RECORD_BYTES) + "\"b\",\"last\"\n";
    let rows = read(&KEYS, &text).unwrap();
    let lengths: Vec<usize> = rows
        .iter()
        .map(|row| row[1].as_ref().unwrap().len())
        .collect();
    assert_eq!(lengths, [1, 1, 1, MAX_RECORD_BYTES - 7, 4]);

    let too_long = "\"b\",\"k\"\n".repeat(3) + &record_of(MAX_RECORD_BYTES + 1);
    assert_eq!(
        failure(&KEYS, &too_long),
        "the file cannot be read: row 3 is longer than 1048576 bytes"
    );
}

#[test]
fn memory_is_bounded_however_much_a_record_would_inflate_to() {
    let endless = "\"b\",\"".to_owned() + &"x".repeat(64 * MAX_RECORD_BYTES);
    let source = Windowed::new(gzip(endless.as_bytes()), 1);
    with_reader(&KEYS, source, |mut reader| {
        reader.next(&mut Rows::default()).unwrap_err();
        assert!(reader.buffer.capacity() <= 2 * MAX_RECORD_BYTES);
        Ok(())
    })
    .unwrap();
}

#[test]
fn a_file_may_be_of_several_gzip_members() {
    let members = ["\"b\",\"on", "e\"\n", "", "\"b\",\"two\"\n"];
    let file: Vec<u8> = members
        .iter()
        .flat_map(|text| gzip(text.as_bytes()))
        .collect();
    let rows = read_from(&KEYS, Windowed::new(file, 1)).unwrap();
    assert_eq!(rows, [["b", "one"].map(some), ["b", "two"].map(some)]);
}

/// Rows enough that they fill the buffer several times.
fn many_rows() -> String {
    let rows = (0..20_000).map(|number| format!("\"photos\",\"2024/{number}.jpg\",\"{number}\"\n"));
    rows.collect::<Vec<_>>().concat()
}

#[test]
fn windows_are_announced_and_read_once_each() {
    let text = many_rows();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(text.as_bytes()).unwrap();
    let file = encoder.finish().unwrap();
    let size = file.len() as u64;
    for (asked, used) in [(1, MIN_WINDOW), (100_000, 100_000), (u64::MAX, u64::MAX)] {
        let source = Windowed::new(file.clone(), asked);
        let columns = ["bucket", "key", "size"];
        let rows = read_from(&columns, Arc::clone(&source) as Arc<dyn ReadAt>).unwrap();
        assert_eq!(rows.len(), 20_000);
        let announced = source.announced.lock().unwrap().clone();
        assert_eq!(announced, *source.read.lock().unwrap());
        assert_eq!(announced.len() as u64, size.div_ceil(used));
        assert_eq!(announced.last().unwrap().end, size);
    }
}

fn consolidate_all(
    file: Vec<u8>,
    window: u64,
) -> Result<(Consolidated, Vec<u8>), ConsolidationError> {
    let bucket = BucketName::try_from("photos").unwrap();
    let schema = fixture::promised(&["bucket", "key", "size"]);
    let delivered = Delivered {
        source_bucket: &bucket,
        format: FileFormat::Csv,
        schema: &schema,
    };
    let source: Arc<dyn ReadAt> = Windowed::new(file, window);
    let mut output = InMemory::default();
    let consolidated = consolidate(delivered, &source, &mut output)?;
    Ok((consolidated, output.0))
}

/// An output of rewritten files.
#[derive(Default)]
struct InMemory(Vec<u8>);

impl Write for InMemory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for InMemory {
    fn copy_delivered(&mut self, _: u64) -> io::Result<()> {
        Err(io::Error::other("nothing of a CSV file can be taken over"))
    }

    fn restart(&mut self) -> io::Result<()> {
        Err(io::Error::other("there is one way to read a CSV file"))
    }
}

#[test]
fn a_file_becomes_the_same_bytes_whatever_the_window() {
    let file = gzip(many_rows().as_bytes());
    let (consolidated, whole) = consolidate_all(file.clone(), u64::MAX).unwrap();
    assert_eq!(consolidated.rows, 20_000);
    assert_eq!(consolidated.totals.all.objects, 20_000);
    assert_eq!(consolidated.totals.all.object_bytes, 20_000 * 19_999 / 2);
    let (_, in_windows) = consolidate_all(file, 1).unwrap();
    assert!(whole == in_windows);
}

#[test]
fn keys_that_are_no_text_are_counted() {
    let text = "\"photos\",\"%FF.jpg\",\"1\"\n\"photos\",\"%E6%97%A5\",\"1\"\n";
    let (consolidated, _) = consolidate_all(gzip(text.as_bytes()), 1).unwrap();
    assert_eq!((consolidated.rows, consolidated.undecodable_keys), (2, 1));
}

#[test]
fn a_source_that_fails_is_not_the_fault_of_the_file() {
    /// Fails once, from a place on.
    struct Failing {
        bytes: Bytes,
        from: u64,
        error: Mutex<Option<io::Error>>,
    }
    impl ReadAt for Failing {
        fn size(&self) -> u64 {
            self.bytes.size()
        }
        fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
            if range.end > self.from
                && let Some(error) = self.error.lock().unwrap().take()
            {
                return Err(error);
            }
            self.bytes.read(range)
        }
        fn window(&self) -> u64 {
            1
        }
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(many_rows().as_bytes()).unwrap();
    let bytes = Bytes::from(encoder.finish().unwrap());
    for from in [0, MIN_WINDOW, bytes.size() - 1] {
        for kind in [io::ErrorKind::TimedOut, io::ErrorKind::Interrupted] {
            let source = Failing {
                bytes: bytes.clone(),
                from,
                error: Mutex::new(Some(io::Error::new(kind, "no answer"))),
            };
            let error = read_from(&["bucket", "key", "size"], Arc::new(source)).unwrap_err();
            assert!(!error.is_fault_of_the_file());
            assert_eq!(
                error.to_string(),
                "the file could not be fetched: no answer"
            );
        }
    }
}

fn small_file() -> (Vec<u8>, Vec<Vec<Option<String>>>) {
    let text = "\"b\",\"one\"\n\"b\",\"two \"\"2\"\"\"\n\"b\",\"three\"\n";
    (gzip(text.as_bytes()), read(&KEYS, text).unwrap())
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let (file, _) = small_file();
    for length in 0..file.len() {
        let error = read_from(&KEYS, Windowed::new(file[..length].to_vec(), 1)).unwrap_err();
        assert!(error.is_fault_of_the_file(), "{length} bytes: {error}");
    }
}

#[test]
fn a_file_with_more_behind_it_is_an_error() {
    let (file, _) = small_file();
    for more in [
        &b"\0"[..],
        b"\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\n",
        b"\x1f\x8b",
        &file[..file.len() - 1],
    ] {
        let longer = [&file, more].concat();
        let error = read_from(&KEYS, Windowed::new(longer, 1)).unwrap_err();
        assert!(error.is_fault_of_the_file(), "{more:?}: {error}");
    }
}

#[test]
fn a_file_with_a_bit_turned_is_an_error_or_the_same() {
    let (file, rows) = small_file();
    let mut errors = 0;
    for bit in 0..8 * file.len() {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match read_from(&KEYS, Windowed::new(damaged, 1)) {
            // Some are of no consequence, such as the time in the header.
            Ok(read) => assert!(read == rows, "bit {bit}"),
            Err(error) => {
                assert!(error.is_fault_of_the_file());
                errors += 1;
            }
        }
    }
    let header = 10;
    assert!(errors > 8 * (file.len() - header - 1));
}

#[test]
fn files_that_are_not_gzip_are_an_error() {
    for file in [&b""[..], b"\"b\",\"k\"\n", b"PAR1 and so on"] {
        let error = read_from(&KEYS, Windowed::new(file.to_vec(), 1)).unwrap_err();
        assert!(
            error.to_string().starts_with("the file cannot be read: "),
            "{error}"
        );
    }
}

fn any_style() -> impl Strategy<Value = (csv::QuoteStyle, csv::Terminator)> {
    let quotes = prop_oneof![
        Just(csv::QuoteStyle::Always),
        Just(csv::QuoteStyle::Necessary)
    ];
    let ends = prop_oneof![
        Just(csv::Terminator::Any(b'\n')),
        Just(csv::Terminator::CRLF)
    ];
    (quotes, ends)
}

/// Texts of all that means something in CSV, and of any letters.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[\",\r\nab]{0,6}",
        "[a-z]{0,3}",
        ".{0,20}",
        (0_usize..200_000).prop_map(|length| "\"y".repeat(length / 2)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn rows_come_back_as_they_were_written(
        rows in prop::collection::vec([any_text(), any_text(), any_text()], 0..30),
        repeated in 1_usize..200,
        (quotes, terminator) in any_style(),
        window in 1_u64..300_000,
    ) {
        let mut writer = csv::WriterBuilder::new()
            .has_headers(false)
            .quote_style(quotes)
            .terminator(terminator)
            .from_writer(GzEncoder::new(Vec::new(), Compression::none()));
        let long = rows.iter().flatten().map(String::len).sum::<usize>() > 20_000;
        let repeated = if long { 1 } else { repeated };
        for [bucket, version, class] in rows.iter().cycle().take(rows.len() * repeated) {
            writer.write_record([bucket.as_str(), "key", version, class]).unwrap();
        }
        let file = writer.into_inner().unwrap().finish().unwrap();
        let columns = ["bucket", "key", "version_id", "storage_class"];
        let read = read_from(&columns, Windowed::new(file, window)).unwrap();
        prop_assert_eq!(read.len(), rows.len() * repeated);
        for (read, [bucket, version, class]) in read.iter().zip(rows.iter().cycle()) {
            let class = Some(class).filter(|class| !class.is_empty());
            let expected = [some(bucket), some("key"), some(version), class.cloned()];
            prop_assert!(*read == expected);
        }
    }

    #[test]
    fn keys_come_back_as_they_were_encoded(key in prop::collection::vec(any::<u8>(), 0..40)) {
        let encode = |byte: &u8| match byte {
            b' ' => "+".to_owned(),
            byte if byte.is_ascii_alphanumeric() => char::from(*byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let encoded: String = key.iter().map(encode).collect();
        let mut decoded = Vec::new();
        field::decode_key(encoded.as_bytes(), &mut decoded);
        prop_assert_eq!(decoded, key);
    }

    #[test]
    fn instants_are_those_of_the_calendar(milliseconds in -62_167_219_200_000_i64..253_402_200_000_000) {
        let instant = jiff::Timestamp::from_millisecond(milliseconds).unwrap();
        let text = instant.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        prop_assert_eq!(field::instant(text.as_bytes()), Some(milliseconds));
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\n')], 0..60)) {
        // Rows end with lines, except the last.
        if let Ok(rows) = read_from(&KEYS, Windowed::new(gzip(&bytes), 1)) {
            prop_assert!(rows.len() <= bytes.split(|byte| *byte == b'\n').count());
            prop_assert_eq!(rows.is_empty(), bytes.is_empty());
        }
        let _ = read_from(&KEYS, Windowed::new(bytes, 1)).unwrap_err();
    }
}
