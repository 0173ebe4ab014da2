//! The table of stored responses, and its counts.
//!
//! A stored key is in the [index](super::index), where workers find it, and in the [eviction order](super::order). Every
//! change of these two is made here, so the counts cannot differ from the content.
//!
//! No method walks or frees without bound. The partitions of one resource are invalidated by the end of its [`Epoch`], and
//! removed later, a step at a time ([`EntryTable::sweep`]). Large values are freed in another thread ([`Disposal`]).

use std::{collections::VecDeque, sync::Arc};

use arc_swap::Guard;

use crate::cache::{
    found::Cleared,
    store::{
        budget::Budget,
        changes::ChangeCounts,
        disposal::{Disposal, Pace},
        entry::Entry,
        index::{IndexWriter, SharedIndex},
        key::{Key, KeyRef, Resource},
        order::{EvictionOrder, TurnsLeft},
        resource_records::{ResourceRecord, ResourceRecords},
        slots::Slots,
        stored::{Stored, StoredPlace, total_bytes},
        stored_key::{Epoch, StoredKey},
    },
};

/// Values of this many bytes and more are freed in another thread. To wake it costs more than to free a few pieces.
const LARGE_BYTES: u64 = 128 * 1024;
/// A table of so few keys is freed where it is cleared, if it is not large.
const FEW: usize = 64;
/// So many bytes of what is removed one after the other are freed at once, in another thread.
const SET_ASIDE_BYTES: u64 = 1024 * 1024;

/// The stored responses by key.
pub(in crate::cache) struct EntryTable {
    index: IndexWriter,
    order: EvictionOrder,
    resources: ResourceRecords,
    /// What earlier epochs of resources have left behind.
    outdated: VecDeque<OutdatedEpoch>,
    outdated_bytes: u64,
    /// What has been removed and is to be freed with what is removed next.
    aside: Vec<Arc<Stored>>,
    /// The responses, without outdated ones.
    entries: u64,
    /// The responses that were evicted.
    evictions: u64,
    /// The number of the last change.
    last_change: u64,
    budget: Arc<Budget>,
    changes: Arc<ChangeCounts>,
    disposal: Disposal,
}

/// The keys of a resource that an invalidation has left behind.
#[derive(Debug)]
struct OutdatedEpoch {
    epoch: Arc<Epoch>,
    partitions: Slots<usize>,
    /// The number of the next one to remove.
    next: usize,
}

impl EntryTable {
    /// An empty table, which workers read at `index`. The memory of its keys is counted against `budget`.
    pub(in crate::cache) fn new(
        index: SharedIndex,
        budget: Arc<Budget>,
        changes: Arc<ChangeCounts>,
    ) -> Self {
        let limit_bytes = budget.limit_bytes();
        Self {
            index: IndexWriter::new(index, limit_bytes),
            order: EvictionOrder::new(limit_bytes),
            resources: ResourceRecords::default(),
            outdated: VecDeque::new(),
            outdated_bytes: 0,
            aside: Vec::new(),
            entries: 0,
            evictions: 0,
            last_change: 0,
            budget,
            changes,
            disposal: Disposal::default(),
        }
    }

    /// What is stored for `key`. This does not count as a use.
    pub(in crate::cache) fn peek<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Arc<Stored>> {
        Guard::into_inner(self.index.find(key.into()))
    }

    /// The memory that `variants` would use under `key`, in bytes.
    pub(in crate::cache) fn weight_of(key: &Key, variants: &[Arc<Entry>]) -> u64 {
        total_bytes(variants) + key.heap_bytes()
    }

    /// Inserts `variants` for `key`, in the place of `previous` if something is stored. Hits and rank of the key stay. Evicts until the table has no
    /// more than `capacity` bytes. Returns false if they do not fit; then nothing is stored for `key`.
    pub(in crate::cache) fn insert(
        &mut self,
        key: &Key,
        variants: Vec<Arc<Entry>>,
        mut previous: Option<Arc<Stored>>,
        capacity: u64,
    ) -> bool {
        let weight = Self::weight_of(key, &variants);
        if weight > capacity {
            self.remove(key);
            return false;
        }
        let replaced =
            |previous: &Option<Arc<Stored>>| previous.as_ref().map_or(0, |it| it.weight_bytes());
        let mut turns = TurnsLeft::default();
        while self.held_bytes() - replaced(&previous) + weight > capacity && self.evict(&mut turns)
        {
            previous = self.peek(key);
        }
        if let Some(previous) = &previous {
            // The new responses may have the same bodies.
            previous.release();
        }
        let stored = self.stored(key, variants, previous.as_deref());
        self.add_to_counts(&stored);
        match previous {
            Some(previous) => {
                let stored = Arc::new(stored);
                self.index.replace(&previous, Some(Arc::clone(&stored)));
                self.order.replace(stored);
                self.subtract_from_counts(&previous);
                self.free(previous);
            }
            None => {
                let stored = self.index.insert(stored);
                self.order.insert(stored);
            }
        }
        true
    }

    /// `variants` as they are stored for `key`, in the place of `previous` if there is one.
    fn stored(
        &mut self,
        key: &Key,
        variants: Vec<Arc<Entry>>,
        previous: Option<&Stored>,
    ) -> Stored {
        let mut place = previous.map_or_else(|| self.list(key), Stored::place);
        self.last_change += 1;
        place.change = self.last_change;
        let epoch = match key.partition().is_plain() {
            true => None,
            false => self
                .resources
                .get(&key.resource)
                .map(|it| Arc::clone(&it.epoch)),
        };
        let hash = key.keyed_hash();
        let is_guess = variants.iter().any(|entry| entry.head().is_guess());
        Stored::new(
            (StoredKey::new(key, epoch), hash, &self.budget),
            variants,
            self.changes.watch(&key.resource, is_guess),
            place,
            previous,
        )
    }

    /// The place of a key that is about to be inserted.
    fn list(&mut self, key: &Key) -> StoredPlace {
        let slot = self.order.next_slot();
        let shelf = match key.partition().is_plain() {
            true => 0,
            false => self.resources.list(&key.resource, slot),
        };
        StoredPlace::new(slot, shelf)
    }

    /// The record of a key with an identity or a body; `None` if it has neither, or is outdated.
    fn current_record(&mut self, stored: &Stored) -> Option<&mut ResourceRecord> {
        let (resource, epoch) = stored.key.partitioned()?;
        let record = self.resources.get_mut(resource)?;
        Arc::ptr_eq(&record.epoch, epoch).then_some(record)
    }

    fn add_to_counts(&mut self, stored: &Stored) {
        self.entries += stored.entries();
        if let Some(record) = self.current_record(stored) {
            record.total.entries += stored.entries();
            record.total.bytes += stored.weight_bytes();
        }
    }

    /// Subtracts what has left the table. Returns the number of responses, without outdated ones.
    fn subtract_from_counts(&mut self, stored: &Stored) -> u64 {
        stored.release();
        if stored.key.is_outdated() {
            self.outdated_bytes -= stored.weight_bytes();
            return 0;
        }
        self.entries -= stored.entries();
        if let Some(record) = self.current_record(stored) {
            record.total.entries -= stored.entries();
            record.total.bytes -= stored.weight_bytes();
        }
        stored.entries()
    }

    /// Takes a key out of the table. Returns the number of its responses, 0 if they are outdated.
    fn take_out(&mut self, stored: &Arc<Stored>) -> u64 {
        let place = stored.place();
        self.index.replace(stored, None);
        self.order.remove(place.slot());
        let entries = self.subtract_from_counts(stored);
        if let Some(record) = self.current_record(stored) {
            record.partitions.remove(place.shelf());
            if record.partitions.is_empty()
                && let Some((resource, _)) = stored.key.partitioned()
            {
                self.resources.remove(resource);
            }
        }
        entries
    }

    /// Removes what is stored for `key`. Returns what was removed.
    pub(in crate::cache) fn remove<'k>(&mut self, key: impl Into<KeyRef<'k>>) -> Cleared {
        let Some(stored) = self.peek(key) else {
            return Cleared::default();
        };
        let bytes = stored.weight_bytes();
        let entries = self.take_out(&stored);
        self.free(stored);
        Cleared { entries, bytes }
    }

    /// Removes all keys of `resource`, of every identity and every body. Most of their memory is freed by [`EntryTable::sweep`].
    pub(in crate::cache) fn remove_resource(&mut self, resource: &Resource) -> Cleared {
        let mut cleared = self.remove(resource);
        if let Some(record) = self.resources.remove(resource) {
            record.epoch.end();
            cleared.entries += record.total.entries;
            cleared.bytes += record.total.bytes;
            self.entries -= record.total.entries;
            self.outdated_bytes += record.total.bytes;
            self.outdated.push_back(OutdatedEpoch {
                epoch: record.epoch,
                partitions: record.partitions,
                next: 0,
            });
        }
        cleared
    }

    /// Removes up to `keys` outdated keys. Returns true if there are more. Another thread frees them.
    pub(in crate::cache) fn sweep(&mut self, keys: usize) -> bool {
        for _ in 0..keys {
            let Some(outdated) = self.outdated.front_mut() else {
                break;
            };
            if outdated.next >= outdated.partitions.end() {
                let is_large = outdated.next > FEW;
                let emptied = self.outdated.pop_front();
                if is_large {
                    self.free_elsewhere(emptied);
                }
                continue;
            }
            let slot = outdated.partitions.remove(outdated.next);
            outdated.next += 1;
            let stored = slot.and_then(|slot| self.order.get(slot));
            // Another key may have the slot after an eviction.
            let is_left = |stored: &&Arc<Stored>| {
                let epoch = stored.key.epoch();
                epoch.is_some_and(|epoch| Arc::ptr_eq(epoch, &outdated.epoch))
            };
            if let Some(stored) = stored.filter(is_left).map(Arc::clone) {
                self.remove_aside(stored);
            }
        }
        let has_more = !self.outdated.is_empty();
        self.free_aside(has_more);
        has_more
    }

    /// Removes `stored`, which [`EntryTable::free_aside`] frees with what is removed before and after it.
    pub(in crate::cache) fn remove_aside(&mut self, stored: Arc<Stored>) {
        self.take_out(&stored);
        self.budget.promise(stored.weight_bytes());
        self.aside.push(stored);
    }

    /// Frees what was set aside, here if it is small. It waits for more if that `is_expected`.
    pub(in crate::cache) fn free_aside(&mut self, is_expected: bool) {
        if self.aside.is_empty() {
            return;
        }
        let bytes: u64 = self.aside.iter().map(|stored| stored.weight_bytes()).sum();
        if is_expected && bytes < SET_ASIDE_BYTES {
            return;
        }
        let aside = std::mem::take(&mut self.aside);
        let budget = Arc::clone(&self.budget);
        let free = move || free_in_parts(aside.into_iter(), &budget);
        match bytes < LARGE_BYTES {
            true => free(),
            false => self.disposal.run(free),
        }
    }

    /// Evicts one key. Returns false if there is none.
    pub(in crate::cache) fn evict(&mut self, turns: &mut TurnsLeft) -> bool {
        let Some(stored) = self.order.next_to_evict(turns) else {
            return false;
        };
        self.evictions += self.take_out(&stored);
        self.free(stored);
        true
    }

    /// Removes everything. Another thread frees it.
    pub(in crate::cache) fn clear(&mut self) -> Cleared {
        let cleared = Cleared {
            entries: self.entries,
            bytes: self.weight_bytes(),
        };
        self.free_aside(false);
        let index = self.index.clear();
        let limit_bytes = self.budget.limit_bytes();
        let order = std::mem::replace(&mut self.order, EvictionOrder::new(limit_bytes));
        let lists = (
            std::mem::take(&mut self.resources),
            std::mem::take(&mut self.outdated),
        );
        (self.entries, self.outdated_bytes) = (0, 0);
        if order.len() <= FEW && order.bytes() < LARGE_BYTES {
            index.unlink();
            return cleared;
        }
        let budget = Arc::clone(&self.budget);
        budget.promise(order.bytes());
        self.disposal.run(move || {
            index.unlink();
            drop((index, lists));
            free_in_parts(order.into_keys(), &budget);
        });
        cleared
    }

    /// Frees what has left the table, here if it is small.
    fn free(&self, stored: Arc<Stored>) {
        let bytes = stored.weight_bytes();
        if bytes < LARGE_BYTES {
            return;
        }
        let budget = Arc::clone(&self.budget);
        budget.promise(bytes);
        self.disposal.run(move || {
            budget.keep_promise(bytes);
            drop(stored);
        });
    }

    /// Frees `garbage` in another thread.
    pub(in crate::cache) fn free_elsewhere(&self, garbage: impl Send + 'static) {
        self.disposal.run(move || drop(garbage));
    }

    /// Shows `see` the keys from number `from` on, as long as it returns true. Returns the number of the next one; `None` at the
    /// end. Keys that are there from the beginning of a walk to its end are seen once.
    pub(in crate::cache) fn walk(
        &self,
        from: usize,
        mut see: impl FnMut(Option<&Stored>) -> bool,
    ) -> Option<usize> {
        for slot in from..self.order.end() {
            let stored = self.order.get(slot).map(|stored| &**stored);
            if !see(stored.filter(|stored| !stored.key.is_outdated())) {
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
        mut see: impl FnMut(Option<&Stored>) -> bool,
    ) -> Option<usize> {
        let record = self.resources.get(resource);
        let end = record.map_or(0, |record| record.partitions.end());
        for number in from..=end {
            let go_on = match number.checked_sub(1) {
                None => see(self.peek(resource).as_deref()),
                Some(shelf) => {
                    let slot = record.and_then(|record| record.partitions.get(shelf));
                    see(slot
                        .and_then(|slot| self.order.get(*slot))
                        .map(|stored| &**stored))
                }
            };
            if !go_on {
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
        self.order.bytes() - self.outdated_bytes
    }

    /// The memory in the table, in bytes, with what [`EntryTable::sweep`] has not freed yet.
    pub(in crate::cache) fn held_bytes(&self) -> u64 {
        self.order.bytes()
    }
}

/// Frees keys with pauses between them, and keeps the promise of their memory.
fn free_in_parts(keys: impl Iterator<Item = Arc<Stored>>, budget: &Budget) {
    let mut pace = Pace::default();
    for stored in keys {
        let bytes = stored.weight_bytes();
        budget.keep_promise(bytes);
        drop(stored);
        pace.freed(bytes, budget.is_overdrawn());
    }
}

impl Drop for EntryTable {
    fn drop(&mut self) {
        self.clear();
    }
}
