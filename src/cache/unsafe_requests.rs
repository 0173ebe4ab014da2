//! The number of unsafe requests in progress.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Counts unsafe requests whose invalidation may still come. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub(super) struct UnsafeRequestCount(Arc<AtomicUsize>);

impl UnsafeRequestCount {
    /// Counts one more, until the result is dropped.
    pub(super) fn begin(&self) -> CountedRequest {
        self.0.fetch_add(1, Ordering::SeqCst);
        CountedRequest(self.clone())
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

/// An unsafe request in progress.
#[derive(Debug)]
pub struct CountedRequest(UnsafeRequestCount);

impl Drop for CountedRequest {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}
