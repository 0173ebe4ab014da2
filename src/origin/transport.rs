//! The HTTP/1 transport beneath awc: a middleware that sends the request itself instead of passing it on.
//!
//! awc 3.11's own transport takes interim responses for final ones and the end of a connection for the end of a body. It
//! waits for a body after 204 and 304, delays uploads, misses responses that arrive during an upload, and starts a timer
//! for each request. A middleware is the place where awc lets a transport be replaced.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::{
    BoxedPayloadStream, Payload, RequestHead, RequestHeadType, StatusCode,
    body::{BoxBody, MessageBody as _},
};
use actix_service::{Service, always_ready};
use actix_web::http::{Method, Uri, Version};
use awc::{
    Client, ClientResponse, ConnectRequest, ConnectResponse,
    error::{ConnectError, SendRequestError},
    middleware::Transform,
    test::TestResponse,
};
use futures_core::future::LocalBoxFuture;

use super::{
    AGE_LIMIT, IDLE_LIMIT, RequestBody,
    connect::{ConnectionUse, Dialer, through},
    error::{OriginError, ProxyProblem},
    framing::{BodyFraming, Persistence, ResponseHead, UpgradeOffer},
    heads::request_head,
    in_flight::{InFlight, WireRequest},
    pool::{PersistentConnection, Pool, PoolLimits},
    stream::OriginStream,
    transfer::{TransferState, WaitLimits},
};

/// An awc client with our own connections. Limits and timers are ours too: awc's cover several phases together, and
/// bodies not at all.
pub(super) struct TransportClient {
    client: Client,
    connections: Rc<Connections>,
}

impl TransportClient {
    pub(super) fn new(dialer: Dialer, limits: WaitLimits) -> Self {
        let connections = Rc::new(Connections {
            pool: Rc::new(Pool::new(PoolLimits {
                idle: IDLE_LIMIT,
                age: AGE_LIMIT,
            })),
            dialer,
            limits,
            current: Cell::new(None),
            spare: Cell::new(None),
        });
        let client = Client::builder()
            .disable_timeout()
            .disable_redirects()
            .no_default_headers()
            .wrap(Transport(Rc::clone(&connections)))
            .finish();
        Self {
            client,
            connections,
        }
    }

    /// Sends a request through awc, and waits for the head of the response.
    pub(super) async fn send(
        &self,
        (method, uri): (Method, Uri),
        body: RequestBody,
        state: &TransferState,
    ) -> Result<ClientResponse, OriginError> {
        let request = self.client.request(method, uri).no_decompress();
        // awc calls the transport before `send_body` returns.
        self.connections.current.set(Some(state.clone()));
        let sent = request.send_body(body).await;
        sent.map_err(|_| state.take_failure().unwrap_or_else(OriginError::cut))
    }

    /// Takes a response back of which nothing is needed any more.
    pub(super) fn reuse(&self, response: ClientResponse) {
        self.connections.spare.set(Some(response));
    }
}

#[derive(Clone)]
struct Transport(Rc<Connections>);

struct Connections {
    pool: Rc<Pool>,
    dialer: Dialer,
    limits: WaitLimits,
    /// The state of the request that awc is about to pass on; `None` at any other time.
    current: Cell<Option<TransferState>>,
    /// A response without content, for the next one: awc makes each with a table for twelve headers. `None` if there is none.
    spare: Cell<Option<ClientResponse>>,
}

impl<S> Transform<S, ConnectRequest> for Transport {
    type Transform = Self;

    /// `service` is awc's own transport. It is not used.
    fn new_transform(self, _service: S) -> Self {
        self
    }
}

impl Service<ConnectRequest> for Transport {
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = SendFuture;

    always_ready!();

    fn call(&self, request: ConnectRequest) -> SendFuture {
        match (self.0.current.take(), request) {
            (Some(state), ConnectRequest::Client(RequestHeadType::Owned(head), body, _)) => {
                let connections = Rc::clone(&self.0);
                let request = PendingRequest::new(connections, state, &head, body.boxed());
                SendFuture(Some(request))
            }
            _ => SendFuture(None),
        }
    }
}

/// Sends a request and resolves to the head of the response. `None` if the request is not one of [`super::Origin`], or
/// after the future has resolved.
struct SendFuture(Option<PendingRequest>);

/// A request without a response yet.
struct PendingRequest {
    connections: Rc<Connections>,
    state: TransferState,
    request: WireRequest,
    used_for: ConnectionUse,
    /// Empty once a connection has taken it.
    body: BoxBody,
    /// It may be sent once more if a reused connection ended without a response (RFC 9110, 9.2.2).
    repeatable: bool,
    stage: SendStage,
}

enum SendStage {
    /// No connection is chosen.
    Unconnected,
    Dialing(LocalBoxFuture<'static, Result<OriginStream, OriginError>>),
    Sent {
        in_flight: Box<InFlight>,
        /// The connection has carried other requests before.
        is_reused: bool,
    },
}

impl PendingRequest {
    fn new(
        connections: Rc<Connections>,
        state: TransferState,
        head: &RequestHead,
        body: BoxBody,
    ) -> Self {
        let (size, offer) = (body.size(), state.request().offer);
        let used_for = match offer {
            UpgradeOffer::Nothing => ConnectionUse::Requests,
            UpgradeOffer::WebSocket => ConnectionUse::Tunnel,
        };
        let dialer = &connections.dialer;
        let proxied = dialer.proxied_requests(used_for);
        let written = request_head(head, state.request(), size, dialer.url(), proxied.as_ref());
        let request = WireRequest {
            method: head.method.clone(),
            head: written.bytes,
            persistence: match written.binds_connection {
                false if offer == UpgradeOffer::Nothing => Persistence::Reusable,
                _ => Persistence::Close,
            },
        };
        Self {
            connections,
            state,
            used_for,
            // A body of no bytes is not lost with its connection.
            repeatable: size.is_eof() && is_idempotent(&head.method),
            request,
            body,
            stage: SendStage::Unconnected,
        }
    }

    fn connect(&mut self) {
        let idle = match self.request.persistence {
            Persistence::Reusable => self.connections.pool.take(),
            // Credentials that bind a connection must not speak for requests before it, and a tunnel has its own.
            Persistence::Close => None,
        };
        match idle {
            Some(connection) => self.send(connection, true),
            None => {
                let (connections, used_for) = (Rc::clone(&self.connections), self.used_for);
                let dialing = async move {
                    let Connections { dialer, limits, .. } = &*connections;
                    dialer.dial_within(limits.usual, used_for).await
                };
                self.stage = SendStage::Dialing(Box::pin(dialing));
            }
        }
    }

    fn send(&mut self, connection: PersistentConnection, is_reused: bool) {
        let Connections { pool, limits, .. } = &*self.connections;
        let body = std::mem::replace(&mut self.body, BoxBody::new(actix_http::body::None::new()));
        let in_flight = Box::new(InFlight::new(
            connection,
            (Rc::clone(pool), *limits),
            self.state.clone(),
            &self.request,
            body,
        ));
        self.stage = SendStage::Sent {
            in_flight,
            is_reused,
        };
    }

    /// The error of a proxy that read the request and wants other credentials; `None` for any other response.
    fn refused_by_proxy(&self, head: &ResponseHead) -> Option<OriginError> {
        let status = head.status;
        let dialer = &self.connections.dialer;
        let is_refusal = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED
            && dialer.proxied_requests(self.used_for).is_some();
        let name = dialer.proxy_name().filter(|_| is_refusal)?;
        Some(through(&name, ProxyProblem::Refused { status }))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, OriginError>> {
        loop {
            match &mut self.stage {
                SendStage::Unconnected => self.connect(),
                SendStage::Dialing(dialing) => {
                    let stream = ready!(dialing.as_mut().poll(cx))?;
                    self.send(PersistentConnection::new(stream), false);
                }
                SendStage::Sent {
                    in_flight,
                    is_reused,
                } => {
                    let head = ready!(in_flight.poll_head(cx));
                    let ended = match &head {
                        Err(OriginError::Cut { .. }) => !in_flight.has_response(),
                        Ok(head) => is_idle_timeout(head),
                        Err(_) => false,
                    };
                    if !(ended && *is_reused && self.repeatable) {
                        return Poll::Ready(head);
                    }
                    log::debug!(
                        "the origin had closed an idle connection; sending the request again on a new one"
                    );
                    self.request.persistence = Persistence::Close;
                    self.stage = SendStage::Unconnected;
                }
            }
        }
    }
}

/// True for a 408 that closes an idle connection: it is not a response to the request (RFC 9110, 15.5.9).
fn is_idle_timeout(head: &ResponseHead) -> bool {
    head.status == StatusCode::REQUEST_TIMEOUT && head.persistence == Persistence::Close
}

impl Future for SendFuture {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let disconnected = || SendRequestError::Connect(ConnectError::Disconnected);
        let Some(request) = &mut self.0 else {
            return Poll::Ready(Err(disconnected()));
        };
        let head = ready!(request.poll(cx));
        let head = head.and_then(|head| match request.refused_by_proxy(&head) {
            Some(refused) => Err(refused),
            None => Ok(head),
        });
        let Some(PendingRequest {
            connections,
            state,
            stage,
            ..
        }) = self.0.take()
        else {
            return Poll::Ready(Err(disconnected()));
        };
        Poll::Ready(match (head, stage) {
            (Ok(head), SendStage::Sent { in_flight, .. }) => {
                let response = connections.spare.take();
                state.set_headers(head.headers);
                let head = (head.status, head.version, head.framing);
                Ok(filled(response.unwrap_or_else(empty), head, in_flight))
            }
            (Ok(_), _) => Err(disconnected()),
            (Err(failure), _) => {
                state.fail(failure);
                Err(disconnected())
            }
        })
    }
}

/// A response of awc without content. Only awc itself and its `test` module can make one.
fn empty() -> ClientResponse {
    TestResponse::default().finish()
}

/// The response with this status, version and body.
fn filled(
    response: ClientResponse,
    (status, version, framing): (StatusCode, Version, BodyFraming),
    body: Box<InFlight>,
) -> ConnectResponse {
    let payload = match framing {
        BodyFraming::None | BodyFraming::Length(0) => Payload::None,
        BodyFraming::Length(_) | BodyFraming::Chunked | BodyFraming::UntilClose => {
            let payload: BoxedPayloadStream = Box::into_pin(body);
            Payload::Stream { payload }
        }
    };
    ConnectResponse::Client(response.map_body(|own, _| {
        own.status = status;
        own.version = version;
        payload
    }))
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
