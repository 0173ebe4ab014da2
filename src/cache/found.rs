//! What the store says of what it holds, and what has become of it.

use std::sync::Arc;

use crate::cache::{
    store::{entry::Entry, shared_list::SharedList},
    worker_cache::generations::Generation,
};

/// What is stored for a key: in the partition of its identity, and in everybody's.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub(super) own: Option<SharedList<Entry>>,
    pub(super) shared: Option<SharedList<Entry>>,
    /// Until when this is what is stored.
    pub(super) generation: Generation,
}

impl Found {
    /// All variants, those of the identity's own partition first.
    pub fn variants(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        let own = self.own.iter().flat_map(|variants| variants.iter());
        own.chain(self.shared.iter().flat_map(|variants| variants.iter()))
    }

    /// What all of it counts against the budget, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.variants().map(|entry| entry.weight_bytes()).sum()
    }

    /// True when nothing was stored, replaced or removed between the two looks.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        fn same(a: Option<&SharedList<Entry>>, b: Option<&SharedList<Entry>>) -> bool {
            match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.is_same_as(b),
                _ => false,
            }
        }
        same(self.own.as_ref(), other.own.as_ref())
            && same(self.shared.as_ref(), other.shared.as_ref())
    }
}

/// When a fetch began that may come to claim the right to store what it has brought.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot(pub(super) Generation);

/// What became of a [`Put`](super::Put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored.
    Stored,
    /// A Clear or an invalidation came in between.
    Void,
    /// A newer answer is stored.
    Outdated,
    /// Everything else that could be evicted was, and it still does not fit.
    NoRoom,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Stored responses.
    pub entries: u64,
    /// What they held, in bytes, overhead included.
    pub bytes: u64,
}
