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

/// A path of a Host, by its hash.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct PathHash(u64);

impl NotStoredPaths {
    pub(super) fn new() -> Self {
        Self {
            hashes: RecentHashes::new(MAX_PATHS),
            hasher: RandomState::default(),
        }
    }

    /// The path of `resource`, for the calls below.
    pub(super) fn path(&self, resource: &Resource) -> PathHash {
        PathHash(self.hasher.hash_one(resource.path_and_host()))
    }

    pub(super) fn contains(&self, path: PathHash) -> bool {
        self.hashes.get(path.0).is_some()
    }

    /// Notes that a response was stored.
    pub(super) fn stored(&mut self, path: PathHash) {
        self.hashes.remove(path.0);
    }

    /// Notes that a response was not stored, for this reason.
    pub(super) fn not_stored(&mut self, path: PathHash, reason: Reason) {
        if reason.is_about_response() {
            self.hashes.insert(path.0, ());
        } else if reason == Reason::IgnoredCookies {
            // It was storable but for the cookies.
            self.stored(path);
        }
    }

    pub(super) fn clear(&mut self) {
        self.hashes.clear();
    }
}
