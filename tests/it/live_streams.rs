//! Bodies without an end: cameras, feeds of records, watches.

use std::time::{Duration, Instant};

use crate::{
    client::Client,
    harness::{TestProxy, until},
    origin::{Gate, Origin},
};

/// Sends "now N", where N counts the requests from 0, and then nothing. The gate opens when the proxy hangs up.
fn stream_of(content_type: &'static str) -> (Origin, Gate) {
    let hung_up = Gate::default();
    let origin = Origin::start({
        let hung_up = hung_up.clone();
        move |exchange| {
            exchange.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
            ));
            exchange.chunk(format!("now {}", exchange.nth));
            exchange.stall();
            hung_up.open();
        }
    });
    (origin, hung_up)
}

#[test]
fn a_second_viewer_of_a_camera_or_a_feed_gets_what_is_now() {
    for content_type in [
        "multipart/x-mixed-replace; boundary=frame",
        "application/x-ndjson",
        "text/event-stream",
    ] {
        let (origin, _) = stream_of(content_type);
        let proxy = TestProxy::to(&origin);
        let viewers: Vec<Client> = (0..3)
            .map(|nth| {
                let mut viewer = proxy.begin("/", "");
                viewer.wait_for(&format!("now {nth}"));
                viewer
            })
            .collect();
        assert_eq!(origin.count(), viewers.len(), "{content_type}");
    }
}

#[test]
fn viewers_who_wait_for_the_head_of_a_feed_get_their_own() {
    let gate = Gate::default();
    let origin = Origin::start({
        let gate = gate.clone();
        move |exchange| {
            gate.wait();
            exchange.send(
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            exchange.chunk(format!("now {}", exchange.nth));
            exchange.stall();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut first = proxy.begin("/", "");
    origin.wait_for(1);
    let mut second = proxy.begin("/", "");
    proxy.wait_for_followers(1);
    gate.open();
    first.wait_for("now 0");
    second.wait_for("now 1");
}

#[test]
fn a_viewer_does_not_get_a_replay_of_a_body_that_does_not_end() {
    let (origin, _) = stream_of("application/json");
    let proxy = TestProxy::to(&origin);
    let mut first = proxy.begin("/", "");
    first.wait_for("now 0");
    let began = Instant::now();
    until("a viewer gets a fetch of its own", || {
        let mut later = proxy.begin("/", "");
        later.wait_for("now ");
        origin.count() == 2
    });
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[test]
fn the_origin_is_let_go_when_the_last_viewer_leaves() {
    for content_type in [
        "multipart/x-mixed-replace; boundary=frame",
        "application/x-ndjson",
    ] {
        let (origin, hung_up) = stream_of(content_type);
        let proxy = TestProxy::to(&origin);
        let mut viewer = proxy.begin("/", "");
        viewer.wait_for("now 0");
        drop(viewer);
        hung_up.wait();
    }
}

#[test]
fn the_origin_is_let_go_when_the_last_viewer_of_moving_bytes_leaves() {
    let hung_up = Gate::default();
    let origin = Origin::start({
        let hung_up = hung_up.clone();
        move |exchange| {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while !exchange.is_gone() {
                exchange.chunk("tick");
                std::thread::park_timeout(Duration::from_millis(10));
            }
            hung_up.open();
        }
    });
    let proxy = TestProxy::to(&origin);
    let mut viewer = proxy.begin("/", "");
    viewer.wait_for("tick");
    drop(viewer);
    hung_up.wait();
}
