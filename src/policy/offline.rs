//! Which stored response a request gets while the origin is not contacted.

use actix_web::http::{
    Method,
    header::{IF_MATCH, IF_UNMODIFIED_SINCE},
};

use super::{
    Policy, Request, RequestContent, StoredHead,
    decide::select,
    ranges::{
        partial::{Coverage, coverage},
        representation::Representation,
    },
    syntax::{date::http_date, list::entity_tags},
    validating::strongly_equal,
};

/// What a request gets while the origin is not contacted. `index` is the position of the stored response among the variants
/// given to [`decide_offline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineDecision {
    /// The stored response, in the form that [`super::response_form`] returns.
    Serve {
        /// The stored response.
        index: usize,
    },
    /// 412: the stored response does not meet the condition of the request (RFC 9110, 15.5.13).
    PreconditionFailed,
    /// Nothing that is stored matches.
    NotStored,
}

/// Decides which stored response a request gets while the origin is not contacted. Neither the age of what is stored nor
/// what origin and client say about caching matters. Key, identity and Vary do. `variants` are the responses stored for the
/// target, in the partition of the request and in the shared one.
pub fn decide_offline<'s>(
    policy: &Policy,
    request: &Request<'_>,
    variants: impl Iterator<Item = &'s StoredHead>,
) -> OfflineDecision {
    let is_retrieval = match request.content {
        RequestContent::None => matches!(*request.method, Method::GET | Method::HEAD),
        RequestContent::Keyed => true,
        RequestContent::Some => false,
    };
    if !is_retrieval || request.bypass.is_some() {
        return OfflineDecision::NotStored;
    }
    let Some((index, stored)) = select(policy, request, variants.enumerate()) else {
        return OfflineDecision::NotStored;
    };
    let part = stored.content_range();
    match part.map(|part| coverage(request, stored, part)) {
        Some(Coverage::Lacks(_) | Coverage::Misses) => OfflineDecision::NotStored,
        // RFC 9110, 13.2.1: the proxy stands for the origin, so it evaluates these conditions too.
        _ if !meets_origin_condition(request, &stored.representation()) => {
            OfflineDecision::PreconditionFailed
        }
        None | Some(Coverage::Covered) => OfflineDecision::Serve { index },
    }
}

/// RFC 9110, 13.2.2: false if If-Match, or without it If-Unmodified-Since, fails.
fn meets_origin_condition(request: &Request<'_>, stored: &Representation<'_>) -> bool {
    // RFC 9110, 13.2.1: conditions only apply to successful responses.
    if !request.has_origin_condition() || !stored.status.is_success() {
        return true;
    }
    if request.headers.contains_key(IF_MATCH) {
        let lines = request.headers.get_all(IF_MATCH);
        let mut tags = lines.flat_map(|line| entity_tags(line.as_bytes()));
        return tags
            .any(|tag| tag == b"*" || stored.etag.is_some_and(|held| strongly_equal(tag, held)));
    }
    let mut lines = request.headers.get_all(IF_UNMODIFIED_SINCE);
    let (Some(since), None) = (lines.next(), lines.next()) else {
        return true;
    };
    let date = |text: &[u8]| http_date(text, stored.received);
    match (date(since.as_bytes()), stored.last_modified.and_then(date)) {
        (Some(since), Some(modified)) => modified.unix_seconds() <= since.unix_seconds(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Mode, Reason,
        fixture::{DATE, Exchange, Lines, stored},
    };

    const MODES: [Mode; 3] = [Mode::Standard, Mode::Strict, Mode::Always];
    const HELD: Lines<'_> = &[
        ("cache-control", "max-age=1, must-revalidate"),
        ("etag", "\"a\""),
        ("last-modified", DATE),
        ("vary", "x-v"),
    ];

    fn decided(mode: Mode, held: &[StoredHead], exchange: &Exchange<'_>) -> OfflineDecision {
        let policy = Exchange::new(mode, &[]).policy;
        exchange.with_request(|request| decide_offline(&policy, request, held.iter()))
    }

    #[test]
    fn neither_age_nor_directives_matter_offline() {
        let served = OfflineDecision::Serve { index: 0 };
        for mode in MODES {
            let held = [stored(mode, HELD)];
            for request in [
                &[][..] as Lines<'_>,
                &[("cache-control", "no-cache")],
                &[("cache-control", "no-store")],
                &[("cache-control", "max-age=0, only-if-cached")],
                &[("pragma", "no-cache")],
                &[("range", "bytes=0-1")],
                &[("if-none-match", "\"a\"")],
                &[("if-match", "\"x\", \"a\"")],
                &[("if-match", "*")],
                &[("if-unmodified-since", DATE)],
                &[("if-unmodified-since", "x")],
            ] {
                let exchange = Exchange::new(mode, &[]).request(request);
                assert_eq!(decided(mode, &held, &exchange), served, "{request:?}");
            }
        }
    }

    #[test]
    fn s13_conditions_for_the_origin_are_evaluated_offline() {
        let earlier = "Mon, 23 Nov 2020 03:20:00 GMT";
        for mode in MODES {
            let held = [stored(mode, HELD)];
            for request in [
                &[("if-match", "\"b\"")][..] as Lines<'_>,
                &[("if-match", "W/\"a\"")],
                &[("if-match", "")],
                &[("if-unmodified-since", earlier)],
            ] {
                let exchange = Exchange::new(mode, &[]).request(request);
                let found = decided(mode, &held, &exchange);
                assert_eq!(found, OfflineDecision::PreconditionFailed, "{request:?}");
            }
        }
    }

    #[test]
    fn vary_identity_method_and_body_matter_offline() {
        let mode = Mode::Standard;
        let nothing = OfflineDecision::NotStored;
        let held = [stored(mode, HELD)];
        let other_vary = Exchange::new(mode, &[]).request(&[("x-v", "1")]);
        assert_eq!(decided(mode, &held, &other_vary), nothing);
        let identified = Exchange::new(mode, &[]).identity(1);
        assert_eq!(decided(mode, &held, &identified), nothing);
        for (method, content) in [
            (Method::POST, RequestContent::None),
            (Method::DELETE, RequestContent::None),
            (Method::GET, RequestContent::Some),
        ] {
            let mut exchange = Exchange::new(mode, &[]);
            (exchange.method, exchange.content) = (method, content);
            assert_eq!(decided(mode, &held, &exchange), nothing);
        }
        let bypassing = Exchange::new(mode, &[]).with_request(|request| {
            let request = request.clone().bypassing(Some(Reason::Rule));
            let policy = Exchange::new(mode, &[]).policy;
            decide_offline(&policy, &request, held.iter())
        });
        assert_eq!(bypassing, nothing);
    }
}
