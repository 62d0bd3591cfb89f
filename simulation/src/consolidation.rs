//! Consolidation of files that are a line of text; see `crate::inventory`. What is verified is
//! verified in the same order: size, MD5, and that the rows are about the bucket.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use real_shared::consolidation::FileMismatch;
use real_shared::manifest::{ManifestFile, Md5Hash};
use real_shared::totals::{Tally, Totals};

use crate::aws::ConsolidatedUpload;
use crate::inventory::Content;

pub use real_shared::consolidation::{Consolidated, ConsolidationError, Delivered, Work};

/// Where a delivered file is read from.
pub trait ReadAt {
    /// The whole file.
    fn content(&self) -> io::Result<Bytes>;
}

/// Verifies a delivered file and consolidates it.
pub fn consolidate_verified(
    delivered: Delivered<'_>,
    expected: &ManifestFile,
    known_md5: Option<Md5Hash>,
    source: Arc<dyn ReadAt>,
    output: &mut ConsolidatedUpload,
) -> Result<(Consolidated, Work), ConsolidationError> {
    let content = source.content().map_err(ConsolidationError::Fetch)?;
    let found = content.len() as u64;
    if found != expected.size {
        let expected = expected.size;
        return Err(ConsolidationError::Mismatch(FileMismatch::Size {
            expected,
            found,
        }));
    }
    let md5 = known_md5.unwrap_or_else(|| Md5Hash::of(&content));
    if md5 != expected.md5 {
        return Err(ConsolidationError::Mismatch(FileMismatch::Md5 {
            expected: expected.md5,
            found: md5,
        }));
    }
    let Some(rows) = Content::parse(&content) else {
        return Err(ConsolidationError::Read("not a file of rows".into()));
    };
    if rows.bucket != delivered.source_bucket.as_str() {
        return Err(ConsolidationError::ForeignRow {
            row: 0,
            expected: delivered.source_bucket.to_string(),
            found: Some(rows.bucket),
        });
    }
    output.write(content);
    let consolidated = Consolidated {
        rows: rows.rows,
        totals: Totals {
            all: Tally {
                objects: rows.rows,
                object_bytes: rows.rows,
                versions: rows.rows,
                version_bytes: rows.rows,
            },
            ..Totals::default()
        },
        undecodable_keys: 0,
        left_out_columns: Vec::new(),
    };
    let work = Work {
        bytes_read: found,
        bytes_hashed: 0,
        hashing: std::time::Duration::ZERO,
    };
    Ok((consolidated, work))
}
