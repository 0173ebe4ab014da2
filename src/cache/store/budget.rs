//! How much memory the cache may hold, and who holds it now.
//!
//! Every piece of a body and every stored head carries a [`Charge`]. It is given back when the last holder lets go:
//! the store, a fill on its way in, or a slow reader of something that was evicted long ago. So the sum is what is
//! really held, not what the store believes.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Fetches that may go on at the same time without anybody reading along: each holds a connection to the origin.
const MAX_UNATTENDED: u64 = 64;

/// The bytes that may be held, and those that are.
#[derive(Debug)]
pub(in crate::cache) struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    unattended: AtomicU64,
}

impl Budget {
    /// A budget of `limit_bytes`, of which nothing is used.
    pub(in crate::cache) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            unattended: AtomicU64::new(0),
        })
    }

    /// The bytes that may be held.
    pub(in crate::cache) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The bytes that are held now.
    pub(in crate::cache) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// True when `bytes` more would stay within the limit.
    pub(in crate::cache) fn has_room(&self, bytes: u64) -> bool {
        self.used_bytes().saturating_add(bytes) <= self.limit_bytes
    }

    /// Counts `bytes` as held until the charge is dropped. Never refuses: ask [`Budget::has_room`] first.
    pub(in crate::cache) fn charge(self: &Arc<Self>, bytes: u64) -> Charge {
        self.take(bytes);
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Counts `bytes` as held until they are given back, like [`Budget::charge`]; for what is so small and so many that
    /// a charge of its own would cost more than it should.
    pub(in crate::cache) fn take(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` that were taken as held no more.
    pub(in crate::cache) fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The leave of a fetch to go on without readers, until this is dropped.
#[derive(Debug)]
pub(in crate::cache) struct UnattendedPermit(Arc<Budget>);

impl UnattendedPermit {
    /// None: too many do already.
    pub(in crate::cache) fn new(budget: &Arc<Budget>) -> Option<Self> {
        // Counted first, so that no two can take the last place.
        let unattended = Self(Arc::clone(budget));
        let others = budget.unattended.fetch_add(1, Ordering::Relaxed);
        (others < MAX_UNATTENDED).then_some(unattended)
    }
}

impl Drop for UnattendedPermit {
    fn drop(&mut self) {
        self.0.unattended.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes counted against a [`Budget`] for as long as this lives.
#[derive(Debug)]
pub(in crate::cache) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    pub(in crate::cache) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_when_it_is_dropped() {
        let budget = Budget::new(100);
        let charge = budget.charge(60);
        assert_eq!(budget.used_bytes(), 60);
        assert!(budget.has_room(40));
        assert!(!budget.has_room(41));
        drop(charge);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn only_so_many_fetches_go_on_without_readers() {
        let budget = Budget::new(100);
        let mut leaves: Vec<_> = (0..MAX_UNATTENDED)
            .map(|_| UnattendedPermit::new(&budget).unwrap())
            .collect();
        assert!(UnattendedPermit::new(&budget).is_none());
        leaves.pop();
        assert!(UnattendedPermit::new(&budget).is_some());
    }

    #[test]
    fn room_for_more_than_can_be_counted_is_refused() {
        let budget = Budget::new(100);
        let _charge = budget.charge(1);
        assert!(!budget.has_room(u64::MAX));
    }
}
