//! Names made into words.

use crate::policy::{LifetimeSource, Reason};

/// What a reason says, as the end of a sentence: in full where a row of a table has no room for it.
pub(super) fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::ClientMinFresh => "it does not stay fresh for the client's min-fresh",
        Reason::StatusWithoutLifetime => {
            "answers of this status are kept only when the origin says how long"
        }
        Reason::MustUnderstand => "the origin says must-understand about a status that we do not",
        Reason::Authorization => {
            "the request carries Authorization, and the answer does not allow sharing"
        }
        Reason::SMaxage => "the origin says s-maxage, which forbids stale answers",
        Reason::Cleared => "the cache was cleared or the path purged while it was fetched",
        reason => reason.meaning(),
    }
}

/// The short name of what a lifetime goes back to.
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

/// The same in words.
pub(super) fn lifetime_words(source: LifetimeSource) -> &'static str {
    match source {
        LifetimeSource::SMaxage => "the origin's s-maxage (RFC 9111, 5.2.2.10)",
        LifetimeSource::MaxAge => "the origin's max-age (RFC 9111, 5.2.2.1)",
        LifetimeSource::Expires => "the origin's Expires, less Date (RFC 9111, 5.3)",
        LifetimeSource::Heuristic => {
            "heuristic: a tenth of the time since Last-Modified (RFC 9111, 4.2.2)"
        }
        LifetimeSource::Ttl => "ttl: the origin says nothing that counts",
        LifetimeSource::Minute => "a minute for this status: the origin says nothing",
        LifetimeSource::UntilCleared => "the origin says nothing that counts",
        LifetimeSource::Set => "made stale by a purge, or stored under another policy",
    }
}

/// A time in seconds, short.
pub(super) fn seconds(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
