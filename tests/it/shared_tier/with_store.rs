//! `--store` and `--redis`: what was ended elsewhere while a proxy did not run does not come back from its disk.

use super::{counting, node::Node, relay::Relay, server::RedisServer};
use crate::{client::Client, origin::Origin, waiting::until};

/// Arguments with which responses come from the store or the origin alone.
const STORE: [&str; 6] = [
    "--redis-lease",
    "60s",
    "--store",
    "cache",
    "--disk-reserve",
    "0",
];

/// Longer than a test takes, in ms.
const NEVER: u64 = 600_000;

/// A proxy with a store, and one without. Neither shares what it stores, for it has more than a byte; both share what ends
/// it.
fn with_and_without_store(origin: &Origin, redis: &RedisServer) -> (Node, Node) {
    let unshared = ["--redis-max-object", "1"];
    let one = Node::start(origin, redis, &[&STORE[..], &unshared].concat());
    let other = Node::start(origin, redis, &[&STORE[..2], &unshared].concat());
    (one, other)
}

/// Fetches these paths at the proxy, and waits until they are on disk.
fn store(node: &Node, paths: &[&str]) {
    for path in paths {
        node.proxy
            .get(path)
            .expect(200, "MISS", &format!("GET {path} #0"));
    }
    node.settle_on_disk(paths.len() as u64);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn what_was_ended_elsewhere_while_a_proxy_was_stopped_is_gone_and_the_rest_is_on_disk() {
    let origin = counting();
    let redis = RedisServer::start();
    let (mut one, other) = with_and_without_store(&origin, &redis);
    store(&one, &["/kept", "/purged", "/changed", "/expired/a"]);
    one.stop();
    let mut client = Client::connect(other.proxy.port);
    client.send("POST /changed HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(client.answer().status(), 200);
    other.run_everywhere(&["purge", "--soft", "/expired/*"]);
    other.run_everywhere(&["purge", "/purged"]);
    one.start_again();
    one.proxy.get("/kept").expect(200, "HIT", "GET /kept #0");
    for path in ["/purged", "/changed", "/expired/a"] {
        let answer = one.proxy.get(path);
        assert_ne!(answer.text(), format!("GET {path} #0"));
        assert_ne!(answer.x_cache(), "HIT", "{path}");
    }
    one.settle_on_disk(4);
    one.stop();
    other.run_everywhere(&["--clear-cache"]);
    one.start_again();
    one.proxy.get("/kept").expect(200, "MISS", "GET /kept #1");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_store_keeps_what_was_stored_after_what_its_proxy_has_ended_itself() {
    let origin = counting();
    let redis = RedisServer::start();
    let (mut one, _other) = with_and_without_store(&origin, &redis);
    one.run_everywhere(&["--clear-cache"]);
    store(&one, &["/a"]);
    for _ in 0..2 {
        one.stop();
        one.start_again();
        one.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    }
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_store_is_emptied_if_redis_does_not_know_all_that_was_ended() {
    let origin = counting();
    let mut redis = RedisServer::start();
    let (mut one, other) = with_and_without_store(&origin, &redis);
    store(&one, &["/a"]);
    one.stop();
    for path in ["/1", "/2", "/3"] {
        other.run_everywhere(&["purge", path]);
    }
    let events = redis.keys("*:events").remove(0);
    redis.command(&["XTRIM", &events, "MAXLEN", "1"]);
    one.start_again();
    one.proxy.get("/a").expect(200, "MISS", "GET /a #1");
    one.settle_on_disk(1);
    one.stop();
    redis.kill();
    redis.start_again();
    one.start_again();
    one.proxy.get("/a").expect(200, "MISS", "GET /a #2");
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_proxy_that_was_killed_keeps_its_store() {
    let origin = counting();
    let redis = RedisServer::start();
    let (mut one, other) = with_and_without_store(&origin, &redis);
    store(&one, &["/a", "/b", "/c"]);
    // What was applied is noted on disk with the next end there.
    for path in ["/b", "/c"] {
        other.run_everywhere(&["purge", path]);
    }
    one.kill();
    one.start_again();
    one.proxy.get("/a").expect(200, "HIT", "GET /a #0");
    for path in ["/b", "/c"] {
        one.proxy
            .get(path)
            .expect(200, "MISS", &format!("GET {path} #1"));
    }
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_purge_holds_in_the_stores_of_all_after_they_were_started_again() {
    let origin = counting();
    let redis = RedisServer::start();
    let args = [&STORE[..], &["--redis-max-object", "1"]].concat();
    let mut nodes = [
        Node::start(&origin, &redis, &args),
        Node::start(&origin, &redis, &args),
    ];
    for (number, node) in nodes.iter().enumerate() {
        for path in ["/kept", "/purged"] {
            let body = format!("GET {path} #{number}");
            node.proxy.get(path).expect(200, "MISS", &body);
        }
        node.settle_on_disk(2);
    }
    nodes[0].run_everywhere(&["purge", "/purged"]);
    for (number, node) in nodes.iter_mut().enumerate() {
        node.kill();
        node.start_again();
        node.proxy
            .get("/purged")
            .expect(200, "MISS", &format!("GET /purged #{}", number + 2));
    }
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_body_that_one_proxy_cannot_read_stays_at_the_others() {
    let origin = Origin::start(|exchange| {
        let body = format!("{}:{}", exchange.nth, "x".repeat(2 << 20));
        exchange.ok("Cache-Control: max-age=600\r\n", body);
    });
    let redis = RedisServer::start();
    let args = [&STORE[..], &["--redis-max-object", "1"]].concat();
    let mut one = Node::start(&origin, &redis, &args);
    let other = Node::start(&origin, &redis, &args);
    for node in [&one, &other] {
        assert_eq!(node.proxy.get("/large").x_cache(), "MISS");
        node.settle_on_disk(1);
    }
    one.run_everywhere(&["purge", "/before"]);
    one.stop();
    let removed = std::fs::read_dir(one.home.path("work/cache/large")).unwrap();
    let removed = removed.flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap());
    removed.for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
    one.start_again();
    let again = one.proxy.get("/large");
    assert!(again.text().starts_with("2:"));
    // The other one has applied all that was told before.
    one.run_everywhere(&["purge", "/after"]);
    let kept = other.proxy.get("/large");
    assert_eq!(kept.x_cache(), "HIT");
    assert!(kept.text().starts_with("1:"));
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_purge_that_the_others_were_not_told_of_is_not_lost_when_its_proxy_is_killed() {
    let origin = counting();
    let redis = RedisServer::start();
    let relay = Relay::to(redis.socket());
    let unshared = ["--redis-max-object", "1"];
    let mut one = Node::start_at(&origin, &relay.url(), &[&STORE[..], &unshared].concat());
    let other = Node::start(&origin, &redis, &[&STORE[..2], &unshared].concat());
    let at_other = other.proxy.get("/a").text();
    let unpublished = one.home.path("work/cache/unpublished");
    assert!(!unpublished.exists());
    // Whatever this proxy says does not reach Redis in the time of this test.
    relay.delay(NEVER);
    let purged = one.home.run(&["purge", "/a"]);
    assert_eq!(purged.code, Some(4), "{purged:?}");
    assert!(purged.stderr.contains("could not be told"), "{purged:?}");
    until("it is noted that the others were not told", || {
        unpublished.exists()
    });
    one.kill();
    relay.delay(0);
    other.proxy.get("/a").expect(200, "HIT", &at_other);
    one.start_again();
    until("the other was told", || {
        other.proxy.get("/a").text() != at_other
    });
    until("nothing is to be told", || !unpublished.exists());
}
