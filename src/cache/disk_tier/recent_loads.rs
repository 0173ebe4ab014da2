//! Which keys were read from disk not long ago, so that what is asked for once does not displace what is in memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// One key is remembered for so many bytes of memory.
const REMEMBERED_BYTES: u64 = 2048;
const MAX_REMEMBERED: u64 = 1 << 19;
/// Loads are counted in units of so many bytes.
const UNIT_BYTES: u64 = 256;
/// A remembered load has the count of units in these lower bits, and a part of the hash of its key above.
const COUNT_BITS: u32 = 40;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// The keys of the last responses that were sent from disk without being put into memory. All workers share it.
///
/// A key is recent if it was read within the last reads of as many bytes as memory holds. Each key has one place, so of two keys with
/// the same place the later one is remembered.
#[derive(Debug)]
pub(in crate::cache) struct RecentLoads {
    places: Box<[AtomicU64]>,
    /// How many units were read.
    units: AtomicU64,
    window_units: u64,
}

impl RecentLoads {
    /// For a memory of so many bytes.
    pub(in crate::cache) fn new(memory_bytes: u64) -> Self {
        let places = (memory_bytes / REMEMBERED_BYTES).clamp(64, MAX_REMEMBERED);
        let window_units = (memory_bytes / UNIT_BYTES).clamp(1, COUNT_MASK / 4);
        Self {
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            // What is in no place yet is not recent.
            units: AtomicU64::new(2 * window_units),
            window_units,
        }
    }

    /// True if the key with this hash was read not long ago. It is not any more then; otherwise it is from now on.
    pub(in crate::cache) fn take_or_note(&self, hash: u64) -> bool {
        let number = usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default();
        let Some(place) = self.places.get(number % self.places.len().max(1)) else {
            return false;
        };
        let part = hash >> COUNT_BITS << COUNT_BITS;
        let units = self.units.load(Ordering::Relaxed);
        let noted = place.load(Ordering::Relaxed);
        let since = units.wrapping_sub(noted) & COUNT_MASK;
        let is_recent = noted & !COUNT_MASK == part && since <= self.window_units;
        let next = match is_recent {
            true => 0,
            false => part | units & COUNT_MASK,
        };
        place.store(next, Ordering::Relaxed);
        is_recent
    }

    /// Counts what was read.
    pub(in crate::cache) fn count(&self, bytes: u64) {
        self.units
            .fetch_add(bytes.div_ceil(UNIT_BYTES), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = 1024 * 1024;

    #[test]
    fn a_key_is_recent_until_as_much_was_read_as_memory_holds() {
        let loads = RecentLoads::new(MEMORY);
        let hash = 0x1234_5678_9abc_def0;
        for (between, is_recent) in [(0, true), (MEMORY, true), (MEMORY + 1, false)] {
            let loads = RecentLoads::new(MEMORY);
            assert!(!loads.take_or_note(hash));
            loads.count(between);
            assert_eq!(loads.take_or_note(hash), is_recent, "{between}");
        }
        assert!(!loads.take_or_note(0), "no place is taken yet");
    }

    #[test]
    fn a_key_that_was_recent_once_has_to_be_read_twice_again() {
        let loads = RecentLoads::new(MEMORY);
        let recent = [(); 4].map(|()| loads.take_or_note(7 << 50));
        assert_eq!(recent, [false, true, false, true]);
    }

    #[test]
    fn of_two_keys_with_one_place_the_later_one_is_remembered() {
        let loads = RecentLoads::new(MEMORY);
        let (one, other) = (1 << 50, 2 << 50);
        assert!(!loads.take_or_note(one));
        assert!(!loads.take_or_note(other));
        assert!(!loads.take_or_note(one));
        assert!(loads.take_or_note(one));
    }
}
