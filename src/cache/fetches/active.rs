//! The fetches under way, as the actor knows them.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::{
    cache::{
        fetches::reader::{FetchEvent, FetchId, FetchState, SharedFetch},
        messages::Claim,
        store::{entry::Entry, key::Partition},
    },
    policy::Time,
};

/// A fetch under way. Its response may be stored as long as the actor has the fetch in its list.
pub(in crate::cache) struct Fetch {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) partition: Partition,
    /// Which variant it is for; `None` if no Vary was known.
    pub(in crate::cache) variant: Option<u64>,
    /// When it began.
    pub(in crate::cache) since: Time,
    /// The stored response that it revalidates; `None` if it fetches a new one.
    pub(in crate::cache) revalidates: Option<Arc<Entry>>,
    /// What followers join; `None` if there may be no followers.
    pub(in crate::cache) joinable: Option<SharedFetch>,
    /// How many requests have joined.
    pub(in crate::cache) followers: u64,
    /// Tells those who wait for the head that the fetch is voided.
    pub(in crate::cache) voiding: watch::Sender<FetchState>,
}

impl Fetch {
    /// What a claim for its key joins; `None` if the claim must not wait for this fetch.
    pub(in crate::cache) fn joinable_by(&self, claim: &Claim) -> Option<SharedFetch> {
        let shared = self.joinable.as_ref()?;
        let wait_millis = u64::try_from(claim.wait.as_millis()).unwrap_or(u64::MAX);
        // A clock that was set makes no fetch young again.
        let left_millis = wait_millis.saturating_sub(claim.now.millis_apart(self.since));
        let is_for_it = self.partition == claim.key.partition() && self.variant == claim.variant;
        (is_for_it && shared.is_joinable(claim.now, left_millis > 0))
            .then(|| shared.joined(Duration::from_millis(left_millis.saturating_add(1))))
    }

    /// Tells those who wait for the head to look again: the fetch is not in the list any more. Those who read the body
    /// read on.
    pub(in crate::cache) fn voided(&self) {
        self.voiding.send_if_modified(|state| {
            let is_awaited = state.event.is_none();
            if is_awaited {
                state.event = Some(FetchEvent::Voided);
            }
            is_awaited
        });
    }

    /// True if it revalidates `entry`.
    pub(in crate::cache) fn revalidates(&self, entry: Option<&Arc<Entry>>) -> bool {
        let both = self.revalidates.as_ref().zip(entry);
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }
}
