//! The claim of a fetch: whether this request leads it or follows another one.

use std::sync::Arc;

use crate::{
    cache::{Claim, ClaimBasis, Claimed, Coalescing, Entry, FetchTicket, Found},
    clock,
    policy::{self, Time},
    proxy::{fetch::plan::FetchPlan, request::forwarded::ForwardedRequest, worker::Worker},
};

/// Claims the fetch that was planned when `seen` was stored; `None` if the cache does not answer. A fetch for a key whose
/// responses are not stored may lead without a claim.
pub(crate) async fn claim(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    seen: Found,
    plan: &FetchPlan,
    now: Time,
) -> Option<Claimed> {
    let is_plain = plan.is_without_entry() && plan.coalescing == Coalescing::Join;
    if is_plain
        && plan.variant.is_none()
        && seen.is_empty()
        && let Some(ticket) = worker.known_misses.ticket(&forwarded.key, now)
    {
        let claimed = Claimed::Lead(ticket);
        return Some(under_current_config(worker, forwarded, claimed));
    }
    let of_stored = |entry: &Arc<Entry>| policy::variant(entry.head(), &forwarded.headers);
    let claim = Claim {
        variant: plan.variant.or_else(|| seen.variants().find_map(of_stored)),
        wait: forwarded.config.coalesce_wait,
        key: forwarded.key.clone(),
        basis: ClaimBasis::Found(seen),
        revalidates: plan.validated_entry(),
        coalescing: plan.coalescing,
        now,
    };
    let claimed = worker.shared.cache.send(claim).await.ok()?;
    Some(under_current_config(worker, forwarded, claimed))
}

/// The claim of a response that can be stored; `None` if `ticket` was claimed.
pub(crate) fn late_claim(worker: &Worker, ticket: &FetchTicket) -> Option<Claim> {
    worker.known_misses.late_claim(ticket, clock::now)
}

/// Claims the fetch of `ticket` with its [`late_claim`]. Returns false if the response must not be stored.
pub(crate) async fn is_claimed_late(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    ticket: &mut FetchTicket,
    claim: Claim,
) -> bool {
    let claimed = worker.shared.cache.send(claim).await;
    let claimed = claimed.map(|claimed| under_current_config(worker, forwarded, claimed));
    match claimed {
        Ok(Claimed::Lead(claimed)) => worker.known_misses.replace(ticket, claimed),
        _ => false,
    }
}

/// Declines a claim if the configuration has changed since the request began: a response that was partitioned under
/// other settings must not be stored. Checking after the claim is enough: a reload clears the cache, which voids
/// earlier tickets.
pub(crate) fn under_current_config(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    claimed: Claimed,
) -> Claimed {
    match claimed {
        Claimed::Lead(_) if !worker.config.is_current(&forwarded.config) => Claimed::Declined,
        claimed => claimed,
    }
}
