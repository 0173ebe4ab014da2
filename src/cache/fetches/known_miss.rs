//! What a worker knows of a response that is not stored.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    cache::{
        fetches::recipients::TicketRecipients,
        store::changes::{ChangeCounts, Snapshot, Watch},
    },
    policy::{Reason, Time},
};

/// The last claim of a worker for a key whose responses are not stored. As long as nothing has changed since, another claim
/// would have the same result.
#[derive(Debug)]
pub(in crate::cache) struct KnownMiss {
    pub(in crate::cache) recipients: Arc<TicketRecipients>,
    pub(in crate::cache) max_object_bytes: u64,
    pub(in crate::cache) path_not_stored: bool,
    /// Why the response was not stored.
    pub(in crate::cache) reason: Reason,
    /// The resource at the time of the claim, when nothing was stored for the key.
    pub(in crate::cache) claimed_at: Snapshot,
    /// Unsafe requests to related paths, up to the end of its fetch.
    pub(in crate::cache) related: Watch,
    /// From then on the next request claims.
    pub(in crate::cache) until: Time,
    /// Set when a later response is another one.
    pub(in crate::cache) has_ended: AtomicBool,
}

impl KnownMiss {
    /// The next request claims.
    pub(in crate::cache) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    /// True if a request at `now` need not claim. `until` is never further ahead than `most`, unless the clock was set back.
    pub(in crate::cache) fn is_current(
        &self,
        changes: &ChangeCounts,
        now: Time,
        most: Time,
    ) -> bool {
        now < self.until
            && self.until <= most
            && !self.has_ended.load(Ordering::Relaxed)
            && self.is_unchanged(changes)
    }

    /// True if nothing of the resource was stored, invalidated or cleared since the claim, and no response for it is in doubt.
    pub(in crate::cache) fn is_unchanged(&self, changes: &ChangeCounts) -> bool {
        changes.is_unchanged_since(self.claimed_at) && changes.is_undoubted(&self.related)
    }
}
