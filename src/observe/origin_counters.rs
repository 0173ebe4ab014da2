//! What is counted of one origin: [`OriginCells`] for each worker, and [`OriginTotals`], their sum.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{
    cells,
    latency::{self, BUCKETS},
};
use crate::{origin::OriginErrorKind, policy::Time};

const FAILURES: usize = OriginErrorKind::ALL.len();

const LATENCY: usize = 0;
const LATENCY_MICROS: usize = LATENCY + BUCKETS;
const UNANSWERED: usize = LATENCY_MICROS + 1;
const FAILURE: usize = UNANSWERED + 1;
const ALL: usize = FAILURE + FAILURES;

/// The counts of one worker for one origin.
#[derive(Debug)]
pub(super) struct OriginCells {
    counts: [AtomicU64; ALL],
    /// Milliseconds since the epoch; 0 for never.
    last_answer: AtomicU64,
    last_failure: AtomicU64,
    /// The kind of the last failure.
    last_kind: AtomicU64,
}

impl Default for OriginCells {
    fn default() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; ALL],
            last_answer: AtomicU64::new(0),
            last_failure: AtomicU64::new(0),
            last_kind: AtomicU64::new(0),
        }
    }
}

impl OriginCells {
    /// Counts a response whose headers arrived.
    pub(super) fn answered(&self, latency: Duration, now: Time) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        cells::add(&self.counts, LATENCY + latency::bucket(micros), 1);
        cells::add(&self.counts, LATENCY_MICROS, micros);
        self.last_answer.store(now.unix_millis(), Ordering::Relaxed);
    }

    /// Counts a request that was sent and got no response.
    pub(super) fn unanswered(&self, kind: OriginErrorKind, now: Time) {
        cells::add(&self.counts, UNANSWERED, 1);
        self.failed(kind, now);
    }

    /// Counts a failure of another kind: of a request that was not sent, or of the body of a response.
    pub(super) fn failed(&self, kind: OriginErrorKind, now: Time) {
        cells::add(&self.counts, FAILURE + kind as usize, 1);
        // These are caused by the client or by the proxy, not by the origin.
        let is_our_own = matches!(
            kind,
            OriginErrorKind::Busy
                | OriginErrorKind::Limited
                | OriginErrorKind::Paused
                | OriginErrorKind::Offline
                | OriginErrorKind::Upload
        );
        if !is_our_own {
            self.last_kind.store(kind as u64, Ordering::Relaxed);
            self.last_failure
                .store(now.unix_millis(), Ordering::Relaxed);
        }
    }
}

/// What all workers have counted of one origin, or of all of them.
#[derive(Clone, Debug)]
pub struct OriginTotals {
    counts: [u64; ALL],
    last_answer: u64,
    last_failure: u64,
    last_kind: u64,
}

impl Default for OriginTotals {
    fn default() -> Self {
        Self {
            counts: [0; ALL],
            last_answer: 0,
            last_failure: 0,
            last_kind: 0,
        }
    }
}

impl OriginTotals {
    pub(super) fn add(&mut self, cells: &OriginCells) {
        cells::add_all(&mut self.counts, &cells.counts);
        let last_answer = cells.last_answer.load(Ordering::Relaxed);
        self.last_answer = self.last_answer.max(last_answer);
        let last_failure = cells.last_failure.load(Ordering::Relaxed);
        if last_failure > self.last_failure {
            self.last_failure = last_failure;
            self.last_kind = cells.last_kind.load(Ordering::Relaxed);
        }
    }

    /// What was counted since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        cells::subtract(&mut since.counts, &earlier.counts);
        since
    }

    fn range(&self, first: usize, length: usize) -> &[u64] {
        self.counts.get(first..first + length).unwrap_or(&[])
    }

    /// Responses whose headers arrived.
    pub fn answers(&self) -> u64 {
        self.latency_counts().iter().sum()
    }

    /// Requests that were sent and got no response.
    pub fn unanswered(&self) -> u64 {
        self.range(UNANSWERED, 1).iter().sum()
    }

    /// Failed requests by kind: also those that were not sent, and those whose body was cut.
    pub fn failed_by(&self) -> impl Iterator<Item = (OriginErrorKind, u64)> + '_ {
        let counts = self.range(FAILURE, FAILURES).iter().copied();
        OriginErrorKind::ALL.into_iter().zip(counts)
    }

    /// Responses, by bucket of [`super::BOUNDS_MILLIS`].
    pub fn latency_counts(&self) -> &[u64] {
        self.range(LATENCY, BUCKETS)
    }

    /// The sum of all latencies, in seconds.
    #[allow(clippy::cast_precision_loss, reason = "a sum for means")]
    pub fn latency_seconds(&self) -> f64 {
        let micros: u64 = self.range(LATENCY_MICROS, 1).iter().sum();
        micros as f64 / 1e6
    }

    /// The latency percentile for `share` (0.9 for the 90th), in milliseconds. `None` if there were no responses.
    pub fn latency_percentile(&self, share: f64) -> Option<f64> {
        latency::percentile(self.latency_counts(), share)
    }

    /// When the last response came; `None` if none did.
    pub fn last_answer(&self) -> Option<Time> {
        (self.last_answer > 0).then(|| Time::from_unix_millis(self.last_answer))
    }

    /// When a request last failed, and how; `None` if none did.
    pub fn last_failure(&self) -> Option<(Time, OriginErrorKind)> {
        let kind = usize::try_from(self.last_kind).unwrap_or(0);
        let kind = OriginErrorKind::ALL.get(kind)?;
        (self.last_failure > 0).then(|| (Time::from_unix_millis(self.last_failure), *kind))
    }
}
