//! The `fileSchema` of a manifest, which every format spells in its own way.

use serde::{Deserialize, Serialize};

use super::FileFormat;
use crate::foreign_text::excerpt;
use crate::snapshot_schema::{self, AthenaType};

/// A column of an inventory report's data files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaField {
    /// Name as ORC and Parquet reports spell it (`e_tag`), in CSV reports too (`ETag`).
    pub name: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub field_type: FieldType,
}

/// What the values of a column of an inventory report are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldType {
    /// Text.
    String,
    /// True or false.
    Boolean,
    /// A signed 64-bit integer.
    Bigint,
    /// An instant in milliseconds.
    Timestamp,
    /// Something we have no column for, such as a type that S3 does not use today.
    Unknown,
}

/// Parses a `fileSchema`. The error is the rest of a sentence about the field.
pub(super) fn parse(format: FileFormat, text: &str) -> Result<Vec<SchemaField>, String> {
    let fields = match format {
        FileFormat::Parquet => parse_parquet(text),
        FileFormat::Orc => parse_orc(text),
        FileFormat::Csv => Ok(parse_csv(text)),
    }?;
    if fields.is_empty() {
        return Err(format!("{} has no fields", excerpt(text)));
    }
    for (index, field) in fields.iter().enumerate() {
        if field.name.is_empty() {
            return Err(format!("{} has a field without a name", excerpt(text)));
        }
        if fields[..index]
            .iter()
            .any(|earlier| earlier.name == field.name)
        {
            return Err(format!("has the field {} twice", excerpt(&field.name)));
        }
    }
    Ok(fields)
}

/// `message s3.inventory { required binary bucket (UTF8); … }`.
///
/// Documented annotations are `(UTF8)` and `(TIMESTAMP_MILLIS)`, delivered ones have been `(STRING)`
/// and `(TIMESTAMP(MILLIS,true))`, with blanks doubled and left out at will.
fn parse_parquet(text: &str) -> Result<Vec<SchemaField>, String> {
    let not_a_message = || format!("{} is not a Parquet message", excerpt(text));
    let (head, rest) = text.split_once('{').ok_or_else(not_a_message)?;
    let (body, tail) = rest.rsplit_once('}').ok_or_else(not_a_message)?;
    let is_message = head.split_whitespace().next() == Some("message") && tail.trim().is_empty();
    if !is_message || body.contains(['{', '}']) {
        return Err(not_a_message());
    }
    let declarations = body
        .split(';')
        .map(str::trim)
        .filter(|declaration| !declaration.is_empty());
    declarations
        .map(|declaration| {
            let (words, annotation) = match declaration.split_once('(') {
                Some((words, annotation)) => (words, annotation.to_ascii_uppercase()),
                None => (declaration, String::new()),
            };
            let [_, physical_type, name] = words.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(format!(
                    "{} is not a field of a Parquet message",
                    excerpt(declaration)
                ));
            };
            let is_timestamp = annotation.trim_start().starts_with("TIMESTAMP");
            let field_type = match physical_type.to_ascii_lowercase().as_str() {
                "binary" => FieldType::String,
                "boolean" => FieldType::Boolean,
                "int64" if is_timestamp => FieldType::Timestamp,
                "int64" | "int32" => FieldType::Bigint,
                "int96" => FieldType::Timestamp,
                _ => FieldType::Unknown,
            };
            Ok(SchemaField {
                name: name.to_owned(),
                field_type,
            })
        })
        .collect()
}

/// `struct<bucket:string,key:string,…>`.
fn parse_orc(text: &str) -> Result<Vec<SchemaField>, String> {
    let body = text
        .trim()
        .strip_prefix("struct<")
        .and_then(|rest| rest.strip_suffix('>'))
        .ok_or_else(|| format!("{} is not an ORC struct", excerpt(text)))?;
    split_outside_brackets(body)
        .map(|declaration| {
            let (name, orc_type) = declaration.split_once(':').ok_or_else(|| {
                format!("{} is not a field of an ORC struct", excerpt(declaration))
            })?;
            let field_type = match orc_type.trim().to_ascii_lowercase().as_str() {
                "string" => FieldType::String,
                "boolean" => FieldType::Boolean,
                "bigint" => FieldType::Bigint,
                "timestamp" => FieldType::Timestamp,
                _ => FieldType::Unknown,
            };
            Ok(SchemaField {
                name: name.trim().to_owned(),
                field_type,
            })
        })
        .collect()
}

/// `Bucket, Key, VersionId, …`. The types are those of the snapshot table's columns.
fn parse_csv(text: &str) -> Vec<SchemaField> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    text.split(',')
        .map(|field| {
            let name = snake_case(field.trim());
            let field_type = match snapshot_schema::find(&name).map(|column| column.athena_type) {
                Some(AthenaType::String) => FieldType::String,
                Some(AthenaType::Boolean) => FieldType::Boolean,
                Some(AthenaType::Bigint) => FieldType::Bigint,
                Some(AthenaType::Timestamp) => FieldType::Timestamp,
                None => FieldType::Unknown,
            };
            SchemaField { name, field_type }
        })
        .collect()
}

/// Splits at commas that stand in no `<…>` or `(…)`.
fn split_outside_brackets(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_u32;
    text.split(move |c| {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}

/// A field name of the S3 API or a CSV report (`IsMultipartUploaded`, `ETag`) as ORC and Parquet
/// reports spell it (`is_multipart_uploaded`, `e_tag`).
pub fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 8);
    for (index, letter) in letters.iter().enumerate() {
        let follows_lower =
            index > 0 && !letters[index - 1].is_uppercase() && letters[index - 1] != '_';
        let begins_word = index > 0
            && letters
                .get(index + 1)
                .is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (follows_lower || begins_word) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
