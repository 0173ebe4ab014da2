//! The store: responses in memory, within the budget.
//!
//! The eviction order resists scans: a response that was used once does not displace those that are used often.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{
        fetches::reader::FetchId,
        found::{Cleared, Found, PutOutcome, Snapshot},
        store::{
            budget::Budget,
            entry::Entry,
            key::{Key, Resource, StoredKey},
            related::{UnsafeRequest, UnsafeRequests},
            table::EntryTable,
            variants::Variants,
        },
        worker_cache::generations::Generations,
    },
    policy::Time,
};

/// The most variants of one key.
const MAX_VARIANTS: usize = 32;
/// The fraction of the budget that stays free for bodies that are arriving: one part in this many.
const SLACK_PARTS: u64 = 16;
/// A response that was received so much after the present time is from before the clock was set back. Less is rounding, or
/// the clock was adjusted during a long fetch.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// The stored responses.
pub(in crate::cache) struct Store {
    table: EntryTable,
    budget: Arc<Budget>,
    generations: Arc<Generations>,
    unsafe_requests: UnsafeRequests,
}

impl Store {
    /// An empty store. Its changes bump `generations`.
    pub(in crate::cache) fn new(budget: Arc<Budget>, generations: Arc<Generations>) -> Self {
        Self {
            table: EntryTable::new(initial_capacity(&budget), Arc::clone(&budget)),
            budget,
            generations,
            unsafe_requests: UnsafeRequests::default(),
        }
    }

    /// The responses stored for `key`: of its identity, and shared ones. This counts as a use.
    pub(in crate::cache) fn find(&mut self, key: &Key) -> Found {
        self.doubt_guesses(key);
        self.found(key, |key| self.table.get(key))
    }

    /// The same as [`Store::find`], but does not count as a use.
    pub(in crate::cache) fn peek_found(&mut self, key: &Key) -> Found {
        self.doubt_guesses(key);
        self.found(key, |key| self.table.peek(key))
    }

    fn found<'s>(&'s self, key: &Key, look: impl Fn(&Key) -> Option<&'s Variants>) -> Found {
        let variants = |key: &Key| look(key).map(|stored| stored.variants.clone());
        let (own, shared) = match key.identity {
            Some(_) => (variants(key), variants(&key.shared())),
            None => (None, variants(key)),
        };
        let mut found = Found {
            own,
            shared,
            generation: self.generations.current(&key.resource),
            changes: None,
        };
        if found.variants().any(|entry| entry.head().is_guess()) {
            let groups = self.generations.groups_of(&key.resource);
            found.changes = Some(self.generations.changes(&groups));
        }
        found
    }

    /// Notes a successful unsafe request. Guessed responses of related paths become stale when they are looked up.
    pub(in crate::cache) fn note_unsafe(&mut self, resource: &Resource, request: UnsafeRequest) {
        let groups = self.generations.concerned_groups(resource);
        match self.unsafe_requests.note(&groups, request) {
            true => self.generations.bump_all(),
            false => self.generations.bump_changes(&groups),
        }
    }

    /// The last unsafe request that concerned `resource`. `None` if there was none.
    fn last_unsafe(&self, resource: &Resource) -> Option<UnsafeRequest> {
        if self.unsafe_requests.is_empty() {
            return None;
        }
        self.unsafe_requests
            .last(&self.generations.groups_of(resource))
    }

    /// The oldest fetch that a request for `resource` may join: earlier ones began before an unsafe request to a related
    /// path.
    pub(in crate::cache) fn oldest_joinable(&self, resource: &Resource) -> FetchId {
        let last = self.last_unsafe(resource);
        last.map_or(FetchId::default(), |request| request.before)
    }

    /// `variants` of `key` as a lookup would find them; `None` if that is as they are.
    pub(in crate::cache) fn as_found(
        &self,
        key: &Key,
        variants: &[Arc<Entry>],
    ) -> Option<Arc<[Arc<Entry>]>> {
        let request = self.last_unsafe(&key.resource)?;
        let doubted = |entry| doubted(entry, request, &self.budget);
        variants
            .iter()
            .any(|entry| doubted(entry).is_some())
            .then(|| {
                let as_found = |entry| doubted(entry).unwrap_or_else(|| Arc::clone(entry));
                variants.iter().map(as_found).collect()
            })
    }

    /// Makes the guessed responses stale whose fetch began before an unsafe request that concerned them.
    fn doubt_guesses(&mut self, key: &Key) {
        let Some(request) = self.last_unsafe(&key.resource) else {
            return;
        };
        let budget = Arc::clone(&self.budget);
        let shared = key.identity.map(|_| key.shared());
        for key in [Some(key), shared.as_ref()].into_iter().flatten() {
            self.change(key, |entry| {
                Some(doubted(entry, request, &budget).unwrap_or_else(|| Arc::clone(entry)))
            });
        }
    }

    /// Counts a use of `key`, and `hits` more hits.
    pub(in crate::cache) fn touch(&self, key: &Key, hits: u32) {
        let own = self.table.get(key);
        let shared = key.identity.and_then(|_| self.table.get(&key.shared()));
        if let Some(stored) = own.or(shared) {
            stored.add_hits(hits);
        }
    }

    /// Stores `entry` as the first variant of `key`. It replaces the same variant, unless that one comes after
    /// `since` in order, or is a whole response and `entry` a part. A part of the same response is replaced by the whole in any case.
    /// What was received long after `now` is replaced too: it is from before the clock was set back.
    pub(in crate::cache) fn put(
        &mut self,
        key: &Key,
        entry: Arc<Entry>,
        (since, now): ((Time, FetchId), Time),
    ) -> PutOutcome {
        let now = now.saturating_add(CLOCK_TOLERANCE);
        let weight = entry.weight_bytes();
        let stored = self
            .table
            .peek(key)
            .map_or(&[][..], |stored| &stored.variants);
        let (same, others): (Vec<_>, Vec<_>) = stored
            .iter()
            .partition(|other| other.head().same_variant(entry.head()));
        let is_part = entry.head().content_range().is_some();
        let is_replaceable = |other: &Arc<Entry>| {
            let is_newer = since < other.order() && other.head().received() <= now;
            let is_more = is_part && other.head().content_range().is_none();
            (!is_newer && !is_more) || entry.head().is_whole_of(other.head())
        };
        if !same.iter().all(|other| is_replaceable(other)) {
            return PutOutcome::Outdated;
        }
        let others = others.into_iter().take(MAX_VARIANTS - 1).cloned();
        let mut variants: Vec<_> = std::iter::once(entry).chain(others).collect();
        // The entry is already counted against the budget, but will be in the table.
        self.fit(self.outside_bytes().saturating_sub(weight));
        let most = self.table.capacity() / 2;
        while variants.len() > 1 && EntryTable::weight_of(key, &variants) > most {
            variants.pop();
        }
        match self.replace(key, variants) {
            true => PutOutcome::Stored,
            false => PutOutcome::NoRoom,
        }
    }

    /// Removes one stored response, if it is still there.
    pub(in crate::cache) fn remove(&mut self, key: &Key, entry: &Arc<Entry>) {
        // Even if it was evicted: a worker may have a copy.
        self.generations.bump(&key.resource);
        self.change(key, |other| {
            (!Arc::ptr_eq(other, entry)).then(|| Arc::clone(other))
        });
    }

    /// Replaces each stored response of `key` by the result of `change`; `None` removes it.
    pub(in crate::cache) fn change(
        &mut self,
        key: &Key,
        mut change: impl FnMut(&Arc<Entry>) -> Option<Arc<Entry>>,
    ) {
        let Some(stored) = self.table.peek(key) else {
            return;
        };
        let changed: Vec<_> = stored.variants.iter().filter_map(&mut change).collect();
        let same = |(one, other)| Arc::ptr_eq(one, other);
        if changed.len() == stored.variants.len()
            && changed.iter().zip(stored.variants.iter()).all(same)
        {
            return;
        }
        self.replace(key, changed);
    }

    /// Replaces all variants of `key`. Returns false if the new ones do not fit; then nothing is stored for `key`.
    fn replace(&mut self, key: &Key, variants: Vec<Arc<Entry>>) -> bool {
        let fits = match variants.is_empty() {
            true => {
                self.table.remove(key);
                true
            }
            false => self.table.insert(key, variants),
        };
        self.generations.bump(&key.resource);
        fits
    }

    /// Evicts until `bytes` more fit into the budget. Returns false if they still do not fit.
    pub(in crate::cache) fn make_room(&mut self, bytes: u64) -> bool {
        // A body of which another stored response has a part is not free when it is evicted. Then more is.
        loop {
            let held = self.table.held_bytes();
            self.fit(self.outside_bytes().saturating_add(bytes));
            if self.budget.has_room(bytes) || self.table.held_bytes() == held {
                return self.budget.has_room(bytes);
            }
        }
    }

    /// Removes every variant of `resource`, of every identity and every body. [`Store::sweep`] frees most of it.
    pub(in crate::cache) fn invalidate(&mut self, resource: &Resource) -> Cleared {
        // Even if it was evicted: a worker may have a copy.
        self.generations.bump(resource);
        self.table.remove_resource(resource)
    }

    /// Frees up to `keys` keys that were invalidated. Returns true if there are more.
    pub(in crate::cache) fn sweep(&mut self, keys: usize) -> bool {
        self.table.sweep(keys)
    }

    /// True if the resource of the snapshot has not changed since.
    pub(in crate::cache) fn is_unchanged_since(&self, Snapshot(generation): Snapshot) -> bool {
        self.generations.is_current(generation)
    }

    /// The responses stored for exactly this `key`. This does not count as a use.
    pub(in crate::cache) fn peek(&self, key: &Key) -> Option<&Variants> {
        self.table.peek(key)
    }

    /// Walks over all keys: see [`EntryTable::walk`].
    pub(in crate::cache) fn walk(
        &self,
        from: usize,
        see: impl FnMut(Option<(&StoredKey, &Variants)>) -> bool,
    ) -> Option<usize> {
        self.table.walk(from, see)
    }

    /// Walks over the keys of `resource`: see [`EntryTable::walk_resource`].
    pub(in crate::cache) fn walk_resource(
        &self,
        resource: &Resource,
        from: usize,
        see: impl FnMut(Option<(&Key, &Variants)>) -> bool,
    ) -> Option<usize> {
        self.table.walk_resource(resource, from, see)
    }

    /// Makes all copies of the workers invalid.
    pub(in crate::cache) fn bump_all_generations(&self) {
        self.generations.bump_all();
    }

    /// Makes the workers' copies of `resource` invalid.
    pub(in crate::cache) fn bump_generation(&self, resource: &Resource) {
        self.generations.bump(resource);
    }

    /// Removes everything. Another thread frees it.
    pub(in crate::cache) fn clear(&mut self) -> Cleared {
        let cleared = self.table.clear(initial_capacity(&self.budget));
        self.unsafe_requests = UnsafeRequests::default();
        self.generations.bump_all();
        cleared
    }

    /// Frees `garbage` in another thread.
    pub(in crate::cache) fn free(&self, garbage: impl Send + 'static) {
        self.table.free_elsewhere(garbage);
    }

    /// The number of stored responses.
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.table.entries()
    }

    /// The memory of the stored responses and their keys, in bytes. A body that two responses share counts once.
    pub(in crate::cache) fn stored_bytes(&self) -> u64 {
        self.table.weight_bytes()
    }

    /// The number of responses that were evicted since the start.
    pub(in crate::cache) fn evictions(&self) -> u64 {
        self.table.evictions()
    }

    /// The bytes that count against the budget and are not in the table.
    fn outside_bytes(&self) -> u64 {
        let used = self.budget.used_bytes();
        used.saturating_sub(self.table.held_bytes())
    }

    /// Leaves room for `outside` bytes beside the table. The capacity changes in steps, because with every change the
    /// cache forgets some of the evicted keys that it remembers.
    fn fit(&mut self, outside: u64) {
        let limit = self.budget.limit_bytes();
        let step = (limit / SLACK_PARTS).max(1);
        let reserved = outside.div_ceil(step).max(1).saturating_mul(step);
        let capacity = limit.saturating_sub(reserved);
        if capacity != self.table.capacity() {
            self.table.set_capacity(capacity);
        }
    }
}

/// The same response, stale; `None` if its lifetime is no guess, or its fetch began after `request`.
fn doubted(entry: &Arc<Entry>, request: UnsafeRequest, budget: &Arc<Budget>) -> Option<Arc<Entry>> {
    let head = entry.head();
    let is_doubtful = head.is_guess() && entry.begun() < request.before;
    is_doubtful.then(|| Arc::new(entry.with_head(head.doubted(request.at), budget)))
}

/// The capacity of an empty store, in bytes.
fn initial_capacity(budget: &Budget) -> u64 {
    budget.limit_bytes() - budget.limit_bytes() / SLACK_PARTS
}
