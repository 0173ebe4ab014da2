//! Lifetimes that are guesses: what a reload and a successful unsafe request do to them.

use caching_proxy::policy::Mode;

use crate::{
    client::{Answer, Client},
    harness::TestProxy,
    instance::Home,
    origin::{Gate, Origin},
};

const RELOAD: &str = "Cache-Control: max-age=0\r\n";

/// Responds to GET with "#n" and these headers, to conditional requests with 304, and to other methods with this status.
fn changing(fields: &'static str, status: &'static str) -> Origin {
    Origin::start(move |exchange| match exchange.request.method().as_str() {
        "GET"
            if exchange.request.field("if-none-match").is_some()
                || exchange.request.field("if-modified-since").is_some() =>
        {
            exchange.send("HTTP/1.1 304 Not Modified\r\n\r\n");
        }
        "GET" => exchange.ok(fields, format!("#{}", exchange.nth)),
        _ => exchange.answer(status, "", ""),
    })
}

#[track_caller]
fn expect_status(response: &Answer, members: &str) {
    let status = response.field("cache-status").unwrap();
    assert!(status.contains(members), "{status}");
}

#[test]
fn a_reload_validates_a_guess_that_has_a_validator() {
    for (mode, fields, requests) in [
        (Mode::Standard, "ETag: \"v\"\r\n", 2),
        (
            Mode::Standard,
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            2,
        ),
        (Mode::Standard, "", 1),
        (
            Mode::Standard,
            "ETag: \"v\"\r\nCache-Control: max-age=60\r\n",
            1,
        ),
        (
            Mode::Strict,
            "ETag: \"v\"\r\nCache-Control: max-age=60\r\n",
            2,
        ),
        (Mode::Always, "ETag: \"v\"\r\n", 1),
    ] {
        let origin = changing(fields, "200 OK");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.get("/").expect(200, "MISS", "#0");
        let reloaded = proxy.get_with("/", RELOAD);
        reloaded.expect(200, "HIT", "#0");
        if requests == 2 {
            expect_status(&reloaded, "fwd=request; fwd-status=304");
            expect_status(&reloaded, "detail=client-max-age");
        }
        // Other ages are obeyed by `strict` alone.
        proxy
            .get_with("/", "Cache-Control: max-age=9\r\n")
            .expect(200, "HIT", "#0");
        assert_eq!(origin.count(), requests, "{mode:?} {fields}");
    }
}

#[test]
fn a_reload_brings_what_has_changed() {
    let origin = Origin::start(|exchange| {
        let fields = format!("ETag: \"{}\"\r\n", exchange.nth);
        exchange.ok(&fields, format!("#{}", exchange.nth));
    });
    let proxy = TestProxy::to(&origin);
    proxy.expect_gets(
        "/",
        &[
            ("", "MISS", "#0"),
            ("", "HIT", "#0"),
            (RELOAD, "MISS", "#1"),
            ("", "HIT", "#1"),
        ],
    );
}

#[test]
fn a_successful_unsafe_request_makes_related_guesses_stale() {
    for (method, target, kept) in [
        ("POST", "/items", &["/users"][..]),
        (
            "POST",
            "/items/new",
            &["/items/5", "/items/5/parts?a", "/items/7", "/users"],
        ),
        ("DELETE", "/items/5", &["/items/7", "/users"]),
        ("PATCH", "/items/5/", &["/items/7", "/users"]),
        ("FOOBAR", "/", &[]),
    ] {
        let origin = changing("", "201 Created");
        let proxy = TestProxy::to(&origin);
        let stored = [
            "/",
            "/?page=2",
            "/items?limit=10",
            "/items/?x",
            "/items/5",
            "/items/5/parts?a",
            "/items/7",
            "/users",
        ];
        for stored in stored {
            // Often enough that every worker has a copy.
            proxy.get(stored).expect(200, "MISS", "#0");
            for _ in 0..4 {
                proxy.get(stored).expect(200, "HIT", "#0");
            }
        }
        proxy.request(method, target, "", b"change");
        for stored in stored {
            let path = stored.split('?').next().unwrap();
            let response = proxy.get(stored);
            if kept.contains(&stored) {
                response.expect(200, "HIT", "#0");
                continue;
            }
            assert_eq!(response.x_cache(), "MISS", "{method} {target}: {stored}");
            // What is stored for the target itself is removed.
            if stored != target && path != target {
                expect_status(
                    &response,
                    "fwd=stale; fwd-status=200; stored; detail=related-change",
                );
            }
            for _ in 0..4 {
                proxy.get(stored).expect(200, "HIT", &response.text());
            }
        }
    }
}

#[test]
fn a_stale_guess_is_validated() {
    let origin = changing("ETag: \"v\"\r\n", "200 OK");
    let proxy = TestProxy::to(&origin);
    proxy.get("/items?a").expect(200, "MISS", "#0");
    for _ in 0..2 {
        proxy.request("POST", "/items", "", b"change");
        let validated = proxy.get("/items?a");
        validated.expect(200, "HIT", "#0");
        expect_status(&validated, "fwd=stale; fwd-status=304; ");
        proxy.get("/items?a").expect(200, "HIT", "#0");
    }
    assert_eq!(origin.count(), 5);
}

#[test]
fn the_parts_of_all_users_are_concerned() {
    let origin = changing("", "200 OK");
    let proxy = TestProxy::to(&origin);
    let users = ["", "Authorization: ann\r\n", "Cookie: user=bob\r\n"];
    for (index, user) in users.into_iter().enumerate() {
        proxy
            .get_with("/items?a", user)
            .expect(200, "MISS", &format!("#{index}"));
        proxy
            .get_with("/items?a", user)
            .expect(200, "HIT", &format!("#{index}"));
    }
    proxy.request("DELETE", "/items/5", users[1], b"");
    for (index, user) in users.into_iter().enumerate() {
        proxy
            .get_with("/items?a", user)
            .expect(200, "MISS", &format!("#{}", index + 3));
    }
}

#[test]
fn lifetimes_of_the_origin_stay_and_so_does_all_in_other_policies() {
    for (mode, fields) in [
        (Mode::Standard, "Cache-Control: max-age=60\r\n"),
        (Mode::Standard, "Cache-Control: public, s-maxage=60\r\n"),
        (
            Mode::Strict,
            "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        ),
        (Mode::Always, ""),
    ] {
        let origin = changing(fields, "200 OK");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy.get("/items?a").expect(200, "MISS", "#0");
        proxy.request("POST", "/items", "", b"change");
        proxy.get("/items?a").expect(200, "HIT", "#0");
    }
}

#[test]
fn an_unsuccessful_or_safe_request_concerns_nothing() {
    let origin = changing("", "409 Conflict");
    let proxy = TestProxy::to(&origin);
    proxy.get("/items?a").expect(200, "MISS", "#0");
    proxy.request("POST", "/items", "", b"change");
    proxy.request("OPTIONS", "/items", "", b"");
    proxy.get("/items?a").expect(200, "HIT", "#0");
}

#[test]
fn a_rule_keeps_requests_that_change_nothing_from_invalidating() {
    let origin = changing("", "200 OK");
    let rule = "[[rules]]\npath = \"/items/seen\"\ninvalidates = false\n";
    let proxy = TestProxy::builder(&origin).file(rule).start();
    for target in ["/items", "/items/seen", "/items/seen/a"] {
        proxy.get(target).expect(200, "MISS", "#0");
    }
    proxy.request("POST", "/items/seen", "", b"5");
    for target in ["/items", "/items/seen", "/items/seen/a"] {
        proxy.get(target).expect(200, "HIT", "#0");
    }
    proxy.request("POST", "/items/other", "", b"5");
    proxy.get("/items").expect(200, "MISS", "#1");
}

/// An origin whose response to the first GET waits for the gate.
fn held_first() -> (Origin, Gate) {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| match exchange.request.method().as_str() {
        "GET" => {
            if exchange.nth == 0 {
                opened.wait();
            }
            exchange.ok("", format!("#{}", exchange.nth));
        }
        _ => exchange.ok("", ""),
    });
    (origin, gate)
}

#[test]
fn a_fetch_under_way_counts_as_begun_before() {
    let (origin, gate) = held_first();
    let proxy = TestProxy::to(&origin);
    let mut before = proxy.begin("/items?a", "");
    origin.wait_for(1);
    proxy.request("POST", "/items/5", "", b"change");
    // A request after the change does not wait for the fetch from before it.
    proxy.get("/items?a").expect(200, "MISS", "#1");
    gate.open();
    before.answer().expect(200, "MISS", "#0");
    for _ in 0..3 {
        let response = proxy.get("/items?a");
        assert_ne!(response.text(), "#0");
    }
}

#[test]
fn a_response_that_was_fetched_before_a_change_is_stored_as_stale() {
    let (origin, gate) = held_first();
    let proxy = TestProxy::to(&origin);
    let mut before = proxy.begin("/items?a", "");
    origin.wait_for(1);
    proxy.request("POST", "/items/5", "", b"change");
    gate.open();
    before.answer().expect(200, "MISS", "#0");
    let after = proxy.get("/items?a");
    after.expect(200, "MISS", "#1");
    expect_status(&after, "detail=related-change");
    proxy.get("/items?a").expect(200, "HIT", "#1");
}

#[test]
fn a_guess_that_a_change_has_ended_is_served_while_the_origin_is_down() {
    let mut origin = changing("", "200 OK");
    let proxy = TestProxy::to(&origin);
    proxy.get("/items?a").expect(200, "MISS", "#0");
    proxy.request("POST", "/items/5", "", b"change");
    origin.stop();
    proxy.get("/items?a").expect(200, "HIT", "#0");
}

#[test]
fn why_explains_what_a_change_does() {
    let origin = changing("", "200 OK");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let why = |args: &[&str]| home.run_ok(&[&["why"], args].concat());
    proxy.get("/items?a").expect(200, "MISS", "#0");
    proxy.get("/items?c").expect(200, "MISS", "#0");
    let changes = "makes responses of related paths stale";
    assert!(why(&["/items", "-X", "POST"]).contains(changes));
    assert!(!why(&["/items", "-X", "OPTIONS"]).contains(changes));
    assert!(why(&["/items?a"]).contains("Would be served from the cache (HIT)"));
    let mut client = Client::connect(proxy.port);
    client.send("POST /items/5 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().status(), 200);
    let told = why(&["/items?a"]);
    assert!(
        told.contains("a request has changed a related path since"),
        "{told}"
    );
    assert!(told.contains("invalidates = false"), "{told}");
    proxy.get("/items?b").expect(200, "MISS", "#0");
    let listed = home.run_json(&["ls", "--json"]);
    let entries = listed["entries"].as_array().unwrap();
    let is_fresh = |path: &str| {
        let entry = entries.iter().find(|entry| entry["path"] == path);
        entry.unwrap()["is_stale"] == false
    };
    assert!(!is_fresh("/items?c") && is_fresh("/items?b"), "{listed}");
}
