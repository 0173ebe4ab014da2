//! Offline: what is stored is served whatever its age, and no origin is contacted.

use caching_proxy::policy::Mode;

use crate::{
    client::Answer,
    harness::TestProxy,
    origin::{Gate, Origin},
};

/// The member of Cache-Status of a hit or a 504.
#[track_caller]
fn status_of(response: &Answer) -> &str {
    response.field("cache-status").unwrap()
}

#[track_caller]
fn missing(response: &Answer, sentences: &[&str]) {
    assert_eq!((response.status(), response.x_cache()), (504, "MISS"));
    assert_eq!(status_of(response), "caching-proxy; detail=offline");
    let text = response.text();
    assert_eq!(text.lines().collect::<Vec<_>>(), sentences, "{text}");
}

#[test]
fn offline_what_is_stored_is_served_whatever_its_age_and_the_clients_directives() {
    // Stale at once, and to be validated before each use.
    let origin = Origin::counting("ETag: \"a\"\r\nCache-Control: max-age=0, must-revalidate\r\n");
    for mode in [Mode::Standard, Mode::Strict] {
        let proxy = TestProxy::with_mode(&origin, mode);
        let body = proxy.get("/a").text();
        assert!(proxy.set_offline(true).has_changed);
        origin.forget();
        for fields in [
            "",
            "Cache-Control: no-cache\r\n",
            "Cache-Control: no-store\r\n",
            "Cache-Control: max-age=0\r\n",
            "Cache-Control: only-if-cached\r\n",
            "Pragma: no-cache\r\n",
        ] {
            let response = proxy.get_with("/a", fields);
            response.expect(200, "HIT", &body);
            let status = status_of(&response);
            assert!(
                status.starts_with("caching-proxy; hit; ttl=")
                    && status.ends_with("; detail=offline"),
                "{status}"
            );
        }
        assert_eq!(origin.count(), 0);
        assert!(proxy.set_offline(false).has_changed);
        proxy.get("/a");
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn offline_ranges_head_and_conditions_work() {
    let origin = Origin::start(|exchange| {
        exchange.ok("ETag: \"a\"\r\nCache-Control: max-age=0\r\n", "0123456789");
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/a");
    proxy.set_offline(true);
    origin.forget();
    let part = proxy.get_with("/a", "Range: bytes=2-4\r\n");
    part.expect(206, "HIT", "234");
    assert_eq!(part.field("content-range"), Some("bytes 2-4/10"));
    let head = proxy.request("HEAD", "/a", "", b"");
    assert_eq!((head.status(), head.x_cache()), (200, "HIT"));
    assert_eq!(head.field("content-length"), Some("10"));
    for (fields, status) in [
        ("If-None-Match: \"a\"\r\n", 304),
        ("If-None-Match: \"b\"\r\n", 200),
        ("If-Match: \"a\"\r\n", 200),
        ("If-Match: \"b\"\r\n", 412),
        ("Range: bytes=99-\r\n", 416),
    ] {
        assert_eq!(proxy.get_with("/a", fields).status(), status, "{fields}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn offline_everything_else_gets_504_with_the_nearest_stored_response() {
    let origin = Origin::start(|exchange| {
        exchange.ok("Vary: Accept-Language\r\n", "body");
    });
    let proxy = TestProxy::to(&origin);
    let nothing =
        |request| format!("The proxy is offline, and no stored response matches {request}.");
    proxy.set_offline(true);
    missing(
        &proxy.get("/products"),
        &[&nothing("GET /products"), "Nothing is stored."],
    );
    proxy.set_offline(false);
    proxy.get_with("/products?limit=10&token=S3CR3T", "Accept-Language: de\r\n");
    proxy.get_with("/products/1", "Authorization: Bearer ann\r\n");
    proxy.set_offline(true);
    origin.forget();
    let nearest = "Nearest stored: GET /products?limit=10&token=***.";
    missing(
        &proxy.get("/products?limit=20&token=S3CR3T"),
        &[
            &nothing("GET /products?limit=20&token=***"),
            nearest,
            "Differs: query parameter limit (stored \"10\", requested \"20\").",
        ],
    );
    missing(
        &proxy.get_with("/products?limit=10&token=S3CR3T", "Accept-Language: en\r\n"),
        &[
            &nothing("GET /products?limit=10&token=***"),
            nearest,
            "Differs: header accept-language, which Vary names (stored \"de\", requested \"en\").",
        ],
    );
    let one = "Nearest stored: GET /products/1.";
    missing(
        &proxy.get("/products/1"),
        &[
            &nothing("GET /products/1"),
            one,
            "Differs: credentials (it is stored for a request with some, this one has none).",
        ],
    );
    missing(
        &proxy.get_with("/products/1", "Authorization: Bearer bob\r\n"),
        &[
            &nothing("GET /products/1"),
            one,
            "Differs: credentials (it is stored for another user than that of this request's authorization).",
        ],
    );
    proxy
        .get_with("/products/1", "Authorization: Bearer ann\r\n")
        .expect(200, "HIT", "body");
    assert_eq!(origin.count(), 0);
}

#[test]
fn offline_no_other_method_goes_to_the_origin() {
    let origin = Origin::counting("");
    let file = "[[rules]]\npath = \"/search\"\nstore_post = true\n";
    let proxy = TestProxy::builder(&origin).file(file).start();
    proxy.get("/a");
    let json = "Content-Type: application/json\r\n";
    let found = proxy.request("POST", "/search", json, b"{\"q\":1}").text();
    proxy.set_offline(true);
    origin.forget();
    proxy
        .request("POST", "/search", json, b"{\"q\":1}")
        .expect(200, "HIT", &found);
    for (method, target, fields, body, last) in [
        (
            "POST",
            "/search",
            json,
            &b"{\"q\":2}"[..],
            "Differs: the body of the POST.",
        ),
        (
            "GET",
            "/search",
            "",
            b"",
            "Differs: method (stored POST, requested GET).",
        ),
        (
            "POST",
            "/a",
            json,
            b"{}",
            "Offline only GET, HEAD, and POST by a rule with store_post are answered.",
        ),
        (
            "DELETE",
            "/a",
            "",
            b"",
            "Offline only GET, HEAD, and POST by a rule with store_post are answered.",
        ),
    ] {
        let response = proxy.request(method, target, fields, body);
        assert_eq!(response.status(), 504, "{method} {target}");
        assert_eq!(status_of(&response), "caching-proxy; detail=offline");
        assert_eq!(response.text().lines().last(), Some(last));
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn offline_what_the_cache_has_no_part_in_gets_504() {
    let origin = Origin::counting("");
    let file = "[[rules]]\npath = \"/live\"\nstore = false\n";
    let proxy = TestProxy::builder(&origin).file(file).start();
    proxy.set_offline(true);
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, fields, last) in [
        (
            "/live",
            "",
            "Such a request is not answered from the cache: a rule says store = false.",
        ),
        (
            "/a",
            "X-HTTP-Method-Override: DELETE\r\n",
            "Such a request is not answered from the cache: a header names another method.",
        ),
        ("/a", handshake, "A WebSocket needs the origin."),
    ] {
        let response = proxy.get_with(target, fields);
        assert_eq!(response.status(), 504, "{target} {fields}");
        assert_eq!(response.text().lines().last(), Some(last));
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_fetch_that_began_before_may_end_and_nothing_new_begins() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |exchange| {
        held.wait();
        exchange.ok("", "slow");
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/slow", "");
    origin.wait_for(1);
    let mut follower = proxy.begin("/slow", "");
    proxy.wait_for_followers(1);
    proxy.set_offline(true);
    assert_eq!(proxy.get("/other").status(), 504);
    assert_eq!(proxy.get("/slow").status(), 504);
    gate.open();
    leader.answer().expect(200, "MISS", "slow");
    // It has shared the fetch, or has found what that has stored.
    let followed = follower.answer();
    assert_eq!((followed.status(), followed.text().as_str()), (200, "slow"));
    proxy.get("/slow").expect(200, "HIT", "slow");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_request_that_began_before_starts_no_fetch_after() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |exchange| {
        held.wait();
        // The follower has to fetch for itself.
        exchange.ok("Cache-Control: no-store\r\n", "own");
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/own", "");
    origin.wait_for(1);
    let mut follower = proxy.begin("/own", "");
    proxy.wait_for_followers(1);
    proxy.set_offline(true);
    gate.open();
    leader.answer().expect(200, "MISS", "own");
    let response = follower.answer();
    assert_eq!(response.status(), 504);
    assert_eq!(response.text(), "The proxy is offline.\n");
    assert!(status_of(&response).ends_with("; detail=offline"));
    assert_eq!(origin.count(), 1);
}
