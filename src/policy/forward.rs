//! Why a request goes forward.

use super::Reason;

/// Why a request is forwarded: the `fwd` of Cache-Status (RFC 9211, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ForwardReason {
    /// Not to be handled by the cache.
    Bypass,
    /// The method requires it.
    Method,
    /// Nothing is stored for the target.
    UriMiss,
    /// Something is, for other selecting fields.
    VaryMiss,
    /// Nothing is that could be used.
    Miss,
    /// Something fresh is; the request does not allow its use.
    Request,
    /// Something is; it is stale.
    Stale,
    /// A part is.
    Partial,
}

impl ForwardReason {
    /// All of them, in their order.
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

    /// What it says, short enough for a row of a table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Bypass => "not for the cache to answer",
            Self::Method => "this method always goes to the origin",
            Self::UriMiss => "nothing was stored for it",
            Self::VaryMiss => "stored for other request headers only",
            Self::Miss => "nothing that is stored could be used",
            Self::Request => "the client wanted it from the origin",
            Self::Stale => "its time was over; the origin had another",
            Self::Partial => "only a part was stored",
        }
    }

    /// Where HTTP says so.
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

/// Why a request is forwarded, and what kept the stored response from being used, where that says more.
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
