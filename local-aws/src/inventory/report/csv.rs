//! Data files in CSV: gzip, no header, every value quoted, keys URL-encoded.

use std::borrow::Cow;

use ::csv::{QuoteStyle, WriterBuilder};
use anyhow::{Context, Result};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Row,
    field::{Field, Values},
};

/// What form encoding changes: all but letters, digits and these. Blanks are left for a moment, to
/// become plus signs; a plus sign of the key itself is encoded by then.
const FORM: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b'/')
    .remove(b' ');

/// The names, for a file has no header.
pub(super) fn schema(columns: &[Field]) -> String {
    let names: Vec<&str> = columns
        .iter()
        .map(|field| field.column().csv_name)
        .collect();
    names.join(", ")
}

/// The bytes of one data file.
pub(super) fn write(bucket: &str, columns: &[Field], rows: &[Row]) -> Result<Bytes> {
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut csv = WriterBuilder::new()
        .quote_style(QuoteStyle::Always)
        .from_writer(gzip);
    for row in rows {
        let values = columns.iter().map(|field| value(*field, bucket, row));
        let values: Vec<_> = values.collect::<Result<_>>()?;
        csv.write_record(values.iter().map(|value| value.as_bytes()))?;
    }
    let gzip = csv
        .into_inner()
        .map_err(::csv::IntoInnerError::into_error)?;
    Ok(Bytes::from(gzip.finish()?))
}

/// A value as text; empty for null.
fn value<'a>(field: Field, bucket: &'a str, row: &'a Row) -> Result<Cow<'a, str>> {
    let text = match field.column().values {
        Values::Text(value) => value(bucket, row).map(|text| {
            if field == Field::Key {
                Cow::Owned(encoded(text))
            } else {
                Cow::Borrowed(text)
            }
        }),
        Values::Flag(value) => value(row).map(|flag| Cow::Owned(flag.to_string())),
        Values::Number(value) => value(row).map(|number| Cow::Owned(number.to_string())),
        Values::Time(value) => value(row)
            .map(|millis| {
                let moment = Timestamp::from_millisecond(millis)
                    .with_context(|| format!("a time of {}", row.key))?;
                anyhow::Ok(Cow::Owned(format!("{moment:.3}")))
            })
            .transpose()?,
    };
    Ok(text.unwrap_or_default())
}

fn encoded(key: &str) -> String {
    utf8_percent_encode(key, &FORM)
        .to_string()
        .replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::{super::tests::sample, *};

    #[test]
    fn a_file_is_quoted_encoded_and_read_back() {
        let (columns, rows) = sample();
        let file = write("source", &columns, &rows).unwrap();
        let mut text = String::new();
        GzDecoder::new(&file[..]).read_to_string(&mut text).unwrap();
        assert!(
            text.starts_with(
                r#""source","a+b%2B%252B/%22q%22%2C%0A%F0%9F%A6%80","","true","false","7","2023-11-14T22:13:20.123Z","abc","#
            ),
            "{text}"
        );
        assert!(text.contains("\n\"source\",\"gone\",\"v1\",\"false\",\"true\",\"\",\"2023-11-14T22:13:21.000Z\",\"\","));
        assert!(text.ends_with("\"\"\n"), "{text}");

        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(text.as_bytes());
        let read: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].len(), columns.len());
        let column = |name: &str| {
            schema(&columns)
                .split(", ")
                .position(|n| n == name)
                .unwrap()
        };
        assert_eq!(
            &read[0][column("ObjectLockRetainUntilDate")],
            "2030-03-17T17:46:40.000Z"
        );
        assert_eq!(&read[0][column("IsMultipartUploaded")], "false");
        assert_eq!(&read[1][column("IsMultipartUploaded")], "");
    }

    #[test]
    fn keys_are_encoded_as_forms_are() {
        for (key, expected) in [
            ("a b", "a+b"),
            ("a+b", "a%2Bb"),
            ("100%25", "100%2525"),
            ("double//slash", "double//slash"),
            ("a-b_c.d*e~f", "a-b_c.d*e%7Ef"),
            ("größe", "gr%C3%B6%C3%9Fe"),
            ("=1+1&x", "%3D1%2B1%26x"),
        ] {
            assert_eq!(encoded(key), expected);
        }
    }

    #[test]
    fn the_schema_lists_the_names() {
        let columns = Field::columns(true, &[Field::Size, Field::ETag]);
        assert_eq!(
            schema(&columns),
            "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"
        );
    }
}
