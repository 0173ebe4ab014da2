//! A worker's copies of lookups, so that a hit needs no message to the actor in another thread.
//!
//! A worker looks here first. A copy is valid for one generation (see `generations`). If there is no valid copy, the
//! worker asks the actor and copies the answer. A lookup writes nothing that another thread reads.
//!
//! The workers report to the actor in batches which keys they use, so that it does not evict them, and how many hits
//! these had.

use std::{
    cell::{Cell, RefCell},
    hash::{Hash, RandomState},
    rc::Rc,
    time::Duration,
};

use quick_cache::{
    Equivalent, Weighter,
    unsync::{self, DefaultLifecycle},
};

use crate::cache::{
    found::Found,
    handle::Cache,
    messages::{Get, KeyUse, Touch},
    store::{budget::Charge, key::Key},
};

/// The copies of all workers together may use this fraction of the budget: one part in this many.
const PARTS: u64 = 16;
/// One copy may use this fraction of a worker's share: one part in this many. For larger responses a message to the actor
/// costs less than the memory.
const KEY_PARTS: u64 = 4;
/// The memory of a copy beside its key and the response, in bytes.
const OVERHEAD_BYTES: u64 = 512;
/// Headers of this many bytes are in the overhead: the worker prepares them for later hits.
const USUAL_HEAD_BYTES: u64 = 512;
/// How many used keys are reported in one message, and how many bytes of them.
const MAX_UNREPORTED: usize = 128;
const MAX_UNREPORTED_BYTES: u64 = 256 * 1024;
/// How long a use may stay unreported.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// Whether a worker keeps copies of lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerCacheMode {
    /// Lookups are copied, and hits are served from the copies.
    #[default]
    On,
    /// Nothing is copied: every lookup is a message to the actor. Responses are the same, only slower.
    Off,
}

/// The copies of one worker. `T` is what it prepares from a copy for later hits.
pub struct WorkerCache<T> {
    cache: Cache,
    copy: RefCell<LookupTable<T>>,
    limit_bytes: u64,
    mode: WorkerCacheMode,
    uses: Rc<UnreportedUses>,
}

/// The uses that were not reported to the actor yet.
struct UnreportedUses {
    cache: Cache,
    /// The keys; their copies may be dropped before the report.
    touched: RefCell<Vec<KeyUse>>,
    /// The memory of these keys.
    bytes: Cell<u64>,
    /// How many reports were sent.
    round: Cell<u64>,
}

impl UnreportedUses {
    /// Reports to the actor, unless its mailbox is full: the report is not important.
    fn report(&self) {
        let touched = std::mem::take(&mut *self.touched.borrow_mut());
        self.bytes.set(0);
        self.round.set(self.round.get() + 1);
        self.cache.try_send(Touch(touched));
    }

    /// Reports to the actor after a while, unless that has happened by then.
    fn report_later(self: &Rc<Self>) {
        let (round, uses) = (self.round.get(), Rc::downgrade(self));
        actix::spawn(async move {
            tokio::time::sleep(REPORT_AFTER).await;
            if let Some(uses) = uses.upgrade().filter(|uses| uses.round.get() == round) {
                uses.report();
            }
        });
    }
}

/// Where the uses of a key are counted: the number of the report, and the index in it.
type UseIndex = (u64, usize);

type LookupTable<T> = unsync::Cache<Key, Rc<CachedLookup<T>>, LookupWeight, RandomState>;

/// A copy of what the actor has answered for a key.
pub struct CachedLookup<T> {
    found: Found,
    /// What the worker has prepared from it.
    pub prepared: T,
    key: Key,
    /// Where its uses were last counted.
    touched: Cell<Option<UseIndex>>,
    /// Its memory, counted against the budget.
    charge: Charge,
}

impl<T> CachedLookup<T> {
    /// What is stored.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// True if the copy was used before, so that preparing something from it is worth it.
    pub fn is_reused(&self) -> bool {
        self.touched.get().is_some()
    }
}

/// The memory of a copy beside the stored responses, in bytes: the key, which is not the one of the store, and the headers that
/// the worker prepares.
fn copy_bytes(key: &Key, found: &Found) -> u64 {
    let heads = found.variants().map(|entry| entry.head_bytes());
    let prepared = heads.map(|bytes| bytes.saturating_sub(USUAL_HEAD_BYTES));
    OVERHEAD_BYTES + key.heap_bytes() + prepared.sum::<u64>()
}

#[derive(Clone)]
struct LookupWeight;

impl<T> Weighter<Key, Rc<CachedLookup<T>>> for LookupWeight {
    fn weight(&self, _: &Key, copy: &Rc<CachedLookup<T>>) -> u64 {
        copy.charge.bytes() + copy.found.weight_bytes()
    }
}

impl<T: Default> WorkerCache<T> {
    /// The copies of one of `workers`; there are none yet.
    pub fn new(cache: Cache, workers: usize, mode: WorkerCacheMode) -> Self {
        let limit_bytes = cache.budget.limit_bytes() / PARTS / workers.max(1) as u64;
        let items = usize::try_from(limit_bytes / 4096).unwrap_or(usize::MAX);
        Self {
            copy: RefCell::new(LookupTable::with(
                items,
                limit_bytes,
                LookupWeight,
                RandomState::new(),
                DefaultLifecycle::default(),
            )),
            limit_bytes,
            mode,
            uses: Rc::new(UnreportedUses {
                cache: cache.clone(),
                touched: RefCell::default(),
                bytes: Cell::new(0),
                round: Cell::new(0),
            }),
            cache,
        }
    }

    /// What is stored for `key`, from a copy or from the actor. If the actor does not answer, nothing is stored: the cache
    /// never breaks a request.
    pub async fn lookup(&self, key: &Key) -> Rc<CachedLookup<T>> {
        if let Some(copy) = self.get(key) {
            return copy;
        }
        let get = Get(key.clone());
        let found = self.cache.send(get).await.unwrap_or_default();
        self.insert(key, found)
    }

    /// Copies what the actor has answered for `key`, unless that is nothing, or too large.
    pub fn insert(&self, key: &Key, found: Found) -> Rc<CachedLookup<T>> {
        let copy = Rc::new(CachedLookup {
            charge: self.cache.budget.charge(copy_bytes(key, &found)),
            found,
            prepared: T::default(),
            key: key.clone(),
            touched: Cell::new(None),
        });
        self.store_copy(&copy);
        copy
    }

    /// The copy for a key; `None` if there is none that is valid.
    pub fn get<Q>(&self, key: &Q) -> Option<Rc<CachedLookup<T>>>
    where
        Q: Hash + Equivalent<Key>,
    {
        let mut table = self.copy.borrow_mut();
        let copy = table.get(key)?;
        if self.is_current(&copy.found) {
            let copy = Rc::clone(copy);
            self.touch(&copy);
            return Some(copy);
        }
        table.remove(key);
        None
    }

    fn is_current(&self, found: &Found) -> bool {
        let generations = &self.cache.generations;
        let changes = found.changes.as_ref();
        generations.is_current(found.generation)
            && changes.is_none_or(|changes| generations.is_unchanged(changes))
    }

    fn store_copy(&self, copy: &Rc<CachedLookup<T>>) {
        if self.mode == WorkerCacheMode::Off {
            return;
        }
        let weight = copy.found.weight_bytes();
        let mut table = self.copy.borrow_mut();
        if weight > 0 && weight < self.limit_bytes / KEY_PARTS {
            table.insert(copy.key.clone(), Rc::clone(copy));
        } else {
            // The previous copy is older than this answer, even if the response was only evicted in between.
            table.remove(&copy.key);
        }
    }

    /// Counts a hit on a copy.
    pub fn count_hit(&self, copy: &CachedLookup<T>) {
        let (_, index) = self.touch(copy);
        if let Some(touched) = self.uses.touched.borrow_mut().get_mut(index) {
            touched.hits += 1;
        }
    }

    /// Notes a use that is to be reported.
    fn touch(&self, copy: &CachedLookup<T>) -> UseIndex {
        let uses = &self.uses;
        if let Some(place) = copy.touched.get()
            && place.0 == uses.round.get()
        {
            return place;
        }
        if uses.touched.borrow().len() >= MAX_UNREPORTED || uses.bytes.get() >= MAX_UNREPORTED_BYTES
        {
            uses.report();
        }
        uses.bytes.set(uses.bytes.get() + copy.key.heap_bytes());
        let mut touched = uses.touched.borrow_mut();
        if touched.is_empty() {
            uses.report_later();
        }
        let place = (uses.round.get(), touched.len());
        touched.push(KeyUse {
            key: copy.key.clone(),
            hits: 0,
        });
        copy.touched.set(Some(place));
        place
    }
}
