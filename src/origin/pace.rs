//! How fast requests go to one origin: `--max-rate`, and pauses that the origin asks for with Retry-After.
//!
//! All workers share one [`OriginPace`]. A request that may go at once changes two numbers and takes no lock. The others
//! queue in their order, for a limited time.

use std::{
    sync::atomic::{AtomicU16, AtomicU64, Ordering},
    time::Duration,
};

use actix_web::http::StatusCode;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};

use super::{error::OriginError, rate::MaxRate};

/// Most requests that queue for an origin.
const MAX_QUEUED: usize = 64;
/// How long a request queues.
const QUEUE_LIMIT: Duration = Duration::from_secs(5);
/// Longest pause that an origin can ask for.
pub const MAX_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Whether an origin gets requests at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceState {
    /// It does.
    Open,
    /// Not before this time has passed: as many as `--max-rate` allows have gone.
    Limited(Duration),
    /// Not before this time has passed: the origin has asked for it with this status and Retry-After.
    Paused(Duration, StatusCode),
}

impl PaceState {
    /// Until when the origin wants no request, and with which status it has said so. `None` if it has not.
    pub fn pause(self) -> Option<(Duration, StatusCode)> {
        match self {
            Self::Paused(left, status) => Some((left, status)),
            Self::Open | Self::Limited(_) => None,
        }
    }

    /// Until when `--max-rate` allows no request. `None` if it does now.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::Limited(left) => Some(left),
            Self::Open | Self::Paused(..) => None,
        }
    }
}

/// How fast requests go to one origin.
#[derive(Debug)]
pub struct OriginPace {
    /// `None`: no limit.
    rate: Option<MaxRate>,
    epoch: Instant,
    /// When the bucket is full again, in nanoseconds since the epoch (GCRA's theoretical arrival time).
    full_at: AtomicU64,
    /// When the pause ends, in milliseconds since the epoch.
    paused_until: AtomicU64,
    /// The status with which the origin asked for the pause.
    pause_status: AtomicU16,
    /// The places in the queue.
    places: Semaphore,
    /// The right to go next. Those who wait for it get it in their order.
    turn: Semaphore,
}

impl Default for OriginPace {
    /// Without a limit.
    fn default() -> Self {
        Self::new(None)
    }
}

impl OriginPace {
    /// A full bucket, and no pause. `None`: without a limit.
    pub fn new(rate: Option<MaxRate>) -> Self {
        Self {
            rate,
            epoch: Instant::now(),
            full_at: AtomicU64::new(0),
            paused_until: AtomicU64::new(0),
            pause_status: AtomicU16::new(0),
            places: Semaphore::new(MAX_QUEUED),
            turn: Semaphore::new(1),
        }
    }

    /// Waits until a request may go to the origin. A request whose client leaves gives up its place.
    ///
    /// # Errors
    /// The origin is paused, the queue is full, or the request has queued for 5 seconds. A request that cannot be let in
    /// within that time does not queue.
    pub async fn admit(&self) -> Result<(), OriginError> {
        if self.rate.is_none() && self.paused_until.load(Ordering::Relaxed) == 0 {
            // Mostly, and it needs no clock.
            return Ok(());
        }
        let now = Instant::now();
        self.check_pause(now)?;
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let left = match self.queued() {
            0 => match self.try_take(rate, now) {
                Ok(()) => return Ok(()),
                Err(left) => left,
            },
            _ => self.left(rate, now),
        };
        if left > QUEUE_LIMIT {
            return Err(self.limited(rate, now));
        }
        let Ok(place) = self.places.try_acquire() else {
            return Err(self.limited(rate, now));
        };
        let admitted = timeout_at(now + QUEUE_LIMIT, self.take_in_turn(rate)).await;
        drop(place);
        admitted.unwrap_or_else(|_| Err(self.limited(rate, Instant::now())))
    }

    async fn take_in_turn(&self, rate: MaxRate) -> Result<(), OriginError> {
        // It is never closed.
        let _turn = self.turn.acquire().await;
        loop {
            let now = Instant::now();
            self.check_pause(now)?;
            match self.try_take(rate, now) {
                Ok(()) => return Ok(()),
                Err(left) => sleep(left).await,
            }
        }
    }

    /// Sends nothing to the origin for this time, at most 5 minutes, because it has responded with `status`. A pause that
    /// lasts longer stays.
    pub fn pause(&self, length: Duration, status: StatusCode, now: Instant) {
        let until = millis(now + length.min(MAX_PAUSE) - self.epoch);
        if !length.is_zero() && self.paused_until.fetch_max(until, Ordering::Relaxed) < until {
            self.pause_status.store(status.as_u16(), Ordering::Relaxed);
        }
    }

    /// Whether the origin gets a request at `now`.
    pub fn state(&self, now: Instant) -> PaceState {
        if let Some((left, status)) = self.pause_at(now) {
            return PaceState::Paused(left, status);
        }
        match self.rate.map(|rate| self.left(rate, now)) {
            Some(left) if !left.is_zero() || self.queued() > 0 => PaceState::Limited(left),
            _ => PaceState::Open,
        }
    }

    /// How many requests queue.
    pub fn queued(&self) -> usize {
        MAX_QUEUED - self.places.available_permits()
    }

    fn check_pause(&self, now: Instant) -> Result<(), OriginError> {
        match self.pause_at(now) {
            Some((left, status)) => Err(OriginError::Paused { status, left }),
            None => Ok(()),
        }
    }

    /// How long the pause lasts, and its status; `None` if there is none.
    fn pause_at(&self, now: Instant) -> Option<(Duration, StatusCode)> {
        let until = self.paused_until.load(Ordering::Relaxed);
        let left = until.saturating_sub(millis(now.saturating_duration_since(self.epoch)));
        let status = StatusCode::from_u16(self.pause_status.load(Ordering::Relaxed)).ok()?;
        (left > 0).then(|| (Duration::from_millis(left), status))
    }

    /// Takes the right to send one request, or says how long there is none.
    fn try_take(&self, rate: MaxRate, now: Instant) -> Result<(), Duration> {
        let now_nanos = nanos(now.saturating_duration_since(self.epoch));
        let taken = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let is_allowed = rate.left_nanos(full_at, now_nanos) == 0;
                let next = full_at.max(now_nanos).saturating_add(rate.interval_nanos());
                is_allowed.then_some(next)
            });
        taken
            .map(drop)
            .map_err(|full_at| Duration::from_nanos(rate.left_nanos(full_at, now_nanos)))
    }

    /// How long no request may go.
    fn left(&self, rate: MaxRate, now: Instant) -> Duration {
        let now_nanos = nanos(now.saturating_duration_since(self.epoch));
        let full_at = self.full_at.load(Ordering::Relaxed);
        Duration::from_nanos(rate.left_nanos(full_at, now_nanos))
    }

    /// The error of a request that does not get in: when one behind the queue could. Those in the queue go within its limit, or
    /// give up.
    fn limited(&self, rate: MaxRate, now: Instant) -> OriginError {
        let left = self.left(rate, now);
        let interval = rate.interval_nanos().max(1);
        let that_go = match QUEUE_LIMIT.checked_sub(left) {
            Some(rest) => 1 + nanos(rest) / interval,
            None => 0,
        };
        let queued = u64::try_from(self.queued()).unwrap_or(u64::MAX);
        let behind = interval.saturating_mul(that_go.min(queued));
        OriginError::Limited {
            rate,
            left: left.saturating_add(Duration::from_nanos(behind)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(text: &str) -> MaxRate {
        MaxRate::parse(text).unwrap()
    }

    fn limited_to(text: &str) -> OriginPace {
        OriginPace::new(Some(rate(text)))
    }

    /// How many of `tries` requests may go at this moment.
    fn taken(pace: &OriginPace, tries: u32, at: Instant) -> u32 {
        let rate = pace.rate.unwrap();
        (0..tries)
            .filter(|_| pace.try_take(rate, at).is_ok())
            .map(|_| 1)
            .sum()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        for (text, burst, in_ten_seconds) in [
            ("10/s", 10, 100),
            ("10/s,3", 3, 100),
            ("60/m", 1, 10),
            ("3600/h,5", 5, 10),
        ] {
            let pace = limited_to(text);
            let start = pace.epoch + SECOND;
            assert_eq!(taken(&pace, 1000, start), burst, "{text}");
            let mut later = 0;
            for tenth in 1..=100 {
                later += taken(&pace, 1000, start + SECOND / 10 * tenth);
            }
            assert_eq!(later, in_ten_seconds, "{text}");
            // What was not used is not saved beyond the burst.
            assert_eq!(taken(&pace, 1000, start + SECOND * 3600), burst, "{text}");
        }
    }

    #[test]
    fn the_time_that_is_left_is_known() {
        let pace = limited_to("2/m");
        let start = pace.epoch;
        assert_eq!(pace.state(start), PaceState::Open);
        assert_eq!(taken(&pace, 2, start), 1);
        assert_eq!(pace.state(start), PaceState::Limited(SECOND * 30));
        assert_eq!(
            pace.state(start + SECOND * 20),
            PaceState::Limited(SECOND * 10)
        );
        assert_eq!(pace.state(start + SECOND * 30), PaceState::Open);
        assert_eq!(OriginPace::default().state(start), PaceState::Open);
    }

    #[test]
    fn a_pause_ends_after_its_time_and_a_longer_one_stays() {
        let pace = OriginPace::default();
        let start = pace.epoch;
        let left = |seconds: u32| match pace.state(start + SECOND * seconds) {
            PaceState::Paused(left, status) => (left.as_secs(), status.as_u16()),
            _ => (0, 0),
        };
        pace.pause(SECOND * 20, StatusCode::TOO_MANY_REQUESTS, start);
        pace.pause(SECOND * 5, StatusCode::SERVICE_UNAVAILABLE, start);
        pace.pause(Duration::ZERO, StatusCode::SERVICE_UNAVAILABLE, start);
        assert_eq!((left(0), left(12), left(20)), ((20, 429), (8, 429), (0, 0)));
        pace.pause(SECOND * 100_000, StatusCode::SERVICE_UNAVAILABLE, start);
        assert_eq!(
            (left(0), left(299), left(300)),
            ((300, 503), (1, 503), (0, 0))
        );
    }

    #[tokio::test]
    async fn a_paused_origin_gets_nothing() {
        let pace = OriginPace::default();
        pace.admit().await.unwrap();
        pace.pause(SECOND * 60, StatusCode::TOO_MANY_REQUESTS, Instant::now());
        let error = pace.admit().await.unwrap_err();
        assert!(error.to_string().contains("429"), "{error}");
        assert!(error.retry_after_seconds().unwrap() > 50);
    }

    #[tokio::test]
    async fn a_request_that_would_wait_for_too_long_does_not_queue() {
        let pace = limited_to("1/m");
        pace.admit().await.unwrap();
        let refused = pace.admit().now_or_never().unwrap().unwrap_err();
        let left = refused.retry_after_seconds().unwrap();
        assert!((50..=60).contains(&left), "{left}");
        assert_eq!(pace.queued(), 0);
    }

    #[tokio::test]
    async fn the_queue_is_bounded_and_those_who_leave_free_their_place() {
        let pace = limited_to("1/s");
        pace.admit().await.unwrap();
        let mut waiting: Vec<_> = (0..MAX_QUEUED).map(|_| Box::pin(pace.admit())).collect();
        for request in &mut waiting {
            assert!(request.now_or_never().is_none());
        }
        assert_eq!(pace.queued(), MAX_QUEUED);
        let refused = pace.admit().now_or_never().unwrap().unwrap_err();
        // Five of those in the queue go, and the others give up.
        assert!((5..=6).contains(&refused.retry_after_seconds().unwrap()));
        waiting.pop();
        let mut next = pin!(pace.admit());
        assert!(next.as_mut().now_or_never().is_none());
        drop(waiting);
        // All before it have left, so it is the next one.
        next.await.unwrap();
        assert_eq!(pace.queued(), 0);
    }

    #[test]
    fn a_refused_request_is_told_when_those_before_it_have_gone_or_given_up() {
        for (text, queued, seconds) in [
            ("1/s", 0, 1),
            ("1/s", 3, 4),
            ("1/s", 64, 6),
            ("20/m", 1, 6),
            ("20/m", 64, 6),
            // None of them goes within 5 seconds.
            ("1/m", 0, 60),
            ("1/m", 2, 60),
            ("100/s,1", 64, 1),
        ] {
            let pace = limited_to(text);
            assert_eq!(taken(&pace, 2, pace.epoch), 1, "{text}");
            let _queue = pace.places.try_acquire_many(queued).unwrap();
            let refused = pace.limited(rate(text), pace.epoch);
            let what = format!("{text} behind {queued}");
            assert_eq!(refused.retry_after_seconds(), Some(seconds), "{what}");
        }
    }

    #[tokio::test]
    async fn those_who_queue_go_in_their_order() {
        let pace = limited_to("100/s,1");
        pace.admit().await.unwrap();
        let order = std::cell::RefCell::new(Vec::new());
        let requests = (0..5).map(|number| {
            let (pace, order) = (&pace, &order);
            async move {
                pace.admit().await.unwrap();
                order.borrow_mut().push(number);
            }
        });
        futures_util::future::join_all(requests).await;
        assert_eq!(*order.borrow(), [0, 1, 2, 3, 4]);
    }
}
