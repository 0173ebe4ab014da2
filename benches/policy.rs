//! What the policy costs a request. The aims: `decide` about a fresh hit below 300 ns, reading the cache directives of
//! a head below 1 us.
//!
//! Dates have no entry of their own: `admit/expires` reads one more than `admit/silent`, `answer/if-modified-since` reads
//! two.

use std::{hint::black_box, time::Duration};

use actix_web::http::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use caching_proxy::policy::{
    self, ClientDirectives, Globs, Mode, OriginIndex, Patterns, PersistedQueries, Policy,
    QueryOrder, Request, RequestContent, Response, ResponseHeaders, Route, Routes, Rule, Rules,
    StoredHead, Time,
};
use criterion::{Bencher, Criterion, criterion_group, criterion_main};

/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);
const DATE: (&str, &str) = ("date", "Mon, 23 Nov 2026 03:30:00 GMT");
const MODES: [Mode; 3] = [Mode::Standard, Mode::Strict, Mode::Always];

type Lines<'a> = &'a [(&'a str, &'a str)];

/// What a browser sends.
const BROWSER: Lines<'_> = &[
    ("host", "dummyjson.com"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("accept-language", "en-US,en;q=0.5"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("via", "1.1 caching-proxy"),
];

/// What an API answers.
const REPLY: Lines<'_> = &[
    DATE,
    ("content-type", "application/json; charset=utf-8"),
    (
        "cache-control",
        "public, max-age=600, stale-while-revalidate=60",
    ),
    ("etag", "W/\"9a6-Zk1Bq3cVxxGJ0QmV2yJQ2n0XGtk\""),
    ("last-modified", "Mon, 23 Nov 2026 02:30:00 GMT"),
    ("x-ratelimit-limit", "100"),
];

/// No directive at all: what everything else in `admit` costs.
const SILENT: Lines<'_> = &[DATE, ("etag", "\"a\"")];

fn headers(lines: Lines<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn policy_of(mode: Mode) -> Policy {
    Policy {
        mode,
        ttl: None,
        max_stale: Duration::from_secs(86_400),
        client_directives: ClientDirectives::Obeyed,
        identity_headers: Patterns::new(["*api-key*", "*-token", "*-auth*"]),
        identity_cookies: Patterns::new(["*"]),
        ignored_cookies: Patterns::new(["_ga*", "__cf_bm"]),
    }
}

fn request<'a>(policy: &Policy, headers: &'a HeaderMap) -> Request<'a> {
    Request::new(policy, &Method::GET, headers, RequestContent::None, None)
}

fn response_headers(lines: Lines<'_>) -> ResponseHeaders {
    let lines = lines.iter();
    lines
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

fn reply(headers: &ResponseHeaders) -> Response<'_> {
    Response {
        status: StatusCode::OK,
        headers,
        connection_fields: None,
        request_time: NOW,
        response_time: NOW,
    }
}

fn stored(policy: &Policy, asked: Lines<'_>, replied: Lines<'_>) -> Vec<StoredHead> {
    let (asked, replied) = (headers(asked), response_headers(replied));
    let admitted = policy::admit(policy, &request(policy, &asked), &reply(&replied));
    admitted.into_iter().collect()
}

fn decide(criterion: &mut Criterion) {
    for mode in MODES {
        let policy = policy_of(mode);
        let browser = headers(BROWSER);
        let request = request(&policy, &browser);
        let mut group = criterion.benchmark_group(format!("decide/{mode:?}"));
        let mut measure = |name: &str, variants: &[StoredHead]| {
            group.bench_function(name, |bencher: &mut Bencher<'_>| {
                bencher.iter(|| {
                    policy::decide(
                        &policy,
                        black_box(&request),
                        black_box(variants).iter(),
                        NOW,
                    )
                });
            });
        };
        measure("one variant", &stored(&policy, BROWSER, REPLY));
        let varied = [REPLY, &[("vary", "accept-language, accept-encoding")]].concat();
        let variant = |language| {
            let others = BROWSER
                .iter()
                .filter(|(name, _)| *name != "accept-language");
            let asked: Vec<_> = others
                .copied()
                .chain([("accept-language", language)])
                .collect();
            stored(&policy, &asked, &varied)
        };
        let variants = ["de", "fr,en;q=0.5", "en-US,en;q=0.5"]
            .map(variant)
            .concat();
        measure("Vary and three variants", &variants);
        group.finish();
    }
}

fn read_directives(criterion: &mut Criterion) {
    let policy = policy_of(Mode::Standard);
    let mut group = criterion.benchmark_group("request");
    let reload = [BROWSER, &[("cache-control", "max-age=0, no-cache")]].concat();
    for (name, lines) in [("plain", BROWSER), ("reload", &reload)] {
        let asked = headers(lines);
        group.bench_function(name, |bencher| {
            bencher.iter(|| request(&policy, black_box(&asked)))
        });
    }
    group.finish();

    // All that `admit` reads and copies; what the directives cost of it is the difference to `silent`.
    let mut group = criterion.benchmark_group("admit");
    let asked = headers(BROWSER);
    let request = request(&policy, &asked);
    let tagged = |field: (&'static str, &'static str)| [SILENT, &[field]].concat();
    for (name, lines) in [
        ("silent", SILENT.to_vec()),
        ("short directives", tagged(("cache-control", "max-age=600"))),
        (
            "long directives",
            tagged((
                "cache-control",
                "public, max-age=600, s-maxage=3600, must-revalidate, proxy-revalidate, \
                 stale-while-revalidate=60, stale-if-error=86400, no-transform, no-cache=\"set-cookie\"",
            )),
        ),
        (
            "expires",
            tagged(("expires", "Mon, 23 Nov 2026 04:30:00 GMT")),
        ),
        (
            "targeted directives",
            tagged(("cdn-cache-control", "max-age=600, stale-if-error=86400")),
        ),
        ("an answer of an API", REPLY.to_vec()),
    ] {
        let replied = response_headers(&lines);
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| policy::admit(&policy, black_box(&request), black_box(&reply(&replied))));
        });
    }
    group.finish();
}

fn answer(criterion: &mut Criterion) {
    let policy = policy_of(Mode::Standard);
    let mut group = criterion.benchmark_group("answer");
    for (name, field) in [
        ("whole", ("accept", "*/*")),
        (
            "if-none-match",
            (
                "if-none-match",
                "\"x\", W/\"9a6-Zk1Bq3cVxxGJ0QmV2yJQ2n0XGtk\"",
            ),
        ),
        (
            "if-modified-since",
            ("if-modified-since", "Mon, 23 Nov 2026 02:30:00 GMT"),
        ),
        ("range", ("range", "bytes=100-199")),
    ] {
        let asked = headers(&[BROWSER, &[field]].concat());
        let request = request(&policy, &asked);
        for stored in stored(&policy, BROWSER, REPLY) {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    policy::response_form(black_box(&request), black_box(&stored), Some(1000))
                });
            });
        }
    }
    group.finish();
}

/// Routes of which none matches the target of the benchmark.
fn routes(count: usize) -> Routes {
    let route = |number: usize| {
        let path = Globs::new([format!("/service-{number}/*").as_str()]);
        let settings = Rule {
            path: path.clone(),
            policy: policy_of(Mode::Standard),
            stores: true,
            ignored_parameters: Globs::default(),
            order: QueryOrder::AsWritten,
            store_post_bytes: None,
            persisted_queries: PersistedQueries::Change,
            invalidates: true,
            set_keys: Vec::new(),
        };
        Route {
            name: "/api/*".into(),
            place: "--route".into(),
            path,
            host: None,
            origins: [OriginIndex(1)].into(),
            stripped_prefix: "".into(),
            preserves_host: None,
            settings,
            rules: Rules::default(),
            scope: Some("http://localhost:3001".into()),
        }
    };
    Routes::new((0..count).map(route).collect(), vec![OriginIndex(0)])
}

fn find_route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find route");
    for count in [0, 20] {
        let routes = routes(count);
        group.bench_function(format!("none of {count}"), |bencher| {
            bencher.iter(|| routes.index_for(black_box("/service/assets/app.js?v=1"), None));
        });
    }
    group.finish();
}

criterion_group!(benches, decide, read_directives, answer, find_route);
criterion_main!(benches);
