//! What is counted and logged about requests that are refused before the handler gets them.

use std::{net::IpAddr, rc::Rc};

use actix_web::http::{StatusCode, header::HeaderName};

use crate::{
    headers::{CacheStatus, RequestOutcome},
    observe::{RequestFeed, RouteSlot, WorkerCounters},
    proxy::{
        request::request_id::RequestId,
        response::{
            access_log::{AccessLogEntry, Fate},
            transfer_log::TransferLog,
        },
    },
};

/// Counts and logs the refused requests of one worker.
#[derive(Clone, Debug)]
pub struct RefusalLog {
    counters: Rc<WorkerCounters>,
    /// `None` without a dashboard.
    feed: Option<RequestFeed>,
    /// The header for ids; `None` if requests have none.
    request_id: Option<HeaderName>,
}

/// The log entry of a refused request. It is written when it is dropped.
pub struct RefusalEntry {
    log: TransferLog,
    /// `None` if requests have none.
    id: Option<RequestId>,
}

impl RefusalLog {
    /// Refused requests are added to `counters`, and shown in `feed`; `None` without a dashboard. They get an id if there is
    /// a header for it.
    pub fn new(
        counters: Rc<WorkerCounters>,
        feed: Option<RequestFeed>,
        request_id: Option<HeaderName>,
    ) -> Self {
        Self {
            counters,
            feed,
            request_id,
        }
    }

    /// Counts a request that gets `status`, as an error of this kind and for the reason in `problem`. `peer` has sent it.
    /// `request` is its method and target; `None` if they are not known.
    pub fn refused(
        &self,
        (status, kind): (StatusCode, &'static str),
        request: Option<(&str, &str)>,
        problem: &str,
        peer: Option<IpAddr>,
    ) -> RefusalEntry {
        let cache_status = CacheStatus {
            outcome: RequestOutcome::Failed(kind),
            ..CacheStatus::own_response()
        };
        self.responded((status, cache_status), request, Some(problem), peer)
    }

    /// Counts a request that is redirected with `status`. `request` is its method and target; `peer` has sent it.
    pub fn redirected(
        &self,
        status: StatusCode,
        request: (&str, &str),
        peer: Option<IpAddr>,
    ) -> RefusalEntry {
        let how = (status, CacheStatus::own_response());
        self.responded(how, Some(request), None, peer)
    }

    fn responded(
        &self,
        (status, cache_status): (StatusCode, CacheStatus),
        request: Option<(&str, &str)>,
        problem: Option<&str>,
        peer: Option<IpAddr>,
    ) -> RefusalEntry {
        self.counters
            .answered(RouteSlot::NONE, status, &cache_status);
        let mut entry = AccessLogEntry::refused(request, peer, self.feed.clone());
        entry.responded(status, cache_status, problem.map(str::to_owned));
        let id = self.request_id.as_ref().and_then(RequestId::generate);
        if let Some(id) = &id {
            entry.set_request_id(id);
        }
        let log = TransferLog::new(&self.counters, &cache_status, Some(Box::new(entry)));
        RefusalEntry { log, id }
    }
}

impl RefusalEntry {
    /// Writes the header with the id of the request, if it has one.
    pub fn write_id(&self, head: &mut Vec<u8>) {
        if let Some(id) = &self.id {
            id.write_line(head);
        }
    }

    /// Counts bytes of the body that were sent.
    pub fn sent(&self, bytes: usize) {
        self.log.sent(bytes);
    }

    /// The response was sent whole.
    pub fn ended(self) {
        self.log.ended(Fate::Whole);
    }
}
