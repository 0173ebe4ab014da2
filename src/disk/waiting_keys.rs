//! The keys of responses that wait to be written.
//!
//! Until a response is written, the index has the one before it, if there is one. That is not the newest any more, so it is not
//! found meanwhile.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::disk::address::KeyHash;

/// With more places, fewer keys share one.
const PLACES: usize = 1 << 15;
/// An odd number whose bits have no order.
const MIXER: u64 = 0x9e37_79b9_7f4a_7c15;
/// The lower bits of a place, which count.
const COUNT_MASK: u64 = u16::MAX as u64;

/// The keys that wait. Each has a place, which is the sum of the units of all that wait there: a part of a hash, and a count of 1.
#[derive(Debug)]
pub(super) struct WaitingKeys(Box<[AtomicU64]>);

/// A key waits as long as this is there.
#[derive(Debug)]
pub(super) struct WaitingKey {
    key: KeyHash,
    keys: Arc<WaitingKeys>,
}

impl WaitingKeys {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self((0..PLACES).map(|_| AtomicU64::new(0)).collect()))
    }

    /// Notes that a response of `key` waits.
    pub(super) fn add(self: &Arc<Self>, key: KeyHash) -> WaitingKey {
        let (place, unit) = self.place(key);
        place.fetch_add(unit, Ordering::SeqCst);
        WaitingKey {
            key,
            keys: Arc::clone(self),
        }
    }

    /// True if a response of `key` waits. It may be true too if several others wait at its place.
    pub(super) fn has(&self, key: KeyHash) -> bool {
        let (place, unit) = self.place(key);
        let sum = place.load(Ordering::SeqCst);
        sum != 0 && (sum & COUNT_MASK != 1 || sum == unit)
    }

    fn place(&self, key: KeyHash) -> (&AtomicU64, u64) {
        let [resource, rest] = key.words();
        // Those of one resource have places of their own.
        let mixed = rest.wrapping_mul(MIXER);
        let hash = resource ^ mixed ^ (mixed >> 32);
        let number = usize::try_from(hash & COUNT_MASK).unwrap_or_default();
        (&self.0[number % PLACES], (hash & !COUNT_MASK) | 1)
    }
}

impl WaitingKey {
    pub(super) fn key(&self) -> KeyHash {
        self.key
    }
}

impl Drop for WaitingKey {
    fn drop(&mut self) {
        let (place, unit) = self.keys.place(self.key);
        place.fetch_sub(unit, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_until_each_of_its_responses_is_written() {
        let keys = WaitingKeys::new();
        // The first two have the same place.
        let [a, b, c] = [[1 << 20, 0], [1 << 21, 0], [7, 1 << 60]].map(KeyHash::from_words);
        let first = keys.add(a);
        assert_eq!([a, b, c].map(|key| keys.has(key)), [true, false, false]);
        let second = keys.add(a);
        let other = keys.add(b);
        drop(first);
        assert_eq!([a, b, c].map(|key| keys.has(key)), [true, true, false]);
        drop(second);
        assert_eq!([a, b, c].map(|key| keys.has(key)), [false, true, false]);
        drop(other);
        assert_eq!([a, b, c].map(|key| keys.has(key)), [false; 3]);
    }
}
