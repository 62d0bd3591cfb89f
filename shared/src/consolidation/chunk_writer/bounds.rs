//! The least and the greatest value of a chunk, by which readers tell that they need not read it.

use parquet::basic::Type as PhysicalType;
use parquet::file::statistics::Statistics;

/// Texts longer than this are not told as the least or the greatest of a chunk.
const MAX_BOUND: usize = 1024;

/// The least and the greatest value so far.
#[derive(Default)]
pub(super) enum Bounds {
    /// Not told: of no use, or a dictionary knows them.
    #[default]
    Untold,
    Numbers(i64, i64),
    Texts(Vec<u8>, Vec<u8>),
}

impl Bounds {
    /// Takes texts in.
    pub(super) fn widen<'a>(&mut self, texts: impl Iterator<Item = &'a [u8]>) {
        let mut ends = None;
        for text in texts {
            let (least, greatest) = ends.get_or_insert((text, text));
            // Keys mostly come in order.
            if text >= *greatest {
                *greatest = text;
            } else if text < *least {
                *least = text;
            }
        }
        let Some((least, greatest)) = ends else {
            return;
        };
        if let Self::Texts(known_least, known_greatest) = self {
            if least < known_least.as_slice() {
                *known_least = least.to_vec();
            }
            if greatest > known_greatest.as_slice() {
                *known_greatest = greatest.to_vec();
            }
        } else {
            *self = Self::Texts(least.to_vec(), greatest.to_vec());
        }
    }

    /// Takes numbers in.
    pub(super) fn widen_numbers(&mut self, numbers: &[i64]) {
        let mut least = i64::MAX;
        let mut greatest = i64::MIN;
        for number in numbers {
            least = least.min(*number);
            greatest = greatest.max(*number);
        }
        if let Self::Numbers(known_least, known_greatest) = self {
            *known_least = least.min(*known_least);
            *known_greatest = greatest.max(*known_greatest);
        } else if !numbers.is_empty() {
            *self = Self::Numbers(least, greatest);
        }
    }

    /// What is told of a column of a type, of which so many rows have no value.
    pub(super) fn into_statistics(self, physical_type: PhysicalType, nulls: u64) -> Statistics {
        let nulls = Some(nulls);
        match (physical_type, self) {
            (PhysicalType::BOOLEAN, _) => Statistics::boolean(None, None, None, nulls, false),
            (PhysicalType::INT64, Self::Numbers(least, greatest)) => {
                Statistics::int64(Some(least), Some(greatest), None, nulls, false)
            }
            (PhysicalType::INT64, _) => Statistics::int64(None, None, None, nulls, false),
            (_, Self::Texts(least, greatest)) if greatest.len().max(least.len()) <= MAX_BOUND => {
                Statistics::byte_array(
                    Some(least.into()),
                    Some(greatest.into()),
                    None,
                    nulls,
                    false,
                )
            }
            _ => Statistics::byte_array(None, None, None, nulls, false),
        }
    }
}
