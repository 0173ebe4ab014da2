//! Max-Forwards: requests that end at the proxy, and the decremented number.

use crate::{harness::TestProxy, origin::Origin};

#[test]
fn a_request_with_max_forwards_zero_gets_the_response_of_the_proxy() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for target in ["/a?b", "*"] {
        let answer = proxy.request("OPTIONS", target, "Max-Forwards: 0\r\n", b"");
        answer.expect(200, "MISS", "");
        assert!(answer.field("allow").unwrap().contains("OPTIONS"));
        assert_eq!(
            (answer.field("content-length"), answer.field("via")),
            (Some("0"), None)
        );
        assert_eq!(answer.field("cache-status"), Some("caching-proxy"));
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_trace_is_reflected_without_secrets() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send(
        b"TRACE /a?b=%20 HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-Latin: \xe4\r\nMax-Forwards: 0\r\nx-a: 2\r\n\
          Authorization: Basic secret\r\nCookie: a=secret\r\nProxy-Authorization: Basic secret\r\n\
          X-Api-Key: secret\r\nX-Auth-Token: secret\r\n\r\n",
    );
    let answer = client.answer_to("TRACE");
    answer.expect(
        200,
        "MISS",
        "TRACE /a?b=%20 HTTP/1.1\r\nhost: a\r\nmax-forwards: 0\r\nx-a: 1\r\nx-a: 2\r\nx-latin: \u{e4}\r\n\r\n",
    );
    assert_eq!(answer.field("content-type"), Some("message/http"));
    assert_eq!(answer.field("cache-status"), Some("caching-proxy"));
    assert_eq!(origin.count(), 0);
    // The connection stays open.
    client
        .ask("/next", "")
        .answer()
        .expect(200, "MISS", "GET /next #0");
}

#[test]
fn the_body_of_a_trace_is_not_reflected() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let answer = proxy.request("TRACE", "/", "Max-Forwards: 0\r\n", b"the body");
    assert_eq!(answer.status(), 200);
    assert!(!answer.text().contains("the body"), "{}", answer.text());
    assert!(answer.text().ends_with("\r\n\r\n"), "{}", answer.text());
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_loop_ends_by_max_forwards_before_it_is_detected() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.request("OPTIONS", "/", "", b"");
    let via = origin.last().field("via").unwrap();
    for (fields, status) in [("Max-Forwards: 0\r\n", 200), ("Max-Forwards: 1\r\n", 508)] {
        let fields = format!("{fields}Via: {via}\r\n");
        let answer = proxy.request("OPTIONS", "/", &fields, b"");
        assert_eq!(answer.status(), status, "{fields}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn max_forwards_is_decremented_for_trace_and_options_only() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for (method, before, after) in [
        ("TRACE", "3", "2"),
        ("OPTIONS", "1", "0"),
        ("OPTIONS", "99999999999999999999999", "18446744073709551614"),
        ("OPTIONS", "x", "x"),
        ("TRACE", "0x0", "0x0"),
        ("GET", "0", "0"),
        ("POST", "3", "3"),
    ] {
        let fields = format!("Max-Forwards: {before}\r\n");
        let answer = proxy.request(method, &format!("/{before}"), &fields, b"");
        assert_eq!(answer.status(), 200, "{method} {before}");
        assert_eq!(origin.last().fields("max-forwards"), [after], "{method}");
    }
    let twice = "Max-Forwards: 0\r\nMax-Forwards: 0\r\n";
    assert_eq!(proxy.request("OPTIONS", "/", twice, b"").status(), 200);
    assert_eq!(origin.last().fields("max-forwards"), ["0", "0"]);
}
