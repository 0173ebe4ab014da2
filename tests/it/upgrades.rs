//! Requests that offer another protocol.

use crate::{client::Ending, harness::TestProxy, instance::Home, origin::Origin};

const WEBSOCKET: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const H2C: &str =
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n";

#[test]
fn an_offer_of_http_2_is_ignored_and_its_connection_stays_open() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for outcome in ["MISS", "HIT", "HIT", "HIT"] {
        let answer = client.ask("/", H2C).answer();
        answer.expect(200, outcome, "GET / #0");
        assert_eq!(
            (answer.field("connection"), answer.field("upgrade")),
            (None, None)
        );
    }
    let upload = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n{H2C}\r\nhello");
    let answer = client.send(&upload).answer();
    assert_eq!((answer.status(), answer.field("connection")), (200, None));
    for seen in origin.seen() {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert_eq!(seen.field(name), None, "{name}");
        }
    }
    assert_eq!(origin.last().body, b"hello");
}

#[test]
fn a_websocket_handshake_is_neither_stored_nor_joined_nor_served_from_the_cache() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/missing" => exchange.answer("404 Not Found", "Cache-Control: max-age=60\r\n", "no"),
        _ => exchange.ok("Cache-Control: max-age=60\r\n", "page"),
    });
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let mut client = crate::client::Client::connect(proxy.port);
    for _ in 0..2 {
        let answer = client.ask("/missing", WEBSOCKET).answer();
        answer.expect(404, "MISS", "no");
        assert_eq!(
            (answer.ending, answer.field("connection")),
            (Ending::Whole, None)
        );
        assert_eq!(answer.field("upgrade"), None);
        let status = answer.field("cache-status").unwrap();
        assert!(status.ends_with("detail=not-upgraded"), "{status}");
    }
    client.ask("/", "").answer().expect(200, "MISS", "page");
    client
        .ask("/", WEBSOCKET)
        .answer()
        .expect(200, "MISS", "page");
    client.ask("/", "").answer().expect(200, "HIT", "page");
    client
        .ask("/missing", "")
        .answer()
        .expect(404, "MISS", "no");
    let seen = origin.seen();
    assert_eq!(seen.len(), 5);
    let offer = |index: usize| {
        (
            seen[index].field("upgrade"),
            seen[index].field("connection"),
        )
    };
    assert_eq!(
        offer(0),
        (Some("websocket".to_owned()), Some("Upgrade".to_owned()))
    );
    assert_eq!(offer(2), (None, None));
    assert!(seen[0].field("sec-websocket-key").is_some());
    proxy.log_line(&["MISS 404 GET /missing", "not stored: not-upgraded"]);
}

#[test]
fn other_upgrades_and_those_of_http_1_0_are_ignored() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for outcome in ["MISS", "HIT"] {
        let fields = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
        let answer = client.ask("/spdy", fields).answer();
        answer.expect(200, outcome, "GET /spdy #0");
    }
    for outcome in ["MISS", "HIT"] {
        // Without the connection option, Upgrade means nothing.
        let answer = client.ask("/no-option", "Upgrade: websocket\r\n").answer();
        answer.expect(200, outcome, "GET /no-option #0");
        let request = format!("GET /old HTTP/1.0\r\n{WEBSOCKET}\r\n");
        let answer = proxy.connect().send(request).answer();
        answer.expect(200, outcome, "GET /old #0");
    }
    for seen in origin.seen() {
        assert_eq!(seen.field("upgrade"), None, "{}", seen.target());
    }
}
