//! What awc sends its requests through: connections and HTTP/1 of our own.
//!
//! awc's own transport takes interim responses for final ones and ends of connections for ends of bodies, waits for
//! bodies that 204 and 304 do not have, holds uploads back, does not hear an early answer, and starts a clock for each
//! request. So it is replaced, at the place awc has for it: a middleware beneath which nothing else is asked.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::{BoxedPayloadStream, Payload, RequestHead, RequestHeadType, StatusCode};
use actix_service::{Service, always_ready};
use awc::{
    Client, ConnectRequest, ConnectResponse,
    error::{ConnectError, SendRequestError},
    middleware::Transform,
    test::TestResponse,
};
use futures_core::future::LocalBoxFuture;

use super::{
    IDLE_LIMIT,
    connect::Dialer,
    error::OriginError,
    exchange::{Afterwards, Exchange, Plan},
    framing::{BodyFraming, Head, Persistence},
    heads::request_head,
    in_flight::{InFlight, Request},
    pool::Pool,
    stream::OriginStream,
    upload::RequestBody,
};

/// awc over our own connections. Limits and timers are ours too: awc's cover phases together and bodies not at all.
pub(super) fn client(dialer: Dialer) -> Client {
    Client::builder()
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .wrap(Transport(Rc::new(Connections {
            pool: Rc::new(Pool::new(IDLE_LIMIT)),
            dialer,
        })))
        .finish()
}

#[derive(Clone)]
struct Transport(Rc<Connections>);

struct Connections {
    pool: Rc<Pool>,
    dialer: Dialer,
}

impl<S> Transform<S, ConnectRequest> for Transport {
    type Transform = Self;

    /// awc's own transport, the `service`, is never asked.
    fn new_transform(self, _service: S) -> Self {
        self
    }
}

impl Service<ConnectRequest> for Transport {
    type Response = ConnectResponse;
    type Error = SendRequestError;
    type Future = Asked;

    always_ready!();

    fn call(&self, request: ConnectRequest) -> Asked {
        let exchange = Exchange::current();
        let plan = exchange.as_ref().and_then(Exchange::take_plan);
        match (exchange, plan, request) {
            (
                Some(exchange),
                Some(plan),
                ConnectRequest::Client(RequestHeadType::Owned(head), ..),
            ) => Asked(Some(Asking::new(Rc::clone(&self.0), exchange, plan, &head))),
            _ => Asked(None),
        }
    }
}

/// A request that waits for the head of its response. None: there is none to wait for (any more).
struct Asked(Option<Asking>);

struct Asking {
    connections: Rc<Connections>,
    exchange: Exchange,
    request: Request,
    /// Until a connection takes it.
    body: RequestBody,
    /// It may be sent once more.
    repeatable: bool,
    stage: Stage,
}

enum Stage {
    /// For a connection.
    Looking,
    Dialing(LocalBoxFuture<'static, Result<OriginStream, OriginError>>),
    Sent {
        in_flight: Box<InFlight>,
        /// Other exchanges ran on the connection before.
        is_reused: bool,
    },
}

impl Asking {
    fn new(
        connections: Rc<Connections>,
        exchange: Exchange,
        plan: Plan,
        head: &RequestHead,
    ) -> Self {
        let request = Request {
            method: head.method.clone(),
            head: request_head(head, &plan.body),
            interim: plan.interim,
            afterwards: plan.afterwards,
        };
        Self {
            connections,
            exchange,
            request,
            body: plan.body,
            repeatable: plan.repeatable,
            stage: Stage::Looking,
        }
    }

    fn look(&mut self) {
        let idle = match self.request.afterwards {
            Afterwards::Keep => self.connections.pool.take(),
            // What is said on it is not said for those who used it before.
            Afterwards::Close => None,
        };
        match idle {
            Some(stream) => self.send(stream, true),
            None => {
                let connections = Rc::clone(&self.connections);
                let dialing = async move { connections.dialer.dial().await };
                self.stage = Stage::Dialing(Box::pin(dialing));
            }
        }
    }

    fn send(&mut self, stream: OriginStream, is_reused: bool) {
        let pool = Rc::clone(&self.connections.pool);
        let body = std::mem::replace(&mut self.body, RequestBody::Empty);
        let in_flight = InFlight::new(stream, pool, self.exchange.clone(), &self.request, body);
        self.stage = Stage::Sent {
            in_flight: Box::new(in_flight),
            is_reused,
        };
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Box<Head>, OriginError>> {
        loop {
            match &mut self.stage {
                Stage::Looking => self.look(),
                Stage::Dialing(dialing) => {
                    let stream = ready!(dialing.as_mut().poll(cx))?;
                    self.send(stream, false);
                }
                Stage::Sent {
                    in_flight,
                    is_reused,
                } => {
                    let head = ready!(in_flight.poll_head(cx));
                    let ended = match &head {
                        Err(OriginError::Cut { .. }) => !in_flight.is_answered(),
                        Ok(head) => is_farewell(head),
                        Err(_) => false,
                    };
                    if !(ended && *is_reused && self.repeatable) {
                        return Poll::Ready(head);
                    }
                    log::debug!(
                        "an idle connection to the origin had ended, once more on a fresh one"
                    );
                    self.request.afterwards = Afterwards::Close;
                    self.exchange.connect();
                    self.stage = Stage::Looking;
                }
            }
        }
    }
}

/// An answer that an origin gives to a connection it has tired of, and not to a request (RFC 9110, 15.5.9).
fn is_farewell(head: &Head) -> bool {
    head.status == StatusCode::REQUEST_TIMEOUT && head.persistence == Persistence::Close
}

impl Future for Asked {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let disconnected = || SendRequestError::Connect(ConnectError::Disconnected);
        let Some(asking) = &mut self.0 else {
            return Poll::Ready(Err(disconnected()));
        };
        let answered = ready!(asking.poll(cx));
        let Some(Asking {
            exchange, stage, ..
        }) = self.0.take()
        else {
            return Poll::Ready(Err(disconnected()));
        };
        Poll::Ready(match (answered, stage) {
            (Ok(head), Stage::Sent { in_flight, .. }) => Ok(response(*head, in_flight)),
            (Ok(_), _) => Err(disconnected()),
            (Err(failure), _) => {
                exchange.fail(failure);
                Err(disconnected())
            }
        })
    }
}

/// awc's response, which only it and its tests can make.
fn response(head: Head, body: Box<InFlight>) -> ConnectResponse {
    let payload = match head.framing {
        BodyFraming::None | BodyFraming::Length(0) => Payload::None,
        BodyFraming::Length(_) | BodyFraming::Chunked | BodyFraming::UntilClose => {
            let payload: BoxedPayloadStream = Box::into_pin(body);
            Payload::Stream { payload }
        }
    };
    let response = TestResponse::default().finish();
    ConnectResponse::Client(response.map_body(|own, _| {
        own.status = head.status;
        own.headers = head.headers;
        payload
    }))
}
