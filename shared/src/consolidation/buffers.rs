//! Buffers that are used again once nobody looks at them any more: fresh memory costs more than what
//! is put into it.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};

/// The most buffers that are kept, and the most bytes of all of them.
const MAX_KEPT: usize = 32;
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// Buffers that several readers use.
pub(super) type SharedBuffers = Arc<Mutex<Buffers>>;

/// Buffers that were handed out.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Bytes>);

impl Buffers {
    /// A buffer of at least so many bytes, which are anything.
    pub(super) fn take(&mut self, length: usize) -> BytesMut {
        let free = self.0.iter().enumerate();
        let free = free.filter(|(_, bytes)| bytes.is_unique());
        let free = free.map(|(place, bytes)| (bytes.len(), place));
        let fitting = free.clone().filter(|(size, _)| *size >= length).min();
        if let Some((_, place)) = fitting {
            if let Ok(buffer) = self.0.swap_remove(place).try_into_mut() {
                return buffer;
            }
        } else if let Some((_, place)) = free.min() {
            // It makes room for one of the size that is needed now.
            self.0.swap_remove(place);
        }
        let rounded = length.next_power_of_two();
        BytesMut::zeroed(if rounded <= MAX_BYTES {
            rounded
        } else {
            length
        })
    }

    /// Hands a buffer out, to take it back when nobody needs it.
    pub(super) fn lend(&mut self, buffer: BytesMut) -> Bytes {
        let bytes = buffer.freeze();
        let kept: usize = self.0.iter().map(Bytes::len).sum();
        if self.0.len() < MAX_KEPT && kept + bytes.len() <= MAX_BYTES {
            self.0.push(bytes.clone());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_needs_it() {
        let mut buffers = Buffers::default();
        let mut first = buffers.take(100);
        first[..3].copy_from_slice(b"abc");
        let first = buffers.lend(first);
        let part = first.slice(1..3);
        let place = first.as_ptr();
        drop(first);
        assert_ne!(buffers.take(50).as_ptr(), place, "a part of it is needed");
        assert_eq!(part, b"bc"[..]);
        drop(part);
        let again = buffers.take(50);
        assert_eq!((again.as_ptr(), again.len()), (place, 128));
        assert_eq!(buffers.take(200).len(), 256);
    }
}
