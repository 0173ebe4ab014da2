//! Errors between the proxy and the origin.

use std::{fmt, io, sync::Arc, time::Duration};

use actix_http::error::PayloadError;
use actix_web::http::StatusCode;
use rustix::io::Errno;

pub use super::upload_error::UploadError;
use super::{malformed::Malformed, rate::MaxRate, tls};

/// Why a request could not be forwarded, or its response not be received completely.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The host's name could not be resolved.
    #[error("unknown host {host}")]
    UnknownHost {
        /// The origin's host.
        host: String,
        /// The resolver's error.
        #[source]
        source: io::Error,
    },
    /// No address of the origin accepted a connection.
    #[error("{authority} cannot be reached: {}", plain_io(source))]
    Unreachable {
        /// Host and port of the origin.
        authority: String,
        /// The error of the last attempt.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed, most often because of the certificate.
    #[error("no secure connection to {host}: {}", tls::plain_reason(source))]
    Tls {
        /// The origin's host.
        host: String,
        /// The error of the handshake.
        #[source]
        source: io::Error,
    },
    /// The forward proxy that leads to the origin did not open a connection.
    #[error("the proxy {proxy} {source}")]
    Proxy {
        /// Its URL, without credentials.
        proxy: Arc<str>,
        /// What went wrong.
        #[source]
        source: ProxyProblem,
    },
    /// The origin was silent for longer than the limit.
    #[error("{limit}: {phase}{}", through(proxy.as_deref()))]
    Timeout {
        /// What the proxy was waiting for.
        phase: Phase,
        /// The limit.
        limit: WaitLimit,
        /// The forward proxy that should have opened the connection; `None` if another thing was awaited.
        proxy: Option<Arc<str>>,
    },
    /// As many requests as `--max-rate` allows have gone to the origin.
    #[error("--max-rate {rate} allows no more requests to the origin at the moment; try again in {}", in_seconds(*left))]
    Limited {
        /// The rate.
        rate: MaxRate,
        /// When the next request may go.
        left: Duration,
    },
    /// The origin has said when it wants the next request (RFC 9110, 10.2.3), and it is not time yet.
    #[error("the origin has responded with {} and Retry-After; try again in {}", status.as_u16(), in_seconds(*left))]
    Paused {
        /// The status of that response.
        status: StatusCode,
        /// How long it still wants none.
        left: Duration,
    },
    /// The proxy is told not to contact any origin.
    #[error("the proxy is offline")]
    Offline,
    /// The connection ended before the response was complete.
    #[error("the origin closed the connection before its response was complete")]
    Cut {
        /// The connection's error.
        #[source]
        source: io::Error,
    },
    /// The origin did not send a valid HTTP/1 response.
    #[error("the origin's response is not valid HTTP: {source}")]
    Malformed {
        /// What is wrong with it.
        #[source]
        source: Malformed,
    },
    /// All connections to the origin were in use for too long.
    #[error("all {max_connections} connections to the origin are in use")]
    Busy {
        /// The limit, per worker.
        max_connections: usize,
    },
    /// As many bodies as are allowed were being sent to the origin for too long.
    #[error("{max_uploads} request bodies are being sent to the origin already")]
    BusyUploading {
        /// The limit, per worker.
        max_uploads: usize,
    },
    /// The client's body failed, or did not have the length it announced.
    #[error("the request's body failed: {source}")]
    Upload {
        /// What was wrong with it.
        #[source]
        source: UploadError,
    },
    /// A target that cannot be written into a request line.
    #[error("the request's target cannot be forwarded")]
    Target {
        /// The error of the URI parser; `None` if the target has neither a path nor `*`.
        #[source]
        source: Option<actix_http::error::HttpError>,
    },
}

/// A limit of a wait, by the name of its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitLimit {
    /// The flag that sets it.
    pub flag: &'static str,
    /// The longest wait.
    pub time: Duration,
}

impl WaitLimit {
    /// The limit of `--timeout`.
    pub fn timeout(time: Duration) -> Self {
        Self {
            flag: "--timeout",
            time,
        }
    }

    /// The limit of `--first-byte-timeout`.
    pub fn first_byte_timeout(time: Duration) -> Self {
        Self {
            flag: "--first-byte-timeout",
            time,
        }
    }
}

impl fmt::Display for WaitLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.flag, humantime::format_duration(self.time))
    }
}

/// Why a forward proxy did not open a connection to the origin. It goes on from "the proxy ...".
#[derive(Debug, thiserror::Error)]
pub enum ProxyProblem {
    /// Its name could not be resolved.
    #[error("has an unknown host name")]
    UnknownHost {
        /// The resolver's error.
        #[source]
        source: io::Error,
    },
    /// No address of it accepted a connection.
    #[error("cannot be reached: {}", plain_io(source))]
    Unreachable {
        /// The error of the last attempt.
        #[source]
        source: io::Error,
    },
    /// It responded with an error.
    #[error("refused: {status}{}", remedy(*status))]
    Refused {
        /// The status of its response.
        status: StatusCode,
    },
    /// It responded with something else than the head of a response, or with more.
    #[error("did not send a valid HTTP response")]
    Malformed,
    /// The connection to it ended.
    #[error("closed the connection")]
    Closed {
        /// The connection's error.
        #[source]
        source: io::Error,
    },
}

fn remedy(status: StatusCode) -> &'static str {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            " (give it a user and a password: http://USER:PASSWORD@HOST:PORT)"
        }
        _ => "",
    }
}

fn through(proxy: Option<&str>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"))
}

/// A time as whole seconds, rounded up.
fn in_seconds(time: Duration) -> String {
    format!("{} s", whole_seconds(time))
}

/// Rounded up, at least 1.
fn whole_seconds(time: Duration) -> u64 {
    let more = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(more).max(1)
}

/// What the proxy waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving, connecting, TLS handshake.
    Connecting,
    /// The head of the response, after the last progress of the upload.
    FirstByte,
    /// Between two pieces of the response's body.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "no connection",
            Self::FirstByte => "no response",
            Self::Body => "the response stopped",
        })
    }
}

/// The kinds of [`OriginError`] that get different responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// No connection: name, address or TLS.
    Unreachable,
    /// The origin was silent for too long.
    Timeout,
    /// The response was cut short.
    Cut,
    /// The response is not HTTP/1.
    Malformed,
    /// The proxy's own limit of connections or system resources.
    Busy,
    /// `--max-rate` allows no more requests.
    Limited,
    /// The origin has asked for a pause.
    Paused,
    /// No origin is contacted.
    Offline,
    /// A fault of the client's: its body failed, or its target cannot be sent.
    Upload,
}

impl OriginErrorKind {
    /// All of them, in their order.
    pub const ALL: [Self; 9] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Cut,
        Self::Malformed,
        Self::Busy,
        Self::Limited,
        Self::Paused,
        Self::Offline,
        Self::Upload,
    ];

    /// The short name, as in log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "origin-unreachable",
            Self::Timeout => "origin-timeout",
            Self::Cut => "origin-cut",
            Self::Malformed => "origin-malformed",
            Self::Busy => "busy",
            Self::Limited => "rate-limited",
            Self::Paused => "origin-paused",
            Self::Offline => "offline",
            Self::Upload => "upload",
        }
    }

    /// A description short enough for a row of a table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection to the origin",
            Self::Timeout => "the origin was silent for too long",
            Self::Cut => "the origin cut its response short",
            Self::Malformed => "the origin's response is not valid HTTP",
            Self::Busy => "too many requests in progress",
            Self::Limited => "--max-rate allows no more requests",
            Self::Paused => "the origin wants a pause",
            Self::Offline => "not in the cache, and offline",
            Self::Upload => "the client's body was not complete",
        }
    }
}

impl OriginError {
    /// The kind of this error.
    pub fn kind(&self) -> OriginErrorKind {
        match self {
            Self::Unreachable { source, .. }
            | Self::Proxy {
                source: ProxyProblem::Unreachable { source },
                ..
            } if is_our_limit(source) => OriginErrorKind::Busy,
            Self::UnknownHost { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Proxy { .. } => OriginErrorKind::Unreachable,
            Self::Limited { .. } => OriginErrorKind::Limited,
            Self::Paused { .. } => OriginErrorKind::Paused,
            Self::Offline => OriginErrorKind::Offline,
            Self::Timeout { .. } => OriginErrorKind::Timeout,
            Self::Cut { .. } => OriginErrorKind::Cut,
            Self::Malformed { .. } => OriginErrorKind::Malformed,
            Self::Busy { .. } | Self::BusyUploading { .. } => OriginErrorKind::Busy,
            Self::Upload { .. } | Self::Target { .. } => OriginErrorKind::Upload,
        }
    }

    /// True if another request at this moment would most likely fail in the same way.
    pub fn lasts(&self) -> bool {
        matches!(
            self.kind(),
            OriginErrorKind::Unreachable
                | OriginErrorKind::Timeout
                | OriginErrorKind::Busy
                | OriginErrorKind::Limited
                | OriginErrorKind::Paused
                | OriginErrorKind::Offline
        )
    }

    /// True if the origin has certainly received nothing of the request.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Timeout { phase, .. } => *phase == Phase::Connecting,
            _ => self.lasts(),
        }
    }

    /// In how many seconds the next request may go to the origin; `None` if that is not known.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Limited { left, .. } | Self::Paused { left, .. } => Some(whole_seconds(*left)),
            _ => None,
        }
    }

    /// True if the client stopped sending in the middle of its body.
    pub fn is_client_silent(&self) -> bool {
        let Self::Upload {
            source: UploadError::Client(PayloadError::Io(error)),
        } = self
        else {
            return false;
        };
        error.kind() == io::ErrorKind::TimedOut
    }

    /// True if the chunked coding of the client's body is invalid.
    pub fn is_upload_malformed(&self) -> bool {
        matches!(
            self,
            Self::Upload {
                source: UploadError::Malformed
            }
        )
    }

    /// The cause, without the name of the origin.
    pub fn plain_reason(&self) -> String {
        match self {
            Self::UnknownHost { .. } => "unknown host name".to_owned(),
            Self::Unreachable { source, .. } => plain_io(source),
            Self::Tls { source, .. } => tls::plain_reason(source),
            other => other.to_string(),
        }
    }

    /// The origin sent no head of a response within `limit`.
    pub fn no_head(limit: WaitLimit) -> Self {
        Self::Timeout {
            phase: Phase::FirstByte,
            limit,
            proxy: None,
        }
    }

    pub(super) fn cut() -> Self {
        Self::Cut {
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// True if this system is out of file descriptors, buffers or ports.
fn is_our_limit(error: &io::Error) -> bool {
    let limits = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::ADDRNOTAVAIL,
    ];
    let number = error.raw_os_error();
    limits
        .iter()
        .any(|limit| number == Some(limit.raw_os_error()))
}

/// The common causes in words, without the number that the system adds to them.
fn plain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::NotFound => "there is no such socket".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connecting took too long".to_owned(),
        _ => error.to_string(),
    }
}
