//! Checks a file against its manifest while it is read, so that most of it need not be read twice.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::file_check::{FileCheck, FileMismatch};
use super::files::ReadAt;
use crate::manifest::ManifestFile;

/// Bytes that are read only because those before and behind them were: a longer gap is left for
/// the end.
const GAP: u64 = 64 * 1024;

/// What reading a file has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bytes read for the work itself.
    pub bytes_read: u64,
    /// Bytes read only to verify the file.
    pub bytes_hashed: u64,
    /// Time that verifying took, reading for it included.
    pub hashing: Duration,
}

impl Work {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_hashed: self.bytes_hashed + other.bytes_hashed,
            hashing: self.hashing + other.hashing,
        }
    }
}

/// Does something, and tells how long it took.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

/// A file whose bytes are hashed as they pass, as far as they pass from front to back.
pub(super) struct CheckedFile {
    inner: Arc<dyn ReadAt>,
    state: Mutex<State>,
}

struct State {
    work: Work,
    /// `None` if the file is known to be the right one.
    check: Option<Check>,
}

#[derive(Default)]
struct Check {
    hashed: FileCheck,
    /// How far the file is hashed.
    position: u64,
}

impl CheckedFile {
    /// A file that is hashed, unless it is known to be the right file already.
    pub(super) fn new(inner: Arc<dyn ReadAt>, is_known: bool) -> Self {
        Self {
            inner,
            state: Mutex::new(State {
                work: Work::default(),
                check: (!is_known).then(Check::default),
            }),
        }
    }

    /// Hashes what has not passed, and compares.
    pub(super) fn finish(
        &self,
        expected: &ManifestFile,
    ) -> io::Result<(Work, Result<(), FileMismatch>)> {
        let begun = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { work, check } = &mut *state;
        let Some(mut check) = check.take() else {
            return Ok((*work, Ok(())));
        };
        let size = self.inner.size();
        let piece = self.inner.window().max(1);
        let pieces = (check.position..size).step_by(usize::try_from(piece).unwrap_or(usize::MAX));
        let ranges: Vec<_> = pieces
            .map(|from| from..size.min(from.saturating_add(piece)))
            .collect();
        self.inner.announce(&ranges);
        for range in ranges {
            let bytes = self.inner.read(range)?;
            work.bytes_hashed += bytes.len() as u64;
            check.hashed.update(&bytes);
        }
        let verdict = check.hashed.finish(expected);
        work.hashing += begun.elapsed();
        Ok((*work, verdict))
    }
}

impl ReadAt for CheckedFile {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let bytes = self.inner.read(range.clone())?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { work, check } = &mut *state;
        work.bytes_read += bytes.len() as u64;
        let Some(check) = check else {
            return Ok(bytes);
        };
        let begun = Instant::now();
        let next = check.position;
        if range.start > next && range.start - next <= GAP {
            let gap = self.inner.read(next..range.start)?;
            work.bytes_hashed += gap.len() as u64;
            check.hashed.update(&gap);
            check.position = range.start;
        }
        if (range.start..range.end).contains(&check.position) {
            let passed = usize::try_from(check.position - range.start).map_err(io::Error::other)?;
            check.hashed.update(&bytes[passed..]);
            check.position = range.end;
        }
        work.hashing += begun.elapsed();
        Ok(bytes)
    }

    fn announce(&self, ranges: &[Range<u64>]) {
        self.inner.announce(ranges);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::Md5Hash;

    fn file(length: usize) -> (Bytes, ManifestFile) {
        let content: Vec<u8> = (0..=250).cycle().take(length).collect();
        let listed = ManifestFile {
            key: "a".to_owned(),
            size: length as u64,
            md5: Md5Hash::of(&content),
        };
        (content.into(), listed)
    }

    #[test]
    fn a_file_read_from_front_to_back_is_read_once() {
        let (content, listed) = file(300_000);
        let checked = CheckedFile::new(Arc::new(content), false);
        for start in (0..300_000).step_by(100_000) {
            checked.read(start..start + 100_000).unwrap();
        }
        let (work, verdict) = checked.finish(&listed).unwrap();
        assert_eq!(verdict, Ok(()));
        assert_eq!((work.bytes_read, work.bytes_hashed), (300_000, 0));
    }

    #[test]
    fn a_known_file_is_not_hashed() {
        let (content, listed) = file(1_000);
        let checked = CheckedFile::new(Arc::new(content), true);
        checked.read(10..20).unwrap();
        let (work, verdict) = checked.finish(&listed).unwrap();
        assert_eq!((work.bytes_read, work.bytes_hashed), (10, 0));
        assert_eq!(verdict, Ok(()));
    }

    proptest! {
        #[test]
        fn whatever_is_read_the_whole_file_is_checked(
            reads in prop::collection::vec((0..200_000_u64, 0..90_000_u64), 0..6),
            altered in prop::option::of(0..200_000_usize),
        ) {
            let (content, listed) = file(200_000);
            let mut bytes = content.to_vec();
            if let Some(place) = altered {
                bytes[place] ^= 1;
            }
            let checked = CheckedFile::new(Arc::new(Bytes::from(bytes)), false);
            for (start, length) in reads {
                checked.read(start..200_000.min(start + length)).unwrap();
            }
            let (_, verdict) = checked.finish(&listed).unwrap();
            prop_assert_eq!(verdict.is_ok(), altered.is_none());
        }
    }
}
