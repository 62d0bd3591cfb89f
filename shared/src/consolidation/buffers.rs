//! Buffers that are used again once nobody looks at them any more, for the next page and for the next
//! file: fresh memory costs more than what is put into it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// The most buffers that are kept, and the most bytes of all of them: a stripe of an ORC file, and the
/// pages of a row group.
const MAX_KEPT: usize = 256;
const MAX_BYTES: usize = 128 * 1024 * 1024;

/// Smaller ones are not worth it.
const MIN_BYTES: usize = 32 * 1024;

/// Those of the whole process.
static BUFFERS: Mutex<Buffers> = Mutex::new(Buffers(Vec::new()));

/// A buffer of at least so many bytes, which are anything.
pub(super) fn take(length: usize) -> BytesMut {
    if length < MIN_BYTES {
        return BytesMut::zeroed(length);
    }
    // Made without the lock, which all readers share.
    let found = buffers().find(length);
    found.unwrap_or_else(|| {
        // So that it is large enough for one of about that length too.
        let rounded = length.next_multiple_of(length.next_power_of_two() / 8);
        BytesMut::zeroed(if rounded <= MAX_BYTES {
            rounded
        } else {
            length
        })
    })
}

/// Hands a buffer out, to take it back when nobody needs it.
pub(super) fn lend(buffer: BytesMut) -> Bytes {
    let bytes = buffer.freeze();
    if bytes.len() >= MIN_BYTES {
        buffers().keep(&bytes);
    }
    bytes
}

fn buffers() -> MutexGuard<'static, Buffers> {
    BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Buffers that were handed out.
struct Buffers(Vec<Bytes>);

impl Buffers {
    /// The smallest of those that nobody needs and that are large enough.
    fn find(&mut self, length: usize) -> Option<BytesMut> {
        let free = self.0.iter().enumerate();
        let free = free.filter(|(_, bytes)| bytes.is_unique());
        let free = free.map(|(place, bytes)| (bytes.len(), place));
        let fitting = free.clone().filter(|(size, _)| *size >= length).min();
        if let Some((_, place)) = fitting {
            return self.0.swap_remove(place).try_into_mut().ok();
        }
        if let Some((_, place)) = free.min() {
            // It makes room for one of the size that is needed now.
            self.0.swap_remove(place);
        }
        None
    }

    fn keep(&mut self, bytes: &Bytes) {
        let kept: usize = self.0.iter().map(Bytes::len).sum();
        if self.0.len() < MAX_KEPT && kept + bytes.len() <= MAX_BYTES {
            self.0.push(bytes.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_needs_it() {
        let mut buffers = Buffers(Vec::new());
        let first = BytesMut::zeroed(128).freeze();
        buffers.keep(&first);
        let part = first.slice(1..3);
        let place = first.as_ptr();
        drop(first);
        assert!(buffers.find(50).is_none(), "a part of it is needed");
        drop(part);
        let again = buffers.find(50).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (place, 128));
    }

    #[test]
    fn one_that_is_too_small_makes_room() {
        let mut buffers = Buffers(Vec::new());
        buffers.keep(&BytesMut::zeroed(64).freeze());
        assert!(buffers.find(100).is_none());
        assert!(buffers.find(10).is_none(), "the small one is gone");
    }

    #[test]
    fn no_more_is_kept_than_the_limits() {
        let mut buffers = Buffers(Vec::new());
        let bytes = BytesMut::zeroed(MAX_BYTES / 2 + 1).freeze();
        buffers.keep(&bytes);
        buffers.keep(&BytesMut::zeroed(MAX_BYTES / 2).freeze());
        assert_eq!(buffers.0.len(), 1);
        for _ in 0..MAX_KEPT {
            buffers.keep(&BytesMut::zeroed(1).freeze());
        }
        assert_eq!(buffers.0.len(), MAX_KEPT);
    }

    #[test]
    fn a_buffer_is_as_large_as_asked_for() {
        assert!(take(200).len() >= 200);
        assert_eq!(take(MAX_BYTES + 1).len(), MAX_BYTES + 1);
        assert_eq!(lend(take(0)).slice(..0), b""[..]);
    }
}
