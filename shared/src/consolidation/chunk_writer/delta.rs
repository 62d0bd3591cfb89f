//! Parquet's encodings by differences: of numbers to the ones before them, and of texts, of which
//! only lengths and what they do not share with the ones before them are left.
//!
//! <https://parquet.apache.org/docs/file-format/data-pages/encodings/#delta-encoding-delta_binary_packed--5>

use crate::consolidation::hybrid::push_varint;

/// Differences of which the least one is written once, and differences that are packed in the same
/// width. Readers take other numbers too, but these are what most writers use.
const BLOCK: usize = 128;
const MINI_BLOCK: usize = 32;

/// Appends numbers, encoded as `DELTA_BINARY_PACKED`.
pub(super) fn encode<T: Copy + Into<i64>>(values: &[T], out: &mut Vec<u8>) {
    push_varint(out, BLOCK as u64);
    push_varint(out, (BLOCK / MINI_BLOCK) as u64);
    push_varint(out, values.len() as u64);
    let number = |value: &T| -> i64 { (*value).into() };
    let Some(first) = values.first() else {
        push_varint(out, 0);
        return;
    };
    push_varint(out, zigzag(number(first)));
    for (block, before) in values[1..].chunks(BLOCK).zip(values.chunks(BLOCK)) {
        let mut differences = [0_i64; BLOCK];
        for ((difference, value), before) in differences.iter_mut().zip(block).zip(before) {
            *difference = number(value).wrapping_sub(number(before));
        }
        let least = differences[..block.len()].iter().copied().min();
        let least = least.unwrap_or_default();
        push_varint(out, zigzag(least));
        // What fills the last one is nothing above the least.
        let mut above = [0_u64; BLOCK];
        for (above, difference) in above.iter_mut().zip(&differences[..block.len()]) {
            *above = difference.wrapping_sub(least).cast_unsigned();
        }
        let widths = out.len();
        out.extend_from_slice(&[0; BLOCK / MINI_BLOCK]);
        let used = block.len().div_ceil(MINI_BLOCK);
        for (number, numbers) in above.as_chunks().0.iter().take(used).enumerate() {
            let all = numbers.iter().fold(0, |all, above| all | above);
            let width = u64::BITS - all.leading_zeros();
            out[widths + number] = width.to_le_bytes()[0];
            pack(numbers, width, out);
        }
    }
}

/// Appends numbers of a width, the lowest bit first.
fn pack(numbers: &[u64; MINI_BLOCK], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let mut words = [0; MINI_BLOCK];
    let mut word = 0;
    let mut filled = 0;
    let mut full = 0;
    for number in numbers {
        word |= number << filled;
        filled += width;
        if filled >= u64::BITS {
            words[full] = word;
            full += 1;
            filled -= u64::BITS;
            // What did not fit; all did if nothing is filled.
            word = number.checked_shr(width - filled).unwrap_or_default();
        }
    }
    for word in &words[..full] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&word.to_le_bytes()[..filled as usize / 8]);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> (i64::BITS - 1))).cast_unsigned()
}

/// How many bytes two texts begin with in common.
#[inline]
pub(super) fn shared_length(text: &[u8], other: &[u8]) -> usize {
    let eights = text.as_chunks().0.iter().zip(other.as_chunks().0);
    let mut shared = 0;
    for (eight, other) in eights {
        let differ = u64::from_le_bytes(*eight) ^ u64::from_le_bytes(*other);
        if differ != 0 {
            return shared + differ.trailing_zeros() as usize / 8;
        }
        shared += size_of::<u64>();
    }
    let rest = text[shared..].iter().zip(&other[shared..]);
    shared + rest.take_while(|(byte, other)| byte == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_written() {
        let block = [0x80, 1, 4];
        for (values, expected) in [
            (vec![], &[0, 0][..]),
            (vec![-1], &[1, 1]),
            // Differences of 1, which nothing is above.
            (vec![1, 2, 3, 4, 5], &[5, 2, 2, 0, 0, 0, 0]),
            // Differences of -2, -2, -2, 1, 1, 1, 1: 0, 0, 0, 3, 3, 3, 3 above the least.
            (
                vec![7, 5, 3, 1, 2, 3, 4, 5],
                &[
                    8,
                    14,
                    3,
                    2,
                    0,
                    0,
                    0,
                    0b1100_0000,
                    0b0011_1111,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                ],
            ),
        ] {
            let mut out = Vec::new();
            encode::<i64>(&values, &mut out);
            assert_eq!(out, [&block[..], expected].concat(), "{values:?}");
        }
    }

    #[test]
    fn what_texts_begin_with_in_common_is_found() {
        let long = "logs/2024/01/01/";
        for (text, other, shared) in [
            ("", "", 0),
            ("", "a", 0),
            ("abc", "abd", 2),
            ("abc", "abc", 3),
            (long, "logs/2024/02/01/", 11),
            (long, "logs/2024/01/01/x", 16),
            (long, "x", 0),
        ] {
            assert_eq!(shared_length(text.as_bytes(), other.as_bytes()), shared);
            assert_eq!(shared_length(other.as_bytes(), text.as_bytes()), shared);
        }
    }
}
