//! What the caller and the connection tell each other about one request and its response.
//!
//! awc lies between the two and passes neither side's knowledge on: not if the connection was new, not how far the
//! upload is, not what the origin's head said. So both sides share an [`Exchange`]; while awc's future is polled it
//! is the task's current one, where the connection finds it.

use std::{cell::RefCell, fmt, rc::Rc, time::Duration};

use actix_web::http::{Method, StatusCode, header::HeaderMap};
use tokio::time::{Instant, sleep_until};

use super::{
    error::{OriginError, Phase},
    framing::Head,
    upload::{RequestBody, Upload},
};

tokio::task_local! {
    static CURRENT: Exchange;
}

/// One request and its response, shared by the caller and the connection.
#[derive(Clone)]
pub(super) struct Exchange(Rc<RefCell<State>>);

/// Where the Date field of the written head comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateLine {
    /// The client sent one.
    Clients,
    /// awc adds one of its own, which is taken out again.
    Awcs,
}

/// What becomes of the connection when the response is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It waits for the next exchange, if the origin agrees.
    Keep,
    /// It is closed.
    Close,
}

/// Where the interim (1xx) responses to a request go, as they come: each with its status and its fields as received.
#[derive(Clone)]
pub struct InterimSink(Rc<dyn Fn(StatusCode, HeaderMap)>);

impl InterimSink {
    /// Calls `take` for each of them.
    pub fn new(take: impl Fn(StatusCode, HeaderMap) + 'static) -> Self {
        Self(Rc::new(take))
    }

    pub(super) fn hand(&self, status: StatusCode, fields: HeaderMap) {
        (self.0)(status, fields);
    }
}

impl fmt::Debug for InterimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterimSink")
    }
}

/// The request as the connection needs to know it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) date: DateLine,
    pub(super) framing_line: Option<String>,
    pub(super) afterwards: Afterwards,
    pub(super) interim: Option<InterimSink>,
}

struct State {
    plan: Plan,
    upload: Upload,
    phase: Phase,
    /// Last sign of life of the origin, or last byte it took.
    progress: Instant,
    awaits_client: bool,
    connection: Connection,
    answered: Answered,
    head: Option<Box<Head>>,
    failure: Option<OriginError>,
}

/// What is known of the connection the exchange runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Unknown,
    Fresh,
    Reused,
}

/// How much of the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Nothing,
    Partly,
    Whole,
}

impl Exchange {
    pub(super) fn new(plan: Plan, body: RequestBody) -> Self {
        Self(Rc::new(RefCell::new(State {
            plan,
            upload: Upload::new(body),
            phase: Phase::Connecting,
            progress: Instant::now(),
            awaits_client: false,
            connection: Connection::Unknown,
            answered: Answered::Nothing,
            head: None,
            failure: None,
        })))
    }

    /// Makes this the current exchange while `future` runs.
    pub(super) async fn scope<F: Future>(&self, future: F) -> F::Output {
        CURRENT.scope(self.clone(), future).await
    }

    /// The exchange of the running task.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// The connection takes the exchange over. `served` exchanges ran on it before.
    pub(super) fn begin(&self, served: u64) -> Plan {
        let mut state = self.0.borrow_mut();
        state.connection = if served == 0 {
            Connection::Fresh
        } else {
            Connection::Reused
        };
        state.phase = Phase::FirstByte;
        state.progress = Instant::now();
        state.plan.clone()
    }

    /// Works on the upload.
    pub(super) fn with_upload<T>(&self, work: impl FnOnce(&mut Upload) -> T) -> T {
        work(&mut self.0.borrow_mut().upload)
    }

    pub(super) fn upload_is_done(&self) -> bool {
        self.0.borrow().upload.is_done()
    }

    /// The origin took bytes.
    pub(super) fn took(&self) {
        self.0.borrow_mut().progress = Instant::now();
    }

    /// The origin sent bytes.
    pub(super) fn received(&self) {
        let mut state = self.0.borrow_mut();
        state.progress = Instant::now();
        if state.answered == Answered::Nothing {
            state.answered = Answered::Partly;
        }
    }

    /// Says if the next piece of the upload is the client's to send.
    pub(super) fn set_awaits_client(&self, awaits_client: bool) {
        self.0.borrow_mut().awaits_client = awaits_client;
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.0.borrow().awaits_client
    }

    /// The head of the final response has come.
    pub(super) fn set_head(&self, head: Box<Head>) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Body;
        state.head = Some(head);
    }

    pub(super) fn take_head(&self) -> Option<Box<Head>> {
        self.0.borrow_mut().head.take()
    }

    /// The response is whole.
    pub(super) fn set_whole(&self) {
        let mut state = self.0.borrow_mut();
        state.answered = Answered::Whole;
        state.awaits_client = false;
        state.upload.abandon();
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0.borrow().answered == Answered::Whole
    }

    /// Keeps what went wrong for the caller; the first failure is the cause of the others.
    pub(super) fn fail(&self, failure: OriginError) {
        self.0.borrow_mut().failure.get_or_insert(failure);
    }

    pub(super) fn take_failure(&self) -> Option<OriginError> {
        self.0.borrow_mut().failure.take()
    }

    /// True when a reused connection ended before any byte of the response: the origin most likely never saw the
    /// request.
    pub(super) fn found_stale_connection(&self) -> bool {
        let state = self.0.borrow();
        state.connection == Connection::Reused && state.answered == Answered::Nothing
    }

    /// Resolves when the origin was silent for `limit`. While the client's body is awaited the origin owes nothing.
    pub(super) async fn silence(&self, limit: Duration) -> OriginError {
        let mut since = self.0.borrow().progress;
        loop {
            sleep_until(since + limit).await;
            let mut state = self.0.borrow_mut();
            if state.awaits_client {
                state.progress = Instant::now();
            }
            if state.progress == since {
                return OriginError::Timeout {
                    phase: state.phase,
                    limit,
                };
            }
            since = state.progress;
        }
    }
}
