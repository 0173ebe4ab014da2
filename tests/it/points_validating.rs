//! Points 18, 19, 21 and 24: validation requests, and the effect of their responses on stored ones.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    harness::{TestProxy, http_date},
    origin::Origin,
    points::age,
};

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const STALE: &str = "Cache-Control: max-age=60\r\nAge: 61\r\n";

/// An origin that responds with `first` and "body", and to conditional requests with a 304 and `later`.
fn validating(first: String, later: String) -> Origin {
    Origin::start(move |exchange| {
        let is_conditional = ["if-none-match", "if-modified-since"]
            .iter()
            .any(|name| exchange.request.field(name).is_some());
        match is_conditional {
            true => exchange.send(format!("HTTP/1.1 304 Not Modified\r\n{later}\r\n")),
            false => exchange.ok(&first, "body"),
        }
    })
}

#[test]
fn point_18a_exactly_the_stored_validators_are_sent() {
    let date = format!("Last-Modified: {OLD}\r\n");
    let odd_date = "Last-Modified: Sunday, 06-Nov-94 08:49:37 GMT\r\n";
    for (validators, tag, since) in [
        ("ETag: \"v\"\r\n".to_owned(), Some("\"v\""), None),
        ("ETag: W/\"v\"\r\n".to_owned(), Some("W/\"v\""), None),
        ("ETag: \"a, b\\\"\r\n".to_owned(), Some("\"a, b\\\""), None),
        ("ETag: \"\"\r\n".to_owned(), Some("\"\""), None),
        (date.clone(), None, Some(OLD)),
        (
            odd_date.to_owned(),
            None,
            Some("Sunday, 06-Nov-94 08:49:37 GMT"),
        ),
        (format!("ETag: \"v\"\r\n{date}"), Some("\"v\""), Some(OLD)),
    ] {
        for lifetime in [STALE, "Cache-Control: max-age=60, no-cache\r\n"] {
            let later = format!("{validators}Cache-Control: max-age=60\r\n");
            let origin = validating(format!("{validators}{lifetime}"), later);
            let proxy = TestProxy::with_mode(&origin, Strict);
            proxy.get("/").expect(200, "MISS", "body");
            proxy.get("/").expect(200, "HIT", "body");
            let seen = origin.last();
            let found = ["if-none-match", "if-modified-since"].map(|name| seen.field(name));
            assert_eq!(
                found,
                [tag, since].map(|value| value.map(str::to_owned)),
                "{validators}"
            );
            for name in ["if-match", "if-unmodified-since", "if-range", "range"] {
                assert_eq!(seen.field(name), None, "{name}");
            }
            assert_eq!(origin.count(), 2);
        }
    }
    // Without a validator there is no condition.
    let origin = Origin::start(|exchange| exchange.ok(STALE, "body"));
    let proxy = TestProxy::with_mode(&origin, Strict);
    for _ in 0..2 {
        proxy.get("/").expect(200, "MISS", "body");
        let seen = origin.last();
        assert_eq!(
            (seen.field("if-none-match"), seen.field("if-modified-since")),
            (None, None)
        );
    }
}

#[test]
fn point_18b_a_validation_has_the_clients_headers_without_conditions_and_range() {
    let origin = validating(
        format!("ETag: \"ours\"\r\n{STALE}"),
        "ETag: \"ours\"\r\n".into(),
    );
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "body");
    let answer = proxy.get_with(
        "/",
        "X-Kept: 1\r\nX-Kept: 2\r\nAuthorization: Bearer x\r\nIf-None-Match: \"theirs\"\r\n\
         If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nRange: bytes=0-1\r\nIf-Range: \"ours\"\r\n",
    );
    answer.expect(206, "HIT", "bo");
    let seen = origin.last();
    assert_eq!(seen.fields("x-kept"), ["1", "2"]);
    assert_eq!(seen.fields("authorization"), ["Bearer x"]);
    assert_eq!(seen.fields("if-none-match"), ["\"ours\""]);
    for name in ["if-modified-since", "range", "if-range"] {
        assert!(seen.fields(name).is_empty(), "{name}");
    }
}

#[test]
fn point_19a_a_304_replaces_its_headers_and_leaves_the_others() {
    let first = format!(
        "ETag: \"v\"\r\n{STALE}X-Twice: a\r\nX-Twice: b\r\nX-Kept: 1\r\nContent-Encoding: identity\r\n\
         Content-Type: text/plain\r\nExpires: {}\r\n",
        http_date(-60)
    );
    let expires = http_date(600);
    let later = format!(
        "ETag: \"v\"\r\nCache-Control: max-age=99\r\nX-Twice: c\r\nX-New: d\r\nX-New: e\r\nContent-Length: 999\r\n\
         Content-Encoding: gzip\r\nContent-Range: bytes 0-1/9\r\nExpires: {expires}\r\nAge: 7\r\n"
    );
    for mode in [Strict, Standard] {
        let origin = validating(first.clone(), later.clone());
        let proxy = TestProxy::with_mode(&origin, mode);
        let mut client = proxy.connect();
        client.ask("/", "").answer().expect(200, "MISS", "body");
        for number in 0..2 {
            let answer = client.ask("/", "").answer();
            answer.expect(200, "HIT", "body");
            assert_eq!(answer.all("x-twice"), ["c"]);
            assert_eq!(answer.all("x-new"), ["d", "e"]);
            for (name, value) in [
                ("x-kept", Some("1")),
                ("content-type", Some("text/plain")),
                ("content-encoding", Some("identity")),
                ("content-length", Some("4")),
                ("content-range", None),
                ("cache-control", Some("max-age=99")),
                ("expires", Some(&*expires)),
                ("etag", Some("\"v\"")),
            ] {
                assert_eq!(answer.field(name), value, "{name}");
            }
            assert!((7..30).contains(&age(&answer)), "{:?}", answer.head);
            let status = answer.field("cache-status").unwrap();
            let expected = ["fwd=stale; fwd-status=304", "hit; ttl="][number];
            assert!(status.contains(expected), "{status}");
        }
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn point_19b_a_304_restarts_freshness_even_with_the_stored_directives() {
    let first = "ETag: \"v\"\r\nCache-Control: max-age=60\r\nAge: 61\r\n";
    let origin = validating(first.into(), "ETag: \"v\"\r\n".into());
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "body");
    for _ in 0..2 {
        let answer = proxy.get("/");
        answer.expect(200, "HIT", "body");
        assert!(age(&answer) < 30);
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn point_19c_the_client_gets_the_merged_200_or_a_304_to_its_own_condition() {
    let later = "ETag: \"v\"\r\nX-New: 1\r\nCache-Control: no-cache\r\n";
    let origin = validating(
        format!("ETag: \"v\"\r\nLast-Modified: {OLD}\r\n{STALE}"),
        later.into(),
    );
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "body");
    for (condition, status) in [
        ("If-None-Match: \"v\"", 304),
        ("If-None-Match: \"x\"", 200),
        (
            "If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT",
            200,
        ),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", 304),
        ("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ("X-None: 1", 200),
    ] {
        let answer = proxy.get_with("/", &format!("{condition}\r\n"));
        assert_eq!(
            (answer.status(), answer.x_cache()),
            (status, "HIT"),
            "{condition}"
        );
        assert_eq!(answer.text(), if status == 200 { "body" } else { "" });
        assert_eq!(
            answer.field("cache-control"),
            Some("no-cache"),
            "{condition}"
        );
        assert_eq!(
            origin.last().field("if-none-match").as_deref(),
            Some("\"v\"")
        );
    }
}

#[test]
fn point_19d_a_response_whose_304_forbids_storing_is_served_once_and_removed() {
    for directives in ["no-store", "private"] {
        let later = format!("ETag: \"v\"\r\nCache-Control: {directives}\r\nX-New: 1\r\n");
        let origin = validating(format!("ETag: \"v\"\r\n{STALE}"), later);
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "body");
        let merged = proxy.get("/");
        merged.expect(200, "HIT", "body");
        assert_eq!(merged.field("x-new"), Some("1"));
        proxy.get("/").expect(200, "MISS", "body");
        assert_eq!(origin.last().field("if-none-match"), None, "{directives}");
    }
}

#[test]
fn point_21_a_304_that_matches_nothing_is_never_given_to_an_unconditional_client() {
    // Another ETag or another date: the whole is requested without conditions.
    for (held, other) in [
        ("ETag: \"v\"\r\n", "ETag: \"other\"\r\n".to_owned()),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "Last-Modified: Mon, 07 Nov 1994 08:49:37 GMT\r\n".into(),
        ),
        (
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            "ETag: \"other\"\r\n".into(),
        ),
    ] {
        let origin = Origin::start(move |exchange| match exchange.nth {
            0 => exchange.ok(&format!("{held}{STALE}"), "old"),
            1 => exchange.send(format!("HTTP/1.1 304 Not Modified\r\n{other}\r\n")),
            _ => exchange.ok("Cache-Control: max-age=60\r\n", "new"),
        });
        let proxy = TestProxy::with_mode(&origin, Strict);
        let mut client = proxy.connect();
        client.ask("/", "").answer().expect(200, "MISS", "old");
        client.ask("/", "").answer().expect(200, "MISS", "new");
        let seen = origin.last();
        assert_eq!(
            (seen.field("if-none-match"), seen.field("if-modified-since")),
            (None, None)
        );
        client.ask("/", "").answer().expect(200, "HIT", "new");
        assert_eq!(origin.count(), 3);
    }
    // A 304 to a request without conditions, with and without a stored response.
    for mode in [Strict, Standard, Always] {
        let origin = Origin::start(|exchange| {
            exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n");
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        assert_eq!(proxy.get("/").status(), 502, "{mode:?}");
        let asked = proxy.get_with("/", "If-None-Match: \"v\"\r\n");
        assert_eq!((asked.status(), asked.x_cache()), (304, "MISS"), "{mode:?}");
    }
}

/// Headers of a response that is thirty seconds old and has a lifetime of a minute.
fn half_old() -> Origin {
    Origin::start(|exchange| match exchange.request.field("if-none-match") {
        Some(_) => exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nAge: 30\r\n\r\n"),
        None => exchange.ok(
            "ETag: \"v\"\r\nCache-Control: max-age=60\r\nAge: 30\r\n",
            format!("#{}", exchange.nth),
        ),
    })
}

#[test]
fn point_24a_request_directives_apply_to_a_fresh_response() {
    // Whether the origin gets a request, in strict and in standard.
    for (fields, strict, standard) in [
        ("Cache-Control: no-cache", true, true),
        ("Cache-Control: foo, No-Cache", true, true),
        ("Pragma: no-cache", true, true),
        ("Pragma: foo, NO-CACHE", true, true),
        ("Pragma: no-cache\r\nCache-Control: max-stale", false, false),
        ("Pragma: no-cache2", false, false),
        ("Cache-Control: no-store", false, false),
        ("Cache-Control: max-age=0", true, false),
        ("Cache-Control: max-age=20", true, false),
        ("Cache-Control: max-age=50", false, false),
        ("Cache-Control: max-age=x", true, false),
        ("Cache-Control: min-fresh=10", false, false),
        ("Cache-Control: min-fresh=31", true, false),
        ("Cache-Control: min-fresh=99999999999", true, false),
        ("Cache-Control: max-stale=0", false, false),
        ("Cache-Control: only-if-cached", false, false),
        ("Cache-Control: max-age=20, max-stale=100", true, false),
    ] {
        for (mode, is_asked) in [(Strict, strict), (Standard, standard), (Always, false)] {
            let origin = half_old();
            let proxy = TestProxy::with_mode(&origin, mode);
            proxy.get("/").expect(200, "MISS", "#0");
            let answer = proxy.get_with("/", &format!("{fields}\r\n"));
            answer.expect(200, "HIT", "#0");
            let asked = 1 + usize::from(is_asked);
            assert_eq!(origin.count(), asked, "{mode:?} {fields}");
            let status = answer.field("cache-status").unwrap();
            if is_asked {
                assert!(
                    status.contains("fwd=request; fwd-status=304"),
                    "{fields} {status}"
                );
                assert_eq!(
                    origin.last().field("if-none-match").as_deref(),
                    Some("\"v\"")
                );
            }
        }
    }
}

#[test]
fn point_24b_request_directives_apply_to_a_stale_response() {
    for (fields, held, expected) in [
        ("max-stale", "max-age=60", 200),
        ("max-stale=10", "max-age=60", 200),
        ("max-stale=2", "max-age=60", 504),
        ("max-stale=x", "max-age=60", 504),
        ("max-stale", "max-age=60, must-revalidate", 504),
        ("max-stale", "max-age=60, proxy-revalidate", 504),
        ("max-stale", "s-maxage=60", 504),
        ("max-stale", "max-age=60, no-cache", 504),
        ("max-stale=10, max-age=20", "max-age=60", 504),
        ("min-fresh=1", "max-age=60", 504),
        ("foo", "max-age=60", 504),
    ] {
        let held = format!("ETag: \"v\"\r\nCache-Control: {held}\r\nAge: 65\r\n");
        let origin = Origin::start(move |exchange| exchange.ok(&held, "body"));
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "body");
        let answer = proxy.get_with("/", &format!("Cache-Control: only-if-cached, {fields}\r\n"));
        assert_eq!(answer.status(), expected, "{fields}");
        if expected == 200 {
            answer.expect(200, "HIT", "body");
            assert!(age(&answer) >= 65);
        }
        assert_eq!(origin.count(), 1, "{fields}");
    }
}

#[test]
fn point_24c_no_store_and_only_if_cached_apply_where_nothing_is_stored() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    for mode in [Strict, Standard] {
        let proxy = TestProxy::with_mode(&origin, mode);
        let before = origin.count();
        for method in ["GET", "HEAD"] {
            let fields = "Cache-Control: Only-If-Cached\r\n";
            assert_eq!(proxy.request(method, "/", fields, b"").status(), 504);
        }
        assert_eq!(origin.count(), before);
        for _ in 0..2 {
            let answer = proxy.get_with("/", "Cache-Control: no-store\r\n");
            assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"));
            let status = answer.field("cache-status").unwrap();
            assert!(status.ends_with("detail=client-no-store"), "{status}");
        }
    }
}
