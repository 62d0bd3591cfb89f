//! What the fuzz targets share: the modules of `shared` that read what others wrote, and a harness
//! that consolidates a file in memory.
//!
//! The modules are compiled here once more, because all of `shared` is too much to instrument.

use std::alloc::System;
use std::backtrace::Backtrace;
use std::io::{self, Write};
use std::ops::Range;
use std::panic;
use std::sync::{Arc, Once};

use bytes::Bytes;
use cap::Cap;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

#[path = "../../shared/src"]
#[allow(dead_code, reason = "the rest of the program is not here")]
mod shared {
    pub mod catalogue;
    pub mod consolidation;
    pub mod derived;
    pub mod foreign_text;
    pub mod ids;
    pub mod input;
    pub mod manifest;
    pub mod naming;
    pub mod s3_event;
    pub mod snapshot_schema;
    pub mod totals;
}

pub use shared::*;

use consolidation::{Consolidated, ConsolidationError, Delivered, Output, ReadAt, consolidate};
use ids::BucketName;
use manifest::{FieldType, FileFormat, SchemaField};

/// What may be in use at once; more of it ends the process. The consolidator's function has about
/// twice as much, for files of any size. The fuzzer's own limits look at what is touched only.
const MEMORY_LIMIT: usize = 1024 * 1024 * 1024;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY_LIMIT);

/// The bucket that all seeds are about.
const SOURCE_BUCKET: &str = "photos";

/// Columns as a report with all optional fields has them, then one that the snapshot does not know.
const CSV_COLUMNS: [&str; 16] = [
    "bucket",
    "key",
    "version_id",
    "is_latest",
    "is_delete_marker",
    "size",
    "last_modified_date",
    "e_tag",
    "storage_class",
    "is_multipart_uploaded",
    "replication_status",
    "encryption_status",
    "object_lock_retain_until_date",
    "object_lock_mode",
    "object_lock_legal_hold_status",
    "new_field",
];

/// Consolidates a file: whatever it is, that has to be an error or a file with the rows it is said
/// to have.
///
/// # Panics
/// If it is neither.
pub fn check(format: FileFormat, file: &[u8]) {
    static HOOK: Once = Once::new();
    HOOK.call_once(let_the_library_panic);
    let file = Bytes::copy_from_slice(file);
    if let Ok((consolidated, output)) = consolidate_in_memory(format, &file) {
        let reader = SerializedFileReader::new(output).expect("the consolidated file is readable");
        let metadata = reader.metadata();
        let expected = i64::try_from(consolidated.rows).expect("a file has fewer rows");
        assert_eq!(
            metadata.file_metadata().num_rows(),
            expected,
            "rows of the file"
        );
        let in_row_groups: i64 = metadata
            .row_groups()
            .iter()
            .map(|group| group.num_rows())
            .sum();
        assert_eq!(in_row_groups, expected, "rows of its row groups");
    }
}

/// The text of a CSV file, compressed as S3 does before it delivers it.
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(text)
        .and_then(|()| encoder.finish())
        .expect("memory takes it")
}

/// Where the footer of a Parquet file begins. The file has to be a valid one.
pub fn footer_start(file: &[u8]) -> usize {
    let (rest, trailer) = file.split_at(file.len() - 8);
    let length = u32::from_le_bytes(trailer[..4].try_into().expect("these are four"));
    rest.len() - length as usize
}

/// Makes panics of the Parquet library what they are outside of the fuzzer: unwinding, of which
/// `consolidate` makes an error. Any other panic ends the process, where it is found.
fn let_the_library_panic() {
    let end_the_process = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let file = info.location().map_or("", |location| location.file());
        let is_of_the_library = is_of_library(file).unwrap_or_else(|| {
            // It is of whom the code was called by that panicked.
            let stack = Backtrace::force_capture().to_string();
            stack.lines().find_map(is_of_library).unwrap_or(false)
        });
        if !is_of_the_library {
            end_the_process(info);
        }
    }));
}

/// Whether a place is one of the Parquet library or of ours; `None` if it is neither.
fn is_of_library(place: &str) -> Option<bool> {
    if place.contains("/parquet-") {
        return Some(true);
    }
    place.contains("shared/src/").then_some(false)
}

fn consolidate_in_memory(
    format: FileFormat,
    file: &Bytes,
) -> Result<(Consolidated, Bytes), ConsolidationError> {
    let source_bucket = BucketName::try_from(SOURCE_BUCKET).expect("this is a name");
    let names = match format {
        FileFormat::Csv => &CSV_COLUMNS[..],
        // What is promised has to be there, so little is.
        FileFormat::Parquet | FileFormat::Orc => &CSV_COLUMNS[..2],
    };
    let field = |name: &&str| SchemaField {
        name: (*name).to_owned(),
        field_type: FieldType::Unknown,
    };
    let schema: Vec<SchemaField> = names.iter().map(field).collect();
    let delivered = Delivered {
        source_bucket: &source_bucket,
        format,
        schema: &schema,
    };
    let source: Arc<dyn ReadAt> = Arc::new(Windowed(file.clone()));
    let mut output = Memory {
        delivered: file.clone(),
        written: Vec::new(),
    };
    let consolidated = consolidate(delivered, &source, &mut output)?;
    Ok((consolidated, output.written.into()))
}

/// A file that is read in small windows, so that small files have several.
struct Windowed(Bytes);

impl ReadAt for Windowed {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        assert!(range.end <= self.size(), "{range:?} is not within the file");
        self.0.read(range)
    }

    fn window(&self) -> u64 {
        100
    }
}

struct Memory {
    delivered: Bytes,
    written: Vec<u8>,
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Memory {
    fn copy_delivered(&mut self, length: u64) -> io::Result<()> {
        assert!(self.written.is_empty(), "the copy comes first");
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.written.extend_from_slice(&self.delivered[..length]);
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.written.clear();
        Ok(())
    }
}
