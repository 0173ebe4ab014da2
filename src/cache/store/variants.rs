//! The responses stored for one key.

use std::{cell::Cell, sync::Arc};

use crate::cache::store::{budget::Charge, entry::Entry, shared_list::SharedList};

/// The responses stored for one key.
#[derive(Debug)]
pub(in crate::cache) struct Variants {
    pub(in crate::cache) variants: SharedList<Entry>,
    /// The memory of the key, counted against the budget.
    key: Charge,
    /// The memory of the responses, in bytes. A body that another key counts is left out.
    responses_bytes: u64,
    place: StoredPlace,
    /// Hits, as far as the workers have reported them.
    hits: Cell<u64>,
}

/// Where the table lists a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct StoredPlace {
    /// Its number among all keys.
    pub(in crate::cache) slot: usize,
    /// Its number among the partitions of its resource; 0 if it has neither an identity nor a body.
    pub(in crate::cache) shelf: usize,
    /// No other change of the table has this number.
    pub(in crate::cache) change: u64,
}

impl Variants {
    /// The responses of a key whose memory is `key`. They count the bodies that no other key counts, until
    /// [`Variants::release`].
    pub(in crate::cache) fn new(
        variants: Vec<Arc<Entry>>,
        key: Charge,
        place: StoredPlace,
        hits: u64,
    ) -> Self {
        let counted = variants.iter().map(|entry| {
            let body = entry.body().count_for(place.change);
            entry.head_bytes() + body
        });
        Self {
            responses_bytes: counted.sum(),
            variants: variants.into(),
            key,
            place,
            hits: Cell::new(hits),
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

    pub(in crate::cache) fn hits(&self) -> u64 {
        self.hits.get()
    }

    /// Adds hits that a worker has reported.
    pub(in crate::cache) fn add_hits(&self, hits: u32) {
        self.hits.set(self.hits.get() + u64::from(hits));
    }

    /// The memory of the responses and their key, in bytes. A body that another key counts is left out.
    pub(in crate::cache) fn weight_bytes(&self) -> u64 {
        self.responses_bytes + self.key.bytes()
    }

    /// The number of responses.
    pub(in crate::cache) fn entries(&self) -> u64 {
        self.variants.len() as u64
    }
}

/// The memory of responses in bytes, whoever shares their bodies.
pub(in crate::cache) fn total_bytes(variants: &[Arc<Entry>]) -> u64 {
    variants.iter().map(|entry| entry.weight_bytes()).sum()
}
