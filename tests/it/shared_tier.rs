//! `--redis`: several proxies, one cache.

#[path = "../../src/redis/tests/server.rs"]
mod server;

use server::RedisServer;

use crate::{
    client::Client,
    exchange::Gate,
    instance::{Home, Instance},
    origin::Origin,
    waiting::until,
};

/// A proxy with its home.
struct Node {
    home: Home,
    proxy: Instance,
}

impl Node {
    /// Starts a proxy that uses `redis`, and waits until it does.
    fn start(origin: &Origin, redis: &RedisServer, args: &[&str]) -> Self {
        let url = redis.url();
        let args: Vec<&str> = ["--redis", &url].iter().chain(args).copied().collect();
        let home = Home::new();
        let proxy = home.start(&origin.url(), &args);
        let node = Self { home, proxy };
        node.wait_until_used();
        node
    }

    fn shared_stats(&self) -> serde_json::Value {
        self.home.run_json(&["stats", "--json"])["shared"].clone()
    }

    fn wait_until_used(&self) {
        until("Redis is in use", || {
            self.shared_stats()["bypassed"].is_null()
        });
    }

    /// Runs a command until it holds at all instances: it may not while Redis is younger than the lease.
    fn run_everywhere(&self, args: &[&str]) {
        until("it holds at all instances", || {
            self.home.run(args).code == Some(0)
        });
    }

    /// Waits until all that is stored is in Redis.
    fn settle(&self, written: u64) {
        until("everything is in Redis", || {
            self.shared_stats()["written"] == written
        });
    }
}

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
