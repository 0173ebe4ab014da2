//! The three policies. Each row is a response that is requested twice.

use std::time::Duration;

use caching_proxy::policy::Mode::{self, Always, Standard, Strict};

use crate::{
    harness::{TestProxy, http_date},
    origin::Origin,
};

/// The outcome of the second GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    Hit,
    Miss,
}
use Second::{Hit, Miss};

/// Sends two GETs for each row: the mode, status and headers of the response, and whether the second GET is a hit.
#[track_caller]
fn check(rows: &[(Mode, &str, &str, Second)]) {
    for mode in [Standard, Strict, Always] {
        let rows: Vec<_> = rows.iter().filter(|row| row.0 == mode).collect();
        let answers: Vec<_> = rows
            .iter()
            .map(|row| (row.1.to_owned(), row.2.to_owned()))
            .collect();
        let origin = Origin::start(move |exchange| {
            let (status, fields) = &answers[exchange.target()[1..].parse::<usize>().unwrap()];
            exchange.answer(status, fields, "body");
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        for (number, row) in rows.iter().enumerate() {
            let target = format!("/{number}");
            assert_eq!(proxy.get(&target).x_cache(), "MISS", "{row:?}");
            let expected = if row.3 == Hit { "HIT" } else { "MISS" };
            assert_eq!(proxy.get(&target).x_cache(), expected, "{row:?}");
        }
    }
}

/// The same for responses with status 200 under one policy.
#[track_caller]
fn check_ok(mode: Mode, rows: &[(&str, Second)]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(fields, second)| (mode, "200 OK", *fields, *second))
        .collect();
    check(&rows);
}

#[test]
fn standard_obeys_the_origin_and_stores_responses_without_directives() {
    let future = format!("Expires: {}\r\n", http_date(600));
    let past = format!("Expires: {}\r\n", http_date(-600));
    let past_but_max_age = format!("{past}Cache-Control: max-age=60\r\n");
    check_ok(
        Standard,
        &[
            ("", Hit),
            ("Cache-Control: max-age=60\r\n", Hit),
            ("Cache-Control: max-age=60\r\nAge: 61\r\n", Miss),
            ("Cache-Control: max-age=0\r\n", Miss),
            ("Cache-Control: max-age=-1\r\n", Miss),
            ("Cache-Control: no-store\r\n", Miss),
            ("Cache-Control: no-cache\r\n", Miss),
            ("Cache-Control: private\r\n", Miss),
            ("Cache-Control: private, max-age=60\r\n", Miss),
            ("Cache-Control: s-maxage=60, max-age=0\r\n", Hit),
            ("Cache-Control: s-maxage=0, max-age=60\r\n", Miss),
            ("cache-control: MAX-AGE=\"60\"\r\n", Hit),
            ("Cache-Control: no-transform\r\n", Hit),
            ("Cache-Control: something=\"no-store\"\r\n", Hit),
            (
                "Cache-Control: max-age=60\r\nCache-Control: no-store\r\n",
                Miss,
            ),
            ("Pragma: no-cache\r\n", Miss),
            ("Expires: 0\r\n", Miss),
            (&future, Hit),
            (&past, Miss),
            (&past_but_max_age, Hit),
        ],
    );
}

#[test]
fn strict_stores_responses_with_a_lifetime() {
    let future = format!("Expires: {}\r\n", http_date(600));
    let past = format!("Expires: {}\r\n", http_date(-600));
    let past_but_max_age = format!("{past}Cache-Control: max-age=60\r\n");
    check_ok(
        Strict,
        &[
            ("", Miss),
            ("Cache-Control: max-age=60\r\n", Hit),
            ("Cache-Control: max-age=60\r\nAge: 61\r\n", Miss),
            ("Cache-Control: private, max-age=60\r\n", Miss),
            ("Cache-Control: no-store, max-age=60\r\n", Miss),
            ("Cache-Control: s-maxage=60\r\n", Hit),
            (&future, Hit),
            (&past, Miss),
            (&past_but_max_age, Hit),
        ],
    );
}

#[test]
fn always_stores_against_the_directives_of_the_origin() {
    let past = format!("Expires: {}\r\n", http_date(-600));
    check_ok(
        Always,
        &[
            ("", Hit),
            ("Cache-Control: no-store\r\n", Hit),
            ("Cache-Control: private, no-cache, max-age=0\r\n", Hit),
            ("Pragma: no-cache\r\nExpires: 0\r\n", Hit),
            ("Cache-Control: max-age=60\r\nAge: 61\r\n", Hit),
            (&past, Hit),
        ],
    );
}

#[test]
fn expires_counts_from_the_date_of_the_response() {
    // A lifetime of an hour, half an hour old: the clock of the origin counts.
    let alive = format!(
        "Date: {}\r\nExpires: {}\r\n",
        http_date(-1800),
        http_date(1800)
    );
    // Expires is in the future, but the clock of the origin is ahead too: no lifetime.
    let dead = format!("Date: {0}\r\nExpires: {0}\r\n", http_date(1800));
    check(&[
        (Standard, "200 OK", &alive, Hit),
        (Strict, "200 OK", &alive, Hit),
        (Strict, "200 OK", &dead, Miss),
    ]);
}

#[test]
fn certain_statuses_are_stored_without_directives_of_the_origin() {
    let mut rows = Vec::new();
    for status in ["200", "203", "300", "301", "308", "404", "410"] {
        rows.push((Standard, status, Hit));
        rows.push((Always, status, Hit));
    }
    for status in ["201", "302", "307"] {
        rows.push((Standard, status, Miss));
        rows.push((Always, status, Hit));
    }
    for status in [
        "400", "401", "403", "408", "418", "425", "429", "500", "503",
    ] {
        rows.push((Standard, status, Miss));
        rows.push((Always, status, Miss));
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|(_, status, _)| format!("{status} Status"))
        .collect();
    let rows: Vec<_> = rows
        .iter()
        .zip(&lines)
        .map(|((mode, _, second), line)| (*mode, line.as_str(), "", *second))
        .collect();
    check(&rows);
}

#[test]
fn a_response_without_content_is_stored() {
    let origin = Origin::start(|exchange| exchange.send("HTTP/1.1 204 No Content\r\n\r\n"));
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(204, "MISS", "");
    proxy.get("/").expect(204, "HIT", "");
}

#[test]
fn strict_derives_a_heuristic_lifetime_from_last_modified() {
    // Unchanged for ten days: a lifetime of one day. Two days later the response is stale.
    let young = format!(
        "Date: {}\r\nLast-Modified: {}\r\n",
        http_date(-60),
        http_date(-864_060)
    );
    let old = format!(
        "Date: {}\r\nLast-Modified: {}\r\n",
        http_date(-172_800),
        http_date(-1_036_800)
    );
    check(&[
        (Strict, "200 OK", &young, Hit),
        (Strict, "200 OK", &old, Miss),
        (Strict, "418 Teapot", &young, Miss),
        (Standard, "200 OK", &old, Hit),
    ]);
}

#[test]
fn ttl_limits_responses_without_a_lifetime() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/says" => exchange.ok("Cache-Control: max-age=600\r\n", ""),
        _ => exchange.ok("", ""),
    });
    let zero =
        |config: &mut caching_proxy::config::Config| config.policy.ttl = Some(Duration::ZERO);
    let proxy = TestProxy::builder(&origin).with(zero).start();
    for (target, outcome) in [("/silent", "MISS"), ("/says", "HIT")] {
        assert_eq!(proxy.get(target).x_cache(), "MISS", "{target}");
        assert_eq!(proxy.get(target).x_cache(), outcome, "{target}");
    }
}

#[test]
fn ttl_limits_every_response_under_always() {
    let origin = Origin::counting("Cache-Control: max-age=600\r\n");
    let zero =
        |config: &mut caching_proxy::config::Config| config.policy.ttl = Some(Duration::ZERO);
    let proxy = TestProxy::builder(&origin).mode(Always).with(zero).start();
    proxy.get("/").expect(200, "MISS", "GET / #0");
    proxy.get("/").expect(200, "MISS", "GET / #1");
}

#[test]
fn set_cookie_is_replayed_by_strict_only() {
    let set = "Set-Cookie: sid=1\r\n";
    let public = format!("{set}Cache-Control: public, max-age=60\r\n");
    let shared = format!("{set}Cache-Control: s-maxage=60\r\n");
    let fresh = format!("{set}Cache-Control: max-age=60\r\n");
    let rows = [
        (Standard, set, "MISS", true),
        (Standard, fresh.as_str(), "MISS", true),
        (Standard, public.as_str(), "HIT", false),
        (Standard, shared.as_str(), "HIT", false),
        (
            Standard,
            "Set-Cookie: __cf_bm=abc; path=/\r\nSet-Cookie: _ga=1\r\n",
            "HIT",
            false,
        ),
        (
            Standard,
            "Set-Cookie: __cf_bm=abc\r\nSet-Cookie: sid=2\r\n",
            "MISS",
            true,
        ),
        (Strict, fresh.as_str(), "HIT", true),
        (Always, set, "HIT", false),
    ];
    for (mode, fields, outcome, replayed) in rows {
        let owned = fields.to_owned();
        let origin = Origin::start(move |exchange| exchange.ok(&owned, "body"));
        let proxy = TestProxy::with_mode(&origin, mode);
        assert!(
            !proxy.get("/").all("set-cookie").is_empty(),
            "the first asker gets it: {mode:?} {fields}"
        );
        let second = proxy.get("/");
        let found = (second.x_cache(), !second.all("set-cookie").is_empty());
        assert_eq!(found, (outcome, replayed), "{mode:?} {fields}");
    }
}

#[test]
fn standard_ignores_a_reload_and_obeys_a_hard_reload() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    for fields in [
        "Cache-Control: max-age=0\r\n",
        "Cache-Control: min-fresh=9999999\r\n",
        "Cache-Control: max-stale\r\n",
    ] {
        proxy.get_with("/", fields).expect(200, "HIT", "GET / #0");
    }
    proxy
        .get_with("/", "Cache-Control: no-cache\r\nPragma: no-cache\r\n")
        .expect(200, "MISS", "GET / #1");
    // All clients get the response of the hard reload from now on.
    proxy.get("/").expect(200, "HIT", "GET / #1");
}

#[test]
fn a_clients_no_store_is_obeyed() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy
        .get_with("/", "Cache-Control: no-store\r\n")
        .expect(200, "MISS", "GET / #0");
    proxy.get("/").expect(200, "MISS", "GET / #1");
}

#[test]
fn an_only_if_cached_request_never_reaches_the_origin() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let fields = "Cache-Control: only-if-cached\r\n";
    assert_eq!(proxy.get_with("/", fields).status(), 504);
    assert_eq!(origin.count(), 0);
    proxy.get("/");
    proxy.get_with("/", fields).expect(200, "HIT", "GET / #0");
}

#[test]
fn strict_obeys_the_clients_directives() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\nAge: 30\r\n");
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.expect_gets(
        "/",
        &[
            ("", "MISS", "GET / #0"),
            ("Cache-Control: max-age=45\r\n", "HIT", "GET / #0"),
            ("Cache-Control: min-fresh=10\r\n", "HIT", "GET / #0"),
            ("Cache-Control: max-age=20\r\n", "MISS", "GET / #1"),
            ("Cache-Control: min-fresh=50\r\n", "MISS", "GET / #2"),
            ("Pragma: no-cache\r\n", "MISS", "GET / #3"),
        ],
    );
}

#[test]
fn always_ignores_the_clients_directives() {
    let origin = Origin::counting("");
    let proxy = TestProxy::with_mode(&origin, Always);
    proxy
        .get_with("/", "Cache-Control: no-store\r\n")
        .expect(200, "MISS", "GET / #0");
    for fields in ["no-cache", "no-store", "max-age=0", "only-if-cached"] {
        proxy
            .get_with("/", &format!("Cache-Control: {fields}\r\n"))
            .expect(200, "HIT", "GET / #0");
    }
    proxy
        .get_with("/elsewhere", "Cache-Control: only-if-cached\r\n")
        .expect(200, "MISS", "GET /elsewhere #0");
}
