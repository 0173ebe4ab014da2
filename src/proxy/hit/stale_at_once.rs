//! A stale response that is served without waiting for its validation.

use tokio::time::Instant;

use crate::{
    cache::Entry,
    origin::PaceState,
    policy::{self, OriginFailure, OriginIndex, Time},
    proxy::{request::forwarded::ForwardedRequest, worker::Worker},
};

/// Why `entry` is served without waiting for its validation: the origin is known to fail, or gets no request at the moment,
/// and the entry may be served stale then (RFC 9111, 4.2.4). `None` if it is not.
pub(crate) fn why_stale_at_once(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    entry: &Entry,
    now: Time,
) -> Option<&'static str> {
    let failure = OriginFailure::Unreachable;
    let (policy, view) = (forwarded.policy(), forwarded.view());
    let limit = forwarded.config.head_limit().time;
    let why = |origin: &OriginIndex| {
        let health = &worker.shared.origins.get(*origin).health;
        match worker.origins.get(*origin).pace().state(Instant::now()) {
            PaceState::Paused(..) => Some("stale: the origin has asked for a pause"),
            PaceState::Limited(_) => Some("stale: --max-rate allows no more requests"),
            PaceState::Open => health
                .is_failing(now, limit)
                .then_some("stale: the origin is failing"),
        }
    };
    // Of several origins, one that responds is enough.
    let why = forwarded.origins().iter().try_fold("", |_, it| why(it))?;
    let may_be_served = policy::may_serve_stale(policy, &view, entry.head(), failure, now);
    may_be_served.ok().map(|()| why)
}
