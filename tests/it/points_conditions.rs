//! Point 20: conditions of clients, evaluated on stored responses.

use caching_proxy::policy::Mode::Strict;

use crate::{
    harness::{TestProxy, http_date},
    origin::Origin,
    points::age,
};

const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A strict proxy that has stored a response with this status.
fn holding(status: &'static str, fields: &str) -> (Origin, TestProxy) {
    let fields = format!("Cache-Control: max-age=600\r\n{fields}");
    let origin = Origin::start(move |exchange| exchange.answer(status, &fields, "body"));
    let proxy = TestProxy::with_mode(&origin, Strict);
    assert_eq!(proxy.get("/").x_cache(), "MISS");
    (origin, proxy)
}

#[test]
fn point_20a_if_none_match_is_compared_weakly_and_has_precedence() {
    let (origin, proxy) = holding(
        "200 OK",
        &format!("ETag: \"a,b\"\r\nLast-Modified: {OLD}\r\n"),
    );
    let weakly = holding("200 OK", "ETag: W/\"a,b\"\r\n");
    for (tags, expected) in [
        ("\"a,b\"", 304),
        ("W/\"a,b\"", 304),
        ("\"x\", \"a,b\"", 304),
        ("\"x\" ,, W/\"a,b\",", 304),
        ("\"x\"\r\nIf-None-Match: \"a,b\"", 304),
        ("*", 304),
        ("\"a\"", 200),
        ("\"A,B\"", 200),
        ("a,b", 200),
        ("\"x\", \"y\"", 200),
        ("w/\"a,b\"", 200),
        ("", 200),
    ] {
        for proxy in [&proxy, &weakly.1] {
            let answer = proxy.get_with("/", &format!("If-None-Match: {tags}\r\n"));
            assert_eq!(
                (answer.status(), answer.x_cache()),
                (expected, "HIT"),
                "{tags}"
            );
        }
    }
    // If-None-Match overrides If-Modified-Since.
    for (tag, since, expected) in [
        ("\"x\"", OLD, 200),
        ("\"a,b\"", "Sat, 05 Nov 1994 08:49:37 GMT", 304),
    ] {
        let fields = format!("If-Modified-Since: {since}\r\nIf-None-Match: {tag}\r\n");
        assert_eq!(proxy.get_with("/", &fields).status(), expected, "{fields}");
    }
    let head = proxy.request("HEAD", "/", "If-None-Match: *\r\n", b"");
    assert_eq!((head.status(), head.x_cache()), (304, "HIT"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn point_20b_if_modified_since_is_compared_with_last_modified_else_date() {
    let date = http_date(-300);
    let dated = holding("200 OK", &format!("Date: {date}\r\n"));
    let modified = holding(
        "200 OK",
        &format!("Date: {date}\r\nLast-Modified: {OLD}\r\n"),
    );
    let day = |weekday: &str, day: &str| format!("{weekday}, {day} Nov 1994 08:49:37 GMT");
    for (held, since, expected) in [
        (&modified, OLD.to_owned(), 304),
        (&modified, day("Mon", "07"), 304),
        (&modified, day("Sat", "05"), 200),
        (&modified, "Sun Nov  6 08:49:37 1994".to_owned(), 304),
        (&modified, "Sunday, 06-Nov-94 08:49:37 GMT".to_owned(), 304),
        (&modified, "Sat Nov  5 08:49:37 1994".to_owned(), 200),
        (&modified, "never".to_owned(), 200),
        (&modified, http_date(-100).replace("GMT", "UTC"), 200),
        (&modified, format!("{OLD}\r\nIf-Modified-Since: {OLD}"), 200),
        (&dated, date.clone(), 304),
        (&dated, http_date(-200), 304),
        (&dated, http_date(-400), 200),
    ] {
        let answer = held
            .1
            .get_with("/", &format!("If-Modified-Since: {since}\r\n"));
        assert_eq!(
            (answer.status(), answer.x_cache()),
            (expected, "HIT"),
            "{since}"
        );
        assert_eq!(held.0.count(), 1);
    }
}

#[test]
fn point_20c_a_304_has_all_headers_but_those_about_the_content() {
    let (date, expires) = (http_date(-30), http_date(900));
    let (_origin, proxy) = holding(
        "200 OK",
        &format!(
            "ETag: \"v\"\r\nContent-Location: /here\r\nDate: {date}\r\nExpires: {expires}\r\nVary: X-V\r\n\
             Cache-Control: foo\r\nContent-Type: text/plain\r\nX-Other: 1\r\nContent-Language: de\r\n"
        ),
    );
    let mut client = proxy.connect();
    let answer = client.ask("/", "If-None-Match: \"v\"\r\n").answer();
    assert_eq!((answer.status(), answer.x_cache()), (304, "HIT"));
    assert_eq!(answer.all("cache-control"), ["max-age=600", "foo"]);
    for (name, value) in [
        ("etag", Some("\"v\"")),
        ("content-location", Some("/here")),
        ("date", Some(&*date)),
        ("expires", Some(&*expires)),
        ("vary", Some("X-V")),
        ("content-type", None),
        ("content-language", None),
        ("x-other", Some("1")),
        ("transfer-encoding", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
    assert!((30..60).contains(&age(&answer)));
    assert!(
        answer
            .field("cache-status")
            .unwrap()
            .starts_with("caching-proxy; hit")
    );
    client.ask("/", "").answer().expect(200, "HIT", "body");
}

#[test]
fn point_20d_conditions_apply_to_stored_successes_only() {
    for (status, expected) in [
        ("200 OK", 304),
        ("203 Transformed", 304),
        ("299 Odd", 304),
        ("301 Moved", 301),
        ("404 Not Found", 404),
        ("500 Broken", 500),
    ] {
        let (origin, proxy) = holding(status, &format!("ETag: \"v\"\r\nLast-Modified: {OLD}\r\n"));
        for condition in [
            "If-None-Match: \"v\"".to_owned(),
            format!("If-Modified-Since: {OLD}"),
        ] {
            let answer = proxy.get_with("/", &format!("{condition}\r\n"));
            assert_eq!(
                (answer.status(), answer.x_cache()),
                (expected, "HIT"),
                "{status}"
            );
        }
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn point_20e_if_match_and_if_unmodified_since_go_to_the_origin_as_they_are() {
    let (origin, proxy) = holding(
        "200 OK",
        &format!("ETag: \"v\"\r\nLast-Modified: {OLD}\r\n"),
    );
    for (name, value) in [
        ("if-match", "\"v\""),
        ("if-match", "*"),
        ("if-match", "\"other\""),
        ("if-unmodified-since", OLD),
        ("if-unmodified-since", "never"),
    ] {
        let before = origin.count();
        let answer = proxy.get_with("/", &format!("{name}: {value}\r\nIf-None-Match: \"v\"\r\n"));
        assert_eq!(
            (answer.status(), answer.x_cache()),
            (200, "MISS"),
            "{name}: {value}"
        );
        assert_eq!(origin.count(), before + 1);
        let seen = origin.last();
        assert_eq!(
            (
                seen.field(name).as_deref(),
                seen.field("if-none-match").as_deref()
            ),
            (Some(value), Some("\"v\""))
        );
        proxy.get("/").expect(200, "HIT", "body");
    }
}
