//! Proxies whose clocks are hours apart.

use std::{fs, path::PathBuf};

use super::{counting, found_in_redis, node::Node, server::RedisServer};

/// The library of Debian's package faketime.
fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut libraries = places.map(|place| place.path().join("faketime/libfaketime.so.1"));
    let library = libraries.find(|library| library.exists());
    library.expect("the Debian package faketime is needed")
}

/// The environment of a proxy whose clock is so many hours ahead. Time passes as usual.
pub(super) fn clock_ahead(hours: i64) -> Vec<(&'static str, String)> {
    if hours == 0 {
        return Vec::new();
    }
    vec![
        ("LD_PRELOAD", library().to_str().unwrap().to_owned()),
        ("FAKETIME", format!("{hours:+}h")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

/// The number after a word of a `Cache-Status`.
fn number_after(status: &str, word: &str) -> i64 {
    let (_, rest) = status.split_once(word).unwrap();
    rest.split(';').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs redis-server and faketime: cargo test -- --include-ignored"]
fn a_response_is_as_fresh_at_a_proxy_whose_clock_is_hours_ahead_or_behind() {
    let origin = counting();
    let redis = RedisServer::start();
    let url = redis.url();
    let args = &["--redis-timeout", "150ms"];
    let [ahead, right, behind] =
        [1, 0, -1].map(|hours| Node::start_in(&origin, &url, args, clock_ahead(hours)));
    let difference = ahead.shared_stats()["clock_difference_ms"]
        .as_i64()
        .unwrap();
    assert!(
        (-3_660_000..-3_540_000).contains(&difference),
        "{difference}"
    );
    let pairs = [
        (&ahead, &behind),
        (&behind, &ahead),
        (&ahead, &right),
        (&right, &behind),
    ];
    for (number, (one, other)) in pairs.into_iter().enumerate() {
        let (target, hit) = found_in_redis(one, other, (&format!("/{number}"), ""));
        let status = hit.field("cache-status").unwrap();
        let ttl = number_after(status, "ttl=");
        assert!((500..=600).contains(&ttl), "{status}");
        let age: i64 = hit.field("age").unwrap().parse().unwrap();
        assert!((0..100).contains(&age), "{age}");
        assert_eq!(other.proxy.get(&target).x_cache(), "HIT");
    }
}
