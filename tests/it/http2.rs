//! HTTP/2 with prior knowledge on the plain port: what holds for HTTP/1.1 holds for it.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{Method, Request, Uri};

use crate::{
    client::Ending,
    coalescing::gated,
    harness::{TestProxy, until},
    http2_client::{Http2Client, frame, raw},
    origin::Origin,
};

const STORED: &str = "Cache-Control: max-age=60\r\n";

/// A proxy before an origin that responds with "body".
fn simple(fields: &'static str) -> (Origin, TestProxy) {
    let origin = Origin::start(move |exchange| exchange.ok(fields, "body"));
    let proxy = TestProxy::to(&origin);
    (origin, proxy)
}

#[test]
fn a_response_is_fetched_once_and_then_a_hit_in_both_versions() {
    let fields =
        "Cache-Control: max-age=60\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nKeep-Alive: a\r\n";
    let (origin, proxy) = simple(fields);
    let client = Http2Client::connect(&proxy);
    for x_cache in ["MISS", "HIT", "HIT"] {
        let (response, body) = client.get("/a?b=c");
        assert_eq!((response.status(), &*body), (200, "body"));
        assert_eq!(response.field("x-cache"), x_cache);
        assert_eq!(response.field("content-length"), "4");
        assert!(response.field("via").starts_with("1.1 caching-proxy"));
        assert!(!response.field("date").is_empty());
        for name in ["connection", "keep-alive", "x-hop", "transfer-encoding"] {
            assert_eq!(response.field(name), "", "{name}");
        }
        let lengths = response.headers().get_all("content-length").iter().count();
        let dates = response.headers().get_all("date").iter().count();
        assert_eq!((lengths, dates), (1, 1));
    }
    proxy.get_with("/a?b=c", "Host: proxy.test\r\n");
    assert_eq!(origin.count(), 1);
    let seen = &origin.seen()[0];
    assert_eq!(seen.target(), "/a?b=c");
    let via = seen.field("via").unwrap();
    assert!(via.starts_with("2.0 caching-proxy"), "{via}");
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let origin = Origin::start(|exchange| match &*exchange.target() {
        "/none" => exchange.send("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => exchange.ok("Cache-Control: max-age=60\r\nETag: \"a\"\r\n", "body"),
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    for (method, target, fields, status, length) in [
        (Method::HEAD, "/", &[][..], 200, "4"),
        (Method::GET, "/", &[("if-none-match", "\"a\"")], 304, ""),
        (Method::GET, "/none", &[], 204, ""),
        (Method::HEAD, "/", &[], 200, "4"),
    ] {
        let request = client.request(method, target, fields, None);
        let mut response = request.response();
        let found = (
            response.status(),
            response.field("content-length").to_owned(),
        );
        assert_eq!(found, (status, length.to_owned()));
        assert_eq!(response.body(), (String::new(), Ok(())));
    }
}

#[test]
fn bodies_of_requests_reach_the_origin_with_and_without_a_length() {
    let (origin, proxy) = simple("");
    let client = Http2Client::connect(&proxy);
    for fields in [&[][..], &[("content-length", "5")]] {
        let request = client.request(Method::POST, "/", fields, Some("hello"));
        let mut response = request.end().response();
        assert_eq!(response.body(), ("body".to_owned(), Ok(())));
    }
    let [unknown, sized] = &origin.seen()[..] else {
        panic!("two requests");
    };
    assert_eq!(
        (&*unknown.body, &*sized.body),
        (&b"hello"[..], &b"hello"[..])
    );
    assert_eq!(
        unknown.field("transfer-encoding").as_deref(),
        Some("chunked")
    );
    assert_eq!(sized.field("content-length").as_deref(), Some("5"));
}

#[test]
fn a_large_body_of_a_request_goes_through_whole() {
    const LENGTH: usize = 3_000_000;
    let origin = Origin::start(|exchange| {
        let length = exchange.request.body.len();
        exchange.ok("", length.to_string());
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let mut request = client.request(Method::POST, "/", &[], Some(""));
    let body = Bytes::from(vec![b'x'; LENGTH]);
    request.body.send_data(body, true).unwrap();
    assert_eq!(request.response().body().0, LENGTH.to_string());
}

#[test]
fn a_response_arrives_while_the_origin_still_sends_it() {
    let (origin, gate) = gated(|exchange, gate| {
        exchange.send(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        exchange.chunk("first");
        gate.wait();
        exchange.chunk("second");
        exchange.chunk("");
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let mut leader = client.request(Method::GET, "/", &[], None).response();
    assert_eq!(leader.next().unwrap().unwrap(), "first");
    // A second stream of the same connection follows the fetch.
    let mut follower = client.request(Method::GET, "/", &[], None).response();
    assert_eq!(follower.next().unwrap().unwrap(), "first");
    gate.open();
    for response in [&mut leader, &mut follower] {
        assert_eq!(response.body(), ("second".to_owned(), Ok(())));
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_body_that_was_cut_ends_with_a_reset() {
    let origin = Origin::start(|exchange| {
        exchange.send(match &*exchange.target() {
            "/sized" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
            _ => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        });
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    for target in ["/sized", "/chunked"] {
        let mut response = client.request(Method::GET, target, &[], None).response();
        let cut = Err(Some(Reason::INTERNAL_ERROR));
        assert_eq!(response.body(), ("abc".to_owned(), cut), "{target}");
    }
}

#[test]
fn what_only_a_client_wanted_that_has_reset_its_stream_is_given_up_at_the_origin() {
    let (origin, given_up) = gated(|exchange, given_up| {
        exchange.stall();
        given_up.open();
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let mut request = client.request(Method::GET, "/", &[], None);
    origin.wait_for(1);
    request.body.send_reset(Reason::CANCEL);
    given_up.wait();
    assert!(!client.is_ended());
}

#[test]
fn a_client_that_leaves_gives_up_what_it_awaited() {
    let (origin, given_up) = gated(|exchange, given_up| {
        exchange.stall();
        given_up.open();
    });
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    client.send(crate::http2_client::get_frame(1));
    origin.wait_for(1);
    client.reset();
    given_up.wait();
}

#[test]
fn interim_responses_precede_the_response() {
    let (origin, gate) = gated(|exchange, gate| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        gate.wait();
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let mut request = client.request(Method::GET, "/", &[], None);
    let hint = request.interim();
    assert_eq!(
        (hint.status().as_u16(), &hint.headers()["link"]),
        (103, &"</a.css>".parse().unwrap())
    );
    gate.open();
    assert_eq!(request.response().body().0, "body");
}

#[test]
fn a_client_that_awaits_a_100_gets_one() {
    let origin = Origin::without_reading(|exchange| {
        exchange.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = exchange.read(5);
        exchange.ok("", body);
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let fields = [("expect", "100-continue"), ("content-length", "5")];
    let mut request = client.request(Method::POST, "/", &fields, Some(""));
    assert_eq!(request.interim().status(), 100);
    request
        .body
        .send_data(Bytes::from_static(b"hello"), true)
        .unwrap();
    assert_eq!(request.response().body().0, "hello");
}

#[test]
fn a_response_that_is_read_slowly_stalls_no_other() {
    let large = "x".repeat(2_000_000);
    let origin = Origin::start(move |exchange| match &*exchange.target() {
        "/large" => exchange.ok(STORED, &large),
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/large");
    let mut client = raw(&proxy);
    // A large window for the connection, and the usual one of 65,535 bytes for each stream.
    client.send(frame(8, 0, 0, &0x7000_0000_u32.to_be_bytes()));
    // RFC 7541, 6.2.2: a literal path.
    client.send(frame(1, 5, 1, b"\x82\x86\x41\x01a\x04\x06/large"));
    // All of the window, and nothing after it.
    client.wait_for_bytes(65_535);
    client.send(crate::http2_client::get_frame(3));
    client.wait_for("body");
}

#[test]
fn a_response_that_is_not_read_is_reset_and_others_go_on() {
    // More than the window of a stream, and less than the system takes at once of the response that is stored.
    let large = "x".repeat(100_000);
    let origin = Origin::start(move |exchange| exchange.ok(STORED, &large));
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.client_timeout = Duration::from_millis(50))
        .start();
    proxy.get("/");
    let mut client = raw(&proxy);
    client.send(crate::http2_client::get_frame(1));
    // RST_STREAM with CANCEL.
    client.wait_for(&crate::client::latin1(&frame(3, 0, 1, &[0, 0, 0, 8])));
    client.send(frame(6, 0, 0, b"12345678"));
    client.wait_for(&crate::client::latin1(&frame(6, 1, 0, b"12345678")));
}

#[test]
fn pieces_of_a_cookie_are_one_line_for_the_origin() {
    let (origin, proxy) = simple("");
    let client = Http2Client::connect(&proxy);
    let fields = [("cookie", "a=b"), ("cookie", "c=d")];
    client.request(Method::GET, "/", &fields, None).response();
    assert_eq!(origin.seen()[0].fields("cookie"), ["a=b; c=d"]);
}

#[test]
fn requests_that_are_wrong_are_refused_as_in_http_1_1() {
    let (origin, proxy) = simple("");
    let client = Http2Client::connect(&proxy);
    let request = |method: Method, uri: &str, host: Option<&str>| {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse::<Uri>().unwrap();
        if let Some(host) = host {
            request.headers_mut().insert("host", host.parse().unwrap());
        }
        request
    };
    for (request, status, sentence) in [
        (
            request(Method::GET, "http://a/", Some("b")),
            400,
            "The request has more than one Host header.\n",
        ),
        (request(Method::HEAD, "http://a/", Some("b")), 400, ""),
        (request(Method::CONNECT, "a:443", None), 405, ""),
    ] {
        let is_head = request.method() == Method::HEAD;
        let mut response = client.send(request, None).response();
        assert_eq!(response.status(), status);
        let (body, end) = response.body();
        assert_eq!(end, Ok(()));
        assert!(body.starts_with(sentence), "{body}");
        assert!(!is_head || body.is_empty(), "{body}");
    }
    assert_eq!(origin.count(), 0);
    assert!(!client.is_ended());
}

#[test]
fn an_offer_of_websocket_reaches_no_handler() {
    let (origin, proxy) = simple("");
    let mut client = raw(&proxy);
    // GET / with connection: upgrade and upgrade: websocket, which are malformed (RFC 9113, 8.2.2).
    let lines = b"\x82\x84\x86\x41\x01a\0\x0aconnection\x07upgrade\0\x07upgrade\x09websocket";
    client.send(frame(1, 5, 1, lines));
    // RST_STREAM with PROTOCOL_ERROR.
    client.wait_for(&crate::client::latin1(&frame(3, 0, 1, &[0, 0, 0, 1])));
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_stop_lets_requests_in_progress_end() {
    let (origin, gate) = gated(|exchange, gate| {
        gate.wait();
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    let client = Http2Client::connect(&proxy);
    let idle = Http2Client::connect(&proxy);
    let request = client.request(Method::GET, "/", &[], None);
    origin.wait_for(1);
    let stopping = std::thread::spawn(move || proxy.stop());
    until("the idle connection ends", || idle.is_ended());
    gate.open();
    assert_eq!(request.response().body(), ("body".to_owned(), Ok(())));
    stopping.join().unwrap();
    assert!(client.is_ended());
}

#[test]
fn http_1_1_on_the_same_port_goes_on() {
    let (_origin, proxy) = simple(STORED);
    let client = Http2Client::connect(&proxy);
    client.get("/");
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.ending), (200, Ending::Whole));
    // The preface is known on a new connection alone.
    let mut late = proxy.connect();
    late.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(late.answer().status(), 200);
    assert_eq!(late.answer().status(), 505);
}
