//! The three policies. Every place where they differ is a method here; the rest of the room never
//! compares modes.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::{
    Audience, Patterns,
    directives::{cache_control::RequestDirectives, origin_directives::OriginDirectives},
    freshness::lifetime::Lifetime,
    syntax::time::millis,
};

/// What decides about storing and reuse.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far the origin's word counts.
    pub mode: Mode,
    /// Bounds the lifetime of what the origin says nothing about (all in `Always`); none: until cleared.
    pub ttl: Option<Duration>,
    /// Whether the client's Cache-Control and Pragma count, where the mode lets them.
    pub client_directives: ClientDirectives,
    /// How long past its lifetime a response may answer while the origin cannot be reached.
    pub max_stale: Duration,
    /// Names (patterns) of the fields that carry credentials beside Authorization and Cookie.
    pub identity_headers: Patterns,
    /// Names (patterns) of the only cookies that may tell who somebody is.
    pub identity_cookies: Patterns,
    /// Names (patterns) of the cookies that say nothing about who somebody is, whatever else they match.
    pub ignored_cookies: Patterns,
}

/// Whether a client's Cache-Control and Pragma count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// As far as the mode obeys them.
    #[default]
    Obeyed,
    /// Not at all: a client can neither ask for a new answer nor keep one from being stored.
    Ignored,
}

/// How far the origin's word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Obey the origin where it speaks; keep what it says nothing about.
    #[default]
    Standard,
    /// RFC 9111 to the letter, as a shared cache.
    Strict,
    /// Ignore the origin's word: never forward the same GET twice.
    Always,
}

/// How requests with credentials are kept apart.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Credentials {
    /// Each identity has a partition of the cache; cookies that say nothing do not count.
    Partitions,
    /// RFC 9111, 3.5.
    SharedCache,
}

/// What becomes of the Set-Cookie lines of an answer that is to be stored.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SetCookie {
    /// Stored and replayed.
    Keep,
    /// The answer is stored without them.
    Drop,
    /// The answer is not stored.
    Refuse,
}

/// What becomes of an answer whose origin says neither how long nor whether to keep it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Silence {
    /// RFC 9111, 4.2.2.
    Heuristic,
    /// Kept so long.
    Keep(Lifetime),
    /// Not stored, for its status.
    Refuse,
}

/// How Accept-Language selects a variant.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Languages {
    /// As the field is written.
    Written,
    /// Also in another order, and by the stored Content-Language.
    Negotiated,
}

/// What becomes of an answer under a transfer coding we cannot decode.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum UnknownCoding {
    Keep,
    Refuse,
}

/// What a Content-Encoding says about other clients when Vary is silent.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Codings {
    /// Nothing: who forgets Vary says that everybody takes it.
    Vary,
    /// That it was chosen by Accept-Encoding; many origins forget to say so.
    Select,
}

impl Mode {
    /// The name in configuration and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Strict => "strict",
            Self::Always => "always",
        }
    }

    /// What counts of the origin's word about lifetime and storage.
    pub(super) fn heard<'h>(self, word: OriginDirectives<'h>) -> OriginDirectives<'h> {
        match self {
            Self::Standard | Self::Strict => word,
            Self::Always => OriginDirectives::silent(),
        }
    }

    /// What counts of the client's cache directives.
    fn obeyed(self, directives: RequestDirectives) -> RequestDirectives {
        match self {
            Self::Strict => directives,
            // A browser's plain reload sends `max-age=0`; it must not mean MISS.
            Self::Standard => RequestDirectives {
                max_age: None,
                min_fresh: None,
                max_stale: None,
                ..directives
            },
            Self::Always => RequestDirectives::default(),
        }
    }

    pub(super) const fn credentials(self) -> Credentials {
        match self {
            Self::Strict => Credentials::SharedCache,
            Self::Standard | Self::Always => Credentials::Partitions,
        }
    }

    /// For Set-Cookie lines of cookies that are not ignored.
    pub(super) const fn set_cookie(self, audience: Audience) -> SetCookie {
        match (self, audience) {
            (Self::Strict, _) => SetCookie::Keep,
            (Self::Always, _) | (Self::Standard, Audience::Everyone) => SetCookie::Drop,
            (Self::Standard, Audience::Partition) => SetCookie::Refuse,
        }
    }

    /// `Vary: *` says that more than the request counts; only `Always` does not care.
    pub(super) const fn obeys_vary_star(self) -> bool {
        !matches!(self, Self::Always)
    }

    pub(super) const fn codings(self) -> Codings {
        match self {
            Self::Strict => Codings::Vary,
            Self::Standard | Self::Always => Codings::Select,
        }
    }

    pub(super) const fn languages(self) -> Languages {
        match self {
            Self::Strict => Languages::Negotiated,
            Self::Standard | Self::Always => Languages::Written,
        }
    }

    pub(super) const fn unknown_coding(self) -> UnknownCoding {
        match self {
            Self::Strict => UnknownCoding::Keep,
            Self::Standard | Self::Always => UnknownCoding::Refuse,
        }
    }
}

impl Policy {
    /// What counts of the client's cache directives.
    pub(super) fn obeyed(&self, directives: RequestDirectives) -> RequestDirectives {
        match self.client_directives {
            ClientDirectives::Obeyed => self.mode.obeyed(directives),
            ClientDirectives::Ignored => RequestDirectives::default(),
        }
    }

    /// What becomes of an answer about which the origin says nothing that counts.
    pub(super) fn silence(&self, status: StatusCode) -> Silence {
        match (self.mode, status.as_u16()) {
            (Mode::Strict, _) => Silence::Heuristic,
            (Mode::Standard, 200 | 203 | 204 | 300 | 301 | 308) => {
                Silence::Keep(self.until_cleared())
            }
            (Mode::Standard, 404 | 410) => Silence::Keep(self.until_cleared().at_most_seconds(60)),
            (Mode::Always, _) if always_keeps(status) => Silence::Keep(self.until_cleared()),
            (Mode::Standard | Mode::Always, _) => Silence::Refuse,
        }
    }

    fn until_cleared(&self) -> Lifetime {
        match self.ttl {
            Some(ttl) => Lifetime::Held {
                millis: millis(ttl),
            },
            None => Lifetime::UntilCleared,
        }
    }
}

/// 2xx but 206, 3xx but 304, 404 and 410: what does not ask to come back.
pub(super) fn always_keeps(status: StatusCode) -> bool {
    match status.as_u16() {
        206 | 304 => false,
        200..=399 | 404 | 410 => true,
        _ => false,
    }
}
