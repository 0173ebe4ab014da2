//! The index of stored keys, which the actor writes and every worker reads without a lock.
//!
//! It is a hash table whose buckets are chains. It grows by one bucket at a time (linear hashing), so an insertion takes
//! the same time however much is stored. A bucket that is split moves some keys to the new one. A worker that reads
//! meanwhile may miss one of them: then it asks the actor, which misses nothing. It never finds what was removed before
//! it began to look: each look reads the links as they are.
//!
//! A Clear puts an empty index in the place of this one.

use std::{
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::cache::store::{key::KeyRef, stored::Stored};

/// How many buckets are allocated at a time.
const SEGMENT: usize = 1024;
/// The index has room for one bucket for so many bytes of the budget. If responses are smaller, chains are longer.
const BUCKET_BYTES: u64 = 512;

/// The place of the index, for its writer and its readers.
pub(in crate::cache) type SharedIndex = Arc<ArcSwap<Index>>;

/// What a look in the index has found: `None` if nothing. It holds no reference count, and is not kept.
pub(in crate::cache) type Seen = Guard<Option<Arc<Stored>>>;

type Bucket = ArcSwapOption<Stored>;

/// The stored keys by their hashes.
#[derive(Debug)]
pub(in crate::cache) struct Index {
    segments: Box<[OnceLock<Box<[Bucket]>>]>,
    /// How many buckets are in use.
    buckets: AtomicUsize,
    /// How often links were changed behind which there are other keys, counted before and after: odd meanwhile.
    relinked: AtomicUsize,
}

/// The links of an index at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct LinkState(usize);

impl Index {
    /// An empty index for a budget.
    pub(in crate::cache) fn new(limit_bytes: u64) -> Self {
        let buckets = usize::try_from(limit_bytes / BUCKET_BYTES).unwrap_or(usize::MAX);
        let segments = buckets.div_ceil(SEGMENT).max(1);
        let index = Self {
            segments: (0..segments).map(|_| OnceLock::new()).collect(),
            buckets: AtomicUsize::new(1),
            relinked: AtomicUsize::new(0),
        };
        index.allocate(0);
        index
    }

    /// What is stored for `key`.
    pub(in crate::cache) fn find(&self, key: KeyRef<'_>) -> Seen {
        let hash = key.keyed_hash();
        let nothing = || Guard::from_inner(None);
        let mut at = self
            .bucket(self.number(hash))
            .map_or_else(nothing, |bucket| bucket.load());
        loop {
            let next = match &*at {
                Some(stored) if stored.hash != hash || !stored.key.is(key) => stored.next.load(),
                Some(_) | None => return at,
            };
            at = next;
        }
    }

    /// The present state of the links.
    pub(in crate::cache) fn links(&self) -> LinkState {
        LinkState(self.relinked.load(Ordering::SeqCst))
    }

    /// True if what was not found since `before` was not there.
    pub(in crate::cache) fn hid_nothing_since(&self, before: LinkState) -> bool {
        before.0.is_multiple_of(2) && self.links() == before
    }

    /// Changes links behind which there are other keys.
    fn relink(&self, change: impl FnOnce()) {
        self.relinked.fetch_add(1, Ordering::SeqCst);
        change();
        self.relinked.fetch_add(1, Ordering::SeqCst);
    }

    /// The bucket for a hash, among those in use.
    fn number(&self, hash: u64) -> usize {
        let buckets = self.buckets.load(Ordering::Acquire);
        let mask = buckets.next_power_of_two() - 1;
        let number = low_bits(hash) & mask;
        match number < buckets {
            true => number,
            // Not split yet: its keys are in the bucket that will be split.
            false => number & (mask >> 1),
        }
    }

    fn bucket(&self, number: usize) -> Option<&Bucket> {
        self.segments
            .get(number / SEGMENT)?
            .get()?
            .get(number % SEGMENT)
    }

    /// Cuts all links, so that whoever still has something that was stored keeps nothing else in memory.
    pub(in crate::cache) fn unlink(&self) {
        let buckets = self.segments.iter().filter_map(OnceLock::get).flatten();
        for bucket in buckets {
            let mut at = bucket.swap(None);
            while let Some(stored) = at {
                at = stored.next.swap(None);
            }
        }
    }

    /// Makes sure that the bucket exists. Returns false if it is beyond the largest size.
    fn allocate(&self, number: usize) -> bool {
        let segment = self.segments.get(number / SEGMENT);
        let empty = || (0..SEGMENT).map(|_| Bucket::empty()).collect();
        segment.map(|segment| segment.get_or_init(empty)).is_some()
    }
}

fn low_bits(hash: u64) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

/// The only writer of an index.
pub(in crate::cache) struct IndexWriter {
    shared: SharedIndex,
    index: Arc<Index>,
    len: usize,
    limit_bytes: u64,
}

impl IndexWriter {
    /// A writer that puts an empty index in the place of the one at `shared`.
    pub(in crate::cache) fn new(shared: SharedIndex, limit_bytes: u64) -> Self {
        let index = Arc::new(Index::new(limit_bytes));
        shared.store(Arc::clone(&index));
        Self {
            shared,
            index,
            len: 0,
            limit_bytes,
        }
    }

    /// What is stored for `key`.
    pub(in crate::cache) fn find(&self, key: KeyRef<'_>) -> Seen {
        self.index.find(key)
    }

    /// Puts an empty index in the place of this one. The result still refers to all that was in it.
    pub(in crate::cache) fn clear(&mut self) -> Arc<Index> {
        let empty = Arc::new(Index::new(self.limit_bytes));
        let before = std::mem::replace(&mut self.index, empty);
        // Not if another writer has taken the place.
        self.shared
            .compare_and_swap(&before, Arc::clone(&self.index));
        self.len = 0;
        before
    }

    /// Adds `stored`, whose key is not in the index, unless it is outdated there.
    pub(in crate::cache) fn insert(&mut self, mut stored: Stored) -> Arc<Stored> {
        let bucket = self.index.bucket(self.index.number(stored.hash));
        if let Some(bucket) = bucket {
            let next = Bucket::new(bucket.load_full());
            // Nobody reads the empty link, but to drop it would look for readers.
            mem::forget(mem::replace(&mut stored.next, next));
        }
        let stored = Arc::new(stored);
        if let Some(bucket) = bucket {
            bucket.store(Some(Arc::clone(&stored)));
            self.len += 1;
        }
        if self.len > self.index.buckets.load(Ordering::Relaxed) {
            self.split();
        }
        stored
    }

    /// Puts `stored` in the place of `previous`, or removes that if there is none.
    pub(in crate::cache) fn replace(
        &mut self,
        previous: &Arc<Stored>,
        stored: Option<Arc<Stored>>,
    ) {
        let next = previous.next.load_full();
        self.len -= usize::from(stored.is_none());
        let following = match stored {
            Some(stored) => {
                stored.next.store(next);
                Some(stored)
            }
            None => next,
        };
        let Some(bucket) = self.index.bucket(self.index.number(previous.hash)) else {
            return;
        };
        self.index.relink(|| {
            replace_in_chain(bucket, previous, following);
            // A slow reader of it keeps nothing else in memory.
            previous.next.store(None);
        });
    }

    /// Takes one more bucket into use, and moves the keys that belong into it.
    fn split(&self) {
        let index = &self.index;
        let added = index.buckets.load(Ordering::Relaxed);
        let mask = (added + 1).next_power_of_two() - 1;
        if !index.allocate(added) {
            return;
        }
        let (Some(from), Some(to)) = (index.bucket(added & (mask >> 1)), index.bucket(added))
        else {
            return;
        };
        let chain = || std::iter::successors(from.load_full(), |stored| stored.next.load_full());
        let belongs = |stored: &Arc<Stored>| low_bits(stored.hash) & mask == added;
        if !chain().any(|stored| belongs(&stored)) {
            return index.buckets.store(added + 1, Ordering::Release);
        }
        let (moved, left): (Vec<_>, Vec<_>) = chain().partition(belongs);
        index.relink(|| {
            link(to, moved);
            index.buckets.store(added + 1, Ordering::Release);
            link(from, left);
        });
    }
}

/// Puts `following` in the place of `previous`, which is in the chain of `bucket`.
fn replace_in_chain(bucket: &Bucket, previous: &Arc<Stored>, following: Option<Arc<Stored>>) {
    let is_previous = |at: &Option<Arc<Stored>>| {
        at.as_ref()
            .is_none_or(|stored| Arc::ptr_eq(stored, previous))
    };
    let mut before = bucket.load_full();
    if is_previous(&before) {
        bucket.store(following);
        return;
    }
    while let Some(stored) = before {
        let next = stored.next.load_full();
        if is_previous(&next) {
            stored.next.store(following);
            return;
        }
        before = next;
    }
}

/// Makes `chain` the content of `bucket`.
fn link(bucket: &Bucket, chain: Vec<Arc<Stored>>) {
    let mut next = None;
    for stored in chain.into_iter().rev() {
        set(&stored.next, next);
        next = Some(stored);
    }
    set(bucket, next);
}

/// Makes `link` lead to `next`, if it does not yet: to write a link takes longer than to read it.
fn set(link: &Bucket, next: Option<Arc<Stored>>) {
    let address = |it: &Option<Arc<Stored>>| it.as_ref().map(Arc::as_ptr);
    if address(&link.load()) != address(&next) {
        link.store(next);
    }
}
