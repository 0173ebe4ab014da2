//! `--record`: what the policy does not store is kept for the time offline, and changes nothing online.

use caching_proxy::policy::Mode;

use crate::{
    client::Answer,
    harness::TestProxy,
    instance::Home,
    origin::{Gate, Origin},
};

const NO_STORE: &str = "Cache-Control: no-store\r\n";

#[track_caller]
fn expect_recorded(response: &Answer, status: u16, body: &str) {
    response.expect(status, "HIT", body);
    let detail = response.field("cache-status").unwrap();
    assert!(detail.ends_with("; detail=recorded"), "{detail}");
}

/// An origin whose responses no policy but `always` stores, by the beginning of the target.
fn unstorable() -> Origin {
    Origin::start(|exchange| {
        let target = exchange.target();
        let body = format!("{target} #{}", exchange.nth);
        match target.split('?').next().unwrap_or_default() {
            "/private" => exchange.ok("Cache-Control: private\r\n", body),
            "/cookie" => exchange.ok("Set-Cookie: sid=1\r\n", body),
            "/star" => exchange.ok("Vary: *\r\n", body),
            "/error" => exchange.answer("500 Internal Server Error", "", body),
            "/teapot" => exchange.answer("418 I'm a teapot", "", body),
            "/away" => exchange.answer("302 Found", "Location: /a\r\n", body),
            "/flaky" if exchange.nth > 0 => exchange.answer("500 Internal Server Error", "", body),
            "/flaky" => exchange.ok("Cache-Control: max-age=0\r\nETag: \"a\"\r\n", body),
            "/kept" => exchange.ok("", body),
            _ => exchange.ok(NO_STORE, body),
        }
    })
}

const TARGETS: [&str; 8] = [
    "/no-store",
    "/private",
    "/cookie",
    "/star",
    "/error",
    "/teapot",
    "/away",
    "/kept",
];

#[test]
fn what_is_not_stored_is_served_offline_alone() {
    for mode in [Mode::Standard, Mode::Strict] {
        let origin = unstorable();
        let proxy = TestProxy::builder(&origin)
            .mode(mode)
            .with(|config| config.record = true)
            .start();
        let responses =
            TARGETS.map(|target| proxy.get_with(target, "Authorization: Bearer ann\r\n"));
        proxy.set_offline(true);
        origin.forget();
        for (target, online) in TARGETS.iter().zip(&responses) {
            let offline = proxy.get_with(target, "Authorization: Bearer ann\r\n");
            offline.expect(online.status(), "HIT", &online.text());
            assert_eq!(offline.field("set-cookie"), None, "{target}");
            assert_eq!(offline.field("location"), online.field("location"));
            // Nobody sees a response made for somebody else's credentials.
            for others in ["", "Authorization: Bearer bob\r\n"] {
                assert_eq!(proxy.get_with(target, others).status(), 504, "{target}");
            }
        }
        assert_eq!(origin.count(), 0);
    }
}

#[test]
fn recording_changes_nothing_online() {
    let run = |record| {
        let origin = unstorable();
        let proxy = TestProxy::builder(&origin)
            .with(|config| config.record = record)
            .start();
        let mut seen = Vec::new();
        for round in 0..3 {
            for target in TARGETS.iter().chain(&["/flaky"]) {
                for fields in [
                    "",
                    "Authorization: Bearer ann\r\n",
                    "Cookie: _ga=1; sid=2\r\n",
                    "Cache-Control: no-store\r\n",
                    "If-None-Match: \"x\"\r\n",
                    "Range: bytes=0-1\r\n",
                ] {
                    let target = format!("{target}?{}", round / 2);
                    let response = proxy.get_with(&target, fields);
                    let names = ["x-cache", "cache-status", "content-length"];
                    let lines = names.map(|name| {
                        let parts = response.field(name)?.split("; ");
                        // How long it is stale depends on how fast the test is.
                        let parts = parts.filter(|part| !part.starts_with("ttl="));
                        Some(parts.collect::<Vec<_>>().join("; "))
                    });
                    seen.push((target, fields, response.status(), response.text(), lines));
                }
            }
        }
        let asked: Vec<_> = origin
            .seen()
            .iter()
            .map(|request| (request.target(), request.fields("cookie")))
            .collect();
        (seen, asked)
    };
    let (with, without) = (run(true), run(false));
    for (one, other) in with.0.iter().zip(&without.0) {
        assert_eq!(one, other);
    }
    assert_eq!(with, without);
}

#[test]
fn a_stored_response_comes_before_a_recorded_one() {
    let origin = unstorable();
    let proxy = TestProxy::builder(&origin)
        .with(|config| {
            config.record = true;
            config.policy.max_stale = std::time::Duration::ZERO;
        })
        .start();
    proxy.get("/flaky").expect(200, "MISS", "/flaky #0");
    assert_eq!(proxy.get("/flaky").status(), 500);
    proxy.set_offline(true);
    let response = proxy.get("/flaky");
    response.expect(200, "HIT", "/flaky #0");
    assert!(
        response
            .field("cache-status")
            .unwrap()
            .ends_with("; detail=offline")
    );
}

#[test]
fn the_newest_recorded_response_of_each_variant_is_served_in_ranges_too() {
    let origin = Origin::start(|exchange| {
        let fields = "Cache-Control: no-store\r\nVary: Accept-Language\r\n";
        let language = exchange
            .request
            .field("accept-language")
            .unwrap_or_default();
        exchange.ok(fields, format!("{language} #{}", exchange.nth));
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.record = true)
        .start();
    let german = "Accept-Language: de\r\n";
    for fields in [german, "Accept-Language: fr\r\n", german] {
        proxy.get_with("/a", fields);
    }
    proxy.set_offline(true);
    expect_recorded(&proxy.get_with("/a", german), 200, "de #2");
    expect_recorded(
        &proxy.get_with("/a", "Accept-Language: fr\r\n"),
        200,
        "fr #1",
    );
    let part = format!("{german}Range: bytes=0-1\r\n");
    expect_recorded(&proxy.get_with("/a", &part), 206, "de");
    let english = proxy.get_with("/a", "Accept-Language: en\r\n");
    assert_eq!(english.status(), 504);
    assert!(
        english.text().contains("header accept-language"),
        "{}",
        english.text()
    );
}

#[test]
fn a_no_store_of_the_client_and_posts_by_body_are_recorded() {
    let origin = Origin::counting(NO_STORE);
    let proxy = TestProxy::builder(&origin)
        .file("[[rules]]\npath = \"/search\"\nstore_post = true\n[[rules]]\npath = \"/never\"\nstore = false\n")
        .with(|config| config.record = true)
        .start();
    let json = "Content-Type: application/json\r\n";
    proxy.get_with("/a", NO_STORE);
    proxy.request("POST", "/search", json, b"{\"q\":1}");
    proxy.request("POST", "/order", json, b"{\"q\":1}");
    proxy.get("/never");
    proxy.set_offline(true);
    expect_recorded(&proxy.get("/a"), 200, "GET /a #0");
    let found = proxy.request("POST", "/search", json, b"{\"q\":1}");
    expect_recorded(&found, 200, "POST /search #0");
    for (method, target) in [("POST", "/order"), ("GET", "/order"), ("GET", "/never")] {
        assert_eq!(
            proxy.request(method, target, "", b"").status(),
            504,
            "{target}"
        );
    }
}

#[test]
fn only_whole_bodies_are_recorded() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/cut" => {
            exchange
                .send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 9\r\n\r\nabc");
            exchange.cut();
        }
        _ => {
            exchange.send(
                "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            for _ in 0..50 {
                exchange.chunk(vec![b'x'; 10_000]);
            }
            exchange.chunk("");
        }
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| {
            config.record = true;
            config.max_object_bytes = 600_000;
        })
        .start();
    proxy.connect().ask("/cut", "").wait_for("abc");
    assert_eq!(proxy.get("/whole").text().len(), 500_000);
    proxy.set_offline(true);
    assert_eq!(proxy.get("/cut").status(), 504);
    let whole = proxy.get("/whole");
    expect_recorded(&whole, 200, &"x".repeat(500_000));
}

#[test]
fn a_clear_removes_what_was_recorded_and_what_is_being_recorded() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::start(move |exchange| {
        if exchange.target() == "/slow" {
            held.wait();
        }
        exchange.ok(NO_STORE, "body");
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.record = true)
        .start();
    proxy.get("/a");
    let mut slow = proxy.begin("/slow", "");
    origin.wait_for(2);
    assert_eq!(proxy.clear().entries, 1);
    gate.open();
    slow.answer().expect(200, "MISS", "body");
    proxy.set_offline(true);
    for target in ["/a", "/slow"] {
        assert_eq!(proxy.get(target).status(), 504, "{target}");
    }
}

#[test]
fn ls_and_show_mark_what_was_recorded_and_why_and_purge_know_it() {
    let origin = Origin::counting(NO_STORE);
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--record"]);
    proxy.get("/a");
    let online = home.run_json(&["why", "/a", "--json"]);
    assert_eq!(
        (&online["stored"], &online["outcome"]),
        (&0.into(), &"forward".into())
    );
    let listed = home.run_json(&["ls", "--json"]);
    assert_eq!(listed["entries"][0]["provenance"], "recorded");
    assert!(home.run_ok(&["ls"]).contains("/a  (recorded)"));
    let shown = home.run_json(&["show", "/a", "--json"]);
    assert_eq!(shown["answers"][0]["provenance"], "recorded");
    assert!(home.run_ok(&["show", "/a"]).contains("only served offline"));
    home.run_ok(&["offline", "on"]);
    let offline = home.run_json(&["why", "/a", "--json"]);
    assert_eq!(
        (&offline["stored"], &offline["outcome"]),
        (&1.into(), &"hit".into())
    );
    let purged = home.run(&["purge", "/a"]);
    assert_eq!(purged.code, Some(0));
    assert_eq!(proxy.get("/a").status(), 504);
}
