//! Reads the pages of a column chunk.
//!
//! Pages that are compressed with Snappy, as S3 writes them, or not at all are read here, into buffers
//! that are used again; others by the library.

use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{Page as TheirPage, PageReader as _};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader as _;
use parquet::file::serialized_reader::SerializedPageReader;

use super::thrift::PageHeader;
use super::window::Window;
use crate::consolidation::buffers;

/// A page, decompressed.
pub(super) enum Page {
    /// Plain values.
    Dictionary { values: Bytes, count: usize },
    /// Values of rows, null ones counted too.
    Data {
        levels: Levels,
        values: Bytes,
        count: usize,
        encoding: Encoding,
    },
}

/// Where a page has the definition levels of a column that may be null.
pub(super) enum Levels {
    /// Before the values, in this encoding.
    Before(Encoding),
    /// Here.
    Apart(Bytes),
}

/// The pages of a chunk, in order.
pub(super) enum Pages {
    Here(OwnPages),
    Library(Box<SerializedPageReader<Window>>),
}

impl Pages {
    pub(super) fn new(window: &Window, chunk: &ColumnChunkMetaData) -> Result<Self, ParquetError> {
        let is_compressed = match chunk.compression() {
            Compression::SNAPPY => true,
            Compression::UNCOMPRESSED => false,
            _ => {
                let pages = SerializedPageReader::new(Arc::new(window.clone()), chunk, 0, None)?;
                return Ok(Self::Library(Box::new(pages)));
            }
        };
        let (at, length) = chunk.byte_range();
        Ok(Self::Here(OwnPages {
            window: window.clone(),
            at,
            end: at + length,
            is_compressed,
        }))
    }

    /// The next page; `None` at the end of the chunk.
    pub(super) fn next(&mut self) -> Result<Option<Page>, ParquetError> {
        match self {
            Self::Here(pages) => pages.next(),
            Self::Library(pages) => Ok(pages.get_next_page()?.map(ours)),
        }
    }
}

pub(super) struct OwnPages {
    window: Window,
    /// Where the next page begins, and where the chunk ends.
    at: u64,
    end: u64,
    is_compressed: bool,
}

/// `PageType`.
const DATA_PAGE: i64 = 0;
const DICTIONARY_PAGE: i64 = 2;
const DATA_PAGE_V2: i64 = 3;

impl OwnPages {
    fn next(&mut self) -> Result<Option<Page>, ParquetError> {
        while self.at < self.end {
            let header = self.window.page_header(self.at)?;
            let start = self.at + header.length as u64;
            let length = size(header.compressed_size)?;
            self.at = start + length as u64;
            if self.at > self.end {
                return Err(damaged("a page is longer than its column chunk"));
            }
            if matches!(header.kind, DATA_PAGE | DICTIONARY_PAGE | DATA_PAGE_V2) {
                let bytes = self.window.get_bytes(start, length)?;
                return self.page(header, &bytes).map(Some);
            }
        }
        Ok(None)
    }

    fn page(&self, header: PageHeader, bytes: &Bytes) -> Result<Page, ParquetError> {
        let count = size(header.values)?;
        let [repetition, definition] = [size(header.levels[0])?, size(header.levels[1])?];
        let before = repetition + definition;
        let unpacked = size(header.size.unwrap_or_default())?;
        if before > bytes.len().min(unpacked) {
            return Err(damaged("the levels of a page are longer than it"));
        }
        let values = bytes.slice(before..);
        let is_compressed = self.is_compressed && !header.is_stored;
        let values = if is_compressed {
            decompress(&values, unpacked - before)?
        } else {
            values
        };
        if header.kind == DICTIONARY_PAGE {
            return Ok(Page::Dictionary { values, count });
        }
        Ok(Page::Data {
            levels: if header.kind == DATA_PAGE_V2 {
                Levels::Apart(bytes.slice(repetition..before))
            } else {
                Levels::Before(encoding(header.level_encoding)?)
            },
            values,
            count,
            encoding: encoding(header.encoding)?,
        })
    }
}

fn decompress(bytes: &Bytes, size: usize) -> Result<Bytes, ParquetError> {
    // A page without any value may have no bytes at all.
    if size == 0 {
        return Ok(Bytes::new());
    }
    if snap::raw::decompress_len(bytes).ok() != Some(size) {
        return Err(damaged("a page is of another size than its header says"));
    }
    let mut buffer = buffers::take(size);
    let done = snap::raw::Decoder::new().decompress(bytes, &mut buffer[..size]);
    let page = buffers::lend(buffer).slice(..size);
    done.map_err(|error| ParquetError::External(error.into()))?;
    Ok(page)
}

fn size(number: i64) -> Result<usize, ParquetError> {
    u32::try_from(number)
        .map(|number| number as usize)
        .map_err(|_| damaged("a page header is damaged"))
}

fn encoding(number: i64) -> Result<Encoding, ParquetError> {
    Ok(match number {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[expect(deprecated, reason = "old writers name it for levels")]
        4 => Encoding::BIT_PACKED,
        8 => Encoding::RLE_DICTIONARY,
        other => {
            let message = format!("a page is in encoding {other}, which the footer does not say");
            return Err(damaged(&message));
        }
    })
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

fn ours(page: TheirPage) -> Page {
    match page {
        TheirPage::DictionaryPage {
            buf, num_values, ..
        } => Page::Dictionary {
            values: buf,
            count: num_values as usize,
        },
        TheirPage::DataPage {
            buf,
            num_values,
            encoding,
            def_level_encoding,
            ..
        } => Page::Data {
            levels: Levels::Before(def_level_encoding),
            values: buf,
            count: num_values as usize,
            encoding,
        },
        TheirPage::DataPageV2 {
            buf,
            num_values,
            encoding,
            def_levels_byte_len,
            rep_levels_byte_len,
            ..
        } => {
            let before = buf.len().min(rep_levels_byte_len as usize);
            let after = buf.len().min(before + def_levels_byte_len as usize);
            Page::Data {
                levels: Levels::Apart(buf.slice(before..after)),
                values: buf.slice(after..),
                count: num_values as usize,
                encoding,
            }
        }
    }
}
