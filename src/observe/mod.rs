//! What the proxy does, counted: how many requests, with what outcome, and what the cache has spared the origin.
//!
//! | file | what |
//! |---|---|
//! | `counters.rs` | [`WorkerCounters`]: what one worker counts, in memory that no other worker writes |
//! | `latency.rs` | how long the origin takes, in fixed buckets |
//! | `report.rs` | [`Report`]: all of it, for people and programs |
//! | `feed.rs` | [`RequestFeed`]: the latest requests, for those who watch |
//!
//! Counting costs a request a few additions: no lock, no memory, nothing that another worker reads while it serves. The
//! sums are made when somebody asks.

mod counters;
mod feed;
mod latency;
mod report;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc::Receiver;

use self::counters::CounterBlock;
pub use self::{
    counters::{Totals, WorkerCounters},
    feed::{FinishedRequest, RequestFeed},
    latency::BOUNDS_MILLIS,
    report::{OriginReport, ReasonCount, Report, Saved, duration, grouped},
};

/// The counters of all workers of one proxy.
#[derive(Debug)]
pub struct Observer {
    /// Locked when a worker starts and when somebody asks, never by a request.
    blocks: Mutex<Vec<Arc<CounterBlock>>>,
    began: Instant,
    feed: Option<RequestFeed>,
    /// Until somebody takes it.
    seen: Mutex<Option<Receiver<FinishedRequest>>>,
}

impl Observer {
    /// Nothing counted yet.
    pub fn new(live_requests: LiveRequests) -> Self {
        let (feed, seen) = match live_requests {
            LiveRequests::Off => (None, None),
            LiveRequests::On => {
                let (feed, seen) = RequestFeed::new();
                (Some(feed), Some(seen))
            }
        };
        Self {
            blocks: Mutex::default(),
            began: Instant::now(),
            feed,
            seen: Mutex::new(seen),
        }
    }

    /// The counters of a worker that starts.
    pub fn tally(&self) -> WorkerCounters {
        let tally = WorkerCounters::default();
        locked(&self.blocks).push(tally.block());
        tally
    }

    /// What all workers together have counted.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for block in locked(&self.blocks).iter() {
            totals.add(block);
        }
        totals
    }

    /// How long it has been counting.
    pub fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    /// Where to tell of requests, when somebody listens.
    pub fn feed(&self) -> Option<&RequestFeed> {
        self.feed.as_ref()
    }

    /// The latest requests, for the one who watches them; None when there is nobody for whom to keep them.
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

/// Whoever panicked while it held the lock has changed nothing by half.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
