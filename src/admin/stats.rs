//! `stats`: the counters of the proxy and of its cache.

use crate::{cache::GetStats, observe::Report, proxy::Shared};

/// What the proxy has counted so far. Without the cache's part if the cache does not respond.
pub async fn stats(shared: &Shared) -> Report {
    let stored = shared.cache.send(GetStats).await.ok();
    let report = Report::new(&shared.observer, stored, shared.config().policy.mode);
    let report = report.with_origins(shared.origin_counts());
    report.with_paces(shared.paces(), tokio::time::Instant::now())
}
