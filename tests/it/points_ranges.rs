//! Points 26 and 27: ranges of stored responses, and stored parts.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    client::Answer,
    harness::{TestProxy, http_date},
    origin::{Exchange, Origin},
};

const BODY: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCD";
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const NEW: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

fn range(range: &str) -> String {
    format!("Range: bytes={range}\r\n")
}

/// A strict proxy that has stored the whole response.
fn holding(fields: &str) -> (Origin, TestProxy) {
    let fields = format!("Cache-Control: max-age=60\r\n{fields}");
    let origin = Origin::start(move |exchange| exchange.ok(&fields, BODY));
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", BODY);
    (origin, proxy)
}

#[test]
fn point_26a_one_range_of_a_whole_stored_response_is_served() {
    let (origin, proxy) = holding("ETag: \"v\"\r\nContent-Type: text/plain\r\n");
    let mut client = proxy.connect();
    for (asked, part, place) in [
        ("0-0", "0", "0-0"),
        ("39-39", "D", "39-39"),
        ("2-4", "234", "2-4"),
        ("36-", "ABCD", "36-39"),
        ("0-", BODY, "0-39"),
        ("-1", "D", "39-39"),
        ("-4", "ABCD", "36-39"),
        ("-40", BODY, "0-39"),
        ("-41", BODY, "0-39"),
        ("38-40", "CD", "38-39"),
        ("38-99999999999999999999999", "CD", "38-39"),
        ("0000-0001", "01", "0-1"),
        (" 0-1", "01", "0-1"),
        ("0-1,", "01", "0-1"),
        ("0-1,40-", "01", "0-1"),
        ("-0,0-1", "01", "0-1"),
    ] {
        let answer = client.ask("/", &range(asked)).answer();
        answer.expect(206, "HIT", part);
        assert_eq!(
            answer.field("content-range"),
            Some(&*format!("bytes {place}/40")),
            "{asked}"
        );
        assert_eq!(answer.field("etag"), Some("\"v\""));
        assert_eq!(answer.field("content-type"), Some("text/plain"));
        assert!(answer.field("age").is_some());
    }
    client
        .ask("/", "Range: BYTES=0-1\r\n")
        .answer()
        .expect(206, "HIT", "01");
    assert_eq!(origin.count(), 1);
}

#[test]
fn point_26b_an_unsatisfiable_range_gets_416_and_an_invalid_one_the_whole() {
    let (origin, proxy) = holding("");
    let mut client = proxy.connect();
    for asked in [
        "40-",
        "40-41",
        "-0",
        "99999999999999999999999-",
        "40-,50-60",
    ] {
        let answer = client.ask("/", &range(asked)).answer();
        assert_eq!((answer.status(), answer.x_cache()), (416, "HIT"), "{asked}");
        assert_eq!(answer.field("content-range"), Some("bytes */40"), "{asked}");
        assert_eq!(answer.text(), "");
    }
    for ignored in [
        "bytes=1-0",
        "bytes=a-b",
        "bytes=",
        "bytes",
        "bytes=-",
        "bytes=1",
        "bytes=0x0-1",
        "bytes=0-1x",
        "bytes=--1",
        "items=0-1",
        "bytes=0-1,x",
        "bytes:0-1",
        "bytes = 0-1",
    ] {
        let answer = client.ask("/", &format!("Range: {ignored}\r\n")).answer();
        answer.expect(200, "HIT", BODY);
    }
    let head = proxy.request("HEAD", "/", &range("0-1"), b"");
    assert_eq!(
        (head.status(), head.field("content-length")),
        (200, Some("40"))
    );
    assert_eq!(origin.count(), 1);
}

/// Content-Range and bytes of each part of a multipart response, as text.
fn parts_of(answer: &Answer) -> Vec<(String, String)> {
    let kind = answer.field("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=");
    let delimiter = format!("\r\n--{}", boundary.unwrap().trim_matches('"'));
    // The first delimiter may be at the very beginning.
    let text = format!("\r\n{}", answer.text());
    let text = text.strip_suffix(&format!("{delimiter}--\r\n")).unwrap();
    text.split(&format!("{delimiter}\r\n"))
        .skip(1)
        .map(|part| {
            let (head, bytes) = part.split_once("\r\n\r\n").unwrap();
            let fields: Vec<_> = head
                .split("\r\n")
                .filter_map(|line| line.split_once(": "))
                .collect();
            let value = |wanted: &str| {
                let field = fields
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                field
                    .unwrap_or_else(|| panic!("{wanted}: {head}"))
                    .1
                    .to_owned()
            };
            assert_eq!(value("content-type"), "text/plain");
            (value("content-range"), bytes.to_owned())
        })
        .collect()
}

#[test]
fn point_26c_up_to_sixteen_ranges_that_do_not_overlap_are_served() {
    let (origin, proxy) = holding("ETag: \"v\"\r\nContent-Type: text/plain\r\n");
    let mut client = proxy.connect();
    let sets = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("{0}-{0}", number * 2))
            .collect()
    };
    for (asked, places) in [
        ("0-1,4-5".to_owned(), vec!["0-1", "4-5"]),
        ("4-5 ,\t0-1".to_owned(), vec!["4-5", "0-1"]),
        ("-2,0-0,10-12".to_owned(), vec!["38-39", "0-0", "10-12"]),
        ("0-1,2-3".to_owned(), vec!["0-1", "2-3"]),
        ("0-1,50-,5-5".to_owned(), vec!["0-1", "5-5"]),
        (sets(16).join(","), vec![]),
    ] {
        let answer = client.ask("/", &range(&asked)).answer();
        assert_eq!((answer.status(), answer.x_cache()), (206, "HIT"), "{asked}");
        assert_eq!(answer.field("content-range"), None);
        if places.is_empty() {
            assert_eq!(parts_of(&answer).len(), 16);
            continue;
        }
        let expected: Vec<_> = places
            .iter()
            .map(|place| {
                let (first, last) = place.split_once('-').unwrap();
                let bytes = &BODY[first.parse().unwrap()..=last.parse().unwrap()];
                (format!("bytes {place}/40"), bytes.to_owned())
            })
            .collect();
        assert_eq!(parts_of(&answer), expected, "{asked}");
    }
    let many = sets(17).join(",");
    for whole in [
        "0-5,5-9",
        "0-5,0-5",
        "0-,-1",
        "10-20,12-13",
        "-5,30-",
        &many,
    ] {
        client
            .ask("/", &range(whole))
            .answer()
            .expect(200, "HIT", BODY);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn point_26d_if_range_needs_the_same_strong_validator() {
    let tagged = holding(&format!("ETag: \"v\"\r\nLast-Modified: {OLD}\r\n"));
    let weak = holding("ETag: W/\"v\"\r\n");
    let dated = holding(&format!("Last-Modified: {OLD}\r\n"));
    let bare = holding("");
    for (held, validator, expected) in [
        (&tagged, "\"v\"", 206),
        (&tagged, "\"w\"", 200),
        (&tagged, "W/\"v\"", 200),
        (&tagged, "v", 200),
        (&tagged, "*", 200),
        (&tagged, OLD, 206),
        (&tagged, NEW, 200),
        (&weak, "W/\"v\"", 200),
        (&weak, "\"v\"", 200),
        (&dated, OLD, 206),
        (&dated, "Sun Nov  6 08:49:37 1994", 206),
        (&dated, NEW, 200),
        (&dated, "Sat, 05 Nov 1994 08:49:37 GMT", 200),
        (&dated, "never", 200),
        (&dated, "\"v\"", 200),
        (&bare, OLD, 200),
        (&bare, "\"v\"", 200),
    ] {
        let fields = format!("{}If-Range: {validator}\r\n", range("0-1"));
        let answer = held.1.get_with("/", &fields);
        answer.expect(expected, "HIT", if expected == 206 { "01" } else { BODY });
        assert_eq!(held.0.count(), 1, "{validator}");
    }
    // A date that is not strong: the last change is within the second of the response.
    let now = http_date(-5);
    let weak_date = holding(&format!("Date: {now}\r\nLast-Modified: {now}\r\n"));
    let fields = format!("{}If-Range: {now}\r\n", range("0-1"));
    weak_date.1.get_with("/", &fields).expect(200, "HIT", BODY);
    // If-Range without Range is ignored, and conditions have precedence over the range.
    tagged
        .1
        .get_with("/", "If-Range: \"v\"\r\n")
        .expect(200, "HIT", BODY);
    let fields = format!("{}If-None-Match: \"v\"\r\n", range("0-1"));
    assert_eq!(tagged.1.get_with("/", &fields).status(), 304);
}

/// The bytes that a simple Range selects.
fn asked(exchange: &Exchange<'_>) -> Option<(usize, usize)> {
    let range = exchange.request.field("range")?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = BODY.len() - 1;
    match first.parse::<usize>() {
        Ok(first) => Some((first, last.parse().unwrap_or(end).min(end))),
        Err(_) => Some((BODY.len() - last.parse::<usize>().ok()?, end)),
    }
}

/// An origin that serves ranges, and states `complete` as the complete length.
fn ranged(fields: String, complete: &'static str) -> Origin {
    let fields = format!("Cache-Control: max-age=60\r\n{fields}");
    Origin::start(move |exchange| match asked(exchange) {
        Some((first, last)) => {
            let fields = format!("{fields}Content-Range: bytes {first}-{last}/{complete}\r\n");
            exchange.answer("206 Partial Content", &fields, &BODY[first..=last]);
        }
        None => exchange.ok(&fields, BODY),
    })
}

#[test]
fn point_27a_a_stored_part_serves_ranges_within_it() {
    for (mode, tag, outcome) in [
        (Strict, "\"v\"", "HIT"),
        (Standard, "\"v\"", "HIT"),
        (Always, "\"v\"", "HIT"),
        (Always, "W/\"v\"", "MISS"),
    ] {
        let origin = ranged(format!("ETag: {tag}\r\n"), "40");
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy
            .get_with("/", &range("-10"))
            .expect(206, "MISS", &BODY[30..]);
        for (asked, part, place) in [
            ("-10", &BODY[30..], "30-39"),
            ("-3", &BODY[37..], "37-39"),
            ("35-", &BODY[35..], "35-39"),
            ("30-32", &BODY[30..33], "30-32"),
            ("38-99", &BODY[38..], "38-39"),
        ] {
            let answer = proxy.get_with("/", &range(asked));
            answer.expect(206, outcome, part);
            let place = format!("bytes {place}/40");
            assert_eq!(answer.field("content-range"), Some(&*place), "{asked}");
            assert_eq!(answer.field("age").is_some(), outcome == "HIT");
        }
        if outcome == "HIT" {
            let several = proxy.get_with("/", &range("30-30,-1"));
            assert_eq!((several.status(), several.x_cache()), (206, "HIT"));
            assert_eq!(
                proxy.get_with("/", &range("40-")).field("content-range"),
                Some("bytes */40")
            );
            assert_eq!(origin.count(), 1);
        }
    }
}

#[test]
fn point_27b_a_part_of_unknown_length_serves_no_suffix_range() {
    let origin = ranged("ETag: \"v\"\r\n".into(), "*");
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("30-39"))
        .expect(206, "MISS", &BODY[30..]);
    let within = proxy.get_with("/", &range("31-32"));
    within.expect(206, "HIT", &BODY[31..33]);
    assert_eq!(within.field("content-range"), Some("bytes 31-32/*"));
    proxy
        .get_with("/", &range("-3"))
        .expect(206, "MISS", &BODY[37..]);
    assert_eq!(origin.last().field("range").as_deref(), Some("bytes=-3"));
    assert_eq!(origin.last().field("if-range"), None);
}

#[test]
fn point_27c_exactly_the_missing_rest_is_requested_with_a_strong_validator() {
    let date = format!("Last-Modified: {OLD}\r\n");
    let both = format!("ETag: \"v\"\r\n{date}");
    for (validators, if_range) in [
        ("ETag: \"v\"\r\n", "\"v\""),
        (&*both, "\"v\""),
        (&*date, OLD),
    ] {
        for (request, status, first) in [
            ("", 200, 0),
            ("Range: bytes=0-\r\n", 206, 0),
            ("Range: bytes=4-\r\n", 206, 4),
            ("Range: bytes=-38\r\n", 206, 2),
        ] {
            let origin = ranged(validators.to_owned(), "40");
            let proxy = TestProxy::with_mode(&origin, Strict);
            proxy
                .get_with("/", &range("0-9"))
                .expect(206, "MISS", &BODY[..10]);
            let request = format!("{request}X-Kept: 1\r\n");
            proxy
                .get_with("/", &request)
                .expect(status, "MISS", &BODY[first..]);
            let seen = origin.last();
            assert_eq!(seen.fields("range"), ["bytes=10-"], "{validators}");
            assert_eq!(seen.fields("if-range"), [if_range], "{validators}");
            assert_eq!(seen.fields("x-kept"), ["1"]);
            assert!(seen.fields("if-none-match").is_empty());
            proxy.get("/").expect(200, "HIT", BODY);
            proxy.get_with("/", &range("-40")).expect(206, "HIT", BODY);
            assert_eq!(origin.count(), 2);
        }
    }
    for validators in [
        "ETag: W/\"v\"\r\n",
        "",
        &format!("Date: {0}\r\nLast-Modified: {0}\r\n", http_date(-5)),
    ] {
        let origin = ranged(validators.to_owned(), "40");
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy
            .get_with("/", &range("0-9"))
            .expect(206, "MISS", &BODY[..10]);
        proxy
            .get_with("/", &range("5-14"))
            .expect(206, "MISS", &BODY[5..15]);
        assert_eq!(
            origin.last().fields("range"),
            ["bytes=5-14"],
            "{validators}"
        );
        proxy.get("/").expect(200, "MISS", BODY);
        let seen = origin.last();
        assert_eq!(
            (seen.field("range"), seen.field("if-range")),
            (None, None),
            "{validators}"
        );
    }
}

#[test]
fn point_27d_the_clients_if_range_is_compared_with_the_stored_part() {
    let origin = ranged(format!("ETag: \"v\"\r\nLast-Modified: {OLD}\r\n"), "40");
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-9"))
        .expect(206, "MISS", &BODY[..10]);
    for validator in ["\"v\"", OLD] {
        let fields = format!("{}If-Range: {validator}\r\n", range("2-4"));
        proxy.get_with("/", &fields).expect(206, "HIT", "234");
    }
    assert_eq!(origin.count(), 1);
    // For another version the client requests the whole, of which only the rest is missing.
    let fields = format!("{}If-Range: {NEW}\r\n", range("2-4"));
    proxy.get_with("/", &fields).expect(200, "MISS", BODY);
    assert_eq!(origin.last().fields("range"), ["bytes=10-"]);
    assert_eq!(origin.last().fields("if-range"), ["\"v\""]);
}

#[test]
fn point_27e_parts_of_different_representations_are_not_combined() {
    // Later responses have another version or length; the range is served nevertheless.
    for (later, complete) in [
        ("ETag: \"w\"\r\n", "40"),
        ("ETag: W/\"v\"\r\n", "40"),
        ("", "40"),
        ("ETag: \"v\"\r\n", "41"),
    ] {
        let origin = Origin::start(move |exchange| match asked(exchange) {
            Some((first, last)) => {
                let (fields, complete) = match exchange.nth {
                    0 => ("ETag: \"v\"\r\n", "40"),
                    _ => (later, complete),
                };
                let fields = format!(
                    "Cache-Control: max-age=60\r\n{fields}Content-Range: bytes {first}-{last}/{complete}\r\n"
                );
                exchange.answer("206 Partial Content", &fields, &BODY[first..=last]);
            }
            None => exchange.ok("Cache-Control: max-age=60\r\nETag: \"w\"\r\n", "whole"),
        });
        let proxy = TestProxy::with_mode(&origin, Strict);
        proxy
            .get_with("/", &range("0-9"))
            .expect(206, "MISS", &BODY[..10]);
        proxy.get("/").expect(200, "MISS", "whole");
        assert_eq!(origin.last().fields("range"), [] as [&str; 0], "{later}");
        proxy.get("/").expect(200, "HIT", "whole");
    }
}
