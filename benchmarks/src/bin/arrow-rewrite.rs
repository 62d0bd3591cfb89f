//! The peer of the consolidator that one would write first: reads a delivered Parquet file with the
//! Arrow reader, adds the derived columns, and writes everything anew with the Arrow writer.
//!
//! No totals are counted. Prints rows, seconds and peak memory as JSON.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use clap::Parser;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde_json::json;
use shared::derived;

/// Rewrites a delivered Parquet file with its derived columns, in one thread.
#[derive(Parser)]
struct Arguments {
    /// The delivered file.
    input: PathBuf,
    /// The file to write.
    output: PathBuf,
}

fn main() -> Result<()> {
    let Arguments { input, output } = Arguments::parse();
    let start = Instant::now();
    let source = File::open(&input).with_context(|| input.display().to_string())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(source)?;
    let mut fields: Vec<_> = reader.schema().fields().iter().cloned().collect();
    for name in ["extension", "top_prefix", "category"] {
        fields.push(Arc::new(Field::new(
            name,
            DataType::Utf8,
            name != "category",
        )));
    }
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let target = File::create(&output).with_context(|| output.display().to_string())?;
    let mut writer = ArrowWriter::try_new(target, Arc::clone(&schema), Some(properties))?;
    let mut rows = 0;
    for batch in reader.with_batch_size(8_192).build()? {
        let batch = batch?;
        rows += batch.num_rows();
        let keys = batch
            .column_by_name("key")
            .context("the file has no column key")?;
        let mut extensions = StringBuilder::new();
        let mut top_prefixes = StringBuilder::new();
        let mut categories = StringBuilder::new();
        for key in keys.as_string::<i32>() {
            let key = key.context("a row has no key")?;
            extensions.append_option(derived::extension(key));
            top_prefixes.append_option(derived::top_prefix(key));
            categories.append_value(derived::category(key).as_str());
        }
        let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
        columns.push(Arc::new(extensions.finish()));
        columns.push(Arc::new(top_prefixes.finish()));
        columns.push(Arc::new(categories.finish()));
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.close()?;
    let seconds = start.elapsed().as_secs_f64();
    let report = json!({
        "rows": rows,
        "seconds": seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "bytes_read": fs::metadata(&input)?.len(),
        "bytes_written": fs::metadata(&output)?.len(),
    });
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

/// `None` where the system does not tell.
fn peak_rss_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
