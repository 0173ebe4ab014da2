//! What is counted and logged about requests that are refused before the handler gets them.

use std::rc::Rc;

use actix_web::http::StatusCode;

use crate::{
    error::refused_head_kind,
    headers::{CacheStatus, RequestOutcome},
    observe::{RequestFeed, RouteSlot, WorkerCounters},
    proxy::response::{
        access_log::{AccessLogEntry, Fate},
        transfer_log::TransferLog,
    },
};

/// Counts and logs the refused requests of one worker.
#[derive(Debug)]
pub struct RefusalLog {
    counters: Rc<WorkerCounters>,
    /// `None` without a dashboard.
    feed: Option<RequestFeed>,
}

/// The log entry of a refused request. It is written when it is dropped.
pub struct RefusalEntry(TransferLog);

impl RefusalLog {
    /// Refused requests are added to `counters`, and shown in `feed`; `None` without a dashboard.
    pub fn new(counters: Rc<WorkerCounters>, feed: Option<RequestFeed>) -> Self {
        Self { counters, feed }
    }

    /// Counts a request that gets `status`, for the reason in `problem`. `request` is its method and target; `None` if they
    /// are not known.
    pub fn refused(
        &self,
        status: StatusCode,
        request: Option<(&str, &str)>,
        problem: &str,
    ) -> RefusalEntry {
        let cache_status = CacheStatus {
            outcome: RequestOutcome::Failed(refused_head_kind(status)),
            ..CacheStatus::own_response()
        };
        self.counters
            .answered(RouteSlot::NONE, status, &cache_status);
        let mut entry = AccessLogEntry::refused(request, self.feed.clone());
        entry.responded(status, cache_status, Some(problem.to_owned()));
        RefusalEntry(TransferLog::new(&self.counters, &cache_status, Some(entry)))
    }
}

impl RefusalEntry {
    /// Counts bytes of the body that were sent.
    pub fn sent(&self, bytes: usize) {
        self.0.sent(bytes);
    }

    /// The response was sent whole.
    pub fn ended(self) {
        self.0.ended(Fate::Whole);
    }
}
