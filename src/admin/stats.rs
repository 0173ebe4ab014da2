//! `stats`: the counters of the proxy and of its cache.

use tokio::time::Instant;

use crate::{
    cache::{DiskTier, GetStats, SharedTier},
    observe::Report,
    policy::Time,
    proxy::Shared,
};

/// What the proxy has counted so far. Without the cache's part if the cache does not respond.
pub async fn stats(shared: &Shared, now: Time) -> Report {
    let stored = shared.cache.send(GetStats).await.ok();
    let observer = &shared.observer;
    let config = shared.config();
    let report = Report {
        is_offline: config.offline,
        disk: shared.cache.disk().map(DiskTier::stats),
        shared: shared.cache.shared().map(SharedTier::stats),
        certificates: shared.certificates(now),
        ..Report::new(observer, stored, config.policy.mode)
    };
    let states = shared.origin_states(now);
    report.with_origins(&observer.origin_totals(), states, Instant::now())
}
