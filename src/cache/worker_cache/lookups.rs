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
    handle::Cache,
    messages::{Found, Get, Touch, Touched},
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

/// The memory of one worker; `T` is what it makes of a found response for later uses.
pub struct Near<T> {
    cache: Cache,
    remembered: RefCell<Table<T>>,
    limit_bytes: u64,
    uses: Rc<Uses>,
}

/// The uses that the actor was not told of.
struct Uses {
    cache: Cache,
    /// Keys alone: what is remembered of them may have to go before the actor is told.
    touched: RefCell<Vec<Touched>>,
    /// How often the actor was told.
    round: Cell<u64>,
}

impl Uses {
    /// Tells the actor. One that has no time for this has more important things to do.
    fn tell(&self) {
        let touched = std::mem::take(&mut *self.touched.borrow_mut());
        self.round.set(self.round.get() + 1);
        self.cache.try_tell(Touch(touched));
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
type Place = (u64, usize);

type Table<T> = unsync::Cache<Key, Rc<Remembered<T>>, ByBytes, RandomState>;

/// What the actor has answered about a key.
pub struct Remembered<T> {
    found: Found,
    /// What the worker has made of it.
    pub made: T,
    key: Key,
    /// Where its uses were last counted.
    touched: Cell<Option<Place>>,
    /// What it costs is held against the budget.
    charge: Charge,
}

impl<T> Remembered<T> {
    /// What is stored.
    pub fn found(&self) -> &Found {
        &self.found
    }

    /// True when it has been remembered for another use: what is made of it may be of use again.
    pub fn is_recalled(&self) -> bool {
        self.touched.get().is_some()
    }
}

#[derive(Clone)]
struct ByBytes;

impl<T> Weighter<Key, Rc<Remembered<T>>> for ByBytes {
    fn weight(&self, _: &Key, remembered: &Rc<Remembered<T>>) -> u64 {
        remembered.charge.bytes() + remembered.found.weight_bytes()
    }
}

impl<T: Default> Near<T> {
    /// An empty memory for one of `workers`.
    pub fn new(cache: Cache, workers: usize) -> Self {
        let limit_bytes = cache.budget.limit_bytes() / PARTS / workers.max(1) as u64;
        let items = usize::try_from(limit_bytes / 4096).unwrap_or(usize::MAX);
        Self {
            remembered: RefCell::new(Table::with(
                items,
                limit_bytes,
                ByBytes,
                RandomState::new(),
                DefaultLifecycle::default(),
            )),
            limit_bytes,
            uses: Rc::new(Uses {
                cache: cache.clone(),
                touched: RefCell::default(),
                round: Cell::new(0),
            }),
            cache,
        }
    }

    /// What is stored for `key`. A cache that does not answer holds nothing: it never breaks a request.
    pub async fn find(&self, key: &Key) -> Rc<Remembered<T>> {
        if let Some(remembered) = self.recall(key) {
            return remembered;
        }
        let get = Get(key.clone());
        let found = self.cache.ask(get).await.unwrap_or_default();
        self.learn(key, found)
    }

    /// Remembers what the actor has answered about `key`, where it is worth it.
    pub fn learn(&self, key: &Key, found: Found) -> Rc<Remembered<T>> {
        let remembered = Rc::new(Remembered {
            charge: self.cache.budget.charge(OVERHEAD_BYTES),
            found,
            made: T::default(),
            key: key.clone(),
            touched: Cell::new(None),
        });
        self.remember(&remembered);
        remembered
    }

    /// What is stored for a key, if this worker remembers it.
    pub fn recall<Q>(&self, key: &Q) -> Option<Rc<Remembered<T>>>
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

    fn remember(&self, remembered: &Rc<Remembered<T>>) {
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
    pub fn hit(&self, remembered: &Remembered<T>) {
        let (_, index) = self.touch(remembered);
        if let Some(touched) = self.uses.touched.borrow_mut().get_mut(index) {
            touched.hits += 1;
        }
    }

    /// Notes a use that the actor does not know of.
    fn touch(&self, remembered: &Remembered<T>) -> Place {
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
        touched.push(Touched {
            key: remembered.key.clone(),
            hits: 0,
        });
        remembered.touched.set(Some(place));
        place
    }
}
