//! Rows of an inventory report about objects that nobody ever put: more than a test could write one
//! by one, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow_array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression as ParquetCompression;
use parquet::file::properties::WriterProperties;
use shared::manifest::FileFormat;

/// When all objects were written: in milliseconds, and as CSV files have it.
const MODIFIED: (i64, &str) = (1_767_225_600_000, "2026-01-01T00:00:00.000Z");

/// Characters of a key that nothing compresses. S3 takes keys of up to 1,024 bytes.
const RANDOM_CHARACTERS: usize = 64;

/// Endings of keys, and the category that each is of.
const KINDS: [(&str, &str); 11] = [
    (".pem", "secret"),
    (".tfstate", "terraform-state"),
    (".sql", "database-dump"),
    (".sh", "executable"),
    (".pdf", "document"),
    (".zip", "archive"),
    (".jpg", "image"),
    (".mp4", "video"),
    (".log", "log"),
    (".parquet", "data"),
    ("", "other"),
];

/// Rows of a report. The same number makes the same rows.
#[derive(Debug)]
pub struct SyntheticRows(Vec<Row>);

#[derive(Debug)]
struct Row {
    key: String,
    category: &'static str,
    version_id: String,
    is_latest: bool,
    /// `None` for a delete marker.
    size: Option<i64>,
}

/// A data file of a report.
#[derive(Debug)]
pub struct SyntheticFile {
    /// What its key ends with.
    pub ending: &'static str,
    /// What its manifest says about its columns.
    pub schema: &'static str,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What rows add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rows.
    pub rows: u64,
    /// Sizes of all versions, in bytes.
    pub bytes: i64,
    /// Characters of the keys of all rows.
    pub characters: u64,
    /// Different keys.
    pub keys: u64,
    /// Rows by category.
    pub categories: BTreeMap<String, u64>,
}

impl SyntheticRows {
    /// So many rows; of ten keys one has two versions, and some have a delete marker.
    pub fn new(count: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(7);
        let mut rows: Vec<Row> = Vec::with_capacity(count);
        while rows.len() < count {
            let number = rows.len();
            let version_id = (0..32).map(|_| random.alphanumeric()).collect();
            let old_key = rows.last().filter(|_| number % 10 == 9);
            let (key, category) = if let Some(row) = old_key {
                (row.key.clone(), row.category)
            } else {
                let (ending, category) = KINDS[random.usize(..KINDS.len())];
                let name = (0..RANDOM_CHARACTERS).map(|_| random.alphanumeric());
                let name: String = name.collect();
                let team = random.u8(..20);
                (format!("team {team}/größe+{name}{ending}"), category)
            };
            rows.push(Row {
                is_latest: old_key.is_none(),
                key,
                category,
                version_id,
                size: (!number.is_multiple_of(50)).then(|| random.i64(0..1 << 30)),
            });
        }
        Self(rows)
    }

    /// What the rows add up to.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        let mut keys = BTreeSet::new();
        for row in &self.0 {
            sums.rows += 1;
            sums.bytes += row.size.unwrap_or(0);
            sums.characters += row.key.chars().count() as u64;
            keys.insert(&row.key);
            *sums.categories.entry(row.category.to_owned()).or_default() += 1;
        }
        sums.keys = keys.len() as u64;
        sums
    }

    /// The rows as objects of a bucket, in a data file.
    pub fn file(&self, bucket: &str, format: FileFormat) -> Result<SyntheticFile> {
        Ok(match format {
            FileFormat::Parquet => SyntheticFile {
                ending: "parquet",
                schema: "message s3.inventory {  required binary bucket (STRING);  \
                         required binary key (STRING);  optional binary version_id (STRING);  \
                         optional boolean is_latest;  optional boolean is_delete_marker;  \
                         optional int64 size;  \
                         optional int64 last_modified_date (TIMESTAMP(MILLIS,true));}",
                content: self.parquet(bucket)?,
            },
            FileFormat::Csv => SyntheticFile {
                ending: "csv.gz",
                schema: "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate",
                content: self.csv(bucket)?,
            },
            FileFormat::Orc => bail!("rows are made up in Parquet and CSV only"),
        })
    }

    /// In two row groups.
    fn parquet(&self, bucket: &str) -> Result<Vec<u8>> {
        let properties = WriterProperties::builder()
            .set_compression(ParquetCompression::SNAPPY)
            .build();
        let (first, second) = self.0.split_at(self.0.len() / 2);
        let first = batch(bucket, first)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties))?;
        writer.write(&first)?;
        writer.flush()?;
        writer.write(&batch(bucket, second)?)?;
        Ok(writer.into_inner()?)
    }

    fn csv(&self, bucket: &str) -> Result<Vec<u8>> {
        let mut file = GzEncoder::new(Vec::new(), Compression::default());
        for row in &self.0 {
            // All that there is to encode.
            let key = row.key.replace('+', "%2B").replace(' ', "+");
            let key = key.replace('ö', "%C3%B6").replace('ß', "%C3%9F");
            let size = row.size.map(|size| size.to_string()).unwrap_or_default();
            writeln!(
                file,
                "\"{bucket}\",\"{key}\",\"{}\",\"{}\",\"{}\",\"{size}\",\"{}\"",
                row.version_id,
                row.is_latest,
                row.size.is_none(),
                MODIFIED.1
            )?;
        }
        Ok(file.finish()?)
    }
}

fn batch(bucket: &str, rows: &[Row]) -> Result<RecordBatch> {
    let texts = |text: fn(&Row) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(text)))
    };
    let flags = |flag: fn(&Row) -> bool| -> ArrayRef {
        Arc::new(
            rows.iter()
                .map(|row| Some(flag(row)))
                .collect::<BooleanArray>(),
        )
    };
    let sizes = rows.iter().map(|row| row.size).collect::<Int64Array>();
    let times = TimestampMillisecondArray::from(vec![MODIFIED.0; rows.len()]);
    Ok(RecordBatch::try_from_iter_with_nullable([
        (
            "bucket",
            Arc::new(StringArray::from(vec![bucket; rows.len()])) as ArrayRef,
            false,
        ),
        ("key", texts(|row| &row.key), false),
        ("version_id", texts(|row| &row.version_id), true),
        ("is_latest", flags(|row| row.is_latest), true),
        ("is_delete_marker", flags(|row| row.size.is_none()), true),
        ("size", Arc::new(sizes), true),
        (
            "last_modified_date",
            Arc::new(times.with_timezone("UTC")),
            true,
        ),
    ])?)
}
