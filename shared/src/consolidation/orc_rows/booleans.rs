//! Truths, packed into bytes that are in runs.
//!
//! <https://orc.apache.org/specification/ORCv1/#boolean-run-length-encoding>

use super::stream::Stream;
use crate::consolidation::ConsolidationError;

/// Decodes a stream of truths.
pub(super) struct Booleans {
    stream: Stream,
    run: Run,
    /// Bits of the last byte that are still to be given out, the next one highest.
    bits: u8,
    bits_left: usize,
}

enum Run {
    /// The same byte so many times more.
    Repeated(u8, usize),
    /// So many bytes more as they are.
    Literal(usize),
}

impl Booleans {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            run: Run::Literal(0),
            bits: 0,
            bits_left: 0,
        }
    }

    /// Appends the next values, of which there have to be so many.
    pub(super) fn read(
        &mut self,
        count: usize,
        out: &mut Vec<bool>,
    ) -> Result<(), ConsolidationError> {
        let mut wanted = count;
        self.give_bits(&mut wanted, out);
        while wanted >= 8 {
            let bytes = match self.run_left()? {
                Run::Repeated(byte, left) => {
                    let bytes = (*left).min(wanted / 8);
                    *left -= bytes;
                    match *byte {
                        0 => out.resize(out.len() + 8 * bytes, false),
                        0xFF => out.resize(out.len() + 8 * bytes, true),
                        byte => out.extend((0..bytes).flat_map(|_| BITS[usize::from(byte)])),
                    }
                    bytes
                }
                Run::Literal(left) => {
                    let bytes = (*left).min(wanted / 8);
                    *left -= bytes;
                    self.stream.fill(bytes)?;
                    let literal = self.stream.bytes().get(..bytes);
                    let literal = literal.ok_or_else(|| self.stream.wrong(SHORT))?;
                    for byte in literal {
                        out.extend_from_slice(&BITS[usize::from(*byte)]);
                    }
                    self.stream.advance(bytes);
                    bytes
                }
            };
            wanted -= 8 * bytes;
        }
        if wanted > 0 {
            self.bits = self.next_byte()?;
            self.bits_left = 8;
            self.give_bits(&mut wanted, out);
        }
        Ok(())
    }

    /// Whether all values were read, but for the bits that fill the last byte.
    pub(super) fn is_at_end(&mut self) -> Result<bool, ConsolidationError> {
        let (Run::Repeated(_, left) | Run::Literal(left)) = self.run;
        Ok(left == 0 && self.stream.is_at_end()?)
    }

    fn give_bits(&mut self, wanted: &mut usize, out: &mut Vec<bool>) {
        let count = self.bits_left.min(*wanted);
        for _ in 0..count {
            out.push(self.bits & 0x80 != 0);
            self.bits <<= 1;
        }
        self.bits_left -= count;
        *wanted -= count;
    }

    fn next_byte(&mut self) -> Result<u8, ConsolidationError> {
        match self.run_left()? {
            Run::Repeated(byte, left) => {
                *left -= 1;
                Ok(*byte)
            }
            Run::Literal(left) => {
                *left -= 1;
                self.stream_byte()
            }
        }
    }

    /// The run, of which something is left.
    fn run_left(&mut self) -> Result<&mut Run, ConsolidationError> {
        if let Run::Repeated(_, 0) | Run::Literal(0) = self.run {
            let control = self.stream_byte()?.cast_signed();
            self.run = if control < 0 {
                Run::Literal(usize::from(control.unsigned_abs()))
            } else {
                let count = usize::from(control.unsigned_abs()) + 3;
                Run::Repeated(self.stream_byte()?, count)
            };
        }
        Ok(&mut self.run)
    }

    fn stream_byte(&mut self) -> Result<u8, ConsolidationError> {
        self.stream.fill(1)?;
        let byte = self.stream.bytes().first().copied();
        let byte = byte.ok_or_else(|| self.stream.wrong(SHORT))?;
        self.stream.advance(1);
        Ok(byte)
    }
}

const SHORT: &str = "it has fewer values than rows";

/// The bits of each byte, the highest first.
static BITS: [[bool; 8]; 256] = {
    let mut bits = [[false; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            bits[byte][bit] = byte << bit & 0x80 != 0;
            bit += 1;
        }
        byte += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::stream::{Compression, Piece};
    use super::*;

    fn booleans(bytes: Vec<u8>) -> Booleans {
        let piece = Piece::fetched(Arc::new(Bytes::new()), bytes.into());
        Booleans::new(Stream::new("is_latest".into(), piece, Compression::None))
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let bits = |bytes: &[u8]| -> Vec<bool> {
            bytes
                .iter()
                .flat_map(|byte| BITS[usize::from(*byte)])
                .collect()
        };
        for (bytes, values) in [
            (&[0x61, 0x00][..], vec![false; 800]),
            (&[0xfe, 0x44, 0x45], bits(&[0x44, 0x45])),
            (
                &[0xff, 0x80],
                vec![true, false, false, false, false, false, false, false],
            ),
            (
                &[0x00, 0xff, 0xff, 0x0f],
                [bits(&[0xff; 3]), bits(&[0x0f])].concat(),
            ),
        ] {
            for cut in [1, 3, 8, 13, 1_000] {
                let mut booleans = booleans(bytes.to_vec());
                let mut read = Vec::new();
                for piece in values.chunks(cut) {
                    booleans.read(piece.len(), &mut read).unwrap();
                }
                assert_eq!(read, values, "{bytes:x?}");
                assert!(booleans.is_at_end().unwrap());
                assert!(booleans.read(1, &mut read).is_err());
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_worse_trouble_than_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let _ = booleans(bytes).read(10_000, &mut Vec::new());
        }
    }
}
