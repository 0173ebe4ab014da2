//! What one worker remembers of the cache, so that it need not ask the actor, in another thread, for every hit.
//!
//! A worker looks here first. What it finds counts only while the actor's count of changes says that it is still what
//! the actor holds (see `generations.rs`); else the actor is asked, and its answer remembered. A look writes nothing
//! that another thread reads.
//!
//! The actor learns in batches which keys are in use, so that it does not evict them, and how many hits they had.

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

/// The share of the budget that all workers together may remember: one part in this many.
const PARTS: u64 = 16;
/// The share of that which one key may take: larger bodies cost more than asking for them.
const KEY_PARTS: u64 = 4;
/// What remembering a key costs, beside what it remembers.
const OVERHEAD_BYTES: u64 = 512;
/// How many keys in use the actor is told of at a time.
const TOUCHED: usize = 128;
/// And how long after the first of them at the latest.
const TOUCHED_FOR: Duration = Duration::from_millis(500);

/// Whether a worker keeps copies of lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerCacheMode {
    /// Lookups are copied, and hits are served from the copies.
    #[default]
    On,
    /// Nothing is copied: every lookup is a message to the actor. Responses are the same, only slower.
    Off,
}

/// The memory of one worker; `T` is what it makes of a found response for later uses.
pub struct WorkerCache<T> {
    cache: Cache,
    remembered: RefCell<LookupTable<T>>,
    limit_bytes: u64,
    mode: WorkerCacheMode,
    uses: Rc<UnreportedUses>,
}

/// The uses that the actor was not told of.
struct UnreportedUses {
    cache: Cache,
    /// Keys alone: what is remembered of them may have to go before the actor is told.
    touched: RefCell<Vec<KeyUse>>,
    /// How often the actor was told.
    round: Cell<u64>,
}

impl UnreportedUses {
    /// Tells the actor. One that has no time for this has more important things to do.
    fn tell(&self) {
        let touched = std::mem::take(&mut *self.touched.borrow_mut());
        self.round.set(self.round.get() + 1);
        self.cache.try_send(Touch(touched));
    }

    /// Tells the actor after a while, unless it has been told by then.
    fn tell_soon(self: &Rc<Self>) {
        let (round, uses) = (self.round.get(), Rc::downgrade(self));
        actix::spawn(async move {
            tokio::time::sleep(TOUCHED_FOR).await;
            if let Some(uses) = uses.upgrade().filter(|uses| uses.round.get() == round) {
                uses.tell();
            }
        });
    }
}

/// Where the uses of a key are counted: the round, and the place in its list.
type UseIndex = (u64, usize);

type LookupTable<T> = unsync::Cache<Key, Rc<CachedLookup<T>>, LookupWeight, RandomState>;

/// What the actor has answered about a key.
pub struct CachedLookup<T> {
    found: Found,
    /// What the worker has made of it.
    pub prepared: T,
    key: Key,
    /// Where its uses were last counted.
    touched: Cell<Option<UseIndex>>,
    /// What it costs is held against the budget.
    charge: Charge,
}

impl<T> CachedLookup<T> {
    /// What is stored.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// True when it has been remembered for another use: what is made of it may be of use again.
    pub fn is_reused(&self) -> bool {
        self.touched.get().is_some()
    }
}

#[derive(Clone)]
struct LookupWeight;

impl<T> Weighter<Key, Rc<CachedLookup<T>>> for LookupWeight {
    fn weight(&self, _: &Key, remembered: &Rc<CachedLookup<T>>) -> u64 {
        remembered.charge.bytes() + remembered.found.weight_bytes()
    }
}

impl<T: Default> WorkerCache<T> {
    /// An empty memory for one of `workers`.
    pub fn new(cache: Cache, workers: usize, mode: WorkerCacheMode) -> Self {
        let limit_bytes = cache.budget.limit_bytes() / PARTS / workers.max(1) as u64;
        let items = usize::try_from(limit_bytes / 4096).unwrap_or(usize::MAX);
        Self {
            remembered: RefCell::new(LookupTable::with(
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
                round: Cell::new(0),
            }),
            cache,
        }
    }

    /// What is stored for `key`. A cache that does not answer holds nothing: it never breaks a request.
    pub async fn lookup(&self, key: &Key) -> Rc<CachedLookup<T>> {
        if let Some(remembered) = self.get(key) {
            return remembered;
        }
        let get = Get(key.clone());
        let found = self.cache.send(get).await.unwrap_or_default();
        self.insert(key, found)
    }

    /// Remembers what the actor has answered about `key`, where it is worth it.
    pub fn insert(&self, key: &Key, found: Found) -> Rc<CachedLookup<T>> {
        let remembered = Rc::new(CachedLookup {
            charge: self.cache.budget.charge(OVERHEAD_BYTES),
            found,
            prepared: T::default(),
            key: key.clone(),
            touched: Cell::new(None),
        });
        self.remember(&remembered);
        remembered
    }

    /// What is stored for a key, if this worker remembers it.
    pub fn get<Q>(&self, key: &Q) -> Option<Rc<CachedLookup<T>>>
    where
        Q: Hash + Equivalent<Key>,
    {
        let mut table = self.remembered.borrow_mut();
        let remembered = table.get(key)?;
        let generation = remembered.found.generation;
        if self.cache.generations.is_current(generation) {
            let remembered = Rc::clone(remembered);
            self.touch(&remembered);
            return Some(remembered);
        }
        table.remove(key);
        None
    }

    fn remember(&self, remembered: &Rc<CachedLookup<T>>) {
        if self.mode == WorkerCacheMode::Off {
            return;
        }
        let weight = remembered.found.weight_bytes();
        let mut table = self.remembered.borrow_mut();
        if weight > 0 && weight < self.limit_bytes / KEY_PARTS {
            table.insert(remembered.key.clone(), Rc::clone(remembered));
        } else {
            // What was remembered before is older than this, also where nothing has changed but that it was evicted.
            table.remove(&remembered.key);
        }
    }

    /// Counts a hit on what is remembered.
    pub fn count_hit(&self, remembered: &CachedLookup<T>) {
        let (_, index) = self.touch(remembered);
        if let Some(touched) = self.uses.touched.borrow_mut().get_mut(index) {
            touched.hits += 1;
        }
    }

    /// Notes a use that the actor does not know of.
    fn touch(&self, remembered: &CachedLookup<T>) -> UseIndex {
        let uses = &self.uses;
        if let Some(place) = remembered.touched.get()
            && place.0 == uses.round.get()
        {
            return place;
        }
        if uses.touched.borrow().len() >= TOUCHED {
            uses.tell();
        }
        let mut touched = uses.touched.borrow_mut();
        if touched.is_empty() {
            uses.tell_soon();
        }
        let place = (uses.round.get(), touched.len());
        touched.push(KeyUse {
            key: remembered.key.clone(),
            hits: 0,
        });
        remembered.touched.set(Some(place));
        place
    }
}
