//! What the caller and the connection tell each other about one request and its response.
//!
//! awc lies between the two and passes on what HTTP knows: heads and bodies. The rest is shared in an [`Exchange`]: how
//! the request is to be sent, how long the origin has been silent, what went wrong.

use std::{cell::RefCell, fmt, rc::Rc, time::Duration};

use actix_web::http::{StatusCode, header::HeaderMap};
use tokio::time::{Instant, sleep_until};

use super::{
    error::{OriginError, Phase},
    framing::BodyFraming,
    upload::RequestBody,
};

tokio::task_local! {
    static CURRENT: Exchange;
}

/// One request and its response, shared by the caller and the connection.
#[derive(Clone)]
pub(super) struct Exchange(Rc<RefCell<State>>);

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

/// How a request is to be sent.
pub(super) struct Plan {
    /// The client's body.
    pub(super) body: RequestBody,
    pub(super) afterwards: Afterwards,
    /// It may be sent once more when its connection ended before anything of a response came.
    pub(super) repeatable: bool,
    pub(super) interim: Option<InterimSink>,
}

struct State {
    /// Until a connection takes it.
    plan: Option<Plan>,
    phase: Phase,
    /// Last sign of life of the origin, or last byte it took.
    progress: Instant,
    awaits_client: bool,
    framing: Option<BodyFraming>,
    is_whole: bool,
    failure: Option<OriginError>,
}

impl Exchange {
    pub(super) fn new(plan: Plan) -> Self {
        Self(Rc::new(RefCell::new(State {
            plan: Some(plan),
            phase: Phase::Connecting,
            progress: Instant::now(),
            awaits_client: false,
            framing: None,
            is_whole: false,
            failure: None,
        })))
    }

    /// Makes this the current exchange for as long as `hand` runs.
    pub(super) fn hand_over<T>(&self, hand: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), hand)
    }

    /// The exchange that is being handed over.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    pub(super) fn take_plan(&self) -> Option<Plan> {
        self.0.borrow_mut().plan.take()
    }

    /// A connection is looked for, once more.
    pub(super) fn connect(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Connecting;
        state.progress = Instant::now();
        (state.framing, state.is_whole) = (None, false);
    }

    /// A connection is there, and the request leaves.
    pub(super) fn begin(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::FirstByte;
        state.progress = Instant::now();
    }

    /// The origin took or sent bytes.
    pub(super) fn progressed(&self) {
        self.0.borrow_mut().progress = Instant::now();
    }

    /// Says if the next piece of the upload is the client's to send. Once it has come the origin owes again.
    pub(super) fn set_awaits_client(&self, awaits_client: bool) {
        let mut state = self.0.borrow_mut();
        if state.awaits_client && !awaits_client {
            state.progress = Instant::now();
        }
        state.awaits_client = awaits_client;
    }

    /// Until when the origin may be silent; `None` when it was silent for `limit`. While the client's body is awaited it
    /// owes nothing.
    pub(super) fn patience(&self, limit: Duration) -> Option<Instant> {
        let state = self.0.borrow();
        let now = Instant::now();
        let since = match state.awaits_client {
            true => now,
            false => state.progress,
        };
        let until = since + limit;
        (until > now).then_some(until)
    }

    /// The head of the final response has come.
    pub(super) fn set_answered(&self, framing: BodyFraming) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Body;
        state.framing = Some(framing);
    }

    /// How the end of the response's body is known, once its head has come.
    pub(super) fn framing(&self) -> Option<BodyFraming> {
        self.0.borrow().framing
    }

    /// The response is whole.
    pub(super) fn set_whole(&self) {
        let mut state = self.0.borrow_mut();
        state.is_whole = true;
        state.awaits_client = false;
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0.borrow().is_whole
    }

    /// Keeps what went wrong for the caller; the first failure is the cause of the others.
    pub(super) fn fail(&self, failure: OriginError) {
        self.0.borrow_mut().failure.get_or_insert(failure);
    }

    pub(super) fn take_failure(&self) -> Option<OriginError> {
        self.0.borrow_mut().failure.take()
    }

    /// Resolves when the origin was silent for `limit`.
    pub(super) async fn silence(&self, limit: Duration) -> OriginError {
        while let Some(until) = self.patience(limit) {
            sleep_until(until).await;
        }
        OriginError::Timeout {
            phase: self.0.borrow().phase,
            limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NO_TIME: Duration = Duration::from_nanos(1);

    /// Until time has passed.
    fn pass() {
        let now = Instant::now();
        while Instant::now() <= now + NO_TIME {}
    }

    #[test]
    fn an_origin_that_takes_or_owes_nothing_is_not_silent() {
        let exchange = Exchange::new(Plan {
            body: RequestBody::Empty,
            afterwards: Afterwards::Keep,
            repeatable: false,
            interim: None,
        });
        pass();
        let first = exchange.patience(HOUR).unwrap();
        assert_eq!(exchange.patience(NO_TIME), None);
        // Bytes in either direction, also behind the head.
        exchange.set_answered(BodyFraming::Chunked);
        exchange.progressed();
        let second = exchange.patience(HOUR).unwrap();
        assert!(second > first);
        pass();
        assert_eq!(exchange.patience(NO_TIME), None);
        exchange.set_awaits_client(true);
        assert!(exchange.patience(NO_TIME).is_some());
        // The client's piece has come: the origin has all the time for it.
        exchange.set_awaits_client(false);
        assert!(exchange.patience(HOUR).unwrap() > second);
    }
}
