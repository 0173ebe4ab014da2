//! Buffers that records and blocks of bodies are read into.

use std::cell::RefCell;

use bytes::Bytes;

/// The length of a buffer that is kept, in bytes: for a record with the longest body that follows its head.
const KEPT_BYTES: usize = 72 * 1024;
/// Shorter reads get memory of their own, so that a reader of a few bytes does not hold a long buffer.
const SHORT_BYTES: usize = 32 * 1024;
/// How many buffers a thread keeps.
const MAX_KEPT: usize = 16;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of some length, with any bytes in it. When it is dropped, its thread keeps it for a later one: it need not be
/// cleared then, and is in the caches of the processor.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    len: usize,
}

impl ReadBuffer {
    pub(super) fn new(len: usize) -> Self {
        let bytes = match len {
            SHORT_BYTES..=KEPT_BYTES => {
                let kept = KEPT.try_with(|kept| kept.borrow_mut().pop());
                let kept = kept.ok().flatten();
                kept.unwrap_or_else(|| vec![0; KEPT_BYTES])
            }
            _ => vec![0; len],
        };
        Self { bytes, len }
    }

    /// Its first `len` bytes alone.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    /// The same bytes, which others can share.
    pub(super) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ReadBuffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for ReadBuffer {
    fn drop(&mut self) {
        if self.bytes.len() != KEPT_BYTES {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        // A thread that ends keeps nothing.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MAX_KEPT {
                kept.push(bytes);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        KEPT.with(|kept| kept.borrow().len())
    }

    #[test]
    fn a_long_buffer_is_used_again_when_all_of_its_bytes_are_dropped() {
        let mut buffer = ReadBuffer::new(SHORT_BYTES);
        buffer.bytes_mut().fill(7);
        let address = buffer.as_ref().as_ptr();
        let bytes = buffer.into_bytes();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((part.len(), kept()), (10, 0));
        drop(part);
        assert_eq!(kept(), 1);
        let again = ReadBuffer::new(KEPT_BYTES);
        assert_eq!(
            (again.as_ref().as_ptr(), again.as_ref().len()),
            (address, KEPT_BYTES)
        );
    }

    #[test]
    fn short_and_very_long_buffers_are_not_kept_and_of_others_a_limited_number_is() {
        for len in [0, SHORT_BYTES - 1, KEPT_BYTES + 1] {
            let buffer = ReadBuffer::new(len);
            assert_eq!(buffer.as_ref(), vec![0; len]);
            drop(buffer);
            assert_eq!(kept(), 0);
        }
        let buffers: Vec<_> = (0..2 * MAX_KEPT)
            .map(|_| ReadBuffer::new(KEPT_BYTES))
            .collect();
        drop(buffers);
        assert_eq!(kept(), MAX_KEPT);
    }
}
