//! Buffers for what is read and written, which the connections of one worker share.
//!
//! A connection has a buffer only while bytes are in it, so a connection that waits for a request has none.

use std::cell::RefCell;

use bytes::BytesMut;

/// Most buffers that wait for use.
const MAX_SPARE: usize = 16;
/// A buffer that has grown beyond this is not used again, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// Empty buffers of one worker.
#[derive(Default)]
pub(super) struct SpareBuffers(RefCell<Vec<BytesMut>>);

impl SpareBuffers {
    /// An empty buffer, which has been used before if there is one.
    pub(super) fn take(&self) -> BytesMut {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back. What is in it is dropped.
    pub(super) fn give(&self, mut buffer: BytesMut) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < MAX_SPARE && (1..=MAX_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_number_of_limited_buffers_waits_for_use() {
        let buffers = SpareBuffers::default();
        buffers.give(BytesMut::from(&b"used"[..]));
        let used = buffers.take();
        assert!(used.is_empty() && used.capacity() >= 4);
        for capacity in [0, MAX_BYTES + 1] {
            buffers.give(BytesMut::with_capacity(capacity));
            assert_eq!(buffers.take().capacity(), 0);
        }
        for _ in 0..2 * MAX_SPARE {
            buffers.give(BytesMut::with_capacity(1));
        }
        let spare = (0..2 * MAX_SPARE).map(|_| buffers.take());
        assert_eq!(
            spare.filter(|buffer| buffer.capacity() > 0).count(),
            MAX_SPARE
        );
    }
}
