//! Where the manifest of a report that exists is, as the run input names it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{CHECKSUM_FILE_NAME, MANIFEST_FILE_NAME, MAX_KEY_BYTES};
use crate::ids::{BucketName, InvalidId};

/// `s3://<bucket>/<key>` of a `manifest.json`. Beside it lies its checksum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ManifestUri {
    bucket: BucketName,
    /// What the key has before the name of the file: empty, or ending in `/`.
    folder: String,
}

impl ManifestUri {
    /// What is accepted, as the end of a sentence.
    pub const EXPECTED: &'static str =
        "the place of a manifest such as s3://reports/photos/daily/2026-11-01T01-00Z/manifest.json";

    /// The bucket that the manifest lies in.
    pub fn bucket(&self) -> &BucketName {
        &self.bucket
    }

    /// Key of the manifest.
    pub fn manifest_key(&self) -> String {
        format!("{}{MANIFEST_FILE_NAME}", self.folder)
    }

    /// Key of its checksum.
    pub fn checksum_key(&self) -> String {
        format!("{}{CHECKSUM_FILE_NAME}", self.folder)
    }

    fn parse(text: &str) -> Option<Self> {
        let (bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
        let folder = key.strip_suffix(MANIFEST_FILE_NAME)?;
        let is_place = (folder.is_empty() || folder.ends_with('/'))
            && folder.len() + CHECKSUM_FILE_NAME.len() <= MAX_KEY_BYTES
            && !folder.contains(char::is_control)
            && folder.split('/').all(|segment| segment != "..");
        let bucket = BucketName::try_from(bucket).ok()?;
        is_place.then(|| Self {
            bucket,
            folder: folder.to_owned(),
        })
    }
}

impl fmt::Display for ManifestUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "s3://{}/{}", self.bucket, self.manifest_key())
    }
}

impl TryFrom<&str> for ManifestUri {
    type Error = InvalidId;

    fn try_from(text: &str) -> Result<Self, InvalidId> {
        Self::parse(text).ok_or_else(|| InvalidId {
            found: text.to_owned(),
            expected: Self::EXPECTED,
        })
    }
}

impl TryFrom<String> for ManifestUri {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::try_from(text.as_str())
    }
}

impl From<ManifestUri> for String {
    fn from(uri: ManifestUri) -> Self {
        uri.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_named_by_bucket_and_key() {
        let text = "s3://reports/a b//photos/daily/2026-11-01T01-00Z/manifest.json";
        let uri = ManifestUri::try_from(text).unwrap();
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.bucket().as_str(), "reports");
        let folder = "a b//photos/daily/2026-11-01T01-00Z";
        assert_eq!(uri.manifest_key(), format!("{folder}/manifest.json"));
        assert_eq!(uri.checksum_key(), format!("{folder}/manifest.checksum"));
        let bare = ManifestUri::try_from("s3://reports/manifest.json").unwrap();
        assert_eq!(bare.checksum_key(), "manifest.checksum");
    }

    #[test]
    fn what_names_no_manifest_is_refused() {
        let long = format!("s3://reports/{}/manifest.json", "a".repeat(1_011));
        for text in [
            "",
            "manifest.json",
            "reports/manifest.json",
            "https://reports/manifest.json",
            "S3://reports/manifest.json",
            "s3://manifest.json",
            "s3:///manifest.json",
            "s3://re ports/manifest.json",
            "s3://reports/photos/",
            "s3://reports/photos/manifest.checksum",
            "s3://reports/photos/my-manifest.json",
            "s3://reports/photos/manifest.json/",
            "s3://reports/photos/manifest.json?versionId=1",
            "s3://reports/../manifest.json",
            "s3://reports/a/../b/manifest.json",
            "s3://reports/a\n/manifest.json",
            &long,
        ] {
            assert!(ManifestUri::try_from(text).is_err(), "{text:?}");
        }
    }
}
