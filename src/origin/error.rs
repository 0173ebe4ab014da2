//! Errors between the proxy and the origin.

use std::{fmt, io, time::Duration};

use actix_http::error::PayloadError;
use rustix::io::Errno;

use super::{malformed::Malformed, tls};

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
    /// The origin was silent for longer than the limit.
    #[error("the origin was silent for {}s while {phase}", limit.as_secs_f64())]
    Timeout {
        /// What the proxy was waiting for.
        phase: Phase,
        /// The limit.
        limit: Duration,
    },
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
            Self::Connecting => "connecting to it",
            Self::FirstByte => "waiting for its response",
            Self::Body => "sending its response",
        })
    }
}

/// Why the client's body could not be forwarded completely.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Reading it failed.
    #[error("{0}")]
    Client(#[source] PayloadError),
    /// Its chunked coding is invalid.
    #[error("its chunked coding is invalid")]
    Malformed,
    /// It ended before its Content-Length.
    #[error("{missing_bytes} bytes of its Content-Length are missing")]
    Short {
        /// How many bytes are missing.
        missing_bytes: u64,
    },
    /// It is longer than its Content-Length.
    #[error("it is longer than its Content-Length")]
    Long,
}

impl From<PayloadError> for UploadError {
    /// [`PayloadError::EncodingCorrupted`] is what a body with an invalid chunked coding ends with.
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::EncodingCorrupted => Self::Malformed,
            error => Self::Client(error),
        }
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
    /// A fault of the client's: its body failed, or its target cannot be sent.
    Upload,
}

impl OriginErrorKind {
    /// All of them, in their order.
    pub const ALL: [Self; 6] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Cut,
        Self::Malformed,
        Self::Busy,
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
            Self::Upload => "the client's body was not complete",
        }
    }
}

impl OriginError {
    /// The kind of this error.
    pub fn kind(&self) -> OriginErrorKind {
        match self {
            Self::Unreachable { source, .. } if is_our_limit(source) => OriginErrorKind::Busy,
            Self::UnknownHost { .. } | Self::Unreachable { .. } | Self::Tls { .. } => {
                OriginErrorKind::Unreachable
            }
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
            OriginErrorKind::Unreachable | OriginErrorKind::Timeout | OriginErrorKind::Busy
        )
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
    pub fn no_head(limit: Duration) -> Self {
        Self::Timeout {
            phase: Phase::FirstByte,
            limit,
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
