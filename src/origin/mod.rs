//! All that is spoken to the origin: one [`Origin`] a worker, which forwards requests through awc.
//!
//! | file | what it knows |
//! |---|---|
//! | `url` | where the origin is |
//! | `connect`, `tls`, `stream` | names, addresses, certificates: how a connection comes about |
//! | `framing`, `chunked` | where HTTP/1 responses begin and end; pure |
//! | `heads` | the heads written to the origin and to awc, and the search for the final one |
//! | `adapter` | the stream between the connection and awc, where HTTP/1 is seen to |
//! | `probe` | whether it can be reached at all |
//! | `idle` | how long a connection waits for its next request |
//! | `exchange` | what adapter and caller tell each other past awc |
//! | `upload`, `body` | the bodies, one in each direction |
//! | `error` | everything that can go wrong |

mod adapter;
mod body;
mod chunked;
mod connect;
mod error;
mod exchange;
mod framing;
mod heads;
mod idle;
mod probe;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod upload;
mod url;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_http::HttpMessage;
use actix_service::fn_service;
use actix_tls::connect::{ConnectError, ConnectInfo, Connection};
use actix_web::http::{
    Method, StatusCode, Uri,
    header::{self, HeaderMap, HeaderValue},
};
use awc::{Client, Connector, body::None as NoBody};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::headers::is_event_stream;

use self::{
    adapter::OriginIo,
    body::Pause,
    connect::Dialer,
    exchange::{Afterwards, DateLine, Exchange, Plan},
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
    pooled: Client,
    /// Never finds an idle connection, so every request has one of its own.
    fresh: Client,
    permits: Arc<Semaphore>,
}

impl Origin {
    /// A forwarder without connections yet.
    pub fn new(config: OriginConfig) -> Self {
        let dialer = Rc::new(Dialer::new(config.url.clone(), config.tls.clone()));
        let permits = Arc::new(Semaphore::new(
            config.max_connections.min(Semaphore::MAX_PERMITS),
        ));
        Self(Rc::new(Inner {
            pooled: client(Rc::clone(&dialer), IDLE_LIMIT),
            fresh: client(dialer, Duration::ZERO),
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
        let client = match afterwards {
            Afterwards::Keep => &self.0.pooled,
            Afterwards::Close => &self.0.fresh,
        };
        // A length of zero announces nothing that could be lost; the plan has its line.
        let has_content = !matches!(body, RequestBody::Empty | RequestBody::Sized(0, _));
        let repeatable = !has_content && is_idempotent(&method);
        let plan = Plan {
            method,
            date: match headers.contains_key(header::DATE) {
                true => DateLine::Clients,
                false => DateLine::Awcs,
            },
            framing_line: body.framing_line(),
            afterwards,
            interim,
        };

        let again = repeatable.then(|| (plan.clone(), headers.clone(), uri.clone()));
        let exchange = Exchange::new(plan.clone(), body);
        let outcome = self
            .attempt(client, &exchange, plan.method, uri, headers)
            .await;
        let (exchange, payload) = match (outcome, again) {
            (Ok(payload), _) => (exchange, payload),
            (Err(OriginError::Cut { source }), Some((mut plan, headers, uri)))
                if exchange.found_stale_connection() =>
            {
                log::debug!(
                    "an idle connection to the origin had ended, once more on a fresh one: {source}"
                );
                plan.afterwards = Afterwards::Close;
                let exchange = Exchange::new(plan.clone(), RequestBody::Empty);
                let payload = self
                    .attempt(&self.0.fresh, &exchange, plan.method, uri, headers)
                    .await?;
                (exchange, payload)
            }
            (Err(failure), _) => return Err(failure),
        };
        self.response(exchange, payload, permit)
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
        // The authority is only the pool's key: the connector knows one origin, and Host is set.
        let uri = Uri::builder()
            .scheme("http")
            .authority("origin")
            .path_and_query(target.as_str())
            .build();
        uri.map_err(|error| OriginError::Target {
            source: Some(error),
        })
    }

    /// Sends the request once; answers the payload behind the head, which the exchange holds.
    async fn attempt(
        &self,
        client: &Client,
        exchange: &Exchange,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
    ) -> Result<actix_http::Payload, OriginError> {
        let mut request = client.request(method, uri).no_decompress();
        *request.headers_mut() = headers;
        // The upload is the adapter's: told of no body, awc writes the head at once and reads the answer.
        let sent = exchange.scope(request.send_body(NoBody::new()));
        tokio::select! {
            biased;
            sent = sent => match sent {
                Ok(mut response) => Ok(response.take_payload()),
                Err(error) => {
                    log::debug!("awc: {error}");
                    Err(exchange.take_failure().unwrap_or_else(OriginError::cut))
                }
            },
            silent = exchange.silence(self.0.config.timeout) => Err(silent),
        }
    }

    fn response(
        &self,
        exchange: Exchange,
        payload: actix_http::Payload,
        permit: OwnedSemaphorePermit,
    ) -> Result<OriginResponse, OriginError> {
        let head = exchange.take_head().ok_or_else(OriginError::cut)?;
        let body = match payload {
            actix_http::Payload::None => OriginBody::empty(),
            payload => OriginBody::new(payload, exchange, self.pause(&head.headers), permit),
        };
        Ok(OriginResponse {
            status: head.status,
            headers: head.headers,
            framing: head.framing,
            body,
        })
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

/// awc over our own connections. Limits and timers are ours too: awc's cover phases together and bodies not at all.
fn client(dialer: Rc<Dialer>, idle_limit: Duration) -> Client {
    let connect = fn_service(move |info: ConnectInfo<Uri>| {
        let dialer = Rc::clone(&dialer);
        async move {
            match dialer.dial().await {
                Ok(stream) => Ok(Connection::new(
                    info.request().clone(),
                    OriginIo::new(stream, idle_limit),
                )),
                Err(failure) => {
                    if let Some(exchange) = Exchange::current() {
                        exchange.fail(failure);
                    }
                    Err(ConnectError::Unresolved)
                }
            }
        }
    });
    let connector = Connector::new()
        .connector(connect)
        .limit(0)
        .timeout(Duration::MAX)
        .conn_keep_alive(idle_limit)
        .conn_lifetime(Duration::MAX);
    Client::builder()
        .connector(connector)
        .disable_timeout()
        .disable_redirects()
        .no_default_headers()
        .finish()
}
