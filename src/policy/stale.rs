//! RFC 9111, 4.2.4, and RFC 5861: serving stale responses.

use actix_web::http::StatusCode;

use super::{
    Policy, Reason, Request, Stored, Time, cache_control::ResponseDirectives, freshness::CacheKind,
    time::millis,
};

/// Why a validation brought no answer to relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Name, connection, TLS, a cut or silence: no whole head came.
    Unreachable,
    /// The origin answered so.
    Status(StatusCode),
}

/// May the stored response be served although the origin could not validate it?
///
/// Fails with the reason when it may not; then the origin's own answer is relayed, or a 504 when there is none.
pub fn stale_answer(
    policy: &Policy,
    request: &Request<'_>,
    stored: &Stored,
    failure: Failure,
    now: Time,
) -> Result<(), Reason> {
    if let Failure::Status(status) = failure
        && !matches!(status.as_u16(), 500 | 502 | 503 | 504)
    {
        return Err(Reason::OriginAnswered);
    }
    // RFC 9111, 5.2.1.4: not without successful validation.
    if request.directives.no_cache {
        return Err(Reason::ClientNoCache);
    }
    if let Some(reason) = stored.never_stale {
        return Err(reason);
    }
    // RFC 5861, 4: the window is a limit; without one, ours.
    let window_millis = match stored.stale_if_error_seconds {
        Some(seconds) => u64::from(seconds) * 1000,
        None => millis(policy.max_stale),
    };
    if stored.staleness_millis(now) > window_millis {
        return Err(Reason::TooStale);
    }
    Ok(())
}

/// RFC 9111, 4.2.4: the directive that forbids a stale answer.
pub(super) fn forbidden_by(
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

/// RFC 5861, 3: serve at once and validate behind the client's back.
pub(super) fn while_revalidating(stored: &Stored, now: Time) -> bool {
    let window_millis = u64::from(stored.stale_while_revalidate_seconds) * 1000;
    stored.never_stale.is_none()
        && window_millis > 0
        && stored.staleness_millis(now) <= window_millis
}

/// RFC 9111, 5.2.1.2: the client takes it stale by so much.
pub(super) fn client_accepts(request: &Request<'_>, stored: &Stored, now: Time) -> bool {
    request.directives.max_stale.is_some_and(|seconds| {
        stored.never_stale.is_none() && stored.staleness_millis(now) <= u64::from(seconds) * 1000
    })
}
