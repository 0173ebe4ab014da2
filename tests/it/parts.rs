//! Stored parts: how they serve ranges, and how they are combined to the whole.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{
    client::Ending,
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

const BODY: &str = "0123456789";
const FIELDS: &str = "ETag: \"v\"\r\nCache-Control: max-age=60\r\nContent-Type: text/plain\r\n";

/// The first and the last byte of a simple Range.
fn asked(exchange: &Exchange<'_>) -> Option<(usize, usize)> {
    let range = exchange.request.field("range")?;
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = last.parse().unwrap_or(BODY.len() - 1);
    Some((first.parse().ok()?, last.min(BODY.len() - 1)))
}

fn send_part(exchange: &mut Exchange<'_>, fields: &str, (first, last): (usize, usize)) {
    let fields = format!("{fields}Content-Range: bytes {first}-{last}/10\r\n");
    exchange.answer("206 Partial Content", &fields, &BODY[first..=last]);
}

/// An origin that serves ranges.
fn ranged(fields: &'static str) -> Origin {
    Origin::start(move |exchange| match asked(exchange) {
        Some(range) => send_part(exchange, fields, range),
        None => exchange.ok(fields, BODY),
    })
}

fn range(range: &str) -> String {
    format!("Range: bytes={range}\r\n")
}

#[test]
fn a_stored_part_serves_ranges_within_it() {
    for mode in [Standard, Strict] {
        let origin = ranged(FIELDS);
        let proxy = TestProxy::with_mode(&origin, mode);
        proxy
            .get_with("/", &range("2-6"))
            .expect(206, "MISS", "23456");
        for (asked, part, place) in [
            ("2-6", "23456", "bytes 2-6/10"),
            ("3-4", "34", "bytes 3-4/10"),
            ("6-6", "6", "bytes 6-6/10"),
        ] {
            let answer = proxy.get_with("/", &range(asked));
            answer.expect(206, "HIT", part);
            assert_eq!(answer.field("content-range"), Some(place), "{asked}");
            assert!(answer.field("age").is_some());
        }
        assert_eq!(proxy.get_with("/", &range("10-")).status(), 416);
        assert_eq!(origin.count(), 1);
    }
}

#[test]
fn the_policy_always_stores_no_part_without_a_strong_validator() {
    let origin = ranged("Cache-Control: max-age=60\r\nETag: W/\"v\"\r\n");
    let proxy = TestProxy::with_mode(&origin, Always);
    for _ in 0..2 {
        proxy
            .get_with("/", &range("2-6"))
            .expect(206, "MISS", "23456");
    }
}

#[test]
fn a_whole_response_is_completed_by_fetching_exactly_the_rest() {
    let origin = ranged(FIELDS);
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    let whole = proxy.get("/");
    whole.expect(200, "MISS", BODY);
    assert_eq!(whole.field("content-length"), Some("10"));
    assert_eq!(whole.field("content-range"), None);
    assert_eq!(
        whole.field("cache-status"),
        Some("caching-proxy; fwd=partial; fwd-status=206; stored")
    );
    let last = origin.last();
    assert_eq!(last.field("range").as_deref(), Some("bytes=4-"));
    assert_eq!(last.field("if-range").as_deref(), Some("\"v\""));
    // The whole is stored now.
    proxy.get("/").expect(200, "HIT", BODY);
    proxy
        .get_with("/", &range("2-8"))
        .expect(206, "HIT", "2345678");
    let head = proxy.request("HEAD", "/", "", b"");
    assert_eq!((head.status(), head.x_cache()), (200, "HIT"));
    assert_eq!(origin.count(), 2);
}

#[test]
fn an_open_range_that_begins_in_a_part_is_completed() {
    let origin = ranged(FIELDS);
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("2-4"))
        .expect(206, "MISS", "234");
    let answer = proxy.get_with("/", &range("3-"));
    answer.expect(206, "MISS", "3456789");
    assert_eq!(answer.field("content-range"), Some("bytes 3-9/10"));
    assert_eq!(origin.last().field("range").as_deref(), Some("bytes=5-"));
    // The combined part is stored.
    proxy
        .get_with("/", &range("-8"))
        .expect(206, "HIT", "23456789");
    proxy.get("/").expect(200, "MISS", BODY);
    proxy.get("/").expect(200, "HIT", BODY);
    assert_eq!(origin.count(), 3);
}

#[test]
fn adjoining_parts_are_combined_up_to_the_whole() {
    let origin = ranged(FIELDS);
    let proxy = TestProxy::with_mode(&origin, Strict);
    for (asked, part) in [
        ("4-5", "45"),
        ("5-7", "567"),
        ("2-3", "23"),
        ("0-3", "0123"),
    ] {
        let answer = proxy.get_with("/", &range(asked));
        answer.expect(206, "MISS", part);
        assert_eq!(origin.last().field("range"), Some(format!("bytes={asked}")));
    }
    proxy
        .get_with("/", &range("0-7"))
        .expect(206, "HIT", "01234567");
    proxy.get_with("/", &range("8-9")).expect(206, "MISS", "89");
    proxy.get("/").expect(200, "HIT", BODY);
    assert_eq!(origin.count(), 5);
}

#[test]
fn a_distant_part_replaces_the_stored_part() {
    let origin = ranged(FIELDS);
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get_with("/", &range("0-1")).expect(206, "MISS", "01");
    proxy.get_with("/", &range("7-8")).expect(206, "MISS", "78");
    proxy.get_with("/", &range("7-8")).expect(206, "HIT", "78");
    proxy.get_with("/", &range("0-1")).expect(206, "MISS", "01");
}

#[test]
fn parts_of_different_versions_are_never_combined() {
    // The number of the request selects the version of the whole.
    let origin = Origin::start(|exchange| {
        let fields = format!(
            "ETag: \"{}\"\r\nCache-Control: max-age=60\r\n",
            exchange.nth
        );
        let body: String = BODY
            .chars()
            .map(|digit| if exchange.nth > 0 { 'x' } else { digit })
            .collect();
        let held = exchange.request.field("if-range");
        let holds = held.is_none_or(|held| held == format!("\"{}\"", exchange.nth));
        match asked(exchange).filter(|_| holds) {
            Some((first, last)) => {
                let fields = format!("{fields}Content-Range: bytes {first}-{last}/10\r\n");
                exchange.answer("206 Partial Content", &fields, &body[first..=last]);
            }
            None => exchange.ok(&fields, body),
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    proxy.get("/").expect(200, "MISS", "xxxxxxxxxx");
    proxy.get("/").expect(200, "HIT", "xxxxxxxxxx");
    // An adjoining part of another version replaces the stored part.
    proxy.clear();
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/b", &range("0-3"))
        .expect(206, "MISS", "0123");
    proxy
        .get_with("/b", &range("4-5"))
        .expect(206, "MISS", "xx");
    proxy.get_with("/b", &range("4-5")).expect(206, "HIT", "xx");
    let whole = proxy.get("/b");
    assert_eq!((whole.status(), whole.text().as_str()), (200, "xxxxxxxxxx"));
}

#[test]
fn a_rest_that_ignores_if_range_leads_to_a_fetch_of_the_whole() {
    let origin = Origin::start(|exchange| {
        let fields = format!(
            "ETag: \"{}\"\r\nCache-Control: max-age=60\r\n",
            exchange.nth
        );
        match asked(exchange) {
            Some(range) => send_part(exchange, &fields, range),
            None => exchange.ok(&fields, BODY),
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    proxy.get("/").expect(200, "MISS", BODY);
    let asked: Vec<_> = origin
        .seen()
        .iter()
        .map(|seen| seen.field("range"))
        .collect();
    assert_eq!(
        asked,
        [Some("bytes=0-3".into()), Some("bytes=4-".into()), None]
    );
    proxy.get("/").expect(200, "HIT", BODY);
}

#[test]
fn an_incomplete_rest_leads_to_a_fetch_of_the_whole() {
    let origin = Origin::start(|exchange| match asked(exchange) {
        Some((first, _)) => send_part(exchange, FIELDS, (first, first + 1)),
        None => exchange.ok(FIELDS, BODY),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get_with("/", &range("0-3")).expect(206, "MISS", "01");
    proxy.get("/").expect(200, "MISS", BODY);
    assert_eq!(origin.count(), 3);
}

#[test]
fn parts_with_a_weak_validator_are_not_combined() {
    let origin = ranged("ETag: W/\"v\"\r\nCache-Control: max-age=60\r\n");
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "HIT", "0123");
    proxy.get("/").expect(200, "MISS", BODY);
    assert_eq!(origin.last().field("range"), None);
}

#[test]
fn a_stale_part_is_validated_without_a_range_and_serves_again() {
    let origin = Origin::start(|exchange| {
        match exchange.request.field("if-none-match") {
            Some(_) => exchange.send(
                "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\nX-New: 1\r\n\r\n",
            ),
            None => send_part(exchange, "ETag: \"v\"\r\nCache-Control: max-age=0\r\n", (2, 4)),
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("2-4"))
        .expect(206, "MISS", "234");
    let again = proxy.get_with("/", &range("2-4"));
    again.expect(206, "HIT", "234");
    assert_eq!(
        (again.field("content-range"), again.field("x-new")),
        (Some("bytes 2-4/10"), Some("1"))
    );
    assert_eq!(origin.last().field("range"), None);
    proxy.get_with("/", &range("3-4")).expect(206, "HIT", "34");
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_truncated_or_mislabelled_part_is_not_stored() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/cut" => {
            exchange.send(
                "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n\
                 Content-Range: bytes 0-3/10\r\nContent-Length: 4\r\n\r\n01",
            );
            exchange.close();
        }
        "/chunked" => {
            exchange.send(
                "HTTP/1.1 206 Partial Content\r\nETag: \"v\"\r\nCache-Control: max-age=60\r\n\
                 Content-Range: bytes 0-3/10\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            exchange.chunk("01");
            exchange.send("0\r\n\r\n");
        }
        _ => exchange.answer(
            "206 Partial Content",
            "ETag: \"v\"\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/10\r\n",
            "01",
        ),
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    for (target, ending) in [
        ("/cut", Ending::Cut),
        ("/chunked", Ending::Cut),
        ("/lies", Ending::Whole),
    ] {
        for _ in 0..2 {
            let answer = proxy.get_with(target, &range("0-3"));
            assert_eq!(
                (answer.status(), answer.x_cache(), answer.ending),
                (206, "MISS", ending),
                "{target}"
            );
        }
    }
    assert_eq!(origin.count(), 6);
}

#[test]
fn a_truncated_rest_is_truncated_for_the_client_and_leaves_the_part_stored() {
    let origin = Origin::start(|exchange| match exchange.request.field("if-range") {
        None => send_part(exchange, FIELDS, (0, 3)),
        Some(_) => {
            exchange.send(format!(
                "HTTP/1.1 206 Partial Content\r\n{FIELDS}Content-Range: bytes 4-9/10\r\n\
                 Content-Length: 6\r\n\r\n45"
            ));
            exchange.close();
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    let cut = proxy.get("/");
    assert_eq!((cut.status(), cut.ending), (200, Ending::Cut));
    assert!("012345".starts_with(&cut.text()), "{}", cut.text());
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "HIT", "0123");
}

#[test]
fn a_200_to_a_range_request_is_stored_whole_and_the_client_gets_its_range() {
    let origin = Origin::start(|exchange| exchange.ok(FIELDS, BODY));
    let proxy = TestProxy::with_mode(&origin, Strict);
    let answer = proxy.get_with("/", &range("3-5"));
    answer.expect(206, "MISS", "345");
    assert_eq!(answer.field("content-range"), Some("bytes 3-5/10"));
    proxy.get("/").expect(200, "HIT", BODY);
    assert_eq!(origin.only().field("range").as_deref(), Some("bytes=3-5"));
}

#[test]
fn a_range_joins_a_validation_and_does_not_wait_for_bytes_after_it() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => exchange.ok("ETag: \"1\"\r\nCache-Control: max-age=0\r\n", BODY),
            _ => {
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\nETag: \"2\"\r\nCache-Control: max-age=60\r\n\
                     Content-Length: 10\r\n\r\n{}",
                    &BODY[..6]
                ));
                gate.wait();
                exchange.send(&BODY[6..]);
            }
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/").expect(200, "MISS", BODY);
    let mut whole = proxy.begin("/", "");
    origin.wait_for(2);
    // The fetch waits at the gate. The part has arrived, or is among the bytes already sent.
    proxy
        .begin("/", &range("2-4"))
        .answer()
        .expect(206, "MISS", "234");
    gate.open();
    whole.answer().expect(200, "MISS", BODY);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_cleared_part_is_not_combined_again() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.request.field("if-range") {
            Some(_) => {
                gate.wait();
                send_part(exchange, FIELDS, (4, 9));
            }
            None => match asked(exchange) {
                Some(range) => send_part(exchange, FIELDS, range),
                None => exchange.ok(FIELDS, BODY),
            },
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy
        .get_with("/", &range("0-3"))
        .expect(206, "MISS", "0123");
    let mut waiting = proxy.begin("/", "");
    origin.wait_for(2);
    assert_eq!(proxy.clear().entries, 1);
    gate.open();
    waiting.answer().expect(200, "MISS", BODY);
    // The whole is fetched again, without the cleared part.
    assert_eq!(origin.count(), 3);
    assert_eq!(origin.last().field("range"), None);
}

#[test]
fn several_ranges_get_a_multipart_response() {
    let origin = Origin::start(|exchange| exchange.ok(FIELDS, BODY));
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", BODY);
    let answer = proxy.get_with("/", &range("0-1,-2,4-4"));
    assert_eq!((answer.status(), answer.x_cache()), (206, "HIT"));
    assert_eq!(answer.field("content-range"), None);
    let kind = answer.field("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |place: &str, bytes: &str| {
        format!(
            "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {place}/10\r\n\r\n{bytes}"
        )
    };
    let expected = [part("0-1", "01"), part("8-9", "89"), part("4-4", "4")].concat();
    assert_eq!(answer.text(), format!("{expected}\r\n--{boundary}--\r\n"));
    assert_eq!(
        answer.field("content-length"),
        Some(answer.body.len().to_string().as_str())
    );
    // Ranges after the end are left out. Overlapping or too many ranges get the whole.
    proxy
        .get_with("/", &range("0-1,50-"))
        .expect(206, "HIT", "01");
    proxy
        .get_with("/", &range("0-5,3-7"))
        .expect(200, "HIT", BODY);
    let many: Vec<_> = (0..17).map(|_| "0-0").collect();
    proxy
        .get_with("/", &range(&many.join(",")))
        .expect(200, "HIT", BODY);
    assert_eq!(proxy.get_with("/", &range("50-,60-")).status(), 416);
    assert_eq!(origin.count(), 1);
}

#[test]
fn several_ranges_of_an_uncached_target_are_forwarded() {
    let origin = Origin::start(|exchange| {
        exchange.answer(
            "206 Partial Content",
            "Content-Type: multipart/byteranges; boundary=b\r\nCache-Control: max-age=60\r\n",
            "--b parts",
        );
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    for _ in 0..2 {
        let answer = proxy.get_with("/", &range("0-1,4-5"));
        answer.expect(206, "MISS", "--b parts");
        assert!(
            answer
                .field("cache-status")
                .unwrap()
                .ends_with("detail=partial")
        );
    }
}

#[test]
fn the_result_of_a_clients_own_condition_is_not_stored() {
    let origin = Origin::start(|exchange| {
        let lasting = "Cache-Control: max-age=60\r\n";
        if exchange.request.field("range").is_some() {
            exchange.answer("416 Range Not Satisfiable", lasting, "no");
        } else if exchange.request.field("if-match").is_some() {
            exchange.answer("412 Precondition Failed", lasting, "no");
        } else {
            exchange.ok(lasting, BODY);
        }
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get_with("/", &range("50-")).expect(416, "MISS", "no");
    proxy
        .get_with("/", "If-Match: \"x\"\r\n")
        .expect(412, "MISS", "no");
    proxy.get("/").expect(200, "MISS", BODY);
}

#[test]
fn a_conditional_request_fetches_the_whole_which_is_stored() {
    let origin = Origin::start(|exchange| exchange.ok(FIELDS, BODY));
    let proxy = TestProxy::to(&origin);
    proxy
        .get_with("/", "If-None-Match: \"old\"\r\n")
        .expect(200, "MISS", BODY);
    proxy.get("/").expect(200, "HIT", BODY);
    assert_eq!(origin.only().field("if-none-match"), None);
}
