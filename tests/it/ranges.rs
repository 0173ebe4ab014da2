//! Ranges of stored responses, and parts that are only relayed.

use crate::{
    client::Ending,
    harness::TestProxy,
    origin::{Gate, Origin},
};

const BODY: &str = "0123456789";

fn stored(fields: &'static str) -> (Origin, TestProxy) {
    let origin = Origin::start(move |exchange| exchange.ok(fields, BODY));
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", BODY);
    (origin, proxy)
}

#[test]
fn a_single_range_is_served_from_the_stored_body() {
    let (origin, proxy) = stored("ETag: \"v\"\r\nContent-Type: text/plain\r\n");
    let rows = [
        ("0-0", "0", "bytes 0-0/10"),
        ("2-4", "234", "bytes 2-4/10"),
        ("7-", "789", "bytes 7-9/10"),
        ("-3", "789", "bytes 7-9/10"),
        ("5-99", "56789", "bytes 5-9/10"),
        ("-99", BODY, "bytes 0-9/10"),
        ("0-9", BODY, "bytes 0-9/10"),
    ];
    for (range, part, content_range) in rows {
        let answer = proxy.get_with("/", &format!("Range: bytes={range}\r\n"));
        answer.expect(206, "HIT", part);
        assert_eq!(
            answer.field("content-range"),
            Some(content_range),
            "{range}"
        );
        assert_eq!(
            answer.field("content-length"),
            Some(part.len().to_string().as_str()),
            "{range}"
        );
        assert_eq!(
            (answer.field("etag"), answer.field("content-type")),
            (Some("\"v\""), Some("text/plain")),
            "{range}"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_range_after_the_end_gets_416() {
    let (origin, proxy) = stored("");
    for range in ["10-", "10-12", "-0"] {
        let answer = proxy.get_with("/", &format!("Range: bytes={range}\r\n"));
        assert_eq!(
            (answer.status(), answer.field("content-range")),
            (416, Some("bytes */10")),
            "{range}"
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_malformed_range_or_unknown_unit_is_ignored() {
    let (origin, proxy) = stored("");
    for range in [
        "bytes=5-2",
        "bytes=a-b",
        "bytes",
        "items=0-1",
        "bytes=-",
        "bytes=1-2x",
    ] {
        proxy
            .get_with("/", &format!("Range: {range}\r\n"))
            .expect(200, "HIT", BODY);
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn several_ranges_are_all_served() {
    let (_origin, proxy) = stored("");
    let answer = proxy.get_with("/", "Range: bytes=0-1,8-9\r\n");
    assert_eq!(answer.ending, Ending::Whole);
    match answer.status() {
        200 => assert_eq!(answer.text(), BODY),
        206 => {
            assert!(
                answer
                    .field("content-type")
                    .unwrap()
                    .starts_with("multipart/byteranges")
            );
            assert!(
                answer.text().contains("bytes 0-1/10") && answer.text().contains("bytes 8-9/10")
            );
        }
        other => panic!("{other}"),
    }
}

#[test]
fn if_range_selects_the_part_or_the_whole() {
    let (origin, proxy) = stored("ETag: \"v\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let rows = [
        ("\"v\"", 206),
        ("\"w\"", 200),
        ("W/\"v\"", 200),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
    ];
    for (validator, status) in rows {
        let answer = proxy.get_with(
            "/",
            &format!("Range: bytes=0-1\r\nIf-Range: {validator}\r\n"),
        );
        answer.expect(status, "HIT", if status == 206 { "01" } else { BODY });
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_range_of_an_uncached_target_is_forwarded_and_its_part_is_not_a_whole() {
    let origin = Origin::start(|exchange| match exchange.request.field("range") {
        Some(_) => exchange.answer(
            "206 Partial Content",
            "ETag: \"v\"\r\nContent-Range: bytes 2-4/10\r\n",
            "234",
        ),
        None => exchange.ok("ETag: \"v\"\r\n", BODY),
    });
    let proxy = TestProxy::to(&origin);
    let part = proxy.get_with("/", "Range: bytes=2-4\r\n");
    part.expect(206, "MISS", "234");
    assert_eq!(part.field("content-range"), Some("bytes 2-4/10"));
    assert_eq!(origin.only().field("range").as_deref(), Some("bytes=2-4"));
    proxy.get("/").expect(200, "MISS", BODY);
    proxy
        .get_with("/", "Range: bytes=2-4\r\n")
        .expect(206, "HIT", "234");
}

#[test]
fn an_unrequested_206_never_becomes_a_200() {
    let origin = Origin::start(|exchange| {
        exchange.answer(
            "206 Partial Content",
            "Content-Range: bytes 0-1/10\r\nCache-Control: max-age=60\r\n",
            "01",
        );
    });
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.get("/").status(), 206);
    assert_eq!(proxy.get("/").status(), 206);
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_condition_has_precedence_over_the_range() {
    let (_origin, proxy) = stored("ETag: \"v\"\r\n");
    assert_eq!(
        proxy
            .get_with("/", "If-None-Match: \"v\"\r\nRange: bytes=0-1\r\n")
            .status(),
        304
    );
    proxy
        .get_with("/", "If-None-Match: \"w\"\r\nRange: bytes=0-1\r\n")
        .expect(206, "HIT", "01");
}

#[test]
fn a_range_is_ignored_for_head() {
    let (_origin, proxy) = stored("");
    let head = proxy.request("HEAD", "/", "Range: bytes=0-1\r\n", b"");
    assert_eq!(
        (head.status(), head.field("content-length")),
        (200, Some("10"))
    );
}

#[test]
fn ranges_are_served_from_a_stored_200_only() {
    let origin = Origin::start(|exchange| exchange.answer("404 Not Found", "", "no such page"));
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(404, "MISS", "no such page");
    proxy
        .get_with("/", "Range: bytes=0-1\r\n")
        .expect(404, "HIT", "no such page");
}

#[test]
fn a_whole_is_stored_although_a_part_of_it_was_asked_for_later_and_came_first() {
    let end = Gate::default();
    let origin = Origin::start({
        let end = end.clone();
        move |exchange| match exchange.request.field("range").as_deref() {
            Some("bytes=7-") => {
                let fields = "ETag: \"v\"\r\nContent-Range: bytes 7-9/10\r\n";
                exchange.answer("206 Partial Content", fields, "789");
            }
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 10\r\n\r\n");
                exchange.send("01234");
                end.wait();
                exchange.send("56789");
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    // What browsers do with a video: they ask for the whole, and while it is on its way for its end.
    let mut whole = proxy.begin("/", "Range: bytes=0-\r\n");
    whole.wait_for("01234");
    let answer = proxy.get_with("/", "Range: bytes=7-\r\n");
    answer.expect(206, "MISS", "789");
    end.open();
    whole.answer().expect(206, "MISS", BODY);
    for (range, part) in [("3-4", "34"), ("7-", "789"), ("0-", BODY)] {
        let answer = proxy.get_with("/", &format!("Range: bytes={range}\r\n"));
        answer.expect(206, "HIT", part);
    }
    assert_eq!(origin.count(), 2);
}
