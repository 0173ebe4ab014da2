//! The space that is set aside for bodies while they arrive.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::disk::large_file::large_file_bytes;

/// In such steps space is set aside for a body whose length is not known, in bytes.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// The space of all bodies that arrive. It is a part of the space of the store, so that they do not push out all that is
/// finished. No record names them, so they cannot make room for others.
#[derive(Debug)]
pub(super) struct ArrivingSpace {
    limit_bytes: u64,
    bytes: AtomicU64,
    /// How many bodies had no space.
    refused: AtomicU64,
}

/// Space for a body that arrives, until this is dropped.
pub(super) struct Reservation {
    space: Arc<ArrivingSpace>,
    bytes: u64,
}

impl ArrivingSpace {
    /// Space of so many bytes.
    pub(super) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// Space for a body of this length; the first step if the length is not known. `None` if there is none.
    pub(super) fn reserve(self: &Arc<Self>, length: Option<u64>) -> Option<Reservation> {
        let mut reservation = Reservation {
            space: self.clone(),
            bytes: 0,
        };
        let bytes = length.map_or(STEP_BYTES, large_file_bytes);
        let is_there = reservation.add(bytes);
        if !is_there {
            self.count_refused();
        }
        is_there.then_some(reservation)
    }

    /// How many bodies had no space.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl Reservation {
    /// Sets space aside for a body of at least this length. False if there is none.
    pub(super) fn grow_to(&mut self, length: u64) -> bool {
        let missing = large_file_bytes(length).saturating_sub(self.bytes);
        let is_there = missing == 0 || self.add(missing.max(STEP_BYTES)) || self.add(missing);
        if !is_there {
            self.space.count_refused();
        }
        is_there
    }

    /// How much is set aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, bytes: u64) -> bool {
        let limit = self.space.limit_bytes;
        let with_more = |sum: u64| sum.checked_add(bytes).filter(|sum| *sum <= limit);
        let all = &self.space.bytes;
        let added = all.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with_more);
        if added.is_ok() {
            self.bytes += bytes;
        }
        added.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_set_aside_in_steps_and_given_back() {
        let space = ArrivingSpace::new(3 * STEP_BYTES);
        let mut unknown = space.reserve(None).unwrap();
        assert_eq!(unknown.bytes(), STEP_BYTES);
        assert!(unknown.grow_to(1000) && unknown.bytes() == STEP_BYTES);
        assert!(unknown.grow_to(STEP_BYTES) && unknown.bytes() == 2 * STEP_BYTES);
        let known = space.reserve(Some(1000)).unwrap();
        assert_eq!(known.bytes(), large_file_bytes(1000));
        // No whole step is left, but enough.
        assert!(unknown.grow_to(2 * STEP_BYTES));
        assert!(unknown.bytes() < 3 * STEP_BYTES);
        assert!(space.reserve(None).is_none() && !unknown.grow_to(3 * STEP_BYTES));
        assert_eq!(space.refused(), 2);
        drop(known);
        assert!(space.reserve(Some(u64::MAX)).is_none());
        drop(unknown);
        assert_eq!(space.bytes.load(Ordering::SeqCst), 0);
    }
}
