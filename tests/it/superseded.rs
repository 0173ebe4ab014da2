//! A newer response of the origin replaces an older one, in whichever order the two fetches end.

use crate::{
    harness::TestProxy,
    origin::{Gate, Origin},
};

#[test]
fn an_older_fetch_does_not_replace_the_response_of_a_newer_one() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => {
                exchange.send(
                    "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 5\r\n\r\nv1 ",
                );
                gate.wait();
                exchange.send("v1");
            }
            _ => exchange.ok("Cache-Control: max-age=600\r\n", "v2"),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut older = proxy.begin("/", "");
    older.wait_for("v1 ");
    proxy
        .get_with("/", "Cache-Control: no-cache\r\n")
        .expect(200, "MISS", "v2");
    proxy.get("/").expect(200, "HIT", "v2");
    gate.open();
    // The last byte is sent after the cache has decided about the response.
    older.answer().expect(200, "MISS", "v1 v1");
    proxy.get("/").expect(200, "HIT", "v2");
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_older_validation_does_not_replace_the_response_of_a_newer_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => exchange.ok("ETag: \"v0\"\r\nCache-Control: public, max-age=0\r\n", "v0"),
            1 => {
                gate.wait();
                exchange.send(
                    "HTTP/1.1 304 Not Modified\r\nETag: \"v0\"\r\nCache-Control: public, max-age=600\r\n\r\n",
                );
            }
            _ => exchange.ok(
                "ETag: \"v2\"\r\nCache-Control: public, max-age=600\r\n",
                "v2",
            ),
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "v0");
    let mut older = proxy.begin("/", "");
    origin.wait_for(2);
    // Another client fetches for itself, and its response is stored for all.
    let own = "Authorization: Bearer x\r\n";
    proxy.get_with("/", own).expect(200, "MISS", "v2");
    proxy.get("/").expect(200, "HIT", "v2");
    gate.open();
    older.answer();
    proxy.get("/").expect(200, "HIT", "v2");
    proxy.get_with("/", own).expect(200, "HIT", "v2");
}

/// A stale response is validated, the origin sends another response and stops: the stored one must be removed.
fn assert_stored_response_is_removed(status: &'static str, fields: &'static str) {
    let mut origin = Origin::start(move |exchange| match exchange.nth {
        0 => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "old"),
        _ => exchange.answer(status, fields, "instead"),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "old");
    let code: u16 = status[..3].parse().unwrap();
    proxy.get("/").expect(code, "MISS", "instead");
    origin.stop();
    let after = proxy.get("/");
    assert_ne!(after.text(), "old", "after {status} {fields}: {after:?}");
    assert_eq!(after.status(), 502, "after {status} {fields}: {after:?}");
}

#[test]
fn a_validation_that_gets_an_unstorable_response_removes_the_stored_one() {
    for (status, fields) in [
        ("200 OK", "Cache-Control: no-store\r\n"),
        ("200 OK", "Cache-Control: private\r\nSet-Cookie: sid=1\r\n"),
        ("200 OK", "Set-Cookie: sid=1\r\n"),
        ("200 OK", "Vary: *\r\n"),
        (
            "302 Found",
            "Location: /login\r\nCache-Control: no-store\r\n",
        ),
        ("404 Not Found", "Cache-Control: no-store\r\n"),
        ("410 Gone", "Cache-Control: no-store\r\n"),
    ] {
        assert_stored_response_is_removed(status, fields);
    }
}

#[test]
fn a_refused_validation_removes_the_stored_response() {
    for (status, fields) in [
        ("401 Unauthorized", "WWW-Authenticate: Basic\r\n"),
        ("403 Forbidden", ""),
    ] {
        assert_stored_response_is_removed(status, fields);
    }
}

#[test]
fn a_304_for_another_etag_leads_to_one_whole_fetch_that_is_stored() {
    let origin = Origin::start(|exchange| {
        if exchange.request.field("if-none-match").is_some() {
            exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"another\"\r\n\r\n");
        } else {
            let lifetime = if exchange.nth == 0 { 0 } else { 600 };
            let fields = format!(
                "ETag: \"v{}\"\r\nCache-Control: max-age={lifetime}\r\n",
                exchange.nth
            );
            exchange.ok(&fields, format!("#{}", exchange.nth));
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    proxy.get("/").expect(200, "MISS", "#2");
    let seen = origin.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_eq!(seen[1].field("if-none-match").as_deref(), Some("\"v0\""));
    assert_eq!(seen[2].field("if-none-match"), None);
    proxy.get("/").expect(200, "HIT", "#2");
    assert_eq!(origin.count(), 3);
}

#[test]
fn with_preserve_host_a_location_on_the_clients_own_host_is_invalidated() {
    for field in ["Location", "Content-Location"] {
        for location in ["http://proxy.test/b", "/b"] {
            let origin = Origin::start(move |exchange| match exchange.request.method().as_str() {
                "GET" => exchange.ok("", format!("#{}", exchange.nth)),
                _ => exchange.answer("201 Created", &format!("{field}: {location}\r\n"), ""),
            });
            let proxy = TestProxy::builder(&origin)
                .with(|config| config.preserve_host = true)
                .start();
            proxy.get("/b").expect(200, "MISS", "#0");
            proxy.get("/b").expect(200, "HIT", "#0");
            let posted = proxy.request("POST", "/a", "", b"change");
            assert_eq!(posted.status(), 201);
            let after = proxy.get("/b");
            assert_eq!(
                (after.x_cache(), after.text().as_str()),
                ("MISS", "#1"),
                "{field}: {location}"
            );
        }
    }
}

#[test]
fn with_preserve_host_a_location_on_another_host_invalidates_nothing() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok("", format!("#{}", exchange.nth)),
        _ => exchange.answer("201 Created", "Location: http://elsewhere.test/b\r\n", ""),
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.preserve_host = true)
        .start();
    proxy.get("/b").expect(200, "MISS", "#0");
    proxy.request("POST", "/a", "", b"change");
    proxy.get("/b").expect(200, "HIT", "#0");
}
