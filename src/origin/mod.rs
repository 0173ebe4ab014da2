//! Requests to the origin: one [`Origin`] per worker, which forwards through awc.
//!
//! awc carries every request: its client, its request builder, its middleware. Method, target, headers and body of the
//! request, and status, headers and body of the response go through it. Its HTTP/1 transport is replaced by ours, at the
//! hook that awc has for this, because awc 3.11 takes interim responses for final ones and the end of a connection for
//! the end of a body (`transport` has the full list). What awc has no place for (interim responses, timing, framing and
//! the connection's errors) travels beside it in one small type, `TransferState`.
//!
//! | file | what it holds |
//! |---|---|
//! | `url`, `url_error`, `socket_path` | the origin's URL |
//! | `connect`, `resolver`, `tls`, `stream` | opening connections: names, addresses, certificates |
//! | `pool` | idle connections |
//! | `permits` | how many connections and uploads there are at a time |
//! | `transport` | the transport beneath awc |
//! | `in_flight` | one request and its response on a connection |
//! | `framing`, `chunked`, `malformed` | where HTTP/1 responses begin and end; pure |
//! | `heads` | writing the head of a request, finding the head of a response |
//! | `upload`, `body` | the bodies, one in each direction |
//! | `transfer` | the state of a request that has no place in awc |
//! | `probe` | whether the origin can be reached |
//! | `error` | errors |

mod body;
mod chunked;
mod connect;
mod error;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heads;
mod in_flight;
mod malformed;
mod permits;
mod pool;
mod probe;
mod resolver;
mod socket_path;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transfer;
mod transport;
mod upload;
mod url;
mod url_error;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpMessage;
use actix_web::http::{
    Method, StatusCode, Uri, Version,
    header::{self, HeaderMap, HeaderValue},
};
use awc::{Client, ClientResponse};
use tokio::sync::OwnedSemaphorePermit;

use crate::headers::is_live_stream;

use self::{body::SilenceLimit, connect::Dialer, permits::Permits, transfer::TransferState};

pub(crate) use self::chunked::Chunked;
pub use self::{
    body::OriginBody,
    error::{OriginError, OriginErrorKind, Phase, UploadError},
    framing::BodyFraming,
    malformed::Malformed,
    probe::reach,
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

/// The settings of an [`Origin`].
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// Where the origin is.
    pub url: OriginUrl,
    /// The longest silence of the origin: while connecting, before the first byte, between two pieces of a body.
    pub timeout: Duration,
    /// From [`tls_config`]; `None` for an http origin.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Most connections in use at a time.
    pub max_connections: usize,
}

/// A request to the origin.
pub struct OriginRequest {
    /// Any token; case matters.
    pub method: Method,
    /// Path and query, byte for byte as the client sent them, or `*`. The origin's path prefix is put before a path.
    pub target: String,
    /// The headers, without hop-by-hop headers. Content-Length and Expect are not sent: `body` gives the length, and
    /// `expectation` whether a 100 is expected. Host is the origin's own if it is missing.
    pub headers: HeaderMap,
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
    /// As received, repeated headers in their order. Content-Length is one number, the length of the body; with
    /// [`BodyFraming::None`] it is as the origin sent it. It is removed beside Transfer-Encoding, which stays until the
    /// caller removes the hop-by-hop headers.
    pub headers: HeaderMap,
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
    client: Client,
    permits: Permits,
}

impl Origin {
    /// Opens no connection: the first request does.
    pub fn new(config: OriginConfig) -> Self {
        let dialer = Dialer::new(config.url.clone(), config.tls.clone());
        let permits = Permits::new(config.max_connections, config.timeout);
        Self(Rc::new(OriginParts {
            client: transport::client(dialer),
            permits,
            config,
        }))
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// An idempotent request without content is sent once more on a new connection if a reused one ended before the first
    /// byte of a response (RFC 9110, 9.2.2). No other request is repeated.
    ///
    /// # Errors
    /// No head of a final response arrived. Errors after it are errors of the body.
    pub async fn forward(&self, request: OriginRequest) -> Result<OriginResponse, OriginError> {
        let uri = self.uri(&request.target)?;
        let OriginRequest {
            method,
            mut headers,
            body,
            expectation,
            interim,
            ..
        } = request;
        self.complete(&mut headers, expectation)?;
        let body = self.0.permits.upload(body, expectation).await?;
        let permit = self.0.permits.connection().await?;
        let state = TransferState::new(interim);
        let mut request = self.0.client.request(method, uri).no_decompress();
        *request.headers_mut() = headers;
        let sent = state.with_current(|| request.send_body(body));
        let response = tokio::select! {
            biased;
            sent = sent => sent.map_err(|_| state.take_failure().unwrap_or_else(OriginError::cut))?,
            timeout = state.timeout(self.0.config.timeout) => return Err(timeout),
        };
        Ok(self.response(response, state, permit))
    }

    /// Sets Host if it is missing, and Expect.
    fn complete(
        &self,
        headers: &mut HeaderMap,
        expectation: Expectation,
    ) -> Result<(), OriginError> {
        match expectation {
            Expectation::Nothing => headers.remove(header::EXPECT),
            Expectation::Continue => {
                headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"))
            }
        };
        if !headers.contains_key(header::HOST) {
            let host = HeaderValue::try_from(self.0.config.url.authority());
            let host = host.map_err(|error| OriginError::Target {
                source: Some(error.into()),
            })?;
            headers.insert(header::HOST, host);
        }
        Ok(())
    }

    /// The target after the path prefix. awc wants an absolute URI, and sends its path and query unchanged.
    fn uri(&self, target: &str) -> Result<Uri, OriginError> {
        let target = match target {
            "*" => target.to_owned(),
            _ if target.starts_with('/') => format!("{}{target}", self.0.config.url.path_prefix()),
            _ => return Err(OriginError::Target { source: None }),
        };
        // The authority is not used: the transport has one origin, and Host is set.
        let uri = Uri::builder()
            .scheme("http")
            .authority("origin")
            .path_and_query(target.as_str())
            .build();
        uri.map_err(|error| OriginError::Target {
            source: Some(error),
        })
    }

    fn response(
        &self,
        response: ClientResponse,
        state: TransferState,
        permit: OwnedSemaphorePermit,
    ) -> OriginResponse {
        let (status, version) = (response.status(), response.version());
        let framing = state.framing().unwrap_or(BodyFraming::None);
        let mut headers = HeaderMap::new();
        let mut response = response.map_body(|head, payload| {
            headers = std::mem::take(&mut head.headers);
            payload
        });
        let body = match response.take_payload() {
            actix_http::Payload::None => OriginBody::empty(),
            payload => OriginBody::new(payload, state, self.silence_limit(&headers), permit),
        };
        OriginResponse {
            status,
            version,
            headers,
            framing,
            body,
        }
    }

    fn silence_limit(&self, headers: &HeaderMap) -> SilenceLimit {
        if is_live_stream(headers) {
            SilenceLimit::Unlimited
        } else {
            SilenceLimit::Limited {
                limit: self.0.config.timeout,
                timer: None,
            }
        }
    }
}
