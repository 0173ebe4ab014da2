//! Requests to the origin: one [`Origin`] per worker, which forwards through awc.
//!
//! awc carries every request: its client, its request builder, its middleware. Method, target and body of the request, and
//! status and body of the response go through it. Its HTTP/1 transport is replaced by ours, at the hook that awc has for
//! this, because awc 3.11 takes interim responses for final ones and the end of a connection for the end of a body
//! (`transport` has the full list). What awc has no place for (interim responses, framing and the connection's errors)
//! travels beside it in one small type, `TransferState`; so do the headers: of those of a request awc would take a copy, and
//! those of a response would lose their order and the names that the origin has written.
//!
//! | file | what it holds |
//! |---|---|
//! | `url`, `url_error`, `socket_path` | the origin's URL |
//! | `connect`, `resolver`, `tls`, `accept_any`, `stream` | opening connections: names, addresses, certificates |
//! | `forward_proxy`, `no_proxy`, `proxy_connect` | the proxy that leads to the origin |
//! | `pool` | idle connections |
//! | `silence` | how long the origin is silent on a connection |
//! | `permits` | how many connections and uploads there are at a time |
//! | `rate`, `pace` | how fast requests go to the origin |
//! | `transport` | the transport beneath awc |
//! | `in_flight` | one request and its response on a connection |
//! | `framing`, `body_decoder`, `chunked`, `malformed` | where HTTP/1 responses begin and end; pure |
//! | `handshake` | requests after which a connection may carry WebSocket |
//! | `request_headers` | the headers of a request, and their lines |
//! | `heads` | writing the head of a request, finding the head of a response |
//! | `upload`, `body` | the bodies, one in each direction |
//! | `transfer` | the state of a request that has no place in awc |
//! | `probe` | whether the origin can be reached |
//! | `error`, `upload_error` | errors |

mod accept_any;
mod body;
mod body_decoder;
mod chunked;
mod connect;
mod error;
mod forward_proxy;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod heads;
mod in_flight;
mod malformed;
mod no_proxy;
mod pace;
mod permits;
mod pool;
mod probe;
mod proxy_connect;
mod rate;
mod request_headers;
mod resolver;
mod silence;
mod socket_path;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod transport;
mod upload;
mod upload_error;
mod url;
mod url_error;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpMessage;
use actix_web::http::{
    Method, StatusCode, Uri, Version,
    uri::{self, Authority, PathAndQuery, Scheme},
};
use awc::ClientResponse;
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use self::{
    connect::Dialer,
    framing::UpgradeOffer,
    permits::Permits,
    transfer::{TransferRequest, TransferState, WaitLimits},
    transport::TransportClient,
};
use crate::headers::ResponseHeaders;

pub(crate) use self::chunked::Chunked;
pub use self::{
    accept_any::insecure_tls_config,
    body::OriginBody,
    error::{OriginError, OriginErrorKind, Phase, ProxyProblem, UploadError, WaitLimit},
    forward_proxy::{ForwardProxy, ProxySetting, ProxyUrlError, ProxyVariables},
    framing::BodyFraming,
    handshake::{HandshakeResponse, SwitchedConnection},
    malformed::Malformed,
    pace::{MAX_PAUSE, OriginPace, PaceState},
    probe::reach,
    rate::MaxRate,
    request_headers::RequestHeaders,
    stream::OriginStream,
    tls::{CaError, tls_config},
    transfer::InterimSink,
    upload::{BodyStream, MILLIS_PER_BYTE, RequestBody},
    url::OriginUrl,
    url_error::UrlError,
};

/// How long an idle connection stays open: less than the 5 s after which Node closes it.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// How old a connection may become, however busy it is.
const AGE_LIMIT: Duration = Duration::from_secs(60);

/// Where an origin is, and how it is reached.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Where it is.
    pub url: OriginUrl,
    /// From [`tls_config`] or [`insecure_tls_config`]; `None` for an http origin.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The proxy that leads to it. `None`: it is reached directly.
    pub proxy: Option<ForwardProxy>,
}

impl Destination {
    /// An http origin that is reached directly.
    pub fn direct(url: OriginUrl) -> Self {
        Self {
            url,
            tls: None,
            proxy: None,
        }
    }
}

/// The settings of an [`Origin`].
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// Where the origin is.
    pub destination: Destination,
    /// The longest silence of the origin: while connecting, before the first byte, between two pieces of a body.
    pub timeout: Duration,
    /// The longest silence before the first byte. `None`: `timeout`.
    pub first_byte_timeout: Option<Duration>,
    /// Most connections in use at a time.
    pub max_connections: usize,
    /// How fast requests go to the origin. All workers share it.
    pub pace: Arc<OriginPace>,
}

impl OriginConfig {
    /// The settings without a limit of the rate.
    pub fn new(destination: Destination, timeout: Duration, max_connections: usize) -> Self {
        Self {
            destination,
            timeout,
            first_byte_timeout: None,
            max_connections,
            pace: Arc::default(),
        }
    }

    fn wait_limits(&self) -> WaitLimits {
        let usual = WaitLimit::timeout(self.timeout);
        let first_byte = self.first_byte_timeout.map(WaitLimit::first_byte_timeout);
        WaitLimits {
            usual,
            first_byte: first_byte.unwrap_or(usual),
        }
    }
}

/// A request to the origin.
pub struct OriginRequest {
    /// Any token; case matters.
    pub method: Method,
    /// Path and query, byte for byte as the client sent them, or `*`. The origin's path prefix is put before a path.
    pub target: String,
    /// The headers, without hop-by-hop headers. Content-Length and Expect are not sent: `body` gives the length, and
    /// `expectation` whether a 100 is expected. Host is the origin's own if it is missing.
    pub headers: RequestHeaders,
    /// The client's body.
    pub body: RequestBody,
    /// What the client expects before it sends the body.
    pub expectation: Expectation,
    /// Receives interim (1xx) responses, a 100 only if it is expected; `None`: they are dropped.
    pub interim: Option<InterimSink>,
}

/// What the client of a request expects before it sends the body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expectation {
    /// Nothing.
    #[default]
    Nothing,
    /// A 100 (Continue) from the origin (RFC 9110, 10.1.1). The body is sent after it, or after a second without a response.
    Continue,
}

/// A final response. Interim (1xx) responses go to [`OriginRequest::interim`].
#[derive(Debug)]
pub struct OriginResponse {
    /// Any code from 200 to 999.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// As received. Content-Length is one number, the length of the body; with
    /// [`BodyFraming::None`] it is as the origin sent it. It is removed beside Transfer-Encoding, which stays until the
    /// caller removes the hop-by-hop headers.
    pub headers: ResponseHeaders,
    /// How the body was framed.
    pub framing: BodyFraming,
    /// The content, without its framing.
    pub body: OriginBody,
}

/// Forwards requests to one origin. One per worker; clones share connections.
#[derive(Clone)]
pub struct Origin(Rc<OriginParts>);

struct OriginParts {
    config: OriginConfig,
    client: TransportClient,
    /// The authority of the URIs that awc gets. It is not used: the transport has one origin, and writes Host itself.
    authority: Authority,
    permits: Permits,
}

impl Origin {
    /// Opens no connection: the first request does.
    pub fn new(config: OriginConfig) -> Self {
        let dialer = Dialer::new(config.destination.clone());
        let permits = Permits::new(config.max_connections, config.timeout);
        Self(Rc::new(OriginParts {
            client: TransportClient::new(dialer, config.wait_limits()),
            authority: Authority::from_static("origin"),
            permits,
            config,
        }))
    }

    /// How fast requests go to it. The caller asks it before each request.
    pub fn pace(&self) -> &OriginPace {
        &self.0.config.pace
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// An idempotent request without content is sent once more on a new connection if a reused one ended before the first
    /// byte of a response (RFC 9110, 9.2.2). No other request is repeated.
    ///
    /// # Errors
    /// No head of a final response arrived. Errors after it are errors of the body.
    pub async fn forward(&self, request: OriginRequest) -> Result<OriginResponse, OriginError> {
        let uri = self.uri(request.target)?;
        let permits = &self.0.permits;
        let body = permits.upload(request.body, request.expectation).await?;
        let permit = permits.connection().await?;
        let state = TransferState::new(TransferRequest {
            headers: request.headers,
            expectation: request.expectation,
            offer: UpgradeOffer::Nothing,
            interim: request.interim,
        });
        let line = (request.method, uri);
        let response = self.0.client.send(line, body, &state).await?;
        Ok(self.response(response, state, permit))
    }

    /// The target after the path prefix. awc wants an absolute URI, and sends its path and query unchanged.
    fn uri(&self, mut target: String) -> Result<Uri, OriginError> {
        if target.starts_with('/') {
            target.insert_str(0, self.0.config.destination.url.path_prefix());
        } else if target != "*" {
            return Err(OriginError::Target { source: None });
        }
        let target = PathAndQuery::from_maybe_shared(Bytes::from(target));
        let target = target.map_err(|error| OriginError::Target {
            source: Some(error.into()),
        })?;
        let mut uri = uri::Parts::default();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.0.authority.clone());
        uri.path_and_query = Some(target);
        Uri::from_parts(uri).map_err(|error| OriginError::Target {
            source: Some(error.into()),
        })
    }

    /// The response that awc has brought, with what it does not carry of it.
    fn response(
        &self,
        mut response: ClientResponse,
        state: TransferState,
        permit: OwnedSemaphorePermit,
    ) -> OriginResponse {
        let (status, version) = (response.status(), response.version());
        let framing = state.framing().unwrap_or(BodyFraming::None);
        let headers = state.take_headers();
        let body = match response.take_payload() {
            actix_http::Payload::None => OriginBody::empty(),
            payload => OriginBody::new(payload, state, permit),
        };
        self.0.client.reuse(response);
        OriginResponse {
            status,
            version,
            headers,
            framing,
            body,
        }
    }
}
