//! How long Redis is left alone after failures, and which of them are logged.

use std::time::{Duration, Instant};

/// The least time between two failures that are logged.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The pauses after failures: each is twice as long as the one before, until there were none for a while.
#[derive(Debug)]
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
    /// When the last pause ended.
    ended: Option<Instant>,
    logged: Option<Instant>,
    is_logged: bool,
}

impl Pauses {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest: longest.max(first),
            next: first,
            ended: None,
            logged: None,
            is_logged: false,
        }
    }

    /// A failure: Redis is left alone until the time that is returned.
    pub(super) fn begin(&mut self, now: Instant) -> Instant {
        let is_calm = self
            .ended
            .is_some_and(|ended| now.saturating_duration_since(ended) >= self.longest);
        if is_calm {
            self.next = self.first;
        }
        let until = now + self.next;
        self.next = (self.next * 2).min(self.longest);
        self.ended = Some(until);
        until
    }

    /// Whether the failure at this time is logged.
    pub(super) fn is_logged(&mut self, now: Instant) -> bool {
        let is_due = self
            .logged
            .is_none_or(|logged| now.saturating_duration_since(logged) >= LOG_INTERVAL);
        if is_due {
            self.logged = Some(now);
            self.is_logged = true;
        }
        is_due
    }

    /// Redis is in use again. Returns true if that is logged: if its failure was.
    pub(super) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.is_logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn pauses_double_until_there_was_a_calm_time() {
        let begin = Instant::now();
        let mut pauses = Pauses::new(SECOND, 4 * SECOND);
        let mut now = begin;
        let lengths = [1, 2, 4, 4].map(|seconds| {
            let until = pauses.begin(now);
            assert_eq!(until - now, seconds * SECOND);
            now = until;
            seconds
        });
        assert_eq!(lengths.len(), 4);
        assert_eq!(pauses.begin(now + 3 * SECOND) - now, 7 * SECOND);
        let calm = now + 20 * SECOND;
        assert_eq!(pauses.begin(calm) - calm, SECOND);
    }

    #[test]
    fn failures_within_a_minute_are_logged_once() {
        let begin = Instant::now();
        let mut pauses = Pauses::new(SECOND, 4 * SECOND);
        assert!(!pauses.ends());
        assert!(pauses.is_logged(begin) && pauses.ends());
        assert!(!pauses.is_logged(begin + LOG_INTERVAL / 2) && !pauses.ends());
        assert!(pauses.is_logged(begin + LOG_INTERVAL) && pauses.ends());
    }
}
