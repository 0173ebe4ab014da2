//! Waiting with a deadline.

use std::time::{Duration, Instant};

/// Longest wait for anything. A longer one counts as a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Polls a condition that has no event to wait for. Panics after [`DEADLINE`].
#[track_caller]
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
