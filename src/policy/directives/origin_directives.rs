//! The directives of the origin about storage and lifetime, from all fields that have some.

use actix_web::http::header::{CACHE_CONTROL, EXPIRES, PRAGMA};

use crate::policy::{
    ResponseHeaders, Time,
    directives::{
        cache_control::{MAX_SECONDS, ResponseDirectives, says_pragma_no_cache},
        targeted,
    },
    freshness::age::date,
    syntax::date::http_date,
};

/// The directives of the origin about storage and lifetime, from Cache-Control and Expires or from a targeted field.
pub(in crate::policy) struct OriginDirectives<'h> {
    pub(in crate::policy) directives: ResponseDirectives<'h>,
    expires: Expires<'h>,
    /// True without any limit: no Expires, no targeted field, no directive about lifetime or storage, no
    /// `Pragma: no-cache`.
    pub(in crate::policy) has_no_limits: bool,
}

enum Expires<'h> {
    Absent,
    Line(&'h [u8]),
    Invalid,
}

impl<'h> OriginDirectives<'h> {
    pub(in crate::policy) fn of(headers: &'h ResponseHeaders) -> Self {
        // RFC 9213, 2.2: a valid targeted field replaces Cache-Control and Expires.
        if let Some(directives) = targeted::directives(headers) {
            return Self {
                directives,
                expires: Expires::Absent,
                has_no_limits: false,
            };
        }
        let directives = ResponseDirectives::of_lines(headers.get_all(&CACHE_CONTROL));
        let mut lines = headers.get_all(&EXPIRES);
        let expires = match (lines.next(), lines.next()) {
            (None, _) => Expires::Absent,
            (Some(line), None) => Expires::Line(line),
            (Some(_), Some(_)) => Expires::Invalid,
        };
        let has_no_limits = !directives.limits
            && matches!(expires, Expires::Absent)
            && !targeted::is_present(headers)
            && !says_pragma_no_cache(headers.get_all(&PRAGMA));
        Self {
            directives,
            expires,
            has_no_limits,
        }
    }

    /// The directives of a response without any.
    pub(in crate::policy) fn none() -> Self {
        Self {
            directives: ResponseDirectives::default(),
            expires: Expires::Absent,
            has_no_limits: true,
        }
    }

    /// True if there is a lifetime, or a limit for stale use.
    pub(in crate::policy) fn names_lifetime(&self) -> bool {
        let directives = &self.directives;
        !matches!(self.expires, Expires::Absent)
            || directives.max_age.is_some()
            || directives.s_maxage.is_some()
            || directives.stale_while_revalidate.is_some()
            || directives.stale_if_error.is_some()
    }

    /// RFC 9111, 4.2.1: s-maxage (for a shared cache), else max-age, else Expires minus Date.
    pub(in crate::policy) fn explicit_lifetime_seconds(
        &self,
        cache: CacheKind,
        headers: &ResponseHeaders,
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
            // RFC 9111, 5.3: an invalid date, above all "0", lies in the past.
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

/// Which rules of RFC 9111 apply to the partition where a response is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum CacheKind {
    /// Those of a shared cache: `s-maxage` and `proxy-revalidate` are obeyed, `private` forbids storing.
    Shared,
    /// Those of a private cache, for the partition of one identity.
    Private,
}
