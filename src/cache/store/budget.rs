//! The memory budget of the cache.
//!
//! Every piece of a body and every stored head carries a [`Charge`]. The charge is returned when the last holder drops
//! the memory: the store, a fetch under way, or a slow reader of a response that was evicted. So the sum is the memory
//! that is really used.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Fetches that may run at the same time without a reader. Each of them holds a connection to the origin.
const MAX_UNATTENDED: u64 = 64;

/// The bytes that may be used, and those that are.
#[derive(Debug)]
pub(in crate::cache) struct Budget {
    limit_bytes: u64,
    used_bytes: AtomicU64,
    /// Part of `used_bytes` that another thread is about to free.
    promised_bytes: AtomicU64,
    unattended: AtomicU64,
}

impl Budget {
    /// A budget of `limit_bytes`; nothing of it is used.
    pub(in crate::cache) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes,
            used_bytes: AtomicU64::new(0),
            promised_bytes: AtomicU64::new(0),
            unattended: AtomicU64::new(0),
        })
    }

    /// The bytes that may be used.
    pub(in crate::cache) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// The bytes that are used now, without those that another thread is about to free.
    pub(in crate::cache) fn used_bytes(&self) -> u64 {
        // In this order: what is freed between the two counts as used.
        let used = self.used_bytes.load(Ordering::Acquire);
        used.saturating_sub(self.promised_bytes.load(Ordering::Acquire))
    }

    /// True if more than the limit is used until what another thread frees is free.
    pub(in crate::cache) fn is_overdrawn(&self) -> bool {
        self.used_bytes.load(Ordering::Relaxed) > self.limit_bytes
    }

    /// True if `bytes` more are within the limit.
    pub(in crate::cache) fn has_room(&self, bytes: u64) -> bool {
        self.used_bytes().saturating_add(bytes) <= self.limit_bytes
    }

    /// Counts `bytes` as used until the charge is dropped. It never refuses: check [`Budget::has_room`] first.
    pub(in crate::cache) fn charge(self: &Arc<Self>, bytes: u64) -> Charge {
        self.take(bytes);
        Charge {
            budget: Arc::clone(self),
            bytes,
        }
    }

    /// Counts `bytes` as used until [`Budget::give_back`]. It is for small and numerous objects, for which a charge would
    /// cost too much.
    pub(in crate::cache) fn take(&self, bytes: u64) {
        self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts `bytes` that another thread is about to free as unused, until [`Budget::keep_promise`].
    pub(in crate::cache) fn promise(&self, bytes: u64) {
        self.promised_bytes.fetch_add(bytes, Ordering::Release);
    }

    /// Ends a promise of `bytes`. They are freed after this call.
    pub(in crate::cache) fn keep_promise(&self, bytes: u64) {
        self.promised_bytes.fetch_sub(bytes, Ordering::Release);
    }

    /// Counts `bytes` that were taken as unused again.
    pub(in crate::cache) fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Release);
    }
}

/// The permit of a fetch to run without readers, until this is dropped.
#[derive(Debug)]
pub(in crate::cache) struct UnattendedPermit(Arc<Budget>);

impl UnattendedPermit {
    /// A permit; `None` if too many fetches have one.
    pub(in crate::cache) fn new(budget: &Arc<Budget>) -> Option<Self> {
        // Counting first keeps two fetches from taking the last permit.
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

/// Bytes that count against a [`Budget`] until this is dropped.
#[derive(Debug)]
pub(in crate::cache) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

#[cfg(test)]
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
    fn a_charge_is_returned_when_it_is_dropped() {
        let budget = Budget::new(100);
        let charge = budget.charge(60);
        assert_eq!(budget.used_bytes(), 60);
        assert!(budget.has_room(40));
        assert!(!budget.has_room(41));
        drop(charge);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn the_number_of_fetches_without_readers_is_limited() {
        let budget = Budget::new(100);
        let mut leaves: Vec<_> = (0..MAX_UNATTENDED)
            .map(|_| UnattendedPermit::new(&budget).unwrap())
            .collect();
        assert!(UnattendedPermit::new(&budget).is_none());
        leaves.pop();
        assert!(UnattendedPermit::new(&budget).is_some());
    }

    #[test]
    fn a_budget_beyond_the_range_of_the_counter_is_refused() {
        let budget = Budget::new(100);
        let _charge = budget.charge(1);
        assert!(!budget.has_room(u64::MAX));
    }
}
