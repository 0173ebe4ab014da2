//! A worker's lookups, without a message to the actor.
//!
//! A worker looks in the [index](super::store::index), which holds all that is stored. So that it prepares a response for the
//! client once, and not for each hit, it keeps what it has looked up as long as it is used: a lookup that was not used for
//! half a second is dropped, and one that is not what is stored any more is not found.
//!
//! A hit writes nothing that another thread reads, unless the lookup is new: then it counts as a use, which the order of
//! eviction regards. Hits are counted with each lookup, and added to the stored key when the lookup is dropped, or after
//! half a second.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ptr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use arc_swap::Guard;
use foldhash::fast::RandomState;

use crate::cache::{
    found::Found,
    handle::Cache,
    messages::Get,
    store::{
        budget::Charge,
        index::Seen,
        key::{Key, KeyRef},
        stored::Stored,
    },
};

/// The lookups that all workers keep, with their responses, may use this fraction of the budget: one part in this many.
const PARTS: u64 = 16;
/// A worker keeps so many lookups. To drop more of them at once would hold up its hits.
const MAX_KEPT: usize = 1024;
/// The memory of a lookup with what is prepared from it, beside the response, in bytes.
const LOOKUP_BYTES: u64 = 1024;
/// How long an unused lookup is kept, and how long hits are not added to the stored key.
const KEPT_FOR: Duration = Duration::from_millis(500);

/// Whether a worker looks in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerCacheMode {
    /// Each lookup is in the index.
    #[default]
    On,
    /// Every lookup is a message to the actor. Responses are the same, only slower.
    Off,
}

/// The lookups of one worker. `T` is what it prepares from a lookup for later hits.
pub struct WorkerCache<T> {
    cache: Cache,
    pub(super) kept: Rc<KeptLookups<T>>,
    mode: WorkerCacheMode,
}

/// The lookups in use.
pub(super) struct KeptLookups<T> {
    by_id: RefCell<HashMap<LookupId, Rc<CachedLookup<T>>, RandomState>>,
    /// Their memory and that of their responses, in bytes.
    bytes: Cell<u64>,
    limit_bytes: u64,
}

/// Where the stored keys of a lookup are in memory: that of the identity, and the shared one. A lookup keeps them there.
type LookupId = (*const Stored, *const Stored);

/// What a lookup has found.
pub struct CachedLookup<T> {
    found: Found,
    /// What the worker has prepared from it.
    pub prepared: T,
    hits: Cell<u64>,
    is_used: Cell<bool>,
    /// The memory of a lookup that is kept.
    _charge: Option<Charge>,
}

impl<T> CachedLookup<T> {
    /// What is stored.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// Counts a hit.
    pub fn count_hit(&self) {
        self.hits.set(self.hits.get() + 1);
    }

    /// Adds the hits to what is stored.
    fn add_hits(&self) {
        if let (hits @ 1.., Some(stored)) = (self.hits.take(), self.found.stored().next()) {
            stored.add_hits(hits);
        }
    }

    /// The memory that it keeps, in bytes.
    fn kept_bytes(&self) -> u64 {
        LOOKUP_BYTES + self.found.weight_bytes()
    }
}

impl<T: Default> CachedLookup<T> {
    fn new(found: Found, charge: Option<Charge>) -> Self {
        found.stored().for_each(Stored::note_use);
        Self {
            found,
            prepared: T::default(),
            hits: Cell::new(0),
            is_used: Cell::new(true),
            _charge: charge,
        }
    }
}

impl<T: Default> From<Found> for CachedLookup<T> {
    /// What the actor has found.
    fn from(found: Found) -> Self {
        Self::new(found, None)
    }
}

impl<T> Drop for CachedLookup<T> {
    fn drop(&mut self) {
        self.add_hits();
    }
}

impl<T: Default + 'static> WorkerCache<T> {
    /// The lookups of one of `workers`; there are none yet.
    pub fn new(cache: Cache, workers: usize, mode: WorkerCacheMode) -> Self {
        let limit_bytes = cache.budget.limit_bytes() / PARTS / workers.max(1) as u64;
        Self {
            cache,
            kept: Rc::new(KeptLookups {
                by_id: RefCell::default(),
                bytes: Cell::new(0),
                limit_bytes,
            }),
            mode,
        }
    }

    /// What is stored for `key`. If the index has nothing, the actor is asked. If it does not answer, nothing is stored: the
    /// cache never breaks a request.
    pub async fn lookup(&self, key: &Key) -> Rc<CachedLookup<T>> {
        if let Some(lookup) = self.get(key) {
            return lookup;
        }
        let get = Get(key.clone());
        let found = self.cache.send(get).await.unwrap_or_default();
        Rc::new(found.into())
    }

    /// What the index has for a key; `None` if it has nothing, or if the actor must be asked.
    pub fn get<'k>(&self, key: impl Into<KeyRef<'k>>) -> Option<Rc<CachedLookup<T>>> {
        if self.mode == WorkerCacheMode::Off || !self.cache.is_current() {
            return None;
        }
        let key = key.into();
        let index = self.cache.index.load();
        let links = index.links();
        let own = match key.has_identity() {
            true => index.find(key),
            false => Guard::from_inner(None),
        };
        let shared = index.find(key.shared());
        let changes = &self.cache.changes;
        let mut stored = own.iter().chain(shared.iter()).peekable();
        stored.peek()?;
        let misses_own = key.has_identity() && own.is_none();
        if misses_own && !index.hid_nothing_since(links) {
            return None;
        }
        if !stored.all(|stored| changes.is_undoubted(&stored.watch)) {
            return None;
        }
        let id = [&own, &shared].map(|seen| seen.as_ref().map_or(ptr::null(), Arc::as_ptr));
        Some(
            self.kept
                .get(id.into())
                .unwrap_or_else(|| self.keep(id.into(), (own, shared))),
        )
    }

    /// A new lookup, which is kept if there is room.
    fn keep(&self, id: LookupId, (own, shared): (Seen, Seen)) -> Rc<CachedLookup<T>> {
        let found = Found {
            own: Guard::into_inner(own),
            shared: Guard::into_inner(shared),
        };
        if !self.kept.has_room(LOOKUP_BYTES + found.weight_bytes()) {
            return Rc::new(found.into());
        }
        let charge = self.cache.budget.charge(LOOKUP_BYTES);
        let lookup = Rc::new(CachedLookup::new(found, Some(charge)));
        self.kept.add(id, &lookup);
        lookup
    }
}

impl<T: 'static> KeptLookups<T> {
    fn get(&self, id: LookupId) -> Option<Rc<CachedLookup<T>>> {
        let by_id = self.by_id.borrow();
        let lookup = by_id.get(&id)?;
        lookup.is_used.set(true);
        Some(Rc::clone(lookup))
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.by_id.borrow().len() < MAX_KEPT && self.bytes.get() + bytes <= self.limit_bytes
    }

    fn add(self: &Rc<Self>, id: LookupId, lookup: &Rc<CachedLookup<T>>) {
        self.bytes.set(self.bytes.get() + lookup.kept_bytes());
        let mut by_id = self.by_id.borrow_mut();
        if by_id.is_empty() {
            self.drop_unused_later();
        }
        by_id.insert(id, Rc::clone(lookup));
    }

    /// Drops unused lookups from time to time, until there are none.
    fn drop_unused_later(self: &Rc<Self>) {
        let kept = Rc::downgrade(self);
        actix::spawn(async move {
            loop {
                tokio::time::sleep(KEPT_FOR).await;
                match kept.upgrade() {
                    Some(kept) if kept.drop_unused() => {}
                    _ => break,
                }
            }
        });
    }

    /// Drops the lookups that were not used since the last time. Returns true if there are others.
    pub(super) fn drop_unused(&self) -> bool {
        let mut by_id = self.by_id.borrow_mut();
        by_id.retain(|_, lookup| {
            let is_used = lookup.is_used.replace(false);
            if is_used {
                lookup.add_hits();
                lookup.found.stored().for_each(Stored::note_use);
            } else {
                self.bytes.set(self.bytes.get() - lookup.kept_bytes());
            }
            is_used
        });
        !by_id.is_empty()
    }
}
