//! Points 1 to 7: which responses and which of their headers are stored.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    harness::{TestProxy, http_date},
    origin::Origin,
    points::{check, check_ok},
};

const HEURISTIC: [&str; 12] = [
    "200", "203", "204", "206", "300", "301", "308", "404", "405", "410", "414", "501",
];

/// Headers of a response made a minute ago and unchanged for ten days: heuristically fresh for a day.
fn long_unchanged() -> String {
    format!(
        "Date: {}\r\nLast-Modified: {}\r\n",
        http_date(-60),
        http_date(-864_060)
    )
}

#[test]
fn point_01_a_response_without_lifetime_and_validator_is_not_reused_by_strict() {
    let dated = format!("Date: {}\r\n", http_date(0));
    let rows = [
        "",
        "X-Other: 1\r\n",
        "Cache-Control: no-transform\r\n",
        "Cache-Control: foo=bar, public\r\n",
        "Vary: Accept\r\n",
        &dated,
    ];
    for (mode, second) in [(Strict, "MISS"), (Standard, "HIT"), (Always, "HIT")] {
        check_ok(mode, "", &rows.map(|fields| (fields, second)));
    }
    let mut origin = Origin::counting("");
    let proxy = TestProxy::with_mode(&origin, Strict);
    let first = proxy.get("/");
    assert_eq!(
        first.field("cache-status"),
        Some("caching-proxy; fwd=uri-miss; fwd-status=200; detail=no-lifetime")
    );
    // It is not served as a stale response either.
    origin.stop();
    assert_eq!(proxy.get("/").status(), 502);
}

#[test]
fn point_02a_any_final_status_with_explicit_freshness_is_stored_and_relayed_unchanged() {
    let statuses = [
        "200", "201", "202", "203", "204", "205", "207", "226", "299", "300", "301", "302", "303",
        "305", "307", "308", "399", "400", "401", "403", "404", "405", "410", "418", "429", "451",
        "499", "500", "501", "502", "503", "504", "511", "599",
    ];
    let expires = format!("Expires: {}\r\n", http_date(600));
    for fields in ["Cache-Control: max-age=60\r\n", &expires] {
        let rows = statuses.map(|status| (format!("{status} Reason"), fields, "HIT"));
        check(Strict, "", &rows);
        check(Standard, "", &rows);
    }
    let kept = |status: &str| {
        matches!(status, "404" | "410") || status.starts_with('2') || status.starts_with('3')
    };
    let rows = statuses.map(|status| {
        let second = if kept(status) { "HIT" } else { "MISS" };
        (
            format!("{status} Reason"),
            "Cache-Control: no-store\r\n",
            second,
        )
    });
    check(Always, "", &rows);
}

#[test]
fn point_02b_a_304_is_never_stored() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange
            .send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n\r\n"),
        _ => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=60\r\n", "body"),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut client = proxy.connect();
    let answer = client.ask("/", "If-None-Match: \"v\"\r\n").answer();
    assert_eq!((answer.status(), answer.x_cache()), (304, "MISS"));
    client.ask("/", "").answer().expect(200, "MISS", "body");
    client.ask("/", "").answer().expect(200, "HIT", "body");
    assert_eq!(origin.count(), 2);
}

#[test]
fn point_03a_heuristic_freshness_needs_certain_statuses_or_public() {
    let fields = long_unchanged();
    let public = format!("{fields}Cache-Control: public\r\n");
    let rows: Vec<_> = (200..=599)
        .filter(|status| ![206, 304].contains(status))
        .filter(|status| status % 100 <= 20 || *status == 599)
        .flat_map(|status| {
            let status = status.to_string();
            let second = if HEURISTIC.contains(&&*status) {
                "HIT"
            } else {
                "MISS"
            };
            let line = format!("{status} Reason");
            [(line.clone(), &fields, second), (line, &public, "HIT")]
        })
        .collect();
    check(Strict, "", &rows);
}

#[test]
fn point_03b_a_part_may_be_heuristically_fresh() {
    let fields = format!("{}Content-Range: bytes 0-9/90\r\n", long_unchanged());
    let rows = [("206 Partial Content", &fields, "HIT")];
    check(Strict, "Range: bytes=0-9\r\n", &rows);
    // The Last-Modified is a strong validator.
    check(Standard, "Range: bytes=0-9\r\n", &rows);
    let fields = format!("{fields}ETag: W/\"v\"\r\n");
    let rows = [("206 Partial Content", &fields, "MISS")];
    check(Standard, "Range: bytes=0-9\r\n", &rows);
}

#[test]
fn point_03c_the_heuristic_is_a_tenth_and_at_most_a_day() {
    let rows: Vec<(String, &str)> = [
        (10_000, 900, "HIT"),
        (10_000, 1_001, "MISS"),
        (8_640_000, 86_300, "HIT"),
        (8_640_000, 86_401, "MISS"),
        (-10_000, 0, "MISS"),
        (0, 0, "MISS"),
    ]
    .into_iter()
    .map(|(unchanged, age, second)| {
        let (date, modified) = (http_date(0), http_date(-unchanged));
        let fields = format!("Date: {date}\r\nLast-Modified: {modified}\r\nAge: {age}\r\n");
        (fields, second)
    })
    .collect();
    check_ok(Strict, "", &rows);
}

#[test]
fn point_04a_no_store_and_private_stop_storing() {
    let rows = [
        ("no-store, max-age=60", "no-store"),
        ("NO-STORE,max-age=60", "no-store"),
        ("max-age=60, no-store", "no-store"),
        ("public, no-store, s-maxage=60", "no-store"),
        ("max-age=60\r\nCache-Control: foo, no-store", "no-store"),
        ("private, max-age=60", "private"),
        ("Private, public, s-maxage=60", "private"),
        ("must-understand, private, max-age=60", "private"),
    ];
    for (directives, detail) in rows {
        let fields = format!("Cache-Control: {directives}\r\nETag: \"v\"\r\n");
        let origin = Origin::start(move |exchange| exchange.ok(&fields, "body"));
        let proxy = TestProxy::with_mode(&origin, Strict);
        let detail = format!("caching-proxy; fwd=uri-miss; fwd-status=200; detail={detail}");
        for _ in 0..2 {
            let answer = proxy.get("/");
            answer.expect(200, "MISS", "body");
            assert_eq!(answer.field("cache-status"), Some(&*detail), "{directives}");
            assert_eq!(origin.last().field("if-none-match"), None, "{directives}");
        }
    }
    let fields = rows.map(|(directives, _)| format!("Cache-Control: {directives}\r\n"));
    check_ok(Standard, "", &fields.clone().map(|fields| (fields, "MISS")));
    check_ok(Always, "", &fields.map(|fields| (fields, "HIT")));
}

#[test]
fn point_04b_must_understand_overrides_no_store_for_statuses_we_know() {
    let both = "Cache-Control: no-store, must-understand, max-age=60\r\n";
    let other_order = "Cache-Control: max-age=60, Must-Understand, no-store\r\n";
    let alone = "Cache-Control: must-understand, max-age=60\r\n";
    let known = ["200", "203", "204", "301", "404", "410", "500", "503"];
    let unknown = ["299", "399", "418", "499", "599"];
    let mut rows = Vec::new();
    for fields in [both, other_order, alone] {
        rows.extend(known.map(|status| (format!("{status} Known"), fields, "HIT")));
        rows.extend(unknown.map(|status| (format!("{status} Unknown"), fields, "MISS")));
    }
    check(Strict, "", &rows);
    check(Standard, "", &rows);
}

#[test]
fn point_04c_qualified_private_and_no_cache_concern_only_the_named_headers() {
    for directive in [
        "private=\"x-a, x-b\"",
        "no-cache=\"x-a, x-b\"",
        "private=\"X-A,X-B\"",
        "NO-CACHE=\" x-b ,\tX-a\"",
        "private=x-a, no-cache=x-b",
    ] {
        let fields = format!(
            "Cache-Control: {directive}, max-age=60\r\nX-A: 1\r\nX-B: 2\r\nX-b: 3\r\nX-C: 4\r\nETag: \"v\"\r\n"
        );
        let origin = Origin::start(move |exchange| exchange.ok(&fields, "body"));
        let proxy = TestProxy::with_mode(&origin, Strict);
        let first = proxy.get("/");
        first.expect(200, "MISS", "body");
        let found = (first.field("x-a"), first.all("x-b"), first.field("x-c"));
        assert_eq!(found, (Some("1"), vec!["2", "3"], Some("4")), "{directive}");
        let second = proxy.get("/");
        second.expect(200, "HIT", "body");
        let found = (second.field("x-a"), second.all("x-b"), second.field("x-c"));
        assert_eq!(found, (None, vec![], Some("4")), "{directive}");
        assert_eq!(origin.count(), 1, "{directive}");
    }
}

#[test]
fn point_05_no_cache_is_validated_on_every_use() {
    for directives in [
        "no-cache",
        "no-cache, max-age=60",
        "max-age=60\r\nCache-Control: No-Cache",
    ] {
        let fields = format!("ETag: \"v\"\r\nCache-Control: {directives}\r\n");
        let origin = Origin::start(
            move |exchange| match exchange.request.field("if-none-match") {
                Some(_) => exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n"),
                None => exchange.ok(&fields, "body"),
            },
        );
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "body");
        for asked in 2..5 {
            let answer = proxy.get("/");
            answer.expect(200, "HIT", "body");
            let status = answer.field("cache-status").unwrap();
            assert!(
                status.starts_with("caching-proxy; fwd=stale; fwd-status=304"),
                "{status}"
            );
            assert_eq!(origin.count(), asked);
            assert_eq!(
                origin.last().field("if-none-match").as_deref(),
                Some("\"v\"")
            );
        }
    }
    // Pragma has no meaning in a response; for `standard` it only counts as a directive of the origin.
    let heuristic = format!("{}Pragma: no-cache\r\n", long_unchanged());
    let fresh = "Cache-Control: max-age=60\r\nPragma: no-cache\r\n";
    for mode in [Strict, Standard, Always] {
        check_ok(mode, "", &[(fresh, "HIT"), (&*heuristic, "HIT")]);
    }
}

#[test]
fn point_06_an_authorized_response_is_stored_only_with_permission_of_the_origin() {
    let heuristic = format!("{}Cache-Control: must-revalidate\r\n", long_unchanged());
    let expires = format!("Expires: {}\r\nETag: \"v\"\r\n", http_date(600));
    let silent = long_unchanged();
    let rows = [
        ("Cache-Control: max-age=60\r\n", "MISS"),
        (
            "Cache-Control: max-age=60, proxy-revalidate, immutable\r\n",
            "MISS",
        ),
        ("Cache-Control: max-age=60, x=\"public\"\r\n", "MISS"),
        (&*expires, "MISS"),
        (&*silent, "MISS"),
        ("Cache-Control: public, max-age=60\r\n", "HIT"),
        ("Cache-Control: PUBLIC, max-age=60\r\n", "HIT"),
        ("Cache-Control: must-revalidate, max-age=60\r\n", "HIT"),
        (&*heuristic, "HIT"),
        ("Cache-Control: s-maxage=60\r\n", "HIT"),
        ("Cache-Control: public, private, max-age=60\r\n", "MISS"),
    ];
    check_ok(Strict, "Authorization: Bearer x\r\n", &rows);
    let unaffected = [("Cache-Control: max-age=60\r\n", "HIT")];
    check_ok(Strict, "Proxy-Authorization: Basic x\r\n", &unaffected);
    check_ok(Strict, "Cookie: sid=1\r\n", &unaffected);
    check_ok(Standard, "Authorization: Bearer x\r\n", &unaffected);

    let origin = Origin::start(|exchange| {
        let fields = format!(
            "Cache-Control: {}\r\nETag: \"v\"\r\n",
            &exchange.target()[1..]
        );
        exchange.ok(&fields, "body");
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let authorized = "Authorization: Bearer x\r\n";
    let refused = proxy.get_with("/max-age=60", authorized);
    assert_eq!(
        refused.field("cache-status"),
        Some("caching-proxy; fwd=uri-miss; fwd-status=200; detail=authorization")
    );
    // A shareable response is shared with all requests, and so is one stored without Authorization.
    proxy
        .get_with("/max-age=60,public", authorized)
        .expect(200, "MISS", "body");
    proxy.get("/max-age=60,public").expect(200, "HIT", "body");
    proxy.get("/max-age=60").expect(200, "MISS", "body");
    proxy
        .get_with("/max-age=60", authorized)
        .expect(200, "HIT", "body");
}

const CONNECTION_FIELDS: &str = "Connection: X-Named , keep-alive\r\nconnection: x-other\r\nX-Named: 1\r\nX-OTHER: 1\r\nX-Other: 2\r\n\
     Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
     Proxy-Authentication-Info: x\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\nTrailer: X-T\r\nX-Kept: 1\r\n\
     X-Dup: b\r\nX-Between: 0\r\nx-dup: a\r\nX-Dup: b\r\nProxy-Status: far; error=x\r\n";
const GONE: [&str; 12] = [
    "x-named",
    "x-other",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "connection",
];

#[test]
fn point_07a_hop_by_hop_headers_of_the_origin_are_neither_stored_nor_forwarded() {
    let origin = Origin::start(|exchange| {
        let fields = format!("{CONNECTION_FIELDS}Upgrade: h2c\r\nCache-Control: max-age=60\r\n");
        exchange.ok(&fields, "body");
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut client = proxy.connect();
    for outcome in ["MISS", "HIT"] {
        let answer = client.ask("/", "").answer();
        answer.expect(200, outcome, "body");
        for name in GONE {
            assert!(answer.all(name).is_empty(), "{name}: {:?}", answer.head);
        }
        assert_eq!(answer.all("x-dup"), ["b", "a", "b"]);
        assert_eq!(
            (answer.field("proxy-status"), answer.field("x-kept")),
            (Some("far; error=x"), Some("1"))
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn point_07b_hop_by_hop_headers_of_the_client_are_not_forwarded() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::with_mode(&origin, Strict);
    for method in ["GET", "POST", "HEAD"] {
        let mut client = proxy.connect();
        client.send(format!(
            "{method} /{method} HTTP/1.1\r\nHost: a\r\n{CONNECTION_FIELDS}\r\n"
        ));
        assert_eq!(client.answer_to(method).status(), 200);
        let seen = origin.last();
        for name in GONE.iter().filter(|name| **name != "connection") {
            assert!(seen.fields(name).is_empty(), "{method} {name}: {seen:?}");
        }
        let connection = seen.fields("connection").concat().to_lowercase();
        assert!(!connection.contains("x-"), "{connection}");
        assert_eq!(seen.fields("x-dup"), ["b", "a", "b"]);
        assert_eq!(seen.fields("x-kept"), ["1"]);
        assert_eq!(seen.fields("proxy-status"), ["far; error=x"]);
    }
}
