//! Where the actor is, also after it was started again.
//!
//! The address of an actor that has panicked stays closed, so the actor that is started in its place has another one. The
//! handles of all workers must find it, and they share no lock. So each start has a cell of its own, which is written once,
//! and a number says which one is current.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use actix::Addr;
use tokio::sync::{Notify, futures::Notified};

use crate::cache::actor::CacheActor;

/// How often the actor is started. After that the cache stays off.
const MAX_STARTS: usize = 1024;

/// The addresses of the actor, one for each start.
#[derive(Debug)]
pub(super) struct ActorStarts {
    addresses: Box<[OnceLock<Addr<CacheActor>>]>,
    current: AtomicUsize,
    /// Notified when the actor has started for the first time.
    begun: Notify,
    has_ended: AtomicBool,
}

impl Default for ActorStarts {
    fn default() -> Self {
        Self {
            addresses: (0..MAX_STARTS).map(|_| OnceLock::new()).collect(),
            current: AtomicUsize::new(0),
            begun: Notify::new(),
            has_ended: AtomicBool::new(false),
        }
    }
}

impl ActorStarts {
    /// Starts the actor, unless it has been started.
    pub(super) fn first(&self, start: impl FnOnce() -> Addr<CacheActor>) {
        if let Some(first) = self.addresses.first() {
            first.get_or_init(start);
        }
        self.begun.notify_waiters();
    }

    /// From now on it is not started again.
    pub(super) fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Waits for the first start.
    pub(super) fn begun(&self) -> Notified<'_> {
        self.begun.notified()
    }

    /// The number of the last start, and its address; `None` if there was none.
    pub(super) fn current(&self) -> Option<(usize, &Addr<CacheActor>)> {
        let number = self.current.load(Ordering::Acquire);
        Some((number, self.addresses.get(number)?.get()?))
    }

    /// Starts the actor again after start `number`, unless another thread has. `None` if it has been started too often.
    pub(super) fn again(
        &self,
        number: usize,
        start: impl FnOnce() -> Addr<CacheActor>,
    ) -> Option<&Addr<CacheActor>> {
        let next = number + 1;
        let address = self.addresses.get(next)?.get_or_init(start);
        self.current.fetch_max(next, Ordering::AcqRel);
        Some(address)
    }
}
