//! Finds the streams of a stripe, and puts together what reads its columns.
//!
//! <https://orc.apache.org/specification/ORCv1/#stripes>

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::KnownColumn;
use super::booleans::Booleans;
use super::column::{
    CodeReader, ColumnReader, Encoded, InstantReader, Presence, StripeDictionary, TextOrigin,
    TextReader,
};
use super::integers::{Integers, Version};
use super::messages::{EncodingKind, StreamKind, StripeFooter, StripeInformation, TypeKind};
use super::stream::{Compression, Piece, Stream, damaged, inflate_all};
use super::tail::{MAX_FOOTER, broken, decode};
use crate::consolidation::ConsolidationError;
use crate::consolidation::files::ReadAt;
use crate::consolidation::rows::is_diverse;
use crate::snapshot_schema::{AthenaType, COLUMNS};

/// Windows are not smaller, however many streams share the memory.
const MIN_WINDOW: u64 = 64 * 1024;

/// The dictionaries of a stripe take no more memory together.
const DICTIONARY_BYTES: usize = 128 * 1024 * 1024;

/// A stripe whose footer was read.
pub(super) struct Stripe {
    source: Arc<dyn ReadAt>,
    /// Where it begins in the file.
    start: u64,
    /// All of it, unless it is too large.
    bytes: Option<Bytes>,
    length: u64,
    /// What all streams together hold of a larger one.
    limit: u64,
    rows: u64,
    compression: Compression,
    footer: StripeFooter,
    /// Where the streams of columns stand.
    streams: HashMap<(u32, StreamKind), Range<u64>>,
    /// What is left of [`DICTIONARY_BYTES`].
    budget: usize,
}

/// Where a stripe stands, with its indexes and its footer.
fn place(stripe: &StripeInformation) -> Range<u64> {
    let length = stripe.index_length + stripe.data_length + stripe.footer_length;
    stripe.offset..stripe.offset + length
}

/// Says to the source which stripes will be read at once, for they are no larger than the limit.
pub(super) fn announce(source: &dyn ReadAt, stripes: &[StripeInformation], limit: u64) {
    let places = stripes.iter().map(place);
    let small: Vec<_> = places
        .filter(|place| place.end - place.start <= limit)
        .collect();
    source.announce(&small);
}

impl Stripe {
    /// Reads the footer of a stripe, which is within the file, or all of it up to the limit.
    pub(super) fn read(
        source: Arc<dyn ReadAt>,
        stripe: &StripeInformation,
        compression: Compression,
        limit: u64,
    ) -> Result<Self, ConsolidationError> {
        let place = place(stripe);
        let length = place.end - place.start;
        let footer_start = stripe.index_length + stripe.data_length;
        if stripe.footer_length > MAX_FOOTER as u64 {
            return Err(broken("the footer of a stripe is too long"));
        }
        let is_small = length <= limit;
        let wanted = if is_small {
            place.clone()
        } else {
            place.start + footer_start..place.end
        };
        let bytes = source.read(wanted).map_err(ConsolidationError::Fetch)?;
        let footer = if is_small {
            bytes.slice(offset(footer_start)?..)
        } else {
            bytes.clone()
        };
        let footer = inflate_all("the footer of a stripe", footer, compression, MAX_FOOTER)?;
        let footer: StripeFooter = decode("the footer of a stripe", footer)?;
        let mut streams = HashMap::new();
        let mut end = 0_u64;
        for stream in &footer.streams {
            let start = end;
            end = start.saturating_add(stream.length);
            if end > footer_start {
                return Err(broken("a stream is said to stand outside of its stripe"));
            }
            // The others are indexes.
            if let Ok(kind) = StreamKind::try_from(stream.kind) {
                let before = streams.insert((stream.column, kind), start..end);
                if before.is_some() {
                    return Err(broken("a stripe has the same stream twice"));
                }
            }
        }
        if streams.contains_key(&(0, StreamKind::Present)) {
            return Err(broken("rows as a whole are null, not only their values"));
        }
        Ok(Self {
            source,
            start: place.start,
            bytes: is_small.then_some(bytes),
            length,
            limit,
            rows: stripe.number_of_rows,
            compression,
            footer,
            streams,
            budget: DICTIONARY_BYTES,
        })
    }

    /// What reads a column; the place is that among the snapshot's columns.
    pub(super) fn column(
        &mut self,
        place: usize,
        known: KnownColumn,
    ) -> Result<ColumnReader, ConsolidationError> {
        let name: Arc<str> = COLUMNS[place].name.into();
        let encoding = usize::try_from(known.number).ok();
        let encoding = encoding.and_then(|number| self.footer.columns.get(number).copied());
        let encoding = encoding.ok_or_else(|| damaged(&name, "a stripe does not have it"))?;
        let kind = EncodingKind::try_from(encoding.kind)
            .map_err(|_| damaged(&name, "its encoding is unknown"))?;
        let (version, has_dictionary) = match kind {
            EncodingKind::Direct => (Version::One, false),
            EncodingKind::Dictionary => (Version::One, true),
            EncodingKind::DirectV2 => (Version::Two, false),
            EncodingKind::DictionaryV2 => (Version::Two, true),
        };
        let number = known.number;
        let is_nullable = self.streams.contains_key(&(number, StreamKind::Present));
        let stream = |kind| self.stream(&name, number, kind);
        let integers = |kind, is_signed| Ok(Integers::new(stream(kind)?, version, is_signed));
        let levels = is_nullable
            .then(|| stream(StreamKind::Present))
            .transpose()?;
        let presence = Presence::new(Arc::clone(&name), levels.map(Booleans::new));
        let encoded = match COLUMNS[place].athena_type {
            AthenaType::String if has_dictionary => {
                let size = u64::from(encoding.dictionary_size);
                if size > self.rows {
                    return Err(damaged(&name, "its dictionary has more texts than rows"));
                }
                let mut budget = self.budget;
                let dictionary = StripeDictionary::read(
                    &presence,
                    offset(size)?,
                    integers(StreamKind::Length, false)?,
                    stream(StreamKind::DictionaryData)?,
                    &mut budget,
                )?;
                let codes = integers(StreamKind::Data, false)?;
                self.budget = budget;
                if is_diverse(place) {
                    let origin = TextOrigin::Dictionary(codes, dictionary);
                    Encoded::Texts(TextReader::new(origin, true))
                } else {
                    Encoded::Codes(CodeReader::new(codes, dictionary))
                }
            }
            AthenaType::String => {
                let lengths = integers(StreamKind::Length, false)?;
                let origin = TextOrigin::Direct(lengths, stream(StreamKind::Data)?);
                Encoded::Texts(TextReader::new(origin, is_diverse(place)))
            }
            AthenaType::Boolean => Encoded::Flags(Booleans::new(stream(StreamKind::Data)?)),
            AthenaType::Timestamp if known.kind != TypeKind::Long => {
                self.check_time_zone(known.kind, &name)?;
                Encoded::Instants(InstantReader::new(
                    Arc::clone(&name),
                    integers(StreamKind::Data, true)?,
                    integers(StreamKind::Secondary, false)?,
                ))
            }
            AthenaType::Bigint | AthenaType::Timestamp => {
                Encoded::Numbers(integers(StreamKind::Data, true)?)
            }
        };
        Ok(ColumnReader { presence, encoded })
    }

    /// Instants without a time zone count from 2015 in the writer's.
    fn check_time_zone(&self, kind: TypeKind, name: &str) -> Result<(), ConsolidationError> {
        let zone = self.footer.writer_timezone.as_str();
        let is_utc = matches!(zone, "" | "UTC" | "GMT" | "Z" | "Etc/UTC" | "Etc/GMT");
        if is_utc || kind == TypeKind::TimestampInstant {
            return Ok(());
        }
        let what = format!("its instants are in the time zone {zone:?}; S3 writes them in UTC");
        Err(damaged(name, &what))
    }

    /// A stream of a column. One that is not there has no values.
    fn stream(
        &self,
        name: &Arc<str>,
        number: u32,
        kind: StreamKind,
    ) -> Result<Stream, ConsolidationError> {
        let range = self
            .streams
            .get(&(number, kind))
            .cloned()
            .unwrap_or_default();
        let source = Arc::clone(&self.source);
        let piece = if let Some(bytes) = &self.bytes {
            let bytes = bytes.slice(offset(range.start)?..offset(range.end)?);
            Piece::fetched(source, bytes)
        } else {
            // All windows together are about as large as a stripe that is read at once, and end at
            // about the same row.
            let length = range.end - range.start;
            let share = u128::from(self.limit) * u128::from(length) / u128::from(self.length);
            let share = u64::try_from(share).unwrap_or(u64::MAX);
            let window = share.min(self.source.window()).max(MIN_WINDOW);
            Piece::new(source, self.start + range.start, length, window)
        };
        Ok(Stream::new(Arc::clone(name), piece, self.compression))
    }
}

fn offset(offset: u64) -> Result<usize, ConsolidationError> {
    usize::try_from(offset).map_err(|error| ConsolidationError::Read(error.into()))
}
