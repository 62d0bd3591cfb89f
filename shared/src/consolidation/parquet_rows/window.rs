//! A part of a source that is read from front to back, some of it in memory.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::thrift::{self, PageHeader};
use crate::consolidation::buffers;
use crate::consolidation::files::ReadAt;

/// The most that a page may be said to hold. The library takes the memory before it looks at the
/// page; writers end pages at about 1 MiB.
const MAX_PAGE_BYTES: i64 = 128 * 1024 * 1024;

/// Reads a column chunk in windows, each of them once.
#[derive(Clone)]
pub(super) struct Window(Arc<Inner>);

struct Inner {
    source: Arc<dyn ReadAt>,
    start: u64,
    end: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Place of the first byte held.
    at: u64,
    bytes: Bytes,
    /// What follows these bytes, in a piece of its own as it was fetched.
    ahead: Bytes,
    /// Why the source could not be read.
    trouble: Option<io::Error>,
}

impl Window {
    /// A window on a chunk, by its place and length.
    pub(super) fn new(source: Arc<dyn ReadAt>, (start, length): (u64, u64)) -> Self {
        Self(Arc::new(Inner {
            source,
            start,
            end: start + length,
            held: Mutex::new(Held {
                at: start,
                ..Held::default()
            }),
        }))
    }

    /// Why the source could not be read, if that is what an error came from.
    pub(super) fn take_trouble(&self) -> Option<io::Error> {
        self.held().trouble.take()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At least `length` bytes from a place on, or all that are left.
    pub(super) fn fetch(&self, from: u64, length: u64) -> io::Result<Bytes> {
        let Inner {
            source, start, end, ..
        } = &*self.0;
        let mut held = self.held();
        let wanted = from.saturating_add(length).min(*end);
        if from < held.at || wanted < from {
            return Err(io::Error::other("a chunk is read backwards"));
        }
        held.pass_to(from);
        if wanted > held.end() {
            // Windows stand where they were announced, so that none is fetched twice.
            let window = source.window().max(1);
            let windows = (wanted - start).div_ceil(window);
            let to = (start + windows * window).min(*end);
            let missing = match source.read(from.max(held.end())..to) {
                Ok(missing) => missing,
                Err(error) => {
                    // On its way through the library it would lose its type.
                    let told = io::Error::new(error.kind(), error.to_string());
                    held.trouble = Some(error);
                    return Err(told);
                }
            };
            if !held.ahead.is_empty() {
                let all = held.end() - from;
                held.bytes = held.join(from, all)?;
                held.at = from;
            }
            held.ahead = missing;
            held.pass_to(from);
        }
        let there = held.at + held.bytes.len() as u64;
        if wanted > there {
            return held.join(from, wanted - from);
        }
        Ok(held.bytes.slice(place(from - held.at)?..))
    }
}

impl Held {
    fn end(&self) -> u64 {
        self.at + (self.bytes.len() + self.ahead.len()) as u64
    }

    /// Lets go of bytes that all stand before a place.
    fn pass_to(&mut self, from: u64) {
        // There are two pieces.
        for _ in 0..2 {
            let end = self.at + self.bytes.len() as u64;
            if from < end {
                return;
            }
            self.at = if self.ahead.is_empty() { from } else { end };
            self.bytes = std::mem::take(&mut self.ahead);
        }
    }

    /// So many bytes from a place on, some of them ahead.
    fn join(&self, from: u64, length: u64) -> io::Result<Bytes> {
        let rest = &self.bytes[place(from - self.at)?..];
        let length = place(length)?;
        let mut joined = buffers::take(length);
        joined[..rest.len()].copy_from_slice(rest);
        joined[rest.len()..length].copy_from_slice(&self.ahead[..length - rest.len()]);
        Ok(buffers::lend(joined).slice(..length))
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.0.end
    }
}

impl ChunkReader for Window {
    type T = WindowReader;

    fn get_read(&self, start: u64) -> Result<WindowReader, ParquetError> {
        Ok(WindowReader {
            window: self.clone(),
            at: start,
            is_checked: false,
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.fetch(start, length as u64)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(
                "the column chunk ends too early".to_owned(),
            ));
        }
        Ok(bytes.slice(..length))
    }
}

/// Reads on from a place in the window; only page headers are read so.
pub(super) struct WindowReader {
    window: Window,
    at: u64,
    /// Whether the header was looked at.
    is_checked: bool,
}

impl Read for WindowReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.is_checked {
            self.is_checked = true;
            self.window.page_header(self.at)?;
        }
        let bytes = self.window.fetch(self.at, buffer.len() as u64)?;
        if bytes.is_empty() {
            // The library takes the end for any number of bytes that it has no use for.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = bytes.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&bytes[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

/// Bytes that a page header is looked for in: first those of most, then those of the longest.
const HEADER_BYTES: [u64; 2] = [256, 1024 * 1024];

impl Window {
    /// The header of the page at a place.
    pub(super) fn page_header(&self, at: u64) -> io::Result<PageHeader> {
        for length in HEADER_BYTES {
            if let Some(header) = thrift::page_header(&self.fetch(at, length)?) {
                let size = header.size.unwrap_or_default();
                if (0..=MAX_PAGE_BYTES).contains(&size) {
                    return Ok(header);
                }
                let message =
                    format!("a page has {size} bytes, where at most {MAX_PAGE_BYTES} are read");
                return Err(io::Error::other(message));
            }
        }
        Err(io::Error::other("a page header is damaged"))
    }
}
