//! What a Clear or an invalidation took away stays away, whatever becomes of the validations that were under way.

use crate::{
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

fn gets(origin: &Origin) -> usize {
    let seen = origin.seen();
    let gets = seen.iter().filter(|seen| seen.method() == "GET");
    gets.filter(|seen| seen.target() == "/").count()
}

/// How a validation under way ends.
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
            // The beginning of a head has come, so the request is not repeated.
            Self::HungUp => {
                exchange.send("HTTP/1.1 200 OK\r\nX-Unfin");
                exchange.close();
            }
        }
    }
}

/// What takes the stored answer away.
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

/// "old" is stored and stale; the first validation waits at the gate. The origin goes on to confirm "old" to whoever
/// asks about it, as one does whose tag has not changed.
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

/// Two requests wait for one validation, the stored answer is removed, and then the validation ends so.
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
fn cleared_stays_cleared_when_a_validation_under_way_gets_404() {
    a_follower_does_not_bring_it_back(Verdict::Gone, Removal::Clear);
    a_follower_does_not_bring_it_back(Verdict::GoneAndNotKept, Removal::Clear);
}

#[test]
fn cleared_stays_cleared_when_a_validation_under_way_gets_no_store() {
    a_follower_does_not_bring_it_back(Verdict::NotKept, Removal::Clear);
}

#[test]
fn cleared_stays_cleared_when_a_validation_under_way_gets_503() {
    a_follower_does_not_bring_it_back(Verdict::Failing, Removal::Clear);
}

#[test]
fn cleared_stays_cleared_when_a_validation_under_way_is_hung_up_on() {
    a_follower_does_not_bring_it_back(Verdict::HungUp, Removal::Clear);
}

#[test]
fn invalidated_stays_invalidated_when_a_validation_under_way_gets_404() {
    a_follower_does_not_bring_it_back(Verdict::Gone, Removal::Post);
    a_follower_does_not_bring_it_back(Verdict::GoneAndNotKept, Removal::Post);
}

#[test]
fn invalidated_stays_invalidated_when_a_validation_under_way_gets_no_store() {
    a_follower_does_not_bring_it_back(Verdict::NotKept, Removal::Post);
}

#[test]
fn invalidated_stays_invalidated_when_a_validation_under_way_gets_503() {
    a_follower_does_not_bring_it_back(Verdict::Failing, Removal::Post);
}

#[test]
fn invalidated_stays_invalidated_when_a_validation_under_way_is_hung_up_on() {
    a_follower_does_not_bring_it_back(Verdict::HungUp, Removal::Post);
}

#[test]
fn a_304_with_no_store_after_a_clear_is_no_reason_to_serve_what_was_cleared() {
    let gate = Gate::default();
    let origin = Origin::confirming_after(&gate, "Cache-Control: no-store\r\n");
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "#0");
    let mut validating = proxy.begin("/", "");
    origin.wait_for(2);
    proxy.clear();
    gate.open();
    validating.answer().expect(200, "MISS", "#2");
    proxy.get("/").expect(200, "MISS", "#3");
}
