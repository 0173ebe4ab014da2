//! Points 22 and 23: stale responses if the origin fails, and stale-while-revalidate.

use caching_proxy::policy::Mode::{Standard, Strict};

use crate::{
    client::Ending,
    harness::{TestProxy, http_date, until},
    origin::{Exchange, Gate, Origin},
    points::age,
};

/// The `ttl` of Cache-Status in seconds; negative for a stale response.
fn ttl(status: &str) -> i64 {
    let ttl = status.split("ttl=").nth(1).unwrap_or_default();
    let end = ttl.find(';').unwrap_or(ttl.len());
    ttl[..end]
        .parse()
        .unwrap_or_else(|_| panic!("no ttl: {status}"))
}

/// How a validation fails.
fn fail(exchange: &mut Exchange<'_>, how: &str) {
    match how {
        "reset" => exchange.reset(),
        "close" => exchange.close(),
        "half a head" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Le");
            exchange.close();
        }
        status => exchange.answer(status, "X-Whose: origin\r\n", "bad"),
    }
}

fn failing(fields: String, how: &'static str) -> Origin {
    Origin::start(move |exchange| match exchange.nth {
        0 => exchange.ok(&fields, "good"),
        _ => fail(exchange, how),
    })
}

#[test]
fn point_22a_a_stale_response_replaces_a_failure_if_nothing_forbids_it() {
    let expires = format!("Expires: {}\r\n", http_date(-60));
    for fields in [
        "ETag: \"v\"\r\nCache-Control: max-age=60\r\nAge: 70\r\n",
        "Cache-Control: max-age=60\r\nAge: 70\r\n",
        "Cache-Control: max-age=60, stale-if-error=600\r\nAge: 70\r\n",
        "Cache-Control: max-age=60, public, immutable\r\nAge: 70\r\n",
        &expires,
    ] {
        for how in [
            "reset",
            "close",
            "half a head",
            "500 A",
            "502 B",
            "503 C",
            "504 D",
        ] {
            for mode in [Strict, Standard] {
                let origin = failing(fields.to_owned(), how);
                let proxy = TestProxy::with_mode(&origin, mode);
                let mut client = proxy.connect();
                client.ask("/", "").answer().expect(200, "MISS", "good");
                for _ in 0..2 {
                    let stale = client.ask("/", "").answer();
                    stale.expect(200, "HIT", "good");
                    assert_eq!(stale.field("x-whose"), None);
                    let status = stale.field("cache-status").unwrap();
                    assert!(status.starts_with("caching-proxy; fwd=stale"), "{status}");
                    if let Ok(code) = how[..3].parse::<u16>() {
                        assert!(status.contains(&format!("fwd-status={code}")), "{status}");
                    }
                    if fields.contains("Age: 70") {
                        assert!((-39..=-10).contains(&ttl(status)), "{status}");
                        assert!((70..100).contains(&age(&stale)));
                    }
                }
            }
        }
        // A response that is no failure of the origin is relayed.
        for how in ["501 E", "505 F", "404 G", "429 H", "599 I"] {
            let origin = failing(fields.to_owned(), how);
            let proxy = TestProxy::with_mode(&origin, Strict);
            proxy.get("/").expect(200, "MISS", "good");
            proxy
                .get("/")
                .expect(how[..3].parse().unwrap(), "MISS", "bad");
        }
    }
}

#[test]
fn point_22b_a_stale_response_is_never_served_where_that_is_forbidden() {
    for directives in [
        "max-age=60, must-revalidate",
        "max-age=60, MUST-REVALIDATE, stale-if-error=600",
        "max-age=60, proxy-revalidate",
        "max-age=60, proxy-revalidate, stale-if-error=600",
        "s-maxage=60",
        "s-maxage=60, max-age=900, stale-if-error=600",
        "max-age=900, no-cache",
        "no-cache, stale-if-error=600",
    ] {
        for mode in [Strict, Standard] {
            for how in ["500 A", "503 C", "reset"] {
                let fields = format!("ETag: \"v\"\r\nCache-Control: {directives}\r\nAge: 70\r\n");
                let mut origin = failing(fields, how);
                let proxy = TestProxy::with_mode(&origin, mode);
                proxy.get("/").expect(200, "MISS", "good");
                let answer = proxy.get("/");
                match how {
                    "reset" => assert_eq!((answer.status(), answer.x_cache()), (504, "MISS")),
                    status => {
                        answer.expect(status[..3].parse().unwrap(), "MISS", "bad");
                        assert_eq!(answer.field("x-whose"), Some("origin"));
                    }
                }
                origin.stop();
                assert_eq!(proxy.get("/").status(), 504, "{mode:?} {directives} {how}");
            }
        }
    }
}

#[test]
fn point_22c_stale_use_is_limited_by_its_window_or_one_day() {
    for (directives, age, is_served) in [
        ("max-age=60, stale-if-error=100", 150, true),
        ("max-age=60, stale-if-error=100", 162, false),
        ("max-age=60, stale-if-error=0", 62, false),
        ("max-age=60, stale-if-error=x", 62, false),
        ("max-age=60, stale-if-error=200000", 150_000, true),
        ("max-age=60", 86_400, true),
        ("max-age=60", 86_462, false),
    ] {
        for (how, otherwise) in [("503 C", 503), ("close", 504)] {
            let fields = format!("ETag: \"v\"\r\nCache-Control: {directives}\r\nAge: {age}\r\n");
            let origin = failing(fields, how);
            let proxy = TestProxy::with_mode(&origin, Strict);
            proxy.get("/").expect(200, "MISS", "good");
            let expected = if is_served { 200 } else { otherwise };
            assert_eq!(
                proxy.get("/").status(),
                expected,
                "{directives} {age} {how}"
            );
        }
    }
}

#[test]
fn point_22d_a_body_truncated_during_a_validation_replaces_nothing() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok(
            "ETag: \"v\"\r\nCache-Control: max-age=60\r\nAge: 61\r\n",
            "good",
        ),
        1 => {
            exchange.send(
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut",
            );
            exchange.close();
        }
        _ => exchange.answer("503 Broken", "", "bad"),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "good");
    assert_eq!(proxy.get("/").ending, Ending::Cut);
    proxy.get("/").expect(200, "HIT", "good");
}

/// An origin whose responses are stale by `seconds`, with a window of 100 seconds and a new version each time.
fn revalidating(seconds: u64, gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| {
        let variant = exchange.request.field("x-v").unwrap_or_default();
        let fields = "Vary: X-V\r\nCache-Control: max-age=60, stale-while-revalidate=100\r\n";
        match exchange.request.field("if-none-match") {
            None if exchange.nth < 2 => {
                let fields = format!("{fields}ETag: \"{variant}\"\r\nAge: {}\r\n", 60 + seconds);
                exchange.ok(&fields, format!("old {variant}"));
            }
            _ => {
                gate.wait();
                exchange.ok(fields, format!("new {variant}"));
            }
        }
    })
}

#[test]
fn point_23a_a_stale_hit_is_immediate_and_starts_one_validation_per_variant() {
    let gate = Gate::default();
    let origin = revalidating(10, &gate);
    let proxy = TestProxy::with_mode(&origin, Strict);
    let variants = ["X-V: 1\r\n", "X-V: 2\r\n"];
    for (variant, body) in variants.iter().zip(["old 1", "old 2"]) {
        proxy.get_with("/", variant).expect(200, "MISS", body);
    }
    // Both validations wait at the gate, and all clients are served.
    for _ in 0..5 {
        for (variant, body) in variants.iter().zip(["old 1", "old 2"]) {
            let stale = proxy.get_with("/", variant);
            stale.expect(200, "HIT", body);
            let status = stale.field("cache-status").unwrap();
            assert!(status.starts_with("caching-proxy; hit; ttl=-"), "{status}");
            assert!((-39..=-10).contains(&ttl(status)), "{status}");
            assert!((70..100).contains(&age(&stale)));
        }
    }
    origin.wait_for(4);
    for variant in variants {
        proxy.get_with("/", variant);
    }
    assert_eq!(origin.count(), 4);
    let mut asked: Vec<_> = origin.seen()[2..]
        .iter()
        .map(|seen| {
            (
                seen.method(),
                seen.field("if-none-match"),
                seen.field("x-v"),
            )
        })
        .collect();
    asked.sort();
    let expected = ["1", "2"].map(|v| ("GET".into(), Some(format!("\"{v}\"")), Some(v.into())));
    assert_eq!(asked, expected);
    gate.open();
    for (variant, body) in variants.iter().zip(["new 1", "new 2"]) {
        until(body, || proxy.get_with("/", variant).text() == body);
        proxy.get_with("/", variant).expect(200, "HIT", body);
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn point_23b_stale_while_revalidate_ends_with_its_window() {
    for (seconds, first) in [(0, "old "), (80, "old "), (102, "new "), (5000, "new ")] {
        let gate = Gate::default();
        let origin = revalidating(seconds, &gate);
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "old ");
        gate.open();
        let expected = if first == "old " { "HIT" } else { "MISS" };
        proxy.get("/").expect(200, expected, first);
    }
    for directives in [
        "max-age=60, stale-while-revalidate=100, must-revalidate",
        "max-age=60, stale-while-revalidate=100, proxy-revalidate",
        "s-maxage=60, stale-while-revalidate=100",
        "max-age=60, stale-while-revalidate=100, no-cache",
        "max-age=60, stale-while-revalidate=x",
        "max-age=60, stale-while-revalidate",
    ] {
        let fields = format!("ETag: \"v\"\r\nCache-Control: {directives}\r\nAge: 70\r\n");
        let origin = Origin::start(move |exchange| {
            exchange.ok(&fields, format!("#{}", exchange.nth));
        });
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "#0");
        assert_eq!(proxy.get("/").text(), "#1", "{directives}");
    }
}

#[test]
fn point_23c_heads_ranges_and_conditions_are_served_and_the_whole_is_validated() {
    for (method, fields, status, body) in [
        ("HEAD", "", 200, ""),
        ("GET", "Range: bytes=0-2\r\n", 206, "old"),
        ("GET", "If-None-Match: \"\"\r\n", 304, ""),
        (
            "GET",
            "If-None-Match: \"x\"\r\nIf-Range: \"x\"\r\nRange: bytes=0-2\r\n",
            200,
            "old ",
        ),
    ] {
        let gate = Gate::default();
        let origin = revalidating(10, &gate);
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "old ");
        let stale = proxy.request(method, "/", fields, b"");
        let found = (stale.status(), stale.x_cache(), stale.text());
        assert_eq!(found, (status, "HIT", body.to_owned()), "{method} {fields}");
        origin.wait_for(2);
        let seen = origin.last();
        assert_eq!(seen.method(), "GET", "{method} {fields}");
        assert_eq!(seen.fields("if-none-match"), ["\"\""], "{method} {fields}");
        for name in ["range", "if-range", "if-modified-since"] {
            assert!(seen.fields(name).is_empty(), "{method} {fields}");
        }
        gate.open();
        until("the new version", || proxy.get("/").text() == "new ");
        assert_eq!(origin.count(), 2, "{method} {fields}");
    }
}

#[test]
fn point_23d_a_client_that_requires_validation_waits() {
    let gate = Gate::default();
    gate.open();
    for directive in ["no-cache", "max-age=0", "min-fresh=1"] {
        let origin = revalidating(10, &gate);
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "old ");
        let fields = format!("Cache-Control: {directive}\r\n");
        proxy.get_with("/", &fields).expect(200, "MISS", "new ");
        assert_eq!(origin.count(), 2, "{directive}");
    }
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok(
            "ETag: \"v\"\r\nCache-Control: max-age=60, stale-while-revalidate=100\r\nAge: 70\r\n",
            "good",
        ),
        _ => exchange.answer("500 Broken", "", "bad"),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "good");
    for _ in 0..5 {
        proxy.get("/").expect(200, "HIT", "good");
    }
    origin.wait_for(2);
    proxy.get("/").expect(200, "HIT", "good");
}
