//! The table of stored responses, and its counts.
//!
//! Every change of the underlying `quick_cache` is a method of [`EntryTable`], so the counts cannot differ from the
//! content. They rely on two properties of the pinned version:
//!
//! - A value leaves the cache in one of two ways. `remove` returns it, or the hook `Lifecycle::on_evict` reports it.
//!   The hook also gets a value that was replaced, or refused because it is too large.
//! - Only `insert` and `set_capacity` call the hook. So its reports are settled at the end of these two methods.
//!
//! No method walks or frees without bound. All keys are listed in [`Slots`], for walks that pause. The partitions of one
//! resource are invalidated by a new epoch of the resource ([`StoredKeyRef`]), and removed later, a step at a time
//! ([`EntryTable::sweep`]). Large values are freed in another thread ([`Disposal`]).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::cache::{
    found::Cleared,
    store::{
        budget::Budget,
        disposal::Disposal,
        entry::Entry,
        key::{Key, Partition, Resource, StoredKey, StoredKeyRef},
        lifecycle::{LeftValues, QuickCache, quick_cache},
        slots::Slots,
        variants::{StoredPlace, Variants, total_bytes},
    },
};

/// Values of this many bytes and more are freed in another thread.
const LARGE_BYTES: u64 = 64 * 1024;
/// A table of so few keys is freed where it is cleared, if it is not large.
const FEW: usize = 64;

/// The stored responses by key.
pub(in crate::cache) struct EntryTable {
    cache: QuickCache,
    left: LeftValues,
    keys: Slots<StoredKey>,
    /// The resources that have keys with an identity or a body.
    resources: HashMap<Resource, ResourceRecord>,
    /// What earlier epochs of resources have left in `cache`.
    outdated: VecDeque<OutdatedEpoch>,
    outdated_bytes: u64,
    /// The responses in `cache`, without outdated ones.
    entries: u64,
    /// The responses that were evicted.
    evictions: u64,
    /// The number of the last change or epoch.
    changes: u64,
    budget: Arc<Budget>,
    disposal: Disposal,
}

/// The keys of a resource that have an identity or a body.
#[derive(Debug, Default)]
struct ResourceRecord {
    epoch: u64,
    partitions: Slots<Partition>,
    total: Cleared,
}

/// The keys of a resource that an invalidation has left behind.
#[derive(Debug)]
struct OutdatedEpoch {
    resource: Resource,
    epoch: u64,
    partitions: Slots<Partition>,
    /// The number of the next one to remove.
    next: usize,
}

impl EntryTable {
    /// An empty table for `capacity` bytes. The memory of its keys is counted against `budget`.
    pub(in crate::cache) fn new(capacity: u64, budget: Arc<Budget>) -> Self {
        let left = LeftValues::default();
        Self {
            cache: quick_cache(capacity, &left),
            left,
            keys: Slots::default(),
            resources: HashMap::new(),
            outdated: VecDeque::new(),
            outdated_bytes: 0,
            entries: 0,
            evictions: 0,
            changes: 0,
            budget,
            disposal: Disposal::default(),
        }
    }

    /// The key as the table has it now; `None` if nothing is stored for it.
    fn stored_key<'a>(&self, key: &'a Key) -> Option<StoredKeyRef<'a>> {
        let epoch = match key.partition().is_plain() {
            true => 0,
            false => self.resources.get(&key.resource)?.epoch,
        };
        Some(StoredKeyRef { key, epoch })
    }

    /// The responses for `key`. This counts as a use.
    pub(in crate::cache) fn get(&self, key: &Key) -> Option<&Variants> {
        self.cache.get(&self.stored_key(key)?)
    }

    /// The responses for `key`. This does not count as a use.
    pub(in crate::cache) fn peek(&self, key: &Key) -> Option<&Variants> {
        self.cache.peek(&self.stored_key(key)?)
    }

    /// The memory that `variants` would use under `key`, in bytes.
    pub(in crate::cache) fn weight_of(key: &Key, variants: &[Arc<Entry>]) -> u64 {
        total_bytes(variants) + key.heap_bytes()
    }

    /// Inserts `variants` for `key`, in place of those stored. Hits and rank of the key stay. Returns false if they do not
    /// fit; then nothing is stored for `key`.
    pub(in crate::cache) fn insert(&mut self, key: &Key, variants: Vec<Arc<Entry>>) -> bool {
        let previous = self.peek(key).map(|previous| {
            // The new responses may have the same bodies.
            previous.release();
            (previous.place(), previous.hits())
        });
        let stored = self.key_to_store(key);
        let (mut place, hits) = previous.unwrap_or_else(|| (self.list(&stored), 0));
        self.changes += 1;
        place.change = self.changes;
        let charge = self.budget.charge(key.heap_bytes());
        let variants = Variants::new(variants, charge, place, hits);
        // If the cache refuses them, they are reported, and subtracted again.
        self.add_to_counts(&stored, &variants);
        self.cache.insert(stored.clone(), variants);
        self.settle(Some(&stored));
        let is_stored = self.cache.contains_key(&stored);
        if !is_stored {
            self.unlist(&stored, place);
        }
        is_stored
    }

    /// The key under which responses for `key` are stored.
    fn key_to_store(&mut self, key: &Key) -> StoredKey {
        if !key.partition().is_plain() && !self.resources.contains_key(&key.resource) {
            self.changes += 1;
            let record = ResourceRecord {
                epoch: self.changes,
                ..ResourceRecord::default()
            };
            self.resources.insert(key.resource.clone(), record);
        }
        let stored = self.stored_key(key);
        StoredKey::from(stored.unwrap_or(StoredKeyRef { key, epoch: 0 }))
    }

    /// Adds a key to the lists.
    fn list(&mut self, stored: &StoredKey) -> StoredPlace {
        let record = match stored.epoch() {
            Some(_) => self.resources.get_mut(stored.resource()),
            None => None,
        };
        let partition = stored.partition();
        StoredPlace {
            slot: self.keys.insert(stored.clone()),
            shelf: record.map_or(0, |record| record.partitions.insert(partition)),
            change: 0,
        }
    }

    /// Removes a key from the lists.
    fn unlist(&mut self, stored: &StoredKey, place: StoredPlace) {
        self.keys.remove(place.slot);
        let Some(record) = self.current_record(stored) else {
            return;
        };
        record.partitions.remove(place.shelf);
        if record.partitions.is_empty() {
            self.resources.remove(stored.resource());
        }
    }

    /// The record of a key with an identity or a body; `None` if it has neither, or is outdated.
    fn current_record(&mut self, stored: &StoredKey) -> Option<&mut ResourceRecord> {
        let epoch = stored.epoch()?;
        let record = self.resources.get_mut(stored.resource())?;
        (record.epoch == epoch).then_some(record)
    }

    /// True if an invalidation has left the key behind.
    fn is_outdated(&self, stored: &StoredKey) -> bool {
        !self.outdated.is_empty()
            && stored.epoch().is_some_and(|epoch| {
                let record = self.resources.get(stored.resource());
                record.is_none_or(|record| record.epoch != epoch)
            })
    }

    fn add_to_counts(&mut self, stored: &StoredKey, variants: &Variants) {
        self.entries += variants.entries();
        if let Some(record) = self.current_record(stored) {
            record.total.entries += variants.entries();
            record.total.bytes += variants.weight_bytes();
        }
    }

    /// Subtracts what has left the cache. Returns the number of responses, without outdated ones.
    fn subtract_from_counts(&mut self, stored: &StoredKey, variants: &Variants) -> u64 {
        variants.release();
        if self.is_outdated(stored) {
            self.outdated_bytes -= variants.weight_bytes();
            return 0;
        }
        self.entries -= variants.entries();
        if let Some(record) = self.current_record(stored) {
            record.total.entries -= variants.entries();
            record.total.bytes -= variants.weight_bytes();
        }
        variants.entries()
    }

    /// Removes the responses for `key`. Returns what was removed.
    pub(in crate::cache) fn remove(&mut self, key: &Key) -> Cleared {
        let stored = self.stored_key(key);
        let removed = stored.and_then(|stored| self.cache.remove(&stored));
        let Some((stored, variants)) = removed else {
            return Cleared::default();
        };
        let cleared = Cleared {
            entries: self.subtract_from_counts(&stored, &variants),
            bytes: variants.weight_bytes(),
        };
        self.unlist(&stored, variants.place());
        self.free(vec![(stored, variants)]);
        cleared
    }

    /// Removes all keys of `resource`, of every identity and every body. Most of their memory is freed by [`EntryTable::sweep`].
    pub(in crate::cache) fn remove_resource(&mut self, resource: &Resource) -> Cleared {
        let mut cleared = self.remove(&Partition::default().of(resource.clone()));
        if let Some(record) = self.resources.remove(resource) {
            cleared.entries += record.total.entries;
            cleared.bytes += record.total.bytes;
            self.entries -= record.total.entries;
            self.outdated_bytes += record.total.bytes;
            self.outdated.push_back(OutdatedEpoch {
                resource: resource.clone(),
                epoch: record.epoch,
                partitions: record.partitions,
                next: 0,
            });
        }
        cleared
    }

    /// Removes up to `keys` outdated keys from memory. Returns true if there are more.
    pub(in crate::cache) fn sweep(&mut self, keys: usize) -> bool {
        let mut removed = Vec::new();
        for _ in 0..keys {
            let Some(outdated) = self.outdated.front_mut() else {
                break;
            };
            if outdated.next >= outdated.partitions.end() {
                self.outdated.pop_front();
                continue;
            }
            let partition = outdated.partitions.remove(outdated.next);
            outdated.next += 1;
            let (resource, epoch) = (outdated.resource.clone(), outdated.epoch);
            let Some(partition) = partition else { continue };
            let key = partition.of(resource);
            let stored = StoredKeyRef { key: &key, epoch };
            if let Some((stored, variants)) = self.cache.remove(&stored) {
                self.subtract_from_counts(&stored, &variants);
                self.keys.remove(variants.place().slot);
                removed.push((stored, variants));
            }
        }
        self.free(removed);
        !self.outdated.is_empty()
    }

    /// Changes the capacity to `capacity` bytes, and evicts what does not fit any more.
    pub(in crate::cache) fn set_capacity(&mut self, capacity: u64) {
        self.cache.set_capacity(capacity);
        self.settle(None);
    }

    /// Removes everything. Another thread frees it.
    pub(in crate::cache) fn clear(&mut self, capacity: u64) -> Cleared {
        let cleared = Cleared {
            entries: self.entries,
            bytes: self.weight_bytes(),
        };
        let mut cache = std::mem::replace(&mut self.cache, quick_cache(capacity, &self.left));
        let lists = (
            std::mem::take(&mut self.keys),
            std::mem::take(&mut self.resources),
            std::mem::take(&mut self.outdated),
        );
        (self.entries, self.outdated_bytes) = (0, 0);
        if cache.len() <= FEW && cache.weight() < LARGE_BYTES {
            return cleared;
        }
        let budget = Arc::clone(&self.budget);
        budget.promise(cache.weight());
        self.disposal.run(move || {
            for (key, variants) in cache.drain() {
                budget.keep_promise(variants.weight_bytes());
                drop((key, variants));
            }
            drop((cache, lists));
        });
        cleared
    }

    /// Frees values that have left the cache, here if they are small.
    fn free(&self, values: Vec<(StoredKey, Variants)>) {
        let bytes = values.iter().map(|(_, variants)| variants.weight_bytes());
        let bytes: u64 = bytes.sum();
        if bytes < LARGE_BYTES {
            return;
        }
        let budget = Arc::clone(&self.budget);
        budget.promise(bytes);
        self.disposal.run(move || {
            for (key, variants) in values {
                budget.keep_promise(variants.weight_bytes());
                drop((key, variants));
            }
        });
    }

    /// Frees `garbage` in another thread.
    pub(in crate::cache) fn free_elsewhere(&self, garbage: impl Send + 'static) {
        self.disposal.run(move || drop(garbage));
    }

    /// Counts the values that the cache has reported. `inserted` is the key of the insertion that has just been made;
    /// `None` if the capacity was changed.
    fn settle(&mut self, inserted: Option<&StoredKey>) {
        let left = self.left.take();
        for (stored, variants) in &left {
            let entries = self.subtract_from_counts(stored, variants);
            // A value of the inserted key was replaced or refused, and its insertion updates the lists.
            if inserted != Some(stored) {
                self.evictions += entries;
                self.unlist(stored, variants.place());
            }
        }
        self.free(left);
    }

    /// Shows `see` the keys from number `from` on, as long as it returns true. Returns the number of the next one; `None` at the
    /// end. Keys that are there from the beginning of a walk to its end are seen once.
    pub(in crate::cache) fn walk(
        &self,
        from: usize,
        mut see: impl FnMut(Option<(&StoredKey, &Variants)>) -> bool,
    ) -> Option<usize> {
        for slot in from..self.keys.end() {
            let stored = self.keys.get(slot);
            let stored = stored.filter(|stored| !self.is_outdated(stored));
            let variants = stored.and_then(|stored| Some((stored, self.cache.peek(stored)?)));
            if !see(variants) {
                return Some(slot + 1);
            }
        }
        None
    }

    /// The same as [`EntryTable::walk`], for the keys of `resource`, of every identity and every body.
    pub(in crate::cache) fn walk_resource(
        &self,
        resource: &Resource,
        from: usize,
        mut see: impl FnMut(Option<(&Key, &Variants)>) -> bool,
    ) -> Option<usize> {
        let record = self.resources.get(resource);
        let end = record.map_or(0, |record| record.partitions.end());
        for number in from..=end {
            let partition = match number.checked_sub(1) {
                None => Some(Partition::default()),
                Some(shelf) => record.and_then(|record| record.partitions.get(shelf).copied()),
            };
            let key = partition.map(|partition| partition.of(resource.clone()));
            let variants = key.as_ref().and_then(|key| Some((key, self.peek(key)?)));
            if !see(variants) {
                return Some(number + 1);
            }
        }
        None
    }

    /// The number of stored responses.
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.entries
    }

    /// The number of responses that were evicted since the start.
    pub(in crate::cache) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The memory of all stored responses and their keys, in bytes.
    pub(in crate::cache) fn weight_bytes(&self) -> u64 {
        self.cache.weight() - self.outdated_bytes
    }

    /// The memory in the table, in bytes, with what [`EntryTable::sweep`] has not freed yet.
    pub(in crate::cache) fn held_bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// The most that the table holds, in bytes.
    pub(in crate::cache) fn capacity(&self) -> u64 {
        self.cache.capacity()
    }
}

impl Drop for EntryTable {
    fn drop(&mut self) {
        self.clear(1);
    }
}
