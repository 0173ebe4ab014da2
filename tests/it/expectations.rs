//! Expect: 100-continue (RFC 9110, 10.1.1): what the origin says before the client sends its body.

use crate::{
    client::{Client, Ending},
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
const SIZED: &str = "Content-Length: 5\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// Announces a body with these header lines, and waits for a 100.
fn announce(client: &mut Client, target: &str, lines: &str) {
    client.send(format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n{lines}\r\n"
    ));
}

/// Says 100, reads `hello` with this framing, and responds.
fn continue_and_read(exchange: &mut Exchange<'_>, framing: &str) {
    exchange.send(CONTINUE);
    let body = match framing {
        CHUNKED => "5\r\nhello\r\n0\r\n\r\n",
        _ => "hello",
    };
    assert_eq!(exchange.read(body.len() as u64), body.as_bytes());
    // This origin closes its connections after each response, and must say so.
    exchange.ok("Connection: close\r\n", "read");
}

#[test]
fn a_100_comes_from_the_origin_and_the_connection_goes_on() {
    for (framing, body) in [(SIZED, "hello"), (CHUNKED, "5\r\nhello\r\n0\r\n\r\n")] {
        let gate = Gate::default();
        let origin = Origin::without_reading({
            let gate = gate.clone();
            move |exchange| match exchange.target().as_str() {
                "/hint" => {
                    exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
                    gate.wait();
                    continue_and_read(exchange, framing);
                }
                "/" => continue_and_read(exchange, framing),
                _ => exchange.ok("", "next"),
            }
        });
        let proxy = TestProxy::to(&origin);
        let mut client = proxy.connect();
        announce(&mut client, "/hint", framing);
        assert_eq!(client.head().status, 103);
        gate.open();
        assert_eq!(client.head().status, 100);
        client.send(body).answer().expect(200, "MISS", "read");
        announce(&mut client, "/", framing);
        assert_eq!(client.head().status, 100);
        client.send(body).answer().expect(200, "MISS", "read");
        client.ask("/next", "").answer().expect(200, "MISS", "next");
        for seen in &origin.seen()[..2] {
            assert_eq!(seen.field("expect").as_deref(), Some("100-continue"));
        }
    }
}

#[test]
fn a_final_response_in_place_of_the_100_reaches_the_client_without_its_body() {
    for framing in [SIZED, CHUNKED] {
        for status in [
            "417 Expectation Failed",
            "401 Unauthorized",
            "200 OK",
            "303 See Other",
        ] {
            let (bodiless, checked) = (Gate::default(), Gate::default());
            let origin = Origin::without_reading({
                let (bodiless, checked) = (bodiless.clone(), checked.clone());
                move |exchange| {
                    exchange.answer(status, "", "no");
                    checked.wait();
                    assert_eq!(exchange.read(1), b"");
                    bodiless.open();
                }
            });
            let proxy = TestProxy::to(&origin);
            let mut client = proxy.connect();
            announce(&mut client, "/", framing);
            let refused = client.answer();
            let code = status[..3].parse().unwrap();
            refused.expect(code, "MISS", "no");
            assert_eq!(refused.interim.len(), 0, "{status}");
            // What the client sends next could be the body or another request.
            assert_eq!(
                refused.field("connection"),
                Some("close"),
                "{status} {framing}"
            );
            checked.open();
            bodiless.wait();
        }
    }
}

#[test]
fn an_origin_that_never_says_100_gets_the_body_all_the_same() {
    let origin = Origin::counting("");
    // The time limit of the origin does not run while the body waits.
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.timeout = std::time::Duration::from_millis(500))
        .start();
    let mut client = proxy.connect();
    announce(&mut client, "/", SIZED);
    client.wait_for("HTTP/1.1 100").send("hello");
    let answer = client.answer();
    assert_eq!(
        (answer.status(), answer.ending, answer.interim.len()),
        (200, Ending::Whole, 1)
    );
    assert_eq!(origin.only().body, b"hello");
    client.ask("/", "").answer();
}

#[test]
fn a_client_that_does_not_wait_for_the_100_gets_its_response() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    announce(&mut client, "/", SIZED);
    client.send("hello");
    assert_eq!(client.answer().status(), 200);
    assert_eq!(origin.only().body, b"hello");
}

#[test]
fn an_expectation_without_a_body_or_of_http_1_0_is_not_forwarded() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for request in [
        "GET /1 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        "POST /2 HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        "POST /3 HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let answer = proxy.connect().send(request).answer();
        assert_eq!(
            (answer.status(), answer.interim.len()),
            (200, 0),
            "{request:?}"
        );
        assert_eq!(origin.last().field("expect"), None, "{request:?}");
    }
}

#[test]
fn a_request_that_is_not_forwarded_is_refused_before_its_body() {
    let mut origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    origin.stop();
    for framing in [SIZED, CHUNKED] {
        let mut client = proxy.connect();
        announce(&mut client, "/", framing);
        let refused = client.answer();
        assert_eq!((refused.status(), refused.interim.len()), (502, 0));
        assert_eq!(refused.field("connection"), Some("close"));
    }
}
