//! Origins that take long for the first byte, and the limit that a 504 names.

use std::time::Duration;

use crate::{
    failure::assert_plain,
    harness::TestProxy,
    origin::{Gate, Origin},
    ports,
};

const LIMIT: Duration = Duration::from_millis(100);

fn builder(origin: &Origin) -> crate::harness::Builder {
    TestProxy::builder(origin).with(|config| config.timeout = LIMIT)
}

/// An origin whose response to `/slow` waits for the gate, and whose response to `/cut` stops within its body.
fn slow_until(gate: &Gate) -> Origin {
    let gate = gate.clone();
    Origin::start(move |exchange| match exchange.target().as_str() {
        "/cut" => {
            exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart");
            exchange.stall();
        }
        _ => {
            gate.wait();
            exchange.ok("", "the report");
        }
    })
}

#[test]
fn the_first_byte_may_take_longer_than_other_waits() {
    let gate = Gate::default();
    let origin = slow_until(&gate);
    let proxy = builder(&origin)
        .with(|config| {
            config.origin_settings.first_byte_timeout = Some(Duration::from_secs(3600));
            // Those who wait for the fetch decide again meanwhile.
            config.coalesce_wait = LIMIT / 5;
        })
        .start();
    let mut leader = proxy.begin("/slow", "");
    origin.wait_for(1);
    let mut follower = proxy.begin("/slow", "");
    origin.wait_for(2);
    // This takes as long as the other waits may.
    let cut = proxy.get("/cut");
    assert_ne!(cut.ending, crate::client::Ending::Whole);
    let cut = proxy.get("/cut");
    assert_ne!(cut.ending, crate::client::Ending::Whole);
    gate.open();
    leader.answer().expect(200, "MISS", "the report");
    let answer = follower.answer();
    assert_eq!(
        (answer.status(), answer.text().as_str()),
        (200, "the report")
    );
}

#[test]
fn a_504_names_the_limit_that_caused_it() {
    let gate = Gate::default();
    let origin = slow_until(&gate);
    let unset = builder(&origin).start();
    let set = builder(&origin)
        .with(|config| config.origin_settings.first_byte_timeout = Some(LIMIT * 2))
        .start();
    for (proxy, words) in [
        (&unset, "--timeout 100ms: no response"),
        (&set, "--first-byte-timeout 200ms: no response"),
    ] {
        for answer in [
            proxy.get("/slow"),
            proxy.request("POST", "/slow", "", b"body"),
        ] {
            assert_plain(&answer, 504);
            assert!(answer.text().contains(words), "{}", answer.text());
        }
    }
    gate.open();
}

#[test]
fn a_504_for_a_connection_names_its_own_limit() {
    // It accepts connections and does not respond to the handshake.
    let listener = ports::listener();
    let port = listener.local_addr().unwrap().port();
    let proxy = TestProxy::for_url(&format!("https://127.0.0.1:{port}"))
        .with(|config| {
            config.timeout = LIMIT;
            config.origin_settings.first_byte_timeout = Some(Duration::from_secs(3600));
        })
        .start();
    let answer = proxy.get("/");
    assert_plain(&answer, 504);
    assert!(
        answer.text().contains("--timeout 100ms: no connection"),
        "{}",
        answer.text()
    );
}
