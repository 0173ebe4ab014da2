//! Points 29 to 32 and 34: valid and invalid messages on the connection.

use caching_proxy::policy::Mode::{Always, Standard, Strict};

use crate::{client::Ending, coalescing::gated, harness::TestProxy, origin::Origin};

const FRESH: &str = "Cache-Control: max-age=60\r\n";

#[test]
fn point_29a_interim_responses_are_relayed_at_once_and_never_stored_or_merged() {
    for (status, line) in [(102, "102 Processing"), (103, "103 Early Hints")] {
        let (origin, gate) = gated(move |exchange, gate| {
            exchange.send(format!(
                "HTTP/1.1 {line}\r\nLink: </a>\r\nLink: </b>\r\nX-Hint: 1\r\nCache-Control: no-store\r\nETag: \"hint\"\r\n\r\n"
            ));
            gate.wait();
            exchange.ok(FRESH, "body");
        });
        let proxy = TestProxy::with_mode(&origin, Strict);
        let mut client = proxy.begin("/", "");
        let hint = client.head();
        assert_eq!(
            (hint.status, hint.all("link")),
            (status, vec!["</a>", "</b>"])
        );
        assert_eq!(
            (hint.all("x-hint"), hint.all("etag")),
            (vec!["1"], vec!["\"hint\""])
        );
        gate.open();
        for outcome in ["MISS", "HIT"] {
            let answer = client.answer();
            answer.expect(200, outcome, "body");
            for name in ["link", "x-hint", "etag"] {
                assert_eq!(answer.field(name), None, "{name}");
            }
            assert_eq!(answer.field("cache-control"), Some("max-age=60"));
            assert_eq!(answer.interim.len(), 0);
            client.ask("/", "");
        }
        client.answer();
        // An HTTP/1.0 client gets no interim responses, even from its own fetch.
        let old = proxy.connect().send("GET /old HTTP/1.0\r\n\r\n").answer();
        old.expect(200, "MISS", "body");
        assert_eq!(old.interim.len(), 0);
    }
}

#[test]
fn point_29b_followers_get_no_interim_responses_and_pipelining_keeps_their_order() {
    let (origin, gate) = gated(|exchange, gate| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        gate.wait();
        let target = exchange.target();
        exchange.ok(FRESH, target);
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut leader = proxy.begin("/shared", "");
    leader.head();
    let mut follower = proxy.begin("/shared", "");
    let mut pipelined = proxy.connect();
    pipelined.ask("/first", "").ask("/second", "");
    origin.wait_for(2);
    proxy.wait_for_followers(1);
    gate.open();
    for client in [&mut leader, &mut follower] {
        let answer = client.answer();
        assert_eq!(
            (answer.text().as_str(), answer.interim.len()),
            ("/shared", 0)
        );
    }
    for target in ["/first", "/second"] {
        let answer = pipelined.answer();
        answer.expect(200, "MISS", target);
        assert!(answer.interim.len() <= 1);
    }
}

/// An origin that sends these bytes for every request, and then closes the connection if `closes` is set.
fn origin_sending(answer: String, closes: bool) -> Origin {
    Origin::start(move |exchange| {
        exchange.send(&answer);
        if closes {
            exchange.close();
        }
    })
}

#[test]
fn point_30a_a_misframed_response_is_relayed_and_its_connection_is_closed() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    for (framing, body) in [
        (
            "Content-Length: 5\r\n".to_owned(),
            "hello and more".to_owned(),
        ),
        (
            "Content-Length: 5\r\n".into(),
            "helloHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad".into(),
        ),
        (format!("Content-Length: 3\r\n{chunked}"), chunks.into()),
        (format!("{chunked}Content-Length: 300\r\n"), chunks.into()),
        (format!("{chunked}Content-Length: 5\r\n"), chunks.into()),
        (format!("{chunked}content-length: 0\r\n"), chunks.into()),
    ] {
        let origin = origin_sending(
            format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n{body}"),
            false,
        );
        let proxy = TestProxy::with_mode(&origin, Strict);
        let mut client = proxy.connect();
        for target in ["/1", "/2", "/3"] {
            for outcome in ["MISS", "HIT"] {
                let answer = client.ask(target, "").answer();
                answer.expect(200, outcome, "hello");
                assert!(matches!(answer.field("content-length"), None | Some("5")));
            }
        }
        let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections, [0, 1, 2], "{framing}");
    }
}

#[test]
fn point_30b_a_transfer_coding_that_the_proxy_cannot_decode_is_502_and_not_stored() {
    for framing in [
        "Transfer-Encoding: foo\r\n",
        "Transfer-Encoding: foo\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: chunked, foo\r\n",
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{FRESH}{framing}\r\n5\r\ncoded\r\n0\r\n\r\n");
        for mode in [Strict, Standard, Always] {
            let origin = origin_sending(answer.clone(), true);
            let proxy = TestProxy::with_mode(&origin, mode);
            for asked in 1..=2 {
                let refused = proxy.get("/");
                assert_eq!((refused.status(), refused.x_cache()), (502, "MISS"));
                assert!(!refused.text().contains("coded"), "{}", refused.text());
                assert_eq!(origin.count(), asked, "{mode:?} {framing:?}");
            }
        }
    }
}

#[test]
fn point_31_a_truncated_body_is_truncated_for_the_client_and_never_stored() {
    for framing in [
        "Content-Length: 100\r\n\r\nonly this",
        "Content-Length: 10\r\n\r\nonly this",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this",
        "Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n",
        "Transfer-Encoding: chunked\r\n\r\nff\r\nonly this",
    ] {
        for mode in [Strict, Standard, Always] {
            let origin = Origin::start(move |exchange| match exchange.nth {
                0 | 1 => {
                    exchange.send(format!(
                        "HTTP/1.1 200 OK\r\n{FRESH}ETag: \"v\"\r\n{framing}"
                    ));
                    exchange.close();
                }
                _ => exchange.ok(FRESH, "whole"),
            });
            let proxy = TestProxy::with_mode(&origin, mode);
            for _ in 0..2 {
                let cut = proxy.get("/");
                assert_eq!(
                    (cut.status(), cut.x_cache(), cut.ending),
                    (200, "MISS", Ending::Cut),
                    "{framing}"
                );
                assert_eq!(origin.last().field("if-none-match"), None);
            }
            proxy.get("/").expect(200, "MISS", "whole");
            proxy.get("/").expect(200, "HIT", "whole");
        }
    }
}

/// An origin that responds to the first request of each connection, and fails at the second a given number of times.
fn origin_failing_on_reuse(failures: usize, word: &'static str) -> Origin {
    let seen = std::sync::Mutex::new((Vec::<usize>::new(), 0));
    Origin::start(move |exchange| {
        let mut seen = seen.lock().unwrap();
        let is_reused = seen.0.contains(&exchange.request.connection);
        seen.0.push(exchange.request.connection);
        let fails_again = seen.1 > 0 && seen.1 < failures;
        if (is_reused || fails_again) && seen.1 < failures {
            seen.1 += 1;
            exchange.send(word);
            exchange.close();
        } else {
            exchange.ok("Cache-Control: no-store\r\n", "body");
        }
    })
}

#[test]
fn point_32_only_idempotent_requests_are_repeated_once_on_a_new_connection() {
    for (method, upload, failures, word, status, count) in [
        ("GET", "", 1, "", 200, 3),
        ("HEAD", "", 1, "", 200, 3),
        ("OPTIONS", "", 1, "", 200, 3),
        ("TRACE", "", 1, "", 200, 3),
        ("DELETE", "", 1, "", 200, 3),
        ("PUT", "", 1, "", 200, 3),
        ("POST", "", 1, "", 502, 2),
        ("POST", "x", 1, "", 502, 2),
        ("PATCH", "", 1, "", 502, 2),
        ("FOOBAR", "", 1, "", 502, 2),
        ("GET", "", 2, "", 502, 3),
        ("GET", "", 1, "HTTP/1.1 2", 502, 2),
        ("GET", "", 1, "H", 502, 2),
    ] {
        let origin = origin_failing_on_reuse(failures, word);
        let proxy = TestProxy::builder(&origin)
            .mode(Strict)
            .with(|config| config.workers = 1)
            .start();
        let mut client = proxy.connect();
        client
            .ask("/before", "")
            .answer()
            .expect(200, "MISS", "body");
        let length = upload.len();
        client.send(format!(
            "{method} /it HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{upload}"
        ));
        let answer = client.answer_to(method);
        let row = format!("{method} {failures} {word}");
        assert_eq!((answer.status(), origin.count()), (status, count), "{row}");
        // The second request gets the same response.
        if count == 3 {
            let seen = origin.seen();
            assert_eq!(seen[1].head, seen[2].head, "{row}");
        }
        let connections: Vec<_> = origin.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections[..2], [0, 0], "{row}");
        assert!(
            connections[2..].iter().all(|connection| *connection == 1),
            "{row}"
        );
    }
    // On a new connection no request is repeated.
    let origin = Origin::start(|exchange| exchange.close());
    let proxy = TestProxy::with_mode(&origin, Strict);
    assert_eq!(proxy.get("/").status(), 502);
    assert_eq!(origin.count(), 1);
}

#[test]
fn point_34a_targets_arrive_and_are_compared_byte_for_byte() {
    let targets = [
        "//",
        "//a//b",
        "/a;b=c;d",
        "/%zz",
        "/%7Ea",
        "/~a",
        "/%7ea",
        "/a?",
        "/a",
        "/a?b?c&d=%26",
        "/a/../b",
        "/a/./b",
        "/?",
        "/a%2Fb",
        "/a|b",
        "/'(a)*!",
        "/a?b=[1]",
    ];
    let origin = Origin::start(|exchange| {
        let target = exchange.target();
        exchange.ok(FRESH, target);
    });
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut client = proxy.connect();
    for outcome in ["MISS", "HIT"] {
        for target in targets {
            client.ask(target, "").answer().expect(200, outcome, target);
        }
    }
    client.ask(&format!("http://localhost:{}/a?b", proxy.port), "");
    client.answer().expect(200, "MISS", "/a?b");
    client.ask("/a?b", "").answer().expect(200, "HIT", "/a?b");
    assert_eq!(origin.count(), targets.len() + 1);
}

/// An origin that returns the request, with a header that is not ASCII.
fn echoing_origin() -> Origin {
    Origin::start(|exchange| {
        let (method, target) = (exchange.request.method(), exchange.target());
        let body = format!("{method} {target} {}", exchange.request.body.len());
        let mut head = format!(
            "HTTP/1.1 200 OK\r\n{FRESH}Content-Length: {}\r\nX-Latin: ",
            body.len()
        )
        .into_bytes();
        head.extend(b"\xe4\xf6\xfc \xff\r\n\r\n");
        exchange.send(head);
        if method != "HEAD" {
            exchange.send(body);
        }
    })
}

#[test]
fn point_34b_methods_versions_and_values_are_relayed_faithfully() {
    let origin = echoing_origin();
    let proxy = TestProxy::with_mode(&origin, Strict);
    let mut client = proxy.connect();
    client.send(b"GET /v HTTP/1.1\r\nHost: a\r\nX-Mine: \xe4\xff\r\n\r\n");
    let first = client.answer();
    first.expect(200, "MISS", "GET /v 0");
    assert_eq!(
        origin.last().field("x-mine").as_deref(),
        Some("\u{e4}\u{ff}")
    );
    let hit = client.ask("/v", "").answer();
    for answer in [&first, &hit] {
        assert_eq!(answer.field("x-latin"), Some("\u{e4}\u{f6}\u{fc} \u{ff}"));
    }
    for (request, method, expected) in [
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS",
            "OPTIONS * 0",
        ),
        (
            "M-SEARCH * HTTP/1.1\r\nHost: a\r\n\r\n",
            "M-SEARCH",
            "M-SEARCH * 0",
        ),
        (
            "PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            "PUT",
            "PUT /p 5",
        ),
        (
            "PUT /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "PUT",
            "PUT /p 5",
        ),
    ] {
        client
            .send(request)
            .answer_to(method)
            .expect(200, "MISS", expected);
    }
    let head = client
        .send("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n")
        .answer_to("HEAD");
    assert_eq!(
        (
            head.status(),
            head.field("content-length"),
            head.text().as_str()
        ),
        (200, Some("9"), "")
    );
    // The connection is still usable.
    client.ask("/v", "").answer().expect(200, "HIT", "GET /v 0");
}

#[test]
fn point_34c_http_1_0_clients_get_responses_without_chunks_and_in_order() {
    let origin = echoing_origin();
    let proxy = TestProxy::with_mode(&origin, Strict);
    proxy.get("/v").expect(200, "MISS", "GET /v 0");
    for (request, stays) in [("", false), ("Connection: keep-alive\r\n", true)] {
        let mut old = proxy.connect();
        let answer = old
            .send(format!("GET /v HTTP/1.0\r\n{request}\r\n"))
            .answer();
        answer.expect(200, "HIT", "GET /v 0");
        assert!(answer.field("transfer-encoding").is_none());
        if stays {
            old.ask("/v", "").answer().expect(200, "HIT", "GET /v 0");
        } else {
            assert!(old.is_closed());
        }
    }
}
