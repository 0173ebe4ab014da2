//! The shared tier, and what the actor knows of other instances.

use std::sync::Arc;

use crate::{
    cache::{
        shared_tier::{
            known_ends::{KnownEnds, Verdict},
            tier::SharedTier,
        },
        store::{budget::Budget, entry::Entry, key::Key},
    },
    policy::{StoredHead, Time},
    redis::Stamp,
};

/// The shared tier, and what the actor knows of the ends at other instances.
#[derive(Debug)]
pub(in crate::cache) struct SharedState {
    pub(super) tier: Arc<SharedTier>,
    pub(super) ends: KnownEnds,
    /// The end of the lease after which everything was removed here. `None` if there was none.
    pub(super) cleared_after: Option<u64>,
}

impl SharedState {
    /// For an actor that starts. `is_restart` if one before it has failed.
    pub(in crate::cache) fn new(tier: Arc<SharedTier>, is_restart: bool) -> Self {
        let ends = match is_restart {
            true => KnownEnds::after_failure(tier.stamp(), tier.last_token()),
            false => KnownEnds::default(),
        };
        Self {
            tier,
            ends,
            cleared_after: None,
        }
    }

    /// What was applied here, for a fetch that begins now. `None` if its response must not be shared.
    pub(in crate::cache) fn stamp(&self) -> Option<Stamp> {
        self.tier.stamp()
    }

    /// `entry` as it may be used, which was fetched for `key` when everything until `stamp` was known; `None` if it must not be
    /// used.
    pub(in crate::cache) fn judged(
        &self,
        stamp: Stamp,
        (key, entry): (&Key, Arc<Entry>),
        (now, budget): (Time, &Arc<Budget>),
    ) -> Option<Arc<Entry>> {
        match self.verdict(stamp, key, entry.head()) {
            Verdict::Usable => Some(entry),
            Verdict::Expired => {
                let head = entry.head().expired(now);
                Some(Arc::new(entry.with_head(head, budget)))
            }
            Verdict::Ended => None,
        }
    }

    /// What the ends mean for a response that was fetched for `key` when everything until `stamp` was known. It has ended if
    /// this instance does not know of the ends at others any more.
    pub(super) fn verdict(&self, stamp: Stamp, key: &Key, head: &StoredHead) -> Verdict {
        match self.tier.has_lease() {
            true => self.ends.verdict(stamp, &key.resource, head),
            false => Verdict::Ended,
        }
    }
}
