//! Ends of a shared fetch: the leader fails, the first client disconnects, or the cache is cleared.

use crate::{
    client::{Client, Ending},
    coalescing::gated,
    harness::{TestProxy, until},
    origin::{Gate, Origin},
};

#[test]
fn followers_of_a_failed_fetch_fetch_for_themselves() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match (exchange.target().as_str(), exchange.nth) {
            ("/", 0) => {
                gate.wait();
                exchange.reset();
            }
            _ => exchange.ok("", "body"),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    origin.wait_for(1);
    let mut others: Vec<Client> = (0..10).map(|_| proxy.begin("/", "")).collect();
    proxy.wait_for_followers(10);
    gate.open();
    assert_eq!(leader.answer().status(), 502);
    for other in &mut others {
        let answer = other.answer();
        assert_eq!(
            (answer.status(), answer.text().as_str(), answer.ending),
            (200, "body", Ending::Whole)
        );
    }
    proxy.get("/").expect(200, "HIT", "body");
}

#[test]
fn a_truncated_body_is_truncated_for_all_followers_and_fetched_again() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nfirst");
                gate.wait();
                exchange.close();
            }
            _ => exchange.ok("", "whole"),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<Client> = (0..5).map(|_| proxy.begin("/", "")).collect();
    for client in &mut clients {
        client.wait_for("first");
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.answer().ending, Ending::Cut);
    }
    proxy.get("/").expect(200, "MISS", "whole");
    proxy.get("/").expect(200, "HIT", "whole");
}

#[test]
fn a_fetch_continues_when_its_client_disconnects_during_the_body() {
    const PART: usize = 2 * 1024 * 1024;
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nfirst",
                5 + PART
            ));
            gate.wait();
            exchange.filler(PART);
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut leader = proxy.begin("/", "");
    leader.wait_for("first");
    let mut follower = proxy.begin("/", "");
    follower.wait_for("first");
    drop(leader);
    gate.open();
    let answer = follower.answer();
    assert_eq!(
        (answer.ending, answer.body.len()),
        (Ending::Whole, 5 + PART)
    );
    let stored = proxy.get("/");
    assert_eq!((stored.x_cache(), stored.body.len()), ("HIT", 5 + PART));
}

#[test]
fn a_response_is_stored_although_all_clients_disconnected() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst ");
            gate.wait();
            exchange.send("last");
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.begin("/", "")).collect();
    for client in &mut clients {
        client.wait_for("first ");
    }
    drop(clients);
    gate.open();
    until("the answer is stored", || proxy.get("/").x_cache() == "HIT");
    assert_eq!(
        origin
            .seen()
            .iter()
            .filter(|seen| seen.target() == "/")
            .count(),
        1
    );
}

#[test]
fn a_stalled_client_does_not_delay_the_others() {
    const LENGTH: usize = 16 * 1024 * 1024;
    let origin = Origin::start(|exchange| {
        exchange.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"
        ));
        exchange.filler(LENGTH);
    });
    let proxy = TestProxy::to(&origin);
    let mut stalled = proxy.begin("/", "");
    stalled.wait_for("\r\n\r\n");
    let answer = proxy.get("/");
    assert_eq!((answer.ending, answer.body.len()), (Ending::Whole, LENGTH));
    let late = stalled.answer();
    assert_eq!((late.ending, late.body.len()), (Ending::Whole, LENGTH));
    assert_eq!(origin.count(), 1);
}

#[test]
fn a_response_fetched_during_a_clear_is_not_stored() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| match exchange.nth {
            0 => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
                gate.wait();
                exchange.send(" old.");
            }
            nth => exchange.ok("", format!("new #{nth}")),
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut before: Vec<Client> = (0..3).map(|_| proxy.begin("/", "")).collect();
    for client in &mut before {
        client.wait_for("first");
    }
    proxy.clear();
    // No request joins a fetch that started before the Clear.
    proxy.get("/").expect(200, "MISS", "new #1");
    gate.open();
    for client in &mut before {
        client.answer().expect(200, "MISS", "first old.");
    }
    proxy.get("/").expect(200, "HIT", "new #1");
}

#[test]
fn the_cache_is_empty_after_a_clear_during_a_fetch() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.nth == 0 {
                gate.wait();
            }
            exchange.ok("", format!("#{}", exchange.nth));
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut before = proxy.begin("/", "");
    origin.wait_for(1);
    proxy.clear();
    gate.open();
    before.answer().expect(200, "MISS", "#0");
    assert_eq!(proxy.clear().entries, 0);
    proxy.get("/").expect(200, "MISS", "#1");
}

#[test]
fn a_validation_in_flight_does_not_restore_a_cleared_response() {
    let gate = Gate::default();
    let origin = Origin::confirming_after(&gate, "Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut validating = proxy.begin("/", "");
    origin.wait_for(2);
    proxy.clear();
    gate.open();
    // The confirmed response was fetched before the Clear, so the whole response is fetched again.
    validating.answer().expect(200, "MISS", "#2");
    proxy.get("/").expect(200, "MISS", "#3");
}

#[test]
fn a_hot_target_that_was_not_stored_is_stored_as_soon_as_its_response_can_be() {
    let origin = Origin::start(|exchange| {
        let fields = match exchange.nth {
            0..5 => "Cache-Control: no-store\r\n",
            _ => "",
        };
        exchange.ok(fields, format!("#{}", exchange.nth));
    });
    let proxy = TestProxy::to(&origin);
    for number in 0..6 {
        proxy.get("/").expect(200, "MISS", &format!("#{number}"));
    }
    proxy.get("/").expect(200, "HIT", "#5");
    proxy.clear();
    proxy.get("/").expect(200, "MISS", "#6");
}

#[test]
fn a_clear_during_a_fetch_for_a_target_that_was_not_stored_keeps_its_response_out() {
    let (origin, gate) = gated(|exchange, gate| match exchange.nth {
        0..4 => exchange.ok("Cache-Control: no-store\r\n", "not stored"),
        4 => {
            gate.wait();
            exchange.ok("", "before the clear");
        }
        _ => exchange.ok("", "after it"),
    });
    let proxy = TestProxy::to(&origin);
    for _ in 0..4 {
        proxy.get("/").expect(200, "MISS", "not stored");
    }
    let mut waiting = proxy.begin("/", "");
    origin.wait_for(5);
    proxy.clear();
    gate.open();
    waiting.answer().expect(200, "MISS", "before the clear");
    proxy.get("/").expect(200, "MISS", "after it");
    proxy.get("/").expect(200, "HIT", "after it");
}
