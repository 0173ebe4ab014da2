//! The PROXY protocol, versions 1 and 2.

use crate::{
    client::Client,
    instance::{Home, Instance},
    origin::Origin,
};

const TEXT: &[u8] = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n";
const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

/// A header of version 2.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    let start = &b"\r\n\r\n\0\r\nQUIT\n"[..];
    [start, &[command, family], &length, addresses].concat()
}

fn start(home: &Home, origin: &Origin, args: &[&str]) -> Instance {
    let args = [&["--proxy-protocol", "--log-format", "combined"], args].concat();
    home.start(&origin.url(), &args)
}

/// X-Forwarded-For of the last request.
fn last_client(origin: &Origin) -> String {
    origin.last().fields("x-forwarded-for").join(" | ")
}

#[test]
fn each_header_names_the_client_of_its_connection() {
    let origin = Origin::counting("Cache-Control: no-store\r\n");
    let home = Home::new();
    let proxy = start(&home, &origin, &["--trusted-proxies", "127.0.0.1"]);
    let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x67, 0, 80];
    let with_fields = [&v4[..], &[0x20, 0, 3, 1, 2, 3]].concat();
    for (header, client) in [
        (TEXT.to_vec(), "203.0.113.9"),
        (
            b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n".to_vec(),
            "2001:db8::9",
        ),
        (
            b"PROXY TCP6 ::ffff:203.0.113.9 ::1 4711 80\r\n".to_vec(),
            "203.0.113.9",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x21, 0x11, &v4), "203.0.113.9"),
        (binary(0x21, 0x11, &with_fields), "203.0.113.9"),
        (binary(0x20, 0x11, &v4), "127.0.0.1"),
        (binary(0x21, 0, &[]), "127.0.0.1"),
    ] {
        // The request follows in the same packet, or the header comes byte by byte.
        let mut at_once = Client::connect(proxy.port);
        at_once.send([&*header, REQUEST].concat());
        assert_eq!(at_once.answer().status(), 200, "{header:?}");
        assert_eq!(last_client(&origin), client);
        let mut split = Client::connect(proxy.port);
        for byte in &header {
            split.send([*byte]);
        }
        // The header is for all requests of the connection.
        for _ in 0..2 {
            assert_eq!(split.send(REQUEST).answer().status(), 200, "{header:?}");
            assert_eq!(last_client(&origin), client);
        }
    }
    proxy.log_line(&["203.0.113.9 - ", "GET /a "]);
}

#[test]
fn the_client_that_the_header_names_is_trusted_only_if_it_is_listed() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, &["--trusted-proxies", "127.0.0.1"]);
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.test\r\n\r\n";
    let mut client = Client::connect(proxy.port);
    client.send([TEXT, request].concat());
    assert_eq!(client.answer().status(), 200);
    assert_eq!(last_client(&origin), "203.0.113.9");
    assert_eq!(origin.only().fields("x-forwarded-host"), [""; 0]);
}

#[test]
fn a_connection_without_the_header_is_closed_with_a_log_line() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, &[]);
    let mut plain = Client::connect(proxy.port);
    plain.send(REQUEST);
    assert!(plain.is_closed());
    proxy.log_line(&[
        "closed a connection from 127.0.0.1",
        "does not begin with",
        "--proxy-protocol",
    ]);
    let mut wrong = Client::connect(proxy.port);
    wrong.send(b"PROXY TCP4 nobody\r\n");
    assert!(wrong.is_closed());
    proxy.log_line(&["closed a connection from 127.0.0.1", "invalid"]);
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_peer_that_is_not_listed_may_not_name_clients() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = start(&home, &origin, &["--trusted-proxies", "10.0.0.0/8"]);
    let mut client = Client::connect(proxy.port);
    client.send_until_refused(&[TEXT, REQUEST].concat());
    assert!(client.is_closed());
    proxy.log_line(&["closed a connection from 127.0.0.1", "trusted_proxies"]);
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_header_is_not_understood_unless_it_is_asked_for() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &["--trusted-proxies", "127.0.0.1"]);
    for header in [TEXT.to_vec(), binary(0x20, 0, &[])] {
        let mut client = Client::connect(proxy.port);
        client.send([&*header, REQUEST].concat());
        assert_eq!(client.answer().status(), 400);
        assert!(client.is_closed());
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_connection_that_waits_with_its_header_does_not_delay_the_end() {
    let origin = Origin::counting("");
    let home = Home::new();
    let mut proxy = start(&home, &origin, &[]);
    let mut waiting = Client::connect(proxy.port);
    waiting.send(b"PROXY TCP4 ");
    // The connection has been accepted once a later one is served.
    let mut client = Client::connect(proxy.port);
    client.send([TEXT, REQUEST].concat());
    assert_eq!(client.answer().status(), 200);
    proxy.signal(rustix::process::Signal::TERM);
    assert!(waiting.is_closed());
    assert!(proxy.wait().success());
}
