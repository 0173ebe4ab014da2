//! Which servers proxies share, and with whom.

use super::{
    counting, fetch_and_write, found_in_redis,
    node::Node,
    server::{RedisCluster, RedisServer},
};
use crate::origin::Origin;

/// More than one part of a body in Redis.
const LONG_BODY: usize = 600_000;

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn proxies_share_a_cluster_that_wants_a_password() {
    let origin = Origin::start(|exchange| {
        let body = format!("{} #{}", exchange.target(), exchange.nth);
        let body = match exchange.target().starts_with("/long") {
            true => body.repeat(LONG_BODY / body.len()),
            false => body,
        };
        exchange.ok("Cache-Control: max-age=600\r\n", body);
    });
    let cluster = RedisCluster::start();
    for node in &cluster.nodes {
        let user = [
            "ACL", "SETUSER", "proxy", "on", ">s3cret", "~*", "&*", "+@all",
        ];
        assert_eq!(node.command(&user), "+OK");
        assert_eq!(node.command(&["ACL", "SETUSER", "default", "off"]), "+OK");
    }
    let url = cluster.url().replace("://", "://proxy@");
    let start = || {
        let password = vec![("REDIS_PASSWORD", "s3cret".to_owned())];
        Node::start_in(&origin, &url, &["--redis-timeout", "150ms"], password)
    };
    let (one, other) = (start(), start());
    found_in_redis(&one, &other, ("/short", ""));
    let (target, found) = found_in_redis(&one, &other, ("/long", ""));
    other.run_everywhere(&["purge", &target]);
    assert_ne!(one.proxy.get(&target).text(), found.text());
    for node in [one, other] {
        let log = node.proxy.log();
        assert!(!log.contains("s3cret"), "{log}");
    }
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn proxies_of_another_origin_or_namespace_share_nothing() {
    let (origin, another) = (counting(), counting());
    let redis = RedisServer::start();
    let patient = ["--redis-timeout", "150ms"];
    let named = [&patient[..], &["--redis-namespace", "another"]].concat();
    let one = Node::start(&origin, &redis, &patient);
    let of_another_origin = Node::start(&another, &redis, &patient);
    let of_another_name = Node::start(&origin, &redis, &named);
    fetch_and_write(&one, "/a", "").expect(200, "MISS", "GET /a #0");
    let fetched = of_another_origin.proxy.get("/a");
    fetched.expect(200, "MISS", "GET /a #0");
    assert_eq!(another.count(), 1);
    let fetched = of_another_name.proxy.get("/a");
    fetched.expect(200, "MISS", "GET /a #1");
    of_another_name.run_everywhere(&["--clear-cache"]);
    one.proxy.get("/a").expect(200, "HIT", "GET /a #0");
}
