//! The documents of an inventory report: `manifest.json`, `manifest.checksum`, and what the place
//! of a report tells about it.
//!
//! AWS defines these documents, so unknown fields are ignored and spellings are taken as they come;
//! what the rest of the program sees is checked. The format is described in
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html>.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use md5::Digest;
use serde::{Deserialize, Serialize};

use crate::foreign_text::excerpt;
use crate::ids::BucketName;

mod file_schema;
mod uri;

pub use file_schema::{FieldType, SchemaField, snake_case};
pub use uri::ManifestUri;

/// Name of the file that lists an inventory report's data files.
pub const MANIFEST_FILE_NAME: &str = "manifest.json";

/// Name of the file with the manifest's MD5. S3 writes it last: once it is there, so is the report.
pub const CHECKSUM_FILE_NAME: &str = "manifest.checksum";

/// S3 takes keys of at most this many bytes.
const MAX_KEY_BYTES: usize = 1_024;

/// Most bytes of a manifest that are taken into memory: some 150,000 files, which are more than S3 is known
/// to write for any bucket.
pub const MAX_MANIFEST_BYTES: usize = 32 * 1024 * 1024;

/// The same of a checksum, which has 32 digits and perhaps a line end.
pub const MAX_CHECKSUM_BYTES: usize = 1_024;

/// A checked manifest of an inventory report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The bucket that the report is about.
    pub source_bucket: BucketName,
    /// The bucket that the report was delivered to.
    pub destination_bucket: BucketName,
    /// When S3 started to read the source bucket.
    pub created_at: Timestamp,
    /// Format of all data files.
    pub format: FileFormat,
    /// Columns of the data files, in their order; always with `bucket` and `key`.
    pub schema: Vec<SchemaField>,
    /// The data files; their keys are unique.
    pub files: Vec<ManifestFile>,
}

impl Manifest {
    /// Parses and checks `manifest.json`.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let raw: RawManifest =
            serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
                let field = error.path().to_string();
                ManifestError {
                    field,
                    problem: error.into_inner().to_string(),
                }
            })?;
        deserializer.end().map_err(|error| ManifestError {
            field: ".".to_owned(),
            problem: error.to_string(),
        })?;
        Self::try_from(raw)
    }
}

/// Format of the data files of an inventory report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileFormat {
    /// Apache Parquet, compressed with snappy: what we ask for.
    Parquet,
    /// Apache ORC, compressed with zlib.
    #[serde(rename = "ORC")]
    Orc,
    /// CSV without a header line, compressed with gzip. Its keys are URL-encoded.
    #[serde(rename = "CSV")]
    Csv,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Orc => "ORC",
            Self::Csv => "CSV",
        })
    }
}

/// A data file of an inventory report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFile {
    /// Full key in the destination bucket; not empty, without `..`, and no longer than S3 takes.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// MD5 of the whole file.
    pub md5: Md5Hash,
}

/// An MD5 hash. Its text is lower-case hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Md5Hash([u8; 16]);

impl Md5Hash {
    /// The hash of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(md5::Md5::digest(bytes).into())
    }

    /// A hash computed elsewhere.
    pub const fn from_bytes(hash: [u8; 16]) -> Self {
        Self(hash)
    }

    /// The 16 bytes, as S3's `Content-MD5` takes them in base64.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Parses 32 hexadecimal digits of either case; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 16];
        hex::decode_to_slice(text, &mut hash).ok()?;
        Some(Self(hash))
    }
}

impl fmt::Display for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Md5Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Md5Hash({self})")
    }
}

impl From<Md5Hash> for String {
    fn from(hash: Md5Hash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for Md5Hash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{} is not an MD5 hash", excerpt(&text)))
    }
}

/// A manifest that cannot be used; from [`Manifest::parse`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("manifest field `{field}`: {problem}")]
pub struct ManifestError {
    /// Path of the field, such as `files[3].size`; `.` is the document itself.
    pub field: String,
    /// What is wrong with it, and what was found.
    pub problem: String,
}

impl ManifestError {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

/// Checks `manifest.json` against `manifest.checksum`, which holds its MD5 in hexadecimal.
pub fn verify_checksum(manifest: &[u8], checksum_file: &[u8]) -> Result<(), ChecksumMismatch> {
    let text = String::from_utf8_lossy(checksum_file);
    let Some(expected) = Md5Hash::parse(text.trim()) else {
        return Err(ChecksumMismatch::NotAChecksum {
            found: excerpt(text.trim()),
        });
    };
    let found = Md5Hash::of(manifest);
    if expected == found {
        Ok(())
    } else {
        Err(ChecksumMismatch::Differs { expected, found })
    }
}

/// A manifest that is not what its checksum says; from [`verify_checksum`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChecksumMismatch {
    /// The checksum file does not hold a checksum.
    #[error("manifest.checksum holds no MD5 hash but {found}")]
    NotAChecksum {
        /// Beginning of what it holds.
        found: String,
    },
    /// The manifest has another MD5.
    #[error("manifest.checksum says {expected}, but manifest.json has {found}")]
    Differs {
        /// From the checksum file.
        expected: Md5Hash,
        /// Of the manifest.
        found: Md5Hash,
    },
}

/// Where in the destination an inventory report stands:
/// `<prefix>/<source bucket>/<configuration id>/<stamp>/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLocation {
    /// The destination prefix, for our configurations the account of the source bucket. May hold
    /// `/`, and is empty if the configuration has none.
    pub prefix: String,
    /// The bucket that the report is about.
    pub source_bucket: BucketName,
    /// Id of the inventory configuration that the report was made for.
    pub configuration_id: String,
    /// When S3 started to read the source bucket, as `YYYY-MM-DDTHH-MMZ`.
    pub stamp: String,
}

impl ReportLocation {
    /// Takes the key of a `manifest.checksum` apart; `None` for every other key.
    ///
    /// It is read from the right, since the prefix may hold `/`.
    pub fn parse(key: &str) -> Option<Self> {
        let rest = key.strip_suffix(CHECKSUM_FILE_NAME)?.strip_suffix('/')?;
        let (rest, stamp) = rest.rsplit_once('/')?;
        let (rest, configuration_id) = rest.rsplit_once('/')?;
        let (prefix, source_bucket) = match rest.rsplit_once('/') {
            // Without a prefix there is no `/` before the bucket.
            Some(("", _)) => return None,
            Some(parts) => parts,
            None => ("", rest),
        };
        let location = Self {
            prefix: prefix.to_owned(),
            source_bucket: BucketName::try_from(source_bucket).ok()?,
            configuration_id: configuration_id.to_owned(),
            stamp: stamp.to_owned(),
        };
        (is_stamp(stamp) && is_configuration_id(configuration_id)).then_some(location)
    }

    /// Key of the report's manifest.
    pub fn manifest_key(&self) -> String {
        self.key_of(MANIFEST_FILE_NAME)
    }

    /// Key of the report's checksum, the one that [`ReportLocation::parse`] takes.
    pub fn checksum_key(&self) -> String {
        self.key_of(CHECKSUM_FILE_NAME)
    }

    fn key_of(&self, file_name: &str) -> String {
        let Self {
            prefix,
            source_bucket,
            configuration_id,
            stamp,
        } = self;
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{prefix}{slash}{source_bucket}/{configuration_id}/{stamp}/{file_name}")
    }
}

fn is_stamp(text: &str) -> bool {
    text.len() == "YYYY-MM-DDTHH-MMZ".len()
        && jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%MZ", text).is_ok()
}

/// 1 to 64 letters, digits, `.`, `-` and `_`.
fn is_configuration_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// The only version of manifests that AWS documents.
const MANIFEST_VERSION: &str = "2016-11-30";

/// The manifest as AWS writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawManifest {
    /// In another version the same fields could mean something else.
    #[serde(default)]
    version: Option<String>,
    source_bucket: String,
    destination_bucket: String,
    creation_timestamp: StringOrNumber,
    file_format: String,
    file_schema: String,
    files: Vec<RawFile>,
}

#[derive(Deserialize)]
struct RawFile {
    key: String,
    size: serde_json::Number,
    #[serde(rename = "MD5checksum")]
    md5: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum StringOrNumber {
    String(String),
    Number(serde_json::Number),
}

impl TryFrom<RawManifest> for Manifest {
    type Error = ManifestError;

    fn try_from(raw: RawManifest) -> Result<Self, ManifestError> {
        if let Some(version) = raw.version.filter(|version| version != MANIFEST_VERSION) {
            let problem = format!("{} is not {MANIFEST_VERSION}", excerpt(&version));
            return Err(ManifestError::new("version", problem));
        }
        let source_bucket = BucketName::try_from(raw.source_bucket)
            .map_err(|error| ManifestError::new("sourceBucket", error.to_string()))?;
        let schema_problem = |problem| ManifestError::new("fileSchema", problem);
        let format = parse_format(&raw.file_format)?;
        let schema = file_schema::parse(format, &raw.file_schema).map_err(schema_problem)?;
        for required in ["bucket", "key"] {
            if schema.iter().all(|field| field.name != required) {
                let found: Vec<&str> = schema.iter().map(|field| field.name.as_str()).collect();
                let found = excerpt(&found.join(", "));
                let problem = format!("has no field {required} but only {found}");
                return Err(schema_problem(problem));
            }
        }
        let files = raw
            .files
            .into_iter()
            .enumerate()
            .map(|(index, file)| parse_file(index, file))
            .collect::<Result<Vec<_>, _>>()?;
        let mut keys = BTreeSet::new();
        for (index, file) in files.iter().enumerate() {
            if !keys.insert(file.key.as_str()) {
                return Err(ManifestError::new(
                    format!("files[{index}].key"),
                    format!("{} is listed twice", excerpt(&file.key)),
                ));
            }
        }
        Ok(Self {
            source_bucket,
            destination_bucket: parse_bucket_arn(&raw.destination_bucket)?,
            created_at: parse_epoch_milliseconds(&raw.creation_timestamp)?,
            format,
            schema,
            files,
        })
    }
}

fn parse_format(text: &str) -> Result<FileFormat, ManifestError> {
    [FileFormat::Parquet, FileFormat::Orc, FileFormat::Csv]
        .into_iter()
        .find(|format| format.to_string().eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            let problem = format!("{} is none of Parquet, ORC and CSV", excerpt(text));
            ManifestError::new("fileFormat", problem)
        })
}

/// The name out of `arn:<partition>:s3:::<name>`. A plain name is taken as well.
fn parse_bucket_arn(text: &str) -> Result<BucketName, ManifestError> {
    let name = match text.split(':').collect::<Vec<_>>()[..] {
        ["arn", _, "s3", "", "", name] => name,
        _ => text,
    };
    BucketName::try_from(name).map_err(|_| {
        let problem = format!("{} is not the ARN of a bucket", excerpt(text));
        ManifestError::new("destinationBucket", problem)
    })
}

fn parse_epoch_milliseconds(value: &StringOrNumber) -> Result<Timestamp, ManifestError> {
    let text = match value {
        StringOrNumber::String(text) => text.clone(),
        StringOrNumber::Number(number) => number.to_string(),
    };
    text.parse()
        .ok()
        .and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok())
        .ok_or_else(|| {
            let problem = format!("{} is not a time in epoch milliseconds", excerpt(&text));
            ManifestError::new("creationTimestamp", problem)
        })
}

fn parse_file(index: usize, raw: RawFile) -> Result<ManifestFile, ManifestError> {
    let problem = |field, problem| {
        Err(ManifestError::new(
            format!("files[{index}].{field}"),
            problem,
        ))
    };
    if raw.key.is_empty() {
        return problem("key", "is empty".to_owned());
    }
    if raw.key.contains("..") || raw.key.contains(char::is_control) {
        return problem(
            "key",
            format!("{} is not a key that S3 delivers to", excerpt(&raw.key)),
        );
    }
    if raw.key.len() > MAX_KEY_BYTES {
        return problem(
            "key",
            format!(
                "{} has {} bytes, and S3 takes at most {MAX_KEY_BYTES}",
                excerpt(&raw.key),
                raw.key.len()
            ),
        );
    }
    let Some(size) = raw.size.as_u64() else {
        return problem("size", format!("{} is not a size in bytes", raw.size));
    };
    let Some(md5) = Md5Hash::parse(&raw.md5) else {
        return problem(
            "MD5checksum",
            format!("{} is not an MD5 hash", excerpt(&raw.md5)),
        );
    };
    Ok(ManifestFile {
        key: raw.key,
        size,
        md5,
    })
}

#[cfg(test)]
mod tests;
