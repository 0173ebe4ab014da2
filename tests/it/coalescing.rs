//! One fetch for many requests. The origin holds its response back at a gate until the test opens it.

use crate::{
    client::{Client, Ending},
    harness::TestProxy,
    origin::{Exchange, Gate, Origin},
};

/// Sends the head and "first ", waits at the gate, then sends "last": 10 bytes.
fn in_two_parts(exchange: &mut Exchange<'_>, fields: &str, gate: &Gate) {
    exchange.send(format!(
        "HTTP/1.1 200 OK\r\n{fields}Content-Length: 10\r\n\r\nfirst "
    ));
    gate.wait();
    exchange.send("last");
}

/// An origin whose handler can wait at a gate.
pub(crate) fn gated(
    handler: impl Fn(&mut Exchange<'_>, &Gate) + Send + Sync + 'static,
) -> (Origin, Gate) {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| handler(exchange, &gate)
    });
    (origin, gate)
}

fn count_of(origin: &Origin, target: &str) -> usize {
    origin
        .seen()
        .iter()
        .filter(|seen| seen.target() == target)
        .count()
}

#[test]
fn fifty_requests_stream_from_one_fetch() {
    let (origin, gate) = gated(|exchange, gate| in_two_parts(exchange, "", gate));
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.begin("/", "")).collect();
    for client in &mut clients {
        // The response is not finished, so these bytes come from the leader's fetch.
        client.wait_for("first ");
    }
    assert_eq!(origin.count(), 1);
    gate.open();
    let mut collapsed = 0;
    for client in &mut clients {
        let answer = client.answer();
        answer.expect(200, "MISS", "first last");
        let status = answer.field("cache-status").unwrap().to_owned();
        collapsed += usize::from(status.contains("fwd=uri-miss; collapsed"));
    }
    assert_eq!(collapsed, 49);
    proxy.get("/").expect(200, "HIT", "first last");
    assert_eq!(origin.count(), 1);
}

#[test]
fn requests_that_wait_for_the_headers_share_one_fetch() {
    let (origin, gate) = gated(|exchange, gate| {
        gate.wait();
        exchange.ok("", "body");
    });
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<Client> = (0..50).map(|_| proxy.begin("/", "")).collect();
    origin.wait_for(1);
    proxy.wait_for_followers(49);
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!(
            (answer.status(), answer.text().as_str(), answer.ending),
            (200, "body", Ending::Whole)
        );
    }
    assert_eq!(count_of(&origin, "/"), 1);
}

#[test]
fn a_late_follower_gets_the_beginning_of_the_body() {
    let gates = [Gate::default(), Gate::default()];
    let origin = Origin::start({
        let gates = gates.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            exchange.chunk("one ");
            gates[0].wait();
            exchange.chunk("two ");
            gates[1].wait();
            exchange.chunk("three");
            exchange.chunk("");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    leader.wait_for("one ");
    gates[0].open();
    leader.wait_for("two ");
    let mut late = proxy.begin("/", "");
    late.wait_for("one ").wait_for("two ");
    gates[1].open();
    leader.answer().expect(200, "MISS", "one two three");
    late.answer().expect(200, "MISS", "one two three");
    assert_eq!(origin.count(), 1);
}

#[test]
fn requests_for_different_targets_do_not_wait_for_each_other() {
    let (origin, gate) = gated(|exchange, gate| match exchange.target().as_str() {
        "/slow" => in_two_parts(exchange, "", gate),
        _ => exchange.ok("", "quick"),
    });
    let proxy = TestProxy::to(&origin);
    let mut slow = proxy.begin("/slow", "");
    slow.wait_for("first ");
    proxy.get("/quick").expect(200, "MISS", "quick");
    gate.open();
    slow.answer().expect(200, "MISS", "first last");
}

#[test]
fn a_response_that_must_not_be_shared_releases_all_followers_at_once() {
    for fields in [
        "Cache-Control: no-store\r\n",
        "Cache-Control: private\r\n",
        "Set-Cookie: sid=1\r\n",
        "Vary: *\r\n",
    ] {
        let (origin, gate) = gated(move |exchange, gate| match exchange.nth {
            0 => in_two_parts(exchange, fields, gate),
            nth => exchange.ok(fields, format!("own {nth}")),
        });
        let proxy = TestProxy::to(&origin);
        let mut leader = proxy.begin("/", "");
        leader.wait_for("first ");
        let mut others: Vec<Client> = (0..5).map(|_| proxy.begin("/", "")).collect();
        // They get their own responses while the leader's body is still held back.
        let mut bodies: Vec<String> = others
            .iter_mut()
            .map(|other| other.answer().text())
            .collect();
        bodies.sort();
        assert_eq!(
            bodies,
            ["own 1", "own 2", "own 3", "own 4", "own 5"],
            "{fields}"
        );
        gate.open();
        leader.answer().expect(200, "MISS", "first last");
    }
}

#[test]
fn followers_of_an_unshareable_response_fetch_for_themselves() {
    let (origin, gate) = gated(|exchange, gate| {
        if exchange.nth == 0 {
            gate.wait();
        }
        exchange.ok(
            "Cache-Control: no-store\r\n",
            format!("own {}", exchange.nth),
        );
    });
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<Client> = vec![proxy.begin("/", "")];
    origin.wait_for(1);
    clients.extend((0..5).map(|_| proxy.begin("/", "")));
    proxy.wait_for_followers(5);
    gate.open();
    let mut bodies: Vec<String> = clients
        .iter_mut()
        .map(|client| client.answer().text())
        .collect();
    bodies.sort();
    assert_eq!(
        bodies,
        ["own 0", "own 1", "own 2", "own 3", "own 4", "own 5"]
    );
}

#[test]
fn a_request_with_another_vary_value_fetches_for_itself() {
    let (origin, gate) = gated(|exchange, gate| {
        let language = exchange
            .request
            .field("accept-language")
            .unwrap_or_default();
        if language == "en" {
            gate.wait();
        }
        exchange.ok("Vary: Accept-Language\r\n", language);
    });
    let proxy = TestProxy::to(&origin);
    let mut english = proxy.begin("/", "Accept-Language: en\r\n");
    origin.wait_for(1);
    let mut german = proxy.begin("/", "Accept-Language: de\r\n");
    let mut more_english = proxy.begin("/", "Accept-Language: en\r\n");
    proxy.wait_for_followers(2);
    gate.open();
    assert_eq!(english.answer().text(), "en");
    assert_eq!(german.answer().text(), "de");
    assert_eq!(more_english.answer().text(), "en");
    assert_eq!(count_of(&origin, "/"), 2);
    proxy
        .get_with("/", "Accept-Language: de\r\n")
        .expect(200, "HIT", "de");
    proxy
        .get_with("/", "Accept-Language: en\r\n")
        .expect(200, "HIT", "en");
}

#[test]
fn a_request_with_another_vary_value_does_not_wait_for_a_body_in_flight() {
    let (origin, gate) = gated(|exchange, gate| {
        let language = exchange
            .request
            .field("accept-language")
            .unwrap_or_default();
        match language.as_str() {
            "en" => in_two_parts(exchange, "Vary: Accept-Language\r\n", gate),
            _ => exchange.ok("Vary: Accept-Language\r\n", language),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut english = proxy.begin("/", "Accept-Language: en\r\n");
    english.wait_for("first ");
    proxy
        .get_with("/", "Accept-Language: de\r\n")
        .expect(200, "MISS", "de");
    gate.open();
    english.answer().expect(200, "MISS", "first last");
}

#[test]
fn unsafe_requests_are_never_coalesced() {
    let (origin, gate) = gated(|exchange, gate| {
        gate.wait();
        exchange.ok("", "done");
    });
    let proxy = TestProxy::to(&origin);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx";
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.connect()).collect();
    for client in &mut clients {
        client.send(post);
    }
    origin.wait_for(5);
    gate.open();
    for client in &mut clients {
        client.answer().expect(200, "MISS", "done");
    }
}

#[test]
fn a_hard_reload_does_not_join_a_fetch() {
    let (origin, gate) = gated(|exchange, gate| match exchange.nth {
        0 => in_two_parts(exchange, "", gate),
        _ => exchange.ok("", "reloaded"),
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    leader.wait_for("first ");
    proxy
        .get_with("/", "Cache-Control: no-cache\r\n")
        .expect(200, "MISS", "reloaded");
    gate.open();
    leader.answer().expect(200, "MISS", "first last");
}

#[test]
fn a_range_requested_during_a_fetch_gets_its_part() {
    let (origin, gate) = gated(|exchange, gate| match exchange.request.field("range") {
        Some(_) => exchange.answer(
            "206 Partial Content",
            "Content-Range: bytes 0-4/10\r\n",
            "first",
        ),
        None => in_two_parts(exchange, "", gate),
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    leader.wait_for("first ");
    let part = proxy.get_with("/", "Range: bytes=0-4\r\n");
    assert_eq!((part.status(), part.text().as_str()), (206, "first"));
    gate.open();
    leader.answer().expect(200, "MISS", "first last");
}
