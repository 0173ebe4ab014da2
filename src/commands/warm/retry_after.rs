//! Waiting, where a response asks for that with Retry-After.

use std::{cell::Cell, time::Duration};

use actix_web::http::{StatusCode, header::HeaderName};
use caching_proxy::{
    clock,
    origin::MAX_PAUSE,
    policy::{self, ResponseHeaders},
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep_until},
};

static X_CACHE: HeaderName = HeaderName::from_static("x-cache");

/// A response that asks for a later request: a 429 or 503 with Retry-After that is not from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PutOff {
    pub(super) status: StatusCode,
    /// How long no request is wanted.
    pub(super) wait: Duration,
}

impl PutOff {
    /// `None` for a response that asks for nothing.
    pub(super) fn of(status: StatusCode, headers: &ResponseHeaders) -> Option<Self> {
        let asks = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if !asks || is_hit(headers) {
            return None;
        }
        let wait = policy::retry_after(headers, clock::now())?;
        Some(Self { status, wait })
    }
}

/// True if the proxy's response is a hit.
pub(super) fn is_hit(headers: &ResponseHeaders) -> bool {
    headers.get(&X_CACHE) == Some(b"HIT")
}

/// How long a run waits. Once it was put off, its requests go one at a time, in their order.
pub(super) struct RetryWaits {
    turn: Semaphore,
    /// Before this no request is sent; `None` until one was put off.
    until: Cell<Option<Instant>>,
    /// How long the run has waited since it got a response that did not put it off.
    waited: Cell<Duration>,
    waited_in_all: Cell<Duration>,
}

impl RetryWaits {
    pub(super) fn new() -> Self {
        Self {
            turn: Semaphore::new(1),
            until: Cell::new(None),
            waited: Cell::new(Duration::ZERO),
            waited_in_all: Cell::new(Duration::ZERO),
        }
    }

    /// Waits until a request may be sent. While it is under way, the returned turn is kept; `None` if all may go at once.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.until.get()?;
        // It is never closed.
        let turn = self.turn.acquire().await.ok();
        let since = Instant::now();
        // Others that were under way may have been put off meanwhile.
        while let Some(until) = self.until.get().filter(|until| *until > Instant::now()) {
            sleep_until(until).await;
        }
        let waited = since.elapsed();
        self.waited.set(self.waited.get() + waited);
        self.waited_in_all.set(self.waited_in_all.get() + waited);
        turn
    }

    /// Notes that a request was put off. False if it is not worth waiting for: the run would have waited for more than five
    /// minutes without a response.
    pub(super) fn put_off(&self, wait: Duration) -> bool {
        if self.waited.get().saturating_add(wait) > MAX_PAUSE {
            return false;
        }
        let until = Instant::now() + wait;
        self.until.set(self.until.get().max(Some(until)));
        true
    }

    /// Notes a response that does not put the run off.
    pub(super) fn responded(&self) {
        self.waited.set(Duration::ZERO);
    }

    /// How long the run has waited in all.
    pub(super) fn waited(&self) -> Duration {
        self.waited_in_all.get()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderValue, RETRY_AFTER};
    use futures_util::FutureExt as _;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn only_two_statuses_with_retry_after_put_a_request_off() {
        let mut headers = ResponseHeaders::new();
        let put_off = |code: u16, headers: &ResponseHeaders| {
            PutOff::of(StatusCode::from_u16(code).unwrap(), headers).map(|it| it.wait)
        };
        assert_eq!(put_off(503, &headers), None);
        headers.insert(&RETRY_AFTER, &HeaderValue::from_static("7"));
        for code in [429, 503] {
            assert_eq!(put_off(code, &headers), Some(Duration::from_secs(7)));
        }
        for code in [200, 301, 404, 500, 504] {
            assert_eq!(put_off(code, &headers), None, "{code}");
        }
        // A stored response would be the same later.
        headers.insert(&X_CACHE, &HeaderValue::from_static("HIT"));
        assert_eq!(put_off(429, &headers), None);
        headers.remove(&X_CACHE);
        headers.insert(&RETRY_AFTER, &HeaderValue::from_static("0"));
        assert_eq!(put_off(429, &headers), None);
    }

    #[tokio::test]
    async fn requests_go_one_at_a_time_after_the_first_that_was_put_off() {
        let waits = RetryWaits::new();
        assert!(waits.turn().await.is_none());
        assert!(waits.put_off(Duration::from_millis(1)));
        let turn = waits.turn().await;
        assert!(turn.is_some());
        assert!(waits.turn().now_or_never().is_none());
        drop(turn);
        assert!(waits.turn().await.is_some());
        assert!(waits.waited() >= Duration::from_millis(1));
    }

    #[tokio::test]
    async fn a_run_waits_for_at_most_five_minutes_without_a_response() {
        let waits = RetryWaits::new();
        assert!(!waits.put_off(MINUTE * 5 + Duration::from_secs(1)));
        assert!(waits.put_off(MINUTE * 5));
        let waiting = RetryWaits::new();
        waiting.waited.set(MINUTE * 4);
        assert!(!waiting.put_off(MINUTE * 2));
        waiting.responded();
        assert!(waiting.put_off(MINUTE * 2));
        assert!(waiting.turn().now_or_never().is_none());
    }
}
