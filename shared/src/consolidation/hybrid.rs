//! Parquet's hybrid of run-length encoding and bit packing, for levels and dictionary codes.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE>

use bytes::Bytes;

/// Decodes numbers of a fixed bit width.
#[derive(Debug)]
pub(super) struct Decoder {
    bytes: Bytes,
    position: usize,
    width: u32,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    /// The same number so many times more.
    Repeated { value: u32, left: usize },
    /// So many packed numbers more, from a bit of the encoded bytes on.
    Packed { bit: usize, left: usize },
}

/// Numbers that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The same one so many times.
    Repeated(u32, usize),
    /// So many, which are in the list that was given.
    Appended(usize),
}

impl Decoder {
    /// Decodes what stands in the bytes. `None` if the width is more than a code has.
    pub(super) fn new(bytes: Bytes, width: u32) -> Option<Self> {
        (width <= u32::BITS).then_some(Self {
            bytes,
            position: 0,
            width,
            run: Run::Repeated { value: 0, left: 0 },
        })
    }

    /// Appends the next numbers; `None` if there are not as many.
    pub(super) fn read(&mut self, count: usize, out: &mut Vec<u32>) -> Option<()> {
        let mut wanted = count;
        while wanted > 0 {
            let taken = match &mut self.run {
                Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } => {
                    self.next_run()?;
                    continue;
                }
                Run::Repeated { value, left } => {
                    let taken = wanted.min(*left);
                    out.resize(out.len() + taken, *value);
                    *left -= taken;
                    taken
                }
                Run::Packed { bit, left } => {
                    let taken = wanted.min(*left);
                    unpack(&self.bytes, *bit, self.width, taken, out);
                    *bit += taken * self.width as usize;
                    *left -= taken;
                    taken
                }
            };
            wanted -= taken;
        }
        Some(())
    }

    /// How many of the next numbers, at most `count`, are the same one; takes them. `None` if the
    /// next ones are packed.
    pub(super) fn read_repeated(&mut self, count: usize) -> Option<(u32, usize)> {
        loop {
            match &mut self.run {
                Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. } => self.next_run()?,
                Run::Repeated { value, left } => {
                    let taken = count.min(*left);
                    *left -= taken;
                    return Some((*value, taken));
                }
                Run::Packed { .. } => return None,
            }
        }
    }

    /// The next numbers, at most `count` of them and at least one: the same one so many times, or packed
    /// ones, which are appended.
    pub(super) fn read_piece(&mut self, count: usize, out: &mut Vec<u32>) -> Option<Piece> {
        if let Some((value, times)) = self.read_repeated(count) {
            return Some(Piece::Repeated(value, times));
        }
        let Run::Packed { left, .. } = self.run else {
            return None;
        };
        let taken = count.min(left);
        (taken > 0).then_some(())?;
        self.read(taken, out)?;
        Some(Piece::Appended(taken))
    }

    fn next_run(&mut self) -> Option<()> {
        let header = self.varint()?;
        let length = usize::try_from(header >> 1).ok()?;
        let width = self.width as usize;
        self.run = if header & 1 == 0 {
            let mut value = [0; 4];
            let bytes = width.div_ceil(8);
            let stored = self.bytes.get(self.position..self.position + bytes)?;
            value[..bytes].copy_from_slice(stored);
            self.position += bytes;
            Run::Repeated {
                value: u32::from_le_bytes(value),
                left: length,
            }
        } else {
            // Groups of 8. Some writers cut the last group off where its numbers end.
            let bit = self.position.checked_mul(8)?;
            let count = length.checked_mul(8)?;
            let bytes = length.checked_mul(width)?;
            let there = self.bytes.len() - self.position;
            let whole = match width {
                0 => count,
                _ => count.min(there.checked_mul(8)? / width),
            };
            self.position += bytes.min(there);
            Run::Packed { bit, left: whole }
        };
        // A run of nothing would be asked for its numbers again and again.
        match self.run {
            Run::Repeated { left: 0, .. } | Run::Packed { left: 0, .. }
                if self.position >= self.bytes.len() =>
            {
                None
            }
            _ => Some(()),
        }
    }

    fn varint(&mut self) -> Option<u32> {
        let mut value = 0_u32;
        for shift in (0..32).step_by(7) {
            let byte = *self.bytes.get(self.position)?;
            self.position += 1;
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Appends packed numbers, which have to be within the bytes.
fn unpack(bytes: &[u8], first_bit: usize, width: u32, count: usize, out: &mut Vec<u32>) {
    if width == 0 {
        out.resize(out.len() + count, 0);
        return;
    }
    let mask = u64::MAX >> (u64::BITS - width);
    let width = width as usize;
    let number = |word: u64| u32::try_from(word & mask).unwrap_or(u32::MAX);
    // A number of at most 32 bits that begins anywhere in a byte is within 8 bytes.
    let load = |start: usize| {
        if let Some(eight) = bytes.get(start..start + 8) {
            return u64::from_le_bytes(eight.try_into().unwrap_or_default());
        }
        let mut eight = [0; 8];
        let rest = &bytes[start..];
        eight[..rest.len()].copy_from_slice(rest);
        u64::from_le_bytes(eight)
    };
    let mut at = 0;
    if width <= 8 && first_bit.is_multiple_of(8) {
        // So is a group of smaller ones.
        while count - at >= GROUP {
            let word = load((first_bit + at * width) / 8);
            out.extend((0..GROUP).map(|place| number(word >> (place * width))));
            at += GROUP;
        }
    }
    let bits = (at..count).map(|index| first_bit + index * width);
    out.extend(bits.map(|bit| number(load(bit / 8) >> (bit % 8))));
}

/// Packed numbers come in groups of so many, and shorter runs are packed.
const GROUP: usize = 8;

/// Appends numbers below 2 to the power of `width`, encoded.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let mut packed = 0;
    let mut at = 0;
    while let Some(group) = values.get(at..at + GROUP) {
        let value = group[0];
        let differ = group
            .iter()
            .fold(0, |differ, other| differ | (other ^ value));
        if differ != 0 {
            at += GROUP;
            continue;
        }
        let end = run_end(values, at);
        pack(&values[packed..at], width, out);
        encode_run(value, end - at, width, out);
        at = end;
        packed = end;
    }
    pack(&values[packed..], width, out);
}

/// Where the run of one number ends that begins at a place.
#[inline]
pub(super) fn run_end(values: &[u32], from: usize) -> usize {
    let value = values[from];
    let mut to = from + 1;
    while let Some(group) = values.get(to..to + GROUP) {
        let differ = group
            .iter()
            .fold(0, |differ, other| differ | (other ^ value));
        if differ != 0 {
            break;
        }
        to += GROUP;
    }
    while values.get(to) == Some(&value) {
        to += 1;
    }
    to
}

/// Appends the same number so many times, encoded.
pub(super) fn encode_run(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    push_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..(width as usize).div_ceil(8)]);
}

fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(GROUP);
    push_varint(out, ((groups as u64) << 1) | 1);
    out.reserve(groups * width as usize + size_of::<u128>());
    for group in values.chunks(GROUP) {
        // A group takes as many bytes as a number takes bits. The last one is filled with zeros.
        let mut bytes = [0; GROUP * size_of::<u32>()];
        let numbers = group.iter().enumerate();
        if width <= u64::BITS / 8 {
            let word = numbers.fold(0_u64, |word, (place, value)| {
                word | u64::from(*value) << (place * width as usize)
            });
            bytes[..size_of::<u64>()].copy_from_slice(&word.to_le_bytes());
        } else if width <= u128::BITS / 8 {
            let word = numbers.fold(0_u128, |word, (place, value)| {
                word | u128::from(*value) << (place * width as usize)
            });
            bytes[..size_of::<u128>()].copy_from_slice(&word.to_le_bytes());
        } else {
            for (place, value) in numbers {
                let bit = place * width as usize;
                let shifted = u64::from(*value) << (bit % 8);
                for (byte, more) in bytes[bit / 8..].iter_mut().zip(shifted.to_le_bytes()) {
                    *byte |= more;
                }
            }
        }
        out.extend_from_slice(&bytes[..width as usize]);
    }
}

/// Appends a number, 7 bits a byte, the lowest first.
pub(super) fn push_varint(out: &mut Vec<u8>, value: u64) {
    let mut rest = value;
    loop {
        let [seven, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            out.push(seven & 0x7F);
            return;
        }
        out.push(seven | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(bytes: Vec<u8>, width: u32, count: usize) -> Option<Vec<u32>> {
        let mut out = Vec::new();
        Decoder::new(bytes.into(), width)?.read(count, &mut out)?;
        Some(out)
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let packed = vec![0b0000_0011, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        assert_eq!(decode(packed, 3, 8), Some(vec![0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(decode(vec![200, 1, 7], 3, 100), Some(vec![7; 100]));
    }

    #[test]
    fn too_few_numbers_are_told() {
        assert_eq!(decode(vec![], 1, 1), None);
        assert_eq!(decode(vec![2 << 1, 1], 1, 3), None);
        assert_eq!(decode(vec![2 << 1], 1, 2), None);
        assert_eq!(decode(vec![0, 0, 0, 0], 1, 1), None);
        assert_eq!(decode(vec![3, 0xFF], 4, 3), None);
        assert_eq!(decode(vec![0x80; 9], 1, 1), None);
        assert!(Decoder::new(Bytes::new(), 33).is_none());
    }

    #[test]
    fn a_repeated_number_is_told_at_once() {
        let mut decoder = Decoder::new(vec![10 << 1, 1, 3, 0xFF].into(), 1).unwrap();
        assert_eq!(decoder.read_repeated(4), Some((1, 4)));
        assert_eq!(decoder.read_repeated(100), Some((1, 6)));
        assert_eq!(decoder.read_repeated(1), None, "packed");
        let mut out = Vec::new();
        assert_eq!(decoder.read(8, &mut out), Some(()));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            runs in prop::collection::vec((any::<u32>(), 1..40_usize), 0..30),
            width in 0..=32_u32,
            cut in 1..50_usize,
        ) {
            let mask = u32::try_from((1_u64 << width) - 1).unwrap();
            let values: Vec<u32> = runs
                .into_iter()
                .flat_map(|(value, run)| std::iter::repeat_n(value & mask, run))
                .collect();
            let mut bytes = Vec::new();
            encode(&values, width, &mut bytes);
            let mut decoder = Decoder::new(bytes.into(), width).unwrap();
            let mut read = Vec::new();
            for piece in values.chunks(cut) {
                prop_assert_eq!(decoder.read(piece.len(), &mut read), Some(()));
            }
            prop_assert_eq!(read, values);
        }

        #[test]
        fn no_bytes_make_trouble(bytes in prop::collection::vec(any::<u8>(), 0..40), width in 0..=32_u32) {
            let _ = decode(bytes, width, 1_000);
        }
    }
}
