//! The `quick_cache` beneath the table: weights, and the values that leave it.

use std::{
    collections::hash_map::RandomState,
    sync::{Arc, Mutex, PoisonError},
};

use quick_cache::{Lifecycle, Weighter, unsync};

use crate::cache::store::{key::StoredKey, variants::Variants};

/// The expected size of an entry, in bytes. It determines how many evicted keys the cache remembers.
const TYPICAL_ENTRY_BYTES: u64 = 4096;

/// Keeps what is used often, within a capacity in bytes.
pub(in crate::cache) type QuickCache =
    unsync::Cache<StoredKey, Variants, VariantsWeight, RandomState, LeftValues>;

/// An empty cache that reports to `left`.
pub(in crate::cache) fn quick_cache(capacity: u64, left: &LeftValues) -> QuickCache {
    let items = usize::try_from(capacity / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
    QuickCache::with(
        items,
        capacity,
        VariantsWeight,
        RandomState::new(),
        left.clone(),
    )
}

/// The weight of what is stored for a key: its memory in bytes.
#[derive(Clone)]
pub(in crate::cache) struct VariantsWeight;

impl Weighter<StoredKey, Variants> for VariantsWeight {
    fn weight(&self, _: &StoredKey, variants: &Variants) -> u64 {
        variants.weight_bytes()
    }
}

/// The values that have left the cache. The lock is never contended: it only makes the table `Send`, so that another thread
/// can free it.
#[derive(Clone, Default)]
pub(in crate::cache) struct LeftValues(Arc<Mutex<Vec<(StoredKey, Variants)>>>);

impl LeftValues {
    /// Takes the values that have left since the last call.
    pub(in crate::cache) fn take(&self) -> Vec<(StoredKey, Variants)> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *left)
    }
}

impl Lifecycle<StoredKey, Variants> for LeftValues {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), key: StoredKey, variants: Variants) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.push((key, variants));
    }
}
