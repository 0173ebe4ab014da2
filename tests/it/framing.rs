//! Framing of messages by origins that make errors or disconnect.

use caching_proxy::policy::Mode;

use crate::{client::Ending, harness::TestProxy, origin::Origin};

#[test]
fn an_interim_response_does_not_shift_later_responses() {
    for interim in ["100 Continue", "102 Processing", "103 Early Hints"] {
        let origin = Origin::start(move |exchange| {
            if exchange.target() == "/hinted" {
                exchange.send(format!(
                    "HTTP/1.1 {interim}\r\nLink: </style.css>; rel=preload\r\n\r\n"
                ));
            }
            let target = exchange.target();
            exchange.ok("X-Final: 1\r\n", target);
        });
        let proxy = TestProxy::to(&origin);
        let hinted = proxy.get("/hinted");
        hinted.expect(200, "MISS", "/hinted");
        assert_eq!(
            (hinted.field("x-final"), hinted.field("link")),
            (Some("1"), None),
            "{interim}"
        );
        for number in 0..4 {
            let target = format!("/{number}");
            proxy.get(&target).expect(200, "MISS", &target);
        }
        proxy.get("/hinted").expect(200, "HIT", "/hinted");
    }
}

#[test]
fn interim_responses_in_pieces_are_separated_from_the_final_response() {
    let origin = Origin::start(|exchange| {
        exchange.trickle("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n");
        exchange.trickle("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody");
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    proxy.get("/").expect(200, "HIT", "body");
}

#[test]
fn interim_responses_never_reach_http_1_0_clients() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    let answer = proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(answer.interim.len(), 0);
    answer.expect(200, "MISS", "body");
}

#[test]
fn a_body_shorter_than_its_length_is_truncated_for_the_client_and_not_stored() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
            exchange.close();
        }
        _ => exchange.ok("", "whole"),
    });
    let proxy = TestProxy::to(&origin);
    let cut = proxy.get("/");
    assert_eq!((cut.status(), cut.ending), (200, Ending::Cut));
    assert!("only this".starts_with(&cut.text()), "{}", cut.text());
    proxy.get("/").expect(200, "MISS", "whole");
}

#[test]
fn a_truncated_chunked_body_is_truncated_for_the_client_and_not_stored() {
    // In the middle of a chunk, between two chunks, and before the empty line at the end.
    for (index, tail) in ["a\r\nonly", "4\r\nonly\r\n", "4\r\nonly\r\n0\r\n"]
        .into_iter()
        .enumerate()
    {
        let origin = Origin::start(move |exchange| match exchange.nth {
            0 => {
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{tail}"
                ));
                exchange.close();
            }
            _ => exchange.ok("", "whole"),
        });
        let proxy = TestProxy::to(&origin);
        assert_eq!(proxy.get("/").ending, Ending::Cut, "case {index}");
        proxy.get("/").expect(200, "MISS", "whole");
    }
}

#[test]
fn a_body_cut_by_a_reset_is_truncated_for_the_client_and_not_stored() {
    for framing in [
        "Content-Length: 100",
        "Transfer-Encoding: chunked",
        "Connection: close",
    ] {
        let origin = Origin::start(move |exchange| match exchange.nth {
            0 => {
                exchange.send(format!(
                    "HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n"
                ));
                exchange.reset();
            }
            _ => exchange.ok("", "whole"),
        });
        let proxy = TestProxy::to(&origin);
        let mut client = proxy.begin("/", "");
        // A reset may overtake the head. Then the client gets an error and no truncated response.
        let answer = client.answer();
        assert!(
            answer.status() == 502 || answer.ending == Ending::Cut,
            "{framing}: {answer:?}"
        );
        proxy.get("/").expect(200, "MISS", "whole");
    }
}

#[test]
fn an_http_1_0_client_detects_a_truncated_body_of_known_length() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    let answer = proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(
        (answer.field("content-length"), answer.ending),
        (Some("100"), Ending::Cut)
    );
}

#[test]
fn a_close_delimited_body_arrives_whole_and_is_stored() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let origin = Origin::start(move |exchange| {
            exchange.send(format!("{version} 200 OK\r\nX-A: 1\r\n\r\n"));
            exchange.send("up to ");
            exchange.send("the end");
            exchange.close();
        });
        let proxy = TestProxy::to(&origin);
        proxy.get("/").expect(200, "MISS", "up to the end");
        proxy.get("/").expect(200, "HIT", "up to the end");
    }
}

#[test]
fn an_http_1_0_origin_with_keep_alive_is_understood() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody");
    });
    let proxy = TestProxy::to(&origin);
    for number in 0..3 {
        proxy.get(&format!("/{number}")).expect(200, "MISS", "body");
    }
}

#[test]
fn an_early_refusal_of_an_upload_reaches_the_client() {
    let origin = Origin::without_reading(|exchange| {
        exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big");
        // The connection stays open, so only the early response makes the proxy stop sending.
        exchange.stall();
    });
    let proxy = TestProxy::to(&origin);
    let upload = vec![b'u'; 8 * 1024 * 1024];
    let mut client = proxy.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    ));
    client.send_until_refused(&upload);
    client.answer().expect(413, "MISS", "too big");
}

#[test]
fn an_early_refusal_followed_by_a_reset_does_not_block_the_client() {
    let origin = Origin::without_reading(|exchange| {
        exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\ntoo big");
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    let upload = vec![b'u'; 8 * 1024 * 1024];
    let mut client = proxy.connect();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        upload.len()
    ));
    client.send_until_refused(&upload);
    // The kernel may discard the refusal if the origin closes with unread data.
    let status = client.answer().status();
    assert!(matches!(status, 413 | 502), "{status}");
}

#[test]
fn bytes_after_the_content_length_are_not_the_next_response() {
    let origin = Origin::start(|exchange| {
        let target = exchange.target();
        let surplus = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";
        let body = format!("{target:0>5}");
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}{surplus}"
        ));
    });
    let proxy = TestProxy::to(&origin);
    for round in ["MISS", "HIT"] {
        for number in 1..6 {
            proxy
                .get(&format!("/{number}"))
                .expect(200, round, &format!("000/{number}"));
        }
    }
}

#[test]
fn a_content_length_beside_chunks_is_dropped_and_the_connection_is_closed() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk("whole body");
        exchange.chunk("");
    });
    let proxy = TestProxy::to(&origin);
    for number in 0..3 {
        proxy
            .get(&format!("/{number}"))
            .expect(200, "MISS", "whole body");
        let answer = proxy.get(&format!("/{number}"));
        answer.expect(200, "HIT", "whole body");
        assert!(matches!(answer.field("content-length"), None | Some("10")));
    }
    let connections: Vec<usize> = origin.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
}

/// An origin that sends these bytes for every request, and closes the connection if nothing else marks the end.
fn origin_sending(answer: &'static str) -> Origin {
    Origin::start(move |exchange| {
        exchange.send(answer);
        if answer.contains("Transfer-Encoding: foo") {
            exchange.close();
        }
    })
}

fn connections(origin: &Origin) -> Vec<usize> {
    origin.seen().iter().map(|seen| seen.connection).collect()
}

#[test]
fn a_misframed_response_is_stored_and_its_connection_is_closed() {
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        for (answer, body) in [
            (
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5\r\n\r\nhello, and more",
                "hello",
            ),
            (
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n",
                "hello",
            ),
            (
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\n",
                "hello",
            ),
            (
                "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\nsurplus",
                "hello",
            ),
        ] {
            let origin = origin_sending(answer);
            let proxy = TestProxy::with_mode(&origin, mode);
            for target in ["/1", "/2"] {
                for outcome in ["MISS", "HIT"] {
                    let relayed = proxy.get(target);
                    relayed.expect(200, outcome, body);
                    assert!(matches!(relayed.field("content-length"), None | Some("5")));
                }
            }
            assert_eq!(connections(&origin), [0, 1], "{mode:?} {answer:?}");
        }
    }
}

#[test]
fn a_body_in_another_transfer_coding_is_refused_and_not_stored_under_any_policy() {
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        for coding in [
            "foo",
            "gzip",
            "chunked, gzip",
            "gzip, chunked",
            "chunked;q=1",
        ] {
            let origin = Origin::start(move |exchange| match exchange.nth {
                0 => {
                    exchange.send(format!(
                        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: {coding}\r\n\r\n\
                         5\r\ncoded\r\n0\r\n\r\n"
                    ));
                    exchange.close();
                }
                _ => exchange.ok("Cache-Control: max-age=60\r\n", "plain"),
            });
            let proxy = TestProxy::with_mode(&origin, mode);
            let sentence = "The origin's response is not valid HTTP: it has a transfer coding other than chunked.\n";
            proxy.get("/").expect(502, "MISS", sentence);
            proxy.get("/").expect(200, "MISS", "plain");
            assert_eq!(connections(&origin), [0, 1], "{mode:?} {coding}");
        }
    }
}

#[test]
fn a_truncated_body_is_truncated_for_the_client_and_not_stored_under_any_policy() {
    for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
        for framing in [
            "Content-Length: 100\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n64\r\n",
            "Transfer-Encoding: chunked\r\n\r\n9\r\n",
        ] {
            let origin = Origin::start(move |exchange| match exchange.nth {
                0 | 1 => {
                    exchange.send(format!(
                        "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{framing}only this"
                    ));
                    exchange.close();
                }
                _ => exchange.ok("Cache-Control: max-age=60\r\n", "whole"),
            });
            let proxy = TestProxy::with_mode(&origin, mode);
            for _ in 0..2 {
                let cut = proxy.get("/");
                assert_eq!(
                    (cut.x_cache(), cut.ending),
                    ("MISS", Ending::Cut),
                    "{framing}"
                );
                assert!("only this".starts_with(&cut.text()), "{}", cut.text());
            }
            proxy.get("/").expect(200, "MISS", "whole");
            proxy.get("/").expect(200, "HIT", "whole");
        }
    }
}

#[test]
fn equal_content_lengths_are_merged_and_different_ones_refused() {
    let origin = Origin::start(|exchange| {
        let second = if exchange.target() == "/equal" { 4 } else { 5 };
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: {second}\r\n\r\nbody"
        ));
        exchange.close();
    });
    let proxy = TestProxy::to(&origin);
    let answer = proxy.get("/equal");
    answer.expect(200, "MISS", "body");
    assert_eq!(answer.all("content-length"), ["4"]);
    assert_eq!(proxy.get("/unequal").status(), 502);
}

#[test]
fn a_response_in_single_bytes_is_understood() {
    let origin = Origin::start(|exchange| {
        match exchange.target().as_str() {
        "/length" => exchange.trickle("HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhello"),
        _ => exchange.trickle("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nhel\r\n2\r\nlo\r\n0\r\nX-T: 1\r\n\r\n"),
    }
    });
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        proxy.get("/length").expect(200, outcome, "hello");
        proxy.get("/chunked").expect(200, outcome, "hello");
    }
}

#[test]
fn responses_without_a_body_leave_the_connection_reusable() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/204" => exchange.send("HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n"),
        "/304" => exchange
            .send("HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "/head" => exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        _ => exchange.ok("", "in step"),
    });
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.get("/204").status(), 204);
    proxy.get("/1").expect(200, "MISS", "in step");
    assert_eq!(
        proxy.get_with("/304", "If-None-Match: \"v\"\r\n").status(),
        304
    );
    proxy.get("/2").expect(200, "MISS", "in step");
    let head = proxy.request("HEAD", "/head", "", b"");
    assert_eq!(
        (head.status(), head.field("content-length")),
        (200, Some("10"))
    );
    proxy.get("/3").expect(200, "MISS", "in step");
}

#[test]
fn a_head_request_does_not_wait_for_a_chunked_body() {
    let origin = Origin::start(|exchange| match exchange.request.method().as_str() {
        "HEAD" => exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        _ => exchange.ok("", "in step"),
    });
    // The other policies fetch the whole for a HEAD.
    let proxy = TestProxy::with_mode(&origin, Mode::Strict);
    assert_eq!(proxy.request("HEAD", "/", "", b"").status(), 200);
    proxy.get("/").expect(200, "MISS", "in step");
}

#[test]
fn smuggled_requests_are_refused() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let twice = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody!";
    let odd = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n";
    let hosts = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n";
    let hostless = "GET / HTTP/1.1\r\n\r\n";
    for request in [both, twice, odd, hosts, hostless] {
        assert_eq!(
            proxy.connect().send(request).answer().status(),
            400,
            "{request:?}"
        );
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_large_chunked_response_is_streamed_and_stored_whole() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..200_u32 {
            exchange.chunk(number.to_be_bytes().repeat(4000));
        }
        exchange.chunk("");
    });
    let expected: Vec<u8> = (0..200_u32)
        .flat_map(|number| number.to_be_bytes().repeat(4000))
        .collect();
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/");
        assert_eq!((answer.x_cache(), answer.ending), (outcome, Ending::Whole));
        assert!(answer.body == expected, "the body of a {outcome} differs");
    }
}
