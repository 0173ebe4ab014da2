//! Paths in HTTP/2 with characters that no path may have, as curl and other programs send them.

use crate::{
    client::{Client, latin1},
    harness::TestProxy,
    http2_client::{Http2Client, frame, get_frame, raw},
    origin::Origin,
};

/// HEADERS with a literal path that is added to the table (RFC 7541, 6.2.1), and with more instructions after it.
fn headers(flags: u8, stream: u32, method: &[u8], path: &[u8], rest: &[u8]) -> Vec<u8> {
    let length = [u8::try_from(path.len()).unwrap()];
    // RFC 7541, appendix A: 6 is http, 1 is :authority, 4 is :path.
    let block = [method, b"\x86\x41\x01a\x44", &length, path, rest].concat();
    frame(1, flags, stream, &block)
}

const GET: &[u8] = b"\x82";
const POST: &[u8] = b"\x83";
const HEAD: &[u8] = b"\x42\x04HEAD";
const END_HEADERS: u8 = 4;
const END: u8 = 5;

/// Waits for the body of a response as one frame of DATA.
#[track_caller]
fn expect_body(client: &mut Client, stream: u32, body: &str) {
    client.wait_for(&latin1(&frame(0, 1, stream, body.as_bytes())));
}

#[test]
fn characters_that_a_target_must_not_have_are_encoded_as_in_http_1_1() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for (sent, arrives) in [
        (&b"/?filter={\"a\":1}"[..], "/?filter={%22a%22:1}"),
        (b"/<b>`c`?<d>`e`", "/%3Cb%3E%60c%60?%3Cd%3E%60e%60"),
        (b"/m\xc3\xbcnchen?\xe2\x82\xac", "/m%C3%BCnchen?%E2%82%AC"),
        (b"/latin\xfc", "/latin%FC"),
        (b"/{a}|\\^?{b}|\\^", "/{a}|\\^?{b}|\\^"),
    ] {
        let mut client = raw(&proxy);
        let body = format!("GET {arrives} #0");
        client.send(headers(END, 1, GET, sent, b""));
        expect_body(&mut client, 1, &body);
        // The same again: a literal, and its index in the table of the client.
        client.send(headers(END, 3, GET, sent, b""));
        expect_body(&mut client, 3, &body);
        client.send(frame(1, END, 5, b"\x82\x86\xbe\xbf"));
        expect_body(&mut client, 5, &body);
        // The response is stored for the target as a browser sends it, in both versions.
        assert_eq!(proxy.get(arrives).x_cache(), "HIT");
    }
}

#[test]
fn requests_before_and_after_an_encoded_path_are_served_on_the_same_connection() {
    let origin = Origin::start(|exchange| {
        let body = exchange.request.body.clone();
        let body = format!("{} {}", exchange.target(), String::from_utf8_lossy(&body));
        exchange.ok("", body);
    });
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    // A field that goes into the table, for the requests after it.
    client.send(headers(END, 1, GET, b"/1", b"\x40\x03x-a\x011"));
    expect_body(&mut client, 1, "/1 ");
    client.send(headers(END_HEADERS, 3, POST, b"/<3", b"\xc0"));
    client.send(frame(0, 0, 3, b"hel"));
    client.send(frame(0, 0, 3, b"lo"));
    // Trailers.
    client.send(frame(1, END, 3, b"\x40\x03x-t\x012"));
    expect_body(&mut client, 3, "/%3C3 hello");
    // The proxy asks for the whole, to store it.
    client.send(headers(END, 5, HEAD, b"/\"5", b"\xc4"));
    origin.wait_for(3);
    client.send(get_frame(7));
    expect_body(&mut client, 7, "/ ");
    let seen = origin.seen();
    let lines: Vec<_> = seen.iter().map(|it| (it.method(), it.target())).collect();
    let expected = [
        ("GET", "/1"),
        ("POST", "/%3C3"),
        ("GET", "/%225"),
        ("GET", "/"),
    ];
    assert_eq!(lines, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    for (request, value) in seen.iter().zip([Some("1"), Some("1"), Some("1"), None]) {
        assert_eq!(request.field("x-a").as_deref(), value);
    }
}

#[test]
fn a_request_without_a_path_is_refused_after_an_encoded_path_too() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    client.send(headers(END, 1, GET, b"/<", b""));
    expect_body(&mut client, 1, "GET /%3C #0");
    // CONNECT a.
    client.send(frame(1, END_HEADERS, 3, b"\x02\x07CONNECT\xbf"));
    client.wait_for("CONNECT is not supported");
    // A path that is none.
    client.send(headers(END, 5, GET, b"\"", b""));
    client.wait_for(&latin1(&frame(3, 0, 5, &[0, 0, 0, 1])));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_list_that_no_decoder_accepts_ends_the_connection_after_an_encoded_path() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    client.send(headers(END, 1, GET, b"/<", b""));
    expect_body(&mut client, 1, "GET /%3C #0");
    client.send_until_refused(&frame(1, END, 3, b"\x82\x84\x86\xff\x00"));
    client.is_closed();
    assert_eq!(Http2Client::connect(&proxy).get("/").0.status(), 200);
}

#[test]
fn fields_that_grow_when_they_are_decompressed_are_refused_after_an_encoded_path_too() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    let field = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let bomb = [&field[..], &[0xbe; 10_000]].concat();
    client.send(headers(END, 1, GET, b"/<", &bomb));
    // The connection goes on.
    client.send(get_frame(3));
    expect_body(&mut client, 3, "GET / #0");
    assert_eq!(origin.count(), 1);
}
