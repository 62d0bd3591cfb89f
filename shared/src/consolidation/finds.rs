//! Files that once made the process panic, hang, or take memory without bound; found by fuzzing, see
//! `docs/fuzzing.md`, or made by hand to do the same. They are in `finds/`, named for what is odd
//! about them.

use std::path::Path;

use bytes::Bytes;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use super::fixture::consolidate_in_memory;
use super::{ConsolidationError, Delivered};
use crate::ids::BucketName;
use crate::manifest::{FieldType, FileFormat, SchemaField};

fn consolidate_find(path: &Path) -> Result<u64, ConsolidationError> {
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => FileFormat::Parquet,
        Some("orc") => FileFormat::Orc,
        Some("gz") => FileFormat::Csv,
        _ => panic!("{} has no ending that tells its format", path.display()),
    };
    let schema = ["bucket", "key"].map(|name| SchemaField {
        name: name.to_owned(),
        field_type: FieldType::String,
    });
    let delivered = Delivered {
        source_bucket: &BucketName::try_from("photos").unwrap(),
        format,
        schema: &schema,
    };
    let file = Bytes::from(std::fs::read(path).unwrap());
    let (consolidated, output) = consolidate_in_memory(delivered, &file)?;
    let reader = SerializedFileReader::new(output).unwrap();
    let rows = reader.metadata().file_metadata().num_rows();
    assert_eq!(
        u64::try_from(rows).unwrap(),
        consolidated.rows,
        "{}",
        path.display()
    );
    Ok(consolidated.rows)
}

#[test]
fn what_was_found_is_an_error_or_a_sound_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/consolidation/finds");
    let finds = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut outcomes: Vec<String> = finds
        .map(|path| {
            let outcome = consolidate_find(&path);
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            match outcome {
                Ok(rows) => format!("{name}: {rows} rows"),
                Err(error) => {
                    assert!(error.is_fault_of_the_file(), "{name}: {error}");
                    format!("{name}: {error}")
                }
            }
        })
        .collect();
    outcomes.sort();
    insta::assert_snapshot!(outcomes.join("\n"), @r#"
    children-of-a-schema.parquet: the file cannot be read: Parquet error: its footer is damaged
    count-of-delta-texts.parquet: the file cannot be read: Parquet error: the column "key": Parquet error: the values of a page are damaged
    lengths-of-delta-texts.parquet: the file cannot be read: it makes the reader fail: range end out of bounds: 34 <= 29
    list-in-a-page-header.parquet: the file cannot be read: Parquet error: the column "bucket": External: a page header is damaged
    list-of-truths-in-a-footer.parquet: the file cannot be read: Parquet error: its footer is damaged
    many-rows-in-few-bytes.parquet: the file cannot be read: Parquet error: it is said to hold 2000000 rows in 103 bytes
    size-of-a-page.parquet: the file cannot be read: Parquet error: the column "bucket": External: a page has 2147483647 bytes, where at most 134217728 are read
    sizes-of-chunks.parquet: 4 rows
    skipped-beyond-the-end.parquet: the file cannot be read: Parquet error: the column "key": External: a page header is damaged
    "#);
}
