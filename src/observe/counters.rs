//! [`WorkerCounters`], one set for each worker, and [`Totals`], their sum.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::http::StatusCode;

use super::latency::{self, BUCKETS};
use crate::{
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    origin::OriginErrorKind,
    policy::{ForwardReason, Reason, Time},
};

const REASONS: usize = Reason::ALL.len();
const FORWARDS: usize = ForwardReason::ALL.len();
const ERRORS: usize = ProxyError::KINDS.len();
const FAILURES: usize = OriginErrorKind::ALL.len();
const CLASSES: usize = 5;

// The counters of a hit come first, so that they share one cache line.
const HIT: usize = 0;
const SAVED_MILLIS: usize = 1;
const SAVED_BYTES: usize = 2;
const CLASS: usize = 3;
const VALIDATED: usize = CLASS + CLASSES;
const STALE: usize = VALIDATED + 1;
const STALE_SAVED: usize = STALE + 1;
const COLLAPSED: usize = STALE_SAVED + 1;
const OWN: usize = COLLAPSED + 1;
const PASSED_BYTES: usize = OWN + 1;
const RECEIVED_BYTES: usize = PASSED_BYTES + 1;
const LATENCY_MICROS: usize = RECEIVED_BYTES + 1;
const LATENCY: usize = LATENCY_MICROS + 1;
const MISS: usize = LATENCY + BUCKETS;
const FAILED: usize = MISS + FORWARDS;
const NOT_STORED: usize = FAILED + ERRORS;
const NOT_REUSED: usize = NOT_STORED + REASONS;
const FAILURE: usize = NOT_REUSED + REASONS;
const TUNNEL: usize = FAILURE + FAILURES;
const TUNNEL_ENDED: usize = TUNNEL + 1;
const TO_ORIGIN_BYTES: usize = TUNNEL_ENDED + 1;
const TO_CLIENT_BYTES: usize = TO_ORIGIN_BYTES + 1;
const ALL: usize = TO_CLIENT_BYTES + 1;

/// The counts of one worker, aligned so that no two workers write to the same cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct CounterBlock {
    counts: [AtomicU64; ALL],
    /// Milliseconds since the epoch; 0 for never.
    last_answer: AtomicU64,
    last_failure: AtomicU64,
    /// The kind of the last failure.
    last_kind: AtomicU64,
}

/// The counters of one worker. Only its thread writes them, so an addition is a plain load and store.
#[derive(Debug)]
pub struct WorkerCounters {
    block: Arc<CounterBlock>,
    one_thread: PhantomData<Cell<()>>,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            block: Arc::new(CounterBlock {
                counts: [const { AtomicU64::new(0) }; ALL],
                last_answer: AtomicU64::new(0),
                last_failure: AtomicU64::new(0),
                last_kind: AtomicU64::new(0),
            }),
            one_thread: PhantomData,
        }
    }
}

impl WorkerCounters {
    pub(super) fn block(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }

    #[inline]
    fn add(&self, index: usize, number: u64) {
        if let Some(count) = self.block.counts.get(index) {
            let counted = count.load(Ordering::Relaxed);
            count.store(counted.wrapping_add(number), Ordering::Relaxed);
        }
    }

    /// Counts a response that begins to be sent.
    #[inline]
    pub fn answered(&self, status: StatusCode, cache_status: &CacheStatus) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES) - 1;
        self.add(CLASS + class, 1);
        if cache_status.saved_millis > 0 {
            self.add(SAVED_MILLIS, u64::from(cache_status.saved_millis));
        }
        match cache_status.outcome {
            RequestOutcome::Hit => self.add(HIT, 1),
            outcome => self.not_hit(outcome, cache_status),
        }
    }

    fn not_hit(&self, outcome: RequestOutcome, cache_status: &CacheStatus) {
        let forward = cache_status.why.map(|why| why.reason);
        match outcome {
            RequestOutcome::Hit => {}
            RequestOutcome::Validated => self.add(VALIDATED, 1),
            RequestOutcome::Stale => {
                self.add(STALE, 1);
                if forward.is_none() {
                    self.add(STALE_SAVED, 1);
                }
            }
            RequestOutcome::Miss => {
                self.add(MISS + forward.unwrap_or(ForwardReason::Miss) as usize, 1)
            }
            RequestOutcome::Collapsed => self.add(COLLAPSED, 1),
            RequestOutcome::Own => self.add(OWN, 1),
            RequestOutcome::Tunnel => self.add(TUNNEL, 1),
            RequestOutcome::Failed(name) => {
                let place = ProxyError::KINDS.iter().position(|kind| kind.0 == name);
                self.add(FAILED + place.unwrap_or(ERRORS - 1), 1);
            }
        }
        if let StoreOutcome::NotStored(reason) = cache_status.store {
            self.not_stored(reason);
        }
        if let Some(reason) = cache_status.why.and_then(|why| why.detail) {
            self.add(NOT_REUSED + reason as usize, 1);
        }
    }

    /// Counts a response of the origin that is not stored.
    pub fn not_stored(&self, reason: Reason) {
        self.add(NOT_STORED + reason as usize, 1);
    }

    /// Counts bytes of a body that were sent to a client without another request to the origin.
    #[inline]
    pub fn saved(&self, bytes: usize) {
        self.add(SAVED_BYTES, bytes as u64);
    }

    /// Counts bytes of a body that were sent to a client as they came from the origin.
    pub fn passed(&self, bytes: usize) {
        self.add(PASSED_BYTES, bytes as u64);
    }

    /// Counts bytes of a body that came from the origin.
    pub fn received(&self, bytes: usize) {
        self.add(RECEIVED_BYTES, bytes as u64);
    }

    /// Counts bytes that a tunnel has passed on to the origin, and to the client.
    pub fn tunnelled(&self, to_origin: u64, to_client: u64) {
        self.add(TO_ORIGIN_BYTES, to_origin);
        self.add(TO_CLIENT_BYTES, to_client);
    }

    /// Counts the end of a tunnel.
    pub fn tunnel_ended(&self) {
        self.add(TUNNEL_ENDED, 1);
    }

    /// Counts a response of the origin whose headers arrived.
    pub fn origin_answered(&self, latency: Duration, now: Time) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.add(LATENCY + latency::bucket(micros), 1);
        self.add(LATENCY_MICROS, micros);
        let block = &self.block;
        block
            .last_answer
            .store(now.unix_millis(), Ordering::Relaxed);
    }

    /// Counts a request to the origin that failed.
    pub fn origin_failed(&self, kind: OriginErrorKind, now: Time) {
        self.add(FAILURE + kind as usize, 1);
        // These are caused by the client or by the proxy, not by the origin.
        let is_our_own = matches!(
            kind,
            OriginErrorKind::Busy
                | OriginErrorKind::Limited
                | OriginErrorKind::Paused
                | OriginErrorKind::Upload
        );
        if !is_our_own {
            let block = &self.block;
            block.last_kind.store(kind as u64, Ordering::Relaxed);
            block
                .last_failure
                .store(now.unix_millis(), Ordering::Relaxed);
        }
    }
}

/// The sum of the counters of all workers.
#[derive(Clone, Debug)]
pub struct Totals {
    counts: [u64; ALL],
    last_answer: u64,
    last_failure: u64,
    last_kind: u64,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            counts: [0; ALL],
            last_answer: 0,
            last_failure: 0,
            last_kind: 0,
        }
    }
}

impl Totals {
    pub(super) fn add(&mut self, block: &CounterBlock) {
        for (sum, count) in self.counts.iter_mut().zip(&block.counts) {
            *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
        }
        let last_answer = block.last_answer.load(Ordering::Relaxed);
        self.last_answer = self.last_answer.max(last_answer);
        let last_failure = block.last_failure.load(Ordering::Relaxed);
        if last_failure > self.last_failure {
            self.last_failure = last_failure;
            self.last_kind = block.last_kind.load(Ordering::Relaxed);
        }
    }

    fn at(&self, index: usize) -> u64 {
        self.counts.get(index).copied().unwrap_or(0)
    }

    fn range(&self, first: usize, length: usize) -> &[u64] {
        self.counts.get(first..first + length).unwrap_or(&[])
    }

    /// Fresh stored responses served.
    pub fn hits(&self) -> u64 {
        self.at(HIT)
    }

    /// Stored responses served after the origin confirmed them with 304.
    pub fn validated(&self) -> u64 {
        self.at(VALIDATED)
    }

    /// Stored responses served while stale.
    pub fn stale(&self) -> u64 {
        self.at(STALE)
    }

    /// Responses that came from the origin.
    pub fn misses(&self) -> u64 {
        self.range(MISS, FORWARDS).iter().sum()
    }

    /// Requests that shared the fetch of another request.
    pub fn collapsed(&self) -> u64 {
        self.at(COLLAPSED)
    }

    /// Responses of the proxy's own.
    pub fn own(&self) -> u64 {
        self.at(OWN)
    }

    /// Tunnels that were opened.
    pub fn tunnels(&self) -> u64 {
        self.at(TUNNEL)
    }

    /// Tunnels that are open.
    pub fn open_tunnels(&self) -> u64 {
        self.at(TUNNEL).saturating_sub(self.at(TUNNEL_ENDED))
    }

    /// Bytes that tunnels have passed on to the origin.
    pub fn tunnel_to_origin_bytes(&self) -> u64 {
        self.at(TO_ORIGIN_BYTES)
    }

    /// Bytes that tunnels have passed on to clients.
    pub fn tunnel_to_client_bytes(&self) -> u64 {
        self.at(TO_CLIENT_BYTES)
    }

    /// Requests that got an error of the proxy.
    pub fn failed(&self) -> u64 {
        self.range(FAILED, ERRORS).iter().sum()
    }

    /// All requests.
    pub fn requests(&self) -> u64 {
        self.range(CLASS, CLASSES).iter().sum()
    }

    /// All requests, but those that the proxy answered itself, and tunnels: no cache could help them.
    pub fn judged_requests(&self) -> u64 {
        self.requests().saturating_sub(self.own() + self.tunnels())
    }

    /// Requests that needed no request to the origin.
    pub fn saved_requests(&self) -> u64 {
        self.hits() + self.at(STALE_SAVED) + self.collapsed()
    }

    /// How long the fetches took that these requests did not repeat, in milliseconds.
    pub fn saved_millis(&self) -> u64 {
        self.at(SAVED_MILLIS)
    }

    /// Bytes of bodies sent to clients that did not have to come from the origin.
    pub fn saved_bytes(&self) -> u64 {
        self.at(SAVED_BYTES)
    }

    /// Bytes of bodies sent to clients.
    pub fn sent_bytes(&self) -> u64 {
        self.at(SAVED_BYTES) + self.at(PASSED_BYTES)
    }

    /// Bytes of bodies that came from the origin.
    pub fn received_bytes(&self) -> u64 {
        self.at(RECEIVED_BYTES)
    }

    /// Responses by the first digit of their status, from 1 to 5.
    pub fn classes(&self) -> &[u64] {
        self.range(CLASS, CLASSES)
    }

    /// Misses, by the reason for which they went to the origin.
    pub fn misses_by(&self) -> impl Iterator<Item = (ForwardReason, u64)> + '_ {
        ForwardReason::ALL
            .into_iter()
            .zip(self.range(MISS, FORWARDS).iter().copied())
    }

    /// Responses of the origin that were not stored, by reason.
    pub fn not_stored_by(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        let counts = self.range(NOT_STORED, REASONS).iter().copied();
        Reason::ALL.into_iter().zip(counts)
    }

    /// Stored responses that were not served without asking the origin, by reason.
    pub fn not_reused_by(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        let counts = self.range(NOT_REUSED, REASONS).iter().copied();
        Reason::ALL.into_iter().zip(counts)
    }

    /// Failed requests, by the short name of the error.
    pub fn failed_by(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.range(FAILED, ERRORS).iter().copied();
        let names = ProxyError::KINDS.into_iter().map(|(name, _)| name);
        names.zip(counts)
    }

    /// Requests to the origin that failed, by kind.
    pub fn origin_failed_by(&self) -> impl Iterator<Item = (OriginErrorKind, u64)> + '_ {
        let counts = self.range(FAILURE, FAILURES).iter().copied();
        OriginErrorKind::ALL.into_iter().zip(counts)
    }

    /// Responses of the origin, by bucket of [`super::BOUNDS_MILLIS`].
    pub fn latency_counts(&self) -> &[u64] {
        self.range(LATENCY, BUCKETS)
    }

    /// The sum of all latencies, in seconds.
    #[allow(clippy::cast_precision_loss, reason = "a sum for means")]
    pub fn latency_seconds(&self) -> f64 {
        self.at(LATENCY_MICROS) as f64 / 1e6
    }

    /// The latency percentile for `share` (0.9 for the 90th), in milliseconds. `None` if there were no responses.
    pub fn latency_percentile(&self, share: f64) -> Option<f64> {
        latency::percentile(self.latency_counts(), share)
    }

    /// When the origin last responded; `None` if it never did.
    pub fn last_answer(&self) -> Option<Time> {
        (self.last_answer > 0).then(|| Time::from_unix_millis(self.last_answer))
    }

    /// When a request to the origin last failed, and how; `None` if none did.
    pub fn last_failure(&self) -> Option<(Time, OriginErrorKind)> {
        let kind = usize::try_from(self.last_kind).unwrap_or(0);
        let kind = OriginErrorKind::ALL.get(kind)?;
        (self.last_failure > 0).then(|| (Time::from_unix_millis(self.last_failure), *kind))
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.clone();
        for (now, before) in since.counts.iter_mut().zip(&earlier.counts) {
            *now = now.saturating_sub(*before);
        }
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Forward;

    fn summed(tallies: &[&WorkerCounters]) -> Totals {
        let mut totals = Totals::default();
        for tally in tallies {
            totals.add(&tally.block());
        }
        totals
    }

    #[test]
    fn the_counters_of_workers_are_summed() {
        let (one, two) = (WorkerCounters::default(), WorkerCounters::default());
        let hit = CacheStatus {
            saved_millis: 300,
            ..CacheStatus::hit(None)
        };
        for tally in [&one, &two] {
            tally.answered(StatusCode::OK, &hit);
            tally.saved(72);
        }
        let totals = summed(&[&one, &two]);
        assert_eq!((totals.hits(), totals.requests()), (2, 2));
        assert_eq!((totals.saved_bytes(), totals.saved_millis()), (144, 600));
        assert_eq!(totals.classes(), [0, 2, 0, 0, 0]);
    }

    #[test]
    fn every_outcome_counts_as_one_request_of_its_kind() {
        let tally = WorkerCounters::default();
        let why = Forward::with_detail(ForwardReason::Request, Reason::ClientNoCache);
        let miss = |storing| CacheStatus::miss(why, None, storing);
        tally.answered(
            StatusCode::OK,
            &miss(StoreOutcome::NotStored(Reason::NoStore)),
        );
        tally.answered(StatusCode::OK, &miss(StoreOutcome::Collapsed));
        tally.answered(StatusCode::OK, &CacheStatus::own_response());
        let tunnel = CacheStatus::tunnel(ForwardReason::Bypass.into());
        tally.answered(StatusCode::SWITCHING_PROTOCOLS, &tunnel);
        for outcome in [RequestOutcome::Validated, RequestOutcome::Stale] {
            let outcome = CacheStatus {
                outcome,
                ..CacheStatus::hit(None)
            };
            tally.answered(StatusCode::NOT_MODIFIED, &outcome);
        }
        for (name, _) in ProxyError::KINDS {
            let failed = CacheStatus {
                outcome: RequestOutcome::Failed(name),
                ..CacheStatus::own_response()
            };
            tally.answered(StatusCode::BAD_GATEWAY, &failed);
        }
        let totals = summed(&[&tally]);
        assert_eq!(totals.requests(), 6 + ERRORS as u64);
        assert_eq!(totals.judged_requests(), 4 + ERRORS as u64);
        assert_eq!(
            (totals.misses(), totals.collapsed(), totals.own()),
            (1, 1, 1)
        );
        assert_eq!((totals.validated(), totals.stale()), (1, 1));
        assert!(totals.failed_by().all(|(_, count)| count == 1));
        let not_stored = totals.not_stored_by().find(|(_, count)| *count > 0);
        assert_eq!(not_stored, Some((Reason::NoStore, 1)));
        let not_reused = totals.not_reused_by().find(|(_, count)| *count > 0);
        assert_eq!(not_reused, Some((Reason::ClientNoCache, 2)));
    }

    #[test]
    fn tunnels_are_open_until_they_end() {
        let (one, two) = (WorkerCounters::default(), WorkerCounters::default());
        let tunnel = CacheStatus::tunnel(ForwardReason::Bypass.into());
        for tally in [&one, &two, &two] {
            tally.answered(StatusCode::SWITCHING_PROTOCOLS, &tunnel);
            tally.tunnelled(3, 5);
        }
        two.tunnel_ended();
        let totals = summed(&[&one, &two]);
        assert_eq!((totals.tunnels(), totals.open_tunnels()), (3, 2));
        let bytes = (
            totals.tunnel_to_origin_bytes(),
            totals.tunnel_to_client_bytes(),
        );
        assert_eq!((bytes, totals.judged_requests()), ((9, 15), 0));
    }

    #[test]
    fn the_last_response_and_the_last_failure_are_those_of_all_workers() {
        let (one, two) = (WorkerCounters::default(), WorkerCounters::default());
        assert_eq!(summed(&[&one, &two]).last_failure(), None);
        let at = Time::from_unix_millis;
        one.origin_failed(OriginErrorKind::Timeout, at(5));
        two.origin_failed(OriginErrorKind::Cut, at(3));
        two.origin_answered(Duration::from_millis(4), at(7));
        one.origin_failed(OriginErrorKind::Upload, at(9));
        let totals = summed(&[&one, &two]);
        assert_eq!(
            totals.last_failure(),
            Some((at(5), OriginErrorKind::Timeout))
        );
        assert_eq!(totals.last_answer(), Some(at(7)));
        assert_eq!(totals.latency_counts().iter().sum::<u64>(), 1);
    }
}
