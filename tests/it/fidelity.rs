//! Messages arrive unchanged, and no request reaches another host.

use crate::{harness::TestProxy, origin::Origin};

#[test]
fn unusual_targets_arrive_byte_for_byte() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let targets = [
        "//double//slash",
        "//evil.test/x",
        "/a;b=c;d",
        "/%zz",
        "/a?",
        "/a??b=?",
        "/a/../b/./c",
        "/..",
        "/%2e%2e/%2F",
        "/a%20b+c",
        "/?",
        "/a?x=http://b.test/?y",
        "/~user/(x)/!$&'*,=:@",
        "/A%C3%A4",
        "/*",
    ];
    for target in targets {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("GET {target} #0"));
        assert_eq!(origin.last().target(), target);
        assert_eq!(proxy.get(target).x_cache(), "HIT", "{target}");
    }
}

#[test]
fn options_star_arrives_unchanged() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.request("OPTIONS", "*", "", b"").status(), 200);
    assert_eq!(
        (origin.only().method(), origin.only().target()),
        ("OPTIONS".to_owned(), "*".to_owned())
    );
}

#[test]
fn a_get_has_no_added_headers_of_a_client_library() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy
        .connect()
        .send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .answer();
    let seen = origin.only();
    let invented = [
        "content-length",
        "transfer-encoding",
        "accept-encoding",
        "accept",
        "user-agent",
        "expect",
    ];
    for name in invented {
        assert_eq!(seen.field(name), None, "{name}");
    }
}

#[test]
fn a_response_gets_no_added_content_type_and_keeps_its_date() {
    let origin = Origin::counting("Date: Sun, 06 Nov 2022 08:49:37 GMT\r\nServer: own\r\n");
    let proxy = TestProxy::to(&origin);
    for _ in 0..2 {
        let answer = proxy.get("/");
        assert_eq!(answer.field("content-type"), None);
        assert_eq!(answer.field("date"), Some("Sun, 06 Nov 2022 08:49:37 GMT"));
        assert_eq!(answer.field("server"), Some("own"));
    }
}

#[test]
fn repeated_request_headers_stay_repeated() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    proxy.get_with(
        "/",
        "X-A: 1\r\nAccept: text/html\r\nX-A: 2\r\nAccept: text/plain;q=0.5\r\n",
    );
    assert_eq!(origin.only().fields("x-a"), ["1", "2"]);
    assert_eq!(
        origin.only().fields("accept"),
        ["text/html", "text/plain;q=0.5"]
    );
}

#[test]
fn latin_1_values_arrive_unchanged_in_both_directions() {
    let origin = Origin::start(|exchange| {
        exchange.send(b"HTTP/1.1 200 OK\r\nX-City: M\xfcnchen\r\nContent-Length: 2\r\n\r\nok");
    });
    let proxy = TestProxy::to(&origin);
    for _ in 0..2 {
        let mut client = proxy.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Street: Stra\xdfe\r\n\r\n");
        assert_eq!(client.answer().field("x-city"), Some("M\u{fc}nchen"));
    }
    assert_eq!(
        origin.only().field("x-street").as_deref(),
        Some("Stra\u{df}e")
    );
}

#[test]
fn a_request_in_absolute_form_reaches_neither_another_host_nor_the_origin_in_its_name() {
    let decoy = Origin::counting("");
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let evil = format!("127.0.0.1:{}", decoy.port());
    let mut client = proxy.connect();
    client.send(format!(
        "GET http://{evil}/a?b HTTP/1.1\r\nHost: {evil}\r\n\r\n"
    ));
    assert_eq!(client.answer().status(), 421);
    assert_eq!((decoy.count(), origin.count()), (0, 0));
    let own = format!("127.0.0.1:{}", proxy.port);
    let mut client = proxy.connect();
    client.send(format!(
        "GET http://{own}/a?b HTTP/1.1\r\nHost: {evil}\r\n\r\n"
    ));
    client.answer().expect(200, "MISS", "GET /a?b #0");
    assert_eq!(
        origin.only().field("host"),
        Some(format!("127.0.0.1:{}", origin.port()))
    );
    // The same resource in the usual form has the same key.
    assert_eq!(proxy.get("/a?b").x_cache(), "HIT");
    assert_eq!(decoy.count(), 0);
}

#[test]
fn no_header_or_target_makes_the_proxy_contact_another_host() {
    let decoy = Origin::counting("");
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let evil = format!("127.0.0.1:{}", decoy.port());
    let tricks = [
        format!("GET /1 HTTP/1.1\r\nHost: {evil}\r\n\r\n"),
        format!("GET //{evil}/2 HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!(
            "GET /3 HTTP/1.1\r\nHost: a\r\nX-Forwarded-Host: {evil}\r\nForwarded: host={evil}\r\n\r\n"
        ),
        format!("GET /4 HTTP/1.1\r\nHost: a@{evil}\r\n\r\n"),
        format!("GET @{evil}/5 HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /6@{evil}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET http://a@{evil}/7 HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET https://{evil}/8 HTTP/1.1\r\nHost: {evil}\r\n\r\n"),
        format!("GET :{}/9 HTTP/1.1\r\nHost: a\r\n\r\n", decoy.port()),
        format!("OPTIONS http://{evil} HTTP/1.1\r\nHost: {evil}\r\n\r\n"),
        format!("POST http://{evil}/10 HTTP/1.1\r\nHost: {evil}\r\nContent-Length: 1\r\n\r\nx"),
    ];
    for trick in &tricks {
        let status = proxy.connect().send(trick).answer().status();
        assert!(matches!(status, 200 | 400 | 421), "{status} for {trick:?}");
    }
    assert_eq!(decoy.count(), 0, "{:?}", decoy.seen());
    let own_host = format!("127.0.0.1:{}", origin.port());
    for seen in origin.seen() {
        assert_eq!(seen.field("host").as_ref(), Some(&own_host), "{seen:?}");
        assert!(
            seen.target().starts_with('/') || seen.target() == "*",
            "{seen:?}"
        );
    }
}

#[test]
fn a_redirect_to_another_host_is_not_followed() {
    let decoy = Origin::counting("");
    let location = format!("Location: {}/x\r\n", decoy.url());
    let origin = Origin::start(move |exchange| exchange.answer("302 Found", &location, ""));
    let proxy = TestProxy::to(&origin);
    assert_eq!(proxy.get("/").status(), 302);
    assert_eq!(decoy.count(), 0);
}

#[test]
fn no_path_is_reserved_for_the_proxy() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    for target in [
        "/clear",
        "/clear-cache",
        "/_cache",
        "/__cache/clear",
        "/metrics",
        "/healthz",
        "/admin",
        "/purge",
    ] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("GET {target} #0"));
    }
    proxy
        .request("PURGE", "/clear", "", b"")
        .expect(200, "MISS", "PURGE /clear #1");
}

#[test]
fn http_1_0_clients_get_no_chunked_body() {
    let origin = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        exchange.chunk("hello ");
        exchange.chunk("world");
        exchange.chunk("");
    });
    let proxy = TestProxy::to(&origin);
    for outcome in ["MISS", "HIT"] {
        let answer = proxy.connect().send("GET / HTTP/1.0\r\n\r\n").answer();
        assert_eq!(answer.all("transfer-encoding"), Vec::<&str>::new());
        answer.expect(200, outcome, "hello world");
    }
}

#[test]
fn http_1_0_connections_close_unless_keep_alive_is_requested() {
    let origin = Origin::counting("");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client
        .send("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        .answer()
        .expect(200, "MISS", "GET / #0");
    assert!(client.is_closed());
}
