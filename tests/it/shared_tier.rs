//! `--redis`: several proxies, one cache.

mod node;
mod relay;
#[path = "../../src/redis/tests/server.rs"]
mod server;
mod truth;
mod upheavals;
mod with_store;

use std::process::Stdio;

use rustix::process::Signal;

use self::{node::Node, server::RedisServer};
use crate::{
    client::Client, exchange::Gate, instance::Home, origin::Origin, ports::free_port,
    waiting::until,
};

fn counting() -> Origin {
    Origin::counting("Cache-Control: max-age=600\r\n")
}

/// Two proxies of one origin and one Redis.
fn two(origin: &Origin) -> (RedisServer, Node, Node) {
    let redis = RedisServer::start();
    let args = &["--redis-lease", "2s"];
    let one = Node::start(origin, &redis, args);
    let other = Node::start(origin, &redis, args);
    until("each knows both", || {
        [&one, &other].iter().all(|node| {
            let instances = node.shared_stats()["instances"].clone();
            instances.as_array().is_some_and(|all| all.len() == 2)
        })
    });
    (redis, one, other)
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn what_one_proxy_has_fetched_is_a_hit_at_another() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    let hit = other.proxy.get("/a");
    hit.expect(200, "HIT", "GET /a #0");
    let status = hit.field("cache-status").unwrap();
    assert!(status.ends_with("; detail=shared-hit"), "{status}");
    let again = other.proxy.get("/a");
    again.expect(200, "HIT", "GET /a #0");
    assert!(!again.field("cache-status").unwrap().contains("shared-hit"));
    assert_eq!(origin.count(), 1);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_clear_at_one_proxy_holds_at_all_when_it_returns() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    other.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    one.run_everywhere(&["--clear-cache"]);
    other.proxy.get("/a").expect(200, "MISS", "GET /a #1");
    other.settle(1);
    one.proxy.get("/a").expect(200, "HIT", "GET /a #1");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_purge_and_an_unsafe_request_hold_at_all() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    for path in ["/a", "/b", "/c"] {
        one.proxy.get(path);
    }
    one.settle(3);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(other.proxy.get(path).x_cache(), "HIT");
    }
    one.run_everywhere(&["purge", "/a"]);
    other.proxy.get("/a").expect(200, "MISS", "GET /a #1");
    let mut client = Client::connect(one.proxy.port);
    client.send("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.answer().status(), 200);
    until("the other has heard of it", || {
        other.proxy.get("/b").field("x-cache") == Some("MISS")
    });
    assert_eq!(other.proxy.get("/c").x_cache(), "HIT");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn one_proxy_fetches_for_all() {
    let gate = Gate::default();
    let opened = gate.clone();
    let origin = Origin::start(move |exchange| {
        opened.wait();
        exchange.ok("Cache-Control: max-age=600\r\n", "whole");
    });
    let (_redis, one, other) = two(&origin);
    let mut first = Client::connect(one.proxy.port);
    first.ask("/slow", "");
    origin.wait_for(1);
    let mut second = Client::connect(other.proxy.port);
    second.ask("/slow", "");
    until("the other waits for it", || {
        other.shared_stats()["lookups"].as_u64() >= Some(1)
    });
    gate.open();
    first.answer().expect(200, "MISS", "whole");
    second.answer().expect(200, "HIT", "whole");
    assert_eq!(origin.count(), 1);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_redis_that_stops_answering_is_a_miss() {
    let origin = counting();
    let (redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    redis.stop();
    one.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    other.proxy.get("/a").expect(200, "MISS", "GET /a #1");
    redis.go_on();
    other.wait_until_used();
    one.wait_until_used();
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_proxy_that_hears_nothing_from_redis_empties_its_cache_and_works_alone() {
    let origin = counting();
    let (redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    other.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    redis.stop();
    until("the lease has ended", || {
        other.proxy.get("/a").text() == "GET /a #1"
    });
    other.proxy.get("/a").expect(200, "HIT", "GET /a #1");
    other.proxy.log_line(&["WARN", "--redis-lease"]);
    redis.go_on();
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_clear_that_redis_cannot_be_told_of_says_so_and_holds_when_it_can() {
    let origin = counting();
    let (redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    redis.stop();
    let cleared = one.home.run(&["--clear-cache"]);
    cleared.refused(4, &["not all instances that share it have"]);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #1");
    redis.go_on();
    other.wait_until_used();
    until("the other has heard of it", || {
        other.proxy.get("/a").text() != "GET /a #0"
    });
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn what_an_emptied_redis_had_is_gone_everywhere() {
    let origin = counting();
    let (mut redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    other.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    redis.kill();
    redis.start_again();
    for node in [&one, &other] {
        until("its cache is emptied", || {
            node.proxy.get("/a").text() != "GET /a #0"
        });
    }
    assert!(origin.count() >= 2);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn private_responses_are_shared_with_a_common_secret_alone() {
    let origin = Origin::counting("Cache-Control: private, max-age=600\r\n");
    let redis = RedisServer::start();
    let shared = Node::start(&origin, &redis, &[]);
    let unshared = Node::start(&origin, &redis, &[]);
    let (alice, bob) = ("Authorization: Bearer a\r\n", "Authorization: Bearer b\r\n");
    shared
        .proxy
        .get_with("/a", alice)
        .expect(200, "MISS", "GET /a #0");
    unshared
        .proxy
        .get_with("/a", alice)
        .expect(200, "MISS", "GET /a #1");
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, [7; 32]).unwrap();
    let args = ["--identity-secret-file", secret.to_str().unwrap()];
    let one = Node::start(&origin, &redis, &args);
    let other = Node::start(&origin, &redis, &args);
    one.proxy
        .get_with("/a", alice)
        .expect(200, "MISS", "GET /a #2");
    one.settle(1);
    other
        .proxy
        .get_with("/a", alice)
        .expect(200, "HIT", "GET /a #2");
    other
        .proxy
        .get_with("/a", bob)
        .expect(200, "MISS", "GET /a #3");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_shared_store_on_disk_serves_nothing_before_redis_was_heard() {
    let origin = counting();
    let redis = RedisServer::start();
    let url = redis.url();
    let home = Home::new();
    let args = ["--redis", &url, "--store", "cache", "--disk-reserve", "0"];
    let mut proxy = home.start(&origin.url(), &args[2..]);
    proxy.get("/a").expect(200, "MISS", "GET /a #0");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait().success(), "{}", proxy.log());
    redis.stop();
    let proxy = home.start(&origin.url(), &args);
    proxy.get("/a").expect(200, "MISS", "GET /a #1");
    proxy.get("/a").expect(200, "HIT", "GET /a #1");
    redis.go_on();
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn why_says_what_redis_has() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    one.settle(1);
    // On a busy machine Redis may be late.
    let why = |node: &Node, path: &str, expected: &str| {
        until("Redis answers in time", || {
            node.home.run_json(&["why", path, "--json"])["in_redis"] == expected
        });
    };
    why(&other, "/a", "hit");
    why(&other, "/b", "miss");
    let text = other.home.run_ok(&["why", "/b"]);
    assert!(text.contains("Redis"), "{text}");
    assert!(one.home.run_json(&["why", "/a", "--json"])["in_redis"].is_null());
    one.run_everywhere(&["purge", "/a"]);
    why(&other, "/a", "miss");
    assert_eq!(origin.count(), 1);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_purge_waits_as_long_as_it_is_told_for_a_proxy_that_does_not_run() {
    let origin = counting();
    let redis = RedisServer::start();
    let args = &["--redis-lease", "none"];
    let one = Node::start(&origin, &redis, args);
    let other = Node::start(&origin, &redis, args);
    one.run_everywhere(&["purge", "/a"]);
    other.proxy.signal(Signal::STOP);
    for command in [&["purge", "/a"][..], &["--clear-cache"]] {
        let refused = one.home.run(&[command, &["--wait", "0s"]].concat());
        assert_eq!(refused.code, Some(4), "{refused:?}");
        let name = format!(":{}", other.proxy.port);
        assert!(refused.stderr.contains(&name), "{refused:?}");
    }
    let events = one.shared_stats()["events"].as_u64();
    let mut waiting = one.home.command(&["purge", "/a", "--wait", "1h"]);
    let mut waiting = waiting.stdout(Stdio::null()).spawn().unwrap();
    until("the purge is published", || {
        one.shared_stats()["events"].as_u64() > events
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    other.proxy.signal(Signal::CONT);
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    one.home
        .run(&["purge", "/a", "--wait", "5"])
        .refused(2, &["--wait", "5s"]);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn check_config_says_as_json_what_redis_is() {
    let mut redis = RedisServer::start();
    let home = Home::new();
    let url = redis.url();
    let args = [
        "check-config",
        "--json",
        "--origin",
        "http://127.0.0.1:1",
        "--redis",
        &url,
    ];
    let report = home.run_json(&args)["redis"].clone();
    assert_eq!(report["reached"], true, "{report}");
    assert!(
        report["version"].is_string() && report["latency_us"].is_u64(),
        "{report}"
    );
    assert_eq!(
        (&report["maxmemory"], &report["maxmemory_policy"]),
        (&0.into(), &"noeviction".into())
    );
    assert_eq!(report["advice"].as_array().unwrap().len(), 2, "{report}");
    redis.kill();
    let report = home.run_json(&args)["redis"].clone();
    assert_eq!(report["reached"], false, "{report}");
    assert!(report["error"].is_string(), "{report}");
    assert!(home.run_json(&args[..4])["redis"].is_null());
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn the_dashboard_names_the_proxies_that_have_not_confirmed() {
    let origin = counting();
    let redis = RedisServer::start();
    let address = format!("127.0.0.1:{}", free_port());
    let args = ["--redis-lease", "none", "--dashboard", &address];
    let one = Node::start(&origin, &redis, &args);
    let other = Node::start(&origin, &redis, &args[..2]);
    one.run_everywhere(&["purge", "/a"]);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    other.proxy.signal(Signal::STOP);
    let line = one.proxy.log_line(&["Dashboard: "]);
    let (_, token) = line.split_once("#token=").unwrap();
    let mut client = Client::connect(address.split_once(':').unwrap().1.parse().unwrap());
    client.send(format!(
        "POST /api/purge HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{{\"path\":\"/a\"}}"
    ));
    let purged: serde_json::Value = serde_json::from_slice(&client.answer().body).unwrap();
    assert_eq!(
        (&purged["entries"], &purged["on_disk"]),
        (&1.into(), &0.into())
    );
    let name = format!(":{}", other.proxy.port);
    assert!(
        purged["unconfirmed"].as_str().unwrap().contains(&name),
        "{purged}"
    );
    other.proxy.signal(Signal::CONT);
}
