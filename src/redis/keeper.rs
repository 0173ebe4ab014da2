//! The thread of Redis: it connects, and connects again, for as long as the program runs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::redis::{
    boot_time::boot_time_ms,
    connect::{ConnectError, Connector},
    heartbeat::RegisteredInstance,
    lease_clock::LeaseClock,
    outbox::{Outbox, WaitingEvent},
    pause::Pauses,
    reading::StreamReading,
    shared::{AppliedEvents, RedisShared},
    unpublished::UnpublishedMark,
    waiters::WaiterMessage,
};

/// A call that the thread answers.
#[derive(Debug)]
pub(super) enum KeeperCall {
    Publish(WaitingEvent),
    Close(oneshot::Sender<()>),
}

/// The most calls that wait for the thread.
pub(super) const MAX_CALLS: usize = 4_096;

/// Why the connections are given up.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionEnd {
    #[error(transparent)]
    NoConnection(#[from] ConnectError),
    #[error("the connection was lost")]
    Lost,
    #[error("Redis did not answer a heartbeat in time")]
    Silent,
    #[error("Redis refused a command: {0}")]
    Refused(String),
    #[error("Redis answered something else than the program has asked for")]
    Odd,
    /// The data in Redis are others: all is read anew.
    #[error("the data in Redis are new")]
    NewEpoch,
    /// A node of the cluster that was away may be there again.
    #[error("the connections to the cluster are made again")]
    Partial,
    #[error("closed")]
    Closed,
}

/// The state of the thread.
pub(super) struct Keeper {
    pub(super) shared: Arc<RedisShared>,
    pub(super) connector: Connector,
    pub(super) name: String,
    pub(super) wall_clock_ms: fn() -> i64,
    pub(super) calls: mpsc::Receiver<KeeperCall>,
    pub(super) waiters: mpsc::UnboundedSender<WaiterMessage>,
    pub(super) reading: StreamReading,
    pub(super) outbox: Outbox,
    pub(super) mark: UnpublishedMark,
    pub(super) lease: LeaseClock,
    pub(super) pauses: Pauses,
    /// The instances that were registered at a time of CLOCK_BOOTTIME (ms).
    pub(super) seen: (Vec<RegisteredInstance>, u64),
    /// Answered when the thread ends.
    pub(super) closing: Option<oneshot::Sender<()>>,
}

impl Keeper {
    /// Runs until it is closed.
    pub(super) async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let end = self.session().await;
            self.away(&end);
            let is_short = begun.elapsed() < Duration::from_secs(1);
            match end {
                SessionEnd::Closed => break,
                SessionEnd::NewEpoch | SessionEnd::Partial if !is_short => {}
                SessionEnd::NewEpoch => {
                    let soon = Instant::now() + self.shared.timing.heartbeat / 10;
                    if self.idle(soon).await.is_break() {
                        self.leave_at_last().await;
                        break;
                    }
                }
                _ => {
                    let until = self.pauses.begin(Instant::now());
                    if self.idle(until).await.is_break() {
                        self.leave_at_last().await;
                        break;
                    }
                }
            }
        }
        self.shared.show_servers(None);
        // Who closes may not wait for it.
        self.closing.take().map(|closing| closing.send(()));
    }

    /// Redis is not in use until the next session.
    fn away(&mut self, end: &SessionEnd) {
        let was_usable = self.shared.show_servers(None);
        self.shared.trust_again();
        self.shared.reason.store(Arc::new(end.to_string()));
        self.events_wait();
        match end {
            SessionEnd::Closed => {}
            SessionEnd::NewEpoch | SessionEnd::Partial => log::info!("Redis: {end}"),
            _ if self.pauses.is_logged(Instant::now()) => {
                log::warn!(
                    "Redis is not in use: {end}; what it has is fetched from the origin until it is back"
                );
            }
            _ => log::debug!("Redis is not in use: {end} (was in use: {was_usable})"),
        }
    }

    /// Redis is away: who publishes is told that the events wait.
    fn events_wait(&mut self) {
        if !self.outbox.is_empty() {
            self.mark.set();
        }
        self.outbox.fail();
    }

    /// Waits until a time, and does meanwhile what needs no Redis.
    async fn idle(&mut self, until: Instant) -> std::ops::ControlFlow<()> {
        let shared = Arc::clone(&self.shared);
        loop {
            let lease_end = self.lease_end();
            tokio::select! {
                call = self.calls.recv() => {
                    if self.take(call) {
                        return std::ops::ControlFlow::Break(());
                    }
                    self.events_wait();
                }
                () = shared.confirms.notified() => self.confirmed(),
                () = sleep_until(lease_end.into()) => self.look_at_lease(),
                () = sleep_until(until.into()) => return std::ops::ControlFlow::Continue(()),
            }
        }
    }

    /// Takes a call. Returns true if it closes the thread.
    pub(super) fn take(&mut self, call: Option<KeeperCall>) -> bool {
        match call {
            Some(KeeperCall::Publish(event)) => self.outbox.push(event),
            Some(KeeperCall::Close(closing)) => {
                self.closing = Some(closing);
                return true;
            }
            // All handles were dropped.
            None => return true,
        }
        let lost = self.shared.lost_token.swap(0, Ordering::SeqCst);
        if lost > 0 {
            self.outbox.collapse(lost);
        }
        let waiting = self.outbox.len() as u64;
        self.shared
            .numbers
            .waiting_events
            .store(waiting, Ordering::Relaxed);
        false
    }

    /// Notes what was applied.
    pub(super) fn confirmed(&mut self) {
        if self.reading.confirm(self.shared.confirmed()) {
            self.lease.emptied();
        }
        if let Some(applied) = self.reading.applied() {
            self.lease.applied(applied.position);
        }
        self.show_applied();
    }

    /// Shows what was applied to the callers.
    pub(super) fn show_applied(&self) {
        let from = self.reading.from();
        let applied = self.reading.applied();
        self.shared
            .show_applied(applied.map(|stamp| AppliedEvents { stamp, from }));
    }

    /// When the lease has to be looked at.
    pub(super) fn lease_end(&self) -> Instant {
        let left = match self.lease.end() {
            Some(end) => Duration::from_millis(end.saturating_sub(boot_time_ms())),
            None => Duration::from_secs(3_600),
        };
        // The clock of the timer does not count suspended time.
        Instant::now() + left.min(Duration::from_secs(3_600))
    }

    pub(super) fn look_at_lease(&mut self) {
        if self.lease.ends(boot_time_ms()) {
            log::warn!(
                "nothing was heard from Redis for --redis-lease: the cache of this instance is cleared, and is its own until \
                 Redis is back"
            );
            self.reading.lease_ends();
        }
    }
}
