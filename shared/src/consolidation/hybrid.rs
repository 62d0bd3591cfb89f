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
    // A number of at most 32 bits that begins anywhere in a byte is within 8 bytes.
    let load = |bit: usize| {
        let start = bit / 8;
        let word = if let Some(eight) = bytes.get(start..start + 8) {
            u64::from_le_bytes(eight.try_into().unwrap_or_default())
        } else {
            let mut eight = [0; 8];
            let rest = &bytes[start..];
            eight[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(eight)
        };
        u32::try_from((word >> (bit % 8)) & mask).unwrap_or(u32::MAX)
    };
    out.extend((0..count).map(|index| load(first_bit + index * width)));
}

/// Runs shorter than this are packed.
const MIN_RUN: usize = 8;

/// Appends numbers below 2 to the power of `width`, encoded.
pub(super) fn encode(values: &[u32], width: u32, out: &mut Vec<u8>) {
    // Packed numbers come in groups of 8, so a run begins at a multiple of 8 after the last one.
    let mut packed = 0;
    let mut at = 0;
    while at < values.len() {
        let run = values[at..]
            .iter()
            .take_while(|v| **v == values[at])
            .count();
        let whole = (at - packed).is_multiple_of(8);
        if run >= MIN_RUN && whole {
            pack(&values[packed..at], width, out);
            encode_run(values[at], run, width, out);
            at += run;
            packed = at;
        } else if run >= 2 * MIN_RUN {
            // Some of the run completes the group.
            at += 8 - (at - packed) % 8;
        } else {
            at += run;
        }
    }
    pack(&values[packed..], width, out);
}

/// Appends the same number so many times, encoded.
pub(super) fn encode_run(value: u32, count: usize, width: u32, out: &mut Vec<u8>) {
    push_varint(out, count << 1);
    out.extend_from_slice(&value.to_le_bytes()[..(width as usize).div_ceil(8)]);
}

fn pack(values: &[u32], width: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    push_varint(out, (groups << 1) | 1);
    let start = out.len();
    let mut word = 0_u64;
    let mut bits = 0;
    for value in values {
        word |= u64::from(*value) << bits;
        bits += width;
        while bits >= 8 {
            out.push((word & 0xFF) as u8);
            word >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push((word & 0xFF) as u8);
    }
    // The last group is filled with zeros.
    out.resize(start + groups * width as usize, 0);
}

/// Appends a number, 7 bits a byte, the lowest first.
pub(super) fn push_varint(out: &mut Vec<u8>, value: usize) {
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
