//! How often a key was used.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

/// So many uses keep a key from being evicted; more are not counted.
const MAX_USES: u8 = 3;

/// The hits of what is stored for a key, and its uses since the eviction order last came by.
///
/// Most keys are never replaced and have few hits, which are counted in here. A response that replaces another one goes on
/// counting, and workers still count hits of the replaced one: the two share a counter.
#[derive(Debug, Default)]
pub(super) struct UseCounts {
    shared_hits: ArcSwapOption<AtomicU64>,
    /// Hits that are not in the shared counter.
    own_hits: AtomicU32,
    uses: AtomicU8,
}

impl UseCounts {
    /// The counts of what replaces the owner of these.
    pub(super) fn for_successor(&self) -> Self {
        let shared = self.share();
        self.move_to(&shared);
        Self {
            shared_hits: ArcSwapOption::new(Some(shared)),
            own_hits: AtomicU32::new(0),
            uses: AtomicU8::new(self.uses.load(Ordering::Relaxed)),
        }
    }

    /// Hits, as far as the workers have counted them.
    pub(super) fn hits(&self) -> u64 {
        let shared = self.shared_hits.load();
        let shared = shared
            .as_ref()
            .map_or(0, |shared| shared.load(Ordering::Relaxed));
        shared + u64::from(self.own_hits.load(Ordering::Relaxed))
    }

    pub(super) fn add_hits(&self, hits: u64) {
        if self.shared_hits.load().is_none() && self.add_own(hits) {
            // A successor that has taken the own hits meanwhile takes no more: these are moved here.
            if let Some(shared) = &*self.shared_hits.load() {
                self.move_to(shared);
            }
            return;
        }
        self.share().fetch_add(hits, Ordering::Relaxed);
    }

    /// Adds to the own hits. Returns false if there would be too many.
    fn add_own(&self, hits: u64) -> bool {
        let sum = |own: u32| own.checked_add(u32::try_from(hits).ok()?);
        let (set, read) = (Ordering::AcqRel, Ordering::Relaxed);
        self.own_hits.fetch_update(set, read, sum).is_ok()
    }

    /// Moves the own hits to the shared counter.
    fn move_to(&self, shared: &AtomicU64) {
        let own = self.own_hits.swap(0, Ordering::AcqRel);
        shared.fetch_add(own.into(), Ordering::Relaxed);
    }

    /// The shared counter.
    fn share(&self) -> Arc<AtomicU64> {
        if let Some(shared) = self.shared_hits.load_full() {
            return shared;
        }
        let none: Option<Arc<AtomicU64>> = None;
        let added = Arc::default();
        let before = self
            .shared_hits
            .compare_and_swap(&none, Some(Arc::clone(&added)));
        before.as_ref().map_or(added, Arc::clone)
    }

    /// Counts a use. A key in frequent use is not written to.
    pub(super) fn note_use(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < MAX_USES {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// Takes one use away. Returns false if there is none.
    pub(super) fn take_use(&self) -> bool {
        let taken = |uses: u8| uses.checked_sub(1);
        let (set, read) = (Ordering::Relaxed, Ordering::Relaxed);
        self.uses.fetch_update(set, read, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn hits_are_counted_on_across_replacements_and_beyond_32_bits() {
        let first = UseCounts::default();
        first.add_hits(3);
        let second = first.for_successor();
        let third = second.for_successor();
        first.add_hits(4);
        third.add_hits(u64::from(u32::MAX));
        second.add_hits(5);
        for counts in [&first, &second, &third] {
            assert_eq!(counts.hits(), 12 + u64::from(u32::MAX));
        }
        let many = UseCounts::default();
        for hits in [u64::from(u32::MAX), 7, u64::from(u32::MAX) + 1] {
            many.add_hits(hits);
        }
        assert_eq!(many.hits(), (u64::from(u32::MAX) << 1) + 8);
    }

    #[test]
    fn no_hit_is_lost_that_is_counted_during_a_replacement() {
        const HITS: u64 = 1000;
        for _ in 0..50 {
            let replaced = UseCounts::default();
            let successor = thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| (0..HITS).for_each(|_| replaced.add_hits(1)));
                }
                replaced.for_successor()
            });
            assert_eq!(successor.hits(), 2 * HITS);
        }
    }

    #[test]
    fn three_uses_are_counted() {
        let counts = UseCounts::default();
        (0..5).for_each(|_| counts.note_use());
        let taken = (0..5).filter(|_| counts.take_use()).count();
        assert_eq!(taken, usize::from(MAX_USES));
    }
}
