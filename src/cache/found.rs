//! The results of lookups and changes.

use std::sync::Arc;

use crate::cache::store::{entry::Entry, stored::Stored};

/// The responses stored for a key: those of its identity, and the shared ones.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub(super) own: Option<Arc<Stored>>,
    pub(super) shared: Option<Arc<Stored>>,
}

impl Found {
    /// What is stored, that of the identity first.
    pub(super) fn stored(&self) -> impl Iterator<Item = &Stored> + Clone {
        self.own.iter().chain(&self.shared).map(|stored| &**stored)
    }

    /// True if nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.own.is_none() && self.shared.is_none()
    }

    /// All variants, those of the identity first.
    pub fn variants(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        self.stored().flat_map(|stored| stored.variants.iter())
    }

    /// The memory of all variants and their keys, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.stored().map(Stored::weight_bytes).sum()
    }

    /// True if nothing was stored, replaced or removed between the two lookups.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let address = |stored: &Option<Arc<Stored>>| stored.as_ref().map(Arc::as_ptr);
        address(&self.own) == address(&other.own) && address(&self.shared) == address(&other.shared)
    }
}

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
