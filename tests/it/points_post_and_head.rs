//! Points 8 and 9: effects of POST and HEAD on responses stored for GET.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    client::Ending,
    harness::{TestProxy, http_date},
    origin::{Exchange, Gate, Origin},
};

/// An origin that responds to POSTs with `status`, `fields` and a numbered body, and to GETs with "got".
fn posting(status: &'static str, fields: String) -> Origin {
    Origin::start(move |exchange| {
        let host = exchange.request.field("host").unwrap();
        match exchange.request.method().as_str() {
            "GET" => exchange.ok("", "got"),
            _ => exchange.answer(status, &fields.replace("{host}", &host), "posted"),
        }
    })
}

const OWN: &str = "Content-Location: /a/x?q\r\n";
const FRESH: &str = "Cache-Control: max-age=60\r\n";

/// Checks the outcome of a GET after a request with this method and this response.
#[track_caller]
fn check_posted(method: &str, status: &'static str, fields: &str, outcome: &str) {
    let origin = posting(status, fields.to_owned());
    let proxy = TestProxy::with_mode(&origin, Strict);
    let posted = proxy.request(method, "/a/x?q", "", b"form");
    let row = format!("{method} {status} {fields}");
    assert_eq!(
        (posted.x_cache(), &*posted.text()),
        ("MISS", "posted"),
        "{row}"
    );
    let got = proxy.get("/a/x?q");
    let body = if outcome == "HIT" { "posted" } else { "got" };
    assert_eq!((got.x_cache(), &*got.text()), (outcome, body), "{row}");
    assert_eq!(got.field("age").is_some(), outcome == "HIT", "{row}");
}

#[test]
fn point_08a_the_content_location_must_be_the_target() {
    for (location, outcome) in [
        ("/a/x?q", "HIT"),
        ("http://{host}/a/x?q", "HIT"),
        ("x?q", "HIT"),
        ("../a/./x?q", "HIT"),
        ("/a/x", "MISS"),
        ("/a/x?Q", "MISS"),
        ("/a/other", "MISS"),
        ("http://other.test/a/x?q", "MISS"),
        ("https://{host}/a/x?q", "MISS"),
        ("/a/x?q\r\nContent-Location: /b", "MISS"),
    ] {
        let fields = format!("Content-Location: {location}\r\n{FRESH}");
        check_posted("POST", "200 OK", &fields, outcome);
    }
    for fields in [FRESH.to_owned(), format!("Location: /a/x?q\r\n{FRESH}")] {
        check_posted("POST", "200 OK", &fields, "MISS");
    }
}

#[test]
fn point_08b_the_freshness_must_be_explicit_and_storing_allowed() {
    for (lifetime, outcome) in [
        (FRESH, "HIT"),
        (&format!("Expires: {}\r\n", http_date(600)), "HIT"),
        ("Cache-Control: s-maxage=60\r\n", "HIT"),
        ("", "MISS"),
        (
            &format!("Last-Modified: {}\r\n", http_date(-864_000)),
            "MISS",
        ),
        ("Cache-Control: public\r\nETag: \"v\"\r\n", "MISS"),
        ("Cache-Control: no-store, max-age=60\r\n", "MISS"),
        ("Cache-Control: private, max-age=60\r\n", "MISS"),
        ("Cache-Control: max-age=60\r\nVary: *\r\n", "MISS"),
        ("Cache-Control: max-age=60\r\nAge: 61\r\n", "MISS"),
    ] {
        check_posted("POST", "200 OK", &format!("{OWN}{lifetime}"), outcome);
    }
}

#[test]
fn point_08c_only_a_200_to_post_is_stored() {
    let fields = format!("{OWN}{FRESH}");
    for status in ["201 Created", "203 Transformed", "299 Odd", "404 Not Found"] {
        check_posted("POST", status, &fields, "MISS");
    }
    for method in ["PUT", "PATCH", "DELETE", "FOOBAR", "post"] {
        check_posted(method, "200 OK", &fields, "MISS");
    }
}

#[test]
fn point_08d_a_stored_post_response_serves_gets_and_no_posts() {
    let fields = "Content-Location: /\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\n";
    let origin = posting("200 OK", fields.into());
    for mode in [Strict, Standard] {
        let proxy = TestProxy::with_mode(&origin, mode);
        let before = origin.count();
        let mut client = proxy.connect();
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nform";
        for _ in 0..2 {
            let posted = client.send(post).answer_to("POST");
            posted.expect(200, "MISS", "posted");
            let status = posted.field("cache-status");
            assert_eq!(
                status,
                Some("caching-proxy; fwd=method; fwd-status=200; stored")
            );
        }
        client.ask("/", "").answer().expect(200, "HIT", "posted");
        client
            .ask("/", "Range: bytes=-2\r\n")
            .answer()
            .expect(206, "HIT", "ed");
        let unchanged = client.ask("/", "If-None-Match: \"v\"\r\n").answer();
        assert_eq!((unchanged.status(), unchanged.x_cache()), (304, "HIT"));
        let head = client
            .send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answer_to("HEAD");
        assert_eq!(
            (head.x_cache(), head.field("content-length")),
            ("HIT", Some("6"))
        );
        assert_eq!(origin.count(), before + 2);
    }
    // `always` leaves responses to GETs stored.
    let proxy = TestProxy::with_mode(&origin, Always);
    proxy.request("POST", "/", "", b"form");
    proxy.get("/").expect(200, "MISS", "got");
}

#[test]
fn point_08e_a_post_whose_content_location_is_another_url_only_invalidates_it() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok(
            "Cache-Control: max-age=60\r\n",
            format!("#{}", exchange.nth),
        ),
        _ => exchange.ok(
            "Content-Location: /b\r\nCache-Control: max-age=60\r\n",
            "posted",
        ),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    for target in ["/a", "/b", "/c"] {
        proxy.get(target).expect(200, "MISS", "#0");
    }
    proxy
        .request("POST", "/a", "", b"x")
        .expect(200, "MISS", "posted");
    proxy.get("/a").expect(200, "MISS", "#2");
    proxy.get("/b").expect(200, "MISS", "#1");
    proxy.get("/c").expect(200, "HIT", "#0");
}

#[test]
fn point_08f_the_rules_of_storing_apply_to_posts() {
    let fields = "Content-Location: /\r\nCache-Control: max-age=60\r\nVary: X-V\r\n";
    let origin = posting("200 OK", fields.into());
    let proxy = TestProxy::with_mode(&origin, Strict);
    for request in ["Authorization: Bearer x\r\n", "Cache-Control: no-store\r\n"] {
        proxy
            .request("POST", "/", request, b"x")
            .expect(200, "MISS", "posted");
        proxy.get("/").expect(200, "MISS", "got");
    }
    proxy.request("POST", "/", "X-V: 1\r\n", b"x");
    proxy
        .get_with("/", "X-V: 1\r\n")
        .expect(200, "HIT", "posted");
    proxy.get_with("/", "X-V: 2\r\n").expect(200, "MISS", "got");

    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok("", "got"),
        _ => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Location: /\r\nCache-Control: max-age=60\r\nContent-Length: 9\r\n\r\ncut");
            exchange.close();
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let cut = proxy.request("POST", "/", "", b"x");
    assert_eq!(cut.ending, Ending::Cut);
    proxy.get("/").expect(200, "MISS", "got");
}

/// Sends half of the response to a POST, and the rest when the gate is open.
fn half_a_post(exchange: &mut Exchange<'_>, gate: &Gate) {
    exchange.send(
        "HTTP/1.1 200 OK\r\nContent-Location: /\r\nCache-Control: max-age=60\r\nContent-Length: 6\r\n\r\npos",
    );
    gate.wait();
    exchange.send("ted");
}

#[test]
fn point_08g_a_clear_or_invalidation_during_a_post_prevents_storing() {
    for event in ["clear before the head", "clear", "change"] {
        let (begun, gate) = (Gate::default(), Gate::default());
        let origin = Origin::start({
            let (begun, gate) = (begun.clone(), gate.clone());
            move |exchange| match exchange.request.method().as_str() {
                "GET" => exchange.ok("", "got"),
                "PUT" => exchange.ok("", "changed"),
                _ => {
                    if event == "clear before the head" {
                        begun.wait();
                    }
                    half_a_post(exchange, &gate);
                }
            }
        });
        let proxy = TestProxy::with_mode(&origin, Strict);
        let mut client = proxy.connect();
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
        origin.wait_for(1);
        if event != "clear before the head" {
            client.wait_for("pos");
        }
        match event {
            "change" => _ = proxy.request("PUT", "/", "", b"x"),
            _ => _ = proxy.clear(),
        }
        begun.open();
        gate.open();
        client.answer_to("POST").expect(200, "MISS", "posted");
        assert_eq!(proxy.get("/").text(), "got", "{event}");
    }
}

#[test]
fn point_09a_a_response_to_head_stores_nothing() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\nETag: \"v\"\r\n");
    let proxy = TestProxy::with_mode(&origin, Strict);
    for _ in 0..2 {
        let head = proxy.request("HEAD", "/", "", b"");
        assert_eq!(
            (head.status(), head.x_cache(), head.field("age")),
            (200, "MISS", None)
        );
        assert!(!head.field("cache-status").unwrap().contains("stored"));
        assert_eq!(origin.last().method(), "HEAD");
    }
    proxy.get("/").expect(200, "MISS", "GET / #2");
    let head = proxy.request("HEAD", "/", "", b"");
    assert_eq!(
        (head.x_cache(), head.field("content-length")),
        ("HIT", Some("8"))
    );
    assert!(head.field("age").is_some());
    assert_eq!(origin.count(), 3);
}

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

/// An origin: the first GET gets a stale response of ten bytes with `held`, later GETs get "new", HEADs get `head`.
fn headed(held: String, head: String) -> Origin {
    Origin::start(move |exchange| match exchange.request.method().as_str() {
        "HEAD" => exchange.send(format!("HTTP/1.1 {head}\r\n")),
        _ if exchange.nth == 0 => exchange.ok(
            &format!("Cache-Control: max-age=60\r\nAge: 61\r\nX-Old: 1\r\n{held}"),
            "0123456789",
        ),
        _ => exchange.ok("Cache-Control: max-age=60\r\n", "new"),
    })
}

#[test]
fn point_09b_a_200_to_head_with_the_same_validators_and_length_freshens() {
    let (tag, weak) = ("ETag: \"v\"\r\n", "ETag: W/\"v\"\r\n");
    let date = format!("Last-Modified: {OLD}\r\n");
    let both = format!("{tag}{date}");
    let length = "Content-Length: 10\r\n";
    for (held, head) in [
        (tag, format!("{tag}{length}")),
        (tag, tag.to_owned()),
        (weak, format!("{weak}{length}")),
        (&*date, format!("{date}{length}")),
        (&*both, format!("{both}{length}")),
        (&*both, format!("{tag}{length}")),
        (&*both, format!("{date}{length}")),
    ] {
        {
            let head = format!("200 OK\r\n{head}Cache-Control: max-age=90\r\nX-New: 2\r\n");
            let origin = headed(held.to_owned(), head.clone());
            let proxy = TestProxy::with_mode(&origin, Strict);
            let mut client = proxy.connect();
            client
                .ask("/", "")
                .answer()
                .expect(200, "MISS", "0123456789");
            let answer = client
                .send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
                .answer_to("HEAD");
            assert_eq!(answer.status(), 200, "{head}");
            assert_eq!(origin.last().method(), "HEAD");
            let served = client.ask("/", "").answer();
            served.expect(200, "HIT", "0123456789");
            assert!(crate::points::age(&served) < 60);
            let found = ["x-new", "x-old", "cache-control"].map(|name| served.field(name));
            assert_eq!(found, [Some("2"), Some("1"), Some("max-age=90")], "{head}");
            let head = client
                .send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
                .answer_to("HEAD");
            assert_eq!(
                (head.x_cache(), head.field("content-length")),
                ("HIT", Some("10"))
            );
            assert_eq!(origin.count(), 2);
        }
    }
}

#[test]
fn point_09c_after_a_200_to_head_with_other_validators_the_stored_one_is_not_used() {
    let (tag, length) = ("ETag: \"v\"\r\n", "Content-Length: 10\r\n");
    let held = format!("{tag}Last-Modified: {OLD}\r\n");
    for head in [
        format!("ETag: \"w\"\r\n{length}"),
        format!("{tag}Last-Modified: {NEW}\r\n{length}"),
        format!("{tag}Content-Length: 11\r\n"),
        format!("ETag: \"w\"\r\nLast-Modified: {OLD}\r\n{length}"),
    ] {
        let answer = format!("200 OK\r\n{head}Cache-Control: max-age=60\r\n");
        let mut origin = headed(held.clone(), answer);
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy.get("/").expect(200, "MISS", "0123456789");
        let answer = proxy.request("HEAD", "/", "", b"");
        assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"), "{head}");
        proxy.get("/").expect(200, "MISS", "new");
        assert_eq!(origin.count(), 3, "{head}");
        // It is not served either when the origin is down.
        proxy.clear();
        origin.stop();
    }
    let mut origin = headed(held, format!("200 OK\r\nETag: \"w\"\r\n{length}"));
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/");
    proxy.request("HEAD", "/", "", b"");
    origin.stop();
    assert_ne!(proxy.get("/").status(), 200);
}

#[test]
fn point_09d_a_304_to_head_freshens() {
    let origin = Origin::start(|exchange| match exchange.request.field("if-none-match") {
        Some(_) => exchange
            .send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n\r\n"),
        None => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "body"),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", "body");
    let head = proxy.request("HEAD", "/", "", b"");
    let found = (head.status(), head.x_cache(), head.field("content-length"));
    assert_eq!(found, (200, "HIT", Some("4")));
    let seen = origin.last();
    assert_eq!(
        (
            seen.method().as_str(),
            seen.field("if-none-match").as_deref()
        ),
        ("HEAD", Some("\"v\""))
    );
    proxy.get("/").expect(200, "HIT", "body");
    assert_eq!(origin.count(), 2);
}

#[test]
fn point_09e_a_200_to_head_without_a_validator_freshens_nothing() {
    let tag = "ETag: \"v\"\r\n";
    for held in ["", tag] {
        for (length, is_left) in [
            ("Content-Length: 10\r\n", true),
            ("", true),
            ("Content-Length: 11\r\n", false),
        ] {
            let head = format!("200 OK\r\n{length}Cache-Control: max-age=90\r\nX-New: 2\r\n");
            let mut origin = headed(held.to_owned(), head);
            let proxy = TestProxy::with_mode(&origin, Strict);
            proxy.get("/").expect(200, "MISS", "0123456789");
            let answer = proxy.request("HEAD", "/", "", b"");
            assert_eq!((answer.status(), answer.field("x-new")), (200, Some("2")));
            origin.stop();
            // It is as stale as before, and may be served while the origin is down; or it is gone.
            let stale = proxy.get("/");
            let found = (stale.status() == 200).then(|| stale.field("x-old"));
            assert_eq!(found, is_left.then_some(Some("1")), "{held} {length}");
            assert_eq!(stale.field("x-new"), None, "{held} {length}");
        }
    }
}
