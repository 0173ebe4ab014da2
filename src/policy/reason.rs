//! Why a response is not stored or not reused: the same names in code, log, metrics and Cache-Status.

use std::fmt;

/// Why a response was not stored or not reused.
///
/// `Display` writes the short name, as in the log and in the `detail` of Cache-Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The method is not GET.
    Method,
    /// The GET carries a body.
    RequestBody,
    /// A GraphQL mutation or subscription, or a body that may be one.
    GraphqlMutation,
    /// A persisted GraphQL query, of which only the origin knows whether it changes something.
    PersistedQuery,
    /// The body of a POST, or the GraphQL document in it, cannot be read to its end.
    UnreadableBody,
    /// The body of a POST has a content coding.
    EncodedBody,
    /// The body of a POST is larger than `store_post` allows.
    LargeBody,
    /// Too many bodies of POSTs are being read for the key.
    NoBuffer,
    /// A header of the request names another method.
    MethodOverride,
    /// The rule for the path says `store = false`.
    Rule,
    /// The request is a WebSocket handshake that the origin has not accepted.
    NotUpgraded,
    /// The response is about the requested range, not about the target.
    Range,
    /// The response is about the condition of the request, not about the target.
    Condition,
    /// The client said `no-store`.
    ClientNoStore,
    /// The client said `no-cache`.
    ClientNoCache,
    /// It is older than the client's `max-age`.
    ClientMaxAge,
    /// It does not stay fresh for as long as the client's `min-fresh`.
    ClientMinFresh,
    /// The status reports a failure that may be over soon. No mode stores it without an explicit lifetime.
    Status,
    /// Responses of this status are only stored with an explicit lifetime.
    StatusWithoutLifetime,
    /// The response is a part (206) that is not stored.
    Partial,
    /// The response to a request for a range carries Content-Range and is no 206: it may be a part.
    ContentRange,
    /// The origin said `no-store`.
    NoStore,
    /// The origin said `no-cache`.
    NoCache,
    /// The origin said `private`.
    Private,
    /// The origin said `must-understand`, and the status is unknown to this cache.
    MustUnderstand,
    /// The request carried Authorization and the response does not allow sharing (RFC 9111, 3.5).
    Authorization,
    /// The response sets a cookie.
    SetCookie,
    /// `Vary: *`, or a Vary that cannot be parsed.
    VaryStar,
    /// It has neither a lifetime nor a validator, so it could not be used.
    NoLifetime,
    /// Nothing is stored for everybody, and nothing in the partition of the request's identity.
    OwnPartition,
    /// It has GraphQL errors, or may have: its body cannot be read.
    GraphqlErrors,
    /// The request was forwarded with ignored cookies, since the last response for the path was not storable.
    IgnoredCookies,
    /// The origin said `must-revalidate`.
    MustRevalidate,
    /// The origin said `proxy-revalidate`.
    ProxyRevalidate,
    /// The origin said `s-maxage`, which forbids stale responses (RFC 9111, 5.2.2.10).
    SMaxage,
    /// Its lifetime was a guess, and a related path was changed since.
    RelatedChange,
    /// It has been stale for too long.
    TooStale,
    /// The origin responded, and not with a failure that a stale response may replace.
    OriginAnswered,
    /// The body is larger than the limit for stored bodies.
    TooLarge,
    /// During the fetch the cache was cleared or purged, or what is stored for the target changed.
    Cleared,
    /// A newer response was stored while this one arrived.
    Outdated,
    /// The memory is in use by bodies that arrive or are being read, or the space on disk by bodies that arrive.
    NoRoom,
    /// It is a stream of events, or of the pictures of a camera, which has no end.
    EventStream,
    /// The cache actor did not respond.
    CacheUnavailable,
    /// No origin is contacted: what is stored is served whatever its age, and nothing else.
    Offline,
    /// It was recorded for the time without an origin, and the policy does not store it.
    Recorded,
    /// It was imported from a file.
    Imported,
    /// It came from the tier that several instances share.
    SharedHit,
}

impl Reason {
    /// All reasons, in the order of declaration.
    pub const ALL: [Self; 48] = [
        Self::Method,
        Self::RequestBody,
        Self::GraphqlMutation,
        Self::PersistedQuery,
        Self::UnreadableBody,
        Self::EncodedBody,
        Self::LargeBody,
        Self::NoBuffer,
        Self::MethodOverride,
        Self::Rule,
        Self::NotUpgraded,
        Self::Range,
        Self::Condition,
        Self::ClientNoStore,
        Self::ClientNoCache,
        Self::ClientMaxAge,
        Self::ClientMinFresh,
        Self::Status,
        Self::StatusWithoutLifetime,
        Self::Partial,
        Self::ContentRange,
        Self::NoStore,
        Self::NoCache,
        Self::Private,
        Self::MustUnderstand,
        Self::Authorization,
        Self::SetCookie,
        Self::VaryStar,
        Self::NoLifetime,
        Self::OwnPartition,
        Self::GraphqlErrors,
        Self::IgnoredCookies,
        Self::MustRevalidate,
        Self::ProxyRevalidate,
        Self::SMaxage,
        Self::RelatedChange,
        Self::TooStale,
        Self::OriginAnswered,
        Self::TooLarge,
        Self::Cleared,
        Self::Outdated,
        Self::NoRoom,
        Self::EventStream,
        Self::CacheUnavailable,
        Self::Offline,
        Self::Recorded,
        Self::Imported,
        Self::SharedHit,
    ];

    /// The short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::RequestBody => "request-body",
            Self::GraphqlMutation => "graphql-mutation",
            Self::PersistedQuery => "persisted-query",
            Self::UnreadableBody => "unreadable-body",
            Self::EncodedBody => "encoded-body",
            Self::LargeBody => "large-body",
            Self::NoBuffer => "no-buffer",
            Self::MethodOverride => "method-override",
            Self::Rule => "rule",
            Self::NotUpgraded => "not-upgraded",
            Self::Range => "range",
            Self::Condition => "condition",
            Self::ClientNoStore => "client-no-store",
            Self::ClientNoCache => "client-no-cache",
            Self::ClientMaxAge => "client-max-age",
            Self::ClientMinFresh => "client-min-fresh",
            Self::Status => "status",
            Self::StatusWithoutLifetime => "status-without-lifetime",
            Self::Partial => "partial",
            Self::ContentRange => "content-range",
            Self::NoStore => "no-store",
            Self::NoCache => "no-cache",
            Self::Private => "private",
            Self::MustUnderstand => "must-understand",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::NoLifetime => "no-lifetime",
            Self::OwnPartition => "own-partition",
            Self::GraphqlErrors => "graphql-errors",
            Self::IgnoredCookies => "ignored-cookies",
            Self::MustRevalidate => "must-revalidate",
            Self::ProxyRevalidate => "proxy-revalidate",
            Self::SMaxage => "s-maxage",
            Self::RelatedChange => "related-change",
            Self::TooStale => "too-stale",
            Self::OriginAnswered => "origin-answered",
            Self::TooLarge => "too-large",
            Self::Cleared => "cleared",
            Self::Outdated => "outdated",
            Self::NoRoom => "no-room",
            Self::EventStream => "event-stream",
            Self::CacheUnavailable => "cache-unavailable",
            Self::Offline => "offline",
            Self::Recorded => "recorded",
            Self::Imported => "imported",
            Self::SharedHit => "shared-hit",
        }
    }

    /// The meaning, as the end of a sentence and short enough for a row of a table.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Method => "the method is not GET",
            Self::RequestBody => "the request carries a body",
            Self::GraphqlMutation => "a GraphQL mutation or subscription",
            Self::PersistedQuery => "a persisted query may change something",
            Self::UnreadableBody => "its body cannot be read to its end",
            Self::EncodedBody => "its body has a content coding",
            Self::LargeBody => "its body is larger than store_post",
            Self::NoBuffer => "too many bodies were being read",
            Self::MethodOverride => "a header names another method",
            Self::Rule => "a rule says store = false",
            Self::NotUpgraded => "the origin did not accept the WebSocket",
            Self::Range => "the request is for a range",
            Self::Condition => "the request carries a condition",
            Self::ClientNoStore => "the client says no-store",
            Self::ClientNoCache => "the client says no-cache",
            Self::ClientMaxAge => "it is older than the client's max-age",
            Self::ClientMinFresh => "less fresh than the client's min-fresh",
            Self::Status => "responses of this status are not stored",
            Self::StatusWithoutLifetime => "stored only with an explicit lifetime",
            Self::Partial => "it is a part that cannot be stored",
            Self::ContentRange => "it may be a part: it has Content-Range",
            Self::NoStore => "the origin says no-store",
            Self::NoCache => "the origin says no-cache",
            Self::Private => "the origin says private",
            Self::MustUnderstand => "must-understand about an unknown status",
            Self::Authorization => "for one user, and not marked as shared",
            Self::SetCookie => "the response sets a cookie",
            Self::VaryStar => "the origin says Vary: *",
            Self::NoLifetime => "it has neither a lifetime nor a validator",
            Self::OwnPartition => "nothing was stored for this user",
            Self::GraphqlErrors => "it has GraphQL errors, or is encoded",
            Self::IgnoredCookies => "it was fetched with ignored cookies",
            Self::MustRevalidate => "the origin says must-revalidate",
            Self::ProxyRevalidate => "the origin says proxy-revalidate",
            Self::SMaxage => "s-maxage forbids stale responses",
            Self::RelatedChange => "a related path was changed since",
            Self::TooStale => "it has been stale for too long",
            Self::OriginAnswered => "the origin responded",
            Self::TooLarge => "its body is too large to store",
            Self::Cleared => "cleared, purged or changed meanwhile",
            Self::Outdated => "a newer response was stored",
            Self::NoRoom => "no room was left for it",
            Self::EventStream => "it is a live stream, which has no end",
            Self::CacheUnavailable => "the cache did not respond",
            Self::Offline => "the proxy is offline",
            Self::Recorded => "it was recorded, for offline alone",
            Self::Imported => "it was imported from a file",
            Self::SharedHit => "it came from the shared tier",
        }
    }

    /// The section of the RFC. `None` for our own limits.
    pub const fn clause(self) -> Option<&'static str> {
        Some(match self {
            Self::Method => "RFC 9110, 9.2.3",
            Self::RequestBody => "RFC 9110, 9.3.1",
            Self::Range => "RFC 9110, 14.2",
            Self::Condition => "RFC 9110, 13.1",
            Self::ClientNoStore => "RFC 9111, 5.2.1.5",
            Self::ClientNoCache => "RFC 9111, 5.2.1.4",
            Self::ClientMaxAge => "RFC 9111, 5.2.1.1",
            Self::ClientMinFresh => "RFC 9111, 5.2.1.3",
            Self::Status => "RFC 9111, 3",
            Self::StatusWithoutLifetime => "RFC 9111, 4.2.2",
            Self::Partial => "RFC 9111, 3.3",
            Self::ContentRange => "RFC 9110, 14.4",
            Self::NoStore => "RFC 9111, 5.2.2.5",
            Self::NoCache => "RFC 9111, 5.2.2.4",
            Self::Private => "RFC 9111, 5.2.2.7",
            Self::MustUnderstand => "RFC 9111, 5.2.2.3",
            Self::Authorization => "RFC 9111, 3.5",
            Self::SetCookie => "RFC 9111, 7.3",
            Self::VaryStar => "RFC 9111, 4.1",
            Self::NoLifetime => "RFC 9111, 4.2.1",
            Self::MustRevalidate => "RFC 9111, 5.2.2.2",
            Self::ProxyRevalidate => "RFC 9111, 5.2.2.8",
            Self::SMaxage => "RFC 9111, 5.2.2.10",
            Self::TooStale => "RFC 9111, 4.2.4",
            Self::OriginAnswered => "RFC 5861, 4",
            Self::Cleared => "RFC 9111, 4.4",
            Self::Outdated => "RFC 9111, 4",
            Self::NotUpgraded => "RFC 9110, 7.8",
            Self::GraphqlMutation
            | Self::PersistedQuery
            | Self::UnreadableBody
            | Self::EncodedBody
            | Self::LargeBody
            | Self::NoBuffer
            | Self::MethodOverride
            | Self::Rule
            | Self::OwnPartition
            | Self::GraphqlErrors
            | Self::IgnoredCookies
            | Self::TooLarge
            | Self::NoRoom
            | Self::EventStream
            | Self::RelatedChange
            | Self::CacheUnavailable
            | Self::Offline
            | Self::Recorded
            | Self::Imported
            | Self::SharedHit => {
                return None;
            }
        })
    }

    /// False if it is only ever why a stored response is not reused.
    pub const fn concerns_storing(self) -> bool {
        !matches!(
            self,
            Self::ClientNoCache
                | Self::ClientMaxAge
                | Self::ClientMinFresh
                | Self::OwnPartition
                | Self::MustRevalidate
                | Self::ProxyRevalidate
                | Self::SMaxage
                | Self::RelatedChange
                | Self::TooStale
                | Self::OriginAnswered
                | Self::Offline
                | Self::Recorded
                | Self::Imported
                | Self::SharedHit
        )
    }

    /// True if it can be the detail of a request that is forwarded although a response is stored.
    pub const fn concerns_reuse(self) -> bool {
        matches!(
            self,
            Self::Condition
                | Self::ClientNoCache
                | Self::ClientMaxAge
                | Self::ClientMinFresh
                | Self::NoCache
                | Self::OwnPartition
                | Self::RelatedChange
        )
    }

    /// True if the response itself is the reason, and not the request or a limit of the cache.
    pub const fn is_about_response(self) -> bool {
        matches!(self, Self::Status | Self::StatusWithoutLifetime) || self.is_lasting()
    }

    /// True if the next response for the same target will most likely not be shared either.
    pub const fn is_lasting(self) -> bool {
        matches!(
            self,
            Self::NoStore
                | Self::Private
                | Self::MustUnderstand
                | Self::Authorization
                | Self::SetCookie
                | Self::VaryStar
                | Self::NoLifetime
                | Self::EventStream
                | Self::TooLarge
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_listed_in_their_order() {
        let places: Vec<usize> = Reason::ALL.iter().map(|reason| *reason as usize).collect();
        assert_eq!(places, Vec::from_iter(0..Reason::ALL.len()));
        let source = include_str!("reason.rs")
            .split("pub const fn as_str")
            .nth(1);
        let named = source.and_then(|names| names.split("    }\n\n").next());
        let named = named.map(|names| names.matches("Self::").count());
        assert_eq!(named, Some(Reason::ALL.len()));
    }
}
