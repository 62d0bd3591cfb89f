//! Writes synthetic inventory reports, as S3 delivers them, for the benchmarks.
//!
//! The same arguments make the same bytes. Rows are made as they are written, so a report may be as
//! large as the disk.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use md5::{Digest, Md5};
use serde_json::json;
use shared::derived;
use shared::manifest::Md5Hash;
use shared::snapshot_schema::{COLUMNS, Column, Origin};

use crate::rows::Constants;

mod csv_file;
mod keys;
mod parquet_file;
mod rows;

/// Writes a synthetic inventory report and prints what it wrote as JSON.
#[derive(Parser)]
struct Arguments {
    /// Print the rules of the derived columns as JSON, and write nothing.
    #[arg(long, conflicts_with = "to")]
    rules: bool,
    /// Folder that stands for the destination bucket.
    #[arg(long, required_unless_present = "rules")]
    to: Option<PathBuf>,
    /// Format of the data files.
    #[arg(long, value_enum, default_value = "parquet")]
    format: Format,
    /// Rows of the report.
    #[arg(long, default_value_t = 4_000_000)]
    rows: u64,
    /// Data files, which share the rows.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    files: u64,
    /// Rows of a row group of a Parquet file.
    #[arg(long, default_value_t = 100_000)]
    row_group_rows: usize,
    /// Columns of the report.
    #[arg(long, value_enum, default_value = "predecessor")]
    columns: Columns,
    /// The bucket that the report is about.
    #[arg(long, default_value = "benchmark-source")]
    bucket: String,
    /// Another seed makes other keys.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Parquet,
    Csv,
}

#[derive(Clone, Copy, ValueEnum)]
enum Columns {
    /// The first 15, which the predecessor of this project had.
    Predecessor,
    /// All 21 that a report may have.
    All,
}

impl Columns {
    fn list(self) -> &'static [Column] {
        static TABLE: [Column; COLUMNS.len()] = COLUMNS;
        match self {
            Self::Predecessor => &TABLE[..15],
            Self::All => {
                let derived = TABLE
                    .iter()
                    .position(|column| column.origin == Origin::Derived);
                &TABLE[..derived.unwrap_or(TABLE.len())]
            }
        }
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let output = match &arguments.to {
        Some(destination) => write_report(&arguments, destination)?,
        None => rules(),
    };
    writeln!(io::stdout(), "{output:#}")?;
    Ok(())
}

/// What a check that reckons the derived columns by itself has to know.
fn rules() -> serde_json::Value {
    let rules: Vec<_> = derived::rules()
        .map(|rule| {
            json!({
                "category": rule.category,
                "extensions": rule.extensions().collect::<Vec<_>>(),
                "names": rule.names().collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "max_extension_bytes": derived::MAX_EXTENSION_BYTES,
        "max_wrappers": derived::MAX_WRAPPERS,
        "wrappers": derived::wrappers().collect::<Vec<_>>(),
        "rules": rules,
    })
}

/// Writes the report below `destination`, in the layout of S3:
///
/// ```text
/// <bucket>/benchmark/data/<file>
/// <bucket>/benchmark/<stamp>/manifest.json and manifest.checksum
/// ```
fn write_report(arguments: &Arguments, destination: &Path) -> Result<serde_json::Value> {
    let Arguments {
        format,
        rows,
        files,
        bucket,
        ..
    } = arguments;
    let columns = arguments.columns.list();
    let constants = Constants::new(bucket);
    let mut remaining = rows::all(*rows, arguments.seed);
    let configuration = format!("{bucket}/benchmark");
    let mut listed = Vec::new();
    let mut written = 0;
    for number in 0..*files {
        let up_to = rows * (number + 1) / files;
        let count = usize::try_from(up_to - written)?;
        written = up_to;
        let ending = match format {
            Format::Parquet => "parquet",
            Format::Csv => "csv.gz",
        };
        let key = format!("{configuration}/data/{:032x}.{ending}", number + 1);
        let path = destination.join(&key);
        let output = Hashed::new(create(&path)?);
        let mut file_rows = remaining.by_ref().take(count);
        let output = match format {
            Format::Parquet => parquet_file::write(
                columns,
                &constants,
                &mut file_rows,
                arguments.row_group_rows,
                output,
            ),
            Format::Csv => csv_file::write(columns, &constants, &mut file_rows, output),
        };
        let (size, md5) = output
            .and_then(|output| Ok(output.finish()?))
            .with_context(|| format!("{} could not be written", path.display()))?;
        listed.push(json!({"key": key, "size": size, "MD5checksum": md5}));
    }
    ensure!(remaining.next().is_none(), "rows are left over");

    let taken = Timestamp::from_second(keys::NOW)?.to_zoned(TimeZone::UTC);
    let manifest = json!({
        "sourceBucket": bucket,
        "destinationBucket": "arn:aws:s3:::benchmark-destination",
        "version": "2016-11-30",
        "creationTimestamp": taken.timestamp().as_millisecond().to_string(),
        "fileFormat": match format {
            Format::Parquet => "Parquet",
            Format::Csv => "CSV",
        },
        "fileSchema": match format {
            Format::Parquet => parquet_file::schema_text(columns),
            Format::Csv => csv_file::schema_text(columns),
        },
        "files": listed,
    });
    let manifest_text = format!("{manifest:#}");
    let report = format!("{configuration}/{}", taken.strftime("%Y-%m-%dT%H-%MZ"));
    let manifest_path = destination.join(&report).join("manifest.json");
    create(&manifest_path)?.write_all(manifest_text.as_bytes())?;
    // As S3 does, so that a report is whole once it has a checksum.
    let checksum_path = manifest_path.with_file_name("manifest.checksum");
    let checksum = Md5Hash::of(manifest_text.as_bytes());
    create(&checksum_path)?.write_all(checksum.to_string().as_bytes())?;
    Ok(json!({"manifest": manifest_path, "rows": rows, "files": manifest["files"]}))
}

fn create(path: &Path) -> Result<File> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    File::create(path).with_context(|| format!("{} could not be made", path.display()))
}

/// A file that is hashed while it is written.
struct Hashed {
    file: BufWriter<File>,
    hash: Md5,
    size: u64,
}

impl Hashed {
    fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            hash: Md5::new(),
            size: 0,
        }
    }

    /// The size, and the MD5 in hexadecimal.
    fn finish(mut self) -> io::Result<(u64, String)> {
        self.file.flush()?;
        Ok((
            self.size,
            Md5Hash::from_bytes(self.hash.finalize().into()).to_string(),
        ))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::manifest::{FileFormat, Manifest, verify_checksum};

    fn report(format: &str, columns: &str, folder: &Path) -> Manifest {
        let to = folder.to_str().unwrap();
        let arguments = Arguments::parse_from([
            "write-reports",
            "--to",
            to,
            "--format",
            format,
            "--columns",
            columns,
            "--rows",
            "1000",
            "--files",
            "3",
        ]);
        let printed = write_report(&arguments, folder).unwrap();
        let path = Path::new(printed["manifest"].as_str().unwrap());
        let json = fs::read(path).unwrap();
        verify_checksum(
            &json,
            &fs::read(path.with_file_name("manifest.checksum")).unwrap(),
        )
        .unwrap();
        Manifest::parse(&json).unwrap()
    }

    #[test]
    fn reports_are_what_their_manifest_says() {
        for (format, columns, expected_format, expected_columns) in [
            ("parquet", "predecessor", FileFormat::Parquet, 15),
            ("parquet", "all", FileFormat::Parquet, 21),
            ("csv", "all", FileFormat::Csv, 21),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let manifest = report(format, columns, folder.path());
            assert_eq!(manifest.format, expected_format);
            assert_eq!(manifest.schema.len(), expected_columns);
            assert_eq!(manifest.files.len(), 3);
            for file in &manifest.files {
                let bytes = fs::read(folder.path().join(&file.key)).unwrap();
                assert_eq!(bytes.len() as u64, file.size);
                assert_eq!(Md5Hash::of(&bytes), file.md5);
            }
        }
    }

    #[test]
    fn the_same_arguments_make_the_same_report() {
        let [first, second] = [(); 2].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            report("parquet", "all", folder.path())
        });
        assert_eq!(first, second);
    }
}
