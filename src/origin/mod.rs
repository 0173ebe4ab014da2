//! All that is spoken to the origin: one [`Origin`] a worker, which forwards requests through awc.
//!
//! | file | what it knows |
//! |---|---|
//! | `url` | where the origin is |
//! | `connect`, `tls`, `stream` | names, addresses, certificates: how a connection comes about |
//! | `pool` | which connections are idle, and for how long |
//! | `transport` | what awc sends its requests through |
//! | `in_flight` | one request and its response on a connection |
//! | `framing`, `chunked` | where HTTP/1 responses begin and end; pure |
//! | `heads` | the heads written to the origin, and the search for the final one it sends |
//! | `upload`, `body` | the bodies, one in each direction |
//! | `exchange` | what connection and caller tell each other past awc |
//! | `probe` | whether it can be reached at all |
//! | `error` | everything that can go wrong |

mod body;
mod chunked;
mod connect;
mod error;
mod exchange;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod heads;
mod in_flight;
mod pool;
mod probe;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod upload;
mod url;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpMessage;
use actix_web::http::{
    Method, StatusCode, Uri,
    header::{self, HeaderMap, HeaderValue},
};
use awc::{Client, ClientResponse, body::None as NoBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::headers::is_event_stream;

use self::{
    body::Pause,
    connect::Dialer,
    exchange::{Afterwards, Exchange, Plan},
};

pub(crate) use self::chunked::Chunked;
pub use self::{
    body::OriginBody,
    error::{OriginError, OriginErrorKind, Phase, UploadError},
    exchange::InterimSink,
    framing::{BodyFraming, Malformed},
    probe::reach,
    tls::{CaError, tls_config},
    upload::{BodyStream, RequestBody},
    url::{OriginUrl, UrlError},
};

/// How long an idle connection is kept: less than the 5 s after which Node closes it.
const IDLE_LIMIT: Duration = Duration::from_secs(4);
/// Longest wait for a free connection.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// What an [`Origin`] needs to know.
#[derive(Clone, Debug)]
pub struct OriginConfig {
    /// Where the origin is.
    pub url: OriginUrl,
    /// The longest silence of the origin: while connecting, before the first byte, between two pieces of a body.
    pub timeout: Duration,
    /// From [`tls_config`]; needed for an https origin.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Most connections in use at once.
    pub max_connections: usize,
}

/// A request as it is to be sent.
pub struct OriginRequest {
    /// Any token; case counts.
    pub method: Method,
    /// Path and query, byte for byte as the client sent them, or `*`; the origin's path prefix is put before it here.
    pub target: String,
    /// All fields, Host included, hop-by-hop fields removed. Content-Length and Expect are left out; the body says
    /// how long it is.
    pub headers: HeaderMap,
    /// The client's body.
    pub body: RequestBody,
    /// Who is told of interim (1xx) responses but 100; none: they are dropped.
    pub interim: Option<InterimSink>,
}

/// A final response. Interim (1xx) ones are taken out: see [`OriginRequest::interim`].
#[derive(Debug)]
pub struct OriginResponse {
    /// Any code from 200 to 999.
    pub status: StatusCode,
    /// As received, repetitions in their order. Content-Length is one line of one number that says the body's length,
    /// or with [`BodyFraming::None`] whatever the origin said; it is left out beside
    /// Transfer-Encoding, which stays to be seen and is to be removed with the other hop-by-hop fields.
    pub headers: HeaderMap,
    /// How the end of the body was known.
    pub framing: BodyFraming,
    /// The content, without its framing.
    pub body: OriginBody,
}

/// Forwards requests to one origin. One per worker; clones share connections.
#[derive(Clone)]
pub struct Origin(Rc<Inner>);

struct Inner {
    config: OriginConfig,
    client: Client,
    permits: Arc<Semaphore>,
}

impl Origin {
    /// A forwarder without connections yet.
    pub fn new(config: OriginConfig) -> Self {
        let dialer = Dialer::new(config.url.clone(), config.tls.clone());
        let permits = Arc::new(Semaphore::new(
            config.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        Self(Rc::new(Inner {
            client: transport::client(dialer),
            permits,
            config,
        }))
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// An idempotent request without content whose reused connection ended before the first byte of a response is sent
    /// once more on a fresh one (RFC 9110, 9.2.2); nothing else is ever repeated.
    ///
    /// # Errors
    /// No final head came, for any of the reasons of [`OriginError`]. What fails later fails in the body.
    pub async fn forward(&self, request: OriginRequest) -> Result<OriginResponse, OriginError> {
        let uri = self.uri(&request.target)?;
        let permit = self.permit().await?;
        let OriginRequest {
            method,
            mut headers,
            body,
            interim,
            ..
        } = request;
        self.complete(&mut headers)?;
        let afterwards = if binds_connection(&headers) {
            Afterwards::Close
        } else {
            Afterwards::Keep
        };
        // A length of zero announces nothing that could be lost.
        let has_content = !matches!(body, RequestBody::Empty | RequestBody::Sized(0, _));
        let exchange = Exchange::new(Plan {
            body,
            afterwards,
            repeatable: !has_content && is_idempotent(&method),
            interim,
        });
        let mut request = self.0.client.request(method, uri).no_decompress();
        *request.headers_mut() = headers;
        // The upload is ours: awc would know nothing of how it goes.
        let sent = exchange.hand_over(|| request.send_body(NoBody::new()));
        let response = tokio::select! {
            biased;
            sent = sent => sent.map_err(|_| exchange.take_failure().unwrap_or_else(OriginError::cut))?,
            silent = exchange.silence(self.0.config.timeout) => return Err(silent),
        };
        Ok(self.response(response, exchange, permit))
    }

    /// Sets Host where it is missing, and takes out what the client and we have settled already.
    fn complete(&self, headers: &mut HeaderMap) -> Result<(), OriginError> {
        headers.remove(header::EXPECT);
        if !headers.contains_key(header::HOST) {
            let host = HeaderValue::try_from(self.0.config.url.authority());
            let host = host.map_err(|error| OriginError::Target {
                source: Some(error.into()),
            })?;
            headers.insert(header::HOST, host);
        }
        Ok(())
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, OriginError> {
        let limit = self.0.config.timeout.min(BUSY_LIMIT);
        match tokio::time::timeout(limit, Arc::clone(&self.0.permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(OriginError::Busy {
                max_connections: self.0.config.max_connections,
            }),
        }
    }

    /// The target behind the prefix. awc wants an absolute URI; it sends the path and query of it as they are.
    fn uri(&self, target: &str) -> Result<Uri, OriginError> {
        let target = match target {
            "*" => target.to_owned(),
            _ if target.starts_with('/') => format!("{}{target}", self.0.config.url.path_prefix()),
            _ => return Err(OriginError::Target { source: None }),
        };
        // The authority says nothing: the transport knows one origin, and Host is set.
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
        exchange: Exchange,
        permit: OwnedSemaphorePermit,
    ) -> OriginResponse {
        let status = response.status();
        let framing = exchange.framing().unwrap_or(BodyFraming::None);
        let mut headers = HeaderMap::new();
        let mut response = response.map_body(|head, payload| {
            headers = std::mem::take(&mut head.headers);
            payload
        });
        let body = match response.take_payload() {
            actix_http::Payload::None => OriginBody::empty(),
            payload => OriginBody::new(payload, exchange, self.pause(&headers), permit),
        };
        OriginResponse {
            status,
            headers,
            framing,
            body,
        }
    }

    fn pause(&self, headers: &HeaderMap) -> Pause {
        if is_event_stream(headers) {
            Pause::Unlimited
        } else {
            Pause::Limited {
                limit: self.0.config.timeout,
                timer: None,
            }
        }
    }
}

/// True for the schemes that authenticate a connection and not a request (RFC 4559): what one client says there must
/// not speak for the next one.
fn binds_connection(headers: &HeaderMap) -> bool {
    headers.get_all(header::AUTHORIZATION).any(|line| {
        let scheme = line.as_bytes().split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
        })
    })
}

/// RFC 9110, 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}
