//! A response removed by a Clear or an invalidation is not served again, however a validation in progress ends.

use crate::{
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

fn gets(origin: &Origin) -> usize {
    let seen = origin.seen();
    let gets = seen.iter().filter(|seen| seen.method() == "GET");
    gets.filter(|seen| seen.target() == "/").count()
}

/// How a validation in progress ends.
#[derive(Clone, Copy, Debug)]
enum Verdict {
    Gone,
    GoneAndNotKept,
    NotKept,
    Failing,
    HungUp,
}

impl Verdict {
    fn tell(self, exchange: &mut Exchange<'_>) {
        match self {
            Self::Gone => exchange.answer("404 Not Found", "", "gone"),
            Self::GoneAndNotKept => {
                exchange.answer("404 Not Found", "Cache-Control: no-store\r\n", "gone");
            }
            Self::NotKept => exchange.ok("Cache-Control: no-store\r\n", "another"),
            Self::Failing => exchange.answer("503 Service Unavailable", "", "failing"),
            // The beginning of a head has arrived, so the request is not repeated.
            Self::HungUp => {
                exchange.send("HTTP/1.1 200 OK\r\nX-Unfin");
                exchange.close();
            }
        }
    }
}

/// What removes the stored response.
#[derive(Clone, Copy, Debug)]
enum Removal {
    Clear,
    Post,
}

impl Removal {
    fn carry_out(self, proxy: &TestProxy) {
        match self {
            Self::Clear => {
                proxy.clear();
            }
            Self::Post => {
                proxy
                    .request("POST", "/", "", b"change")
                    .expect(200, "MISS", "done");
            }
        }
    }
}

/// "old" is stored and stale, and the first validation waits at the gate. The origin confirms "old" to every later
/// validation, as an origin does whose ETag has not changed.
fn confirming(verdict: Verdict, gate: &Gate) -> Origin {
    let gate = gate.clone();
    let validations = std::sync::atomic::AtomicUsize::new(0);
    Origin::start(move |exchange| {
        let conditional = exchange.request.field("if-none-match").is_some();
        match exchange.target().as_str() {
            "/other" => exchange.ok("Cache-Control: no-store\r\n", ""),
            _ if exchange.request.method() == "POST" => exchange.ok("", "done"),
            _ if conditional => {
                match validations.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                    0 => {
                        gate.wait();
                        verdict.tell(exchange);
                    }
                    _ => exchange.send(
                        "HTTP/1.1 304 Not Modified\r\nETag: \"old\"\r\nCache-Control: max-age=600\r\n\r\n",
                    ),
                }
            }
            _ if exchange.nth == 0 => {
                exchange.ok("ETag: \"old\"\r\nCache-Control: max-age=0\r\n", "old");
            }
            _ => exchange.ok("Cache-Control: max-age=600\r\n", "new"),
        }
    })
}

/// Two requests wait for one validation, the stored response is removed, and the validation ends in the given way.
fn a_follower_does_not_bring_it_back(verdict: Verdict, removal: Removal) {
    let gate = Gate::default();
    let origin = confirming(verdict, &gate);
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "old");
    let mut leader = proxy.begin("/", "");
    until("the validation is under way", || gets(&origin) == 2);
    let mut follower = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    assert_eq!(gets(&origin), 2, "the second request follows the first");
    removal.carry_out(&proxy);
    gate.open();
    let case = format!("{verdict:?} {removal:?}");
    assert_ne!(leader.answer().text(), "old", "leader, {case}");
    let followed = follower.answer();
    assert_ne!(followed.text(), "old", "follower, {case}: {followed:?}");
    for _ in 0..2 {
        let after = proxy.get("/");
        assert_ne!(after.text(), "old", "begun after, {case}: {after:?}");
    }
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_gets_404() {
    a_follower_does_not_bring_it_back(Verdict::Gone, Removal::Clear);
    a_follower_does_not_bring_it_back(Verdict::GoneAndNotKept, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_gets_no_store() {
    a_follower_does_not_bring_it_back(Verdict::NotKept, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_gets_503() {
    a_follower_does_not_bring_it_back(Verdict::Failing, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_is_disconnected() {
    a_follower_does_not_bring_it_back(Verdict::HungUp, Removal::Clear);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_404() {
    a_follower_does_not_bring_it_back(Verdict::Gone, Removal::Post);
    a_follower_does_not_bring_it_back(Verdict::GoneAndNotKept, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_no_store() {
    a_follower_does_not_bring_it_back(Verdict::NotKept, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_503() {
    a_follower_does_not_bring_it_back(Verdict::Failing, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_is_disconnected() {
    a_follower_does_not_bring_it_back(Verdict::HungUp, Removal::Post);
}

#[test]
fn a_cleared_response_is_not_served_after_a_304_with_no_store() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            if exchange.request.field("if-none-match").is_some() {
                gate.wait();
                exchange.send(
                    "HTTP/1.1 304 Not Modified\r\nETag: \"v\"\r\nCache-Control: no-store\r\n\r\n",
                );
            } else {
                exchange.ok(
                    "ETag: \"v\"\r\nCache-Control: max-age=0\r\n",
                    format!("#{}", exchange.nth),
                );
            }
        }
    });
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut validating = proxy.begin("/", "");
    origin.wait_for(2);
    proxy.clear();
    gate.open();
    validating.answer().expect(200, "MISS", "#2");
    proxy.get("/").expect(200, "MISS", "#3");
}
