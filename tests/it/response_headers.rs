//! Headers of responses: which count, which are passed on, and which are stored.

use caching_proxy::policy::Mode;

use crate::{
    harness::{TestProxy, until},
    origin::{Gate, Origin},
};

const MODES: [Mode; 3] = [Mode::Standard, Mode::Strict, Mode::Always];

#[test]
fn headers_that_connection_names_count_and_go_no_further() {
    for (name, value, detail) in [
        ("Cache-Control", "private, no-store", "detail=no-store"),
        ("Set-Cookie", "session=1", "detail=set-cookie"),
        ("Vary", "*", "detail=vary-star"),
        ("Expires", "0", "fwd-status=200"),
        ("CDN-Cache-Control", "no-store", "detail=no-store"),
    ] {
        let origin = Origin::start(move |exchange| {
            let fields = format!("Connection: {name}, x-hop\r\n{name}: {value}\r\nX-Hop: 1\r\n");
            exchange.ok(&fields, format!("#{}", exchange.nth));
        });
        let proxy = TestProxy::to(&origin);
        for body in ["#0", "#1"] {
            let response = proxy.get("/");
            response.expect(200, "MISS", body);
            assert_eq!(response.field(name), None);
            assert_eq!(response.field("x-hop"), None);
            let status = response.field("cache-status").unwrap();
            assert!(status.contains(detail), "{name}: {status}");
        }
    }
}

#[test]
fn an_age_that_connection_names_makes_a_response_older() {
    let origin = Origin::counting("Connection: Age\r\nAge: 100\r\nCache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    proxy.get("/").expect(200, "MISS", "GET / #1");
}

#[test]
fn a_vary_that_connection_names_selects() {
    let origin = Origin::counting("Connection: Vary\r\nVary: Accept\r\n");
    let proxy = TestProxy::to(&origin);
    let (html, json) = ("Accept: text/html\r\n", "Accept: application/json\r\n");
    proxy.expect_gets(
        "/",
        &[
            (html, "MISS", "GET / #0"),
            (json, "MISS", "GET / #1"),
            (html, "HIT", "GET / #0"),
        ],
    );
}

#[test]
fn a_304_is_judged_with_the_headers_that_connection_names() {
    let origin = Origin::start(|exchange| {
        if exchange.request.field("if-none-match").is_some() {
            exchange.send(
                "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nConnection: Cache-Control\r\n\
                 Cache-Control: no-store\r\n\r\n",
            );
        } else {
            let fields = "ETag: \"v\"\r\nCache-Control: max-age=0\r\n";
            exchange.ok(fields, format!("#{}", exchange.nth));
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let validated = proxy.get("/");
    validated.expect(200, "HIT", "#0");
    let status = validated.field("cache-status").unwrap();
    assert!(status.contains("detail=no-store"), "{status}");
    proxy.get("/").expect(200, "MISS", "#2");
}

/// Responds with a body that is stale at once, and to validations with a 304 that sets a cookie, after the gate.
fn cookie_in_304(gate: &Gate, lifetime: &'static str) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| {
        if exchange.request.field("if-none-match").is_some() {
            gate.wait();
            let cookie = format!("Set-Cookie: s={}\r\nSet-Cookie: t=1\r\n", exchange.nth);
            exchange.send(format!(
                "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n{lifetime}{cookie}\r\n"
            ));
        } else {
            exchange.ok(
                "ETag: \"v\"\r\nCache-Control: public, max-age=0\r\n",
                "body",
            );
        }
    })
}

#[test]
fn a_cookie_in_a_304_is_for_the_client_whose_request_was_validated() {
    for mode in MODES {
        let gate = Gate::default();
        let origin = cookie_in_304(&gate, "Cache-Control: public, max-age=60\r\n");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.get("/").expect(200, "MISS", "body");
        if mode == Mode::Always {
            // Nothing becomes stale, and nothing is validated.
            assert!(proxy.get("/").all("set-cookie").is_empty());
            continue;
        }
        gate.open();
        let validated = proxy.get("/");
        validated.expect(200, "HIT", "body");
        assert_eq!(validated.all("set-cookie"), ["s=1", "t=1"], "{mode:?}");
        let hit = proxy.get("/");
        hit.expect(200, "HIT", "body");
        assert!(hit.all("set-cookie").is_empty(), "{mode:?}");
    }
}

#[test]
fn a_follower_of_a_validation_gets_no_cookie() {
    let gate = Gate::default();
    let origin = cookie_in_304(&gate, "Cache-Control: public, max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    let mut leader = proxy.begin("/", "");
    origin.wait_for(2);
    let mut follower = proxy.begin("/", "If-None-Match: \"v\"\r\n");
    proxy.wait_for_followers(1);
    gate.open();
    assert_eq!(leader.answer().all("set-cookie"), ["s=1", "t=1"]);
    let followed = follower.answer();
    assert_eq!((followed.status(), origin.count()), (304, 2));
    assert!(followed.all("set-cookie").is_empty());
}

#[test]
fn a_client_that_gets_a_304_gets_the_cookie_of_the_validation() {
    let gate = Gate::default();
    gate.open();
    let origin = cookie_in_304(&gate, "Cache-Control: no-store\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    // The 304 forbids storing, so this is the last use of the stored response.
    let response = proxy.get_with("/", "If-None-Match: \"v\"\r\n");
    assert_eq!(response.status(), 304);
    assert_eq!(response.all("set-cookie"), ["s=1", "t=1"]);
}

#[test]
fn a_cookie_of_a_validation_in_the_background_reaches_nobody() {
    let origin = Origin::start(|exchange| {
        if exchange.request.field("if-none-match").is_some() {
            exchange.send(
                "HTTP/1.1 304 Not Modified\r\nCache-Control: public, max-age=60\r\n\
                 Set-Cookie: s=1\r\n\r\n",
            );
        } else {
            let fields = "ETag: \"v\"\r\nCache-Control: public, max-age=0, \
                          stale-while-revalidate=60\r\n";
            exchange.ok(fields, "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    let served = proxy.get("/");
    served.expect(200, "HIT", "body");
    assert!(served.all("set-cookie").is_empty());
    until("the validation is stored", || {
        let response = proxy.get("/");
        assert!(response.all("set-cookie").is_empty());
        response.field("cache-control") == Some("public, max-age=60")
    });
}

#[test]
fn a_304_from_the_cache_keeps_all_headers_but_those_about_the_content() {
    let origin = Origin::counting(
        "ETag: \"v\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
         Content-Type: text/css\r\nContent-Language: de\r\nContent-Location: /other\r\n\
         Content-Security-Policy: default-src 'none'\r\nAccess-Control-Allow-Origin: *\r\n\
         Timing-Allow-Origin: *\r\nX-RateLimit-Remaining: 7\r\nCache-Control: max-age=60\r\n",
    );
    for mode in MODES {
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.get("/").expect(200, "MISS", &proxy.get("/").text());
        let response = proxy.get_with("/", "If-None-Match: \"v\"\r\n");
        response.expect(304, "HIT", "");
        for (name, expected) in [
            ("etag", Some("\"v\"")),
            ("last-modified", None),
            ("content-type", None),
            ("content-language", None),
            ("content-location", Some("/other")),
            ("content-security-policy", Some("default-src 'none'")),
            ("access-control-allow-origin", Some("*")),
            ("timing-allow-origin", Some("*")),
            ("x-ratelimit-remaining", Some("7")),
            ("cache-control", Some("max-age=60")),
        ] {
            assert_eq!(response.field(name), expected, "{mode:?} {name}");
        }
        assert!(response.field("age").is_some());
    }
}

#[test]
fn the_content_range_of_a_200_is_a_header_like_any_other() {
    let origin = Origin::start(|exchange| {
        exchange.ok("Content-Range: 0-9/100\r\nContent-Type: a/b\r\n", "body");
    });
    let proxy = TestProxy::to(&origin);
    for x_cache in ["MISS", "HIT"] {
        let response = proxy.get("/");
        response.expect(200, x_cache, "body");
        assert_eq!(response.field("content-range"), Some("0-9/100"));
    }
    let part = proxy.get_with("/", "Range: bytes=1-2\r\n");
    part.expect(206, "HIT", "od");
    assert_eq!(part.field("content-range"), Some("bytes 1-2/4"));
    let parts = proxy.get_with("/", "Range: bytes=0-0,2-2\r\n");
    assert_eq!((parts.status(), parts.field("content-range")), (206, None));
}

#[test]
fn a_200_with_content_range_that_answers_a_range_is_not_stored() {
    for mode in MODES {
        let origin = Origin::start(|exchange| {
            let range = exchange.request.field("range").unwrap_or_default();
            let fields = format!(
                "Content-Range: {}/*\r\nCache-Control: max-age=60\r\n",
                &range[6..]
            );
            exchange.ok(&fields, range);
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        for range in ["items=0-1", "items=2-3"] {
            let response = proxy.get_with("/", &format!("Range: {range}\r\n"));
            response.expect(200, "MISS", range);
            let status = response.field("cache-status").unwrap();
            assert!(
                status.ends_with("detail=content-range"),
                "{mode:?}: {status}"
            );
        }
    }
}

#[test]
fn a_response_may_have_a_thousand_headers_and_nearly_64_kib_of_them() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.target().as_str() {
            "/many" => "A: b\r\n".repeat(999),
            "/long" => format!("A: {}\r\n", "b".repeat(60 * 1024)),
            "/too-many" => "A: b\r\n".repeat(1000),
            _ => format!("A: {}\r\n", "b".repeat(64 * 1024)),
        };
        exchange.ok(&fields, "body");
    });
    let proxy = TestProxy::to(&origin);
    for x_cache in ["MISS", "HIT"] {
        let many = proxy.get("/many");
        many.expect(200, x_cache, "body");
        assert_eq!(many.all("a").len(), 999);
        let long = proxy.get("/long");
        long.expect(200, x_cache, "body");
        assert_eq!(long.field("a").unwrap().len(), 60 * 1024);
    }
    for target in ["/too-many", "/too-long"] {
        assert_eq!(proxy.get(target).status(), 502, "{target}");
    }
}

#[test]
fn headers_keep_their_order_and_the_case_of_their_names() {
    const LINES: &str = "server: a\r\nETag: \"x\"\r\nX-UPPER: 1\r\nx-lower: 2\r\n\
                         Date: Mon, 23 Nov 2026 03:30:00 GMT\r\nCache-control: max-age=999999999\r\n\
                         X-Upper: 3\r\nLOCATION: /b\r\nWWW-Authenticate: b\r\n";
    let origin = Origin::start(|exchange| exchange.ok(LINES, "body"));
    let proxy = TestProxy::to(&origin);
    let expected: Vec<&str> = LINES.lines().collect();
    for (target, x_cache) in [("/", "MISS"), ("/", "HIT"), ("/?", "MISS")] {
        let response = proxy.get(target);
        response.expect(200, x_cache, "body");
        let lines = response.head.fields.iter();
        let lines: Vec<String> = lines
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let (of_origin, own) = lines.split_at(expected.len());
        assert_eq!(of_origin, expected, "{target} {x_cache}");
        let names = own.iter().map(|line| line.split(':').next().unwrap());
        let names: Vec<&str> = names.collect();
        let expected = match x_cache {
            "HIT" => vec![
                "Via",
                "Age",
                "X-Cache",
                "Cache-Status",
                "Content-Length",
                "Connection",
            ],
            _ => vec![
                "Via",
                "X-Cache",
                "Cache-Status",
                "Content-Length",
                "Connection",
            ],
        };
        assert_eq!(names, expected, "{target} {x_cache}");
    }
}
