//! How a shared fetch ends: its leader fails, its first client leaves, the cache is cleared meanwhile.

use crate::{
    client::{Client, Ending},
    harness::{TestProxy, until},
    origin::{Gate, Origin},
};

#[test]
fn when_the_leader_fails_the_others_fetch_for_themselves() {
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
fn a_body_cut_short_cuts_all_who_streamed_along_and_is_fetched_again() {
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
    let mut askers: Vec<Client> = (0..5).map(|_| proxy.begin("/", "")).collect();
    for asker in &mut askers {
        asker.wait_for("first");
    }
    gate.open();
    for asker in &mut askers {
        assert_eq!(asker.answer().ending, Ending::Cut);
    }
    proxy.get("/").expect(200, "MISS", "whole");
    proxy.get("/").expect(200, "HIT", "whole");
}

#[test]
fn the_fetch_goes_on_when_its_first_client_leaves_before_the_head() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.ok("", "body");
        }
    });
    let proxy = TestProxy::to(&origin);
    drop({
        let leader = proxy.begin("/", "");
        origin.wait_for(1);
        leader
    });
    gate.open();
    until("the answer is stored", || proxy.get("/").x_cache() == "HIT");
    let fetches = origin
        .seen()
        .iter()
        .filter(|seen| seen.target() == "/")
        .count();
    assert_eq!(fetches, 1);
}

#[test]
fn the_fetch_goes_on_when_its_first_client_leaves_in_the_body() {
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
fn all_clients_may_leave_and_the_answer_is_still_stored() {
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
    let mut askers: Vec<Client> = (0..3).map(|_| proxy.begin("/", "")).collect();
    for asker in &mut askers {
        asker.wait_for("first ");
    }
    drop(askers);
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
fn a_reader_that_stalls_does_not_hold_up_the_others() {
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
fn clear_during_a_fetch_keeps_its_answer_out_of_the_cache() {
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
    for asker in &mut before {
        asker.wait_for("first");
    }
    proxy.clear();
    // Nobody joins a fetch that was begun before the clear.
    proxy.get("/").expect(200, "MISS", "new #1");
    gate.open();
    for asker in &mut before {
        asker.answer().expect(200, "MISS", "first old.");
    }
    proxy.get("/").expect(200, "HIT", "new #1");
}

#[test]
fn clear_during_a_fetch_leaves_the_cache_empty() {
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
fn a_validation_in_flight_does_not_bring_back_what_was_cleared() {
    let gate = Gate::default();
    let origin = Origin::confirming_after(&gate, "Cache-Control: max-age=60\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut validating = proxy.begin("/", "");
    origin.wait_for(2);
    proxy.clear();
    gate.open();
    // What the origin confirmed was fetched before the Clear: it is asked for the whole answer.
    validating.answer().expect(200, "MISS", "#2");
    proxy.get("/").expect(200, "MISS", "#3");
}
