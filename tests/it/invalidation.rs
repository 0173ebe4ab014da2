//! Unsafe methods invalidate stored responses.

use crate::{
    harness::TestProxy,
    origin::{Gate, Origin},
};

#[test]
fn every_successful_unsafe_method_invalidates_its_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "FOOBAR"] {
        for status in ["200 OK", "201 Created", "303 See Other"] {
            let origin = Origin::start(move |exchange| match exchange.request.method().as_str() {
                "GET" => exchange.ok("", format!("#{}", exchange.nth)),
                _ => exchange.answer(status, "", ""),
            });
            let proxy = TestProxy::to(&origin);
            proxy.get("/x?a").expect(200, "MISS", "#0");
            proxy.get("/y").expect(200, "MISS", "#0");
            proxy.request(method, "/x?a", "", b"change");
            proxy.get("/x?a").expect(200, "MISS", "#2");
            proxy.get("/y").expect(200, "HIT", "#0");
        }
    }
}

#[test]
fn an_unsuccessful_unsafe_request_invalidates_nothing() {
    for status in [
        "400 Bad Request",
        "403 Forbidden",
        "409 Conflict",
        "500 Broken",
    ] {
        let origin = Origin::start(move |exchange| match exchange.request.method().as_str() {
            "GET" => exchange.ok("", format!("#{}", exchange.nth)),
            _ => exchange.answer(status, "", ""),
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/").expect(200, "MISS", "#0");
        proxy.request("POST", "/", "", b"change");
        proxy.get("/").expect(200, "HIT", "#0");
    }
}

#[test]
fn safe_methods_invalidate_nothing() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    for method in ["OPTIONS", "HEAD", "TRACE"] {
        proxy.request(method, "/", "", b"");
        proxy.get("/").expect(200, "HIT", "GET / #0");
    }
}

#[test]
fn location_and_content_location_on_the_same_origin_are_invalidated_too() {
    let origin = Origin::start(|exchange| {
        let host = exchange.request.field("host").unwrap_or_default();
        match exchange.request.method().as_str() {
            "GET" => exchange.ok("", format!("#{}", exchange.nth)),
            _ => exchange.answer(
                "201 Created",
                &format!("Location: /a\r\nContent-Location: http://{host}/b?c\r\n"),
                "",
            ),
        }
    });
    let proxy = TestProxy::to(&origin);
    for target in ["/a", "/b?c", "/d"] {
        proxy.get(target).expect(200, "MISS", "#0");
    }
    proxy.request("POST", "/new", "", b"x");
    proxy.get("/a").expect(200, "MISS", "#1");
    proxy.get("/b?c").expect(200, "MISS", "#1");
    proxy.get("/d").expect(200, "HIT", "#0");
}

#[test]
fn a_location_on_another_host_invalidates_nothing() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok("", format!("#{}", exchange.nth)),
        _ => exchange.answer(
            "201 Created",
            "Location: http://other.test/a\r\nContent-Location: //other.test/a\r\n",
            "",
        ),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/a").expect(200, "MISS", "#0");
    proxy.request("POST", "/new", "", b"x");
    proxy.get("/a").expect(200, "HIT", "#0");
}

#[test]
fn all_variants_and_partitions_of_the_target_are_invalidated() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok("Vary: Accept-Language\r\n", format!("#{}", exchange.nth)),
        _ => exchange.ok("", ""),
    });
    let proxy = TestProxy::to(&origin);
    let requests = [
        "",
        "Accept-Language: de\r\n",
        "Authorization: Bearer x\r\n",
        "Cookie: sid=1\r\nAccept-Language: fr\r\n",
    ];
    for (nth, fields) in requests.iter().enumerate() {
        proxy
            .get_with("/", fields)
            .expect(200, "MISS", &format!("#{nth}"));
        proxy
            .get_with("/", fields)
            .expect(200, "HIT", &format!("#{nth}"));
    }
    proxy.request("PUT", "/", "Authorization: Bearer x\r\n", b"x");
    for fields in requests {
        assert_eq!(proxy.get_with("/", fields).x_cache(), "MISS", "{fields}");
    }
}

#[test]
fn a_fetch_in_flight_is_not_stored_after_an_invalidation_of_its_target() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match (exchange.request.method().as_str(), exchange.nth) {
            ("GET", 0) => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
                gate.wait();
                exchange.send(" old.");
            }
            ("GET", nth) => exchange.ok("", format!("new #{nth}")),
            _ => exchange.ok("", "changed"),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut before = proxy.begin("/", "");
    before.wait_for("first");
    proxy
        .request("POST", "/", "", b"x")
        .expect(200, "MISS", "changed");
    // No request joins a fetch that started before the invalidation.
    proxy.get("/").expect(200, "MISS", "new #2");
    gate.open();
    before.answer().expect(200, "MISS", "first old.");
    proxy.get("/").expect(200, "HIT", "new #2");
}

#[test]
fn under_a_path_prefix_the_right_target_is_invalidated() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "GET" => exchange.ok("", format!("#{}", exchange.nth)),
        _ => exchange.answer("201 Created", "Location: /api/a\r\n", ""),
    });
    let proxy = TestProxy::for_url(&format!("{}/api", origin.url())).start();
    proxy.get("/a").expect(200, "MISS", "#0");
    proxy.get("/b").expect(200, "MISS", "#0");
    proxy.request("POST", "/b", "", b"x");
    assert_eq!(proxy.get("/a").x_cache(), "MISS");
    assert_eq!(proxy.get("/b").x_cache(), "MISS");
}
