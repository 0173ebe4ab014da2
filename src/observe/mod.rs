//! Counters: requests by outcome and reason, what the cache saved, latency and failures of the origin.
//!
//! | file | content |
//! |---|---|
//! | `counters.rs` | [`WorkerCounters`]: the counters of one worker, and [`Totals`], their sum |
//! | `client_counters.rs` | [`ClientTotals`]: what is counted of the connections of clients |
//! | `client_report.rs` | [`ClientReport`]: the same for `stats` and the dashboard |
//! | `origin_counters.rs` | [`OriginTotals`]: what is counted of one origin |
//! | `route_counters.rs` | [`RouteTotals`]: what is counted of one route |
//! | `cells.rs` | numbers that one thread writes and others read |
//! | `tunnel_end.rs` | why a tunnel has ended |
//! | `latency.rs` | latency of the origin, in fixed buckets |
//! | `report.rs` | [`Report`]: all counters, for `stats` and the dashboard |
//! | `dropped_lines.rs` | how many lines of log were dropped |
//! | `feed.rs` | [`RequestFeed`]: finished requests, one by one, for the dashboard |
//!
//! A request costs a few additions: no lock, no allocation. The sums are made when they are read.

mod cells;
mod certificate_report;
mod client_counters;
mod client_report;
mod counters;
mod dropped_lines;
mod feed;
mod latency;
mod origin_counters;
mod report;
mod route_counters;
mod tunnel_end;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Receiver;

pub use self::{
    certificate_report::CertificateReport,
    client_counters::{ClientProtocol, ClientTotals, HandshakeEnd},
    client_report::ClientReport,
    counters::{Totals, WorkerCounters},
    dropped_lines::{count_dropped_log_lines, dropped_log_lines},
    feed::{FinishedRequest, RequestFeed},
    latency::BOUNDS_MILLIS,
    origin_counters::OriginTotals,
    report::{
        OriginCount, OriginReport, OriginState, ReasonCount, Report, RouteCount, Saved,
        TunnelReport, duration, grouped,
    },
    route_counters::{RouteSlot, RouteTotals},
    tunnel_end::TunnelEnd,
};
use self::{counters::CounterBlock, route_counters::RouteNames};

/// The counters of all workers of one proxy.
#[derive(Debug)]
pub struct Observer {
    /// Locked when a worker starts and when the counters are read, never by a request.
    blocks: Mutex<Vec<Arc<CounterBlock>>>,
    /// How many origins are counted.
    origins: usize,
    /// Locked when a worker begins to use a configuration and when the counters are read, never by a request.
    routes: Mutex<RouteNames>,
    began: Instant,
    feed: Option<RequestFeed>,
    /// `None` once it was taken.
    seen: Mutex<Option<Receiver<FinishedRequest>>>,
}

impl Observer {
    /// Nothing counted yet. So many origins will be counted.
    pub fn new(live_requests: LiveRequests, origins: usize) -> Self {
        let (feed, seen) = match live_requests {
            LiveRequests::Off => (None, None),
            LiveRequests::On => {
                let (feed, seen) = RequestFeed::new();
                (Some(feed), Some(seen))
            }
        };
        Self {
            blocks: Mutex::default(),
            origins,
            routes: Mutex::default(),
            began: Instant::now(),
            feed,
            seen: Mutex::new(seen),
        }
    }

    /// Counters for a worker that starts.
    pub fn tally(&self) -> WorkerCounters {
        let tally = WorkerCounters::new(self.origins);
        locked(&self.blocks).push(tally.block());
        tally
    }

    /// The sum of the counters of all workers.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for block in locked(&self.blocks).iter() {
            totals.add(block);
        }
        totals
    }

    /// What was counted of each origin, by its index.
    pub fn origin_totals(&self) -> Vec<OriginTotals> {
        let mut totals = vec![OriginTotals::default(); self.origins];
        for block in locked(&self.blocks).iter() {
            for (sum, cells) in totals.iter_mut().zip(&block.origins) {
                sum.add(cells);
            }
        }
        totals
    }

    /// What was counted of each route. The last route, which matches all requests, is always among them.
    pub fn route_totals(&self) -> Vec<RouteTotals> {
        let blocks = locked(&self.blocks);
        let workers = blocks.iter().map(|block| &block.routes);
        RouteTotals::of(&locked(&self.routes), workers)
    }

    /// True if there have been routes.
    pub fn has_routes(&self) -> bool {
        !locked(&self.routes).is_empty()
    }

    /// Where the requests of a route are counted: its name is what it matches. The same name has the same slot.
    pub fn route_slot(&self, name: &str) -> RouteSlot {
        locked(&self.routes).slot(name)
    }

    /// Time since the counters began.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where to report finished requests; `None` if they are only counted.
    pub fn feed(&self) -> Option<&RequestFeed> {
        self.feed.as_ref()
    }

    /// The receiving side of the feed; `None` if there is no feed, or the receiver was taken before.
    pub fn watch(&self) -> Option<Receiver<FinishedRequest>> {
        locked(&self.seen).take()
    }
}

/// Whether finished requests are also reported one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveRequests {
    /// No: they are only counted.
    Off,
    /// Yes, through a [`RequestFeed`], for the dashboard.
    On,
}

/// A panic under the lock leaves nothing half changed, so a poisoned lock is used as it is.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
