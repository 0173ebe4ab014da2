//! The claim of a fetch: whether this request leads it or follows another one.

use std::sync::Arc;

use crate::{
    cache::{Claim, ClaimBasis, Claimed, Entry, Found},
    policy::{self, Time},
    proxy::{fetch::plan::FetchPlan, request::forwarded::ForwardedRequest, worker::Worker},
};

/// Claims the fetch that was planned when `seen` was stored; `None` if the cache does not answer.
pub(crate) async fn claim(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    seen: Found,
    plan: &FetchPlan,
    now: Time,
) -> Option<Claimed> {
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
