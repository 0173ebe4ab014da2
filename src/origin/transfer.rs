//! The state of one request and its response that has no place in awc.
//!
//! awc carries method, target and body of the request, and status and body of the response. It has no place for interim
//! responses, and none for what happens on the connection: how the body is framed, whether it arrived whole, what went
//! wrong. Of the headers of the request it would take a copy, and its headers of a response have neither the order nor the
//! names that the origin has written. A [`TransferState`] holds these. The caller and the transport share it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
};

use actix_web::http::StatusCode;
use bytes::BytesMut;

use super::{
    Expectation,
    error::{OriginError, WaitLimit},
    framing::{BodyFraming, UpgradeOffer},
    request_headers::RequestHeaders,
    stream::OriginStream,
};
use crate::headers::ResponseHeaders;

/// Receives the interim (1xx) responses to a request as they arrive, each with its status and headers.
#[derive(Clone)]
pub struct InterimSink(Rc<dyn Fn(StatusCode, ResponseHeaders)>);

impl InterimSink {
    /// Calls `receive` for each interim response.
    pub fn new(receive: impl Fn(StatusCode, ResponseHeaders) + 'static) -> Self {
        Self(Rc::new(receive))
    }

    pub(super) fn send(&self, status: StatusCode, headers: ResponseHeaders) {
        (self.0)(status, headers);
    }
}

impl fmt::Debug for InterimSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InterimSink")
    }
}

/// The limits of the waits for the origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitLimits {
    /// While connecting, and within a body.
    pub(super) usual: WaitLimit,
    /// Before the head of a response is complete.
    pub(super) first_byte: WaitLimit,
}

/// The parts of a request that awc does not carry.
pub(super) struct TransferRequest {
    pub(super) headers: RequestHeaders,
    /// Whether the body waits for a 100.
    pub(super) expectation: Expectation,
    /// Which other protocol the request offers.
    pub(super) offer: UpgradeOffer,
    /// `None` if interim responses are dropped.
    pub(super) interim: Option<InterimSink>,
}

/// What the caller and the transport share beside awc about one request. Clones share the same state.
#[derive(Clone)]
pub(super) struct TransferState(Rc<TransferFields>);

struct TransferFields {
    request: TransferRequest,
    /// `None` until the head of the final response has arrived.
    framing: Cell<Option<BodyFraming>>,
    /// Those of the final response; none until its head has arrived.
    headers: Cell<ResponseHeaders>,
    is_whole: Cell<bool>,
    failure: RefCell<Option<OriginError>>,
    /// A connection that no longer carries HTTP, with the bytes that came after its 101; `None` if there is none.
    switched: Cell<Option<(OriginStream, BytesMut)>>,
}

impl TransferState {
    pub(super) fn new(request: TransferRequest) -> Self {
        Self(Rc::new(TransferFields {
            request,
            framing: Cell::new(None),
            headers: Cell::default(),
            is_whole: Cell::new(false),
            failure: RefCell::new(None),
            switched: Cell::new(None),
        }))
    }

    pub(super) fn request(&self) -> &TransferRequest {
        &self.0.request
    }

    /// The origin has accepted the offer, and `received` came after its 101.
    pub(super) fn switched(&self, stream: OriginStream, received: BytesMut) {
        self.0.switched.set(Some((stream, received)));
    }

    /// The connection that no longer carries HTTP; `None` if the origin has not accepted an offer.
    pub(super) fn take_switched(&self) -> Option<(OriginStream, BytesMut)> {
        self.0.switched.take()
    }

    /// The head of a final response has arrived. It may be the second one, on another connection.
    pub(super) fn head_arrived(&self, framing: BodyFraming) {
        self.0.framing.set(Some(framing));
        self.0.is_whole.set(false);
    }

    /// How the response's body is framed; `None` until its head has arrived.
    pub(super) fn framing(&self) -> Option<BodyFraming> {
        self.0.framing.get()
    }

    pub(super) fn set_headers(&self, headers: ResponseHeaders) {
        self.0.headers.set(headers);
    }

    /// The headers of the final response, once.
    pub(super) fn take_headers(&self) -> ResponseHeaders {
        self.0.headers.take()
    }

    /// The response is whole.
    pub(super) fn set_whole(&self) {
        self.0.is_whole.set(true);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.0.is_whole.get()
    }

    /// Records why the request failed. The first failure stands: it is the cause of later ones.
    pub(super) fn fail(&self, failure: OriginError) {
        self.0.failure.borrow_mut().get_or_insert(failure);
    }

    pub(super) fn take_failure(&self) -> Option<OriginError> {
        self.0.failure.take()
    }
}
