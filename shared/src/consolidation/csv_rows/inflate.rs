//! The inflated bytes of a source, from front to back.

use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;

use crate::consolidation::ConsolidationError;
use crate::consolidation::files::ReadAt;

/// The least that is fetched at once, whatever the source thinks best.
pub(super) const MIN_WINDOW: u64 = 64 * 1024;

/// Inflates a source of one or more gzip members. That they are whole, and nothing follows them, is
/// checked where they end.
pub(super) struct Inflate(MultiGzDecoder<Windows>);

impl Inflate {
    pub(super) fn new(source: Arc<dyn ReadAt>) -> Self {
        let windows = windows(source.size(), source.window().max(MIN_WINDOW));
        source.announce(&windows);
        Self(MultiGzDecoder::new(Windows {
            source,
            left: windows.into_iter(),
            held: Bytes::new(),
            trouble: None,
        }))
    }

    /// Fills a buffer, or as much of it as there is left: only then are they fewer bytes than it
    /// holds.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, ConsolidationError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => {
                    return Err(match self.0.get_mut().trouble.take() {
                        Some(trouble) => ConsolidationError::Fetch(trouble),
                        None => ConsolidationError::Read(error.into()),
                    });
                }
            }
        }
        Ok(filled)
    }
}

fn windows(size: u64, window: u64) -> Vec<Range<u64>> {
    let count = size.div_ceil(window);
    (0..count)
        .map(|number| number * window..size.min((number + 1).saturating_mul(window)))
        .collect()
}

/// The bytes of a source, one window in memory.
struct Windows {
    source: Arc<dyn ReadAt>,
    left: std::vec::IntoIter<Range<u64>>,
    held: Bytes,
    /// Why the source could not be read, to be told from what is wrong with the bytes.
    trouble: Option<io::Error>,
}

impl BufRead for Windows {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.held.is_empty()
            && let Some(window) = self.left.next()
        {
            // Let go before the next one comes.
            self.held = Bytes::new();
            self.held = self.source.read(window).map_err(|error| {
                self.trouble = Some(error);
                // Of no kind that asks for another try: the window would be missing then.
                io::Error::other("the source cannot be read")
            })?;
        }
        Ok(&self.held)
    }

    fn consume(&mut self, amount: usize) {
        self.held.advance(amount);
    }
}

impl Read for Windows {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.fill_buf()?;
        let taken = held.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&held[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}
