//! Paths whose last response was not storable.

use std::hash::BuildHasher as _;

use foldhash::quality::RandomState;

use crate::{
    cache::{recent::RecentHashes, store::key::Resource},
    policy::Reason,
};

/// How many paths are remembered.
const MAX_PATHS: usize = 4096;

/// The paths whose last response was not storable, whatever the query. Requests for them are forwarded with ignored
/// cookies.
pub(super) struct NotStoredPaths {
    /// By a keyed hash of path and Host, because clients determine how long they are.
    hashes: RecentHashes<()>,
    hasher: RandomState,
}

impl NotStoredPaths {
    pub(super) fn new() -> Self {
        Self {
            hashes: RecentHashes::new(MAX_PATHS),
            hasher: RandomState::default(),
        }
    }

    pub(super) fn contains(&self, resource: &Resource) -> bool {
        self.hashes.get(self.hash(resource)).is_some()
    }

    /// Notes that a response was stored.
    pub(super) fn stored(&mut self, resource: &Resource) {
        let hash = self.hash(resource);
        self.hashes.remove(hash);
    }

    /// Notes that a response was not stored, for this reason.
    pub(super) fn not_stored(&mut self, resource: &Resource, reason: Reason) {
        if reason.is_about_response() {
            self.hashes.insert(self.hash(resource), ());
        } else if reason == Reason::IgnoredCookies {
            // It was storable but for the cookies.
            self.stored(resource);
        }
    }

    pub(super) fn clear(&mut self) {
        self.hashes.clear();
    }

    fn hash(&self, resource: &Resource) -> u64 {
        self.hasher.hash_one(resource.path_and_host())
    }
}
