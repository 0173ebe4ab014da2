//! Waiting for the actor, for a limited time.

use std::{
    cell::Cell,
    pin::pin,
    rc::Rc,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix::MailboxError;
use tokio::{sync::Notify, time::sleep};

/// How long a response of the actor is waited for, at most. The actor needs microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often the clock of a thread ticks while responses are waited for, and after how many ticks a wait is over. A timer for
/// each message would cost more than the message.
const TICK: Duration = Duration::from_secs(1);
const TICKS: u64 = PATIENCE.as_secs() / TICK.as_secs();

thread_local! {
    static CLOCK: Rc<WaitClock> = Rc::default();
}

/// The ticks by which the waits of a thread are limited. It stands still while nobody waits.
#[derive(Default)]
struct WaitClock {
    tick: Notify,
    /// Waits since the last tick that began or went on.
    waits: Cell<usize>,
    is_running: Cell<bool>,
}

impl WaitClock {
    /// Resolves when a wait that begins now is over.
    async fn is_over(self: Rc<Self>) {
        for _ in 0..TICKS {
            self.waits.set(self.waits.get() + 1);
            if !self.is_running.replace(true) {
                actix::spawn(RunningClock(Rc::clone(&self)).run());
            }
            self.tick.notified().await;
        }
    }
}

/// A clock that ticks. It stops when this is dropped, also at the end of its runtime.
struct RunningClock(Rc<WaitClock>);

impl RunningClock {
    async fn run(self) {
        while self.0.waits.take() > 0 {
            sleep(TICK).await;
            self.0.tick.notify_waiters();
        }
    }
}

impl Drop for RunningClock {
    fn drop(&mut self) {
        self.0.is_running.set(false);
    }
}

/// The cache did not respond: its mailbox is full, or it is gone. The request goes on without it.
#[derive(Debug, thiserror::Error)]
#[error("the cache does not respond")]
pub struct CacheUnavailable;

/// Sends a message with `send`, and waits for its response for a limited time.
///
/// # Errors
/// The cache did not respond, which is logged here.
pub(super) async fn in_time<T, F>(send: impl FnOnce() -> F) -> Result<T, CacheUnavailable>
where
    F: Future<Output = Result<T, MailboxError>>,
{
    // It is large, and made where it stays.
    let mut sent = pin!(send());
    let response = tokio::select! {
        biased;
        response = &mut sent => response.ok(),
        () = CLOCK.with(Rc::clone).is_over() => None,
    };
    response.ok_or_else(|| {
        log_error();
        CacheUnavailable
    })
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
    use std::pin::pin;

    use actix_rt::System;
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_wait_is_over_after_some_ticks_and_the_clock_stops_with_its_runtime() {
        for _ in 0..2 {
            System::new().block_on(async {
                let clock = CLOCK.with(Rc::clone);
                let mut wait = pin!(in_time(std::future::pending::<Result<(), _>>));
                for _ in 0..TICKS {
                    assert!(wait.as_mut().now_or_never().is_none());
                    assert!(clock.is_running.get());
                    clock.tick.notify_waiters();
                }
                assert!(wait.now_or_never().is_some_and(|it| it.is_err()));
            });
            assert!(!CLOCK.with(|clock| clock.is_running.get()));
        }
    }

    #[test]
    fn failures_are_reported_once_a_second_with_their_number() {
        let failures = FailureCount::new();
        let reports = [0, 0, 0, 1, 1, 5].map(|second| failures.add(second));
        assert_eq!(reports, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
