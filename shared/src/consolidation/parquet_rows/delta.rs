//! Looks at pages in the delta encodings before the library decodes them, which takes memory for as
//! many values as the encoded numbers are said to be.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#DELTAENC>

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::ParquetError;

/// Gives on pages, unless they have more values than their chunk.
pub(super) struct CheckedPages<P> {
    pages: P,
    /// Values of the chunk.
    values: usize,
    is_optional: bool,
}

impl<P> CheckedPages<P> {
    pub(super) fn new(pages: P, values: usize, is_optional: bool) -> Self {
        Self {
            pages,
            values,
            is_optional,
        }
    }

    fn is_bounded(&self, page: &Page) -> bool {
        let (values, encoding) = match page {
            Page::DictionaryPage { .. } => return true,
            Page::DataPage { buf, encoding, .. } => {
                let levels = if self.is_optional {
                    buf.first_chunk()
                        .map_or(0, |length| 4 + u32::from_le_bytes(*length) as usize)
                } else {
                    0
                };
                (buf.get(levels..), *encoding)
            }
            Page::DataPageV2 {
                buf,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels = *def_levels_byte_len as usize + *rep_levels_byte_len as usize;
                (buf.get(levels..), *encoding)
            }
        };
        let lists = match encoding {
            Encoding::DELTA_BINARY_PACKED | Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            // Lengths of what texts begin with as the one before, and of the rest.
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => return true,
        };
        let mut rest = values.unwrap_or_default();
        // Where there is nothing, the library finds no number of values either.
        let is_bounded = |rest: &mut &[u8]| skip(rest).is_some_and(|count| count <= self.values);
        (0..lists).all(|_| rest.is_empty() || is_bounded(&mut rest))
    }
}

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        let page = self.pages.get_next_page()?;
        if page.as_ref().is_some_and(|page| !self.is_bounded(page)) {
            return Err(ParquetError::General(
                "the values of a page are damaged".to_owned(),
            ));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// Skips encoded numbers and says how many they are; `None` if they end early.
fn skip(bytes: &mut &[u8]) -> Option<usize> {
    let block = varint(bytes)?;
    let mini_blocks = varint(bytes).filter(|count| *count > 0)?;
    let count = varint(bytes)?;
    let _first = varint(bytes)?;
    let in_mini_block = block / mini_blocks;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        let _least_delta = varint(bytes)?;
        let (widths, rest) = bytes.split_at_checked(mini_blocks)?;
        *bytes = rest;
        for width in widths {
            if left == 0 {
                break;
            }
            let bits = in_mini_block.checked_mul(usize::from(*width))?;
            // Some writers cut the last one off where its numbers end.
            let is_last = left <= in_mini_block;
            let rest = bytes.get(bits.div_ceil(8)..);
            *bytes = rest.or(is_last.then_some(&[]))?;
            left = left.saturating_sub(in_mini_block);
        }
    }
    Some(count)
}

fn varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_skipped_and_counted() {
        // Blocks of 128 in 4 mini blocks: 1 to 3, of which the deltas take no bits.
        let three = [0x80, 0x01, 0x04, 0x03, 0x02, 0x02, 0, 0, 0, 0];
        // 40 numbers: the deltas of the first mini block take 1 bit, those of the second 2.
        let forty = [
            &[0x80, 0x01, 0x04, 40, 0x02, 0x02, 1, 2, 0, 0][..],
            &[0; 12],
        ]
        .concat();
        for (encoded, count, least) in [(&three[..], 3, 10), (&forty, 40, 14)] {
            let followed = [encoded, b"rest"].concat();
            let mut rest = &followed[..];
            assert_eq!(skip(&mut rest), Some(count));
            assert_eq!(rest, b"rest");
            for length in 0..encoded.len() {
                let found = (length >= least).then_some(count);
                assert_eq!(skip(&mut &encoded[..length]), found, "{count}: {length}");
            }
        }
        let one = [0x80, 0x01, 0x04, 0x01, 0x02];
        assert_eq!(skip(&mut &one[..]), Some(1));
        let no_mini_blocks = [0x80, 0x01, 0x00, 0x01, 0x02];
        assert_eq!(skip(&mut &no_mini_blocks[..]), None);
    }
}
