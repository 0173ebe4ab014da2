//! The fetches under way, as the actor knows them.

use std::{sync::Arc, time::Duration};

use crate::{
    cache::{
        fetches::reader::{FetchId, FetchState},
        messages::Claim,
        not_stored_paths::PathHash,
        store::{entry::Entry, key::Partition},
    },
    policy::Time,
    redis::Stamp,
};

/// A fetch under way. Its response may be stored as long as the actor has the fetch in its list.
pub(in crate::cache) struct Fetch {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) partition: Partition,
    pub(in crate::cache) path: PathHash,
    /// What was applied here when it began; `None` if its response is not shared with other instances.
    pub(in crate::cache) stamp: Option<Stamp>,
    /// Which variant it is for; `None` if no Vary was known.
    pub(in crate::cache) variant: Option<u64>,
    /// When it began.
    pub(in crate::cache) since: Time,
    /// The stored response that it revalidates; `None` if it fetches a new one.
    pub(in crate::cache) revalidates: Option<Arc<Entry>>,
    /// Whether there may be followers.
    pub(in crate::cache) is_joinable: bool,
    /// How many requests have joined.
    pub(in crate::cache) followers: u64,
    /// What its followers see.
    pub(in crate::cache) state: Arc<FetchState>,
}

impl Fetch {
    /// How long a claim for its key may wait for its head; `None` if the claim must not join it.
    pub(in crate::cache) fn joinable_by(&self, claim: &Claim) -> Option<Duration> {
        let wait_millis = u64::try_from(claim.wait.as_millis()).unwrap_or(u64::MAX);
        // A clock that was set makes no fetch young again.
        let left_millis = wait_millis.saturating_sub(claim.now.millis_apart(self.since));
        let is_for_it = self.partition == claim.key.partition() && self.variant == claim.variant;
        let is_joinable =
            self.is_joinable && is_for_it && self.state.is_joinable(claim.now, left_millis > 0);
        is_joinable.then(|| Duration::from_millis(left_millis.saturating_add(1)))
    }

    /// Tells those who wait for the head to look again: the fetch is not in the list any more. Those who read the body
    /// read on.
    pub(in crate::cache) fn voided(&self) {
        self.state.voided();
    }

    /// True if it revalidates `entry`.
    pub(in crate::cache) fn revalidates(&self, entry: Option<&Arc<Entry>>) -> bool {
        let both = self.revalidates.as_ref().zip(entry);
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }
}
