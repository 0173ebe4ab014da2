//! Clients of HTTP/2 that send what costs work: their connections end, and others are served.

use crate::{
    client::{Client, latin1},
    harness::TestProxy,
    http2_client::{Http2Client, frame, get_frame, raw},
    origin::Origin,
};

/// More frames than any client needs.
const FLOOD: usize = 20_000;

fn stored() -> (Origin, TestProxy) {
    let origin = Origin::start(|exchange| exchange.ok("Cache-Control: max-age=60\r\n", "body"));
    let proxy = TestProxy::to(&origin);
    (origin, proxy)
}

/// Waits until the proxy has closed the connection.
#[track_caller]
fn expect_closed(mut client: Client) {
    // What it sends before that does not matter.
    client.is_closed();
}

#[test]
fn a_flood_of_frames_ends_its_connection_alone() {
    let (_origin, proxy) = stored();
    let other = Http2Client::connect(&proxy);
    for (name, one) in [
        ("SETTINGS", frame(4, 0, 0, &[])),
        ("PING", frame(6, 0, 0, b"12345678")),
        ("WINDOW_UPDATE", frame(8, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", frame(2, 0, 3, &[0, 0, 0, 0, 1])),
        ("an unknown type", frame(99, 0, 0, b"x")),
    ] {
        let mut client = raw(&proxy);
        client.send_until_refused(&one.repeat(FLOOD));
        expect_closed(client);
        assert_eq!(other.get("/").1, "body", "{name}");
    }
}

#[test]
fn a_flood_of_continuations_ends_its_connection() {
    let (_origin, proxy) = stored();
    let mut client = raw(&proxy);
    client.send(frame(1, 1, 1, b"\x82\x84\x86\x41\x01a"));
    client.send_until_refused(&frame(9, 0, 1, b"\0\x01a\x01b").repeat(FLOOD));
    expect_closed(client);
}

#[test]
fn requests_that_are_reset_at_once_again_and_again_end_their_connection() {
    let (_origin, proxy) = stored();
    let mut client = raw(&proxy);
    for number in 0..5_000 {
        let stream = 2 * number + 1;
        let both = [get_frame(stream), frame(3, 0, stream, &[0, 0, 0, 8])].concat();
        client.send_until_refused(&both);
    }
    expect_closed(client);
    assert_eq!(Http2Client::connect(&proxy).get("/").1, "body");
}

#[test]
fn streams_that_a_client_breaks_again_and_again_end_their_connection() {
    let (_origin, proxy) = stored();
    let mut client = raw(&proxy);
    for number in 0..5_000 {
        let stream = 2 * number + 1;
        // A window of more than 2^31-1 bytes is an error of the stream (RFC 9113, 6.9.1).
        let update = frame(8, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
        client.send_until_refused(&[get_frame(stream), update].concat());
    }
    expect_closed(client);
}

#[test]
fn a_head_that_grows_when_it_is_decompressed_is_refused() {
    let (origin, proxy) = stored();
    let mut client = raw(&proxy);
    // A field of 4,000 bytes that goes into the table of the decoder, and then its index, again and again.
    let field = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4000]].concat();
    let bomb = [&b"\x82\x84\x86\x41\x01a"[..], &field, &[0xbe; 10_000]].concat();
    client.send_until_refused(&frame(1, 5, 1, &bomb));
    expect_closed(client);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_body_in_frames_of_one_byte_is_forwarded() {
    const COUNT: usize = 20_000;
    let origin = Origin::start(|exchange| {
        let body = format!("{} bytes", exchange.request.body.len());
        exchange.ok("", body);
    });
    let proxy = TestProxy::to(&origin);
    let mut client = raw(&proxy);
    // POST /, as in `get_frame`.
    client.send(frame(1, 4, 1, b"\x83\x84\x86\x41\x01a"));
    client.send(frame(0, 0, 1, b"x").repeat(COUNT - 1));
    client.send(frame(0, 1, 1, b"x"));
    client.wait_for(&latin1(&frame(0, 1, 1, b"20000 bytes")));
}
