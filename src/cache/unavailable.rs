//! Waiting for the actor, for a limited time.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::MailboxError;

/// How long a response of the actor is waited for. The actor needs microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The cache did not respond: its mailbox is full, or it is gone. The request goes on without it.
#[derive(Debug, thiserror::Error)]
#[error("the cache does not respond")]
pub struct CacheUnavailable;

/// Waits for the response to a message, for a limited time.
///
/// # Errors
/// The cache did not respond, which is logged here.
pub(super) async fn in_time<T>(
    sent: impl Future<Output = Result<T, MailboxError>>,
) -> Result<T, CacheUnavailable> {
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) | Err(_) => {
            log_error();
            Err(CacheUnavailable)
        }
    }
}

/// Logs that the cache does not respond, at most once a second: every request fails to reach it.
fn log_error() {
    static FAILURES: FailureCount = FailureCount::new();
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let seconds = BEGUN.get_or_init(Instant::now).elapsed().as_secs();
    if let Some(failures) = FAILURES.add(seconds) {
        log::error!(
            "the cache does not respond ({failures} messages since the last report); requests are forwarded without it"
        );
    }
}

/// Counts failures between two reports.
struct FailureCount {
    /// The second of the last report, plus one; 0 if there was none.
    reported: AtomicU64,
    failures: AtomicU64,
}

impl FailureCount {
    const fn new() -> Self {
        Self {
            reported: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Adds a failure in this second. Returns the number since the last report; `None` if there was one in this second.
    fn add(&self, second: u64) -> Option<u64> {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let is_first = self.reported.swap(second + 1, Ordering::Relaxed) != second + 1;
        is_first.then(|| self.failures.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_reported_once_a_second_with_their_number() {
        let failures = FailureCount::new();
        let reports = [0, 0, 0, 1, 1, 5].map(|second| failures.add(second));
        assert_eq!(reports, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
