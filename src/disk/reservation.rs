//! The space that is set aside for a body while it arrives.

use std::sync::{Arc, atomic::Ordering};

use crate::disk::{
    large_file::large_file_bytes,
    shared::{DiskNumbers, DiskShared},
};

/// In such steps space is set aside for a body whose length is not known, in bytes.
const STEP_BYTES: u64 = 4 * 1024 * 1024;

/// Space for a body that arrives, until this is dropped. Such bodies together get a part of the space of the store, so that
/// they do not push out all that is finished. No record names them, so they cannot make room for others.
pub(super) struct Reservation {
    shared: Arc<DiskShared>,
    bytes: u64,
}

impl Reservation {
    /// Space for a body of this length; the first step if the length is not known. `None` if there is none.
    pub(super) fn new(shared: &Arc<DiskShared>, length: Option<u64>) -> Option<Self> {
        let mut reservation = Self {
            shared: shared.clone(),
            bytes: 0,
        };
        let bytes = length.map_or(STEP_BYTES, large_file_bytes);
        reservation.add(bytes).then_some(reservation)
    }

    /// Sets space aside for a body of at least this length. False if there is none: the body counts as dropped.
    pub(super) fn grow_to(&mut self, length: u64) -> bool {
        let missing = large_file_bytes(length).saturating_sub(self.bytes);
        let has_space = missing == 0 || self.add(missing.max(STEP_BYTES)) || self.add(missing);
        if !has_space {
            DiskNumbers::add(&self.shared.numbers.dropped, 1);
        }
        has_space
    }

    /// How much is set aside.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn add(&mut self, bytes: u64) -> bool {
        let limit = self.shared.limits.arriving_bytes();
        let arriving = &self.shared.numbers.arriving_bytes;
        let with_more = |arriving: u64| arriving.checked_add(bytes).filter(|sum| *sum <= limit);
        let added = arriving.fetch_update(Ordering::SeqCst, Ordering::SeqCst, with_more);
        if added.is_ok() {
            self.bytes += bytes;
        }
        added.is_ok()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        DiskNumbers::subtract(&self.shared.numbers.arriving_bytes, self.bytes);
    }
}
