//! Hashes several files at once, see [`super::md5_lanes`].

use std::io;

use bytes::Bytes;

use super::files::ReadAt;
use super::md5_lanes::{BLOCK, LANES, Md5Lanes};
use crate::manifest::Md5Hash;

/// Bytes that are read at once, in whole blocks: those of all lanes stay in the processor's cache.
const PIECE: u64 = 64 * 1024;

/// The MD5 of each file, or why it could not be read.
pub(super) fn hash_together(files: &[&dyn ReadAt]) -> Vec<io::Result<Md5Hash>> {
    let nothing = || Err(io::ErrorKind::Other.into());
    let mut sums: Vec<_> = files.iter().map(|_| nothing()).collect();
    // The longest first: one that came last would be hashed alone.
    let mut waiting: Vec<usize> = (0..files.len()).collect();
    waiting.sort_by_key(|file| files[*file].size());
    let mut lanes: [Option<Lane<'_>>; LANES] = Default::default();
    let mut hasher = Md5Lanes::new();
    loop {
        for (number, place) in lanes.iter_mut().enumerate() {
            loop {
                let Some(lane) = place else {
                    let Some(file) = waiting.pop() else { break };
                    hasher.begin(number);
                    *place = Some(Lane::new(file, files[file]));
                    continue;
                };
                let sum = match lane.go_on() {
                    Ok(true) => break,
                    Ok(false) => Ok(Md5Hash::from_bytes(hasher.sum(number))),
                    Err(error) => Err(error),
                };
                sums[lane.number] = sum;
                *place = None;
            }
        }
        let ready = lanes.iter().flatten().map(Lane::ready);
        let Some(shortest) = ready.min_by_key(|ready| ready.len()) else {
            return sums;
        };
        let length = shortest.len();
        // A lane without a file does what another one does, for nothing.
        hasher.update(lanes.each_ref().map(|lane| match lane {
            Some(lane) => &lane.ready()[..length],
            None => shortest,
        }));
        for lane in lanes.iter_mut().flatten() {
            lane.position += length;
        }
    }
}

/// A file that is being hashed.
struct Lane<'a> {
    /// Its place among the files.
    number: usize,
    file: &'a dyn ReadAt,
    /// How far it was read.
    read: u64,
    /// What was read, of which the bytes before `position` are hashed.
    held: Bytes,
    position: usize,
    is_padded: bool,
}

impl<'a> Lane<'a> {
    fn new(number: usize, file: &'a dyn ReadAt) -> Self {
        Self {
            number,
            file,
            read: 0,
            held: Bytes::new(),
            position: 0,
            is_padded: false,
        }
    }

    /// The whole blocks that can be hashed.
    fn ready(&self) -> &[u8] {
        let rest = &self.held[self.position..];
        &rest[..rest.len() / BLOCK * BLOCK]
    }

    /// Makes at least one block ready; `false` after the last one.
    fn go_on(&mut self) -> io::Result<bool> {
        if !self.ready().is_empty() {
            return Ok(true);
        }
        let size = self.file.size();
        if self.read < size {
            let to = size.min(self.read + PIECE);
            self.held = self.file.read(self.read..to)?;
            self.position = 0;
            self.read = to;
            if !self.ready().is_empty() {
                return Ok(true);
            }
        }
        if self.is_padded {
            return Ok(false);
        }
        // A single bit, zeros, and at the end of a block the number of bits.
        let mut end = self.held[self.position..].to_vec();
        end.push(0x80);
        end.resize((end.len() + 8).next_multiple_of(BLOCK) - 8, 0);
        end.extend_from_slice(&size.wrapping_mul(8).to_le_bytes());
        self.held = end.into();
        self.position = 0;
        self.is_padded = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;

    fn content(number: usize, length: usize) -> Bytes {
        let byte = |place: usize| (place * (number + 3) + place / 251) % 256;
        let bytes = (0..length).map(|place| u8::try_from(byte(place)).unwrap());
        bytes.collect::<Vec<_>>().into()
    }

    fn check(lengths: &[usize]) {
        let files: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| content(number, *length))
            .collect();
        let readers: Vec<_> = files.iter().map(|file| file as &dyn ReadAt).collect();
        let sums = hash_together(&readers);
        assert_eq!(sums.len(), files.len());
        for (file, sum) in files.iter().zip(sums) {
            assert_eq!(sum.unwrap(), Md5Hash::of(file), "{lengths:?}");
        }
    }

    #[test]
    fn sums_are_right_for_every_length_to_beyond_a_few_blocks() {
        for length in 0..=4 * BLOCK {
            check(&[length, length + 1, 0, length / 2]);
        }
    }

    #[test]
    fn sums_are_right_around_the_pieces_that_are_read() {
        let piece = usize::try_from(PIECE).unwrap();
        for length in [piece - 1, piece, piece + 1, 3 * piece + 9] {
            check(&[length; LANES + 1]);
            check(&[length, 5, 2 * length]);
        }
        check(&[]);
    }

    #[test]
    fn a_file_that_cannot_be_read_does_not_hold_up_the_others() {
        struct Unreadable;
        impl ReadAt for Unreadable {
            fn size(&self) -> u64 {
                100
            }
            fn read(&self, _: Range<u64>) -> io::Result<Bytes> {
                Err(io::ErrorKind::PermissionDenied.into())
            }
            fn window(&self) -> u64 {
                1
            }
        }
        let sound = content(1, 70_000);
        let mut sums = hash_together(&[&Unreadable, &sound]).into_iter();
        let error = sums.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(sums.next().unwrap().unwrap(), Md5Hash::of(&sound));
    }

    proptest! {
        #[test]
        fn sums_are_those_of_one_file_at_a_time(
            lengths in prop::collection::vec(0..200_000_usize, 0..20),
        ) {
            check(&lengths);
        }
    }
}
