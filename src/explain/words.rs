//! The texts for reasons and lifetimes.

use crate::policy::{ForwardReason, LifetimeSource, Reason};

/// The meaning of a reason, as the end of a sentence. It may be longer than [`Reason::meaning`], which fits in a row of a
/// table.
pub(super) fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientMinFresh => "it does not stay fresh for as long as the client's min-fresh",
        Reason::StatusWithoutLifetime => {
            "a response with this status is cached only if the origin says for how long"
        }
        Reason::MustUnderstand => {
            "the origin says must-understand, and the cache does not know this status"
        }
        Reason::Authorization => {
            "the request has an Authorization header, and the response does not allow sharing"
        }
        Reason::SMaxage => "the origin says s-maxage, which forbids stale responses",
        Reason::RelatedChange => {
            "the origin gave it no lifetime, and a request has changed a related path since"
        }
        Reason::Cleared => "the cache was cleared, or the path purged, during the fetch",
        reason => reason.meaning(),
    }
}

/// Why a request would be forwarded.
pub(super) fn forward_words(forward: ForwardReason) -> &'static str {
    match forward {
        ForwardReason::Bypass => "the cache does not handle this kind of request",
        ForwardReason::Method => "this method always goes to the origin",
        ForwardReason::UriMiss => "nothing is cached for the target",
        ForwardReason::VaryMiss => "a response is cached, but for other request headers",
        ForwardReason::Miss => "no cached response can be used",
        ForwardReason::Request => {
            "a fresh response is cached, but the request does not allow its use"
        }
        ForwardReason::Stale => "a response is cached, but it must be validated before use",
        ForwardReason::Partial => "only a part is cached",
    }
}

/// The short name of the source of a lifetime.
pub(super) fn lifetime_name(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::SMaxage => "s-maxage",
        LifetimeSource::MaxAge => "max-age",
        LifetimeSource::Expires => "expires",
        LifetimeSource::Heuristic => "heuristic",
        LifetimeSource::Ttl => "ttl",
        LifetimeSource::Minute => "minute",
        LifetimeSource::UntilCleared => "until-cleared",
        LifetimeSource::Set => "set",
    }
}

/// The source of a lifetime, in words.
pub(super) fn lifetime_words(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::SMaxage => "the origin's s-maxage (RFC 9111, 5.2.2.10)",
        LifetimeSource::MaxAge => "the origin's max-age (RFC 9111, 5.2.2.1)",
        LifetimeSource::Expires => "the origin's Expires minus its Date (RFC 9111, 5.3)",
        LifetimeSource::Heuristic => {
            "heuristic: 10 % of the time since Last-Modified (RFC 9111, 4.2.2)"
        }
        LifetimeSource::Ttl => "the ttl setting: no lifetime from the origin applies",
        LifetimeSource::Minute => "one minute for this status: the origin gives no lifetime",
        LifetimeSource::UntilCleared => "no lifetime from the origin applies",
        LifetimeSource::Set => {
            "marked as stale by a purge or a change of a related path, or stored under another policy"
        }
    }
}

/// A duration in one unit.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
