//! Why a request goes to the origin.

use super::Reason;

/// Why a request is forwarded: the `fwd` of Cache-Status (RFC 9211, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// The cache does not handle the request.
    Bypass,
    /// The method requires it.
    Method,
    /// Nothing is stored for the target.
    UriMiss,
    /// Responses are stored, but for other values of the fields that Vary names.
    VaryMiss,
    /// No stored response can be used.
    Miss,
    /// A fresh response is stored. The request does not allow its use.
    Request,
    /// A response is stored. It is stale.
    Stale,
    /// Only a part is stored.
    Partial,
}

impl ForwardReason {
    /// All of them, in the order of declaration.
    pub const ALL: [Self; 8] = [
        Self::Bypass,
        Self::Method,
        Self::UriMiss,
        Self::VaryMiss,
        Self::Miss,
        Self::Request,
        Self::Stale,
        Self::Partial,
    ];

    /// The name in Cache-Status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }

    /// The meaning, short enough for a row of a table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Bypass => "the cache does not handle it",
            Self::Method => "this method always goes to the origin",
            Self::UriMiss => "nothing was stored for it",
            Self::VaryMiss => "stored for other request headers only",
            Self::Miss => "no stored response could be used",
            Self::Request => "the client required the origin",
            Self::Stale => "it was stale; the origin sent a new one",
            Self::Partial => "only a part was stored",
        }
    }

    /// The section of the RFC.
    pub const fn clause(self) -> &'static str {
        match self {
            Self::Bypass | Self::Method | Self::UriMiss | Self::Miss => "RFC 9111, 4",
            Self::VaryMiss => "RFC 9111, 4.1",
            Self::Request => "RFC 9111, 5.2.1",
            Self::Stale => "RFC 9111, 4.2",
            Self::Partial => "RFC 9111, 3.3",
        }
    }
}

/// Why a request is forwarded: the reason, and, where that says more, what prevented the use of a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The kind of reason: the value of `fwd`.
    pub reason: ForwardReason,
    /// The directive or condition behind it.
    pub detail: Option<Reason>,
}

impl Forward {
    /// A forward with the directive or condition behind it.
    pub const fn with_detail(reason: ForwardReason, detail: Reason) -> Self {
        Self {
            reason,
            detail: Some(detail),
        }
    }
}

impl From<ForwardReason> for Forward {
    fn from(reason: ForwardReason) -> Self {
        Self {
            reason,
            detail: None,
        }
    }
}
