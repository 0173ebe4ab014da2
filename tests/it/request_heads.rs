//! Heads of requests that are refused, or passed on in another form.

use crate::{
    client::{Answer, Client},
    harness::TestProxy,
    instance::Home,
    origin::Origin,
};

/// Panics unless this is a refusal of the proxy's own, and the connection ends with it.
#[track_caller]
fn expect_refusal(client: &mut Client, status: u16, sentence: &str) -> Answer {
    let answer = client.answer();
    answer.expect(status, "MISS", &format!("{sentence}\n"));
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.field("cache-status"), Some("caching-proxy"));
    let content_type = answer.field("content-type");
    assert_eq!(content_type, Some("text/plain; charset=utf-8"));
    assert!(client.is_closed());
    answer
}

/// Sends a head on a new connection that has carried a request before, and on one that has not.
#[track_caller]
fn refuses(proxy: &TestProxy, head: &[u8], status: u16, sentence: &str) {
    for requests in 0..2 {
        let mut client = proxy.connect();
        for _ in 0..requests {
            assert_eq!(client.ask("/before", "").answer().status(), 200);
        }
        client.send(head);
        expect_refusal(&mut client, status, sentence);
    }
}

#[test]
fn characters_that_a_target_must_not_have_are_encoded_and_the_response_is_cached() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for (sent, arrives) in [
        (&b"/?key=\"abc\""[..], "/?key=%22abc%22"),
        (b"/<b>`c`?<d>`e`", "/%3Cb%3E%60c%60?%3Cd%3E%60e%60"),
        (b"/m\xc3\xbcnchen?\xe2\x82\xac", "/m%C3%BCnchen?%E2%82%AC"),
        (b"/latin\xfc", "/latin%FC"),
        (b"/{a}|\\^?{b}|\\^", "/{a}|\\^?{b}|\\^"),
    ] {
        let head = [b"GET ", sent, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let mut client = proxy.connect();
        for outcome in ["MISS", "HIT"] {
            let answer = client.send(&head).answer();
            answer.expect(200, outcome, &format!("GET {arrives} #0"));
        }
        // The response is stored for the target as a browser sends it.
        assert_eq!(proxy.get(arrives).x_cache(), "HIT");
    }
}

#[test]
fn a_head_in_pieces_is_passed_on_whole_and_rewritten_too() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for byte in b"\r\nGET /\"a\" HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n" {
        client.send([*byte]);
    }
    client.answer().expect(200, "MISS", "GET /%22a%22 #0");
    assert_eq!(origin.only().field("x-a").as_deref(), Some("1"));
    // Longer than one read.
    let long = "l".repeat(50_000);
    client.ask(
        &format!("/{long}\""),
        &format!("X-A: {}\r\n", &long[..10_000]),
    );
    let answer = client.answer();
    assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"));
    assert_eq!(origin.last().target(), format!("/{long}%22"));
    assert_eq!(origin.last().field("x-a").unwrap().len(), 10_000);
    // Pipelined behind a rewritten one.
    client.send("GET /<1> HTTP/1.1\r\nHost: a\r\n\r\nGET /<2> HTTP/1.1\r\nHost: a\r\n\r\n");
    client.answer().expect(200, "MISS", "GET /%3C1%3E #0");
    client.answer().expect(200, "MISS", "GET /%3C2%3E #0");
}

#[test]
fn the_limit_of_a_head_counts_the_target_as_it_is_encoded() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let head = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "\"".repeat(25_000));
    let sentence = "The request line and headers are larger than 64 KiB.";
    refuses(&proxy, head.as_bytes(), 431, sentence);
    assert_eq!(origin.count(), 1);
}

#[test]
fn more_than_1000_header_lines_get_431_that_says_so() {
    let origin = Origin::counting("");
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let head = |lines: usize| {
        format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "X: y\r\n".repeat(lines - 1)
        )
    };
    let mut client = Client::connect(proxy.port);
    assert_eq!(client.send(head(1000)).answer().status(), 200);
    client.send(head(1001));
    expect_refusal(
        &mut client,
        431,
        "The request has more than 1,000 header lines.",
    );
    proxy.log_line(&[
        "MISS 431 - - ",
        "the request has more than 1,000 header lines",
    ]);
}

#[test]
fn an_invalid_host_gets_400() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let sentence = "The host of the request is not a valid name or address.";
    for host in [
        &b"a b"[..],
        b"u@a",
        b"a:b:c",
        b"[::1",
        b"http://a",
        b"\"a\"",
        b"m\xc3\xbcnchen",
        b"a/b",
        b":80",
    ] {
        let head = [b"GET /before HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        refuses(&proxy, &head, 400, sentence);
    }
    for target in ["http://u@a/", "http://a b/", "http:///", "http://[::1/"] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut client = proxy.connect();
        assert_eq!(client.send(head).answer().status(), 400, "{target}");
    }
    for host in ["a_b.test:80", "[::1]:8000", "1.2.3.4", ""] {
        let mut client = proxy.connect();
        client.send(format!("GET /before HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().x_cache(), "HIT", "{host}");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_authority_of_an_absolute_target_is_the_host() {
    let origin = Origin::counting("");
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.preserve_host = true)
        .start();
    let one = format!("one.test:{}", proxy.port);
    let absolute = format!("GET http://{one}/a HTTP/1.1\r\nHost: two.test\r\n\r\n");
    let mut client = proxy.connect();
    client
        .send(absolute)
        .answer()
        .expect(200, "MISS", "GET /a #0");
    for name in ["host", "x-forwarded-host"] {
        assert_eq!(origin.only().fields(name), [&*one]);
    }
    let own = |host: &str| format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for (host, x_cache) in [(&*one, "HIT"), ("two.test", "MISS")] {
        assert_eq!(client.send(own(host)).answer().x_cache(), x_cache);
    }
}

#[test]
fn what_actix_http_refuses_gets_a_response_of_ours() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n",
        "G{T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\n\r\nx",
        "GET /\r\n\r\n",
    ] {
        refuses(&proxy, head.as_bytes(), 400, "Not an HTTP/1.1 request.");
    }
    for (head, sentence) in [
        ("GET / HTTP/1.1\r\n\r\n", "The request has no Host header."),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            "The request has more than one Host header.",
        ),
        (
            "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
            "The request target is not a path or a URL.",
        ),
    ] {
        refuses(&proxy, head.as_bytes(), 400, sentence);
    }
    let spaced = "The request has a space between the name of a header and its colon.";
    for line in ["Host : a", "Host: a\r\nX\t: b"] {
        let head = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
        refuses(&proxy, head.as_bytes(), 400, spaced);
    }
    let sentence = "The request is not in HTTP/1.0 or HTTP/1.1.";
    refuses(&proxy, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, sentence);
    // The client still sends when it is refused.
    let mut client = proxy.connect();
    client.send("GET a HTTP/1.1\r\nHost: a\r\n\r\n");
    client.send_until_refused(&vec![b'x'; 256 * 1024]);
    assert_eq!(client.answer().status(), 400);
    assert_eq!(origin.count(), 1);
}

#[test]
fn the_response_to_a_refused_head_request_has_no_body() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n");
    assert_eq!(client.answer_to("HEAD").status(), 400);
    assert!(client.is_closed());
}

#[test]
fn a_later_minor_version_of_http_1_is_treated_as_http_1_1() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for version in ["HTTP/1.2", "HTTP/1.9"] {
        client.send(format!("GET /{version} {version}\r\nHost: a\r\n\r\n"));
        client
            .answer()
            .expect(200, "MISS", &format!("GET /{version} #0"));
    }
}

#[test]
fn commands_and_rules_take_targets_as_clients_write_them() {
    let origin = Origin::counting("");
    let home = Home::new();
    let rule = "[[rules]]\npath = '/\"m*'\nttl = \"90s\"\n";
    home.write("config/proxy.toml", rule);
    let proxy = home.start(&origin.url(), &[]);
    let mut client = Client::connect(proxy.port);
    let (target, encoded) = ("/\"m\u{fc}\"?q=\"a\"", "/%22m%C3%BC%22?q=%22a%22");
    let answer = client.ask(target, "").answer();
    answer.expect(200, "MISS", &format!("GET {encoded} #0"));
    let answer = client.ask(target, "").answer();
    let status = answer.field("cache-status").unwrap();
    assert!(status.contains("; ttl="), "{status}");
    for command in ["why", "show"] {
        let output = home.run_ok(&[command, target]);
        assert!(output.contains(encoded), "{output}");
    }
    let output = home.run_ok(&["purge", "/\"m\u{fc}*"]);
    assert!(output.contains("1 response"), "{output}");
}

#[test]
fn a_400_of_the_handler_ends_the_connection_and_one_of_the_origin_does_not() {
    let origin = Origin::start(|exchange| exchange.answer("400 Bad Request", "", "no"));
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for _ in 0..2 {
        client.ask("/", "").answer().expect(400, "MISS", "no");
    }
    client.ask("*", "");
    expect_refusal(&mut client, 400, "The request target is not a path.");
}

#[test]
fn a_client_that_speaks_tls_is_told_so_at_once() {
    let (origin, home) = (Origin::counting(""), Home::new());
    let proxy = home.start(&origin.url(), &[]);
    let sentence = "The client speaks TLS, and this port takes plain HTTP: use http:// for it.";
    // The beginning of a ClientHello, in one piece and in two.
    for pieces in [
        &[&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..]][..],
        &[b"\x16\x03", b"\x01\x02\0\x01"],
    ] {
        let mut client = Client::connect(proxy.port);
        for piece in pieces {
            client.send(piece);
        }
        expect_refusal(&mut client, 400, sentence);
    }
    proxy.log_line(&[
        "MISS 400 - - ",
        "the client speaks TLS, and this port takes plain HTTP",
    ]);
    assert_eq!(origin.count(), 0);
}
