//! RFC 9111, 4.2.4, and RFC 5861: serving stale responses.

use actix_web::http::StatusCode;

use crate::policy::{
    Policy, Reason, Request, StoredHead, Time,
    directives::{cache_control::ResponseDirectives, origin_directives::CacheKind},
    syntax::time::millis,
};

/// Why a validation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginFailure {
    /// No complete response head arrived: DNS, connection, TLS, an early close or a timeout.
    Unreachable,
    /// The origin responded with this status.
    Status(StatusCode),
    /// The origin responded with this status and Retry-After: it wants no request now (RFC 9110, 10.2.3; RFC 6585, 4).
    Paused(StatusCode),
}

/// Whether a stored response may be served although its validation failed.
///
/// Fails with the reason if it may not. Then the client gets the origin's response, or a 504 if there is none.
pub fn may_serve_stale(
    policy: &Policy,
    request: &Request<'_>,
    stored: &StoredHead,
    failure: OriginFailure,
    now: Time,
) -> Result<(), Reason> {
    if let OriginFailure::Status(status) = failure
        && !matches!(status.as_u16(), 500 | 502 | 503 | 504)
    {
        return Err(Reason::OriginAnswered);
    }
    // RFC 9111, 5.2.1.4: `no-cache` requires a successful validation.
    if request.directives.no_cache {
        return Err(Reason::ClientNoCache);
    }
    if let Some(reason) = stored.never_stale {
        return Err(reason);
    }
    // RFC 5861, 4: `stale-if-error` is the limit. Without it, the limit is that of the configuration.
    let window_millis = match stored.stale_if_error_seconds() {
        Some(seconds) => u64::from(seconds) * 1000,
        None => millis(policy.max_stale),
    };
    // Without a window it is not served in the millisecond in which it becomes stale either.
    let is_within = match window_millis {
        0 => stored.is_fresh(now),
        _ => stored.staleness_millis(now) <= window_millis,
    };
    is_within.then_some(()).ok_or(Reason::TooStale)
}

/// RFC 9111, 4.2.4: the directive that forbids stale use. `None` if there is none.
pub(in crate::policy) fn forbidden_by(
    directives: &ResponseDirectives<'_>,
    cache: CacheKind,
) -> Option<Reason> {
    let is_shared = cache == CacheKind::Shared;
    if directives.no_cache {
        Some(Reason::NoCache)
    } else if directives.must_revalidate {
        Some(Reason::MustRevalidate)
    } else if is_shared && directives.proxy_revalidate {
        Some(Reason::ProxyRevalidate)
    } else if is_shared && directives.s_maxage.is_some() {
        Some(Reason::SMaxage)
    } else {
        None
    }
}

/// RFC 5861, 3: true if the response may be served at once and validated in the background.
pub(in crate::policy) fn while_revalidating(stored: &StoredHead, now: Time) -> bool {
    let window_millis = u64::from(stored.stale_while_revalidate_seconds) * 1000;
    stored.never_stale.is_none()
        && window_millis > 0
        && stored.staleness_millis(now) <= window_millis
}

/// RFC 9111, 5.2.1.2: true if the client's `max-stale` allows its use.
pub(in crate::policy) fn client_accepts(
    request: &Request<'_>,
    stored: &StoredHead,
    now: Time,
) -> bool {
    request.directives.max_stale.is_some_and(|seconds| {
        stored.never_stale.is_none() && stored.staleness_millis(now) <= u64::from(seconds) * 1000
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Decision, Mode, Reuse,
        fixture::{Exchange, Lines, later, stored},
    };

    fn after_failure(
        mode: Mode,
        response: Lines<'_>,
        request: Lines<'_>,
        failure: OriginFailure,
        seconds: u64,
    ) -> Result<(), Reason> {
        let exchange = Exchange::new(mode, response).request(request);
        let held = stored(mode, response);
        exchange.with_request(|request| {
            may_serve_stale(&exchange.policy, request, &held, failure, later(seconds))
        })
    }

    fn status(code: u16) -> OriginFailure {
        OriginFailure::Status(StatusCode::from_u16(code).unwrap())
    }

    #[test]
    fn s4_2_4_which_failures_a_stale_response_replaces() {
        const RESPONSE: Lines<'_> = &[("cache-control", "max-age=1")];
        for (failure, expected) in [
            (OriginFailure::Unreachable, Ok(())),
            (status(500), Ok(())),
            (status(502), Ok(())),
            (status(503), Ok(())),
            (status(504), Ok(())),
            (OriginFailure::Paused(StatusCode::TOO_MANY_REQUESTS), Ok(())),
            (status(429), Err(Reason::OriginAnswered)),
            (status(501), Err(Reason::OriginAnswered)),
            (status(404), Err(Reason::OriginAnswered)),
            (status(200), Err(Reason::OriginAnswered)),
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                assert_eq!(
                    after_failure(mode, RESPONSE, &[], failure, 9),
                    expected,
                    "{failure:?}"
                );
            }
        }
    }

    #[test]
    fn s4_2_4_directives_forbid_and_limit_stale_use() {
        for (value, seconds, expected) in [
            ("max-age=1, must-revalidate", 9, Err(Reason::MustRevalidate)),
            (
                "max-age=1, proxy-revalidate",
                9,
                Err(Reason::ProxyRevalidate),
            ),
            ("s-maxage=1", 9, Err(Reason::SMaxage)),
            ("max-age=1, no-cache", 9, Err(Reason::NoCache)),
            (
                "max-age=1, must-revalidate, stale-if-error=60",
                9,
                Err(Reason::MustRevalidate),
            ),
            ("max-age=1, stale-if-error=60", 61, Ok(())),
            ("max-age=1, stale-if-error=60", 62, Err(Reason::TooStale)),
            ("max-age=1, stale-if-error=x", 2, Err(Reason::TooStale)),
            ("max-age=1, stale-if-error=0", 0, Ok(())),
            ("max-age=1, stale-if-error=0", 1, Err(Reason::TooStale)),
            ("max-age=0, stale-if-error=0", 0, Err(Reason::TooStale)),
            ("max-age=1, stale-if-error=999999", 900_000, Ok(())),
            ("max-age=1", 86_401, Ok(())),
            ("max-age=1", 86_402, Err(Reason::TooStale)),
        ] {
            let response = [("cache-control", value), ("etag", "\"a\"")];
            for mode in [Mode::Standard, Mode::Strict] {
                let found =
                    after_failure(mode, &response, &[], OriginFailure::Unreachable, seconds);
                assert_eq!(found, expected, "{value} after {seconds}");
            }
            let always = after_failure(
                Mode::Always,
                &response,
                &[],
                OriginFailure::Unreachable,
                seconds,
            );
            assert_eq!(always, Ok(()), "{value}");
        }
    }

    #[test]
    fn s5_2_1_4_no_cache_of_the_client_forbids_stale_use() {
        const RESPONSE: Lines<'_> = &[("cache-control", "max-age=99")];
        for (request, expected) in [
            (
                &[("cache-control", "no-cache")][..] as Lines<'_>,
                Err(Reason::ClientNoCache),
            ),
            (&[("pragma", "no-cache")], Err(Reason::ClientNoCache)),
            (&[("pragma", "no-cache"), ("cache-control", "foo")], Ok(())),
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                let found = after_failure(mode, RESPONSE, request, OriginFailure::Unreachable, 1);
                assert_eq!(found, expected, "{request:?}");
            }
        }
    }

    #[test]
    fn r5861_3_stale_while_revalidate_ends_with_its_window() {
        for (value, seconds, expected) in [
            ("max-age=1, stale-while-revalidate=5", 0, Some(Reuse::Fresh)),
            (
                "max-age=1, stale-while-revalidate=5",
                1,
                Some(Reuse::StaleWhileRevalidate),
            ),
            (
                "max-age=1, stale-while-revalidate=5",
                6,
                Some(Reuse::StaleWhileRevalidate),
            ),
            ("max-age=1, stale-while-revalidate=5", 7, None),
            ("max-age=1, stale-while-revalidate=x", 1, None),
            (
                "max-age=1, must-revalidate, stale-while-revalidate=5",
                1,
                None,
            ),
            ("max-age=1, no-cache, stale-while-revalidate=5", 0, None),
        ] {
            let response = [("cache-control", value), ("etag", "\"a\"")];
            for mode in [Mode::Standard, Mode::Strict] {
                let held = [stored(mode, &response)];
                let found = match Exchange::new(mode, &response).decide(&held, later(seconds)) {
                    Decision::Serve { reuse, .. } => Some(reuse),
                    _ => None,
                };
                assert_eq!(found, expected, "{value} after {seconds}");
            }
        }
    }
}
