//! Pipelining: requests that arrive before the previous responses are sent.

use crate::{
    harness::TestProxy,
    origin::{Gate, Origin},
};

#[test]
fn a_request_after_a_body_gets_its_response_after_that_body() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send(
        "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
         POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n\
         GET /c HTTP/1.1\r\nHost: a\r\n\r\nHEAD /d HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    for (method, body) in [
        ("POST", "POST /a #0"),
        ("POST", "POST /b #0"),
        ("GET", "GET /c #0"),
        ("HEAD", ""),
    ] {
        let answer = client.answer_to(method);
        assert_eq!((answer.status(), answer.text().as_str()), (200, body));
    }
}

#[test]
fn a_body_with_an_unknown_end_closes_the_connection() {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5_000));
    for body in ["00000000000000005 5\r\nhello\r\n0\r\n\r\n", &long_extension] {
        let origin = Origin::counting("");
        let proxy = TestProxy::to(&origin);
        let mut client = proxy.connect();
        client.send(format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}\
             GET /b HTTP/1.1\r\nHost: a\r\n\r\nHEAD /c HTTP/1.1\r\nHost: a\r\n\r\n"
        ));
        let _ = client.is_closed();
        // No bytes after it were parsed as a request.
        let seen = origin.seen();
        assert!(
            seen.iter()
                .all(|request| !request.target().ends_with(['b', 'c'])),
            "{seen:?}"
        );
    }
}

#[test]
fn bytes_after_an_event_stream_request_do_not_hide_a_disconnect() {
    let hung_up = Gate::default();
    let origin = Origin::start({
        let hung_up = hung_up.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
            exchange.stall();
            hung_up.open();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    client.wait_for("data: 1");
    client.send_until_refused(&[b'x'; 64 * 1024]);
    drop(client);
    hung_up.wait();
}

#[test]
fn requests_after_the_last_one_do_not_cut_its_response() {
    let body = "x".repeat(1024 * 1024);
    let origin = Origin::start({
        let body = body.clone();
        move |exchange| {
            let length = body.len();
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
        }
    });
    let proxy = TestProxy::to(&origin);
    let more = "GET /b HTTP/1.1\r\nHost: a\r\n\r\n".repeat(5000);
    for last in [
        "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "GET /a HTTP/1.0\r\n\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(format!("{last}{more}"));
        // Slowly: the last bytes wait in the system when the proxy has ended the connection.
        assert_eq!(client.head().status, 200);
        let read: String = (0..1024).map(|_| client.read(1024)).collect();
        assert!(read == body, "{last}");
    }
}
