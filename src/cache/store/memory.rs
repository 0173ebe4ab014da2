//! Entries in memory, within the budget, evicted in an order that resists scans.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet, hash_map::RandomState},
    rc::Rc,
    sync::Arc,
};

use quick_cache::{Equivalent as _, Lifecycle, Weighter, unsync};

use crate::{
    cache::{
        found::{Cleared, Found, PutOutcome, Snapshot},
        store::{
            budget::Budget,
            entry::Entry,
            key::{Key, Partition, Resource, StoredKey},
            shared_list::SharedList,
        },
        worker_cache::generations::Generations,
    },
    policy::Time,
};

/// How many variants of one key live side by side.
const MAX_VARIANTS: usize = 32;
/// The size of an entry by which the store guesses how many it will hold.
const TYPICAL_ENTRY_BYTES: u64 = 4096;
/// The share of the budget kept free for bodies on their way in: one part in this many.
const SLACK_PARTS: u64 = 16;

type EntryTable = unsync::Cache<StoredKey, Variants, EntryWeight, RandomState, Evicted>;

/// The stored responses.
pub(in crate::cache) struct Store {
    table: EntryTable,
    evicted: Evicted,
    evictions: u64,
    entries: u64,
    /// How often a key may have gone, and those behind it come one place nearer.
    removals: u64,
    /// What of a resource is stored for one identity or one body: an invalidation concerns them all.
    parts: HashMap<Resource, HashSet<Partition>>,
    budget: Arc<Budget>,
    generations: Arc<Generations>,
}

/// A place in the order of what is stored, and when that was.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct Cursor {
    index: usize,
    removals: u64,
}

/// The variants of one key.
pub(in crate::cache) struct Variants {
    pub(in crate::cache) variants: SharedList<Entry>,
    weight_bytes: u64,
    /// Answers from here, as far as workers have told.
    hits: Cell<u64>,
}

impl Variants {
    fn new(key: &Key, variants: Vec<Arc<Entry>>) -> Self {
        let weight: u64 = variants.iter().map(|entry| entry.weight_bytes()).sum();
        Self {
            weight_bytes: weight + key.heap_bytes() as u64,
            variants: variants.into(),
            hits: Cell::new(0),
        }
    }

    pub(in crate::cache) fn hits(&self) -> u64 {
        self.hits.get()
    }
}

#[derive(Clone)]
struct EntryWeight;

impl Weighter<StoredKey, Variants> for EntryWeight {
    fn weight(&self, _: &StoredKey, shelf: &Variants) -> u64 {
        shelf.weight_bytes
    }
}

/// Collects what the eviction throws out, for the books that are kept beside the cache.
#[derive(Clone, Default)]
struct Evicted(Rc<RefCell<Vec<(StoredKey, u64)>>>);

impl Lifecycle<StoredKey, Variants> for Evicted {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), key: StoredKey, shelf: Variants) {
        self.0.borrow_mut().push((key, shelf.variants.len() as u64));
    }
}

impl Store {
    pub(in crate::cache) fn new(budget: Arc<Budget>, generations: Arc<Generations>) -> Self {
        let capacity = budget.limit_bytes() - budget.limit_bytes() / SLACK_PARTS;
        let items = usize::try_from(capacity / TYPICAL_ENTRY_BYTES).unwrap_or(usize::MAX);
        let evicted = Evicted::default();
        Self {
            table: EntryTable::with(
                items,
                capacity,
                EntryWeight,
                RandomState::new(),
                evicted.clone(),
            ),
            evicted,
            evictions: 0,
            entries: 0,
            removals: 0,
            parts: HashMap::new(),
            budget,
            generations,
        }
    }

    pub(in crate::cache) fn find(&self, key: &Key) -> Found {
        self.found(key, |key| self.table.get(key))
    }

    /// What is stored for `key`, and in everybody's partition, without counting as a use.
    pub(in crate::cache) fn peek_found(&self, key: &Key) -> Found {
        self.found(key, |key| self.table.peek(key))
    }

    fn found<'s>(&'s self, key: &Key, look: impl Fn(&Key) -> Option<&'s Variants>) -> Found {
        let variants = |key: &Key| look(key).map(|shelf| shelf.variants.clone());
        let generation = self.generations.current(&key.resource);
        match key.identity {
            Some(_) => Found {
                own: variants(key),
                shared: variants(&key.shared()),
                generation,
            },
            None => Found {
                own: None,
                shared: variants(key),
                generation,
            },
        }
    }

    /// Remembers that `key` is in use, and has answered so many times more.
    pub(in crate::cache) fn touch(&self, key: &Key, hits: u32) {
        let own = self.table.get(key);
        let shared = key.identity.and_then(|_| self.table.get(&key.shared()));
        if let Some(shelf) = own.or(shared) {
            shelf.hits.set(shelf.hits.get() + u64::from(hits));
        }
    }

    /// Puts `entry` before the other variants of `key`, in the place of the one it replaces, unless that was received
    /// after `since`.
    pub(in crate::cache) fn put(
        &mut self,
        key: &Key,
        entry: Arc<Entry>,
        since: Time,
    ) -> PutOutcome {
        let weight = entry.weight_bytes();
        let stored = self
            .table
            .peek(key)
            .map_or(&[][..], |shelf| &shelf.variants);
        let (same, others): (Vec<_>, Vec<_>) = stored
            .iter()
            .partition(|other| other.head().same_variant(entry.head()));
        // A part does not take the place of a whole.
        let is_part = entry.head().content_range().is_some();
        let yields = |other: &Arc<Entry>| {
            other.head().received() <= since && !(is_part && other.head().content_range().is_none())
        };
        if !same.iter().all(|other| yields(other)) {
            return PutOutcome::Outdated;
        }
        let others = others.into_iter().take(MAX_VARIANTS - 1).cloned();
        let variants: Vec<_> = std::iter::once(entry).chain(others).collect();
        self.fit(self.outside_bytes().saturating_sub(weight));
        let mut shelf = Variants::new(key, variants);
        while shelf.weight_bytes > self.table.capacity() / 2 && shelf.variants.len() > 1 {
            shelf = Variants::new(key, shelf.variants[..shelf.variants.len() - 1].to_vec());
        }
        if !self.shelve(key, shelf) {
            return PutOutcome::NoRoom;
        }
        if !key.partition().is_plain() {
            let parts = self.parts.entry(key.resource.clone()).or_default();
            parts.insert(key.partition());
        }
        PutOutcome::Stored
    }

    /// Removes one stored response, if it is still there.
    pub(in crate::cache) fn remove(&mut self, key: &Key, entry: &Arc<Entry>) {
        // Also of what was evicted here: a worker may remember it.
        self.generations.bump(&key.resource);
        let Some(shelf) = self.table.peek(key) else {
            return;
        };
        let is_another = |other: &&Arc<Entry>| !Arc::ptr_eq(other, entry);
        let left: Vec<_> = shelf.variants.iter().filter(is_another).cloned().collect();
        if left.len() == shelf.variants.len() {
            return;
        }
        if left.is_empty() {
            self.take(key);
            self.forget_part(key);
        } else {
            self.shelve(key, Variants::new(key, left));
        }
    }

    /// Puts `shelf` in the place of what was stored for `key`, which keeps its rank. False when it does not fit.
    fn shelve(&mut self, key: &Key, shelf: Variants) -> bool {
        let entries = |shelf: &Variants| shelf.variants.len() as u64;
        if let Some(before) = self.table.peek(key) {
            self.entries -= entries(before);
            shelf.hits.set(before.hits());
        }
        let added = entries(&shelf);
        self.table.insert(StoredKey::from(key), shelf);
        self.generations.bump(&key.resource);
        // What was replaced, or refused for its size, is reported like what was evicted.
        self.evicted
            .0
            .borrow_mut()
            .retain(|(evicted, _)| !key.equivalent(evicted));
        self.settle_evictions();
        let fits = self.table.contains_key(key);
        if fits {
            self.entries += added;
        } else {
            self.removals += 1;
            self.forget_part(key);
        }
        fits
    }

    fn take(&mut self, key: &Key) -> Option<Variants> {
        let (_, shelf) = self.table.remove(key)?;
        self.entries -= shelf.variants.len() as u64;
        self.removals += 1;
        Some(shelf)
    }

    /// Evicts until `bytes` more fit into the budget; true when they do.
    pub(in crate::cache) fn make_room(&mut self, bytes: u64) -> bool {
        self.fit(self.outside_bytes().saturating_add(bytes));
        self.settle_evictions();
        self.budget.has_room(bytes)
    }

    /// Removes every variant of `resource` in every partition, whatever body was asked with.
    pub(in crate::cache) fn invalidate(&mut self, resource: &Resource) -> Cleared {
        // Also of what was evicted here: a worker may remember it.
        self.generations.bump(resource);
        let parts = self.parts.remove(resource).unwrap_or_default();
        let mut cleared = Cleared::default();
        for part in parts.into_iter().chain([Partition::default()]) {
            if let Some(shelf) = self.take(&part.of(resource.clone())) {
                cleared.entries += shelf.variants.len() as u64;
                cleared.bytes += shelf.weight_bytes;
            }
        }
        cleared
    }

    /// True when nothing has changed for the resource that was looked at then.
    pub(in crate::cache) fn is_unchanged_since(&self, Snapshot(generation): Snapshot) -> bool {
        self.generations.is_current(generation)
    }

    /// What is stored for `key`, without counting as a use.
    pub(in crate::cache) fn peek(&self, key: &Key) -> Option<&Variants> {
        self.table.peek(key)
    }

    /// The keys of `resource`, whosoever they are, and whatever body was asked with.
    pub(in crate::cache) fn keys_of(&self, resource: &Resource) -> Vec<Key> {
        let parts = self.parts.get(resource).into_iter().flatten().copied();
        parts
            .chain([Partition::default()])
            .map(|part| part.of(resource.clone()))
            .filter(|key| self.table.peek(key).is_some())
            .collect()
    }

    /// All that is stored from a place on, in an order in which keys come nearer to the front only when others go.
    pub(in crate::cache) fn from(&self, place: Cursor) -> impl Iterator<Item = (Key, &Variants)> {
        let gone = self.removals - place.removals;
        let gone = usize::try_from(gone).unwrap_or(usize::MAX);
        let shelves = self.table.iter().skip(place.index.saturating_sub(gone));
        shelves.map(|(kept, shelf)| (kept.key(), shelf))
    }

    /// The place behind so many keys from `place` on.
    pub(in crate::cache) fn behind(&self, place: Cursor, keys: usize) -> Cursor {
        let gone = usize::try_from(self.removals - place.removals).unwrap_or(usize::MAX);
        Cursor {
            index: place.index.saturating_sub(gone) + keys,
            removals: self.removals,
        }
    }

    /// The first place.
    pub(in crate::cache) fn front(&self) -> Cursor {
        Cursor {
            index: 0,
            removals: self.removals,
        }
    }

    /// Replaces each stored response of `key` by what `change` makes of it; None takes it away.
    pub(in crate::cache) fn change(
        &mut self,
        key: &Key,
        mut change: impl FnMut(&Arc<Entry>) -> Option<Arc<Entry>>,
    ) {
        let Some(shelf) = self.table.peek(key) else {
            return;
        };
        let left: Vec<_> = shelf.variants.iter().filter_map(&mut change).collect();
        if left.is_empty() {
            self.take(key);
            self.forget_part(key);
            self.generations.bump(&key.resource);
        } else {
            self.shelve(key, Variants::new(key, left));
        }
    }

    /// What workers remember of anything counts no more.
    pub(in crate::cache) fn bump_all_generations(&self) {
        self.generations.bump_all();
    }

    /// What workers remember of `resource` counts no more.
    pub(in crate::cache) fn bump_generation(&self, resource: &Resource) {
        self.generations.bump(resource);
    }

    pub(in crate::cache) fn clear(&mut self) -> Cleared {
        let cleared = Cleared {
            entries: self.entries,
            bytes: self.table.weight(),
        };
        // A new one: the old one's table would stay as large as it ever was.
        let (evictions, removals) = (self.evictions, self.removals + self.entries);
        *self = Self::new(Arc::clone(&self.budget), Arc::clone(&self.generations));
        (self.evictions, self.removals) = (evictions, removals);
        self.generations.bump_all();
        cleared
    }

    pub(in crate::cache) fn entries(&self) -> u64 {
        self.entries
    }

    pub(in crate::cache) fn stored_bytes(&self) -> u64 {
        self.table.weight()
    }

    pub(in crate::cache) fn evictions(&self) -> u64 {
        self.evictions
    }

    /// What counts against the budget and is not in the store.
    fn outside_bytes(&self) -> u64 {
        self.budget.used_bytes().saturating_sub(self.table.weight())
    }

    /// Leaves room for `outside` bytes beside the store, in steps: the cache loses a little of its memory of evicted
    /// keys with every change of its capacity.
    fn fit(&mut self, outside: u64) {
        let limit = self.budget.limit_bytes();
        let step = (limit / SLACK_PARTS).max(1);
        let reserved = outside.div_ceil(step).max(1).saturating_mul(step);
        let capacity = limit.saturating_sub(reserved);
        if capacity != self.table.capacity() {
            self.table.set_capacity(capacity);
        }
    }

    fn settle_evictions(&mut self) {
        let evicted = std::mem::take(&mut *self.evicted.0.borrow_mut());
        for (key, variants) in evicted {
            self.evictions += variants;
            self.entries -= variants;
            self.removals += 1;
            if let StoredKey::Partitioned(key) = key {
                self.forget_part(&key);
            }
        }
    }

    fn forget_part(&mut self, key: &Key) {
        if let Some(parts) = self.parts.get_mut(&key.resource) {
            parts.remove(&key.partition());
            if parts.is_empty() {
                self.parts.remove(&key.resource);
            }
        }
    }
}
