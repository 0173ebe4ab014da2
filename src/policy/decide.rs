//! RFC 9111, 4: whether a request is served from the cache or goes to the origin.

use actix_web::http::{Method, header::ORIGIN};

use super::{
    Audience, Forward, ForwardReason, MissingBytes, Policy, Provenance, Reason, Request,
    RequestContent, StoredHead, Time,
    freshness::stale::{client_accepts, while_revalidating},
    mode::ClientMaxAge,
    ranges::{
        conditions::is_range_of_all,
        partial::{Coverage, coverage},
    },
    storing::vary::matches,
};

/// How a request is handled. `index` is the position of the stored response among the variants given to [`decide`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Serve the stored response, in the form that [`super::response_form`] returns.
    Serve {
        /// The stored response.
        index: usize,
        /// What allows its use.
        reuse: Reuse,
    },
    /// Validate the stored response: fetch without the client's own conditions and Range, with the
    /// [`super::validators`] of the stored response (it may have none). If the origin fails, the stored response may be
    /// served stale ([`super::may_serve_stale`]). Other requests may wait for the fetch.
    Revalidate {
        /// The stored response.
        index: usize,
        /// Why.
        why: Forward,
    },
    /// Fetch the bytes that a stored part lacks. The response may be combined with the part ([`super::combine`]).
    Extend {
        /// The stored part.
        index: usize,
        /// Which bytes the fetch requests.
        missing: MissingBytes,
    },
    /// Forward the request.
    Fetch {
        /// Why.
        why: Forward,
        /// What may be done with the response.
        sharing: Sharing,
    },
    /// Respond with 504: the client said `only-if-cached`, and no stored response can be used (RFC 9111, 5.2.1.7).
    NotCached,
}

/// What allows a stored response to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// It is fresh.
    Fresh,
    /// It is stale within the window of `stale-while-revalidate`: validate it in the background.
    StaleWhileRevalidate,
    /// It is stale, and the client's `max-stale` allows that.
    MaxStale,
}

/// What may be done with the response of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It may be stored, and other requests may wait for it (RFC 9111, 4: collapsed requests).
    Collapsible,
    /// The same. The fetch is made without the client's conditions and Range, which are applied to what comes.
    CollapsibleWhole,
    /// It may be stored. No other request waits for it.
    StoreOnly,
    /// It is only for this client and is not stored, for this reason.
    PassThrough(Reason),
}

/// Decides how a request is handled. `variants` are the responses stored for its target, in the partition of the
/// request and in the shared one.
///
/// Does not allocate.
pub fn decide<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s StoredHead> + Clone,
    now: Time,
) -> Decision {
    if !matches!(*request.method, Method::GET | Method::HEAD)
        && request.content != RequestContent::Keyed
    {
        return pass(ForwardReason::Method, Reason::Method);
    }
    if request.content == RequestContent::Some {
        return pass(ForwardReason::Bypass, Reason::RequestBody);
    }
    match decide_retrieval(policy, request, variants, now) {
        Decision::Serve { index, reuse } => Decision::Serve { index, reuse },
        // RFC 9111, 5.2.1.7.
        _ if request.directives.only_if_cached => Decision::NotCached,
        decision => decision,
    }
}

/// The decision for GET, HEAD, and a POST whose body is part of the key.
fn decide_retrieval<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s StoredHead> + Clone,
    now: Time,
) -> Decision {
    if request.bypass.is_some() {
        return fetch(ForwardReason::Bypass.into(), policy, request);
    }
    // RFC 9110, 13.1 and 14.2: only the origin knows what conditions and ranges mean for a POST.
    if request.content == RequestContent::Keyed && (request.has_range() || request.has_condition())
    {
        return fetch(ForwardReason::Bypass.into(), policy, request);
    }
    // What was only recorded does not exist for a request that may go to the origin.
    let variants = variants
        .enumerate()
        .filter(|(_, stored)| stored.provenance() != Provenance::Recorded);
    let Some((index, stored)) = select(policy, request, variants.clone()) else {
        let forward = match variants
            .clone()
            .any(|(_, stored)| may_serve(stored, request))
        {
            true => ForwardReason::VaryMiss,
            false => ForwardReason::UriMiss,
        };
        return fetch(
            Forward {
                reason: forward,
                detail: own_partition(policy, request, forward),
            },
            policy,
            request,
        );
    };
    // RFC 9110, 13.2.1: the origin evaluates If-Match and If-Unmodified-Since.
    if request.has_origin_condition() {
        return fetch(
            not_reusable(stored, now, Reason::Condition),
            policy,
            request,
        );
    }
    match stored
        .content_range()
        .map(|part| coverage(request, stored, part))
    {
        None | Some(Coverage::Covered) => {}
        Some(Coverage::Lacks(missing)) if !request.directives.no_store => {
            return Decision::Extend { index, missing };
        }
        Some(Coverage::Lacks(_) | Coverage::Misses) => {
            return fetch(ForwardReason::Partial.into(), policy, request);
        }
    }
    match reuse(policy, request, stored, now) {
        Ok(reuse) => Decision::Serve { index, reuse },
        Err(why) if request.directives.no_store => fetch(why, policy, request),
        Err(why) => Decision::Revalidate { index, why },
    }
}

/// RFC 9111, 4.1: of the variants that match, the one with the most recent Date. One for the site of the page is preferred to
/// one for whichever request: the page could not read the other.
pub(in crate::policy) fn select<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = (usize, &'s StoredHead)>,
) -> Option<(usize, &'s StoredHead)> {
    variants
        .filter(|(_, stored)| may_serve(stored, request))
        .filter(|(_, stored)| matches(policy.mode, stored, request.headers))
        .max_by_key(|(_, stored)| {
            let is_for_site = stored.is_selected_by(&[ORIGIN]);
            (is_for_site, stored.date, stored.received)
        })
}

/// A response made for some credentials is only served to requests with the same credentials.
fn may_serve(stored: &StoredHead, request: &Request<'_>) -> bool {
    match stored.audience() {
        Audience::Everyone => true,
        Audience::Partition => stored.partition() == request.identity,
    }
}

/// RFC 9111, 4, 4.2 and 5.2.1: whether a stored response may be used without validation.
fn reuse(
    policy: &Policy,
    request: &Request<'_>,
    stored: &StoredHead,
    now: Time,
) -> Result<Reuse, Forward> {
    let client = &request.directives;
    // RFC 9111, 5.2.2.4.
    if stored.never_stale == Some(Reason::NoCache) {
        return Err(Forward::with_detail(ForwardReason::Stale, Reason::NoCache));
    }
    // RFC 9111, 5.2.1.4.
    if client.no_cache {
        return Err(not_reusable(stored, now, Reason::ClientNoCache));
    }
    // RFC 9111, 5.2.1.1. Zero requires validation, even in the millisecond of the store.
    let is_too_old = client
        .max_age
        .is_some_and(|seconds| seconds == 0 || stored.age_millis(now) > u64::from(seconds) * 1000);
    let is_concerned = match policy.mode.client_max_age() {
        ClientMaxAge::AllResponses => true,
        // Without a validator, each reload would be a new fetch.
        ClientMaxAge::Guesses => stored.is_guess() && stored.has_validator(),
        ClientMaxAge::None => false,
    };
    if is_too_old && is_concerned {
        return Err(not_reusable(stored, now, Reason::ClientMaxAge));
    }
    // RFC 9111, 5.2.1.3.
    let is_too_stale = client
        .min_fresh
        .is_some_and(|seconds| stored.fresh_millis(now) < u64::from(seconds) * 1000);
    if is_too_stale {
        return Err(not_reusable(stored, now, Reason::ClientMinFresh));
    }
    if stored.is_fresh(now) {
        Ok(Reuse::Fresh)
    } else if client_accepts(request, stored, now) {
        Ok(Reuse::MaxStale)
    } else if while_revalidating(stored, now) {
        Ok(Reuse::StaleWhileRevalidate)
    } else if stored.is_doubted() {
        Err(Forward::with_detail(
            ForwardReason::Stale,
            Reason::RelatedChange,
        ))
    } else {
        Err(ForwardReason::Stale.into())
    }
}

/// A stale response is not used because it is stale, a fresh one because of the request.
fn not_reusable(stored: &StoredHead, now: Time, reason: Reason) -> Forward {
    match stored.is_fresh(now) {
        true => Forward::with_detail(ForwardReason::Request, reason),
        false => ForwardReason::Stale.into(),
    }
}

/// The detail of a miss of an identity: what is stored for other identities is not for this one. `None` if the response is
/// not stored for it either, or the request has no identity.
fn own_partition(policy: &Policy, request: &Request<'_>, forward: ForwardReason) -> Option<Reason> {
    let is_own = request.identity.is_some() && forward == ForwardReason::UriMiss;
    let may_store = is_own && !matches!(sharing(policy, request), Sharing::PassThrough(_));
    may_store.then_some(Reason::OwnPartition)
}

fn fetch(why: Forward, policy: &Policy, request: &Request<'_>) -> Decision {
    Decision::Fetch {
        why,
        sharing: sharing(policy, request),
    }
}

fn pass(forward: ForwardReason, reason: Reason) -> Decision {
    Decision::Fetch {
        why: forward.into(),
        sharing: Sharing::PassThrough(reason),
    }
}

/// True for a HEAD whose response is fetched with a GET, so that the next HEAD or GET is a hit.
pub fn is_fetched_by_get(policy: &Policy, request: &Request<'_>) -> bool {
    *request.method == Method::HEAD
        && request.content == RequestContent::None
        && policy.mode.fetches_whole()
}

/// True if other requests could wait for the fetch of this one, were nothing stored.
pub fn is_collapsible(policy: &Policy, request: &Request<'_>) -> bool {
    let is_retrieval = *request.method == Method::GET && request.content == RequestContent::None;
    let is_shared = || {
        let sharing = sharing(policy, request);
        matches!(sharing, Sharing::Collapsible | Sharing::CollapsibleWhole)
    };
    is_retrieval && !request.directives.only_if_cached && is_shared()
}

/// Other requests wait only for a GET (or a POST whose body is part of the key) of the whole without a body, whose response
/// may be stored.
fn sharing(policy: &Policy, request: &Request<'_>) -> Sharing {
    let is_post = request.content == RequestContent::Keyed;
    if let Some(reason) = request.bypass {
        Sharing::PassThrough(reason)
    } else if *request.method == Method::HEAD {
        Sharing::PassThrough(Reason::Method)
    } else if is_post && request.has_range() {
        Sharing::PassThrough(Reason::Range)
    } else if is_post && request.has_condition() {
        Sharing::PassThrough(Reason::Condition)
    } else if request.directives.no_store {
        Sharing::PassThrough(Reason::ClientNoStore)
    } else if request.has_origin_condition() {
        Sharing::PassThrough(Reason::Condition)
    } else if request.has_range() {
        match policy.mode.fetches_whole() && is_range_of_all(request) {
            true => Sharing::CollapsibleWhole,
            false => Sharing::StoreOnly,
        }
    } else if request.has_condition() {
        // The response is stored, and the condition is evaluated then.
        Sharing::CollapsibleWhole
    } else {
        Sharing::Collapsible
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Mode,
        fixture::{Exchange, Lines, NOW, later, stored},
    };

    const MODES: [Mode; 3] = [Mode::Standard, Mode::Strict, Mode::Always];
    const LASTING: Lines<'_> = &[("cache-control", "max-age=100"), ("etag", "\"a\"")];

    fn shared(forward: ForwardReason, sharing: Sharing) -> Decision {
        Decision::Fetch {
            why: forward.into(),
            sharing,
        }
    }

    fn serve(index: usize) -> Decision {
        Decision::Serve {
            index,
            reuse: Reuse::Fresh,
        }
    }

    fn revalidate(why: impl Into<Forward>) -> Decision {
        let why = why.into();
        Decision::Revalidate { index: 0, why }
    }

    fn asked_for(reason: Reason) -> Decision {
        revalidate(Forward::with_detail(ForwardReason::Request, reason))
    }

    #[test]
    fn s4_which_fetches_other_requests_may_wait_for() {
        for (request, expected) in [
            (&[][..] as Lines<'_>, Sharing::Collapsible),
            (&[("cache-control", "no-cache")], Sharing::Collapsible),
            (&[("range", "bytes=0-1")], Sharing::StoreOnly),
            (&[("range", "bytes=1-")], Sharing::StoreOnly),
            (&[("if-none-match", "*")], Sharing::CollapsibleWhole),
            (&[("if-modified-since", "x")], Sharing::CollapsibleWhole),
            (&[("if-range", "x")], Sharing::CollapsibleWhole),
            (
                &[("if-match", "*")],
                Sharing::PassThrough(Reason::Condition),
            ),
            (
                &[("if-unmodified-since", "x")],
                Sharing::PassThrough(Reason::Condition),
            ),
        ] {
            for mode in MODES {
                let found = Exchange::new(mode, &[]).request(request).decide(&[], NOW);
                assert_eq!(
                    found,
                    shared(ForwardReason::UriMiss, expected),
                    "{request:?}"
                );
            }
        }
        let all_bytes = [("range", "Bytes=0-"), ("if-range", "x")];
        let found = |mode| {
            Exchange::new(mode, &[])
                .request(&all_bytes)
                .decide(&[], NOW)
        };
        let whole = shared(ForwardReason::UriMiss, Sharing::CollapsibleWhole);
        assert_eq!(
            [Mode::Standard, Mode::Strict, Mode::Always].map(found),
            [
                whole,
                shared(ForwardReason::UriMiss, Sharing::StoreOnly),
                whole
            ]
        );
        let no_store = [("cache-control", "no-store")];
        let found = |mode| Exchange::new(mode, &[]).request(&no_store).decide(&[], NOW);
        let kept_out = pass(ForwardReason::UriMiss, Reason::ClientNoStore);
        assert_eq!(
            MODES.map(found),
            [
                kept_out,
                kept_out,
                shared(ForwardReason::UriMiss, Sharing::Collapsible)
            ]
        );
    }

    #[test]
    fn s4_other_methods_and_bodies_bypass_the_cache() {
        let held = [stored(Mode::Standard, LASTING)];
        let mut exchange = Exchange::new(Mode::Standard, &[]);
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"] {
            exchange.method = Method::from_bytes(method.as_bytes()).unwrap();
            let expected = pass(ForwardReason::Method, Reason::Method);
            assert_eq!(exchange.decide(&held, NOW), expected, "{method}");
        }
        exchange.method = Method::GET;
        exchange.content = RequestContent::Some;
        let expected = pass(ForwardReason::Bypass, Reason::RequestBody);
        assert_eq!(exchange.decide(&held, NOW), expected);
    }

    #[test]
    fn s4_a_post_with_its_body_in_the_key_is_cached_unless_conditional() {
        for mode in MODES {
            let held = [stored(mode, LASTING)];
            let mut exchange = Exchange::new(mode, &[]);
            exchange.method = Method::POST;
            exchange.content = RequestContent::Keyed;
            assert_eq!(exchange.decide(&held, NOW), serve(0));
            let old = match mode {
                Mode::Always => serve(0),
                Mode::Standard | Mode::Strict => revalidate(ForwardReason::Stale),
            };
            assert_eq!(exchange.decide(&held, later(200)), old);
            assert_eq!(
                exchange.decide(&[], NOW),
                shared(ForwardReason::UriMiss, Sharing::Collapsible)
            );
            for (line, reason) in [
                (("range", "bytes=0-1"), Reason::Range),
                (("if-none-match", "\"a\""), Reason::Condition),
                (("if-match", "\"a\""), Reason::Condition),
                (("if-range", "\"a\""), Reason::Condition),
            ] {
                let lines = [line];
                let found = exchange.clone().request(&lines).decide(&held, NOW);
                assert_eq!(found, pass(ForwardReason::Bypass, reason), "{line:?}");
            }
        }
    }

    #[test]
    fn s4_head_uses_a_fresh_get_validates_a_stale_one_and_is_else_forwarded() {
        for mode in MODES {
            let held = [stored(mode, LASTING)];
            let mut exchange = Exchange::new(mode, &[]);
            exchange.method = Method::HEAD;
            assert_eq!(exchange.decide(&held, NOW), serve(0));
            let expected = pass(ForwardReason::UriMiss, Reason::Method);
            assert_eq!(exchange.decide(&[], NOW), expected);
        }
        let mut exchange = Exchange::new(Mode::Standard, &[]);
        exchange.method = Method::HEAD;
        let held = [stored(Mode::Standard, LASTING)];
        assert_eq!(
            exchange.decide(&held, later(100)),
            revalidate(ForwardReason::Stale)
        );
    }

    #[test]
    fn s4_2_fresh_is_served_and_stale_is_validated() {
        for (mode, after_lifetime) in [
            (Mode::Standard, revalidate(ForwardReason::Stale)),
            (Mode::Strict, revalidate(ForwardReason::Stale)),
            (Mode::Always, serve(0)),
        ] {
            let held = [stored(mode, LASTING)];
            let exchange = Exchange::new(mode, &[]);
            assert_eq!(exchange.decide(&held, later(99)), serve(0));
            assert_eq!(
                exchange.decide(&held, later(100)),
                after_lifetime,
                "{mode:?}"
            );
        }
    }

    #[test]
    fn s5_2_2_4_no_cache_is_validated_on_every_use() {
        let response = [
            ("cache-control", "max-age=100, no-cache"),
            ("etag", "\"a\""),
        ];
        for mode in [Mode::Standard, Mode::Strict] {
            let held = [stored(mode, &response)];
            let found = Exchange::new(mode, &[]).decide(&held, NOW);
            let why = Forward::with_detail(ForwardReason::Stale, Reason::NoCache);
            assert_eq!(found, revalidate(why));
        }
    }

    #[test]
    fn s5_2_1_directives_of_the_client() {
        let no_cache = asked_for(Reason::ClientNoCache);
        let max_age = asked_for(Reason::ClientMaxAge);
        let min_fresh = asked_for(Reason::ClientMinFresh);
        let stale = revalidate(ForwardReason::Stale);
        let taken_stale = Decision::Serve {
            index: 0,
            reuse: Reuse::MaxStale,
        };
        for (value, seconds, standard, strict) in [
            ("no-cache", 9, no_cache, no_cache),
            ("max-age=0", 0, serve(0), max_age),
            ("max-age=9", 9, serve(0), serve(0)),
            ("max-age=8", 9, serve(0), max_age),
            ("max-age=x", 9, serve(0), max_age),
            ("min-fresh=91", 9, serve(0), serve(0)),
            ("min-fresh=92", 9, serve(0), min_fresh),
            ("max-stale", 500, stale, taken_stale),
            ("max-stale=5", 105, stale, taken_stale),
            ("max-stale=5", 106, stale, stale),
            ("max-stale=x", 101, stale, stale),
            ("max-stale, max-age=50", 105, stale, stale),
            ("no-store", 9, serve(0), serve(0)),
            ("only-if-cached", 9, serve(0), serve(0)),
            (
                "only-if-cached",
                100,
                Decision::NotCached,
                Decision::NotCached,
            ),
            ("foo, bar=\"no-cache\"", 9, serve(0), serve(0)),
        ] {
            let request = [("cache-control", value)];
            for (mode, expected) in [
                (Mode::Standard, standard),
                (Mode::Strict, strict),
                (Mode::Always, serve(0)),
            ] {
                let held = [stored(mode, LASTING)];
                let found = Exchange::new(mode, &[])
                    .request(&request)
                    .decide(&held, later(seconds));
                assert_eq!(found, expected, "{mode:?} {value} after {seconds}");
            }
        }
    }

    #[test]
    fn s5_2_1_2_max_stale_does_not_lift_must_revalidate() {
        let response = [
            ("cache-control", "max-age=1, must-revalidate"),
            ("etag", "\"a\""),
        ];
        let held = [stored(Mode::Strict, &response)];
        let found = Exchange::new(Mode::Strict, &[])
            .request(&[("cache-control", "max-stale")])
            .decide(&held, later(5));
        assert_eq!(found, revalidate(ForwardReason::Stale));
    }

    #[test]
    fn s5_4_pragma_is_obeyed_only_without_cache_control() {
        let held = [stored(Mode::Standard, LASTING)];
        let found = |request| {
            Exchange::new(Mode::Standard, &[])
                .request(request)
                .decide(&held, NOW)
        };
        assert_eq!(
            found(&[("pragma", "no-cache")]),
            asked_for(Reason::ClientNoCache)
        );
        assert_eq!(
            found(&[("pragma", "no-cache"), ("cache-control", "foo")]),
            serve(0)
        );
    }

    #[test]
    fn s5_2_1_7_only_if_cached_and_nothing_stored() {
        let request = [("cache-control", "only-if-cached")];
        let found = MODES.map(|mode| Exchange::new(mode, &[]).request(&request).decide(&[], NOW));
        let none = Decision::NotCached;
        assert_eq!(
            found,
            [
                none,
                none,
                shared(ForwardReason::UriMiss, Sharing::Collapsible)
            ]
        );
    }

    #[test]
    fn s4_1_the_most_recent_matching_variant_is_used() {
        let held = |value, date| {
            let response = [
                ("vary", "x-a"),
                ("cache-control", "max-age=9999"),
                ("date", date),
            ];
            let request = [("x-a", value)];
            Exchange::new(Mode::Strict, &response)
                .request(&request)
                .admit()
                .unwrap()
        };
        let variants = [
            held("1", "Mon, 23 Nov 2026 03:29:00 GMT"),
            held("2", "Mon, 23 Nov 2026 03:29:30 GMT"),
            held("1", "Mon, 23 Nov 2026 03:29:20 GMT"),
            held("1", "Mon, 23 Nov 2026 03:28:00 GMT"),
        ];
        let found = |request| {
            Exchange::new(Mode::Strict, &[])
                .request(request)
                .decide(&variants, NOW)
        };
        assert_eq!(found(&[("x-a", "1")]), serve(2));
        assert_eq!(found(&[("x-a", "2")]), serve(1));
        assert_eq!(
            found(&[("x-a", "3")]),
            shared(ForwardReason::VaryMiss, Sharing::Collapsible)
        );
    }

    #[test]
    fn responses_are_served_only_to_their_audience() {
        let held = |value, number: Option<u8>| {
            let response = [("cache-control", value)];
            let exchange = Exchange::new(Mode::Standard, &response);
            match number {
                Some(number) => exchange.identity(number).admit().unwrap(),
                None => exchange.admit().unwrap(),
            }
        };
        let own = held("max-age=9", Some(1));
        let others = held("max-age=9", Some(2));
        let private = held("private, max-age=9", Some(2));
        let anonymous = held("max-age=9", None);
        let public = held("public, max-age=9", Some(2));
        let asked_by = |number: Option<u8>, variants: &[StoredHead]| {
            let exchange = Exchange::new(Mode::Standard, &[]);
            match number {
                Some(number) => exchange.identity(number).decide(variants, NOW),
                None => exchange.decide(variants, NOW),
            }
        };
        let missed = shared(ForwardReason::UriMiss, Sharing::Collapsible);
        for foreign in [&others, &private, &anonymous] {
            let variants = [foreign.clone()];
            let own_partition = Decision::Fetch {
                why: Forward::with_detail(ForwardReason::UriMiss, Reason::OwnPartition),
                sharing: Sharing::Collapsible,
            };
            assert_eq!(asked_by(Some(1), &variants), own_partition);
        }
        assert_eq!(
            asked_by(None, &[own.clone(), others.clone(), private.clone()]),
            missed
        );
        assert_eq!(
            asked_by(Some(1), &[others, private, anonymous.clone(), own]),
            serve(3)
        );
        assert_eq!(asked_by(None, &[anonymous]), serve(0));
        for asking in [None, Some(1), Some(2)] {
            assert_eq!(asked_by(asking, std::slice::from_ref(&public)), serve(0));
        }
    }

    #[test]
    fn s4_3_2_conditions_and_ranges_are_served_from_the_cache() {
        for mode in MODES {
            let held = [stored(mode, LASTING)];
            let for_the_origin = Decision::Fetch {
                why: Forward::with_detail(ForwardReason::Request, Reason::Condition),
                sharing: Sharing::PassThrough(Reason::Condition),
            };
            for (request, expected) in [
                (&[("if-none-match", "\"a\"")][..] as Lines<'_>, serve(0)),
                (&[("range", "bytes=0-1")], serve(0)),
                (&[("if-match", "\"a\"")], for_the_origin),
                (&[("if-unmodified-since", "x")], for_the_origin),
            ] {
                let found = Exchange::new(mode, &[]).request(request).decide(&held, NOW);
                assert_eq!(found, expected, "{request:?}");
            }
        }
        let held = [stored(Mode::Strict, LASTING)];
        let found = Exchange::new(Mode::Strict, &[])
            .request(&[("if-none-match", "\"a\""), ("range", "bytes=0-1")])
            .decide(&held, later(100));
        assert_eq!(found, revalidate(ForwardReason::Stale));
    }

    #[test]
    fn s5_2_1_5_a_no_store_request_validates_nothing() {
        let held = [stored(Mode::Standard, LASTING)];
        let found = Exchange::new(Mode::Standard, &[])
            .request(&[("cache-control", "no-store")])
            .decide(&held, later(100));
        assert_eq!(found, pass(ForwardReason::Stale, Reason::ClientNoStore));
    }
}
