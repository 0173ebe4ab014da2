//! How many clients each worker serves: the limit over all workers, and the balance between them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How many clients a worker may serve beyond an equal share.
const MAX_LEAD: usize = 4;

/// The clients of all workers. A worker takes a place before it accepts a connection, and gives it back when that ends.
pub(super) struct Clients {
    limit: usize,
    counts: Mutex<Counts>,
}

/// The places that are taken, and who waits for one.
struct Counts {
    total: usize,
    workers: Box<[WorkerCount]>,
    /// Waits until no place is taken.
    end: Option<Waker>,
}

/// The same of one worker.
#[derive(Clone, Default)]
struct WorkerCount {
    taken: usize,
    waiting: Option<Waker>,
}

/// The place of one client. It is given back when this is dropped.
pub(super) struct ClientPlace {
    clients: Arc<Clients>,
    worker: usize,
}

impl Clients {
    /// `limit` clients at a time, over this number of workers.
    pub(super) fn new(limit: usize, workers: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            counts: Mutex::new(Counts {
                total: 0,
                workers: vec![WorkerCount::default(); workers].into(),
                end: None,
            }),
        })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a client of `worker`. Pending as long as the limit is reached, or other workers serve fewer clients. The
    /// worker that serves the fewest clients waits for the limit alone, so one worker always accepts.
    pub(super) fn poll_place(
        self: &Arc<Self>,
        worker: usize,
        context: &Context<'_>,
    ) -> Poll<ClientPlace> {
        let mut counts = self.counts();
        if counts.is_due(worker, self.limit) {
            return Poll::Ready(self.take_place(&mut counts, worker));
        }
        if let Some(count) = counts.workers.get_mut(worker) {
            count.waiting = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// A place for a client of `worker`, however many the other workers serve; `None` if the limit is reached.
    pub(super) fn place_at_once(self: &Arc<Self>, worker: usize) -> Option<ClientPlace> {
        let mut counts = self.counts();
        (counts.total < self.limit).then(|| self.take_place(&mut counts, worker))
    }

    fn take_place(self: &Arc<Self>, counts: &mut Counts, worker: usize) -> ClientPlace {
        counts.change(worker, self.limit, |taken| *taken += 1);
        ClientPlace {
            clients: Arc::clone(self),
            worker,
        }
    }

    /// Ready when no place is taken.
    pub(super) fn poll_none(&self, context: &Context<'_>) -> Poll<()> {
        let mut counts = self.counts();
        if counts.total == 0 {
            return Poll::Ready(());
        }
        counts.end = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Counts {
    /// True if `worker` may take a place.
    fn is_due(&self, worker: usize, limit: usize) -> bool {
        let taken = self.workers.get(worker).map_or(0, |count| count.taken);
        self.total < limit && taken < self.total / self.workers.len() + MAX_LEAD
    }

    /// Changes how many places `worker` has taken, and wakes those who have waited for that.
    fn change(&mut self, worker: usize, limit: usize, change: impl FnOnce(&mut usize)) {
        let Some(count) = self.workers.get_mut(worker) else {
            return;
        };
        self.total -= count.taken;
        change(&mut count.taken);
        self.total += count.taken;
        for worker in 0..self.workers.len() {
            if self.workers[worker].waiting.is_some()
                && self.is_due(worker, limit)
                && let Some(waker) = self.workers[worker].waiting.take()
            {
                waker.wake();
            }
        }
        if self.total == 0
            && let Some(waker) = self.end.take()
        {
            waker.wake();
        }
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        let limit = self.clients.limit;
        let mut counts = self.clients.counts();
        counts.change(self.worker, limit, |taken| *taken -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(clients: &Arc<Clients>, worker: usize) -> Option<ClientPlace> {
        match clients.poll_place(worker, &Context::from_waker(Waker::noop())) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct WakeCount(std::sync::atomic::AtomicUsize);

    impl std::task::Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    impl WakeCount {
        fn take(&self) -> usize {
            self.0.swap(0, std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[test]
    fn places_are_limited_over_all_workers_and_taken_again() {
        let clients = Clients::new(3, 2);
        let mut taken: Vec<_> = [0, 1, 0].map(|worker| place(&clients, worker)).into();
        assert!(taken.iter().all(Option::is_some));
        assert!(place(&clients, 1).is_none() && clients.place_at_once(1).is_none());
        taken.pop();
        assert!(place(&clients, 1).is_some());
    }

    #[test]
    fn a_worker_that_serves_more_than_its_share_waits_for_the_others() {
        let clients = Clients::new(1000, 2);
        let alone: Vec<_> = std::iter::from_fn(|| place(&clients, 0)).collect();
        assert!(alone.len() <= 2 * MAX_LEAD, "{}", alone.len());
        assert!(clients.place_at_once(0).is_some());
        let others: Vec<_> = (0..100).map_while(|_| place(&clients, 1)).collect();
        assert!(others.len() > alone.len());
        assert!(place(&clients, 0).is_some());
    }

    #[test]
    fn one_worker_may_always_take_a_place_below_the_limit() {
        let clients = Clients::new(500, 7);
        let mut taken = Vec::new();
        for number in 0..500 {
            let due: Vec<_> = (0..7)
                .filter_map(|worker| place(&clients, worker))
                .collect();
            assert!(!due.is_empty(), "after {number} places");
            taken.extend(due.into_iter().nth(number % 3));
        }
    }

    #[test]
    fn whoever_waits_is_woken_when_a_place_is_free_or_the_share_has_grown() {
        let count = Arc::new(WakeCount::default());
        let waker = Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&waker);
        // The limit.
        let clients = Clients::new(1, 2);
        let taken = place(&clients, 0);
        assert!(clients.poll_place(1, &context).is_pending());
        assert!(clients.poll_none(&context).is_pending());
        drop(taken);
        assert_eq!(count.take(), 2);
        // The share.
        let clients = Clients::new(1000, 2);
        let alone: Vec<_> = std::iter::from_fn(|| place(&clients, 0)).collect();
        assert!(clients.poll_place(0, &context).is_pending());
        let _others = [place(&clients, 1), place(&clients, 1)];
        assert_eq!((count.take(), alone.is_empty()), (1, false));
    }
}
