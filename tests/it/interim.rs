//! Interim (1xx) responses of the origin: which clients get them, and when.

use std::net::{SocketAddr, TcpStream};

use crate::{
    client::{Client, Ending, Head},
    coalescing::gated,
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";

/// An origin that sends this early hint at once, and a 200 with "body" when the gate is open.
fn hinting_origin(fields: &'static str) -> (Origin, Gate) {
    gated(move |exchange, gate| {
        exchange.send(HINT);
        gate.wait();
        exchange.ok(fields, "body");
    })
}

/// A client with a small receive buffer.
fn slow_client(proxy: &TestProxy) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], proxy.port));
    socket.connect(&address.into()).unwrap();
    Client::over(TcpStream::from(socket))
}

fn codes(heads: &[Head]) -> Vec<u16> {
    heads.iter().map(|head| head.status).collect()
}

#[test]
fn an_early_hint_arrives_before_the_final_response_exists() {
    let (origin, gate) = hinting_origin("X-Final: 1\r\n");
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    let hint = client.head();
    assert_eq!(hint.status, 103);
    assert_eq!(hint.all("link"), ["</a.css>; rel=preload"]);
    gate.open();
    let answer = client.answer();
    answer.expect(200, "MISS", "body");
    assert_eq!(
        (answer.field("x-final"), answer.field("link")),
        (Some("1"), None)
    );
}

#[test]
fn a_hit_has_no_early_hints_and_none_of_their_headers() {
    let (origin, gate) = hinting_origin("");
    gate.open();
    let proxy = TestProxy::to(&origin);
    assert_eq!(codes(&proxy.get("/").interim), [103]);
    let hit = proxy.get("/");
    hit.expect(200, "HIT", "body");
    assert_eq!((hit.interim.len(), hit.field("link")), (0, None));
}

#[test]
fn headers_of_an_early_hint_are_relayed_except_hop_by_hop_headers() {
    let origin = Origin::start(|exchange| {
        exchange.send(
            b"HTTP/1.1 103 Early\r\nLink: </a>\r\nX-Latin: \xe4 \xff\r\nlink: </b>\r\nVia: 1.0 fred\r\n\
              Connection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTrailer: X\r\nUpgrade: h2c\r\n\
              Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    let answer = proxy.get("/");
    answer.expect(200, "MISS", "body");
    let [hint] = &answer.interim[..] else {
        panic!("{:?}", answer.interim)
    };
    assert_eq!(hint.all("link"), ["</a>", "</b>"]);
    assert_eq!(hint.all("x-latin"), ["\u{e4} \u{ff}"]);
    let via = hint.all("via");
    assert_eq!((via.len(), via[0]), (2, "1.0 fred"));
    assert!(via[1].starts_with("1.1 caching-proxy"), "{via:?}");
    assert_eq!(hint.fields.len(), 5, "{hint:?}");
}

#[test]
fn several_interim_responses_arrive_one_by_one_in_order() {
    let gates: [Gate; 3] = Default::default();
    let origin = Origin::start({
        let gates = gates.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n");
            gates[0].wait();
            exchange.send(HINT);
            gates[1].wait();
            exchange.trickle(HINT);
            exchange.trickle("HTTP/1.1 199 Odd\r\n\r\n");
            gates[2].wait();
            exchange.ok("", "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    // 100 concerns an upload of the proxy, and there is none.
    assert_eq!(client.head().status, 102);
    gates[0].open();
    assert_eq!(client.head().status, 103);
    gates[1].open();
    assert_eq!([client.head().status, client.head().status], [103, 199]);
    gates[2].open();
    let answer = client.answer();
    answer.expect(200, "MISS", "body");
    assert_eq!(answer.interim.len(), 0);
}

#[test]
fn an_early_hint_precedes_a_response_received_in_the_same_read() {
    let origin = Origin::start(|exchange| {
        let rest = match exchange.target().as_str() {
            "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        };
        exchange.send(format!("{HINT}{rest}"));
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for (target, status, body) in [
        ("/204", 204, ""),
        ("/chunked", 200, "body"),
        ("/length", 200, "body"),
    ] {
        let answer = client.ask(target, "").answer();
        answer.expect(status, "MISS", body);
        assert_eq!(codes(&answer.interim), [103], "{target}");
    }
}

#[test]
fn every_request_of_a_connection_gets_its_own_early_hints() {
    let gates: [Gate; 3] = Default::default();
    let origin = Origin::start({
        let gates = gates.clone();
        move |exchange| {
            let number: usize = exchange.target()[1..].parse().unwrap();
            exchange.send(format!(
                "HTTP/1.1 103 Early Hints\r\nX-For: {number}\r\n\r\n"
            ));
            gates[number].wait();
            exchange.ok("", number.to_string());
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    for (number, gate) in gates.iter().enumerate() {
        let number = number.to_string();
        client.ask(&format!("/{number}"), "");
        assert_eq!(client.head().all("x-for"), [&number]);
        gate.open();
        client.answer().expect(200, "MISS", &number);
        client.ask(&format!("/{number}"), "");
        let hit = client.answer();
        hit.expect(200, "HIT", &number);
        assert_eq!(hit.interim.len(), 0);
    }
}

#[test]
fn a_follower_gets_the_response_without_early_hints() {
    let second = Gate::default();
    let (origin, last) = gated({
        let second = second.clone();
        move |exchange, last| {
            exchange.send(HINT);
            second.wait();
            exchange.send(HINT);
            last.wait();
            exchange.ok("", "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    assert_eq!(leader.head().status, 103);
    let mut follower = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    second.open();
    assert_eq!(leader.head().status, 103);
    last.open();
    for client in [&mut leader, &mut follower] {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
        assert_eq!(answer.interim.len(), 0);
    }
    let seen = origin.seen();
    assert_eq!(seen.iter().filter(|seen| seen.target() == "/").count(), 1);
}

#[test]
fn a_stale_hit_gets_no_early_hints_of_its_background_validation() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.nth == 1 {
                exchange.send(HINT);
                gate.wait();
            }
            exchange.ok(
                "Cache-Control: max-age=0, stale-while-revalidate=60\r\n",
                exchange.nth.to_string(),
            );
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.ask("/", "").answer().expect(200, "MISS", "0");
    client.ask("/", "").answer().expect(200, "HIT", "0");
    origin.wait_for(2);
    gate.open();
    let answer = client.ask("/other", "").answer();
    assert_eq!((answer.status(), answer.interim.len()), (200, 0));
}

#[test]
fn a_client_that_waits_for_a_validation_gets_its_early_hints() {
    let origin = Origin::start(|exchange| match exchange.nth {
        0 => exchange.ok("Cache-Control: no-cache\r\nETag: \"v\"\r\n", "body"),
        _ => exchange.send(format!(
            "{HINT}HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\n\r\n"
        )),
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "body");
    let answer = proxy.get("/");
    answer.expect(200, "HIT", "body");
    assert_eq!(
        (codes(&answer.interim), answer.field("link")),
        (vec![103], None)
    );
}

/// Requests this number of bytes and then more, and reads nothing. True if the proxy has begun the second request,
/// which means that it has passed on the whole first response.
fn is_passed_on(proxy: &TestProxy, origin: &Origin, length: usize) -> (Client, bool) {
    let second = format!("/after-{length}");
    let mut client = slow_client(proxy);
    client.ask(&format!("/{length}"), "").ask(&second, "");
    let has_arrived = || origin.seen().iter().any(|seen| seen.target() == second);
    // Long enough for the request to arrive, unless it is held back.
    let is_passed_on = (0..100).any(|_| {
        proxy.get("/0");
        has_arrived()
    });
    (client, is_passed_on)
}

#[test]
fn early_hints_for_a_pipelined_request_never_interrupt_the_previous_response() {
    const COARSE: usize = 512 * 1024;
    let origin = Origin::start(|exchange| {
        if let Ok(length) = exchange.target()[1..].parse() {
            return exchange.ok("", vec![b'x'; length]);
        }
        exchange.send(HINT);
        exchange.ok("", "second");
    });
    let proxy = TestProxy::to(&origin);
    // Finds how much the sockets hold. Beyond that size the proxy has passed on more than the sockets hold.
    let mut length = COARSE + 1;
    while is_passed_on(&proxy, &origin, length).1 {
        length += COARSE;
    }
    length -= COARSE;
    loop {
        length += 24 * 1024;
        let (mut client, is_passed_on) = is_passed_on(&proxy, &origin, length);
        let first = client.answer();
        assert_eq!(
            (first.interim.len(), first.ending, first.body.len()),
            (0, Ending::Whole, length)
        );
        assert!(first.body.iter().all(|byte| *byte == b'x'), "{length}");
        let second = client.answer();
        second.expect(200, "MISS", "second");
        assert!(matches!(codes(&second.interim)[..], [] | [103]), "{length}");
        if !is_passed_on {
            break;
        }
    }
}

#[test]
fn an_early_hint_arrives_during_an_upload() {
    let gate = Gate::default();
    let origin = Origin::without_reading({
        let gate = gate.clone();
        move |exchange| {
            exchange.send(HINT);
            gate.wait();
            exchange.ok("Connection: close\r\n", "body");
            exchange.stall();
        }
    });
    let proxy = TestProxy::to(&origin);
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let mut client = proxy.connect();
        let (begin, end) = match framing {
            "Content-Length: 10" => ("hello", "world"),
            _ => ("5\r\nhello\r\n5", "\r\nworld\r\n0\r\n\r\n"),
        };
        client.send(format!(
            "POST /{framing:.3} HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        ));
        client.send(begin);
        assert_eq!(client.head().status, 103, "{framing}");
        client.send(end);
        gate.open();
        client.answer_to("POST").expect(200, "MISS", "body");
    }
}

#[test]
fn a_client_that_expects_100_gets_it_first_and_whole() {
    let gate = Gate::default();
    let origin = Origin::without_reading({
        let gate = gate.clone();
        move |exchange| {
            exchange.send(format!("HTTP/1.1 100 Continue\r\n\r\n{HINT}"));
            gate.wait();
            exchange.ok("Connection: close\r\n", "body");
            exchange.stall();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!([client.head().status, client.head().status], [100, 103]);
    client.send("hello");
    gate.open();
    client.answer_to("POST").expect(200, "MISS", "body");
}

/// 31 hints of 2000 bytes.
fn many_hints(exchange: &mut Exchange<'_>) {
    let hint = format!(
        "HTTP/1.1 103 Early Hints\r\nX-Filler: {}\r\n\r\n",
        "f".repeat(1959)
    );
    exchange.send(hint.repeat(31));
}

#[test]
fn a_slow_client_gets_early_hints_and_response_in_order() {
    let origin = Origin::start(|exchange| {
        many_hints(exchange);
        exchange.ok("", vec![b'x'; 3_000_000]);
    });
    let proxy = TestProxy::to(&origin);
    let mut client = slow_client(&proxy);
    client.ask("/", "");
    origin.wait_for(1);
    for _ in 0..8 {
        proxy.request("POST", "/", "", b"");
    }
    let answer = client.answer();
    assert_eq!(
        (answer.ending, answer.body.len()),
        (Ending::Whole, 3_000_000)
    );
    assert!(answer.body.iter().all(|byte| *byte == b'x'));
    assert!(!answer.interim.is_empty());
    for hint in &answer.interim {
        assert_eq!((hint.status, hint.all("x-filler")[0].len()), (103, 1959));
    }
}

#[test]
fn a_disconnect_after_an_early_hint_is_an_error() {
    let (origin, gate) = gated(|exchange, gate| match exchange.nth {
        0 => {
            exchange.send(HINT);
            gate.wait();
            exchange.send("HTTP/1.1 2");
            exchange.close();
        }
        _ => exchange.ok("", "body"),
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    assert_eq!(client.head().status, 103);
    gate.open();
    assert_eq!(client.answer().status(), 502);
    let next = client.ask("/", "").answer();
    next.expect(200, "MISS", "body");
    assert_eq!(next.interim.len(), 0);
}

#[test]
fn a_flood_of_early_hints_is_refused() {
    let origin = Origin::start(|exchange| {
        match exchange.target().as_str() {
            "/many" => exchange.send(HINT.repeat(33)),
            _ => {
                many_hints(exchange);
                many_hints(exchange);
            }
        }
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    for target in ["/many", "/large"] {
        let answer = proxy.get(target);
        assert_eq!(answer.status(), 502, "{target}");
        assert!(answer.interim.len() <= 32, "{target}");
    }
}

#[test]
fn an_early_hint_to_a_client_that_left_does_no_harm() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send(HINT);
            gate.wait();
            many_hints(exchange);
            exchange.ok("", "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut client = proxy.begin("/", "");
    assert_eq!(client.head().status, 103);
    drop(client);
    gate.open();
    // The fetch may be in progress, or its response stored.
    let answer = proxy.get("/");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "body"));
    assert_eq!(answer.interim.len(), 0);
}
