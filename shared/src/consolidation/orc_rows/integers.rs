//! Integers in runs, in both versions of the ORC specification.
//!
//! <https://orc.apache.org/specification/ORCv1/#run-length-encoding>

use super::stream::Stream;
use crate::consolidation::ConsolidationError;

/// Which runs a stream is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// No run takes more bytes: the longest is patched, with 4 bytes of header, 8 of base, and 512
/// values and 31 patches of 8 bytes.
const MAX_RUN_BYTES: usize = 4 + 8 + 8 * (512 + 31);

/// No run has more values.
const MAX_RUN: usize = 512;

/// Decodes a stream of integers.
pub(super) struct Integers {
    stream: Stream,
    version: Version,
    is_signed: bool,
    /// The run of which a part is still to be given out, from `next` on.
    run: Vec<i64>,
    next: usize,
}

impl Integers {
    pub(super) fn new(stream: Stream, version: Version, is_signed: bool) -> Self {
        Self {
            stream,
            version,
            is_signed,
            run: Vec::new(),
            next: 0,
        }
    }

    /// Appends the next values, of which there have to be so many.
    pub(super) fn read(
        &mut self,
        count: usize,
        out: &mut Vec<i64>,
    ) -> Result<(), ConsolidationError> {
        let end = out.len() + count;
        loop {
            let held = &self.run[self.next..];
            let held = &held[..held.len().min(end - out.len())];
            out.extend_from_slice(held);
            self.next += held.len();
            if out.len() == end {
                return Ok(());
            }
            self.stream.fill(MAX_RUN_BYTES)?;
            let bytes = self.stream.bytes();
            if bytes.is_empty() {
                return Err(self.stream.wrong("it has fewer values than rows"));
            }
            self.run.clear();
            self.next = 0;
            let fits = end - out.len() >= MAX_RUN;
            let into = if fits { &mut *out } else { &mut self.run };
            let used = match self.version {
                Version::One => decode_v1(bytes, self.is_signed, into),
                Version::Two => decode_v2(bytes, self.is_signed, into),
            };
            let used = used.ok_or_else(|| self.stream.wrong("a run of integers is damaged"))?;
            self.stream.advance(used);
        }
    }

    /// Whether all values were read.
    pub(super) fn is_at_end(&mut self) -> Result<bool, ConsolidationError> {
        Ok(self.next == self.run.len() && self.stream.is_at_end()?)
    }
}

/// Appends the values of the first run, and gives the number of its bytes. `None` if it ends too
/// early.
fn decode_v1(bytes: &[u8], is_signed: bool, out: &mut Vec<i64>) -> Option<usize> {
    let mut cursor = Cursor { bytes, at: 0 };
    let control = cursor.byte()?.cast_signed();
    if control < 0 {
        for _ in 0..control.unsigned_abs() {
            out.push(cursor.varint(is_signed)?);
        }
    } else {
        let length = i64::from(control) + 3;
        let delta = i64::from(cursor.byte()?.cast_signed());
        let base = cursor.varint(is_signed)?;
        out.extend((0..length).map(|index| base.wrapping_add(delta * index)));
    }
    Some(cursor.at)
}

/// Does the same for the second version.
fn decode_v2(bytes: &[u8], is_signed: bool, out: &mut Vec<i64>) -> Option<usize> {
    let mut cursor = Cursor { bytes, at: 0 };
    let first = cursor.byte()?;
    match first >> 6 {
        0 => short_repeat(first, is_signed, &mut cursor, out)?,
        1 => direct(first, is_signed, &mut cursor, out)?,
        2 => patched_base(first, &mut cursor, out)?,
        _ => delta(first, is_signed, &mut cursor, out)?,
    }
    Some(cursor.at)
}

/// The same value 3 to 10 times.
fn short_repeat(
    first: u8,
    is_signed: bool,
    cursor: &mut Cursor<'_>,
    out: &mut Vec<i64>,
) -> Option<()> {
    let value = cursor.big_endian(usize::from(first >> 3 & 7) + 1)?;
    let value = if is_signed {
        zigzag(value)
    } else {
        value.cast_signed()
    };
    let count = usize::from(first & 7) + 3;
    out.resize(out.len() + count, value);
    Some(())
}

/// Values of the same width.
fn direct(first: u8, is_signed: bool, cursor: &mut Cursor<'_>, out: &mut Vec<i64>) -> Option<()> {
    let width = WIDTHS[usize::from(first >> 1 & 31)];
    let count = cursor.length(first)?;
    if is_signed {
        cursor.packed(width, count, out, zigzag)
    } else {
        cursor.packed(width, count, out, u64::cast_signed)
    }
}

/// Values above a base, with the high bits of a few large ones apart.
fn patched_base(first: u8, cursor: &mut Cursor<'_>, out: &mut Vec<i64>) -> Option<()> {
    let width = WIDTHS[usize::from(first >> 1 & 31)];
    let count = cursor.length(first)?;
    let [third, fourth] = [cursor.byte()?, cursor.byte()?];
    let patch_width = WIDTHS[usize::from(third & 31)];
    let gap_width = u32::from(fourth >> 5) + 1;
    let patches = usize::from(fourth & 31);
    let base_bytes = usize::from(third >> 5) + 1;
    let base = cursor.big_endian(base_bytes)?;
    // The highest bit is the sign of the others.
    let sign = 1_u64 << (8 * base_bytes - 1);
    let magnitude = (base & !sign).cast_signed();
    let base = if base & sign == 0 {
        magnitude
    } else {
        -magnitude
    };
    let start = out.len();
    cursor.packed(width, count, out, u64::cast_signed)?;
    let values = &mut out[start..];
    let entry_width = WIDTHS
        .into_iter()
        .find(|width| *width >= patch_width + gap_width)?;
    let mut entries = Vec::with_capacity(patches);
    cursor.packed(entry_width, patches, &mut entries, u64::cast_signed)?;
    let mut place = 0_usize;
    for entry in entries.into_iter().map(i64::cast_unsigned) {
        let gap = entry.checked_shr(patch_width).unwrap_or_default();
        place = place.checked_add(usize::try_from(gap).ok()?)?;
        let patch = entry & (u64::MAX >> (u64::BITS - patch_width));
        // Widths are rounded up, so that there may be more bits of nothing than fit.
        *values.get_mut(place)? |= patch.checked_shl(width)?.cast_signed();
    }
    for value in values {
        *value = value.wrapping_add(base);
    }
    Some(())
}

/// Values that rise or fall.
fn delta(first: u8, is_signed: bool, cursor: &mut Cursor<'_>, out: &mut Vec<i64>) -> Option<()> {
    let code = usize::from(first >> 1 & 31);
    let count = cursor.length(first)?;
    let mut value = cursor.varint(is_signed)?;
    let step = cursor.varint(true)?;
    if code == 0 {
        // The step is always the same, and mostly none.
        if step == 0 {
            out.resize(out.len() + count, value);
        } else {
            let steps = 0..i64::try_from(count).ok()?;
            out.extend(steps.map(|number| value.wrapping_add(step.wrapping_mul(number))));
        }
        return Some(());
    }
    out.push(value);
    if count > 1 {
        value = value.wrapping_add(step);
        out.push(value);
    }
    let falls = step < 0;
    cursor.packed(WIDTHS[code], count.saturating_sub(2), out, |step| {
        let step = step.cast_signed();
        value = if falls {
            value.wrapping_sub(step)
        } else {
            value.wrapping_add(step)
        };
        value
    })
}

/// The widths in bits that a number of 5 bits stands for.
const WIDTHS: [u32; 32] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 28,
    30, 32, 40, 48, 56, 64,
];

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Reads on in the bytes of a run.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// The number of values, of which the first byte has the highest bit.
    fn length(&mut self, first: u8) -> Option<usize> {
        Some((usize::from(first & 1) << 8 | usize::from(self.byte()?)) + 1)
    }

    fn big_endian(&mut self, length: usize) -> Option<u64> {
        let bytes = self.bytes.get(self.at..self.at + length)?;
        self.at += length;
        let add = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        Some(bytes.iter().fold(0, add))
    }

    fn varint(&mut self, is_signed: bool) -> Option<i64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(if is_signed {
                    zigzag(value)
                } else {
                    value.cast_signed()
                });
            }
        }
        None
    }

    /// Appends what is made of values that are packed, the highest bit first. Of the widths in
    /// [`WIDTHS`] each value is within 8 bytes.
    #[inline]
    fn packed(
        &mut self,
        width: u32,
        count: usize,
        out: &mut Vec<i64>,
        mut make: impl FnMut(u64) -> i64,
    ) -> Option<()> {
        let bits = width as usize;
        let bytes = &self.bytes[self.at..];
        let length = (count * bits).div_ceil(8);
        if length > bytes.len() {
            return None;
        }
        self.at += length;
        let unpack = |eight: [u8; 8], bit: usize| {
            u64::from_be_bytes(eight) << (bit % 8) >> (u64::BITS - width)
        };
        // So many have 8 bytes from their first one on.
        let whole = (bytes.len().saturating_sub(7) * 8)
            .div_ceil(bits)
            .min(count);
        out.extend((0..whole).map(|index| {
            let bit = index * bits;
            let eight = bytes[bit / 8..].first_chunk().copied().unwrap_or_default();
            make(unpack(eight, bit))
        }));
        out.extend((whole..count).map(|index| {
            let bit = index * bits;
            let rest = &bytes[bit / 8..];
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            make(unpack(eight, bit))
        }));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::stream::{Compression, Piece};
    use super::*;

    fn integers(bytes: Vec<u8>, version: Version, is_signed: bool) -> Integers {
        let piece = Piece::fetched(Arc::new(Bytes::new()), bytes.into());
        let stream = Stream::new("size".into(), piece, Compression::None);
        Integers::new(stream, version, is_signed)
    }

    fn decode(bytes: &[u8], version: Version, is_signed: bool, count: usize) -> Option<Vec<i64>> {
        let mut out = Vec::new();
        let mut integers = integers(bytes.to_vec(), version, is_signed);
        integers.read(count, &mut out).ok()?;
        assert!(integers.is_at_end().unwrap(), "{bytes:?}");
        Some(out)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let patched = [
            0x8e, 0x13, 0x2b, 0x21, 0x07, 0xd0, 0x1e, 0x00, 0x14, 0x70, 0x28, 0x32, 0x3c, 0x46,
            0x50, 0x5a, 0x64, 0x6e, 0x78, 0x82, 0x8c, 0x96, 0xa0, 0xaa, 0xb4, 0xbe, 0xfc, 0xe8,
        ];
        let mut patched_values = vec![2030, 2000, 2020, 1_000_000];
        patched_values.extend((2040..=2190).step_by(10));
        let direct = [0x5e, 0x03, 0x5c, 0xa1, 0xab, 0x1e, 0xde, 0xad, 0xbe, 0xef];
        let delta = [0xc6, 0x09, 0x02, 0x02, 0x22, 0x42, 0x42, 0x46];
        for (bytes, version, is_signed, values) in [
            (&[0x61, 0x00, 0x07][..], Version::One, false, vec![7; 100]),
            (
                &[0x61, 0xff, 0x64],
                Version::One,
                false,
                (1..=100).rev().collect(),
            ),
            (
                &[0xfb, 0x02, 0x03, 0x06, 0x07, 0x0b],
                Version::One,
                false,
                vec![2, 3, 6, 7, 11],
            ),
            (
                &[0xfd, 0x03, 0x00, 0x04],
                Version::One,
                true,
                vec![-2, 0, 2],
            ),
            (&[0x0a, 0x27, 0x10], Version::Two, false, vec![10_000; 5]),
            (&[0x00, 0x03], Version::Two, true, vec![-2; 3]),
            (
                &direct,
                Version::Two,
                false,
                vec![23_713, 43_806, 57_005, 48_879],
            ),
            (&patched, Version::Two, false, patched_values),
            (
                &delta,
                Version::Two,
                false,
                vec![2, 3, 5, 7, 11, 13, 17, 19, 23, 29],
            ),
            (
                &[0xc0, 0x03, 0x14, 0x03],
                Version::Two,
                true,
                vec![10, 8, 6, 4],
            ),
            (
                &[0xc2, 0x03, 0x14, 0x03, 0x40],
                Version::Two,
                true,
                vec![10, 8, 7, 7],
            ),
            (&[0xc0, 0x00, 0x05, 0x00], Version::Two, false, vec![5]),
        ] {
            let count = values.len();
            assert_eq!(
                decode(bytes, version, is_signed, count),
                Some(values),
                "{bytes:x?}"
            );
            for length in 0..bytes.len() {
                let cut = integers(bytes[..length].to_vec(), version, is_signed)
                    .read(count, &mut Vec::new());
                assert!(cut.is_err(), "{length} bytes of {bytes:x?}");
            }
        }
    }

    #[test]
    fn damaged_patches_are_told() {
        let patched = |third: u8, fourth: u8| {
            let mut run = vec![0x8e, 0x01, third, fourth];
            run.extend([0; 40]);
            decode_v2(&run, false, &mut Vec::new())
        };
        assert!(patched(0x00, 0x01).is_some());
        assert_eq!(patched(0x1f, 0x01), None, "there is no room for the gaps");
        let mut far = vec![0x8e, 0x01, 0x00, 0x41, 0, 0, 0];
        far.extend([0xff; 8]);
        assert_eq!(
            decode_v2(&far, false, &mut Vec::new()),
            None,
            "beyond the last value"
        );
    }

    /// A run of the kind `direct`.
    fn pack(values: &[u64], width_code: usize) -> Vec<u8> {
        let width = WIDTHS[width_code];
        let length = values.len() - 1;
        let header = 0x40 | width_code << 1 | length >> 8;
        let mut bytes = vec![
            u8::try_from(header).unwrap(),
            u8::try_from(length & 0xFF).unwrap(),
        ];
        let bit = |value: u64, bit: u32| value >> (width - 1 - bit) & 1 == 1;
        let bits: Vec<bool> = values
            .iter()
            .flat_map(|value| (0..width).map(|at| bit(*value, at)))
            .collect();
        bytes.extend(bits.chunks(8).map(|eight| {
            eight
                .iter()
                .zip((0..8).rev())
                .map(|(bit, at)| u8::from(*bit) << at)
                .sum::<u8>()
        }));
        bytes
    }

    proptest! {
        #[test]
        fn values_of_every_width_are_unpacked(
            values in prop::collection::vec(any::<u64>(), 1..=512),
            code in 0..32_usize,
            cut in 1..600_usize,
        ) {
            let mask = u64::MAX >> (64 - WIDTHS[code]);
            let values: Vec<u64> = values.into_iter().map(|value| value & mask).collect();
            let bytes = pack(&values, code);
            let mut integers = integers([bytes.clone(), bytes].concat(), Version::Two, false);
            let twice: Vec<i64> = values.iter().chain(&values).map(|value| value.cast_signed()).collect();
            let mut read = Vec::new();
            for piece in twice.chunks(cut) {
                integers.read(piece.len(), &mut read).unwrap();
            }
            prop_assert!(integers.is_at_end().unwrap());
            prop_assert_eq!(read, twice);
        }

        #[test]
        fn no_bytes_make_worse_trouble_than_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            is_signed: bool,
            is_old: bool,
        ) {
            let version = if is_old { Version::One } else { Version::Two };
            let _ = integers(bytes, version, is_signed).read(10_000, &mut Vec::new());
        }
    }
}
