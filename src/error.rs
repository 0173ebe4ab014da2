//! Errors of a request, and the only place that maps them to a status.

use std::{error::Error, fmt};

use actix_web::http::StatusCode;

use crate::origin::{OriginError, OriginErrorKind};

/// The methods of RFC 9110 and 5789 that are forwarded. Unknown methods are forwarded too; CONNECT is not.
pub const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// The short name of the kind of a request head that is refused with this status.
pub fn refused_head_kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::METHOD_NOT_ALLOWED => "connect",
        StatusCode::REQUEST_TIMEOUT => "late-head",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "large-head",
        StatusCode::HTTP_VERSION_NOT_SUPPORTED => "http-version",
        StatusCode::MISDIRECTED_REQUEST => "other-host",
        _ => "malformed-head",
    }
}

/// An error and its causes in one line. A cause that the error already contains is not repeated.
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let reason = error.to_string();
            if !said.contains(&reason) {
                said = format!("{said}: {reason}");
            }
            source = error.source();
        }
        formatter.write_str(&said)
    }
}

/// Why a request got no response from the origin or the cache.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The origin could not be reached, or its response is invalid.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The client sent CONNECT.
    #[error("CONNECT is not supported: this proxy forwards to its own origins only")]
    Connect,
    /// The request carries our own Via (RFC 9110, 7.6.3).
    #[error("the request loops: the origin forwards it back to this proxy")]
    Loop,
    /// The request's target has no path.
    #[error("the request target is not a path")]
    Target,
    /// Dot segments of the request's path, or of its Destination, may lead out of the path that is before every target.
    #[error(
        "the path has dot segments that lead out of the path below which this proxy forwards: write it without them"
    )]
    DotSegments,
    /// The client authenticates its connection.
    #[error("NTLM is not supported: it needs a connection to the origin for each client")]
    Ntlm,
    /// The client accepts a cached response only, and there is none (RFC 9111, 5.2.1.7).
    #[error("the request says only-if-cached, and the cache has no usable response")]
    OnlyIfCached,
    /// A stored response must be validated, and the origin failed (RFC 9111, 5.2.2.2).
    #[error("the cached response must be validated, and the origin could not be reached")]
    NotValidated(#[source] OriginError),
    /// The proxy is told not to contact any origin, and nothing that is stored matches the request.
    #[error("{}", .sentences.join(" "))]
    Offline {
        /// What is missing, what is nearest, and how that differs.
        sentences: Vec<String>,
    },
    /// As many tunnels are open as are allowed.
    #[error("all {max_tunnels} tunnels (WebSocket) are in use; --max-tunnels allows more")]
    TooManyTunnels {
        /// The limit.
        max_tunnels: usize,
    },
    /// The origin sent a 304 to an unconditional request.
    #[error("the origin sent 304 (Not Modified) to an unconditional request")]
    NotModifiedUnasked,
    /// The task that fetched the response ended without one.
    #[error("the proxy could not complete the request")]
    Interrupted,
}

const fn of_origin(kind: OriginErrorKind) -> (&'static str, &'static str) {
    (kind.name(), kind.meaning())
}

impl ProxyError {
    /// All kinds, also those of refused heads: the short name for metrics, and a description short enough for a table.
    pub const KINDS: [(&str, &str); 27] = [
        of_origin(OriginErrorKind::Unreachable),
        of_origin(OriginErrorKind::Timeout),
        of_origin(OriginErrorKind::Cut),
        of_origin(OriginErrorKind::Malformed),
        of_origin(OriginErrorKind::Busy),
        of_origin(OriginErrorKind::Limited),
        of_origin(OriginErrorKind::Paused),
        of_origin(OriginErrorKind::Offline),
        of_origin(OriginErrorKind::Upload),
        ("connect", "CONNECT: not supported"),
        ("loop", "the origin forwards back to this proxy"),
        ("target", "the request target is not a path"),
        ("dot-segments", "dot segments lead out of the path (400)"),
        ("ntlm", "NTLM: not supported"),
        ("only-if-cached", "only-if-cached, and not in the cache"),
        ("not-validated", "validation needed, origin unreachable"),
        ("not-modified-unasked", "304 to an unconditional request"),
        ("interrupted", "the proxy ended the fetch"),
        ("tunnels", "too many tunnels (--max-tunnels)"),
        ("malformed-body", "invalid chunked coding of a body (400)"),
        ("malformed-head", "not a valid HTTP/1.1 request (400)"),
        ("https-only", "plain HTTP at a port for HTTPS (400)"),
        ("tls", "TLS at a port for plain HTTP (400)"),
        ("late-head", "request headers not there in time (408)"),
        ("large-head", "request headers too large (431)"),
        ("http-version", "not in HTTP/1.0 or HTTP/1.1 (505)"),
        ("other-host", "for another host, not this proxy (421)"),
    ];

    /// The short name of its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Origin(error) if error.is_upload_malformed() => "malformed-body",
            Self::Origin(error) => error.kind().name(),
            Self::Connect => "connect",
            Self::Loop => "loop",
            Self::Target => "target",
            Self::DotSegments => "dot-segments",
            Self::Ntlm => "ntlm",
            Self::OnlyIfCached => "only-if-cached",
            Self::Offline { .. } => OriginErrorKind::Offline.name(),
            Self::NotValidated(_) => "not-validated",
            Self::NotModifiedUnasked => "not-modified-unasked",
            Self::Interrupted => "interrupted",
            Self::TooManyTunnels { .. } => "tunnels",
        }
    }

    /// The status of the response to the client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Origin(error) => match error.kind() {
                OriginErrorKind::Unreachable
                | OriginErrorKind::Cut
                | OriginErrorKind::Malformed => StatusCode::BAD_GATEWAY,
                OriginErrorKind::Timeout | OriginErrorKind::Offline => StatusCode::GATEWAY_TIMEOUT,
                OriginErrorKind::Busy | OriginErrorKind::Limited | OriginErrorKind::Paused => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                OriginErrorKind::Upload if error.is_client_silent() => StatusCode::REQUEST_TIMEOUT,
                OriginErrorKind::Upload => StatusCode::BAD_REQUEST,
            },
            Self::TooManyTunnels { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Loop => StatusCode::LOOP_DETECTED,
            Self::Target | Self::DotSegments => StatusCode::BAD_REQUEST,
            Self::Ntlm => StatusCode::NOT_IMPLEMENTED,
            Self::OnlyIfCached | Self::NotValidated(_) | Self::Offline { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::NotModifiedUnasked => StatusCode::BAD_GATEWAY,
            Self::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The Retry-After header of a 503, in seconds (RFC 9110, 10.2.3). `None` if nothing is known about it.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::Origin(error) => error.retry_after_seconds(),
            _ => None,
        }
    }

    /// One plain sentence for the client, without addresses or internals.
    pub fn sentence(&self) -> String {
        match self {
            Self::Origin(error) => match error.kind() {
                OriginErrorKind::Unreachable => {
                    format!("The origin could not be reached: {}.", error.plain_reason())
                }
                OriginErrorKind::Timeout => {
                    format!("The origin did not respond in time ({error}).")
                }
                OriginErrorKind::Cut => {
                    "The origin closed the connection before its response was complete.".into()
                }
                OriginErrorKind::Malformed
                | OriginErrorKind::Limited
                | OriginErrorKind::Paused
                | OriginErrorKind::Offline => in_a_sentence(&error.to_string()),
                OriginErrorKind::Busy => {
                    "Too many requests are in progress; try again later.".into()
                }
                OriginErrorKind::Upload if error.is_upload_malformed() => {
                    "The chunked coding of the request body is invalid.".into()
                }
                OriginErrorKind::Upload => "The request body did not arrive completely.".into(),
            },
            Self::Offline { sentences } => sentences.join("\n"),
            other => in_a_sentence(&other.to_string()),
        }
    }
}

/// The text of an error, with a capital letter and a full stop.
fn in_a_sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_of_a_listed_kind() {
        let busy = || OriginError::Busy { max_connections: 1 };
        for error in [
            ProxyError::Origin(busy()),
            ProxyError::NotValidated(busy()),
            ProxyError::Connect,
            ProxyError::Loop,
            ProxyError::Target,
            ProxyError::DotSegments,
            ProxyError::Ntlm,
            ProxyError::OnlyIfCached,
            ProxyError::Offline {
                sentences: Vec::new(),
            },
            ProxyError::NotModifiedUnasked,
            ProxyError::Interrupted,
            ProxyError::TooManyTunnels { max_tunnels: 1 },
        ] {
            let name = error.name();
            assert!(
                ProxyError::KINDS.iter().any(|kind| kind.0 == name),
                "{name}"
            );
        }
        for status in [400, 408, 431, 505] {
            let name = refused_head_kind(StatusCode::from_u16(status).unwrap());
            let kind = ProxyError::KINDS.iter().find(|kind| kind.0 == name);
            let says_status = kind.is_some_and(|kind| kind.1.contains(&status.to_string()));
            assert!(says_status, "{name}");
        }
        for kind in OriginErrorKind::ALL {
            let listed = ProxyError::KINDS.contains(&(kind.name(), kind.meaning()));
            assert!(listed, "{kind:?}");
        }
    }
}
