//! RFC 9111, 4: constructing responses from caches. The decision itself.

use actix_web::http::Method;

use super::{
    Policy, Reason, Request, RequestContent, Stored, Time,
    selecting::matches,
    stale::{client_accepts, while_revalidating},
};

/// What becomes of a request. `index` counts the variants as they were given to [`decide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Answer from the store, as [`super::answer`] says.
    Serve {
        /// The stored response.
        index: usize,
        /// What allows it.
        use_: Use,
    },
    /// Fetch without the client's own conditions, with [`super::validators`] of the stored response (it may
    /// have none); that one is the fallback ([`super::stale_answer`]). The fetch may be shared.
    Revalidate {
        /// The stored response.
        index: usize,
        /// Why.
        forward: Forward,
    },
    /// Forward the request.
    Fetch {
        /// Why.
        forward: Forward,
        /// Whether it may be shared with others.
        share: Share,
    },
    /// `only-if-cached`, and there is nothing: 504 (RFC 9111, 5.2.1.7).
    Unsatisfiable,
}

/// What allows a stored response to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It is fresh.
    Fresh,
    /// It is stale within the window of `stale-while-revalidate`: validate it in the background.
    StaleWhileRevalidate,
    /// It is stale, and the client's `max-stale` takes it.
    MaxStale,
}

/// May the fetch be shared, its answer be stored?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It may lead: others follow it.
    Lead,
    /// It is its client's alone.
    Alone(Reason),
}

/// Why a request is forwarded: the `fwd` of Cache-Status (RFC 9211, 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forward {
    /// Not to be handled by the cache.
    Bypass,
    /// The method requires it.
    Method,
    /// Nothing is stored for the target.
    UriMiss,
    /// Something is, for other selecting fields.
    VaryMiss,
    /// Nothing is that could be used.
    Miss,
    /// Something fresh is; the request does not allow its use.
    Request,
    /// Something is; it is stale.
    Stale,
    /// A part is.
    Partial,
}

impl Forward {
    /// The name in Cache-Status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// Decides about a request, given what is stored for its target in its own partition and in the shared one.
///
/// Does not allocate.
pub fn decide<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s Stored> + Clone,
    now: Time,
) -> Decision {
    if !matches!(*request.method, Method::GET | Method::HEAD) {
        return Decision::Fetch {
            forward: Forward::Method,
            share: Share::Alone(Reason::Method),
        };
    }
    if request.content == RequestContent::Some {
        return Decision::Fetch {
            forward: Forward::Bypass,
            share: Share::Alone(Reason::RequestBody),
        };
    }
    match decide_retrieval(policy, request, variants, now) {
        Decision::Serve { index, use_ } => Decision::Serve { index, use_ },
        // RFC 9111, 5.2.1.7.
        _ if request.directives.only_if_cached => Decision::Unsatisfiable,
        decision => decision,
    }
}

/// For GET and HEAD.
fn decide_retrieval<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s Stored> + Clone,
    now: Time,
) -> Decision {
    let share = share(request);
    let Some((index, stored)) = select(policy, request, variants.clone()) else {
        let forward = match variants.clone().any(|stored| may_answer(stored, request)) {
            true => Forward::VaryMiss,
            false => Forward::UriMiss,
        };
        return Decision::Fetch { forward, share };
    };
    // RFC 9110, 13.2.1: If-Match and If-Unmodified-Since are for the origin to evaluate.
    let usable = match request.has_origin_condition() {
        true => Err(unusable(stored, now)),
        false => reuse(request, stored, now),
    };
    let is_validated_here = *request.method == Method::GET
        && !request.has_origin_condition()
        && !request.directives.no_store;
    match usable {
        Ok(use_) => Decision::Serve { index, use_ },
        Err(forward) if is_validated_here => Decision::Revalidate { index, forward },
        Err(forward) => Decision::Fetch { forward, share },
    }
}

/// RFC 9111, 4.1: of those that match, the one with the most recent Date.
fn select<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s Stored>,
) -> Option<(usize, &'s Stored)> {
    variants
        .enumerate()
        .filter(|(_, stored)| may_answer(stored, request))
        .filter(|(_, stored)| matches(policy.mode, stored, request.headers))
        .max_by_key(|(_, stored)| (stored.date, stored.received))
}

/// Nobody sees an answer made for somebody else's credentials.
fn may_answer(stored: &Stored, request: &Request<'_>) -> bool {
    match stored.audience() {
        super::Audience::Everyone => true,
        super::Audience::Partition => stored.partition() == request.identity,
    }
}

/// RFC 9111, 4, 4.2 and 5.2.1: may it be used without validation?
fn reuse(request: &Request<'_>, stored: &Stored, now: Time) -> Result<Use, Forward> {
    let client = &request.directives;
    // RFC 9111, 5.2.1.4 and 5.2.2.4.
    if client.no_cache || stored.never_stale == Some(Reason::NoCache) {
        return Err(unusable(stored, now));
    }
    // RFC 9111, 5.2.1.1. Zero asks for validation, even in the same millisecond.
    let is_too_old = client
        .max_age
        .is_some_and(|seconds| seconds == 0 || stored.age_millis(now) > u64::from(seconds) * 1000);
    // RFC 9111, 5.2.1.3.
    let is_too_stale = client
        .min_fresh
        .is_some_and(|seconds| stored.fresh_millis(now) < u64::from(seconds) * 1000);
    if is_too_old || is_too_stale {
        return Err(unusable(stored, now));
    }
    if stored.is_fresh(now) {
        Ok(Use::Fresh)
    } else if client_accepts(request, stored, now) {
        Ok(Use::MaxStale)
    } else if while_revalidating(stored, now) {
        Ok(Use::StaleWhileRevalidate)
    } else {
        Err(Forward::Stale)
    }
}

fn unusable(stored: &Stored, now: Time) -> Forward {
    if stored.is_fresh(now) && stored.never_stale != Some(Reason::NoCache) {
        Forward::Request
    } else {
        Forward::Stale
    }
}

/// Only a GET without body, Range or conditions, whose answer may be stored, leads.
fn share(request: &Request<'_>) -> Share {
    if *request.method != Method::GET {
        Share::Alone(Reason::Method)
    } else if request.has_range() {
        Share::Alone(Reason::Range)
    } else if request.has_condition() {
        Share::Alone(Reason::Condition)
    } else if request.directives.no_store {
        Share::Alone(Reason::ClientNoStore)
    } else {
        Share::Lead
    }
}
