//! Where a delivered file is read from, and where a consolidated one goes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use bytes::Bytes;

/// A delivered file that can be read at any place.
pub trait Source: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// The bytes of a range that lies within the file.
    ///
    /// # Errors
    /// When the bytes cannot be had. Fewer bytes than asked for are an error too.
    fn read(&self, range: Range<u64>) -> io::Result<Bytes>;

    /// Says which ranges will be read, in about that order, so that they can be fetched ahead. Other
    /// ranges may be read all the same.
    fn announce(&self, _ranges: &[Range<u64>]) {}

    /// Bytes that are best read at once. What is read is held in memory for each column, so this
    /// is a matter of latency against memory.
    fn window(&self) -> u64;
}

/// Where a consolidated file goes, from its first byte to its last. Nothing counts until the owner
/// completes it.
pub trait Output: Write + Send {
    /// Takes over the first bytes of the delivered file as they are. Comes before anything is
    /// written.
    ///
    /// # Errors
    /// When they cannot be copied.
    fn copy_source(&mut self, length: u64) -> io::Result<()>;

    /// Forgets everything, to begin anew.
    ///
    /// # Errors
    /// When what was written cannot be taken back.
    fn restart(&mut self) -> io::Result<()>;
}

/// A file on disk.
#[derive(Debug)]
pub struct LocalFile {
    file: File,
    size: u64,
}

impl LocalFile {
    /// Takes an open file.
    ///
    /// # Errors
    /// When the file does not tell its size.
    pub fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl Source for LocalFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
        // The position is the file's own, which nobody else reads.
        let mut file = &self.file;
        file.seek(SeekFrom::Start(range.start))?;
        file.take(length).read_to_end(&mut bytes)?;
        complete(bytes.into(), length)
    }

    fn window(&self) -> u64 {
        // From the page cache a small window is as fast as a large one, and stays in the processor's.
        512 * 1024
    }
}

impl Source for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = range.end.saturating_sub(range.start);
        let end = range.end.min(self.size());
        let start = range.start.min(end);
        let place = |offset: u64| usize::try_from(offset).map_err(io::Error::other);
        complete(self.slice(place(start)?..place(end)?), length)
    }

    fn window(&self) -> u64 {
        self.size().max(1)
    }
}

fn complete(bytes: Bytes, length: u64) -> io::Result<Bytes> {
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("{} of {length} bytes are there", bytes.len()),
    ))
}
