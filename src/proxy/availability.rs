//! Whether an origin that is one of several gets requests.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::policy::Time;

/// How long an origin gets no requests after its first failure. Each further failure doubles that.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause is 2 to the power of this as long as the first one: about a minute.
const MAX_DOUBLINGS: u32 = 6;

/// Whether an origin that is one of several gets requests: not for a while after it has failed. All workers share it.
#[derive(Debug, Default)]
pub(crate) struct Availability {
    /// Until when it gets none, in milliseconds since the epoch; 0 if it has not failed since its last response.
    until: AtomicU64,
    failures: AtomicU32,
}

impl Availability {
    /// The origin has responded.
    pub(crate) fn responded(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.until.store(0, Ordering::Relaxed);
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A request to the origin has failed. Those that were sent before that was known count as one failure.
    pub(crate) fn failed(&self, now: Time) {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            self.pause(until, now);
        }
    }

    /// True if the origin gets a request at `now`. After a pause one request tries it, which begins the next pause; the
    /// others go elsewhere until that one has got a response.
    pub(crate) fn admits(&self, now: Time) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until == 0 || (until <= now.unix_millis() && self.pause(until, now))
    }

    /// True if the origin gets requests at `now`, or at least one that tries it.
    pub(crate) fn is_open(&self, now: Time) -> bool {
        self.until.load(Ordering::Relaxed) <= now.unix_millis()
    }

    /// Begins a pause in place of the one until `until`. False if another request has done that.
    fn pause(&self, until: u64, now: Time) -> bool {
        let doublings = self.failures.load(Ordering::Relaxed).min(MAX_DOUBLINGS);
        let end = now.saturating_add(FIRST_PAUSE * 2_u32.pow(doublings));
        let is_ours = self
            .until
            .compare_exchange(
                until,
                end.unix_millis(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok();
        if is_ours {
            self.failures.store(doublings + 1, Ordering::Relaxed);
        }
        is_ours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_unix_millis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn after_a_pause_one_request_tries_and_the_next_pause_is_longer() {
        let origin = Availability::default();
        assert!(origin.admits(at(0)) && origin.admits(at(0)));
        origin.failed(at(0));
        origin.failed(at(0));
        assert!(!origin.admits(at(0)));
        for (second, next) in [(1, 3), (3, 7), (7, 15)] {
            let before = Time::from_unix_millis(at(second).unix_millis() - 1);
            assert!(!origin.is_open(before) && !origin.admits(before));
            assert!(origin.is_open(at(second)) && origin.admits(at(second)));
            assert!(!origin.admits(at(second)), "{second}");
            origin.failed(at(second));
            assert!(!origin.admits(Time::from_unix_millis(at(next).unix_millis() - 1)));
        }
        assert!(origin.admits(at(15)));
        origin.responded();
        assert!(origin.admits(at(15)) && origin.admits(at(15)));
        origin.failed(at(20));
        assert!(origin.admits(at(21)));
    }

    #[test]
    fn a_pause_is_at_most_about_a_minute() {
        let origin = Availability::default();
        origin.failed(at(0));
        let mut now = 0;
        for _ in 0..50 {
            now += 64;
            assert!(origin.admits(at(now)), "{now}");
        }
    }
}
