//! Reads the end of a file, where it says what is in it.
//!
//! <https://orc.apache.org/specification/ORCv1/#file-tail>

use bytes::Bytes;
use prost::Message;

use super::messages::{CompressionKind, Footer, PostScript, StripeInformation, Type};
use super::stream::{Compression, inflate_all};
use crate::consolidation::ConsolidationError;
use crate::consolidation::files::ReadAt;

/// Bytes at the end of a file that are read at once, in the hope that the whole footer is there.
const TAIL_BYTES: u64 = 64 * 1024;

/// A longer footer is a sign of damage: this is room for the places of 100,000 stripes.
pub(super) const MAX_FOOTER: usize = 4 * 1024 * 1024;

/// Every file begins with it.
const MAGIC: &str = "ORC";

/// The size of chunks if the file does not tell, and the largest that there can be.
const DEFAULT_BLOCK: u64 = 256 * 1024;
const MAX_BLOCK: u64 = 8 * 1024 * 1024;

/// What the end of a file says.
pub(super) struct Tail {
    pub(super) compression: Compression,
    pub(super) types: Vec<Type>,
    pub(super) stripes: Vec<StripeInformation>,
}

impl Tail {
    /// Reads and checks it.
    pub(super) fn read(source: &dyn ReadAt) -> Result<Self, ConsolidationError> {
        let size = source.size();
        let tail_start = size.saturating_sub(TAIL_BYTES);
        let mut tail = source
            .read(tail_start..size)
            .map_err(ConsolidationError::Fetch)?;
        let (post_script, end) = post_script(&tail)?;
        let compression = compression(&post_script)?;
        // The footer stands before the postscript, statistics of stripes before the footer.
        let end = tail_start + end as u64;
        let footer_start = end.checked_sub(post_script.footer_length);
        let stripes_end =
            footer_start.and_then(|start| start.checked_sub(post_script.metadata_length));
        let (Some(footer_start), Some(stripes_end)) = (footer_start, stripes_end) else {
            return Err(broken("its footer is longer than the file"));
        };
        if post_script.footer_length > MAX_FOOTER as u64 {
            return Err(broken("its footer is too long"));
        }
        if footer_start < tail_start {
            tail = source
                .read(footer_start..end)
                .map_err(ConsolidationError::Fetch)?;
        } else {
            let place = |at: u64| usize::try_from(at - tail_start).unwrap_or(tail.len());
            tail = tail.slice(place(footer_start)..place(end));
        }
        let footer = inflate_all("its footer", tail, compression, MAX_FOOTER)?;
        let footer: Footer = decode("its footer", footer)?;
        if footer.encryption.is_some() {
            return Err(broken("it is encrypted"));
        }
        check_stripes(&footer, stripes_end)?;
        Ok(Self {
            compression,
            types: footer.types,
            stripes: footer.stripes,
        })
    }
}

/// The postscript at the end of these bytes, and where in them it begins.
fn post_script(tail: &Bytes) -> Result<(PostScript, usize), ConsolidationError> {
    let short = || broken("it is too short for an ORC file");
    let (length, before) = tail.split_last().ok_or_else(short)?;
    let start = before
        .len()
        .checked_sub(usize::from(*length))
        .ok_or_else(short)?;
    let post_script: PostScript = decode("its postscript", tail.slice(start..before.len()))?;
    if post_script.magic != MAGIC {
        return Err(broken("it does not end as an ORC file"));
    }
    Ok((post_script, start))
}

fn compression(post_script: &PostScript) -> Result<Compression, ConsolidationError> {
    match CompressionKind::try_from(post_script.compression) {
        Ok(CompressionKind::None) => Ok(Compression::None),
        Ok(CompressionKind::Zlib) => {
            let block = post_script.compression_block_size.unwrap_or(DEFAULT_BLOCK);
            if block > MAX_BLOCK {
                return Err(broken("its chunks are larger than the format allows"));
            }
            let block =
                usize::try_from(block).map_err(|error| ConsolidationError::Read(error.into()))?;
            Ok(Compression::Zlib(block))
        }
        Ok(other) => Err(broken(&format!(
            "it is compressed with {}; S3 compresses with ZLIB, and files without compression can \
             be read too",
            format!("{other:?}").to_uppercase()
        ))),
        Err(_) => Err(broken("it is compressed with something unknown")),
    }
}

/// Checks that stripes are within the file, and have as many rows as it says.
fn check_stripes(footer: &Footer, stripes_end: u64) -> Result<(), ConsolidationError> {
    let mut rows = 0_u64;
    for stripe in &footer.stripes {
        let lengths = [
            stripe.index_length,
            stripe.data_length,
            stripe.footer_length,
        ];
        let end = lengths
            .into_iter()
            .try_fold(stripe.offset, u64::checked_add);
        if end.is_none_or(|end| end > stripes_end) {
            return Err(broken("a stripe is said to stand outside of the file"));
        }
        rows = rows.saturating_add(stripe.number_of_rows);
    }
    if rows != footer.number_of_rows {
        return Err(ConsolidationError::RowCount {
            expected: footer.number_of_rows.cast_signed(),
            found: rows.cast_signed(),
        });
    }
    Ok(())
}

/// Decodes a message.
pub(super) fn decode<M: Message + Default>(
    what: &str,
    bytes: Bytes,
) -> Result<M, ConsolidationError> {
    M::decode(bytes).map_err(|error| broken(&format!("{what} is damaged: {error}")))
}

/// The error that the file is not what it should be.
pub(super) fn broken(what: &str) -> ConsolidationError {
    ConsolidationError::Read(what.to_owned().into())
}
