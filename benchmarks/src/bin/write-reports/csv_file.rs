//! Data files in CSV: gzip, no header, every value in quotes, keys URL-encoded as in a form.

use std::io::{BufWriter, Write};

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use shared::snapshot_schema::Column;

use crate::rows::{Constants, Row, Value};

/// What stays as it is in a key; a blank becomes `+`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'*')
    .remove(b'/');

/// The schema as S3 spells it in manifests.
pub(crate) fn schema_text(columns: &[Column]) -> String {
    let names: Vec<String> = columns
        .iter()
        .map(|column| camel_case(column.name))
        .collect();
    names.join(", ")
}

/// Writes one data file; returns the output.
pub(crate) fn write<W: Write>(
    columns: &[Column],
    constants: &Constants,
    rows: &mut dyn Iterator<Item = Row>,
    output: W,
) -> Result<W> {
    let mut lines = BufWriter::new(GzEncoder::new(output, Compression::default()));
    for row in rows {
        for (index, column) in columns.iter().enumerate() {
            lines.write_all(if index == 0 { b"\"" } else { b",\"" })?;
            match row.value(column.name, constants) {
                Value::Text(Some(key)) if column.name == "key" => {
                    let encoded = percent_encode(key.as_bytes(), ENCODED).to_string();
                    lines.write_all(encoded.replace("%20", "+").as_bytes())?;
                }
                Value::Text(Some(text)) => lines.write_all(text.as_bytes())?,
                Value::Flag(Some(flag)) => write!(lines, "{flag}")?,
                Value::Number(Some(number)) => write!(lines, "{number}")?,
                Value::Instant(Some(instant)) => {
                    write!(lines, "{:.3}", Timestamp::from_millisecond(instant)?)?;
                }
                Value::Text(None)
                | Value::Flag(None)
                | Value::Number(None)
                | Value::Instant(None) => {}
            }
            lines.write_all(b"\"")?;
        }
        lines.write_all(b"\n")?;
    }
    let compressed = lines
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    Ok(compressed.finish()?)
}

/// `e_tag` is `ETag` in CSV reports.
fn camel_case(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::manifest::snake_case;
    use shared::snapshot_schema::COLUMNS;

    #[test]
    fn names_are_spelled_as_s3_does() {
        for column in COLUMNS {
            assert_eq!(snake_case(&camel_case(column.name)), column.name);
        }
        assert_eq!(schema_text(&COLUMNS[7..9]), "ETag, StorageClass");
    }
}
