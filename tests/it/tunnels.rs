//! Tunnels: WebSocket through the proxy.

use std::{net::TcpStream, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    client::{Client, Head},
    dashboard::DashboardProxy,
    harness::{TestProxy, until},
    instance::Home,
    origin::{Exchange, Gate, Origin},
};

const OFFER: &str = "Connection: keep-alive, Upgrade, X-Hop\r\nUpgrade: WebSocket\r\nX-Hop: 1\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Accepts the handshake.
fn accept(exchange: &mut Exchange<'_>) {
    exchange.send(ACCEPTED);
    exchange.close();
}

/// Accepts the handshake, and sends back what comes, in pieces of this size.
fn echo(exchange: &mut Exchange<'_>, piece_bytes: u64) {
    accept(exchange);
    loop {
        let bytes = exchange.read(piece_bytes);
        if bytes.is_empty() {
            return;
        }
        exchange.send(bytes);
    }
}

/// An origin that accepts handshakes and sends back what comes. Any other request gets a response.
fn echoing() -> Origin {
    Origin::start(|exchange| match exchange.request.field("upgrade") {
        Some(_) => echo(exchange, 1),
        None => {
            let body = format!("answer to {}", exchange.target());
            exchange.ok("Cache-Control: max-age=60\r\n", body);
        }
    })
}

/// A connection on which the handshake for `target` has succeeded, and the 101.
fn opened(port: u16, target: &str) -> (Client, Head) {
    let mut client = Client::connect(port);
    let head = client.ask(target, OFFER).head();
    assert_eq!(head.status, 101);
    (client, head)
}

/// Panics unless what is sent comes back.
#[track_caller]
fn assert_echoes(client: &mut Client, text: &str) {
    assert_eq!(client.send(text).read(text.len()), text);
}

#[test]
fn a_tunnel_carries_bytes_until_its_sides_close() {
    let origin = echoing();
    let proxy = TestProxy::for_url(&format!("{}/v2", origin.url())).start();
    let (mut client, head) = opened(proxy.port, "/live?room=1");
    assert_eq!(head.all("upgrade"), ["websocket"]);
    assert_eq!(head.all("connection"), ["upgrade"]);
    assert_eq!(
        head.all("sec-websocket-accept"),
        ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    );
    assert_eq!(
        (head.all("x-cache"), head.all("content-length")),
        (vec!["MISS"], vec![])
    );
    assert!(head.all("cache-status")[0].ends_with("; fwd=bypass; fwd-status=101"));
    let seen = origin.only();
    assert_eq!(seen.target(), "/v2/live?room=1");
    for (name, value) in [
        ("upgrade", Some("websocket")),
        ("connection", Some("Upgrade")),
        ("x-hop", None),
        ("sec-websocket-key", Some("dGhlIHNhbXBsZSBub25jZQ==")),
        ("content-length", None),
        ("x-forwarded-for", Some("127.0.0.1")),
    ] {
        assert_eq!(seen.field(name).as_deref(), value, "{name}");
    }
    assert!(seen.field("via").is_some());
    assert_echoes(&mut client, "\0\u{1}GET / HTTP/1.1\r\n\r\n");
    client.end_input();
    assert!(client.is_closed());
}

#[test]
fn bytes_that_came_with_the_heads_go_first_and_none_before_the_101() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.target() == "/no" {
                return exchange.answer("403 Forbidden", "", "no");
            }
            gate.wait();
            exchange.send(format!(
                "HTTP/1.1 103 Early Hints\r\n\r\n{ACCEPTED}from the origin"
            ));
            let early = exchange.read(17);
            exchange.send(early);
            exchange.close();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.ask("/yes", OFFER).send("early, ");
    origin.wait_for(1);
    client.send("and later.");
    gate.open();
    assert_eq!(client.head().status, 103);
    assert_eq!(client.head().status, 101);
    assert_eq!(client.read(32), "from the originearly, and later.");
    assert!(client.is_closed());
    // What follows a handshake that is refused is the next request.
    let request = format!("GET /no HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n");
    let mut client = proxy.connect();
    client.send(format!("{request}GET /no HTTP/1.1\r\nHost: a\r\n\r\n"));
    for _ in 0..2 {
        client.answer().expect(403, "MISS", "no");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.field("via").is_some()));
    assert_eq!(seen[2].field("upgrade"), None);
}

#[test]
fn responses_to_handshakes_name_the_proxy() {
    let origin = Origin::start(|exchange| {
        let host = exchange.request.field("host").unwrap_or_default();
        let lines = format!(
            "Location: http://{host}/login\r\nSet-Cookie: a=b; Domain=127.0.0.1; Path=/\r\n"
        );
        match &*exchange.target() {
            "/no" => exchange.answer("302 Found", &lines, ""),
            _ => {
                exchange.send(ACCEPTED.replacen("\r\n", &format!("\r\n{lines}"), 1));
                exchange.close();
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    for (target, status) in [("/no", 302), ("/yes", 101)] {
        let head = proxy.connect().ask(target, OFFER).head();
        assert_eq!(head.status, status);
        assert_eq!(head.all("location"), ["/login"]);
        assert_eq!(head.all("set-cookie"), ["a=b; Path=/"]);
    }
}

#[test]
fn large_transfers_go_both_ways_at_once() {
    let origin = Origin::start(|exchange| echo(exchange, 256 * 1024));
    let proxy = TestProxy::to(&origin);
    let stream = TcpStream::connect(("127.0.0.1", proxy.port)).unwrap();
    let mut sender = Client::over(stream.try_clone().unwrap());
    let mut reader = Client::over(stream);
    assert_eq!(sender.ask("/", OFFER).head().status, 101);
    let text: Arc<str> = (0..600_000)
        .map(|number| format!("{number:08}"))
        .collect::<String>()
        .into();
    let sending = std::thread::spawn({
        let text = Arc::clone(&text);
        move || {
            sender.send(&*text).end_input();
        }
    });
    assert!(reader.read(text.len()) == *text);
    sending.join().unwrap();
    assert!(reader.is_closed());
}

#[test]
fn a_101_that_the_request_does_not_offer_is_no_tunnel() {
    let gone = Gate::default();
    let origin = Origin::start({
        let gone = gone.clone();
        move |exchange| match exchange.target().as_str() {
            "/page" => exchange.ok("Cache-Control: no-store\r\n", "page"),
            target => {
                let fields = match target {
                    "/other" => "Upgrade: foo/2\r\nConnection: Upgrade\r\n",
                    "/none" => "",
                    _ => "Upgrade: websocket\r\n",
                };
                exchange.send(format!("HTTP/1.1 101 \r\n{fields}\r\nframe"));
                assert_eq!(exchange.read(1), b"");
                exchange.close();
                gone.open();
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    for (target, fields, sentence) in [
        (
            "/other",
            OFFER,
            "a protocol that the request does not offer",
        ),
        ("/none", OFFER, "a protocol that the request does not offer"),
        ("/unasked", "", "without a request to do so"),
    ] {
        let mut client = proxy.connect();
        client
            .ask(target, fields)
            .send("GET /page HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = client.answer();
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains(sentence), "{}", answer.text());
        client.answer().expect(200, "MISS", "page");
    }
    gone.wait();
    assert_eq!(proxy.stats().entries, 0);
}

#[test]
fn only_a_get_of_http_1_1_without_content_is_a_handshake() {
    let origin = echoing();
    let proxy = TestProxy::to(&origin);
    let inner = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n";
    let length = inner.len();
    for (request, body) in [
        (format!("GET /old HTTP/1.0\r\n{OFFER}\r\n"), ""),
        (format!("HEAD /head HTTP/1.1\r\nHost: a\r\n{OFFER}\r\n"), ""),
        (
            format!("POST /post HTTP/1.1\r\nHost: a\r\n{OFFER}Content-Length: {length}\r\n\r\n"),
            inner,
        ),
        (
            format!("GET /sized HTTP/1.1\r\nHost: a\r\n{OFFER}Content-Length: {length}\r\n\r\n"),
            inner,
        ),
        (
            format!(
                "GET /chunked HTTP/1.1\r\nHost: a\r\n{OFFER}Transfer-Encoding: chunked\r\n\r\n"
            ),
            "5\r\nevil\n\r\n0\r\n\r\n",
        ),
    ] {
        let method = request.split(' ').next().unwrap();
        let mut client = proxy.connect();
        let answer = client.send(format!("{request}{body}")).answer_to(method);
        assert_eq!(answer.status(), 200, "{request}");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 5);
    for seen in seen {
        assert_eq!(seen.field("upgrade"), None, "{}", seen.target());
    }
}

#[test]
fn a_reset_ends_its_tunnel_and_nothing_else() {
    let (doomed, told) = (Gate::default(), Gate::default());
    let origin = Origin::start({
        let (doomed, told) = (doomed.clone(), told.clone());
        move |exchange| match exchange.target().as_str() {
            "/doomed" => {
                accept(exchange);
                doomed.wait();
                exchange.reset();
            }
            "/left" => {
                accept(exchange);
                assert_eq!(exchange.read(1), b"");
                told.open();
            }
            _ => echo(exchange, 1),
        }
    });
    let proxy = TestProxy::to(&origin);
    let (mut other, _) = opened(proxy.port, "/other");
    let (mut client, _) = opened(proxy.port, "/doomed");
    doomed.open();
    assert!(client.is_closed());
    opened(proxy.port, "/left").0.reset();
    told.wait();
    assert_echoes(&mut other, "still there");
}

#[test]
fn tunnels_have_a_budget_of_their_own() {
    let origin = echoing();
    let limited = |config: &mut caching_proxy::config::Config| config.tunnels.max = 1;
    let proxy = TestProxy::builder(&origin).with(limited).start();
    let (mut first, _) = opened(proxy.port, "/one");
    let answer = proxy.connect().ask("/two", OFFER).answer();
    assert_eq!((answer.status(), origin.count()), (503, 1));
    let sentence = "All 1 tunnels (WebSocket) are in use; --max-tunnels allows more.\n";
    assert_eq!(answer.text(), sentence);
    proxy.get("/page").expect(200, "MISS", "answer to /page");
    assert_echoes(&mut first, "a");
    drop(first);
    until("a tunnel is free again", || {
        proxy.connect().ask("/two", OFFER).head().status == 101
    });
}

#[test]
fn an_idle_tunnel_ends_on_both_sides() {
    let told = Gate::default();
    let origin = Origin::start({
        let told = told.clone();
        move |exchange| {
            echo(exchange, 1);
            told.open();
        }
    });
    let idle = |config: &mut caching_proxy::config::Config| {
        config.tunnels.idle = Duration::from_millis(300);
        // It is about requests.
        config.timeout = Duration::from_millis(100);
    };
    let proxy = TestProxy::builder(&origin).with(idle).start();
    let (mut client, _) = opened(proxy.port, "/");
    assert_echoes(&mut client, "a");
    assert!(client.is_closed());
    told.wait();
}

#[test]
fn a_handshake_without_a_response_is_a_504_and_one_that_cannot_be_sent_a_502() {
    let origin = Origin::start(|exchange| exchange.stall());
    let hasty =
        |config: &mut caching_proxy::config::Config| config.timeout = Duration::from_millis(300);
    let proxy = TestProxy::builder(&origin).with(hasty).start();
    let answer = proxy.connect().ask("/", OFFER).answer();
    assert_eq!(answer.status(), 504);
    drop(origin);
    let answer = proxy.connect().ask("/", OFFER).answer();
    assert_eq!(answer.status(), 502);
}

#[test]
fn a_stop_ends_quiet_tunnels() {
    let origin = echoing();
    let proxy = TestProxy::to(&origin);
    let (mut client, _) = opened(proxy.port, "/");
    assert_echoes(&mut client, "a");
    proxy.stop();
    assert!(client.is_closed());
}

#[test]
fn tunnels_are_counted_and_have_one_line_in_the_log() {
    let origin = echoing();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let (mut client, _) = opened(proxy.port, "/chat?token=hush");
    assert_echoes(&mut client, "hello");
    let tunnels = || home.run_json(&["stats", "--json"])["tunnels"].clone();
    let counted = |open: u64| serde_json::json!({"open": open, "total": 1, "to_origin_bytes": 5, "to_client_bytes": 5});
    assert_eq!(tunnels(), counted(1));
    assert!(
        home.run_ok(&["stats"])
            .contains("Tunnels           1   open; 1 in all")
    );
    client.end_input();
    assert!(client.is_closed());
    proxy.log_line(&[
        "MISS 101 GET /chat?token=*** ",
        "ms 5B  tunnel closed by the client, 5B from the client",
    ]);
    assert_eq!(tunnels(), counted(0));
    let report: Value = home.run_json(&["stats", "--json"]);
    assert_eq!(
        (&report["hit_ratio"], &report["requests"]),
        (&Value::Null, &1.into())
    );
    assert_eq!(proxy.whole_log().matches("/chat").count(), 1);
}

#[test]
fn the_dashboard_shows_a_tunnel_when_it_begins_and_when_it_has_ended() {
    let origin = echoing();
    let home = Home::new();
    let watched = DashboardProxy::start(&home, &origin);
    let mut events = watched.events();
    let (mut client, _) = opened(watched.proxy.port, "/chat");
    events.wait_for("\"status\":101,\"outcome\":\"tunnel\",\"reason\":\"open\"");
    events.wait_for("\"tunnels\":{\"open\":1,\"total\":1");
    assert_echoes(&mut client, "hello");
    client.end_input();
    events.wait_for("\"outcome\":\"tunnel\",\"reason\":\"closed by the client\"");
    let metrics = watched.get("/metrics").text();
    for line in [
        "caching_proxy_requests_total{outcome=\"tunnel\",reason=\"\"} 1\n",
        "caching_proxy_open_tunnels 0\n",
        "caching_proxy_tunnel_to_origin_bytes_total 5\n",
        "caching_proxy_tunnel_to_client_bytes_total 5\n",
    ] {
        assert!(metrics.contains(line), "{line} is missing: {metrics}");
    }
}

#[test]
fn why_says_whether_a_handshake_is_tunnelled() {
    let origin = echoing();
    let home = Home::new();
    let _proxy = home.start(&origin.url(), &[]);
    let why = |fields: &[&str]| {
        let fields = fields.iter().flat_map(|field| ["-H", *field]);
        let arguments: Vec<&str> = ["why", "/ws", "--json"].into_iter().chain(fields).collect();
        home.run_json(&arguments)
    };
    let explained = why(&["Upgrade: websocket", "Connection: Upgrade"]);
    assert_eq!(explained["outcome"], "tunnel");
    let summary = explained["summary"].as_str().unwrap();
    assert!(
        summary.contains("tunnelled if the origin accepts it"),
        "{summary}"
    );
    for fields in [
        &["Upgrade: websocket"][..],
        &["Upgrade: foo", "Connection: Upgrade"],
        &[
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Content-Length: 5",
        ],
    ] {
        assert_eq!(why(fields)["outcome"], "forward", "{fields:?}");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_tunnel_that_is_open_stays_open_offline_and_the_command_says_so() {
    let origin = echoing();
    let home = Home::new();
    let proxy = home.start(&origin.url(), &[]);
    let (mut client, _) = opened(proxy.port, "/live");
    let gone = home.run(&["offline", "on"]);
    assert_eq!(gone.stderr, "WebSockets that are open and stay open: 1\n");
    assert_echoes(&mut client, "still there");
    let refused = proxy.get_with("/live", OFFER);
    assert_eq!(refused.status(), 504);
    client.end_input();
    assert!(client.is_closed());
}
