//! What the proxy does, counted: how many requests, with what outcome, and what the cache has spared the origin.
//!
//! | file | what |
//! |---|---|
//! | `counters.rs` | [`Tally`]: what one worker counts, in memory that no other worker writes |
//! | `latency.rs` | how long the origin takes, in fixed buckets |
//! | `report.rs` | [`Report`]: all of it, for people and programs |
//! | `feed.rs` | [`Feed`]: the latest requests, for those who watch |
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

use self::counters::Block;
pub use self::{
    counters::{Tally, Totals},
    feed::{Feed, Seen},
    latency::BOUNDS_MILLIS,
    report::{CacheReport, Cause, OriginReport, Report, Saved, duration, grouped},
};

/// The counters of all workers of one proxy.
#[derive(Debug)]
pub struct Observer {
    /// Locked when a worker starts and when somebody asks, never by a request.
    blocks: Mutex<Vec<Arc<Block>>>,
    began: Instant,
    feed: Option<Feed>,
    /// Until somebody takes it.
    seen: Mutex<Option<Receiver<Seen>>>,
}

impl Observer {
    /// Nothing counted yet. With an audience it also keeps the latest requests for it.
    pub fn new(audience: Audience) -> Self {
        let (feed, seen) = match audience {
            Audience::None => (None, None),
            Audience::Dashboard => {
                let (feed, seen) = Feed::new();
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
    pub fn tally(&self) -> Tally {
        let tally = Tally::default();
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
    pub fn feed(&self) -> Option<&Feed> {
        self.feed.as_ref()
    }

    /// The latest requests, for the one who watches them; None when there is nobody for whom to keep them.
    pub fn watch(&self) -> Option<Receiver<Seen>> {
        locked(&self.seen).take()
    }
}

/// Who wants to know of single requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody.
    None,
    /// Those who look at the dashboard.
    Dashboard,
}

/// Whoever panicked while it held the lock has changed nothing by half.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
