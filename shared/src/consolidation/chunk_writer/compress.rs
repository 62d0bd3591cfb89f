//! Compresses pages.

use bytes::Bytes;
use parquet::errors::ParquetError;

use crate::consolidation::{buffers, hybrid};

/// A page of which compression would save less than one part in so many is stored as it is, which
/// is several times as fast to write and to read.
const LEAST_SAVING: usize = 4;

/// What is compressed to find that out.
const SAMPLE_BYTES: usize = 32 * 1024;

/// Compresses two parts that make up a page. The first one stays as it is, unless it is the only one.
pub(super) fn compress(head: &[u8], values: &[u8]) -> Result<Bytes, ParquetError> {
    let (head, values) = match values {
        [] => (&[][..], head),
        values => (head, values),
    };
    // A stream is the length and then pieces one after the other, so streams can be joined.
    let mut start = Vec::with_capacity(head.len() + head.len() / 1024 + 64);
    hybrid::push_varint(&mut start, (head.len() + values.len()) as u64);
    for piece in literals(head) {
        start.extend_from_slice(&piece.tag);
        start.extend_from_slice(piece.bytes);
    }
    let middle = values.len() / 2;
    let is_worth_it =
        values.len() <= 4 * SAMPLE_BYTES || saves_much(&values[middle..middle + SAMPLE_BYTES])?;
    if !is_worth_it {
        let tags = literals(values).map(|piece| piece.tag.len()).sum::<usize>();
        let mut page = Filling::new(start.len() + tags + values.len());
        page.push(&start);
        for piece in literals(values) {
            page.push(&piece.tag);
            page.push(piece.bytes);
        }
        return Ok(page.finish());
    }
    let mut room = buffers::take(snap::raw::max_compress_len(values.len()));
    let end = snap(values, &mut room)?;
    let length = room.iter().take_while(|byte| **byte >= 0x80).count() + 1;
    let compressed = buffers::lend(room).slice(length..end);
    let mut page = Filling::new(start.len() + compressed.len());
    page.push(&start);
    page.push(&compressed);
    Ok(page.finish())
}

fn saves_much(sample: &[u8]) -> Result<bool, ParquetError> {
    let mut room = buffers::take(snap::raw::max_compress_len(sample.len()));
    let compressed = snap(sample, &mut room)?;
    drop(buffers::lend(room));
    Ok(compressed <= sample.len() - sample.len() / LEAST_SAVING)
}

fn snap(bytes: &[u8], room: &mut [u8]) -> Result<usize, ParquetError> {
    let compressed = snap::raw::Encoder::new().compress(bytes, room);
    compressed.map_err(|error| ParquetError::External(Box::new(error)))
}

/// Bytes that are put into a Snappy stream as they are.
struct Literal<'a> {
    tag: [u8; 3],
    bytes: &'a [u8],
}

/// Cuts bytes into pieces no longer than an encoder makes them.
///
/// <https://github.com/google/snappy/blob/main/format_description.txt>
fn literals(bytes: &[u8]) -> impl Iterator<Item = Literal<'_>> {
    const MAX_LITERAL: usize = 64 * 1024;
    /// A literal whose length less one is in the next two bytes.
    const LITERAL: u8 = 61 << 2;
    bytes.chunks(MAX_LITERAL).map(|bytes| {
        let [low, high, ..] = (bytes.len() - 1).to_le_bytes();
        Literal {
            tag: [LITERAL, low, high],
            bytes,
        }
    })
}

/// A buffer that is filled from front to back.
struct Filling {
    buffer: bytes::BytesMut,
    end: usize,
}

impl Filling {
    /// One that has room for so many bytes.
    fn new(length: usize) -> Self {
        Self {
            buffer: buffers::take(length),
            end: 0,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        self.buffer[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    fn finish(self) -> Bytes {
        buffers::lend(self.buffer).slice(..self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_what_they_were_whether_compressed_or_stored() {
        let repeated = b"logs/2024/".repeat(30_000);
        // A generator of numbers that nothing compresses.
        let mut state = 1_u64;
        let random = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        });
        let random: Vec<u8> = random.take(300_000).collect();
        for (head, values, is_smaller) in [
            (&b""[..], &repeated[..], true),
            (b"levels", &repeated, true),
            (b"", &random, false),
            (&random, &random, false),
            (&repeated, b"", true),
            (&random, b"", false),
            (b"levels", b"few", false),
            (b"", b"", false),
        ] {
            let page = [head, values].concat();
            let compressed = compress(head, values).unwrap();
            let read = snap::raw::Decoder::new()
                .decompress_vec(&compressed)
                .unwrap();
            assert!(read == page, "{} and {} bytes", head.len(), values.len());
            assert_eq!(compressed.len() < page.len() / 2, is_smaller);
            assert!(compressed.len() <= page.len() + page.len() / 1_000 + 20);
        }
    }
}
