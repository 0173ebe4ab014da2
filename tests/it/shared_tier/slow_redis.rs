//! A Redis that is slow: what it costs.

use std::time::{Duration, Instant};

use super::{counting, fetch_and_write, node::Node, relay::Relay, server::RedisServer};
use crate::waiting::until;

/// Many times the longest wait for a lookup, in ms.
const VERY_SLOW: u64 = 2000;
/// Longer than a lookup may take by default, and shorter than a write, in ms for each direction.
const SLOW: u64 = 50;
/// After so many failures Redis is left alone.
const FAILURES: usize = 5;

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_redis_that_does_not_answer_delays_five_requests_by_its_limit_and_then_none() {
    let origin = counting();
    let redis = RedisServer::start();
    let relay = Relay::to(redis.socket());
    let node = Node::start_at(&origin, &relay.url(), &["--redis-timeout", "150ms"]);
    let mut number = 0;
    let mut request = || {
        number += 1;
        let begun = Instant::now();
        let target = format!("/{number}");
        let fetched = node.proxy.get(&target);
        fetched.expect(200, "MISS", &format!("GET {target} #0"));
        begun.elapsed()
    };
    let mut fastest = Duration::MAX;
    // On a busy machine a heartbeat may be too late before.
    until("it is left alone", || {
        relay.delay(0);
        node.wait_until_used();
        relay.delay(VERY_SLOW);
        (0..FAILURES).for_each(|_| fastest = fastest.min(request()));
        node.shared_stats()["left_alone"].as_u64() > Some(0)
    });
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
    let lookups = node.lookups();
    for _ in 0..2 * FAILURES {
        request();
    }
    assert_eq!(node.lookups(), lookups);
    relay.delay(0);
    node.wait_until_used();
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_redis_whose_lookups_are_too_slow_is_left_alone_although_it_is_written_to() {
    let origin = counting();
    let redis = RedisServer::start();
    let relay = Relay::to(redis.socket());
    let node = Node::start_at(&origin, &relay.url(), &[]);
    relay.delay(SLOW);
    let mut number = 0;
    let mut stats = node.shared_stats();
    until("it is left alone", || {
        number += 1;
        fetch_and_write(&node, &format!("/{number}"), "");
        stats = node.shared_stats();
        let why = stats["bypassed"].as_str().unwrap_or_default();
        why.contains("too slow")
    });
    assert!(stats["written"].as_u64() > Some(0), "{stats}");
}
