//! What `/metrics` says of Redis.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{counting, found_in_redis, node::Node, server::RedisServer};
use crate::{client::Client, ports::free_port, waiting::until};

/// The metrics of the shared tier, without `caching_proxy_shared_`, with their labels.
fn shared_metrics(port: u16) -> BTreeMap<String, f64> {
    let mut client = Client::connect(port);
    client.send("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let text = client.answer().text();
    let of_redis = text.lines().filter_map(|line| {
        let (name, value) = line
            .strip_prefix("caching_proxy_shared_")?
            .split_once(' ')?;
        Some((name.to_owned(), value.parse().unwrap()))
    });
    of_redis.collect()
}

/// The metrics that the numbers of `stats` mean, without the time of a round trip, which each heartbeat changes.
fn metrics_of(stats: &Value) -> BTreeMap<String, f64> {
    let number = |name: &str| stats[name].as_f64().unwrap();
    let failures = ["late", "failed", "corrupt"].map(|kind| {
        let name = format!("failures_total{{kind=\"{kind}\"}}");
        (name, number(kind))
    });
    let others = [
        ("up", f64::from(u8::from(stats["bypassed"].is_null()))),
        (
            "instances",
            stats["instances"].as_array().unwrap().len() as f64,
        ),
        ("waiting_bytes", number("waiting_bytes")),
        ("waiting_events", number("waiting_events")),
        ("lookups_total", number("lookups")),
        ("found_total", number("found")),
        ("writes_total", number("written")),
        ("written_bytes_total", number("written_bytes")),
        ("dropped_total", number("dropped")),
        ("events_total", number("events")),
    ];
    let others = others.map(|(name, value)| (name.to_owned(), value));
    failures.into_iter().chain(others).collect()
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn the_metrics_of_redis_are_those_of_stats_and_of_what_has_happened() {
    let origin = counting();
    let mut redis = RedisServer::start();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let args = ["--redis-timeout", "150ms", "--metrics", &address];
    let one = Node::start(&origin, &redis, &args[..2]);
    let other = Node::start(&origin, &redis, &args);
    found_in_redis(&one, &other, ("/found", ""));
    found_in_redis(&other, &one, ("/written", ""));
    one.run_everywhere(&["purge", "/found/*"]);
    let mut metrics = BTreeMap::new();
    until("the metrics are those of stats", || {
        metrics = shared_metrics(port);
        let round_trip = metrics.remove("round_trip_seconds").unwrap();
        assert!(round_trip > 0.0 && round_trip < 10.0, "{round_trip}");
        metrics == metrics_of(&other.shared_stats())
    });
    assert_eq!((metrics["up"], metrics["instances"]), (1.0, 2.0));
    assert!(metrics["found_total"] >= 1.0 && metrics["writes_total"] >= 1.0);
    assert!(metrics["lookups_total"] > metrics["found_total"]);
    assert!(metrics["written_bytes_total"] > metrics["writes_total"]);
    assert!(metrics["events_total"] >= 1.0);
    redis.kill();
    until("the loss of Redis is seen", || {
        shared_metrics(port)["up"] == 0.0
    });
}
