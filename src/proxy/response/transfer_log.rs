//! What is counted and logged about a body while it is sent.

use std::rc::Rc;

use crate::{
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    observe::WorkerCounters,
    policy::Reason,
    proxy::{
        response::access_log::{AccessLogEntry, Fate},
        tunnel::established::TunnelLog,
    },
};

/// Counts the bytes of a response body, and notes in the log entry how its transfer ended.
pub(crate) struct TransferLog {
    counters: Rc<WorkerCounters>,
    outcome: RequestOutcome,
    /// The response is stored by the fetch of this request, as far as was known when its head was sent.
    stores: bool,
    /// It is known not to be stored, and why.
    is_refused: bool,
    entry: Option<Box<AccessLogEntry>>,
}

impl TransferLog {
    pub(crate) fn new(
        counters: &Rc<WorkerCounters>,
        cache_status: &CacheStatus,
        entry: Option<Box<AccessLogEntry>>,
    ) -> Self {
        Self {
            counters: Rc::clone(counters),
            outcome: cache_status.outcome,
            stores: matches!(
                cache_status.store,
                StoreOutcome::Stored | StoreOutcome::Arriving
            ),
            is_refused: matches!(cache_status.store, StoreOutcome::NotStored(_)),
            entry,
        }
    }

    /// The same for a tunnel.
    pub(crate) fn into_tunnel_log(self) -> TunnelLog {
        TunnelLog::new(self.counters, self.entry)
    }

    /// Counts bytes that were sent.
    pub(crate) fn sent(&self, bytes: usize) {
        match self.outcome {
            RequestOutcome::Hit
            | RequestOutcome::Validated
            | RequestOutcome::Stale
            | RequestOutcome::Collapsed => {
                self.counters.saved(bytes);
            }
            RequestOutcome::Miss
            | RequestOutcome::Own
            | RequestOutcome::Tunnel
            | RequestOutcome::Failed(_) => self.counters.passed(bytes),
        }
        if let Some(entry) = &self.entry {
            entry.sent(bytes);
        }
    }

    /// Notes how the transfer ended.
    pub(crate) fn ended(&self, fate: Fate) {
        if let Some(entry) = &self.entry {
            entry.ended(fate);
        }
    }

    /// Notes that the origin cut the body, unless another end was noted.
    pub(crate) fn cut(&self) {
        if let Some(entry) = &self.entry
            && entry.fate() == Fate::Unfinished
        {
            entry.ended(Fate::Cut);
        }
    }

    /// Notes that the response was not stored after all.
    pub(crate) fn not_stored(&self, reason: Reason) {
        if self.stores {
            self.counters.not_stored(reason);
        }
        if let Some(entry) = self.entry.as_ref().filter(|_| !self.is_refused) {
            entry.not_stored(reason);
        }
    }
}
