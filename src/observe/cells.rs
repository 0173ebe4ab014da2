//! Numbers that one thread writes and others read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Adds to one of `counts`; nothing if there is none at `index`. Only one thread may do so, so it is a plain load and store.
#[inline]
pub(super) fn add(counts: &[AtomicU64], index: usize, number: u64) {
    if let Some(count) = counts.get(index) {
        let counted = count.load(Ordering::Relaxed);
        count.store(counted.wrapping_add(number), Ordering::Relaxed);
    }
}

/// Adds each of `counts` to the number at its place.
pub(super) fn add_all(sums: &mut [u64], counts: &[AtomicU64]) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
    }
}

/// Subtracts what was counted before.
pub(super) fn subtract(counts: &mut [u64], earlier: &[u64]) {
    for (now, before) in counts.iter_mut().zip(earlier) {
        *now = now.saturating_sub(*before);
    }
}
