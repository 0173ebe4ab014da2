//! Validation: validators, 304 in both directions, and an unreachable origin.

use crate::{
    client::Ending,
    harness::{TestProxy, http_date},
    origin::{Gate, Origin},
};

/// An origin that responds with 200 first, and then with 304 to requests with the right validator.
fn validating(first: &'static str, later: &'static str, condition: &'static str) -> Origin {
    Origin::start(move |exchange| {
        if exchange.request.field(condition).is_some() {
            exchange.send(format!("HTTP/1.1 304 Not Modified\r\n{later}\r\n"));
        } else {
            exchange.ok(first, format!("body #{}", exchange.nth));
        }
    })
}

#[test]
fn a_stale_response_is_validated_with_exactly_the_stored_etag() {
    for tag in ["\"v1\"", "W/\"weak\"", "\"with, comma\""] {
        let origin = Origin::start(move |exchange| {
            if exchange.request.field("if-none-match").is_some() {
                let fields = format!("ETag: {tag}\r\nCache-Control: max-age=60\r\nX-New: 1\r\n");
                exchange.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
            } else {
                exchange.ok(
                    &format!("ETag: {tag}\r\nCache-Control: max-age=0\r\nX-Old: 1\r\n"),
                    "body",
                );
            }
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/").expect(200, "MISS", "body");
        let validated = proxy.get("/");
        validated.expect(200, "HIT", "body");
        assert_eq!(origin.last().field("if-none-match").as_deref(), Some(tag));
        assert_eq!(
            (validated.field("x-new"), validated.field("x-old")),
            (Some("1"), Some("1"))
        );
        assert_eq!(validated.field("cache-control"), Some("max-age=60"));
        // The response is fresh again: no request reaches the origin.
        proxy.get("/").expect(200, "HIT", "body");
        assert_eq!(origin.count(), 2);
    }
}

#[test]
fn last_modified_is_validated_with_if_modified_since() {
    let first = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nCache-Control: max-age=0\r\n";
    let origin = validating(first, "Cache-Control: max-age=60\r\n", "if-modified-since");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body #0");
    proxy.get("/").expect(200, "HIT", "body #0");
    assert_eq!(
        origin.last().field("if-modified-since").as_deref(),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
}

#[test]
fn a_no_cache_response_is_stored_and_validated_on_every_use() {
    let origin = validating(
        "ETag: \"v\"\r\nCache-Control: no-cache\r\n",
        "ETag: \"v\"\r\n",
        "if-none-match",
    );
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body #0");
    for _ in 0..3 {
        proxy.get("/").expect(200, "HIT", "body #0");
    }
    assert_eq!(origin.count(), 4);
}

#[test]
fn a_304_with_a_content_length_is_complete_and_does_not_change_the_length() {
    let later = "ETag: \"v\"\r\nContent-Length: 999\r\nX-New: 1\r\n";
    let origin = validating(
        "ETag: \"v\"\r\nCache-Control: max-age=0\r\n",
        later,
        "if-none-match",
    );
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body #0");
    for _ in 0..3 {
        let answer = proxy.get("/");
        answer.expect(200, "HIT", "body #0");
        assert_eq!(
            (answer.field("content-length"), answer.field("x-new")),
            (Some("7"), Some("1"))
        );
    }
    // The connection is still usable.
    proxy.get("/other").expect(200, "MISS", "body #0");
}

#[test]
fn a_changed_response_replaces_the_old_one() {
    let origin = Origin::start(|exchange| {
        let fields = format!(
            "ETag: \"{0}\"\r\nCache-Control: max-age={0}\r\n",
            exchange.nth * 60
        );
        exchange.ok(&fields, format!("body #{}", exchange.nth));
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body #0");
    proxy.get("/").expect(200, "MISS", "body #1");
    proxy.get("/").expect(200, "HIT", "body #1");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_304_never_reaches_a_client_without_conditions() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok("ETag: \"old\"\r\nCache-Control: max-age=0\r\n", "old"),
        1 => exchange.send("HTTP/1.1 304 Not Modified\r\nETag: \"another\"\r\n\r\n"),
        _ => exchange.ok("ETag: \"another\"\r\n", "new"),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "old");
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
}

#[test]
fn conditions_of_the_client_are_evaluated_on_fresh_responses() {
    let modified = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = Origin::counting(
        "ETag: \"v\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nVary: X-V\r\nX-Body: 1\r\n",
    );
    let proxy = TestProxy::to(&origin);
    proxy.get("/");
    let since = format!("If-Modified-Since: {modified}\r\n");
    let both = format!("If-None-Match: \"other\"\r\n{since}");
    let rows = [
        ("If-None-Match: \"v\"\r\n", 304),
        ("If-None-Match: W/\"v\"\r\n", 304),
        ("If-None-Match: \"a\", \"v\"\r\n", 304),
        ("If-None-Match: \"a\"\r\nIf-None-Match: \"v\"\r\n", 304),
        ("If-None-Match: *\r\n", 304),
        ("If-None-Match: \"w\"\r\n", 200),
        (since.as_str(), 304),
        ("If-Modified-Since: Sat, 05 Nov 1994 08:49:37 GMT\r\n", 200),
        (both.as_str(), 200),
    ];
    for (fields, status) in rows {
        let answer = proxy.get_with("/", fields);
        assert_eq!(
            (answer.status(), answer.x_cache()),
            (status, "HIT"),
            "{fields}"
        );
        assert_eq!(
            answer.text(),
            if status == 304 { "" } else { "GET / #0" },
            "{fields}"
        );
        assert_eq!(
            (answer.field("etag"), answer.field("vary")),
            (Some("\"v\""), Some("X-V")),
            "{fields}"
        );
        assert!(answer.field("age").is_some(), "{fields}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_stored_validator_replaces_the_clients() {
    let origin = validating(
        "ETag: \"ours\"\r\nCache-Control: max-age=0\r\n",
        "ETag: \"ours\"\r\n",
        "if-none-match",
    );
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body #0");
    let other = proxy.get_with("/", "If-None-Match: \"theirs\"\r\nX-Other: kept\r\n");
    other.expect(200, "HIT", "body #0");
    let seen = origin.last();
    assert_eq!(seen.field("if-none-match").as_deref(), Some("\"ours\""));
    assert_eq!(seen.field("x-other").as_deref(), Some("kept"));
    assert_eq!(
        proxy.get_with("/", "If-None-Match: \"ours\"\r\n").status(),
        304
    );
}

#[test]
fn a_304_to_the_clients_own_condition_is_relayed_and_stores_nothing() {
    let fields = "ETag: \"v\"\r\nCache-Control: no-store\r\n";
    let origin = validating(fields, fields, "if-none-match");
    let proxy = TestProxy::to(&origin);
    // After a response that was not storable, the client's condition is forwarded.
    proxy.get("/").expect(200, "MISS", "body #0");
    let answer = proxy.get_with("/", "If-None-Match: \"v\"\r\n");
    assert_eq!(
        (answer.status(), answer.x_cache(), answer.text().as_str()),
        (304, "MISS", "")
    );
    assert!(origin.last().field("if-none-match").is_some());
    proxy.get("/").expect(200, "MISS", "body #2");
}

#[test]
fn a_request_with_if_match_goes_to_the_origin() {
    let origin = Origin::start(|exchange| match exchange.request.field("if-match") {
        Some(_) => exchange.answer("412 Precondition Failed", "", "no"),
        None => exchange.ok("ETag: \"v\"\r\n", "body"),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    proxy
        .get_with("/", "If-Match: \"w\"\r\n")
        .expect(412, "MISS", "no");
    proxy.get("/").expect(200, "HIT", "body");
}

#[test]
fn a_stale_response_is_served_if_the_origin_is_down() {
    let mut origin = Origin::counting("Cache-Control: max-age=60\r\nAge: 61\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    origin.stop();
    let stale = proxy.get("/");
    stale.expect(200, "HIT", "GET / #0");
    assert!(stale.field("age").unwrap().parse::<u64>().unwrap() >= 61);
    // A target without a stored response gets the error.
    assert_eq!(proxy.get("/never").status(), 502);
}

#[test]
fn a_stale_response_is_served_instead_of_an_error_of_the_origin() {
    for status in ["500", "502", "503", "504"] {
        let origin = Origin::start(move |exchange| match exchange.nth {
            0 => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "good"),
            _ => exchange.answer(&format!("{status} Broken"), "", "bad"),
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/").expect(200, "MISS", "good");
        proxy.get("/").expect(200, "HIT", "good");
        assert_eq!(origin.count(), 2, "{status}");
    }
}

#[test]
fn a_stale_response_is_not_served_if_the_origin_forbids_it() {
    for directives in [
        "max-age=0, must-revalidate",
        "max-age=0, proxy-revalidate",
        "s-maxage=0",
        "no-cache",
    ] {
        let fields = format!("Cache-Control: {directives}\r\nETag: \"v\"\r\n");
        let mut origin = Origin::start(move |exchange| match exchange.nth {
            0 => exchange.ok(&fields, "good"),
            _ => exchange.answer("503 Broken", "", "the origin's own words"),
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/").expect(200, "MISS", "good");
        proxy.get("/").expect(503, "MISS", "the origin's own words");
        origin.stop();
        assert_eq!(proxy.get("/").status(), 504, "{directives}");
    }
}

#[test]
fn max_stale_limits_the_age_of_a_stale_response() {
    let mut origin = Origin::counting("Cache-Control: max-age=60\r\nAge: 200000\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    origin.stop();
    assert_ne!(
        proxy.get("/").status(),
        200,
        "two days stale, with a limit of one"
    );
}

#[test]
fn a_validation_serves_all_waiting_clients() {
    let gate = Gate::default();
    let origin = Origin::confirming_after(&gate, "Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut askers: Vec<_> = (0..10).map(|_| proxy.begin("/", "")).collect();
    origin.wait_for(2);
    gate.open();
    for asker in &mut askers {
        let answer = asker.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "#0"));
    }
}

#[test]
fn if_modified_since_is_compared_with_date_without_last_modified() {
    let date = http_date(-600);
    let fields = format!("Date: {date}\r\nCache-Control: max-age=6000\r\n");
    let origin = Origin::start(move |exchange| exchange.ok(&fields, "body"));
    let proxy = TestProxy::to(&origin);
    proxy.get("/");
    let answer = proxy.get_with("/", &format!("If-Modified-Since: {}\r\n", http_date(-300)));
    assert_eq!((answer.status(), answer.x_cache()), (304, "HIT"));
    let answer = proxy.get_with("/", &format!("If-Modified-Since: {}\r\n", http_date(-900)));
    answer.expect(200, "HIT", "body");
}

#[test]
fn a_stale_response_is_served_if_the_origin_disconnects_during_a_validation() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok("ETag: \"v\"\r\nCache-Control: max-age=0\r\n", "good"),
        _ => exchange.reset(),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "good");
    proxy.get("/").expect(200, "HIT", "good");
}
