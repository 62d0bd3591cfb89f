//! Reads a stream of a stripe: fetches it in windows and inflates it a chunk at a time.
//!
//! <https://orc.apache.org/specification/ORCv1/#compression>

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use libdeflater::Decompressor;

use crate::consolidation::ConsolidationError;
use crate::consolidation::files::ReadAt;

/// How streams are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// Raw deflate in chunks, none of which has more bytes before compression than this.
    Zlib(usize),
}

/// A part of the file that is read from front to back.
pub(super) struct Piece {
    source: Arc<dyn ReadAt>,
    /// What was fetched and not taken yet.
    held: Bytes,
    /// Where in the file the rest stands.
    next: u64,
    end: u64,
    /// How much is fetched at once.
    window: u64,
}

impl Piece {
    /// A part that is fetched bit by bit.
    pub(super) fn new(source: Arc<dyn ReadAt>, start: u64, length: u64, window: u64) -> Self {
        Self {
            source,
            held: Bytes::new(),
            next: start,
            end: start + length,
            window: window.max(1),
        }
    }

    /// A part that is in memory.
    pub(super) fn fetched(source: Arc<dyn ReadAt>, bytes: Bytes) -> Self {
        Self {
            source,
            held: bytes,
            next: 0,
            end: 0,
            window: 1,
        }
    }

    fn left(&self) -> u64 {
        self.held.len() as u64 + (self.end - self.next)
    }

    /// The next bytes, of which there have to be so many.
    fn take(&mut self, length: usize) -> io::Result<Bytes> {
        if length > self.held.len() {
            let missing = (length - self.held.len()) as u64;
            let to = (self.next + missing.max(self.window)).min(self.end);
            let fetched = self.source.read(self.next..to)?;
            self.next = to;
            self.held = if self.held.is_empty() {
                fetched
            } else {
                [&self.held[..], &fetched[..]].concat().into()
            };
        }
        Ok(self.held.split_to(length))
    }

    /// The next bytes, as many as come without an effort.
    fn take_some(&mut self) -> io::Result<Bytes> {
        let length = match self.held.len() {
            0 => usize::try_from(self.window.min(self.left())).unwrap_or(usize::MAX),
            held => held,
        };
        self.take(length)
    }
}

/// The bytes of a stream.
pub(super) struct Stream {
    column: Arc<str>,
    piece: Piece,
    compression: Compression,
    inflater: Decompressor,
    /// Bytes from `position` to `end` are ready.
    ready: Bytes,
    position: usize,
    end: usize,
    /// What was ready before, to be used again once nobody needs it any more.
    spare: Bytes,
}

/// A chunk begins with its length and whether it is compressed at all.
const CHUNK_HEADER: usize = 3;

impl Stream {
    /// A stream of a column; the name is for errors.
    pub(super) fn new(column: Arc<str>, piece: Piece, compression: Compression) -> Self {
        Self {
            column,
            piece,
            compression,
            inflater: Decompressor::new(),
            ready: Bytes::new(),
            position: 0,
            end: 0,
            spare: Bytes::new(),
        }
    }

    /// The bytes that are ready.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.ready[self.position..self.end]
    }

    /// Goes on by bytes that are ready.
    #[inline]
    pub(super) fn advance(&mut self, length: usize) {
        self.position += length;
    }

    /// Takes bytes that are ready, without a copy.
    pub(super) fn split(&mut self, length: usize) -> Bytes {
        let taken = self.ready.slice(self.position..self.position + length);
        self.position += length;
        taken
    }

    /// Makes so many bytes ready, or all that are left.
    #[inline]
    pub(super) fn fill(&mut self, length: usize) -> Result<(), ConsolidationError> {
        if self.end - self.position >= length {
            return Ok(());
        }
        self.inflate(length)
    }

    /// Whether all bytes are used up.
    pub(super) fn is_at_end(&mut self) -> Result<bool, ConsolidationError> {
        self.fill(1)?;
        Ok(self.bytes().is_empty())
    }

    fn inflate(&mut self, length: usize) -> Result<(), ConsolidationError> {
        let mut buffer: Option<BytesMut> = None;
        let mut end = 0;
        while self.piece.left() > 0 && (buffer.is_none() || end < length) {
            let (chunk, most) = self.next_chunk()?;
            if buffer.is_none()
                && self.bytes().is_empty()
                && most.is_none()
                && chunk.len() >= length
            {
                // It can be used as it is.
                self.position = 0;
                self.end = chunk.len();
                self.ready = chunk;
                return Ok(());
            }
            let buffer = buffer.get_or_insert_with(|| {
                // The buffer before the last one, if nobody needs it any more.
                let spare = std::mem::take(&mut self.spare);
                let mut buffer = spare.try_into_mut().unwrap_or_default();
                let rest = &self.ready[self.position..self.end];
                end = rest.len();
                make_room(&mut buffer, end.max(length));
                buffer[..end].copy_from_slice(rest);
                buffer
            });
            let inflated = match most {
                None => {
                    make_room(buffer, end + chunk.len());
                    buffer[end..end + chunk.len()].copy_from_slice(&chunk);
                    chunk.len()
                }
                Some(most) => {
                    make_room(buffer, end + most);
                    self.inflater
                        .deflate_decompress(&chunk, &mut buffer[end..end + most])
                        .map_err(|error| self.wrong(&format!("a chunk is damaged: {error}")))?
                }
            };
            end += inflated;
        }
        if let Some(buffer) = buffer {
            self.spare = std::mem::replace(&mut self.ready, buffer.freeze());
            self.position = 0;
            self.end = end;
        }
        Ok(())
    }

    /// The next chunk, and the most bytes that it may become if it is compressed.
    fn next_chunk(&mut self) -> Result<(Bytes, Option<usize>), ConsolidationError> {
        let Compression::Zlib(block_size) = self.compression else {
            let chunk = self.piece.take_some().map_err(ConsolidationError::Fetch)?;
            return Ok((chunk, None));
        };
        let header = self.take(CHUNK_HEADER)?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let chunk = self.take((header >> 1) as usize)?;
        let is_original = header & 1 == 1;
        Ok((chunk, (!is_original).then_some(block_size)))
    }

    fn take(&mut self, length: usize) -> Result<Bytes, ConsolidationError> {
        if length as u64 > self.piece.left() {
            return Err(self.wrong("a chunk is longer than its stream"));
        }
        self.piece.take(length).map_err(ConsolidationError::Fetch)
    }

    /// The error that the column is not what it should be.
    pub(super) fn wrong(&self, what: &str) -> ConsolidationError {
        damaged(&self.column, what)
    }
}

/// Lengthens a buffer; what it holds beyond what is used is anything.
fn make_room(buffer: &mut BytesMut, length: usize) {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
}

/// The error that a column is not what it should be.
pub(super) fn damaged(column: &str, what: &str) -> ConsolidationError {
    ConsolidationError::Read(format!("the column {column:?}: {what}").into())
}

/// Inflates all of a small part of the file, such as a footer.
pub(super) fn inflate_all(
    what: &str,
    bytes: Bytes,
    compression: Compression,
    limit: usize,
) -> Result<Bytes, ConsolidationError> {
    let source: Arc<dyn ReadAt> = Arc::new(Bytes::new());
    let piece = Piece::fetched(source, bytes);
    let mut stream = Stream::new(what.into(), piece, compression);
    stream.fill(limit)?;
    let length = stream.bytes().len();
    if length >= limit {
        return Err(ConsolidationError::Read(
            format!("{what} is too long").into(),
        ));
    }
    Ok(stream.split(length))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::ops::Range;

    use flate2::write::DeflateEncoder;
    use proptest::prelude::*;

    use super::*;

    const BLOCK: usize = 500;

    /// Compresses blocks, or leaves some of them as they are.
    fn compress(bytes: &[u8], is_original: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            let original = is_original(number);
            let chunk = if original {
                block.to_vec()
            } else {
                let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(block).unwrap();
                encoder.finish().unwrap()
            };
            let header = u32::try_from(chunk.len() << 1).unwrap() | u32::from(original);
            out.extend_from_slice(&header.to_le_bytes()[..CHUNK_HEADER]);
            out.extend_from_slice(&chunk);
        }
        out
    }

    fn stream(file: Vec<u8>, place: Range<u64>, window: u64, compression: Compression) -> Stream {
        let source: Arc<dyn ReadAt> = Arc::new(Bytes::from(file));
        let length = place.end - place.start;
        let piece = Piece::new(source, place.start, length, window);
        Stream::new("key".into(), piece, compression)
    }

    fn failure(file: &[u8]) -> String {
        let mut stream = stream(
            file.to_vec(),
            0..file.len() as u64,
            7,
            Compression::Zlib(BLOCK),
        );
        stream.fill(10 * BLOCK).unwrap_err().to_string()
    }

    #[test]
    fn damaged_chunks_are_told() {
        assert!(failure(&[1, 2]).contains("\"key\": a chunk is longer than its stream"));
        assert!(failure(&[0xFF, 0xFF, 0xFF, 1]).contains("longer than its stream"));
        assert!(failure(&[4, 0, 0, 0xFF, 0xFF]).contains("a chunk is damaged"));
        // One byte more than a chunk may have.
        let mut encoder = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&[0; BLOCK + 1]).unwrap();
        let chunk = encoder.finish().unwrap();
        let header = [u8::try_from(chunk.len() << 1).unwrap(), 0, 0];
        assert!(failure(&[&header, &chunk[..]].concat()).contains("a chunk is damaged"));
    }

    proptest! {
        #[test]
        fn bytes_come_as_they_were_however_they_are_asked_for(
            bytes in prop::collection::vec(0..4_u8, 0..5_000),
            originals: u16,
            window in 1..2_000_u64,
            asked in prop::collection::vec(1..1_500_usize, 20),
            is_compressed: bool,
            is_held: bool,
        ) {
            let (file, compression) = if is_compressed {
                let is_original = |number: usize| originals >> (number % 16) & 1 == 1;
                (compress(&bytes, is_original), Compression::Zlib(BLOCK))
            } else {
                (bytes.clone(), Compression::None)
            };
            let place = 2..2 + file.len() as u64;
            let mut stream = stream([&[9, 9], &file[..], &[9]].concat(), place, window, compression);
            let mut read = Vec::new();
            let mut held = Vec::new();
            for length in asked.iter().cycle() {
                stream.fill(*length).unwrap();
                if stream.bytes().is_empty() {
                    break;
                }
                let there = stream.bytes().len().min(*length);
                prop_assert!(there == *length || read.len() + there == bytes.len());
                let piece = stream.split(there);
                read.extend_from_slice(&piece);
                if is_held {
                    held.push(piece);
                }
            }
            prop_assert!(stream.is_at_end().unwrap());
            prop_assert_eq!(&read, &bytes);
            prop_assert!(!is_held || held.concat() == bytes);
        }
    }
}
