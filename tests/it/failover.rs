//! Lists of origins: the first healthy one gets a request, and the next one if that fails.

use std::time::Duration;

use crate::{
    client::Answer,
    harness::TestProxy,
    instance::{Home, Instance},
    origin::{Exchange, Origin},
    ports::{self, BlackHole},
};

/// An origin that responds with its name, the target and the number of the request for it.
fn named(name: &'static str) -> Origin {
    Origin::start(move |exchange| {
        let body = format!("{name} {} #{}", exchange.target(), exchange.nth);
        exchange.ok("", body);
    })
}

/// An origin that responds with the length of the request's body, and accepts handshakes.
fn counting_bytes(exchange: &mut Exchange<'_>) {
    match exchange.request.field("upgrade") {
        Some(_) => {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
            exchange.close();
        }
        None => {
            let body = format!("{} bytes", exchange.request.body.len());
            exchange.ok("", body);
        }
    }
}

/// A route with a list of origins.
fn list(path: &str, urls: &[&str]) -> String {
    format!("[[routes]]\npath = \"{path}\"\norigin = {urls:?}\n")
}

#[test]
fn the_next_origin_of_a_list_answers_while_the_first_cannot_be_reached() {
    let (a, b) = (named("a"), named("b"));
    let dead = format!("http://127.0.0.1:{}", ports::free_port());
    let file = list("/api/*", &[&dead, &b.url()]);
    let proxy = TestProxy::builder(&a).file(&file).start();
    for target in ["/api/1", "/api/2", "/api/3"] {
        proxy
            .get(target)
            .expect(200, "MISS", &format!("b {target} #0"));
        proxy
            .get(target)
            .expect(200, "HIT", &format!("b {target} #0"));
    }
    let host = format!("127.0.0.1:{}", b.port());
    assert_eq!(b.last().field("host"), Some(host));
    let post = proxy.request("POST", "/api/1", "", b"x");
    post.expect(200, "MISS", "b /api/1 #1");
}

#[test]
fn a_failure_moves_an_idempotent_request_on_and_no_other() {
    for (head, is_moved) in [
        ("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 404 None\r\nContent-Length: 0\r\n\r\n", false),
        ("no HTTP\r\n\r\n", true),
    ] {
        let (a, b) = (
            Origin::start(move |exchange| exchange.send(head)),
            named("b"),
        );
        let file = list("/api/*", &[&a.url(), &b.url()]);
        let proxy = TestProxy::builder(&b).file(&file).start();
        let expected = match is_moved {
            true => 200,
            false => 404,
        };
        assert_eq!(proxy.get("/api/x").status(), expected, "{head:?}");
        assert_eq!(a.count(), 1, "{head:?}");
        let moved = b.count();
        assert_eq!(moved, usize::from(is_moved), "{head:?}");
    }
    let a = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n");
    });
    let b = named("b");
    let file = list("/api/*", &[&a.url(), &b.url()]);
    let proxy = TestProxy::builder(&b).file(&file).start();
    for body in [&b""[..], b"1 euro"] {
        assert_eq!(proxy.request("POST", "/api/pay", "", body).status(), 500);
    }
    assert_eq!((a.count(), b.count()), (2, 0));
}

#[test]
fn an_origin_that_fails_is_not_asked_each_time() {
    let (a, b) = (Origin::start(|exchange| exchange.cut()), named("b"));
    let file = list("/api/*", &[&a.url(), &b.url()]);
    let proxy = TestProxy::builder(&b).file(&file).start();
    for number in 0..20 {
        let target = format!("/api/{number}");
        proxy
            .get(&target)
            .expect(200, "MISS", &format!("b {target} #0"));
    }
    // Once, and once again for each of its pauses that has ended by now: they are at least a second long.
    assert!((1..10).contains(&a.count()), "{}", a.count());
}

#[test]
fn if_all_of_a_list_fail_the_client_gets_the_failure_of_the_last() {
    let dead = format!("http://127.0.0.1:{}", ports::free_port());
    let broken = Origin::start(|exchange| {
        exchange.send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
    });
    let good = named("good");
    let file = list("/dead/*", &[&dead, &dead.replace("127.0.0.1", "127.0.0.2")])
        + &list(
            "/busy/*",
            &[&dead.replace("127.0.0.1", "127.0.0.3"), &broken.url()],
        );
    let proxy = TestProxy::builder(&good).file(&file).start();
    for number in 0..3 {
        assert_eq!(proxy.get(&format!("/dead/{number}")).status(), 502);
        let response = proxy.get(&format!("/busy/{number}"));
        assert_eq!((response.status(), &*response.text()), (503, "busy"));
    }
    proxy.get("/x").expect(200, "MISS", "good /x #0");
}

#[test]
fn the_origin_itself_may_be_a_list() {
    let b = named("b");
    let dead = format!("http://127.0.0.1:{}", ports::free_port());
    let home = Home::new();
    let port = ports::free_port();
    let file = format!("port = {port}\norigin = [\"{dead}\", \"{}\"]\n", b.url());
    home.write("config/proxy.toml", &file);
    let proxy = Instance::launch(home.command(&[]), port).unwrap();
    proxy.get("/x").expect(200, "MISS", "b /x #0");
    proxy.get("/x").expect(200, "HIT", "b /x #0");
}

/// What a client sends, with the status and the body of its response.
const CASES: [(&str, &str, u16, &str); 7] = [
    ("POST", "Content-Length: 6\r\n\r\n1 euro", 200, "6 bytes"),
    ("PATCH", "Content-Length: 6\r\n\r\n1 euro", 200, "6 bytes"),
    ("POST", "\r\n", 200, "0 bytes"),
    (
        "POST",
        "Transfer-Encoding: chunked\r\n\r\n2\r\n1 \r\n4\r\neuro\r\n0\r\n\r\n",
        200,
        "6 bytes",
    ),
    (
        "POST",
        "Expect: 100-continue\r\nContent-Length: 6\r\n\r\n1 euro",
        200,
        "6 bytes",
    ),
    ("PUT", "Content-Length: 6\r\n\r\n1 euro", 200, "6 bytes"),
    (
        "GET",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        101,
        "",
    ),
];

/// The response of a new proxy with these two origins to a request with this method and the rest of this text.
fn response_of_list(origins: &[&str], method: &str, rest: &str) -> (u16, String) {
    let other = named("other");
    let proxy = TestProxy::builder(&other)
        .file(&list("/api/*", origins))
        .with(|config| config.timeout = Duration::from_millis(300))
        .start();
    let mut client = proxy.connect();
    client.send(format!(
        "{method} /api/x HTTP/1.1\r\nHost: proxy.test\r\n{rest}"
    ));
    if rest.contains("websocket") {
        return (client.head().status, String::new());
    }
    let answer: Answer = client.answer_to(method);
    (answer.status(), answer.text())
}

#[test]
fn a_request_that_was_not_sent_moves_on_whatever_its_method_and_body() {
    let hole = BlackHole::new();
    let refused = format!("http://127.0.0.1:{}", ports::free_port());
    for unreachable in [&refused, &hole.url()] {
        for (method, rest, status, body) in CASES {
            let good = Origin::start(counting_bytes);
            let found = response_of_list(&[unreachable, &good.url()], method, rest);
            let what = format!("{method} {rest:?} after {unreachable}");
            assert_eq!(found, (status, body.to_owned()), "{what}");
            assert_eq!(good.count(), 1, "{what}");
            let host = format!("127.0.0.1:{}", good.port());
            assert_eq!(good.last().field("host"), Some(host), "{what}");
        }
    }
}

#[test]
fn a_large_body_arrives_whole_at_the_next_origin() {
    let refused = format!("http://127.0.0.1:{}", ports::free_port());
    let (other, good) = (named("other"), Origin::start(counting_bytes));
    let proxy = TestProxy::builder(&other)
        .file(&list("/api/*", &[&refused, &good.url()]))
        .start();
    let body: Vec<u8> = (0_u32..1_000_000)
        .flat_map(|number| number.to_be_bytes())
        .collect();
    let answer = proxy.request("POST", "/api/x", "", &body);
    answer.expect(200, "MISS", "4000000 bytes");
    assert!(good.last().body == body);
}

#[test]
fn a_request_that_may_have_arrived_is_not_sent_again_with_its_body() {
    for (method, rest, ..) in CASES {
        let (first, good) = (
            Origin::start(|exchange| exchange.cut()),
            Origin::start(counting_bytes),
        );
        let (status, _) = response_of_list(&[&first.url(), &good.url()], method, rest);
        // A handshake has no body, and GET is idempotent.
        let expected = match method {
            "GET" => (101, 1),
            _ => (502, 0),
        };
        assert_eq!((status, good.count()), expected, "{method} {rest:?}");
        assert_eq!(first.count(), 1, "{method} {rest:?}");
    }
}

#[test]
fn names_of_the_origin_that_responds_become_names_of_the_proxy() {
    let good = Origin::start(|exchange| {
        let host = exchange.request.field("host").unwrap();
        let location = exchange.request.field("x-location").unwrap();
        let location = location.replace("{host}", &host);
        let lines =
            format!("Location: {location}\r\nSet-Cookie: a=1; Domain=127.0.0.1; Path=/app/x\r\n");
        exchange.answer("302 Found", &lines, "");
    });
    // Another host, to which connections are refused.
    let dead = format!("http://127.0.0.2:{}", ports::free_port());
    let urls = [format!("{dead}/app"), format!("{}/app", good.url())];
    let list = format!("path = \"/*\"\norigin = {urls:?}\n");
    let other = named("other");
    for route in [
        format!("[[routes]]\n{list}"),
        format!("[[routes]]\nhost = \"proxy.test\"\n{list}"),
    ] {
        let proxy = TestProxy::builder(&other).file(&route).start();
        for (number, (location, expected)) in [
            ("http://{host}/app/next".to_owned(), "/next".to_owned()),
            (format!("{dead}/app/next"), "/next".to_owned()),
            ("/app/next".to_owned(), "/next".to_owned()),
            // Outside of the path of the origins: it is at the one that has responded.
            ("/outside".to_owned(), format!("{}/outside", good.url())),
        ]
        .into_iter()
        .enumerate()
        {
            let lines = format!("X-Location: {location}\r\n");
            let response = proxy.get_with(&format!("/{number}"), &lines);
            assert_eq!(response.field("location"), Some(&*expected), "{location}");
            assert_eq!(
                response.field("set-cookie"),
                Some("a=1; Path=/x"),
                "{route}"
            );
        }
    }
}

#[test]
fn a_location_that_names_any_origin_of_the_list_invalidates() {
    let dead = format!("http://127.0.0.1:{}", ports::free_port());
    let good = Origin::start(|exchange| match exchange.request.field("x-location") {
        Some(location) => {
            exchange.answer("201 Created", &format!("Location: {location}\r\n"), "");
        }
        None => {
            let body = format!("#{}", exchange.nth);
            exchange.ok("Cache-Control: max-age=60\r\n", body);
        }
    });
    let other = named("other");
    let proxy = TestProxy::builder(&other)
        .file(&list("/*", &[&dead, &good.url()]))
        .start();
    for (nth, base) in [&dead, &good.url()].into_iter().enumerate() {
        let body = format!("#{nth}");
        proxy.get("/items/1").expect(200, "MISS", &body);
        proxy.get("/items/1").expect(200, "HIT", &body);
        let lines = format!("X-Location: {base}/items/1\r\n");
        assert_eq!(proxy.request("POST", "/new", &lines, b"x").status(), 201);
    }
    proxy.get("/items/1").expect(200, "MISS", "#2");
}
