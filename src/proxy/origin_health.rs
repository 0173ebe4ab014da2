//! Whether the origin is known to fail.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::policy::Time;

/// How long the origin counts as failing after its last failure, beyond the time that the next attempt may take.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The last answer and the last failure of the origin, as all workers have seen them, in milliseconds since the epoch; 0 if
/// there was none. Each is one number, so no lock is needed.
#[derive(Debug, Default)]
pub(crate) struct OriginHealth {
    answered: AtomicU64,
    failed: AtomicU64,
}

impl OriginHealth {
    /// The origin has responded at `now`, with any status.
    pub(crate) fn answered(&self, now: Time) {
        self.answered.store(now.unix_millis(), Ordering::Relaxed);
        if self.failed.load(Ordering::Relaxed) != 0 {
            self.failed.store(0, Ordering::Relaxed);
        }
    }

    /// A request that was sent at `began` got no response until `now`. The origin fails if no other request got one
    /// meanwhile: else this is about one target.
    pub(crate) fn failed(&self, began: Time, now: Time) {
        // A response in the millisecond in which the request began most likely came before it.
        if self.answered.load(Ordering::Relaxed) <= began.unix_millis() {
            self.failed.store(now.unix_millis(), Ordering::Relaxed);
        }
    }

    /// True if the origin has failed a short time before `now` and has not responded since. `timeout` is how long a request
    /// waits for it: until then nobody knows how the next attempt ends.
    pub(crate) fn is_failing(&self, now: Time, timeout: Duration) -> bool {
        match self.failed.load(Ordering::Relaxed) {
            0 => false,
            failed => {
                let over = Time::from_unix_millis(failed)
                    .saturating_add(KNOWN_FOR)
                    .saturating_add(timeout);
                now < over
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Time {
        Time::from_unix_millis(1_800_000_000_000 + seconds * 1000)
    }

    #[test]
    fn the_origin_fails_from_a_failure_to_the_next_answer() {
        let health = OriginHealth::default();
        assert!(!health.is_failing(at(0), TIMEOUT));
        health.answered(at(0));
        health.failed(at(1), at(31));
        assert!(health.is_failing(at(31), TIMEOUT));
        assert!(health.is_failing(at(70), TIMEOUT));
        health.answered(at(71));
        assert!(!health.is_failing(at(71), TIMEOUT));
    }

    #[test]
    fn a_response_in_the_millisecond_in_which_a_request_began_is_no_sign_of_life() {
        let health = OriginHealth::default();
        health.answered(at(1));
        health.failed(at(1), at(31));
        assert!(health.is_failing(at(31), TIMEOUT));
    }

    #[test]
    fn a_failure_is_forgotten_after_a_while() {
        let health = OriginHealth::default();
        health.failed(at(1), at(31));
        assert!(!health.is_failing(at(71), TIMEOUT));
    }

    #[test]
    fn one_silent_target_among_others_that_answer_is_no_failing_origin() {
        let health = OriginHealth::default();
        health.answered(at(2));
        health.failed(at(1), at(31));
        assert!(!health.is_failing(at(31), TIMEOUT));
    }
}
