//! RFC 9111, 4.2: how long an answer is fresh.

use actix_web::http::{
    StatusCode,
    header::{CACHE_CONTROL, EXPIRES, HeaderMap, LAST_MODIFIED},
};

use super::{
    Policy, Reason, Time,
    age::date,
    cache_control::{MAX_SECONDS, ResponseDirectives},
    date::http_date,
    mode::Silence,
    request::says_pragma_no_cache,
    targeted,
};

/// How long an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// The origin's own measure: compared with the age of the answer.
    Age {
        /// `freshness_lifetime` in milliseconds.
        millis: u64,
    },
    /// Our measure, where the origin says nothing: compared with the time we have held it, so that an
    /// origin whose clock is wrong does not shorten it.
    Held {
        /// In milliseconds.
        millis: u64,
    },
    /// It never becomes stale.
    UntilCleared,
}

impl Lifetime {
    pub(super) fn of_seconds(seconds: u32) -> Self {
        Self::Age {
            millis: u64::from(seconds) * 1000,
        }
    }

    /// Our own measure, bounded.
    pub(super) fn at_most_seconds(self, seconds: u64) -> Self {
        let bound = seconds * 1000;
        match self {
            Self::Held { millis } | Self::Age { millis } => Self::Held {
                millis: millis.min(bound),
            },
            Self::UntilCleared => Self::Held { millis: bound },
        }
    }
}

/// What the origin says about lifetime and storage, in whichever field it says it.
pub(super) struct Word<'h> {
    pub(super) directives: ResponseDirectives<'h>,
    expires: Expires<'h>,
    /// Says nothing that limits: no Expires line, no targeted field, no directive about lifetime or
    /// storage, no `Pragma: no-cache`.
    is_silent: bool,
}

enum Expires<'h> {
    Absent,
    Line(&'h [u8]),
    Invalid,
}

impl<'h> Word<'h> {
    pub(super) fn of(headers: &'h HeaderMap) -> Self {
        // RFC 9213, 2.2: a valid targeted field replaces Cache-Control and Expires.
        if let Some(directives) = targeted::directives(headers) {
            return Self {
                directives,
                expires: Expires::Absent,
                is_silent: false,
            };
        }
        let directives = ResponseDirectives::of_lines(headers.get_all(CACHE_CONTROL));
        let mut lines = headers.get_all(EXPIRES);
        let expires = match (lines.next(), lines.next()) {
            (None, _) => Expires::Absent,
            (Some(line), None) => Expires::Line(line.as_bytes()),
            (Some(_), Some(_)) => Expires::Invalid,
        };
        let is_silent = !directives.limits
            && matches!(expires, Expires::Absent)
            && !targeted::is_present(headers)
            && !says_pragma_no_cache(headers);
        Self {
            directives,
            expires,
            is_silent,
        }
    }

    /// The word of an origin that says nothing.
    pub(super) fn silent() -> Self {
        Self {
            directives: ResponseDirectives::default(),
            expires: Expires::Absent,
            is_silent: true,
        }
    }

    /// It names a lifetime, or how long it may be exceeded.
    pub(super) fn names_lifetime(&self) -> bool {
        let directives = &self.directives;
        !matches!(self.expires, Expires::Absent)
            || directives.max_age.is_some()
            || directives.s_maxage.is_some()
            || directives.stale_while_revalidate.is_some()
            || directives.stale_if_error.is_some()
    }

    /// RFC 9111, 4.2.1: s-maxage (for a shared cache), else max-age, else Expires minus Date.
    pub(super) fn explicit_lifetime_seconds(
        &self,
        cache: CacheKind,
        headers: &HeaderMap,
        response_time: Time,
    ) -> Option<u32> {
        let s_maxage = match cache {
            CacheKind::Shared => self.directives.s_maxage,
            CacheKind::Private => None,
        };
        if let Some(seconds) = s_maxage.or(self.directives.max_age) {
            return Some(seconds);
        }
        let expires = match self.expires {
            Expires::Absent => return None,
            // RFC 9111, 5.3: an invalid date, "0" above all, lies in the past.
            Expires::Invalid => return Some(0),
            Expires::Line(line) => match http_date(line, response_time) {
                Some(expires) => expires,
                None => return Some(0),
            },
        };
        let from = date(headers, response_time).unwrap_or(response_time);
        let seconds = expires.unix_seconds().saturating_sub(from.unix_seconds());
        Some(u32::try_from(seconds).map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS)))
    }
}

/// Which rules of RFC 9111 hold for the place where an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CacheKind {
    /// `s-maxage` and `proxy-revalidate` count, `private` forbids.
    Shared,
    /// The partition of one identity.
    Private,
}

/// RFC 9111, 4.2.1 and 4.2.2: how long an answer is fresh.
///
/// Fails with [`Reason::Status`] when nothing allows an answer of this status to be kept.
pub(super) fn lifetime(
    policy: &Policy,
    word: &Word<'_>,
    cache: CacheKind,
    status: StatusCode,
    headers: &HeaderMap,
    response_time: Time,
) -> Result<Lifetime, Reason> {
    if word.is_silent {
        match policy.silence(status) {
            Silence::Keep(lifetime) => return Ok(lifetime),
            Silence::Refuse => return Err(Reason::Status),
            Silence::Heuristic => {}
        }
    }
    if let Some(seconds) = word.explicit_lifetime_seconds(cache, headers, response_time) {
        return Ok(Lifetime::of_seconds(seconds));
    }
    // RFC 9111, 3: without explicit lifetime the status, or `public`, must allow a heuristic one.
    if is_heuristically_cacheable(status) || word.directives.public {
        let seconds = heuristic_seconds(headers, response_time);
        return Ok(Lifetime::of_seconds(seconds));
    }
    Err(Reason::Status)
}

/// RFC 9110, 15.1.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// RFC 9111, 4.2.2: a tenth of the time since Last-Modified, at most a day; 0 when it says none.
fn heuristic_seconds(headers: &HeaderMap, response_time: Time) -> u32 {
    const DAY_SECONDS: u64 = 86_400;
    let Some(last_modified) = headers
        .get(LAST_MODIFIED)
        .and_then(|line| http_date(line.as_bytes(), response_time))
    else {
        return 0;
    };
    let until = date(headers, response_time).unwrap_or(response_time);
    let unchanged_seconds = until
        .unix_seconds()
        .saturating_sub(last_modified.unix_seconds());
    u32::try_from((unchanged_seconds / 10).min(DAY_SECONDS)).unwrap_or(0)
}
