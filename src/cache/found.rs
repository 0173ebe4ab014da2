//! The results of lookups and changes.

use std::sync::Arc;

use crate::cache::{
    store::{entry::Entry, shared_list::SharedList},
    worker_cache::generations::{Generation, RelatedChanges},
};

/// The responses stored for a key: those of its identity, and the shared ones.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub(super) own: Option<SharedList<Entry>>,
    pub(super) shared: Option<SharedList<Entry>>,
    /// The generation of the resource at the time of the lookup.
    pub(super) generation: Generation,
    /// The unsafe requests that concerned the resource until the lookup; `None` if no lifetime in it is a guess.
    pub(super) changes: Option<RelatedChanges>,
}

impl Found {
    /// All variants, those of the identity first.
    pub fn variants(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        let own = self.own.iter().flat_map(|variants| variants.iter());
        own.chain(self.shared.iter().flat_map(|variants| variants.iter()))
    }

    /// The memory of all variants, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.variants().map(|entry| entry.weight_bytes()).sum()
    }

    /// True if nothing was stored, replaced or removed between the two lookups.
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

/// The state of a resource at the start of a fetch that may claim later.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot(pub(super) Generation);

/// The result of a [`Put`](super::Put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored.
    Stored,
    /// Stored, and already stale: an unsafe request to a related path came after the claim.
    StoredStale,
    /// Not stored: a Clear or an invalidation came after the claim.
    Void,
    /// Not stored: a newer response is stored.
    Outdated,
    /// Not stored: it does not fit into the budget, even after evictions.
    NoRoom,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Stored responses.
    pub entries: u64,
    /// Their memory, in bytes, overhead included.
    pub bytes: u64,
}
