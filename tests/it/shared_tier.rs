//! `--redis`: several proxies, one cache.

mod clocks;
mod metrics;
mod node;
mod one_fetch;
mod relay;
#[path = "../../src/redis/tests/server.rs"]
mod server;
mod servers;
mod shown;
mod slow_redis;
mod stopped;
mod truth;
mod upheavals;
mod with_store;

use std::{
    process::Stdio,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;

use self::{node::Node, server::RedisServer};
use crate::{
    client::{Answer, Client},
    exchange::Gate,
    instance::Home,
    origin::Origin,
    ports::free_port,
    waiting::until,
};

fn counting() -> Origin {
    Origin::counting("Cache-Control: max-age=600\r\n")
}

/// Two proxies of one origin and one Redis.
fn two(origin: &Origin) -> (RedisServer, Node, Node) {
    let redis = RedisServer::start();
    let (one, other) = two_of(origin, &redis, "60s");
    (redis, one, other)
}

/// Two proxies that serve for so long without Redis.
fn two_of(origin: &Origin, redis: &RedisServer, lease: &str) -> (Node, Node) {
    // The longest time: on a busy machine Redis is slow.
    let args = &["--redis-lease", lease, "--redis-timeout", "150ms"];
    let one = Node::start(origin, redis, args);
    let other = Node::start(origin, redis, args);
    until("each knows both", || {
        [&one, &other].iter().all(|node| {
            let instances = node.shared_stats()["instances"].clone();
            instances.as_array().is_some_and(|all| all.len() == 2)
        })
    });
    (one, other)
}

/// Fetches a target, and waits until it is in Redis, or Redis is not in use.
fn fetch_and_write(node: &Node, target: &str, fields: &str) -> Answer {
    let before = node.shared_stats();
    let fetched = node.proxy.get_with(target, fields);
    until("it is in Redis, or was dropped", || {
        let stats = node.shared_stats();
        let is_done = ["written", "dropped"]
            .iter()
            .any(|name| stats[*name].as_u64() > before[*name].as_u64());
        is_done || !stats["bypassed"].is_null()
    });
    fetched
}

/// Whether a response was loaded from Redis for its request.
fn is_from_redis(answer: &Answer) -> bool {
    let status = answer.field("cache-status").unwrap_or_default();
    status.ends_with("; detail=shared-hit")
}

/// Fetches targets at one proxy until the other finds one of them in Redis: on a busy machine that may be late. Returns the
/// target, which begins with `path`, and the response of the other.
fn found_in_redis(one: &Node, other: &Node, (path, fields): (&str, &str)) -> (String, Answer) {
    let mut found = None;
    let mut number = 0;
    until("a response is found in Redis", || {
        number += 1;
        let target = format!("{path}/{number}");
        let fetched = fetch_and_write(one, &target, fields);
        let answer = other.proxy.get_with(&target, fields);
        let is_found = is_from_redis(&answer);
        if is_found {
            assert_eq!(answer.text(), fetched.text());
            found = Some((target, answer));
        } else {
            one.wait_until_used();
            other.wait_until_used();
        }
        is_found
    });
    found.unwrap()
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn what_one_proxy_has_fetched_is_a_hit_at_another() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    let (target, hit) = found_in_redis(&one, &other, ("/found", ""));
    let fetched = format!("GET {target} #0");
    hit.expect(200, "HIT", &fetched);
    let again = other.proxy.get(&target);
    again.expect(200, "HIT", &fetched);
    assert!(!again.field("cache-status").unwrap().contains("shared-hit"));
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_clear_at_one_proxy_holds_at_all_when_it_returns() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    let (target, _) = found_in_redis(&one, &other, ("/found", ""));
    one.run_everywhere(&["--clear-cache"]);
    other
        .proxy
        .get(&target)
        .expect(200, "MISS", &format!("GET {target} #1"));
    assert_ne!(one.proxy.get(&target).text(), format!("GET {target} #0"));
    found_in_redis(&one, &other, ("/after", ""));
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_purge_and_an_unsafe_request_hold_at_all() {
    let origin = counting();
    let (_redis, one, other) = two(&origin);
    let paths = ["/purged", "/changed", "/kept"];
    let at_other = paths.map(|path| {
        one.proxy.get(path);
        other.proxy.get(path).text()
    });
    one.run_everywhere(&["purge", "/purged"]);
    let purged = other.proxy.get("/purged");
    assert_eq!(purged.x_cache(), "MISS");
    let mut client = Client::connect(one.proxy.port);
    client.send("POST /changed HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.answer().status(), 200);
    until("the other has heard of it", || {
        other.proxy.get("/changed").text() != at_other[1]
    });
    other.proxy.get("/kept").expect(200, "HIT", &at_other[2]);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn one_proxy_fetches_for_all() {
    let gates: Arc<Mutex<Vec<Gate>>> = Arc::default();
    let opened = Arc::clone(&gates);
    let origin = Origin::start(move |exchange| {
        let gate = opened.lock().unwrap().last().cloned();
        gate.unwrap().wait();
        exchange.ok("Cache-Control: max-age=600\r\n", "whole");
    });
    let (_redis, one, other) = two(&origin);
    let mut number = 0;
    // On a busy machine Redis may be late: then each fetches for itself.
    until("one fetches for all", || {
        number += 1;
        let gate = Gate::default();
        gates.lock().unwrap().push(gate.clone());
        let target = format!("/slow/{number}");
        let (requests, lookups) = (origin.count(), other.lookups());
        let mut first = Client::connect(one.proxy.port);
        first.ask(&target, "");
        origin.wait_for(requests + 1);
        let mut second = Client::connect(other.proxy.port);
        second.ask(&target, "");
        until("the other waits for it, or fetches", || {
            other.lookups() > lookups || origin.count() > requests + 1
        });
        gate.open();
        first.answer().expect(200, "MISS", "whole");
        let answer = second.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"));
        let is_one = origin.count() == requests + 1;
        assert_eq!(answer.x_cache(), if is_one { "HIT" } else { "MISS" });
        is_one
    });
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_redis_that_stops_answering_is_a_miss() {
    let origin = counting();
    let (redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
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
    let redis = RedisServer::start();
    let (_one, other) = two_of(&origin, &redis, "2s");
    let before = other.proxy.get("/a").text();
    redis.stop();
    let mut alone = String::new();
    until("the lease has ended", || {
        alone = other.proxy.get("/a").text();
        alone != before
    });
    other.proxy.log_line(&["WARN", "--redis-lease"]);
    other.proxy.get("/a").expect(200, "HIT", &alone);
    redis.go_on();
    other.wait_until_used();
    let log = other.proxy.log();
    let said = log.lines().filter(|line| line.contains("lease"));
    assert_eq!(said.count(), 1, "{log}");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_clear_that_redis_cannot_be_told_of_says_so_and_holds_when_it_can() {
    let origin = counting();
    let (redis, one, other) = two(&origin);
    one.proxy.get("/a").expect(200, "MISS", "GET /a #0");
    redis.stop();
    let cleared = one.home.run(&["--clear-cache"]);
    cleared.refused(
        4,
        &["has cleared its cache. The other proxies could not be told, "],
    );
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
    let before = [&one, &other].map(|node| node.proxy.get("/a").text());
    redis.kill();
    redis.start_again();
    for node in [&one, &other] {
        until("its cache is emptied", || {
            !before.contains(&node.proxy.get("/a").text())
        });
    }
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
    let secret = ["--identity-secret-file", secret.to_str().unwrap()];
    let args = [&secret[..], &["--redis-timeout", "150ms"]].concat();
    let one = Node::start(&origin, &redis, &args);
    let other = Node::start(&origin, &redis, &args);
    let (target, of_alice) = found_in_redis(&one, &other, ("/private", alice));
    let of_bob = other.proxy.get_with(&target, bob);
    assert_eq!(of_bob.x_cache(), "MISS");
    assert_ne!(of_bob.text(), of_alice.text());
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
    let in_redis = |node: &Node, target: &str| {
        node.home.run_json(&["why", target, "--json"])["in_redis"].clone()
    };
    // On a busy machine Redis may be late.
    let mut target = String::new();
    until("Redis has a response", || {
        target = format!("/{}", origin.count());
        fetch_and_write(&one, &target, "");
        in_redis(&other, &target) == "hit"
    });
    until("Redis has none", || in_redis(&other, "/none") == "miss");
    let text = other.home.run_ok(&["why", "/none"]);
    assert!(text.contains("Redis"), "{text}");
    assert!(in_redis(&one, &target).is_null());
    one.run_everywhere(&["purge", &target]);
    until("it has ended there", || in_redis(&other, &target) == "miss");
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
