//! A response removed by a Clear or an invalidation is not served again, however a validation in progress ends.

use crate::{
    harness::{TestProxy, until},
    origin::{Exchange, Gate, Origin},
};

fn count_gets(origin: &Origin) -> usize {
    let seen = origin.seen();
    let count_gets = seen.iter().filter(|seen| seen.method() == "GET");
    count_gets.filter(|seen| seen.target() == "/").count()
}

/// How a validation in progress ends.
#[derive(Clone, Copy, Debug)]
enum ValidationEnd {
    NotFound,
    NotFoundAndNoStore,
    NoStore,
    Unavailable,
    Disconnect,
}

impl ValidationEnd {
    fn send(self, exchange: &mut Exchange<'_>) {
        match self {
            Self::NotFound => exchange.answer("404 Not Found", "", "gone"),
            Self::NotFoundAndNoStore => {
                exchange.answer("404 Not Found", "Cache-Control: no-store\r\n", "gone");
            }
            Self::NoStore => exchange.ok("Cache-Control: no-store\r\n", "another"),
            Self::Unavailable => exchange.answer("503 Service Unavailable", "", "failing"),
            // The beginning of a head has arrived, so the request is not repeated.
            Self::Disconnect => {
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
    fn apply(self, proxy: &TestProxy) {
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
fn validating_origin(ending: ValidationEnd, gate: &Gate) -> Origin {
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
                        ending.send(exchange);
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
fn assert_not_served_again(ending: ValidationEnd, removal: Removal) {
    let gate = Gate::default();
    let origin = validating_origin(ending, &gate);
    let proxy = TestProxy::to(&origin);
    proxy.get("/").expect(200, "MISS", "old");
    let mut leader = proxy.begin("/", "");
    until("the validation is under way", || count_gets(&origin) == 2);
    let mut follower = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    assert_eq!(
        count_gets(&origin),
        2,
        "the second request follows the first"
    );
    removal.apply(&proxy);
    gate.open();
    let case = format!("{ending:?} {removal:?}");
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
    assert_not_served_again(ValidationEnd::NotFound, Removal::Clear);
    assert_not_served_again(ValidationEnd::NotFoundAndNoStore, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_gets_no_store() {
    assert_not_served_again(ValidationEnd::NoStore, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_gets_503() {
    assert_not_served_again(ValidationEnd::Unavailable, Removal::Clear);
}

#[test]
fn a_cleared_response_is_not_served_after_a_validation_is_disconnected() {
    assert_not_served_again(ValidationEnd::Disconnect, Removal::Clear);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_404() {
    assert_not_served_again(ValidationEnd::NotFound, Removal::Post);
    assert_not_served_again(ValidationEnd::NotFoundAndNoStore, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_no_store() {
    assert_not_served_again(ValidationEnd::NoStore, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_gets_503() {
    assert_not_served_again(ValidationEnd::Unavailable, Removal::Post);
}

#[test]
fn an_invalidated_response_is_not_served_after_a_validation_is_disconnected() {
    assert_not_served_again(ValidationEnd::Disconnect, Removal::Post);
}

#[test]
fn a_cleared_response_is_not_served_after_a_304_with_no_store() {
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
