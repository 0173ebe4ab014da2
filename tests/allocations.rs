//! A fresh hit allocates no memory while the policy decides.
//!
//! This is a separate test binary because it has its own global allocator.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in the helpers that are not test functions themselves"
)]

use std::time::Duration;

use actix_web::http::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use caching_proxy::{
    headers::CacheStatus,
    observe::{LiveRequests, Observer, RouteSlot},
    policy::{
        ClientDirectives, Decision, Mode, Patterns, Policy, Request, RequestContent, Response,
        ResponseForm, ResponseHeaders, Reuse, StoredHead, Time, admit, decide, response_form,
    },
};

/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);

type Lines<'a> = &'a [(&'a str, &'a str)];

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        ttl: None,
        max_stale: Duration::from_secs(86_400),
        client_directives: ClientDirectives::Obeyed,
        identity_headers: Patterns::new(["*api-key*"]),
        identity_cookies: Patterns::new(["*"]),
        ignored_cookies: Patterns::new(["_ga*"]),
    }
}

fn request<'a>(policy: &Policy, headers: &'a HeaderMap) -> Request<'a> {
    Request::new(policy, &Method::GET, headers, RequestContent::None, None)
}

fn stored(policy: &Policy, asked: Lines<'_>) -> StoredHead {
    let replied = ResponseHeaders::from_iter([
        (&b"cache-control"[..], &b"max-age=600"[..]),
        (b"etag", b"\"a\""),
        (b"vary", b"accept-language, x-a"),
    ]);
    let reply = Response {
        status: StatusCode::OK,
        headers: &replied,
        connection_fields: None,
        request_time: NOW,
        response_time: NOW,
    };
    admit(policy, &request(policy, &headers(asked)), &reply).unwrap()
}

/// The decision for a request, and the number of allocations that it took.
fn served(
    policy: &Policy,
    asked: &HeaderMap,
    variants: &[StoredHead],
) -> (Decision, ResponseForm, u64) {
    let mut found = (Decision::NotCached, ResponseForm::Full);
    let counted = allocation_counter::measure(|| {
        let request = request(policy, asked);
        let decision = decide(policy, &request, variants.iter(), NOW);
        found = (decision, response_form(&request, &variants[0], Some(100)));
    });
    (found.0, found.1, counted.count_total)
}

#[test]
fn a_fresh_hit_allocates_nothing_in_the_policy() {
    const GERMAN: Lines<'_> = &[("accept-language", "de, en;q=0.5"), ("accept", "*/*")];
    const FRENCH: Lines<'_> = &[("accept-language", "fr"), ("x-a", "1")];
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        let policy = policy(mode);
        let variants = [FRENCH, &[], GERMAN].map(|asked| stored(&policy, asked));
        for (asked, index) in [(FRENCH, 0), (&[], 1), (GERMAN, 2)] {
            let (decision, answer, count) = served(&policy, &headers(asked), &variants);
            let reuse = Reuse::Fresh;
            assert_eq!(
                decision,
                Decision::Serve { index, reuse },
                "{mode:?} {asked:?}"
            );
            assert_eq!(answer, ResponseForm::Full);
            assert_eq!(count, 0, "{mode:?} {asked:?}");
        }
    }
}

#[test]
fn a_conditional_hit_allocates_nothing_in_the_policy() {
    let policy = policy(Mode::Strict);
    let variants = [stored(&policy, &[])];
    let asked = headers(&[
        ("if-none-match", "\"b\", W/\"a\""),
        ("cache-control", "max-age=60, min-fresh=5"),
    ]);
    let (_, answer, count) = served(&policy, &asked, &variants);
    assert_eq!((answer, count), (ResponseForm::NotModified, 0));
}

#[test]
fn counting_a_hit_allocates_nothing() {
    let observer = Observer::new(LiveRequests::Off, 1);
    let tally = observer.tally();
    let hit = CacheStatus {
        saved_millis: 300,
        ..CacheStatus::hit(Some(60))
    };
    let counted = allocation_counter::measure(|| {
        tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &hit);
        tally.saved(100);
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(observer.totals().hits(), 1);
}

#[test]
fn the_counting_allocator_counts_an_allocation() {
    let counted = allocation_counter::measure(|| {
        std::hint::black_box(Box::new(7));
    });
    assert_eq!(counted.count_total, 1);
}
