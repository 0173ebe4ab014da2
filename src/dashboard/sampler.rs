//! [`Sampler`]: once a second it reads the counters and the finished requests, and publishes a [`PageUpdate`].

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{
    sync::{mpsc::Receiver, watch},
    time::{MissedTickBehavior, interval},
};

use crate::{
    admin, clock,
    observe::{FinishedRequest, Report, Totals},
    proxy::Shared,
};

const EVERY: Duration = Duration::from_secs(1);
/// How many finished requests a newly opened page gets.
const MAX_SEEN: usize = 200;
/// How many seconds of history a newly opened page gets.
const MAX_POINTS: usize = 300;

/// What all open pages get each second, serialized to JSON once.
#[derive(Clone, Debug, Default)]
pub(super) struct PageUpdate {
    /// The current state.
    pub(super) now: Arc<str>,
    /// The history, for newly opened pages.
    pub(super) past: Arc<str>,
    /// The latest requests, each with a sequence number.
    pub(super) seen: Arc<[(u64, Arc<str>)]>,
}

/// One second of the history.
#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    requests: u64,
    from_cache: u64,
    p50_millis: Option<f64>,
    p90_millis: Option<f64>,
}

/// The current state, as the page gets it.
#[derive(Serialize)]
struct Now<'a> {
    origin_url: &'a str,
    port: u16,
    policy: &'a str,
    version: &'a str,
    /// Requests that were dropped because there were too many.
    not_shown: u64,
    point: Point,
    report: Report,
}

/// Samples the counters, and publishes the samples.
pub(super) struct Sampler {
    shared: Arc<Shared>,
    origin_url: String,
    requests: Option<Receiver<FinishedRequest>>,
    ticks: watch::Sender<PageUpdate>,
    seen: VecDeque<(u64, Arc<str>)>,
    next: u64,
    points: VecDeque<Point>,
    counted: Totals,
}

impl Sampler {
    /// A sampler, and the receiver of what it publishes.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, watch::Receiver<PageUpdate>) {
        let (ticks, receiver) = watch::channel(PageUpdate::default());
        let sampler = Self {
            requests: shared.observer.watch(),
            origin_url: origin_names(&shared),
            shared,
            ticks,
            seen: VecDeque::new(),
            next: 0,
            points: VecDeque::new(),
            counted: Totals::default(),
        };
        (sampler, receiver)
    }

    /// Samples once a second until it is aborted.
    pub(super) async fn run(mut self) {
        let mut seconds = interval(EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            seconds.tick().await;
            self.take_requests();
            let point = self.point();
            if self.points.len() == MAX_POINTS {
                self.points.pop_front();
            }
            self.points.push_back(point);
            let feed = self.shared.observer.feed();
            let now = Now {
                origin_url: &self.origin_url,
                port: self.shared.config().port,
                policy: self.shared.config().policy.mode.as_str(),
                version: env!("CARGO_PKG_VERSION"),
                not_shown: feed.map_or(0, |feed| feed.dropped()),
                point,
                report: admin::stats(&self.shared, clock::now()).await,
            };
            let tick = PageUpdate {
                now: json(&now),
                past: json(&self.points),
                seen: self.seen.iter().cloned().collect(),
            };
            self.ticks.send_replace(tick);
        }
    }

    fn take_requests(&mut self) {
        let Some(requests) = &mut self.requests else {
            return;
        };
        // Only the requests that wait now: more may arrive as fast as they are taken.
        for _ in 0..requests.len() {
            let Ok(seen) = requests.try_recv() else {
                return;
            };
            if self.seen.len() == MAX_SEEN {
                self.seen.pop_front();
            }
            self.seen.push_back((self.next, json(&seen)));
            self.next += 1;
        }
    }

    /// The counters since the last point.
    fn point(&mut self) -> Point {
        let counted = self.shared.observer.totals();
        let since = counted.since(&self.counted);
        self.counted = counted;
        Point {
            requests: since.judged_requests(),
            from_cache: since.hits() + since.validated() + since.stale(),
            p50_millis: since.origin().latency_percentile(0.5),
            p90_millis: since.origin().latency_percentile(0.9),
        }
    }
}

fn json(value: &impl Serialize) -> Arc<str> {
    serde_json::to_string(value).unwrap_or_default().into()
}

/// The first origin, and how many others there are.
fn origin_names(shared: &Shared) -> String {
    let mut origins = shared
        .origin_states(clock::now())
        .map(|state| state.url.to_string());
    let first = origins.next().unwrap_or_default();
    match origins.count() {
        0 => first,
        1 => format!("{first} and another one"),
        others => format!("{first} and {others} others"),
    }
}
