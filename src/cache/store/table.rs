//! The table of stored responses, and its counts.
//!
//! Every change of the underlying `quick_cache` is a method of [`EntryTable`], so the counts cannot differ from the
//! content. They rely on three properties of the pinned version:
//!
//! - A value leaves the cache in one of two ways. `remove` returns it, or the hook [`Lifecycle::on_evict`] reports it.
//!   The hook also gets a value that was replaced, or refused because it is too large.
//! - Only `insert` and `set_capacity` call the hook. So its reports are settled at the end of these two methods.
//! - `iter` visits slots in their order. A value keeps its slot until it leaves.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, hash_map::RandomState},
    rc::Rc,
    sync::Arc,
};

use quick_cache::{Equivalent as _, Lifecycle, Weighter, unsync};

use crate::cache::store::{
    budget::{Budget, Charge},
    entry::Entry,
    key::{Key, Partition, Resource, StoredKey},
    shared_list::SharedList,
};

/// The expected size of an entry, in bytes. It determines how many evicted keys the cache remembers.
const TYPICAL_ENTRY_BYTES: u64 = 4096;

type QuickCache = unsync::Cache<StoredKey, Variants, VariantsWeight, RandomState, LeftValues>;

/// The stored responses by key.
pub(in crate::cache) struct EntryTable {
    cache: QuickCache,
    left: LeftValues,
    /// The responses in `cache`.
    entries: u64,
    /// The responses that were evicted.
    evictions: u64,
    /// How often a key was inserted that was not in `cache`.
    inserted_keys: u64,
    /// The keys in `cache` that have an identity or a body, by resource.
    partitions: HashMap<Resource, HashSet<Partition>>,
    budget: Arc<Budget>,
}

/// A position in the order of the keys. It stays valid when keys are inserted or removed.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Cursor {
    index: usize,
    /// The removed keys at the time when `index` was right.
    removals: u64,
}

/// The responses stored for one key.
pub(in crate::cache) struct Variants {
    pub(in crate::cache) variants: SharedList<Entry>,
    /// The memory of the key, counted against the budget.
    key: Charge,
    /// Hits, as far as the workers have reported them.
    hits: Cell<u64>,
}

impl Variants {
    pub(in crate::cache) fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Adds hits that a worker has reported.
    pub(in crate::cache) fn add_hits(&self, hits: u32) {
        self.hits.set(self.hits.get() + u64::from(hits));
    }

    /// The memory of the responses and their key, in bytes.
    pub(in crate::cache) fn weight_bytes(&self) -> u64 {
        total_bytes(&self.variants) + self.key.bytes()
    }

    /// The number of responses.
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.variants.len() as u64
    }
}

fn total_bytes(variants: &[Arc<Entry>]) -> u64 {
    variants.iter().map(|entry| entry.weight_bytes()).sum()
}

#[derive(Clone)]
struct VariantsWeight;

impl Weighter<StoredKey, Variants> for VariantsWeight {
    fn weight(&self, _: &StoredKey, variants: &Variants) -> u64 {
        variants.weight_bytes()
    }
}

/// The keys of values that have left the cache, and how many responses each had.
#[derive(Clone, Default)]
struct LeftValues(Rc<RefCell<Vec<(StoredKey, u64)>>>);

impl Lifecycle<StoredKey, Variants> for LeftValues {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), key: StoredKey, variants: Variants) {
        self.0.borrow_mut().push((key, variants.entries()));
    }
}

impl EntryTable {
    /// An empty table for `capacity` bytes. The memory of its keys is counted against `budget`.
    pub(in crate::cache) fn new(capacity: u64, budget: Arc<Budget>) -> Self {
        let left = LeftValues::default();
        Self {
            cache: Self::empty(capacity, &left),
            left,
            entries: 0,
            evictions: 0,
            inserted_keys: 0,
            partitions: HashMap::new(),
            budget,
        }
    }

    fn empty(capacity: u64, left: &LeftValues) -> QuickCache {
        let items = usize::try_from(capacity / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        QuickCache::with(
            items,
            capacity,
            VariantsWeight,
            RandomState::new(),
            left.clone(),
        )
    }

    /// The responses for `key`. This counts as a use.
    pub(in crate::cache) fn get(&self, key: &Key) -> Option<&Variants> {
        self.cache.get(key)
    }

    /// The responses for `key`. This does not count as a use.
    pub(in crate::cache) fn peek(&self, key: &Key) -> Option<&Variants> {
        self.cache.peek(key)
    }

    /// The memory that `variants` would use under `key`, in bytes.
    pub(in crate::cache) fn weight_of(key: &Key, variants: &[Arc<Entry>]) -> u64 {
        total_bytes(variants) + key.heap_bytes() as u64
    }

    /// Inserts `variants` for `key`, in place of those stored. Hits and rank of the key stay. Returns false if they do not
    /// fit; then nothing is stored for `key`.
    pub(in crate::cache) fn insert(&mut self, key: &Key, variants: Vec<Arc<Entry>>) -> bool {
        let variants = Variants {
            variants: variants.into(),
            key: self.budget.charge(key.heap_bytes() as u64),
            hits: Cell::new(0),
        };
        let previous = self.cache.peek(key);
        let is_new = previous.is_none();
        if let Some(previous) = previous {
            variants.hits.set(previous.hits());
        }
        // If the cache refuses them, they are reported, and subtracted again.
        self.entries += variants.entries();
        self.cache.insert(StoredKey::from(key), variants);
        self.settle(Some(key));
        let is_stored = self.cache.contains_key(key);
        if is_stored && is_new {
            self.inserted_keys += 1;
        }
        self.index(key, is_stored);
        is_stored
    }

    /// Removes the responses for `key`.
    pub(in crate::cache) fn remove(&mut self, key: &Key) -> Option<Variants> {
        let (_, variants) = self.cache.remove(key)?;
        self.entries -= variants.entries();
        self.index(key, false);
        Some(variants)
    }

    /// Changes the capacity to `capacity` bytes, and evicts what does not fit any more.
    pub(in crate::cache) fn set_capacity(&mut self, capacity: u64) {
        self.cache.set_capacity(capacity);
        self.settle(None);
    }

    /// Removes everything, and frees the memory of the table itself.
    pub(in crate::cache) fn clear(&mut self, capacity: u64) {
        self.cache = Self::empty(capacity, &self.left);
        self.entries = 0;
        self.partitions = HashMap::new();
    }

    /// Counts the values that the cache has reported. `inserted` is the key of the insertion that has just been made;
    /// `None` if the capacity was changed.
    fn settle(&mut self, inserted: Option<&Key>) {
        let left = std::mem::take(&mut *self.left.0.borrow_mut());
        for (key, entries) in left {
            self.entries -= entries;
            // A value of the inserted key was replaced or refused, and its insertion updates the index.
            if inserted.is_some_and(|inserted| inserted.equivalent(&key)) {
                continue;
            }
            self.evictions += entries;
            if let StoredKey::Partitioned(key) = key {
                self.index(&key, false);
            }
        }
    }

    /// Notes in `partitions` whether `key` is in the cache.
    fn index(&mut self, key: &Key, is_stored: bool) {
        let partition = key.partition();
        if partition.is_plain() {
            return;
        }
        if is_stored {
            let partitions = self.partitions.entry(key.resource.clone()).or_default();
            partitions.insert(partition);
        } else if let Some(partitions) = self.partitions.get_mut(&key.resource) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.partitions.remove(&key.resource);
            }
        }
    }

    /// The stored keys of `resource`, of every identity and every body.
    pub(in crate::cache) fn keys_of(&self, resource: &Resource) -> Vec<Key> {
        let partitions = self.partitions.get(resource).into_iter().flatten();
        let plain = Partition::default().of(resource.clone());
        let is_stored = self.cache.contains_key(&plain);
        partitions
            .map(|partition| partition.of(resource.clone()))
            .chain(is_stored.then_some(plain))
            .collect()
    }

    /// How many keys have left the table.
    fn removals(&self) -> u64 {
        self.inserted_keys - self.cache.len() as u64
    }

    /// The position before the first key.
    pub(in crate::cache) fn front(&self) -> Cursor {
        Cursor {
            index: 0,
            removals: self.removals(),
        }
    }

    /// The keys from a position on. Keys that were removed since may have moved others forward, so some keys may be
    /// visited twice, but none is left out.
    pub(in crate::cache) fn from(&self, cursor: Cursor) -> impl Iterator<Item = (Key, &Variants)> {
        let entries = self.cache.iter().skip(self.index_now(cursor));
        entries.map(|(key, variants)| (key.key(), variants))
    }

    /// The position behind the next `keys` keys from `cursor`.
    pub(in crate::cache) fn behind(&self, cursor: Cursor, keys: usize) -> Cursor {
        Cursor {
            index: self.index_now(cursor) + keys,
            removals: self.removals(),
        }
    }

    /// The index of `cursor` now, if all keys that were removed since were before it.
    fn index_now(&self, cursor: Cursor) -> usize {
        let removed = self.removals() - cursor.removals;
        let removed = usize::try_from(removed).unwrap_or(usize::MAX);
        cursor.index.saturating_sub(removed)
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
        self.cache.weight()
    }

    /// The most that the table holds, in bytes.
    pub(in crate::cache) fn capacity(&self) -> u64 {
        self.cache.capacity()
    }
}
