//! What is stored for one key.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;

use crate::cache::store::{
    budget::Budget, changes::Watch, entry::Entry, shared_list::SharedList, stored_key::StoredKey,
    use_counts::UseCounts,
};

/// What is stored for one key. Only what is counted changes.
pub(in crate::cache) struct Stored {
    pub(in crate::cache) key: StoredKey,
    pub(in crate::cache) variants: SharedList<Entry>,
    pub(in crate::cache) watch: Watch,
    /// The hash of the key in the index.
    pub(in crate::cache) hash: u64,
    /// The next one in the same bucket of the index.
    pub(in crate::cache) next: ArcSwapOption<Stored>,
    /// The memory of the key is counted against it.
    budget: Arc<Budget>,
    /// The memory of the responses, in bytes. A body that another key counts is left out.
    responses_bytes: u64,
    place: StoredPlace,
    counts: UseCounts,
}

/// Where the table lists a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct StoredPlace {
    slot: u32,
    shelf: u32,
    /// No other change of the table has this number.
    pub(in crate::cache) change: u64,
}

impl StoredPlace {
    /// `slot` is its number among all keys, `shelf` that among the partitions of its resource; 0 if it has neither an
    /// identity nor a body. There is no memory for so many keys that a number has more than 32 bits.
    pub(in crate::cache) fn new(slot: usize, shelf: usize) -> Self {
        let short = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            slot: short(slot),
            shelf: short(shelf),
            change: 0,
        }
    }

    /// Its number among all keys.
    pub(in crate::cache) fn slot(self) -> usize {
        usize::try_from(self.slot).unwrap_or(usize::MAX)
    }

    /// Its number among the partitions of its resource.
    pub(in crate::cache) fn shelf(self) -> usize {
        usize::try_from(self.shelf).unwrap_or(usize::MAX)
    }
}

impl Stored {
    /// The responses of a key whose memory counts against `budget`. They count the bodies that no other key counts, until
    /// [`Stored::release`]. Hits and uses are those of `previous`, if the key had responses before.
    pub(in crate::cache) fn new(
        (key, hash, budget): (StoredKey, u64, &Arc<Budget>),
        variants: Vec<Arc<Entry>>,
        watch: Watch,
        place: StoredPlace,
        previous: Option<&Self>,
    ) -> Self {
        let counted = variants.iter().map(|entry| {
            let body = entry.body().count_for(place.change);
            entry.head_bytes() + body
        });
        budget.take(key.heap_bytes());
        Self {
            responses_bytes: counted.sum(),
            variants: variants.into(),
            key,
            hash,
            watch,
            next: ArcSwapOption::empty(),
            budget: Arc::clone(budget),
            place,
            counts: previous
                .map(|previous| previous.counts.for_successor())
                .unwrap_or_default(),
        }
    }

    /// Lets other keys count the bodies.
    pub(in crate::cache) fn release(&self) {
        for entry in self.variants.iter() {
            entry.body().release(self.place.change);
        }
    }

    pub(in crate::cache) fn place(&self) -> StoredPlace {
        self.place
    }

    /// Hits, as far as the workers have counted them.
    pub(in crate::cache) fn hits(&self) -> u64 {
        self.counts.hits()
    }

    pub(in crate::cache) fn add_hits(&self, hits: u64) {
        self.counts.add_hits(hits);
    }

    /// Counts a use. A key in frequent use is not written to.
    pub(in crate::cache) fn note_use(&self) {
        self.counts.note_use();
    }

    /// Takes one use away. Returns false if there is none.
    pub(in crate::cache) fn take_use(&self) -> bool {
        self.counts.take_use()
    }

    /// The memory of the responses and their key, in bytes. A body that another key counts is left out.
    pub(in crate::cache) fn weight_bytes(&self) -> u64 {
        self.responses_bytes + self.key.heap_bytes()
    }

    /// The number of responses.
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.variants.len() as u64
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.budget.give_back(self.key.heap_bytes());
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut stored = formatter.debug_struct("Stored");
        stored
            .field("key", &self.key)
            .field("variants", &self.variants);
        stored.finish_non_exhaustive()
    }
}

/// The memory of responses in bytes, whoever shares their bodies.
pub(in crate::cache) fn total_bytes(variants: &[Arc<Entry>]) -> u64 {
    variants.iter().map(|entry| entry.weight_bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_for_a_key_takes_little_memory_beside_it() {
        // With the counters of its Arc it is in the allocator's class of 128 bytes.
        assert!(size_of::<Stored>() + 2 * size_of::<usize>() <= 128);
    }
}
