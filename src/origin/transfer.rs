//! The state of one request and its response that has no place in awc.
//!
//! awc carries method, target and body of the request, and status, headers and body of the response. It has no place for
//! interim responses, and none for what happens on the connection: how long the origin has been silent, how the body is
//! framed, whether it arrived whole, what went wrong. Of the headers of the request it would take a copy. A
//! [`TransferState`] holds these. The caller and the transport share it.

use std::{cell::RefCell, fmt, rc::Rc, time::Duration};

use actix_web::http::{StatusCode, header::HeaderMap};
use bytes::BytesMut;
use tokio::time::{Instant, sleep_until};

use super::{
    error::{OriginError, Phase, WaitLimit},
    framing::{BodyFraming, UpgradeOffer},
    stream::OriginStream,
};

tokio::task_local! {
    static CURRENT: TransferState;
}

/// Receives the interim (1xx) responses to a request as they arrive, each with its status and headers.
#[derive(Clone)]
pub struct InterimSink(Rc<dyn Fn(StatusCode, HeaderMap)>);

impl InterimSink {
    /// Calls `receive` for each interim response.
    pub fn new(receive: impl Fn(StatusCode, HeaderMap) + 'static) -> Self {
        Self(Rc::new(receive))
    }

    pub(super) fn send(&self, status: StatusCode, headers: HeaderMap) {
        (self.0)(status, headers);
    }
}

impl fmt::Debug for InterimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterimSink")
    }
}

/// The limits of the waits before a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    pub(super) connecting: WaitLimit,
    pub(super) first_byte: WaitLimit,
}

impl WaitLimits {
    fn of(self, phase: Phase) -> WaitLimit {
        match phase {
            Phase::FirstByte => self.first_byte,
            Phase::Connecting | Phase::Body => self.connecting,
        }
    }
}

/// What the caller and the transport share beside awc about one request. Clones share the same state.
#[derive(Clone)]
pub(super) struct TransferState(Rc<RefCell<TransferFields>>);

struct TransferFields {
    /// The headers of the request.
    headers: Rc<HeaderMap>,
    /// `None` if interim responses are dropped.
    interim: Option<InterimSink>,
    phase: Phase,
    /// When the origin last sent or took bytes.
    progress: Instant,
    awaits_client: bool,
    /// `None` until the head of the final response has arrived.
    framing: Option<BodyFraming>,
    is_whole: bool,
    failure: Option<OriginError>,
    offer: UpgradeOffer,
    /// A connection that no longer carries HTTP, with the bytes that came after its 101; `None` if there is none.
    switched: Option<(OriginStream, BytesMut)>,
}

impl TransferState {
    /// The state of a request with these headers, whose interim responses go to `interim`; `None`: they are dropped.
    pub(super) fn new(headers: Rc<HeaderMap>, interim: Option<InterimSink>) -> Self {
        Self::offering(UpgradeOffer::Nothing, headers, interim)
    }

    /// The same of a request with this offer.
    pub(super) fn offering(
        offer: UpgradeOffer,
        headers: Rc<HeaderMap>,
        interim: Option<InterimSink>,
    ) -> Self {
        Self(Rc::new(RefCell::new(TransferFields {
            headers,
            interim,
            phase: Phase::Connecting,
            progress: Instant::now(),
            awaits_client: false,
            framing: None,
            is_whole: false,
            failure: None,
            offer,
            switched: None,
        })))
    }

    /// Makes this the current state while `send` runs: the transport finds it when awc calls it.
    pub(super) fn with_current<T>(&self, send: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), send)
    }

    /// The current state; `None` outside of [`TransferState::with_current`].
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    pub(super) fn headers(&self) -> Rc<HeaderMap> {
        Rc::clone(&self.0.borrow().headers)
    }

    pub(super) fn interim(&self) -> Option<InterimSink> {
        self.0.borrow().interim.clone()
    }

    /// Which other protocol the request offers.
    pub(super) fn offer(&self) -> UpgradeOffer {
        self.0.borrow().offer
    }

    /// The origin has accepted the offer, and `received` came after its 101.
    pub(super) fn switched(&self, stream: OriginStream, received: BytesMut) {
        self.0.borrow_mut().switched = Some((stream, received));
    }

    /// The connection that no longer carries HTTP; `None` if the origin has not accepted an offer.
    pub(super) fn take_switched(&self) -> Option<(OriginStream, BytesMut)> {
        self.0.borrow_mut().switched.take()
    }

    /// The request starts again with another connection.
    pub(super) fn restart(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Connecting;
        state.progress = Instant::now();
        (state.framing, state.is_whole) = (None, false);
    }

    /// The connection is open, and the request is being sent.
    pub(super) fn connected(&self) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::FirstByte;
        state.progress = Instant::now();
    }

    /// The origin took or sent bytes.
    pub(super) fn progressed(&self) {
        self.0.borrow_mut().progress = Instant::now();
    }

    /// Says whether the upload waits for the client. When it no longer does, the origin's time starts again.
    pub(super) fn set_awaits_client(&self, awaits_client: bool) {
        let mut state = self.0.borrow_mut();
        if state.awaits_client && !awaits_client {
            state.progress = Instant::now();
        }
        state.awaits_client = awaits_client;
    }

    /// Until when the origin may be silent; `None` if it has been silent for `limit`. While the upload waits for the client,
    /// the origin's time does not run.
    pub(super) fn deadline(&self, limit: Duration) -> Option<Instant> {
        let state = self.0.borrow();
        let now = Instant::now();
        let since = match state.awaits_client {
            true => now,
            false => state.progress,
        };
        let until = since + limit;
        (until > now).then_some(until)
    }

    /// The head of the final response has arrived.
    pub(super) fn head_arrived(&self, framing: BodyFraming) {
        let mut state = self.0.borrow_mut();
        state.phase = Phase::Body;
        state.framing = Some(framing);
    }

    /// How the response's body is framed; `None` until its head has arrived.
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

    /// Records why the request failed. The first failure stands: it is the cause of later ones.
    pub(super) fn fail(&self, failure: OriginError) {
        self.0.borrow_mut().failure.get_or_insert(failure);
    }

    pub(super) fn take_failure(&self) -> Option<OriginError> {
        self.0.borrow_mut().failure.take()
    }

    /// Resolves when the origin has been silent for too long.
    pub(super) async fn timeout(&self, limits: WaitLimits) -> OriginError {
        loop {
            let phase = self.0.borrow().phase;
            let limit = limits.of(phase);
            let Some(until) = self.deadline(limit.time) else {
                return OriginError::Timeout {
                    phase,
                    limit,
                    proxy: None,
                };
            };
            // The next phase may have a shorter limit, which counts from its begin.
            let next = Instant::now() + limits.first_byte.time;
            sleep_until(match phase {
                Phase::Connecting => until.min(next),
                Phase::FirstByte | Phase::Body => until,
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const NO_TIME: Duration = Duration::from_nanos(1);

    /// Returns when the clock has moved on.
    fn pass() {
        let now = Instant::now();
        while Instant::now() <= now + NO_TIME {}
    }

    #[test]
    fn the_origin_is_not_silent_while_bytes_move_or_the_client_is_awaited() {
        let state = TransferState::new(Rc::default(), None);
        pass();
        let first = state.deadline(HOUR).unwrap();
        assert_eq!(state.deadline(NO_TIME), None);
        // Bytes in either direction count, also after the head.
        state.head_arrived(BodyFraming::Chunked);
        state.progressed();
        let second = state.deadline(HOUR).unwrap();
        assert!(second > first);
        pass();
        assert_eq!(state.deadline(NO_TIME), None);
        state.set_awaits_client(true);
        assert!(state.deadline(NO_TIME).is_some());
        // The client's bytes have arrived: the origin has the whole limit for them.
        state.set_awaits_client(false);
        assert!(state.deadline(HOUR).unwrap() > second);
    }
}
