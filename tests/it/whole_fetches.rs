//! Ranges of all bytes, HEAD and conditions on a cold cache: the whole is fetched, so that the next request is a hit.

use caching_proxy::policy::Mode;

use crate::{
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

const ALL: &str = "Range: bytes=0-\r\n";
const BODY: &str = "0123456789";

/// Responds as an origin that knows conditions and ranges, with these header lines and the tag "v".
fn able(fields: &'static str) -> Origin {
    Origin::start(move |exchange| respond(exchange, fields))
}

fn respond(exchange: &mut Exchange<'_>, fields: &str) {
    let fields = format!("ETag: \"v\"\r\n{fields}");
    let asked = |name: &str| exchange.request.field(name);
    if asked("if-none-match").is_some_and(|tag| tag == "\"v\"") {
        return exchange.send(format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n"));
    }
    let Some(range) = asked("range") else {
        return exchange.ok(&fields, BODY);
    };
    let (first, last) = range[6..].split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(BODY.len() - 1);
    let fields = format!("{fields}Content-Range: bytes {first}-{last}/10\r\n");
    exchange.answer("206 Partial Content", &fields, &BODY[first..=last]);
}

#[test]
fn a_range_of_all_bytes_is_fetched_as_the_whole() {
    for mode in [Mode::Standard, Mode::Always] {
        let origin = able("");
        let proxy = TestProxy::with_mode(&origin, mode);
        for x_cache in ["MISS", "HIT", "HIT"] {
            let response = proxy.get_with("/", ALL);
            response.expect(206, x_cache, BODY);
            assert_eq!(response.field("content-range"), Some("bytes 0-9/10"));
        }
        proxy
            .get_with("/", "Range: bytes=3-4\r\n")
            .expect(206, "HIT", "34");
        proxy.get("/").expect(200, "HIT", BODY);
        assert_eq!(origin.only().field("range"), None);
    }
}

#[test]
fn strict_forwards_ranges_and_head_as_they_are() {
    let origin = able("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::with_mode(&origin, Mode::Strict);
    proxy.get_with("/a", ALL).expect(206, "MISS", BODY);
    assert_eq!(origin.last().field("range").as_deref(), Some("bytes=0-"));
    proxy.request("HEAD", "/b", "", b"");
    assert_eq!(origin.last().method(), "HEAD");
}

#[test]
fn a_range_of_all_bytes_of_unknown_length_gets_the_whole() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk(BODY);
        exchange.send("0\r\n\r\n");
    });
    let proxy = TestProxy::to(&origin);
    proxy.get_with("/", ALL).expect(200, "MISS", BODY);
    proxy.get_with("/", ALL).expect(206, "HIT", BODY);
    assert_eq!(origin.count(), 1);
}

#[test]
fn an_if_range_that_does_not_hold_gets_the_whole() {
    let origin = able("");
    let proxy = TestProxy::to(&origin);
    for (tag, status) in [("\"old\"", 200), ("\"v\"", 206)] {
        let response = proxy.get_with("/", &format!("{ALL}If-Range: {tag}\r\n"));
        assert_eq!(
            (response.status(), response.text()),
            (status, BODY.to_owned())
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_response_that_is_not_stored_is_passed_in_the_form_that_was_asked_for() {
    let origin = able("Cache-Control: no-store\r\n");
    let proxy = TestProxy::to(&origin);
    let tag = "If-None-Match: \"v\"\r\n";
    for target in ["/range", "/condition"] {
        let fields = if target == "/range" { ALL } else { tag };
        let (status, body) = if target == "/range" {
            (206, BODY)
        } else {
            (304, "")
        };
        for nth in 0..4 {
            let response = proxy.get_with(target, fields);
            response.expect(status, "MISS", body);
            let range = (status == 206).then_some("bytes 0-9/10");
            assert_eq!(response.field("content-range"), range);
            // From the second time on, the origin gets what the client asked.
            let seen = origin.last();
            let as_asked = seen.field("range").or(seen.field("if-none-match"));
            assert_eq!(as_asked.is_some(), nth > 0, "{target} #{nth}");
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_requested_as_a_range_from_the_second_time_on() {
    let origin = able("");
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.max_object_bytes = 5)
        .start();
    for nth in 0..3 {
        let response = proxy.get_with("/", ALL);
        response.expect(206, "MISS", BODY);
        assert_eq!(response.field("content-range"), Some("bytes 0-9/10"));
        assert_eq!(origin.last().field("range").is_some(), nth > 0);
        let head = proxy.request("HEAD", "/head", "", b"");
        assert_eq!(
            (head.status(), head.field("content-length")),
            (200, Some("10"))
        );
        assert_eq!(
            origin.last().method(),
            if nth == 0 { "GET" } else { "HEAD" }
        );
    }
}

#[test]
fn a_head_is_fetched_as_a_get_and_answered_before_the_body_has_come() {
    for mode in [Mode::Standard, Mode::Always] {
        let gate = Gate::default();
        let opened = gate.clone();
        let origin = Origin::start(move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-A: 1\r\n\r\n01234");
            opened.wait();
            exchange.send("56789");
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        let head = proxy.request("HEAD", "/", "Range: bytes=2-3\r\n", b"");
        head.expect(200, "MISS", "");
        assert_eq!(
            (head.field("content-length"), head.field("x-a")),
            (Some("10"), Some("1"))
        );
        gate.open();
        until("the body is stored", || proxy.stats().entries == 1);
        proxy.request("HEAD", "/", "", b"").expect(200, "HIT", "");
        proxy.get("/").expect(200, "HIT", BODY);
        let seen = origin.only();
        assert_eq!((seen.method().as_str(), seen.field("range")), ("GET", None));
    }
}

#[test]
fn a_head_and_a_get_share_a_fetch() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| {
        opened.wait();
        exchange.ok("", BODY);
    });
    let proxy = TestProxy::to(&origin);
    let mut get = proxy.begin("/", "");
    origin.wait_for(1);
    let mut head = proxy.connect();
    head.send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    proxy.wait_for_followers(1);
    gate.open();
    get.answer().expect(200, "MISS", BODY);
    let head = head.answer_to("HEAD");
    assert_eq!((head.status(), head.text()), (200, String::new()));
    assert_eq!(head.field("content-length"), Some("10"));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_head_that_is_not_storable_is_a_head_from_the_second_time_on() {
    let origin = able("Cache-Control: no-store\r\n");
    let proxy = TestProxy::to(&origin);
    for method in ["GET", "HEAD", "HEAD"] {
        let head = proxy.request("HEAD", "/", "", b"");
        head.expect(200, "MISS", "");
        assert_eq!(head.field("content-length"), Some("10"));
        assert_eq!(origin.last().method(), method);
    }
    // A HEAD whose response must not be stored is forwarded as it is.
    proxy.request("HEAD", "/other", "Cache-Control: no-store\r\n", b"");
    assert_eq!(origin.last().method(), "HEAD");
}

#[test]
fn a_condition_on_a_cold_cache_is_evaluated_on_what_is_fetched() {
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        let origin = able("Cache-Control: max-age=60\r\nContent-Type: a/b\r\nX-A: 1\r\n");
        let proxy = TestProxy::with_mode(&origin, mode);
        for x_cache in ["MISS", "HIT", "HIT"] {
            let response = proxy.get_with("/", "If-None-Match: \"old\", W/\"v\"\r\n");
            response.expect(304, x_cache, "");
            assert_eq!(
                (response.field("x-a"), response.field("content-type")),
                (Some("1"), None)
            );
        }
        proxy
            .get_with("/", "If-None-Match: \"old\"\r\n")
            .expect(200, "HIT", BODY);
        proxy.get("/").expect(200, "HIT", BODY);
        assert_eq!(origin.only().field("if-none-match"), None, "{mode:?}");
        proxy
            .get_with("/b", "If-None-Match: \"old\"\r\n")
            .expect(200, "MISS", BODY);
        proxy.get("/b").expect(200, "HIT", BODY);
    }
}

#[test]
fn conditional_requests_share_a_fetch() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| {
        opened.wait();
        respond(exchange, "");
    });
    let proxy = TestProxy::to(&origin);
    let mut clients = Vec::new();
    for tag in ["\"v\"", "\"v\"", "\"old\"", "\"v\""] {
        clients.push(proxy.begin("/", &format!("If-None-Match: {tag}\r\n")));
        origin.wait_for(1);
    }
    proxy.wait_for_followers(3);
    gate.open();
    let statuses: Vec<u16> = clients
        .iter_mut()
        .map(|client| client.answer().status())
        .collect();
    assert_eq!((statuses, origin.count()), (vec![304, 304, 200, 304], 1));
}

#[test]
fn a_part_with_a_strong_validator_lasts_as_long_as_a_whole() {
    let weak = "ETag: W/\"w\"\r\n";
    for (mode, target, x_cache) in [
        (Mode::Standard, "/strong", "HIT"),
        (Mode::Always, "/strong", "HIT"),
        (Mode::Standard, "/weak", "MISS"),
        (Mode::Always, "/weak", "MISS"),
    ] {
        let origin = Origin::start(move |exchange| match exchange.target().as_str() {
            "/strong" => respond(exchange, ""),
            _ => {
                let fields = format!("{weak}Content-Range: bytes 2-5/10\r\n");
                exchange.answer("206 Partial Content", &fields, &BODY[2..=5]);
            }
        });
        let proxy = TestProxy::with_mode(&origin, mode);
        let part = "Range: bytes=2-5\r\n";
        proxy.get_with(target, part).expect(206, "MISS", "2345");
        proxy.get_with(target, part).expect(206, x_cache, "2345");
        if x_cache == "HIT" {
            proxy
                .get_with(target, "Range: bytes=3-4\r\n")
                .expect(206, "HIT", "34");
        }
    }
}
