//! Requests as they reach the origin: methods, bodies, headers, Host, Via, and the headers that are removed.

use caching_proxy::policy::{Mode, Patterns};

use crate::{
    harness::TestProxy,
    origin::{Origin, Seen},
    ports,
};

fn seen_for(request: &str) -> Seen {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.connect().send(request).answer();
    origin.only()
}

#[test]
fn every_method_with_a_body_is_forwarded_and_never_cached() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    for method in [
        "POST", "PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "QUERY", "FOOBAR",
    ] {
        for nth in 0..2 {
            let target = format!("/{method}?x=1");
            let answer = proxy.request(
                method,
                &target,
                "Content-Type: text/plain\r\n",
                b"the body\0\xff",
            );
            answer.expect(200, "MISS", &format!("{method} {target} #{nth}"));
            let seen = origin.last();
            assert_eq!(
                (seen.method(), seen.body.as_slice()),
                (method.to_owned(), &b"the body\0\xff"[..])
            );
            assert_eq!(seen.field("content-type").as_deref(), Some("text/plain"));
        }
    }
}

#[test]
fn methods_without_a_body_are_forwarded_too() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for method in ["DELETE", "OPTIONS", "POST"] {
        assert_eq!(proxy.request(method, "/", "", b"").status(), 200);
        assert_eq!(
            (origin.last().method(), origin.last().body.len()),
            (method.to_owned(), 0)
        );
    }
}

#[test]
fn a_chunked_upload_arrives_whole() {
    let seen = seen_for(
        "POST /up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext=1\r\n \r\n5\r\nworld\r\n0\r\n\r\n",
    );
    assert_eq!(seen.body, b"hello world");
}

#[test]
fn a_get_with_a_body_bypasses_the_cache() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy
        .request("GET", "/", "", b"query one")
        .expect(200, "MISS", "GET / #0");
    proxy
        .request("GET", "/", "", b"query two")
        .expect(200, "MISS", "GET / #1");
    assert_eq!(origin.last().body, b"query two");
    proxy.get("/").expect(200, "MISS", "GET / #2");
}

#[test]
fn hop_by_hop_headers_of_the_request_are_not_forwarded() {
    let seen = seen_for(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, x-other, close\r\nX-Hop: 1\r\nX-Other: 2\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: trailers\r\nTrailer: X-T\r\nX-Kept: 3\r\n\r\n",
    );
    for name in [
        "x-hop",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
    ] {
        assert_eq!(seen.field(name), None, "{name}");
    }
    assert_eq!(seen.field("x-kept").as_deref(), Some("3"));
    assert!(
        seen.fields("connection")
            .iter()
            .all(|value| !value.to_ascii_lowercase().contains("x-hop")),
        "{seen:?}"
    );
}

#[test]
fn hop_by_hop_headers_of_the_response_are_neither_relayed_nor_stored() {
    let origin = Origin::counting(
        "Connection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nProxy-Authenticate: Basic\r\n\
         Proxy-Authentication-Info: a=b\r\nTrailer: X-T\r\nUpgrade: h2c\r\nProxy-Status: kept\r\nX-Kept: 2\r\n",
    );
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/");
        assert_eq!(answer.x_cache(), outcome);
        let gone = [
            "x-hop",
            "keep-alive",
            "proxy-connection",
            "proxy-authenticate",
            "proxy-authentication-info",
        ];
        for name in gone.into_iter().chain(["trailer", "upgrade"]) {
            assert_eq!(answer.field(name), None, "{name} on a {outcome}");
        }
        assert_eq!(
            (answer.field("x-kept"), answer.field("proxy-status")),
            (Some("2"), Some("kept"))
        );
    }
}

#[test]
fn the_origin_receives_its_own_host() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy
        .connect()
        .send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        .answer();
    let seen = origin.only();
    assert_eq!(
        seen.field("host"),
        Some(format!("127.0.0.1:{}", origin.port()))
    );
    assert_eq!(seen.field("x-forwarded-host"), None);
}

#[test]
fn preserve_host_forwards_the_clients_host_and_separates_hosts() {
    let origin = Origin::start(|exchange| {
        let host = exchange.request.field("host").unwrap_or_default();
        exchange.ok("", host);
    });
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.preserve_host = true)
        .start();
    let ask = |host: &str| {
        proxy
            .connect()
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .answer()
    };
    ask("one.example").expect(200, "MISS", "one.example");
    ask("two.example").expect(200, "MISS", "two.example");
    ask("one.example").expect(200, "HIT", "one.example");
    assert_eq!(
        origin.last().field("x-forwarded-host").as_deref(),
        Some("two.example")
    );
}

#[test]
fn the_origin_receives_the_clients_address_and_via() {
    let seen = seen_for("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    let via = seen.field("via").unwrap();
    assert!(via.starts_with("1.1 "), "{via}");
}

#[test]
fn forwarding_headers_of_the_client_are_not_forwarded() {
    let seen = seen_for(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n\
         X-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Host: evil.test\r\nX-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\n\r\n",
    );
    assert_eq!(seen.field("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto").as_deref(), Some("http"));
    let names = [
        "x-forwarded-host",
        "x-forwarded-port",
        "forwarded",
        "x-host",
        "x-original-url",
        "x-rewrite-url",
    ];
    for name in names {
        assert_eq!(seen.field(name), None, "{name}");
    }
}

#[test]
fn an_earlier_via_is_forwarded_before_ours() {
    let seen = seen_for("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.0 fred\r\n\r\n");
    let via = seen.fields("via").join(", ");
    let members: Vec<&str> = via.split(',').map(str::trim).collect();
    assert_eq!((members.len(), members[0]), (2, "1.0 fred"), "{via}");
}

#[test]
fn via_has_the_version_in_which_a_message_was_received() {
    let origin = Origin::start(|exchange| {
        let version = match exchange.target().as_str() {
            "/old" => "HTTP/1.0",
            _ => "HTTP/1.1",
        };
        exchange.send(format!(
            "{version} 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok"
        ));
    });
    let proxy = TestProxy::to(&origin);
    for (target, received) in [
        ("/old", "1.0 caching-proxy-"),
        ("/new", "1.1 caching-proxy-"),
    ] {
        for outcome in ["MISS", "HIT", "HIT", "HIT"] {
            let answer = proxy.get(target);
            answer.expect(200, outcome, "ok");
            let via = answer.field("via").unwrap();
            assert!(via.starts_with(received), "{target} {outcome}: {via}");
        }
    }
    for (version, received) in [
        ("HTTP/1.0", "1.0 caching-proxy-"),
        ("HTTP/1.1", "1.1 caching-proxy-"),
    ] {
        let seen = seen_for(&format!("GET / {version}\r\nHost: a\r\n\r\n"));
        let via = seen.field("via").unwrap();
        assert!(via.starts_with(received), "{version}: {via}");
    }
}

#[test]
fn names_that_fold_to_framing_headers_are_dropped() {
    let seen = seen_for(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent_Length: 9\r\nKeep_Alive: 1\r\n\
         Api_Key: k\r\nContent-Length: 2\r\n\r\nok",
    );
    for name in ["transfer_encoding", "content_length", "keep_alive"] {
        assert_eq!(seen.field(name), None, "{name}");
    }
    assert_eq!(seen.field("api_key").as_deref(), Some("k"));
    assert_eq!(seen.body, b"ok");
}

#[test]
fn responses_have_our_via() {
    let origin = Origin::counting("Via: 1.1 inner\r\n");
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.get("/");
        let via = answer.all("via").join(", ");
        assert_eq!(answer.x_cache(), outcome);
        assert_eq!(
            (via.split(',').count(), via.starts_with("1.1 inner")),
            (2, true),
            "{outcome}: {via}"
        );
    }
}

#[test]
fn a_request_in_a_loop_gets_508() {
    let listener = ports::listener();
    let own_url = format!("http://{}", listener.local_addr().unwrap());
    let proxy = TestProxy::on(listener, &own_url).start();
    assert_eq!(proxy.get("/").status(), 508);
    assert_eq!(proxy.request("POST", "/", "", b"x").status(), 508);
}

#[test]
fn two_chained_proxies_are_no_loop() {
    let origin = Origin::counting("");
    let inner = TestProxy::to(&origin);
    let outer = TestProxy::for_url(&format!("http://127.0.0.1:{}", inner.port)).start();
    assert_eq!(
        (outer.get("/").status(), outer.get("/").x_cache()),
        (200, "HIT")
    );
    assert_eq!(origin.count(), 1);
}

#[test]
fn connect_gets_405() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    // In CONNECT these fields say nothing about a body, so no body is awaited.
    for fields in [
        "",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let mut client = proxy.connect();
        client.send(format!(
            "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n{fields}\r\n"
        ));
        let answer = client.answer_to("CONNECT");
        let sentence = "CONNECT is not supported: this proxy forwards to its own origins only.\n";
        answer.expect(405, "MISS", sentence);
        let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
        assert_eq!(answer.field("allow"), Some(allowed));
        assert_eq!(answer.field("connection"), Some("close"));
        assert!(client.is_closed(), "{fields}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn the_path_prefix_of_the_origin_precedes_every_target() {
    let origin = Origin::counting("");
    let proxy = TestProxy::for_url(&format!("{}/api/v2/", origin.url())).start();
    for (asked, arrived) in [
        ("/products?x=1", "/api/v2/products?x=1"),
        ("/", "/api/v2/"),
        ("/?q", "/api/v2/?q"),
    ] {
        proxy
            .get(asked)
            .expect(200, "MISS", &format!("GET {arrived} #0"));
        assert_eq!(proxy.get(asked).x_cache(), "HIT");
    }
}

/// The header as the origin got it, in the body.
fn echoing(name: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let body = format!(
            "{} #{}",
            exchange.request.fields(name).join("|"),
            exchange.nth
        );
        exchange.ok("Cache-Control: max-age=60\r\n", body);
    })
}

#[test]
fn a_header_that_only_infrastructure_may_set_shapes_no_stored_response() {
    for name in [
        "X-Forwarded-Prefix",
        "X_Forwarded_Prefix",
        "CF-Connecting-IP",
        "Client-IP",
        "X-Cluster-Client-IP",
        "X-Backend-Host",
        "X-Middleware-Subrequest",
        "X-Original-URL",
    ] {
        let origin = echoing(name);
        let proxy = TestProxy::to(&origin);
        let fields = format!("{name}: evil\r\n");
        proxy.expect_gets("/", &[(&fields, "MISS", " #0"), ("", "HIT", " #0")]);
    }
}

#[test]
fn drop_headers_names_more_headers_that_are_not_forwarded() {
    let origin = echoing("x-device");
    let proxy = TestProxy::builder(&origin)
        .with(|config| config.drop_headers = Patterns::new(["x-dev*", "content-type"]))
        .start();
    proxy.expect_gets(
        "/",
        &[
            ("X-Device: phone\r\n", "MISS", " #0"),
            ("X_Device: phone\r\n", "HIT", " #0"),
            ("", "HIT", " #0"),
        ],
    );
    proxy.request(
        "POST",
        "/",
        "Content-Type: text/plain\r\nX-Kept: 1\r\n",
        b"body",
    );
    let seen = origin.last();
    assert_eq!(seen.field("content-type"), None);
    assert_eq!(seen.field("x-kept").as_deref(), Some("1"));
    assert_eq!(seen.body, b"body");
}

#[test]
fn a_method_override_arrives_as_sent_and_passes_the_cache_by() {
    for name in [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X_HTTP_Method_Override",
    ] {
        let fields = format!("{name}: DELETE\r\n");
        for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
            let origin = Origin::counting("Cache-Control: max-age=60\r\n");
            let proxy = TestProxy::with_mode(&origin, mode);
            for (nth, method) in ["GET", "GET", "HEAD"].iter().enumerate() {
                let answer = proxy.request(method, "/", &fields, b"");
                assert_eq!((answer.status(), answer.x_cache()), (200, "MISS"));
                let status = answer.field("cache-status").unwrap();
                assert!(status.ends_with("fwd=bypass; fwd-status=200; detail=method-override"));
                assert_eq!(origin.count(), nth + 1);
                assert_eq!(origin.last().field(name).as_deref(), Some("DELETE"));
            }
            // Neither does it take what is stored, nor does a GET take what it got.
            proxy.get("/").expect(200, "MISS", "GET / #3");
            proxy.get_with("/", &fields).expect(200, "MISS", "GET / #4");
            proxy.get("/").expect(200, "HIT", "GET / #3");
            let expected = format!("{name}: PUT\r\nCache-Control: only-if-cached\r\n");
            let refused = proxy.get_with("/", &expected).status();
            assert_eq!(refused, if mode == Mode::Always { 200 } else { 504 });
        }
    }
}

#[test]
fn a_post_with_a_method_override_counts_as_unsafe() {
    let origin = Origin::counting("Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::builder(&origin)
        .file("[[rules]]\npath = \"*\"\nstore_post = true\n")
        .start();
    proxy.get("/").expect(200, "MISS", "GET / #0");
    let fields = "X-HTTP-Method-Override: GET\r\n";
    let posted = proxy.request("POST", "/", fields, b"a");
    posted.expect(200, "MISS", "POST / #1");
    assert_eq!(
        origin.last().field("x-http-method-override").as_deref(),
        Some("GET")
    );
    assert_eq!(origin.last().body, b"a");
    proxy.get("/").expect(200, "MISS", "GET / #2");
    proxy
        .request("POST", "/", fields, b"a")
        .expect(200, "MISS", "POST / #3");
}
