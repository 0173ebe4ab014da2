//! What the thread and its callers share. Callers read it without a lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{sync::Notify, time::timeout};

use crate::redis::{
    address::KeyNames,
    boot_time::boot_time_ms,
    heartbeat::RegisteredInstance,
    lease_clock::ALONE,
    replies,
    servers::{SendError, Servers},
    settings::RedisTiming,
    stamp::Stamp,
    stats::RedisStats,
    unavailable::RedisUnavailable,
};

/// This many failures in a row mean that Redis is left alone for a while.
const MAX_FAILURES: u32 = 5;

/// The events that were applied: those after `from`, up to `stamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AppliedEvents {
    pub(super) stamp: Stamp,
    pub(super) from: u64,
}

impl AppliedEvents {
    /// Whether they say if a record with this stamp has ended.
    pub(super) fn judge(&self, stamp: Stamp) -> bool {
        self.stamp.includes(stamp) && stamp.position >= self.from
    }
}

/// Counters.
#[derive(Debug, Default)]
pub(super) struct RedisNumbers {
    pub(super) lookups: AtomicU64,
    pub(super) found: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) waiting_bytes: AtomicU64,
    pub(super) waiting_events: AtomicU64,
    pub(super) events: AtomicU64,
    pub(super) round_trip_us: AtomicU64,
    pub(super) left_alone: AtomicU64,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// How a call is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A failure is one of several that matter together.
    Usual,
    /// A time that is exceeded matters at once.
    Hard,
}

/// What the thread and its callers share.
pub(super) struct RedisShared {
    pub(super) keys: KeyNames,
    pub(super) timing: RedisTiming,
    /// How long a lookup may take.
    pub(super) timeout: Duration,
    pub(super) lease: Option<Duration>,
    pub(super) max_object_bytes: u64,
    /// The id of this instance.
    pub(super) id: String,
    /// The connections. `None` as long as Redis is not in use.
    servers: ArcSwapOption<Servers>,
    applied: ArcSwapOption<AppliedEvents>,
    /// The number of the last message that was confirmed.
    confirmed: AtomicU64,
    pub(super) confirms: Notify,
    failures: AtomicU32,
    is_left_alone: AtomicBool,
    pub(super) troubles: Notify,
    /// The token of an event that the thread did not get. 0 if there is none.
    pub(super) lost_token: AtomicU64,
    pub(super) valid_until: Arc<AtomicU64>,
    /// Redis's time minus ours, in milliseconds.
    pub(super) clock_difference_ms: AtomicI64,
    pub(super) numbers: RedisNumbers,
    /// Why Redis is not in use. Empty if it is.
    pub(super) reason: ArcSwap<String>,
    /// The instances as the last heartbeat has shown them.
    pub(super) instances: ArcSwap<Vec<RegisteredInstance>>,
    pub(super) notices_restarts: AtomicBool,
}

/// What a [`RedisShared`] is made from.
pub(super) struct RedisSharedParts {
    pub(super) keys: KeyNames,
    pub(super) timing: RedisTiming,
    pub(super) timeout: Duration,
    pub(super) lease: Option<Duration>,
    pub(super) max_object_bytes: u64,
    pub(super) id: String,
    pub(super) valid_until: Arc<AtomicU64>,
}

impl RedisShared {
    pub(super) fn new(parts: RedisSharedParts) -> Self {
        Self {
            keys: parts.keys,
            timing: parts.timing,
            timeout: parts.timeout,
            lease: parts.lease,
            max_object_bytes: parts.max_object_bytes,
            id: parts.id,
            servers: ArcSwapOption::empty(),
            applied: ArcSwapOption::empty(),
            confirmed: AtomicU64::new(0),
            confirms: Notify::new(),
            failures: AtomicU32::new(0),
            is_left_alone: AtomicBool::new(false),
            troubles: Notify::new(),
            lost_token: AtomicU64::new(0),
            valid_until: parts.valid_until,
            clock_difference_ms: AtomicI64::new(0),
            numbers: RedisNumbers::default(),
            reason: ArcSwap::from_pointee("Redis was not reached yet".into()),
            instances: ArcSwap::default(),
            notices_restarts: AtomicBool::new(false),
        }
    }

    /// The connections. `None` if Redis is not in use.
    pub(super) fn servers(&self) -> Option<Arc<Servers>> {
        self.servers.load_full().filter(|_| self.has_lease())
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_connected() && self.has_lease()
    }

    fn is_connected(&self) -> bool {
        self.servers.load().is_some()
    }

    /// Whether the lease of this instance holds: it has applied all that another instance may take for applied everywhere.
    /// Each use of Redis asks this, because the thread that looks at the lease may have been stopped with the process. True
    /// if there is no lease.
    pub(super) fn has_lease(&self) -> bool {
        if self.lease.is_none() {
            return true;
        }
        let until = self.valid_until.load(Ordering::SeqCst);
        until != ALONE && boot_time_ms() < until
    }

    /// Shows whether Redis is in use. Returns whether that has changed.
    pub(super) fn show_servers(&self, servers: Option<&Arc<Servers>>) -> bool {
        let before = self.is_connected();
        if before != servers.is_some() {
            self.servers.store(servers.cloned());
        }
        before != servers.is_some()
    }

    pub(super) fn applied(&self) -> Option<AppliedEvents> {
        self.applied.load().as_deref().copied()
    }

    pub(super) fn show_applied(&self, applied: Option<AppliedEvents>) {
        if self.applied() != applied {
            self.applied.store(applied.map(Arc::new));
        }
    }

    pub(super) fn confirm(&self, number: u64) {
        self.confirmed.fetch_max(number, Ordering::SeqCst);
        self.confirms.notify_one();
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::SeqCst)
    }

    /// Whether Redis is left alone after failures.
    pub(super) fn is_left_alone(&self) -> bool {
        self.is_left_alone.load(Ordering::SeqCst)
    }

    /// Redis is in use again.
    pub(super) fn trust_again(&self) {
        self.failures.store(0, Ordering::SeqCst);
        self.is_left_alone.store(false, Ordering::SeqCst);
    }

    fn fail(&self, is_grave: bool) {
        let failures = self.failures.fetch_add(1, Ordering::SeqCst) + 1;
        if (is_grave || failures >= MAX_FAILURES)
            && !self.is_left_alone.swap(true, Ordering::SeqCst)
        {
            add(&self.numbers.left_alone, 1);
            self.servers.store(None);
            self.troubles.notify_one();
        }
    }

    /// The result of a call, if it comes within a time. Failures are counted until a call was answered as quickly as a
    /// lookup has to be: a write may take longer, and does not show that Redis can be asked.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        weight: Weight,
        call: impl Future<Output = Result<T, SendError>>,
    ) -> Result<T, RedisUnavailable> {
        let begun = Instant::now();
        match timeout(limit, call).await {
            Ok(Ok(value)) => {
                if begun.elapsed() <= self.timeout {
                    self.failures.store(0, Ordering::SeqCst);
                }
                Ok(value)
            }
            Ok(Err(SendError::Redis(error))) if replies::is_answer(&error) => {
                add(&self.numbers.corrupt, 1);
                Err(RedisUnavailable::Corrupt)
            }
            Ok(Err(SendError::Redis(_))) => {
                add(&self.numbers.failed, 1);
                self.fail(false);
                Err(RedisUnavailable::Failed)
            }
            // A node of the cluster is away: the others are not.
            Ok(Err(SendError::NoNode)) => Err(RedisUnavailable::Away),
            Err(_) => {
                add(&self.numbers.late, 1);
                self.fail(weight == Weight::Hard);
                Err(RedisUnavailable::Late)
            }
        }
    }

    pub(super) fn stats(&self) -> RedisStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let numbers = &self.numbers;
        let bypassed = match (self.is_connected(), self.has_lease()) {
            (true, true) => None,
            (true, false) => Some("the lease of this instance has ended".into()),
            (false, _) => Some(self.reason.load().as_ref().clone()),
        };
        RedisStats {
            bypassed,
            lookups: get(&numbers.lookups),
            found: get(&numbers.found),
            late: get(&numbers.late),
            failed: get(&numbers.failed),
            corrupt: get(&numbers.corrupt),
            written: get(&numbers.written),
            written_bytes: get(&numbers.written_bytes),
            dropped: get(&numbers.dropped),
            waiting_bytes: get(&numbers.waiting_bytes),
            waiting_events: get(&numbers.waiting_events),
            events: get(&numbers.events),
            left_alone: get(&numbers.left_alone),
            round_trip_us: get(&numbers.round_trip_us),
            clock_difference_ms: self.clock_difference_ms.load(Ordering::Relaxed),
            instances: self
                .instances
                .load()
                .iter()
                .map(|one| one.name.clone())
                .collect(),
            notices_restarts: self.notices_restarts.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(lease: Option<Duration>, valid_until: u64) -> RedisShared {
        RedisShared::new(RedisSharedParts {
            keys: KeyNames::new("test").unwrap(),
            timing: RedisTiming::default(),
            timeout: Duration::from_millis(20),
            lease,
            max_object_bytes: 1,
            id: String::new(),
            valid_until: Arc::new(AtomicU64::new(valid_until)),
        })
    }

    #[test]
    fn a_lease_that_has_ended_or_was_not_given_does_not_hold() {
        let lease = Some(Duration::from_secs(30));
        let now = boot_time_ms();
        for (valid_until, holds) in [
            (now + 60_000, true),
            (now, false),
            (0, false),
            (ALONE, false),
        ] {
            assert_eq!(shared(lease, valid_until).has_lease(), holds);
        }
        assert!(shared(None, ALONE).has_lease());
    }
}
