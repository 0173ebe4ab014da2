//! After a Clear has finished, no response fetched before it is served again.

use crate::{harness::TestProxy, origin::Origin};

#[test]
fn everything_is_fetched_again_after_a_clear() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for number in 0..20 {
        proxy
            .get(&format!("/{number}"))
            .expect(200, "MISS", &format!("GET /{number} #0"));
    }
    let cleared = proxy.clear();
    assert_eq!(cleared.entries, 20);
    assert!(
        cleared.bytes > 20 * 9,
        "{} bytes with overhead",
        cleared.bytes
    );
    for number in 0..20 {
        proxy
            .get(&format!("/{number}"))
            .expect(200, "MISS", &format!("GET /{number} #1"));
        proxy
            .get(&format!("/{number}"))
            .expect(200, "HIT", &format!("GET /{number} #1"));
    }
}

#[test]
fn a_clear_of_an_empty_cache_reports_zero_responses() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for _ in 0..2 {
        let cleared = proxy.clear();
        assert_eq!((cleared.entries, cleared.bytes), (0, 0));
    }
}

#[test]
fn a_clear_removes_variants_partitions_and_stale_responses() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/stale" => exchange.ok(
            "Cache-Control: max-age=0\r\nETag: \"v\"\r\n",
            format!("#{}", exchange.nth),
        ),
        _ => exchange.ok("Vary: Accept-Language\r\n", format!("#{}", exchange.nth)),
    });
    let proxy = TestProxy::to(&origin);
    let askers = ["", "Accept-Language: de\r\n", "Authorization: x\r\n"];
    for fields in askers {
        proxy.get_with("/", fields);
    }
    proxy.get("/stale");
    proxy.clear();
    for fields in askers {
        assert_eq!(proxy.get_with("/", fields).x_cache(), "MISS", "{fields}");
    }
    proxy.get("/stale").expect(200, "MISS", "#1");
    assert_eq!(origin.last().field("if-none-match"), None);
}

#[test]
fn a_cleared_response_is_not_served_when_the_origin_is_down() {
    let mut origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    proxy.clear();
    origin.stop();
    assert_eq!(proxy.get("/").status(), 502);
}

#[test]
fn a_clear_applies_to_every_worker_under_load() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<_> = (0..8).map(|_| proxy.connect()).collect();
    for round in 0..10 {
        for client in &mut clients {
            let outcome = if origin.count() > round {
                "HIT"
            } else {
                "MISS"
            };
            client
                .ask("/", "")
                .answer()
                .expect(200, outcome, &format!("GET / #{round}"));
        }
        proxy.clear();
    }
    assert_eq!(origin.count(), 10);
}
