//! The keys of which a worker knows that their responses are not stored.
//!
//! After a response that was not stored, requests for the key do not wait for each other ([`HitsForMiss`](super::hit_for_miss)).
//! A claim for such a key decides nothing, as long as nothing of its resource has changed. So for a short time its worker
//! fetches without a claim. If a response can be stored after all, the fetch claims then ([`ClaimBasis::Since`]): the claim is
//! declined after a Clear or an invalidation.

use std::{cell::RefCell, sync::Arc, time::Duration};

use crate::{
    cache::{
        fetches::{known_miss::KnownMiss, ticket::FetchTicket},
        handle::Cache,
        messages::{Claim, ClaimBasis, Coalescing},
        recent::RecentHashes,
        store::key::Key,
    },
    policy::{Reason, Time},
};

/// For how many keys a worker knows that.
const MAX_KNOWN: usize = 1024;
/// How long requests for a key do not claim. Then one does, so that the actor learns of the last response.
const UNCLAIMED_FOR: Duration = Duration::from_secs(1);

/// The keys of one worker.
pub struct KnownMisses {
    cache: Cache,
    known: RefCell<RecentHashes<Arc<KnownMiss>>>,
}

impl KnownMisses {
    /// None.
    pub fn new(cache: Cache) -> Self {
        Self {
            cache,
            known: RefCell::new(RecentHashes::new(MAX_KNOWN)),
        }
    }

    /// Remembers that the response of the fetch of `ticket` is not stored, if requests for its key then need no claim.
    pub fn note(&self, ticket: &FetchTicket, reason: Reason, now: Time) {
        let until = now.saturating_add(UNCLAIMED_FOR);
        if let Some(known) = ticket.known_miss(reason, &self.cache.changes, until) {
            let hash = ticket.key().keyed_hash();
            self.known.borrow_mut().insert(hash, Arc::new(known));
        }
    }

    /// The ticket of a fetch for `key`, for which nothing was found and no variant is known; `None` if it must be claimed.
    pub fn ticket(&self, key: &Key, now: Time) -> Option<FetchTicket> {
        let known = self.known.borrow();
        let known = known.get(key.keyed_hash())?;
        let most = now.saturating_add(UNCLAIMED_FOR);
        known
            .is_current(&self.cache.changes, now, most)
            .then(|| FetchTicket::unclaimed(known, key.clone(), &self.cache.budget, now))
    }

    /// The claim that a fetch without one needs before its response is stored; `None` if it has one.
    pub fn late_claim(&self, ticket: &FetchTicket, now: impl FnOnce() -> Time) -> Option<Claim> {
        let known = ticket.unclaimed_since()?;
        Some(Claim {
            key: ticket.key().clone(),
            basis: ClaimBasis::Since(known.claimed_at),
            revalidates: None,
            coalescing: Coalescing::Never,
            variant: None,
            wait: Duration::ZERO,
            now: now(),
        })
    }

    /// Puts `claimed` in the place of `unclaimed`, whose response it may store. Returns false if that may be from before an
    /// unsafe request to a related path.
    pub fn replace(&self, unclaimed: &mut FetchTicket, claimed: FetchTicket) -> bool {
        let known = unclaimed.unclaimed_since();
        let is_current = known.is_some_and(|it| self.cache.changes.is_undoubted(&it.related));
        if is_current {
            *unclaimed = claimed.begun_with(unclaimed);
        }
        is_current
    }
}
