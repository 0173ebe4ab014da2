//! [`WorkerCounters`], one set for each worker, and [`Totals`], their sum.

use std::{
    cell::Cell,
    marker::PhantomData,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use actix_web::http::StatusCode;

use super::{
    cells,
    client_counters::{ClientCells, ClientProtocol, ClientTotals, HandshakeEnd},
    origin_counters::{OriginCells, OriginTotals},
    route_counters::{CLASSES, RouteCells, RouteSlot, class},
};
use crate::{
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    origin::OriginErrorKind,
    policy::{ForwardReason, OriginIndex, Reason, Time},
};

const REASONS: usize = Reason::ALL.len();
const FORWARDS: usize = ForwardReason::ALL.len();
const ERRORS: usize = ProxyError::KINDS.len();

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
const MISS: usize = RECEIVED_BYTES + 1;
const FAILED: usize = MISS + FORWARDS;
const NOT_STORED: usize = FAILED + ERRORS;
const NOT_REUSED: usize = NOT_STORED + REASONS;
const TUNNEL: usize = NOT_REUSED + REASONS;
const TUNNEL_ENDED: usize = TUNNEL + 1;
const TO_ORIGIN_BYTES: usize = TUNNEL_ENDED + 1;
const TO_CLIENT_BYTES: usize = TO_ORIGIN_BYTES + 1;
const ALL: usize = TO_CLIENT_BYTES + 1;

/// The counts of one worker, aligned so that no two workers write to the same cache line.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct CounterBlock {
    counts: [AtomicU64; ALL],
    pub(super) origins: Box<[OriginCells]>,
    pub(super) routes: RouteCells,
    clients: ClientCells,
}

/// The counters of one worker. Only its thread writes them, so an addition is a plain load and store.
#[derive(Debug)]
pub struct WorkerCounters {
    block: Arc<CounterBlock>,
    one_thread: PhantomData<Cell<()>>,
}

impl Default for WorkerCounters {
    /// Counters for one origin.
    fn default() -> Self {
        Self::new(1)
    }
}

impl WorkerCounters {
    /// Counters for so many origins.
    pub(super) fn new(origins: usize) -> Self {
        Self {
            block: Arc::new(CounterBlock {
                counts: [const { AtomicU64::new(0) }; ALL],
                origins: (0..origins).map(|_| OriginCells::default()).collect(),
                routes: RouteCells::default(),
                clients: ClientCells::default(),
            }),
            one_thread: PhantomData,
        }
    }

    pub(super) fn block(&self) -> Arc<CounterBlock> {
        Arc::clone(&self.block)
    }

    #[inline]
    fn add(&self, index: usize, number: u64) {
        cells::add(&self.block.counts, index, number);
    }

    fn origin(&self, origin: OriginIndex) -> Option<&OriginCells> {
        self.block.origins.get(origin.0)
    }

    /// Counts a request of this protocol.
    #[inline]
    pub fn requested(&self, protocol: ClientProtocol) {
        self.block.clients.requested(protocol);
    }

    /// Counts a TLS handshake.
    pub fn shaken_hands(&self, end: HandshakeEnd) {
        self.block.clients.shaken_hands(end);
    }

    /// Counts a connection without TLS.
    pub fn connected_plain(&self) {
        self.block.clients.connected_plain();
    }

    /// Counts a response that begins to be sent.
    #[inline]
    pub fn answered(&self, route: RouteSlot, status: StatusCode, cache_status: &CacheStatus) {
        let outcome = cache_status.outcome;
        self.block.routes.answered(route, status, outcome);
        self.add(CLASS + class(status), 1);
        if cache_status.saved_millis > 0 {
            self.add(SAVED_MILLIS, u64::from(cache_status.saved_millis));
        }
        match outcome {
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

    /// Counts a response of an origin whose headers arrived.
    pub fn origin_answered(&self, origin: OriginIndex, latency: Duration, now: Time) {
        if let Some(cells) = self.origin(origin) {
            cells.answered(latency, now);
        }
    }

    /// Counts a request that was sent to an origin and got no response.
    pub fn origin_unanswered(&self, origin: OriginIndex, kind: OriginErrorKind, now: Time) {
        if let Some(cells) = self.origin(origin) {
            cells.unanswered(kind, now);
        }
    }

    /// Counts a failure of another kind: of a request that was not sent, or of the body of a response.
    pub fn origin_failed(&self, origin: OriginIndex, kind: OriginErrorKind, now: Time) {
        if let Some(cells) = self.origin(origin) {
            cells.failed(kind, now);
        }
    }
}

/// The sum of the counters of all workers.
#[derive(Clone, Debug)]
pub struct Totals {
    counts: [u64; ALL],
    origin: OriginTotals,
    clients: ClientTotals,
}

impl Default for Totals {
    fn default() -> Self {
        Self {
            counts: [0; ALL],
            origin: OriginTotals::default(),
            clients: ClientTotals::default(),
        }
    }
}

impl Totals {
    pub(super) fn add(&mut self, block: &CounterBlock) {
        cells::add_all(&mut self.counts, &block.counts);
        self.clients.add(&block.clients);
        for origin in &block.origins {
            self.origin.add(origin);
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

    /// What was counted of the connections of clients.
    pub fn clients(&self) -> &ClientTotals {
        &self.clients
    }

    /// What was counted of all origins together.
    pub fn origin(&self) -> &OriginTotals {
        &self.origin
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut counts = self.counts;
        cells::subtract(&mut counts, &earlier.counts);
        let origin = self.origin.since(&earlier.origin);
        let mut clients = self.clients;
        clients.subtract(&earlier.clients);
        Self {
            counts,
            origin,
            clients,
        }
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
            tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &hit);
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
            RouteSlot::DEFAULT,
            StatusCode::OK,
            &miss(StoreOutcome::NotStored(Reason::NoStore)),
        );
        tally.answered(
            RouteSlot::DEFAULT,
            StatusCode::OK,
            &miss(StoreOutcome::Collapsed),
        );
        tally.answered(
            RouteSlot::DEFAULT,
            StatusCode::OK,
            &CacheStatus::own_response(),
        );
        let tunnel = CacheStatus::tunnel(ForwardReason::Bypass.into());
        tally.answered(RouteSlot::DEFAULT, StatusCode::SWITCHING_PROTOCOLS, &tunnel);
        for outcome in [RequestOutcome::Validated, RequestOutcome::Stale] {
            let outcome = CacheStatus {
                outcome,
                ..CacheStatus::hit(None)
            };
            tally.answered(RouteSlot::DEFAULT, StatusCode::NOT_MODIFIED, &outcome);
        }
        for (name, _) in ProxyError::KINDS {
            let failed = CacheStatus {
                outcome: RequestOutcome::Failed(name),
                ..CacheStatus::own_response()
            };
            tally.answered(RouteSlot::DEFAULT, StatusCode::BAD_GATEWAY, &failed);
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
            tally.answered(RouteSlot::DEFAULT, StatusCode::SWITCHING_PROTOCOLS, &tunnel);
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
    fn the_last_response_and_the_last_failure_are_those_of_all_workers_and_origins() {
        let (one, two) = (WorkerCounters::new(2), WorkerCounters::new(2));
        let (first, second) = (OriginIndex(0), OriginIndex(1));
        assert_eq!(summed(&[&one, &two]).origin().last_failure(), None);
        let at = Time::from_unix_millis;
        one.origin_unanswered(first, OriginErrorKind::Timeout, at(5));
        two.origin_failed(second, OriginErrorKind::Cut, at(3));
        two.origin_answered(second, Duration::from_millis(4), at(7));
        one.origin_failed(second, OriginErrorKind::Upload, at(9));
        let totals = summed(&[&one, &two]);
        let all = totals.origin();
        assert_eq!(all.last_failure(), Some((at(5), OriginErrorKind::Timeout)));
        assert_eq!((all.last_answer(), all.answers()), (Some(at(7)), 1));
        let mut of_second = OriginTotals::default();
        for tally in [&one, &two] {
            of_second.add(&tally.block().origins[1]);
        }
        assert_eq!(
            of_second.last_failure(),
            Some((at(3), OriginErrorKind::Cut))
        );
        assert_eq!((of_second.answers(), of_second.unanswered()), (1, 0));
        let failed = of_second.failed_by().filter(|(_, count)| *count > 0);
        assert_eq!(failed.count(), 2);
        assert_eq!(totals.since(&totals).origin().answers(), 0);
    }
}
