//! RFC 9111, 4.2: calculating the freshness lifetime.

use actix_web::http::{StatusCode, header::LAST_MODIFIED};

use crate::policy::{
    Policy, Reason, ResponseHeaders, Time,
    directives::origin_directives::{CacheKind, OriginDirectives},
    freshness::{
        age::date,
        lifetime::{Certainty, Lifetime, LifetimeSource},
    },
    mode::{WithoutDirectives, always_stores},
    ranges::representation::Representation,
    syntax::date::http_date,
};

/// RFC 9111, 4.2.1 and 4.2.2: how long a response is fresh.
///
/// Fails with a reason about the status if nothing allows storing a response of this status.
pub(in crate::policy) fn lifetime(
    policy: &Policy,
    origin: &OriginDirectives<'_>,
    cache: CacheKind,
    status: StatusCode,
    headers: &ResponseHeaders,
    response_time: Time,
) -> Result<Lifetime, Reason> {
    if origin.has_no_limits {
        match policy.without_directives(lasting_status(status, headers, response_time)) {
            WithoutDirectives::Store(lifetime) => return Ok(lifetime),
            WithoutDirectives::Refuse => return Err(refused_status(status)),
            WithoutDirectives::Heuristic => {}
        }
    }
    if let Some(seconds) = origin.explicit_lifetime_seconds(cache, headers, response_time) {
        return Ok(Lifetime::of_seconds(seconds));
    }
    // RFC 9111, 3: without an explicit lifetime, the status or `public` has to allow a heuristic one.
    if is_heuristically_cacheable(status) || origin.directives.public {
        let seconds = heuristic_seconds(headers, response_time);
        return Ok(Lifetime::of_seconds(seconds));
    }
    Err(refused_status(status))
}

/// How certain the lifetime of a response is.
pub(in crate::policy) fn certainty(
    policy: &Policy,
    origin: &OriginDirectives<'_>,
    cache: CacheKind,
    headers: &ResponseHeaders,
    response_time: Time,
) -> Certainty {
    match origin.explicit_lifetime_seconds(cache, headers, response_time) {
        None if policy.mode.holds_guesses_loosely() => Certainty::Guessed,
        Some(_) | None => Certainty::Stated,
    }
}

/// Where the lifetime of a response comes from. The arguments are those of [`lifetime`].
pub(in crate::policy) fn source(
    policy: &Policy,
    origin: &OriginDirectives<'_>,
    cache: CacheKind,
    status: StatusCode,
    headers: &ResponseHeaders,
    response_time: Time,
) -> LifetimeSource {
    if origin.has_no_limits
        && let WithoutDirectives::Store(lifetime) =
            policy.without_directives(lasting_status(status, headers, response_time))
    {
        return match lifetime {
            Lifetime::UntilCleared => LifetimeSource::UntilCleared,
            Lifetime::SinceReceipt { millis: 60_000 } if matches!(status.as_u16(), 404 | 410) => {
                LifetimeSource::Minute
            }
            Lifetime::SinceReceipt { .. } | Lifetime::Age { .. } => LifetimeSource::Ttl,
        };
    }
    let explicit = origin.explicit_lifetime_seconds(cache, headers, response_time);
    match explicit {
        None => LifetimeSource::Heuristic,
        Some(_) if cache == CacheKind::Shared && origin.directives.s_maxage.is_some() => {
            LifetimeSource::SMaxage
        }
        Some(_) if origin.directives.max_age.is_some() => LifetimeSource::MaxAge,
        Some(_) => LifetimeSource::Expires,
    }
}

/// The status by which the policy chooses a lifetime. A part of a representation that a strong validator identifies lasts
/// as long as the whole.
fn lasting_status(
    status: StatusCode,
    headers: &ResponseHeaders,
    response_time: Time,
) -> StatusCode {
    let representation = Representation::of(status, headers, response_time);
    match status {
        StatusCode::PARTIAL_CONTENT if representation.strong_validator().is_some() => {
            StatusCode::OK
        }
        status => status,
    }
}

fn refused_status(status: StatusCode) -> Reason {
    match status {
        StatusCode::PARTIAL_CONTENT => Reason::Partial,
        status if always_stores(status) => Reason::StatusWithoutLifetime,
        _ => Reason::Status,
    }
}

/// RFC 9110, 15.1: true for statuses that may get a heuristic lifetime.
fn is_heuristically_cacheable(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// RFC 9111, 4.2.2: a tenth of the time since Last-Modified, at most a day. 0 without Last-Modified.
fn heuristic_seconds(headers: &ResponseHeaders, response_time: Time) -> u32 {
    const DAY_SECONDS: u64 = 86_400;
    let Some(last_modified) = headers
        .get(&LAST_MODIFIED)
        .and_then(|line| http_date(line, response_time))
    else {
        return 0;
    };
    let until = date(headers, response_time).unwrap_or(response_time);
    let unchanged_seconds = until
        .unix_seconds()
        .saturating_sub(last_modified.unix_seconds());
    u32::try_from((unchanged_seconds / 10).min(DAY_SECONDS)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use crate::policy::{
        Mode, Reason,
        fixture::{DATE, Exchange, Lines, NOW, later, stored},
    };

    const TAG: (&str, &str) = ("etag", "\"a\"");
    const HOUR_AGO: &str = "Mon, 23 Nov 2026 02:30:00 GMT";
    const IN_TEN_SECONDS: &str = "Mon, 23 Nov 2026 03:30:10 GMT";

    #[test]
    fn s4_2_1_lifetime_precedence() {
        for (response, seconds) in [
            (&[("cache-control", "max-age=5")][..] as Lines<'_>, 5),
            (&[("cache-control", "max-age=5, s-maxage=7")], 7),
            (&[("cache-control", "max-age=5, s-maxage=x"), TAG], 0),
            (
                &[("cache-control", "max-age=5"), ("expires", IN_TEN_SECONDS)],
                5,
            ),
            (
                &[("cache-control", "max-age=x"), ("expires", IN_TEN_SECONDS)],
                0,
            ),
            (&[("expires", IN_TEN_SECONDS)], 10),
            (&[("expires", IN_TEN_SECONDS), ("date", DATE)], 10),
            (&[("expires", IN_TEN_SECONDS), ("date", "yesterday")], 10),
            (&[("expires", HOUR_AGO), ("date", DATE)], 0),
            (&[("expires", DATE), ("date", DATE)], 0),
            (&[("expires", "0")], 0),
            (&[("expires", "")], 0),
            (
                &[("expires", IN_TEN_SECONDS), ("expires", IN_TEN_SECONDS)],
                0,
            ),
            (&[("cache-control", "max-age=4294967296")], 1 << 31),
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                assert_eq!(
                    stored(mode, response).ttl_seconds(NOW),
                    Some(seconds),
                    "{response:?}"
                );
            }
        }
    }

    #[test]
    fn s4_2_1_expires_counts_from_date_and_not_from_now() {
        // An hour old, with a lifetime of an hour and ten seconds: ten seconds are left.
        let held = stored(
            Mode::Strict,
            &[("expires", IN_TEN_SECONDS), ("date", HOUR_AGO)],
        );
        assert_eq!(held.age_seconds(NOW), 3600);
        assert_eq!(held.ttl_seconds(NOW), Some(10));
        // The clock of the origin is an hour behind: ten seconds stay ten seconds.
        let ahead = [
            ("expires", "Mon, 23 Nov 2026 04:30:10 GMT"),
            ("date", "Mon, 23 Nov 2026 04:30:00 GMT"),
        ];
        assert_eq!(stored(Mode::Strict, &ahead).ttl_seconds(NOW), Some(10));
    }

    #[test]
    fn s4_2_fresh_while_the_lifetime_is_greater_than_the_age() {
        let held = stored(
            Mode::Strict,
            &[("cache-control", "max-age=5"), ("age", "2")],
        );
        assert!(held.is_fresh(later(2)));
        assert!(!held.is_fresh(later(3)));
        assert_eq!(held.ttl_seconds(later(13)), Some(-10));
        assert_eq!(held.age_seconds(later(13)), 15);
        // A clock that was set back does not change the freshness.
        assert_eq!(
            held.age_seconds(crate::policy::Time::from_unix_millis(0)),
            2
        );
    }

    #[test]
    fn s4_2_2_heuristic_freshness_is_a_tenth_and_at_most_a_day() {
        for (status, response, expected) in [
            (
                200,
                &[("last-modified", HOUR_AGO)][..] as Lines<'_>,
                Ok(360),
            ),
            (404, &[("last-modified", HOUR_AGO)], Ok(360)),
            (501, &[("last-modified", HOUR_AGO)], Ok(360)),
            (
                200,
                &[("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT")],
                Ok(86_400),
            ),
            (200, &[("last-modified", IN_TEN_SECONDS)], Ok(0)),
            (200, &[("last-modified", "never")], Ok(0)),
            (200, &[("etag", "\"a\"")], Ok(0)),
            (200, &[], Err(Reason::NoLifetime)),
            (
                302,
                &[("last-modified", HOUR_AGO)],
                Err(Reason::StatusWithoutLifetime),
            ),
            (
                302,
                &[("last-modified", HOUR_AGO), ("cache-control", "public")],
                Ok(360),
            ),
            (403, &[("last-modified", HOUR_AGO)], Err(Reason::Status)),
            (
                599,
                &[("last-modified", HOUR_AGO), ("cache-control", "public")],
                Ok(360),
            ),
        ] {
            let found = Exchange::new(Mode::Strict, response).status(status).admit();
            let found = found.map(|held| held.ttl_seconds(NOW).unwrap());
            assert_eq!(found, expected, "{status} {response:?}");
        }
    }

    #[test]
    fn s4_2_2_standard_is_heuristic_for_limits_without_lifetime() {
        let response = [
            ("cache-control", "must-revalidate"),
            ("last-modified", HOUR_AGO),
        ];
        assert_eq!(
            stored(Mode::Standard, &response).ttl_seconds(NOW),
            Some(360)
        );
    }

    #[test]
    fn s5_2_2_10_s_maxage_is_ignored_in_the_partition_of_an_identity() {
        let response = [("cache-control", "private, s-maxage=7, max-age=5")];
        let own = Exchange::new(Mode::Standard, &response)
            .identity(1)
            .admit()
            .unwrap();
        assert_eq!(own.ttl_seconds(NOW), Some(5));
    }
}
