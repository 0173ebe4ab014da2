//! The settings of the policy, and its three modes. Every difference between the modes is a method here. No other
//! file compares modes, except `remedy`, which names the mode that would remedy a miss.

use std::time::Duration;

use actix_web::http::StatusCode;

use super::{
    Audience, Patterns,
    directives::{cache_control::RequestDirectives, origin_directives::OriginDirectives},
    freshness::lifetime::Lifetime,
    syntax::time::millis,
};

/// The settings that decide what is stored and reused.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How closely to follow the origin's caching fields.
    pub mode: Mode,
    /// Limits the lifetime of responses without caching fields (of all responses in `Always`). `None`: until cleared.
    pub ttl: Option<Duration>,
    /// Whether the client's Cache-Control and Pragma are obeyed, where the mode allows it.
    pub client_directives: ClientDirectives,
    /// How long after its lifetime a response may be served while the origin cannot be reached.
    pub max_stale: Duration,
    /// Patterns of the fields that carry credentials, in addition to Authorization and Cookie.
    pub identity_headers: Patterns,
    /// Patterns of the cookies that may identify a user. Other cookies are ignored.
    pub identity_cookies: Patterns,
    /// Patterns of the cookies that are ignored, also if they match `identity_cookies`.
    pub ignored_cookies: Patterns,
}

/// Whether a client's Cache-Control and Pragma are obeyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientDirectives {
    /// Obeyed as far as the mode obeys them.
    #[default]
    Obeyed,
    /// Ignored: a client can neither force a validation nor prevent storing.
    Ignored,
}

/// How closely to follow the origin's caching fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Obey the origin's caching fields. Store responses without them.
    #[default]
    Standard,
    /// RFC 9111 to the letter, as a shared cache.
    Strict,
    /// Ignore the origin's caching fields: never forward the same GET twice.
    Always,
}

/// How responses to requests with credentials are separated.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Credentials {
    /// Each identity has a partition of the cache. Ignored cookies make no identity.
    Partitions,
    /// One cache for all, under RFC 9111, 3.5.
    SharedCache,
}

/// Which stored responses a client's max-age is about.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum ClientMaxAge {
    AllResponses,
    /// Those with a guessed lifetime. What the origin says counts more.
    Guesses,
    None,
}

/// How Set-Cookie lines of a response affect storing.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum SetCookie {
    /// They are stored and served.
    Store,
    /// The response is stored without them.
    Drop,
    /// The response is not stored.
    Refuse,
}

/// How a response without any caching field is stored.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum WithoutDirectives {
    /// With a heuristic lifetime (RFC 9111, 4.2.2).
    Heuristic,
    /// With this lifetime.
    Store(Lifetime),
    /// Not at all, because of its status.
    Refuse,
}

/// How Accept-Language selects a variant.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Languages {
    /// By the text of the field.
    AsWritten,
    /// Also if the members are in another order, and by the stored Content-Language.
    Negotiated,
}

/// Whether a Content-Encoding selects a variant when Vary does not name Accept-Encoding.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Codings {
    /// No: without Vary the response is for every client.
    Vary,
    /// Yes, by Accept-Encoding: many origins forget Vary.
    Select,
}

impl Mode {
    /// The name in the configuration and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Strict => "strict",
            Self::Always => "always",
        }
    }

    /// The directives of the origin that are obeyed.
    pub(super) fn obey_origin<'h>(self, origin: OriginDirectives<'h>) -> OriginDirectives<'h> {
        match self {
            Self::Standard | Self::Strict => origin,
            Self::Always => OriginDirectives::none(),
        }
    }

    /// The directives of the client that are obeyed.
    fn obey_client(self, directives: RequestDirectives) -> RequestDirectives {
        match self {
            Self::Strict => directives,
            // Zero is what a reload in a browser sends, and what package managers send. It validates guesses.
            Self::Standard => RequestDirectives {
                max_age: directives.max_age.filter(|seconds| *seconds == 0),
                min_fresh: None,
                max_stale: None,
                ..directives
            },
            Self::Always => RequestDirectives::default(),
        }
    }

    /// True if a request for all bytes from the first one on, or for the headers alone, is fetched as a request for the
    /// whole, so that the next one is a hit.
    pub(super) const fn fetches_whole(self) -> bool {
        !matches!(self, Self::Strict)
    }

    /// True if a lifetime that is a guess is given up more easily than one that the origin has said.
    pub(super) const fn holds_guesses_loosely(self) -> bool {
        matches!(self, Self::Standard)
    }

    /// Which stored responses a client's max-age is about.
    pub(super) const fn client_max_age(self) -> ClientMaxAge {
        match self {
            Self::Strict => ClientMaxAge::AllResponses,
            Self::Standard => ClientMaxAge::Guesses,
            Self::Always => ClientMaxAge::None,
        }
    }

    pub(super) const fn credentials(self) -> Credentials {
        match self {
            Self::Strict => Credentials::SharedCache,
            Self::Standard | Self::Always => Credentials::Partitions,
        }
    }

    /// How Set-Cookie lines of cookies that are not ignored affect storing.
    pub(super) const fn set_cookie(self, audience: Audience) -> SetCookie {
        match (self, audience) {
            _ if self.stores_set_cookie() => SetCookie::Store,
            (Self::Standard, Audience::Partition) => SetCookie::Refuse,
            _ => SetCookie::Drop,
        }
    }

    /// True if Set-Cookie is stored like any other field.
    pub(super) const fn stores_set_cookie(self) -> bool {
        matches!(self, Self::Strict)
    }

    /// True if `Vary: *` prevents storing. Only `Always` ignores it.
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
            Self::Standard | Self::Always => Languages::AsWritten,
        }
    }
}

impl Policy {
    /// The directives of the client that are obeyed.
    pub(super) fn obey_client(&self, directives: RequestDirectives) -> RequestDirectives {
        match self.client_directives {
            ClientDirectives::Obeyed => self.mode.obey_client(directives),
            ClientDirectives::Ignored => RequestDirectives::default(),
        }
    }

    /// How a response without any caching field is stored.
    pub(super) fn without_directives(&self, status: StatusCode) -> WithoutDirectives {
        match (self.mode, status.as_u16()) {
            (Mode::Strict, _) => WithoutDirectives::Heuristic,
            (Mode::Standard, 200 | 203 | 204 | 300 | 301 | 308) => {
                WithoutDirectives::Store(self.until_cleared())
            }
            (Mode::Standard, 404 | 410) => {
                WithoutDirectives::Store(self.until_cleared().at_most_seconds(60))
            }
            (Mode::Always, _) if always_stores(status) => {
                WithoutDirectives::Store(self.until_cleared())
            }
            (Mode::Standard | Mode::Always, _) => WithoutDirectives::Refuse,
        }
    }

    fn until_cleared(&self) -> Lifetime {
        match self.ttl {
            Some(ttl) => Lifetime::SinceReceipt {
                millis: millis(ttl),
            },
            None => Lifetime::UntilCleared,
        }
    }
}

/// True for the statuses that `Always` stores: 2xx except 206, 3xx except 304, 404 and 410. Other statuses report a
/// failure that may be over soon.
pub(super) fn always_stores(status: StatusCode) -> bool {
    match status.as_u16() {
        206 | 304 => false,
        200..=399 | 404 | 410 => true,
        _ => false,
    }
}
