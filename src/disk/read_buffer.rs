//! Buffers that records and blocks of bodies are read into.

use std::cell::RefCell;

use bytes::Bytes;

/// The lengths of the buffers that are kept, in bytes. The longest one holds a record with the longest body that follows its
/// head.
const LENGTHS: [usize; 3] = [4 * 1024, 16 * 1024, 72 * 1024];
/// Shorter reads get memory of their own, so that a reader of a few bytes does not hold a long buffer.
const SHORT_BYTES: usize = 1024;
/// How many buffers of each length a thread keeps.
const MAX_KEPT: usize = 16;

thread_local! {
    static KEPT: RefCell<[Vec<Vec<u8>>; LENGTHS.len()]> = const { RefCell::new([const { Vec::new() }; LENGTHS.len()]) };
}

/// A buffer of some length, with any bytes in it. When it is dropped, its thread keeps it for a later one: it need not be
/// cleared then, and is in the caches of the processor.
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    len: usize,
}

impl ReadBuffer {
    pub(super) fn new(len: usize) -> Self {
        let number = LENGTHS.iter().position(|kept| len <= *kept);
        let number = number.filter(|_| len >= SHORT_BYTES);
        let kept = number.and_then(|number| with_kept(number, Vec::pop)?);
        let new = || vec![0; number.map_or(len, |number| LENGTHS[number])];
        Self {
            bytes: kept.unwrap_or_else(new),
            len,
        }
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
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(number) = LENGTHS.iter().position(|kept| bytes.len() == *kept) {
            with_kept(number, |kept| {
                if kept.len() < MAX_KEPT {
                    kept.push(bytes);
                }
            });
        }
    }
}

/// What `run` makes of the buffers that this thread keeps of a length. `None` if the thread is about to end.
fn with_kept<T>(number: usize, run: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> Option<T> {
    let kept = KEPT.try_with(|kept| kept.borrow_mut().get_mut(number).map(run));
    kept.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> [usize; LENGTHS.len()] {
        KEPT.with(|kept| kept.borrow().each_ref().map(Vec::len))
    }

    #[test]
    fn a_buffer_is_used_again_when_all_of_its_bytes_are_dropped() {
        let mut buffer = ReadBuffer::new(LENGTHS[1] + 1);
        buffer.bytes_mut().fill(7);
        let address = buffer.as_ref().as_ptr();
        let bytes = buffer.into_bytes();
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((part.len(), kept()), (10, [0, 0, 0]));
        drop(part);
        assert_eq!(kept(), [0, 0, 1]);
        let again = ReadBuffer::new(LENGTHS[2]);
        assert_eq!(again.as_ref().as_ptr(), address);
        assert_eq!((again.as_ref().len(), kept()), (LENGTHS[2], [0, 0, 0]));
    }

    #[test]
    fn short_and_very_long_buffers_are_not_kept_and_of_others_a_limited_number_is() {
        for len in [0, 1, SHORT_BYTES - 1, LENGTHS[2] + 1] {
            let buffer = ReadBuffer::new(len);
            assert_eq!(buffer.as_ref(), vec![0; len]);
            drop(buffer);
            assert_eq!(kept(), [0, 0, 0]);
        }
        for len in [SHORT_BYTES, LENGTHS[0] + 1, LENGTHS[2]] {
            let buffers: Vec<_> = (0..2 * MAX_KEPT).map(|_| ReadBuffer::new(len)).collect();
            drop(buffers);
        }
        assert_eq!(kept(), [MAX_KEPT; 3]);
    }
}
