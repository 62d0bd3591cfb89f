//! Whether a file is the one that a manifest lists.

use md5::Digest;

use crate::manifest::{ManifestFile, Md5Hash};

/// Checks a file that arrives in pieces.
#[derive(Clone, Default)]
pub(super) struct FileCheck {
    size: u64,
    md5: md5::Md5,
}

impl FileCheck {
    /// Takes the next piece.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.md5.update(bytes);
    }

    /// Compares what came with what the manifest lists. The size goes first, since it explains a
    /// wrong MD5.
    pub(super) fn finish(self, expected: &ManifestFile) -> Result<(), FileMismatch> {
        if self.size != expected.size {
            return Err(FileMismatch::Size {
                expected: expected.size,
                found: self.size,
            });
        }
        compare_md5(expected, Md5Hash::from_bytes(self.md5.finalize().into()))
    }
}

/// Compares the MD5 of a file of the right size.
pub(super) fn compare_md5(expected: &ManifestFile, found: Md5Hash) -> Result<(), FileMismatch> {
    let expected = expected.md5;
    if found == expected {
        return Ok(());
    }
    Err(FileMismatch::Md5 { expected, found })
}

/// A file that is not the one its manifest lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileMismatch {
    /// It has another size.
    #[error("the manifest says {expected} bytes, but the file has {found}")]
    Size {
        /// From the manifest.
        expected: u64,
        /// Of the file.
        found: u64,
    },
    /// It has the right size and another MD5.
    #[error("the manifest says MD5 {expected}, but the file has {found}")]
    Md5 {
        /// From the manifest.
        expected: Md5Hash,
        /// Of the file.
        found: Md5Hash,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify_file(expected: &ManifestFile, bytes: &[u8]) -> Result<(), FileMismatch> {
        let mut check = FileCheck::default();
        check.update(bytes);
        check.finish(expected)
    }

    fn listed(content: &[u8]) -> ManifestFile {
        ManifestFile {
            key: "data/a.parquet".to_owned(),
            size: content.len() as u64,
            md5: Md5Hash::of(content),
        }
    }

    #[test]
    fn the_file_itself_passes_in_one_piece_or_many() {
        for content in [&b""[..], b"abc", &vec![7; 100_000]] {
            assert_eq!(verify_file(&listed(content), content), Ok(()));
            let mut check = FileCheck::default();
            for piece in content.chunks(1_000) {
                check.update(piece);
            }
            assert_eq!(check.finish(&listed(content)), Ok(()));
        }
    }

    #[test]
    fn what_differs_is_named() {
        let expected = listed(b"abc");
        assert_eq!(
            verify_file(&expected, b"ab"),
            Err(FileMismatch::Size {
                expected: 3,
                found: 2
            })
        );
        assert_eq!(
            verify_file(&expected, b"abd"),
            Err(FileMismatch::Md5 {
                expected: expected.md5,
                found: Md5Hash::of(b"abd")
            })
        );
    }
}
