//! The store: responses in memory, within the budget.
//!
//! The eviction order resists scans: a response that was used once does not displace those that are used often.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{
        fetches::{messages::RoomMade, reader::FetchId},
        found::{Cleared, Found, PutOutcome},
        store::{
            budget::Budget,
            changes::{ChangeCounts, Snapshot},
            entry::Entry,
            index::SharedIndex,
            key::{Key, Resource},
            order::TurnsLeft,
            related::{UnsafeRequest, UnsafeRequests},
            stored::Stored,
            table::EntryTable,
        },
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
    changes: Arc<ChangeCounts>,
    unsafe_requests: UnsafeRequests,
}

impl Store {
    /// An empty store, which workers read at `index`. Its changes are counted in `changes`.
    pub(in crate::cache) fn new(
        index: SharedIndex,
        budget: Arc<Budget>,
        changes: Arc<ChangeCounts>,
    ) -> Self {
        Self {
            table: EntryTable::new(index, Arc::clone(&budget), Arc::clone(&changes)),
            budget,
            changes,
            unsafe_requests: UnsafeRequests::default(),
        }
    }

    /// The responses stored for `key`: of its identity, and shared ones. This counts as a use.
    pub(in crate::cache) fn find(&mut self, key: &Key) -> Found {
        let found = self.peek_found(key);
        found.stored().for_each(Stored::note_use);
        found
    }

    /// The same as [`Store::find`], but does not count as a use.
    pub(in crate::cache) fn peek_found(&mut self, key: &Key) -> Found {
        self.doubt_guesses(key);
        let (own, shared) = match key.identity {
            Some(_) => (self.table.peek(key), self.table.peek(&key.shared())),
            None => (None, self.table.peek(key)),
        };
        let found = Found { own, shared };
        for stored in found.stored() {
            self.changes.look(&stored.watch);
        }
        found
    }

    /// Notes a successful unsafe request. Guessed responses of related paths become stale when they are looked up.
    pub(in crate::cache) fn note_unsafe(&mut self, resource: &Resource, request: UnsafeRequest) {
        let groups = self.changes.concerned_groups(resource);
        match self.unsafe_requests.note(&groups, request) {
            true => self.changes.doubt_all_related(),
            false => self.changes.doubt_related(&groups),
        }
    }

    /// Notes a successful unsafe request to a path that is not known. It concerns all paths.
    pub(in crate::cache) fn note_lost(&mut self, request: UnsafeRequest) {
        self.unsafe_requests.note_lost(request);
        self.changes.doubt_all_related();
    }

    /// The last unsafe request that concerned `resource`. `None` if there was none.
    fn last_unsafe(&self, resource: &Resource) -> Option<UnsafeRequest> {
        if self.unsafe_requests.is_empty() {
            return None;
        }
        self.unsafe_requests.last(&self.changes.groups_of(resource))
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
        if self.unsafe_requests.is_empty() {
            return;
        }
        let shared = key.identity.map(|_| key.shared());
        for key in [Some(key), shared.as_ref()].into_iter().flatten() {
            self.change(key, |entry| Some(Arc::clone(entry)));
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
        let previous = self.table.peek(key);
        let variants = previous.iter().flat_map(|stored| stored.variants.iter());
        let (same, others): (Vec<_>, Vec<_>) =
            variants.partition(|other| other.head().same_variant(entry.head()));
        let is_part = entry.head().content_range().is_some();
        let is_replaceable = |other: &Arc<Entry>| {
            let is_newer = since < other.order() && other.head().received() <= now;
            let is_more = is_part && other.head().content_range().is_none();
            (!is_newer && !is_more) || entry.head().is_whole_of(other.head())
        };
        if !same.iter().all(|other| is_replaceable(other)) {
            return PutOutcome::Outdated;
        }
        let mut variants = vec![entry];
        variants.extend(others.into_iter().take(MAX_VARIANTS - 1).cloned());
        let most = self.capacity(weight) / 2;
        while variants.len() > 1 && EntryTable::weight_of(key, &variants) > most {
            variants.pop();
        }
        match self.replace(key, variants, previous) {
            true => PutOutcome::Stored,
            false => PutOutcome::NoRoom,
        }
    }

    /// Removes one stored response, if it is still there.
    pub(in crate::cache) fn remove(&mut self, key: &Key, entry: &Arc<Entry>) {
        // Even if it was evicted: a fetch without a claim may bring it again.
        self.changed_key(key);
        self.change(key, |other| {
            (!Arc::ptr_eq(other, entry)).then(|| Arc::clone(other))
        });
    }

    /// Removes the responses of `key` that `is_named`. If all are, [`Store::free_aside`] frees them.
    pub(in crate::cache) fn purge(&mut self, key: &Key, is_named: impl Fn(&Arc<Entry>) -> bool) {
        match self.table.peek(key) {
            Some(stored) if stored.variants.iter().all(&is_named) => {
                self.table.remove_aside(stored);
                self.changed_key(key);
            }
            _ => self.change(key, |entry| (!is_named(entry)).then(|| Arc::clone(entry))),
        }
    }

    /// Frees what [`Store::purge`] has removed. Small amounts wait for more if that `is_expected`.
    pub(in crate::cache) fn free_aside(&mut self, is_expected: bool) {
        self.table.free_aside(is_expected);
    }

    /// Replaces each stored response of `key` by the result of `change`; `None` removes it.
    pub(in crate::cache) fn change(
        &mut self,
        key: &Key,
        change: impl FnMut(&Arc<Entry>) -> Option<Arc<Entry>>,
    ) {
        let Some(previous) = self.table.peek(key) else {
            return;
        };
        let changed = previous.variants.iter().filter_map(change).collect();
        let changed = self.doubted(key, changed);
        let same = |(one, other)| Arc::ptr_eq(one, other);
        if changed.len() != previous.variants.len()
            || !changed.iter().zip(previous.variants.iter()).all(same)
        {
            self.replace(key, changed, Some(previous));
        }
    }

    /// `variants` of `key`, of which guessed ones are stale if an unsafe request concerned them.
    fn doubted(&self, key: &Key, variants: Vec<Arc<Entry>>) -> Vec<Arc<Entry>> {
        let Some(request) = self.last_unsafe(&key.resource) else {
            return variants;
        };
        let doubted = |entry| doubted(&entry, request, &self.budget).unwrap_or(entry);
        variants.into_iter().map(doubted).collect()
    }

    /// Replaces all variants of `key`, which are `previous` if there are any. Returns false if the new ones do not fit; then nothing is stored for `key`.
    fn replace(
        &mut self,
        key: &Key,
        variants: Vec<Arc<Entry>>,
        previous: Option<Arc<Stored>>,
    ) -> bool {
        let fits = match variants.is_empty() {
            true => {
                self.table.remove(key);
                true
            }
            false => {
                let variants = self.doubted(key, variants);
                let before = previous.iter().flat_map(|stored| stored.variants.iter());
                let is_new = |entry: &&Arc<Entry>| {
                    !before.clone().any(|previous| Arc::ptr_eq(previous, entry))
                };
                let new = variants.iter().filter(is_new);
                let new_bytes = new.map(|entry| entry.weight_bytes()).sum();
                let capacity = self.capacity(new_bytes);
                self.table.insert(key, variants, previous, capacity)
            }
        };
        self.changed_key(key);
        fits
    }

    /// Counts a change of `key`, if it is one for requests that may go to the origin.
    fn changed_key(&self, key: &Key) {
        if !key.is_recorded {
            self.changes.changed(&key.resource);
        }
    }

    /// Evicts up to `keys` keys, until `bytes` more fit into the budget.
    pub(in crate::cache) fn make_room(&mut self, bytes: u64, keys: usize) -> RoomMade {
        // A body of which another stored response has a part is not free when it is evicted. Then more is.
        self.evict_until(|store| store.budget.has_room(bytes), keys)
    }

    /// Evicts up to `keys` keys, until [`Store::put`] has to evict none for `entry`, whose bytes are in the budget already.
    pub(in crate::cache) fn make_place(
        &mut self,
        key: &Key,
        entry: &Entry,
        keys: usize,
    ) -> RoomMade {
        let bytes = entry.weight_bytes();
        let has_place = |store: &Self| {
            let previous = store.table.peek(key);
            let variants = previous.iter().flat_map(|stored| stored.variants.iter());
            let replaced = variants.filter(|other| other.head().same_variant(entry.head()));
            let replaced: u64 = replaced.map(|other| other.weight_bytes()).sum();
            let held = store.table.held_bytes().saturating_sub(replaced);
            held.saturating_add(bytes) <= store.capacity(bytes)
        };
        self.evict_until(has_place, keys)
    }

    fn evict_until(&mut self, is_enough: impl Fn(&Self) -> bool, keys: usize) -> RoomMade {
        let mut turns = TurnsLeft::default();
        for _ in 0..keys {
            if is_enough(self) {
                return RoomMade::Enough;
            }
            if !self.table.evict(&mut turns) {
                return RoomMade::None;
            }
        }
        RoomMade::NotYet
    }

    /// Removes every variant of `resource`, of every identity and every body. [`Store::sweep`] frees most of it.
    pub(in crate::cache) fn invalidate(&mut self, resource: &Resource) -> Cleared {
        self.changes.changed(resource);
        self.table.remove_resource(resource)
    }

    /// Frees up to `keys` keys that were invalidated. Returns true if there are more.
    pub(in crate::cache) fn sweep(&mut self, keys: usize) -> bool {
        self.table.sweep(keys)
    }

    /// The present state of `resource`.
    pub(in crate::cache) fn snapshot(&self, resource: &Resource) -> Snapshot {
        self.changes.snapshot(resource)
    }

    /// True if the resource of the snapshot has not changed since.
    pub(in crate::cache) fn is_unchanged_since(&self, snapshot: Snapshot) -> bool {
        self.changes.is_unchanged_since(snapshot)
    }

    /// The responses stored for exactly this `key`. This does not count as a use.
    pub(in crate::cache) fn peek(&self, key: &Key) -> Option<Arc<Stored>> {
        self.table.peek(key)
    }

    /// Walks over all keys: see [`EntryTable::walk`].
    pub(in crate::cache) fn walk(
        &self,
        from: usize,
        see: impl FnMut(Option<&Stored>) -> bool,
    ) -> Option<usize> {
        self.table.walk(from, see)
    }

    /// Walks over the keys of `resource`: see [`EntryTable::walk_resource`].
    pub(in crate::cache) fn walk_resource(
        &self,
        resource: &Resource,
        from: usize,
        see: impl FnMut(Option<&Stored>) -> bool,
    ) -> Option<usize> {
        self.table.walk_resource(resource, from, see)
    }

    /// Counts a change of all resources.
    pub(in crate::cache) fn all_changed(&self) {
        self.changes.all_changed();
    }

    /// Counts a change of `resource`.
    pub(in crate::cache) fn changed(&self, resource: &Resource) {
        self.changes.changed(resource);
    }

    /// Removes everything. Another thread frees it.
    pub(in crate::cache) fn clear(&mut self) -> Cleared {
        let cleared = self.table.clear();
        self.unsafe_requests = UnsafeRequests::default();
        self.changes.all_changed();
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

    /// The most bytes that the table may have, if `coming` bytes that are counted already will be in it. Some of the budget
    /// stays free for bodies that are arriving.
    fn capacity(&self, coming: u64) -> u64 {
        let limit = self.budget.limit_bytes();
        let used = self.budget.used_bytes();
        let outside = used.saturating_sub(self.table.held_bytes());
        let outside = outside.saturating_sub(coming);
        limit.saturating_sub(outside.max(limit / SLACK_PARTS))
    }
}

/// The same response, stale; `None` if its lifetime is no guess, or its fetch began after `request`.
fn doubted(entry: &Arc<Entry>, request: UnsafeRequest, budget: &Arc<Budget>) -> Option<Arc<Entry>> {
    let head = entry.head();
    let is_doubtful = head.is_guess() && entry.begun() < request.before;
    is_doubtful.then(|| Arc::new(entry.with_head(head.doubted(request.at), budget)))
}
