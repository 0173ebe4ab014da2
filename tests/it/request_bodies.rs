//! Bodies of requests that are framed wrongly, or unusually.

use crate::{
    harness::TestProxy,
    origin::{Gate, Origin},
};

const CHUNKED: &str = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_malformed_chunked_body_gets_400() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for method in ["GET", "POST"] {
        for body in [
            "zz\r\n",
            "\r\n",
            "5\r\nhelloX",
            "-1\r\n",
            "5 5\r\nhello\r\n",
            "0\r\nA: b\nC: d\r\n\r\n",
        ] {
            let mut client = proxy.connect();
            client.send(format!("{method} / HTTP/1.1\r\n{CHUNKED}{body}"));
            client.send_until_refused(&vec![b'x'; 64 * 1024]);
            let answer = client.answer();
            answer.expect(
                400,
                "MISS",
                "The chunked coding of the request body is invalid.\n",
            );
            assert_eq!(answer.field("connection"), Some("close"));
            assert!(client.is_closed());
        }
    }
}

#[test]
fn a_chunked_body_that_becomes_malformed_while_it_is_forwarded_gets_400() {
    let begun = Gate::default();
    let origin = Origin::without_reading({
        let begun = begun.clone();
        move |exchange| {
            begun.open();
            exchange.stall();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send(format!("POST / HTTP/1.1\r\n{CHUNKED}5\r\nhello\r\n"));
    begun.wait();
    client.send("zz\r\n");
    client.answer().expect(
        400,
        "MISS",
        "The chunked coding of the request body is invalid.\n",
    );
    assert!(client.is_closed());
}

#[test]
fn chunk_sizes_may_have_leading_zeros() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let zeros = "0".repeat(40);
        exchange.send(format!("{zeros}2\r\nok\r\n{zeros}\r\n\r\n"));
    });
    let proxy = TestProxy::to(&origin);
    let zeros = "0".repeat(40);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.send(format!(
            "POST / HTTP/1.1\r\n{CHUNKED}{zeros}5\r\nhello\r\n{zeros}\r\n\r\n"
        ));
        client.answer().expect(200, "MISS", "ok");
        assert_eq!(origin.last().body, b"hello");
    }
}

#[test]
fn a_response_of_a_later_minor_version_of_http_1_is_treated_as_http_1_1() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.2 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk("body");
        exchange.chunk("");
    });
    // Each worker has connections to the origin of its own.
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.workers = 1)
        .start();
    proxy.get("/1").expect(200, "MISS", "body");
    proxy.get("/1").expect(200, "HIT", "body");
    proxy.get("/2").expect(200, "MISS", "body");
    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 0]);
}
