//! The basic behaviour of a caching proxy, with the cases that simple caching proxies get wrong.

use caching_proxy::policy::Mode;

use crate::{client::Ending, harness::TestProxy, origin::Origin};

#[test]
fn the_second_get_is_a_hit_and_does_not_reach_the_origin() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy
        .get("/products?limit=1")
        .expect(200, "MISS", "GET /products?limit=1 #0");
    proxy
        .get("/products?limit=1")
        .expect(200, "HIT", "GET /products?limit=1 #0");
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_client_that_received_a_whole_response_finds_it_stored() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for number in 0..50 {
        let target = format!("/{number}");
        assert_eq!(proxy.get(&target).x_cache(), "MISS");
        assert_eq!(proxy.get(&target).x_cache(), "HIT", "{target}");
    }
}

#[test]
fn the_query_is_part_of_the_key() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for target in [
        "/p?a=1",
        "/p?a=2",
        "/p",
        "/p?",
        "/P",
        "/p/",
        "/p?A=1",
        "/p?a=1&b=2",
        "/p?b=2&a=1",
    ] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("GET {target} #0"));
    }
    assert_eq!(proxy.get("/p?a=2").text(), "GET /p?a=2 #0");
    assert_eq!(origin.count(), 9);
}

#[test]
fn a_hit_has_the_headers_of_the_origin_in_order_with_duplicates() {
    let fields = "Content-Type: application/json\r\nX-Twice: one\r\nETag: \"v1\"\r\nX-Twice: two, three\r\nLink: </a>\r\n";
    let origin = Origin::counting(fields);
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/");
        assert_eq!(answer.x_cache(), outcome);
        assert_eq!(
            answer.field("content-type"),
            Some("application/json"),
            "{outcome}"
        );
        assert_eq!(answer.field("etag"), Some("\"v1\""), "{outcome}");
        assert_eq!(answer.field("link"), Some("</a>"), "{outcome}");
        assert_eq!(answer.all("x-twice"), ["one", "two, three"], "{outcome}");
        assert_eq!(answer.field("content-length"), Some("8"), "{outcome}");
    }
}

#[test]
fn age_is_unchanged_on_a_miss_and_sent_once_on_a_hit() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/aged" => exchange.ok("Cache-Control: max-age=600\r\nAge: 100\r\n", ""),
        _ => exchange.ok("Cache-Control: max-age=600\r\n", ""),
    });
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.get("/aged").field("age"), Some("100"));
    let age: u64 = proxy.get("/aged").field("age").unwrap().parse().unwrap();
    assert!((100..160).contains(&age), "{age}");
    assert_eq!(proxy.get("/fresh").field("age"), None);
    let age: u64 = proxy.get("/fresh").field("age").unwrap().parse().unwrap();
    assert!(age < 60, "{age}");
}

#[test]
fn cache_status_distinguishes_hits_and_forwarded_requests() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let miss = proxy.get("/");
    let miss = miss.field("cache-status").unwrap();
    assert!(miss.contains("; fwd=uri-miss"), "{miss}");
    let hit = proxy.get("/");
    let hit = hit.field("cache-status").unwrap();
    assert!(hit.contains("; hit") && !hit.contains("fwd="), "{hit}");
    let post = proxy.request("POST", "/", "", b"x");
    let post = post.field("cache-status").unwrap();
    assert!(post.contains("; fwd=method"), "{post}");
}

#[test]
fn binary_bodies_arrive_byte_for_byte() {
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..700_001_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let bodies = [every_byte, large, b"\r\n\r\n0\r\n\r\n".to_vec(), Vec::new()];
    let origin = Origin::start({
        let bodies = bodies.clone();
        move |exchange| {
            let index: usize = exchange.target()[1..].parse().unwrap();
            exchange.ok("Content-Type: image/png\r\n", &bodies[index]);
        }
    });
    let proxy = TestProxy::to(&origin);
    for (index, body) in bodies.iter().enumerate() {
        for outcome in ["MISS", "HIT"] {
            let answer = proxy.get(&format!("/{index}"));
            assert_eq!((answer.x_cache(), answer.ending), (outcome, Ending::Whole));
            assert!(answer.body == *body, "body {index} of a {outcome} differs");
        }
    }
}

#[test]
fn errors_of_the_origin_are_relayed_and_not_stored() {
    let statuses = [
        "400", "401", "403", "408", "418", "429", "500", "502", "503", "504", "599",
    ];
    let origin = Origin::start(|exchange| {
        let status = exchange.target()[1..].to_owned();
        exchange.answer(
            &format!("{status} Whatever"),
            "",
            format!("error #{}", exchange.nth),
        );
    });
    let proxy = TestProxy::to(&origin);
    for status in statuses {
        for nth in 0..2 {
            proxy.get(&format!("/{status}")).expect(
                status.parse().unwrap(),
                "MISS",
                &format!("error #{nth}"),
            );
        }
    }
}

#[test]
fn a_404_is_stored_for_one_minute() {
    let origin = Origin::start(|exchange| {
        exchange.answer("404 Not Found", "", format!("#{}", exchange.nth));
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(404, "MISS", "#0");
    let hit = proxy.get("/");
    hit.expect(404, "HIT", "#0");
    let status = hit.field("cache-status").unwrap_or_default();
    // A few seconds may have passed.
    let ttl = status.split("ttl=").nth(1).and_then(|ttl| ttl.parse().ok());
    assert!(matches!(ttl, Some(31..=60)), "{status}");
}

#[test]
fn variants_named_by_vary_are_stored_separately() {
    let origin = Origin::start(|exchange| {
        let gzip = exchange
            .request
            .field("accept-encoding")
            .is_some_and(|value| value.contains("gzip"));
        match gzip {
            true => exchange.ok(
                "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n",
                b"\x1f\x8b\x08gzipped",
            ),
            false => exchange.ok("Vary: Accept-Encoding\r\n", "plain"),
        }
    });
    let proxy = TestProxy::to(&origin);
    let gzip = "Accept-Encoding: gzip\r\n";
    for outcome in ["MISS", "HIT", "HIT"] {
        let answer = proxy.get_with("/", gzip);
        assert_eq!(
            (answer.x_cache(), answer.field("content-encoding")),
            (outcome, Some("gzip"))
        );
        assert_eq!(answer.body, b"\x1f\x8b\x08gzipped");
        let answer = proxy.get("/");
        assert_eq!(
            (answer.x_cache(), answer.field("content-encoding")),
            (outcome, None)
        );
        assert_eq!(answer.body, b"plain");
    }
    assert_eq!(origin.count(), 2);
}

#[test]
fn a_response_with_vary_star_is_never_reused() {
    let origin = Origin::counting("Vary: *\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "GET / #0");
    proxy.get("/").expect(200, "MISS", "GET / #1");
}

#[test]
fn every_set_cookie_header_is_relayed() {
    let origin =
        Origin::counting("Set-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nSet-Cookie: a=3\r\n");
    let proxy = TestProxy::to(&origin);
    assert_eq!(
        proxy.get("/").all("set-cookie"),
        ["a=1; Path=/", "b=2", "a=3"]
    );
}

#[test]
fn head_is_served_from_a_stored_get() {
    let origin = Origin::counting("ETag: \"v\"\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/");
    let mut client = proxy.connect();
    client.send(
        "HEAD / HTTP/1.1\r\nHost: proxy.test\r\n\r\nGET /next HTTP/1.1\r\nHost: proxy.test\r\n\r\n",
    );
    let head = client.answer_to("HEAD");
    assert_eq!((head.status(), head.x_cache()), (200, "HIT"));
    assert_eq!(
        (head.field("content-length"), head.field("etag")),
        (Some("8"), Some("\"v\""))
    );
    // A body sent with the response would arrive here.
    client.answer().expect(200, "MISS", "GET /next #0");
    assert_eq!(origin.count(), 2);
}

#[test]
fn strict_forwards_a_head_without_a_stored_get_and_stores_nothing() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::with_mode(&origin, Mode::Strict);
    let head = proxy.request("HEAD", "/", "", b"");
    assert_eq!(
        (head.status(), head.x_cache(), head.field("content-length")),
        (200, "MISS", Some("9"))
    );
    assert_eq!(origin.last().method(), "HEAD");
    proxy.get("/").expect(200, "MISS", "GET / #1");
}

#[test]
fn redirects_are_relayed_to_the_client() {
    let origin = Origin::start(|exchange| match exchange.target().as_str() {
        "/moved" => exchange.answer("301 Moved Permanently", "Location: /there\r\n", "moved"),
        _ => exchange.answer(
            "302 Found",
            "Location: https://elsewhere.test/x?y\r\n",
            "found",
        ),
    });
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        assert_eq!(
            proxy
                .get("/moved")
                .expect(301, outcome, "moved")
                .field("location"),
            Some("/there")
        );
    }
    for _ in 0..2 {
        let found = proxy.get("/found");
        assert_eq!(
            found.expect(302, "MISS", "found").field("location"),
            Some("https://elsewhere.test/x?y")
        );
    }
    assert_eq!(origin.count(), 3);
}

#[test]
fn unknown_status_codes_are_relayed_unchanged() {
    let origin = Origin::start(|exchange| {
        exchange.answer(
            &format!("{} Odd", &exchange.target()[1..]),
            "Cache-Control: max-age=60\r\n",
            "body",
        );
    });
    let proxy = TestProxy::to(&origin);
    for status in [299, 399, 499, 599] {
        proxy
            .get(&format!("/{status}"))
            .expect(status, "MISS", "body");
        proxy
            .get(&format!("/{status}"))
            .expect(status, "HIT", "body");
    }
}

#[test]
fn one_client_connection_carries_many_requests() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for round in 0..3 {
        for number in 0..5 {
            let answer = client.ask(&format!("/{number}"), "").answer();
            let outcome = if round == 0 { "MISS" } else { "HIT" };
            answer.expect(200, outcome, &format!("GET /{number} #0"));
        }
    }
    assert_eq!(origin.count(), 5);
}

#[test]
fn pipelined_requests_get_their_responses_in_order() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    for (target, outcome) in [("/1", "MISS"), ("/2", "MISS"), ("/1", "HIT")] {
        client
            .answer()
            .expect(200, outcome, &format!("GET {target} #0"));
    }
}

#[test]
fn pipelined_gets_and_heads_keep_their_own_framing() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.get("/stored");
    let mut round = 0;
    for methods in [["GET", "HEAD"], ["HEAD", "GET"]] {
        for _ in 0..10 {
            round += 1;
            let fresh = format!("/{round}");
            for targets in [["/stored", fresh.as_str()], [fresh.as_str(), "/stored"]] {
                let requests: Vec<String> = methods
                    .iter()
                    .zip(targets)
                    .map(|(method, target)| {
                        format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n")
                    })
                    .collect();
                let mut client = proxy.connect();
                client.send(requests.concat());
                for (method, target) in methods.iter().zip(targets) {
                    let answer = client.answer_to(method);
                    let has_body = *method == "GET";
                    assert_eq!(answer.status(), 200, "{methods:?} {targets:?}");
                    assert_eq!(
                        answer.text().is_empty(),
                        !has_body,
                        "{methods:?} {targets:?} {target}"
                    );
                }
            }
        }
    }
}
