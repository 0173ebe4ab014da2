//! What can go wrong between the proxy and the origin.

use std::{fmt, io, time::Duration};

use actix_http::error::PayloadError;
use rustix::io::Errno;

use super::{malformed::Malformed, tls};

/// A request that could not be forwarded, or a response that could not be received whole.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    /// The host's name could not be resolved.
    #[error("the host {host} is not known")]
    UnknownHost {
        /// The origin's host.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address of the origin took the connection.
    #[error("{authority} cannot be reached: {}", plain_io(source))]
    Unreachable {
        /// Host and port of the origin.
        authority: String,
        /// What the last attempt said.
        #[source]
        source: io::Error,
    },
    /// The TLS handshake failed, mostly over the certificate.
    #[error("no secure connection to {host}: {}", tls::plain_reason(source))]
    Tls {
        /// The origin's host.
        host: String,
        /// What the handshake said.
        #[source]
        source: io::Error,
    },
    /// The origin was silent for longer than the limit.
    #[error("the origin was silent for {}s while {phase}", limit.as_secs_f64())]
    Timeout {
        /// What was being waited for.
        phase: Phase,
        /// The limit that was passed.
        limit: Duration,
    },
    /// The connection ended before the response was whole.
    #[error("the origin closed the connection before its response was complete")]
    Cut {
        /// What the connection said.
        #[source]
        source: io::Error,
    },
    /// What the origin sent is not an HTTP/1 response.
    #[error("the origin's response cannot be understood: {source}")]
    Malformed {
        /// Which rule it breaks.
        #[source]
        source: Malformed,
    },
    /// All connections to the origin were taken for too long.
    #[error("all {max_connections} connections to the origin are in use")]
    Busy {
        /// The limit, per worker.
        max_connections: usize,
    },
    /// The client's body did not arrive as announced.
    #[error("the request's body broke off: {source}")]
    Upload {
        /// What was wrong with it.
        #[source]
        source: UploadError,
    },
    /// A target that cannot be written into a request line.
    #[error("the request's target cannot be forwarded")]
    Target {
        /// What the HTTP types said, if they were asked.
        #[source]
        source: Option<actix_http::error::HttpError>,
    },
}

/// What the proxy was waiting for when the origin was silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving, connecting, TLS handshake.
    Connecting,
    /// Waiting for the head of the response, after the last progress of the upload.
    FirstByte,
    /// Between two pieces of the response's body.
    Body,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "connecting to it",
            Self::FirstByte => "waiting for its answer",
            Self::Body => "sending its answer",
        })
    }
}

/// Why the client's body could not be forwarded whole.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Reading it failed.
    #[error("{0}")]
    Client(#[source] PayloadError),
    /// It ended before its Content-Length.
    #[error("{missing_bytes} bytes of its Content-Length are missing")]
    Short {
        /// Bytes that were announced and did not come.
        missing_bytes: u64,
    },
    /// It went on past its Content-Length.
    #[error("it is longer than its Content-Length")]
    Long,
}

/// The kinds of [`OriginError`] that a caller answers differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginErrorKind {
    /// No connection: name, address or TLS.
    Unreachable,
    /// Silence past the limit.
    Timeout,
    /// The response broke off.
    Cut,
    /// The response is not HTTP/1.
    Malformed,
    /// The proxy's own limit of connections.
    Busy,
    /// The client's side: its body broke off, or its target cannot be sent.
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

    /// The short name, as metrics carry it.
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

    /// What it says, short enough for a row of a table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Unreachable => "no connection to the origin",
            Self::Timeout => "the origin was silent for too long",
            Self::Cut => "the origin broke off its answer",
            Self::Malformed => "the origin's answer is not valid HTTP",
            Self::Busy => "too many requests were under way",
            Self::Upload => "the request's body did not arrive whole",
        }
    }
}

impl OriginError {
    /// Which kind of failure this is.
    pub fn kind(&self) -> OriginErrorKind {
        match self {
            Self::Unreachable { source, .. } if is_our_limit(source) => OriginErrorKind::Busy,
            Self::UnknownHost { .. } | Self::Unreachable { .. } | Self::Tls { .. } => {
                OriginErrorKind::Unreachable
            }
            Self::Timeout { .. } => OriginErrorKind::Timeout,
            Self::Cut { .. } => OriginErrorKind::Cut,
            Self::Malformed { .. } => OriginErrorKind::Malformed,
            Self::Busy { .. } => OriginErrorKind::Busy,
            Self::Upload { .. } | Self::Target { .. } => OriginErrorKind::Upload,
        }
    }

    /// True when the client was silent in the middle of its body.
    pub fn is_client_silent(&self) -> bool {
        let Self::Upload {
            source: UploadError::Client(PayloadError::Io(error)),
        } = self
        else {
            return false;
        };
        error.kind() == io::ErrorKind::TimedOut
    }

    /// What went wrong, for those who are not to know where the origin is.
    pub fn plain_reason(&self) -> String {
        match self {
            Self::UnknownHost { .. } => "the name of its host is not known".to_owned(),
            Self::Unreachable { source, .. } => plain_io(source),
            Self::Tls { source, .. } => tls::plain_reason(source),
            other => other.to_string(),
        }
    }

    pub(super) fn cut() -> Self {
        Self::Cut {
            source: io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

/// Out of file descriptors, buffers or ports of our own.
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

/// The common reasons in words, without the number the system adds to them.
fn plain_io(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to the host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "the network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connecting took too long".to_owned(),
        _ => error.to_string(),
    }
}
