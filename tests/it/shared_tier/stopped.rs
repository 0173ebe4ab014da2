//! A proxy that was stopped for longer than its lease.

use rustix::process::Signal;

use super::{counting, node::Node, relay::Relay, server::RedisServer};
use crate::{client::Client, waiting::until};

/// How many responses are at least in Redis when the proxy goes on.
const RESPONSES: u64 = 100;
/// What then lies between the proxy and Redis, in ms: the requests come before it has heard what it has missed.
const DELAY: u64 = 30;

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn a_proxy_that_goes_on_after_its_lease_serves_nothing_that_was_cleared_meanwhile() {
    let origin = counting();
    let redis = RedisServer::start();
    let relay = Relay::to(redis.socket());
    let args = &["--redis-lease", "2s", "--redis-timeout", "150ms"];
    let one = Node::start(&origin, &redis, args);
    let other = Node::start_at(&origin, &relay.url(), args);
    let mut targets = Vec::new();
    until("responses are in Redis", || {
        for _ in 0..RESPONSES / 4 {
            let target = format!("/{}", targets.len());
            let text = one.proxy.get(&target).text();
            targets.push((target, text));
        }
        one.shared_stats()["written"].as_u64() >= Some(RESPONSES)
    });
    let in_memory = ("/first".to_owned(), other.proxy.get("/first").text());
    targets.push(in_memory);
    // The connections are accepted before, so that all requests are there when the proxy goes on.
    let connected = || {
        let mut client = Client::connect(other.proxy.port);
        client.ask("/first", "");
        assert_eq!(client.answer().status(), 200);
        client
    };
    let mut clients: Vec<Client> = targets.iter().map(|_| connected()).collect();
    other.proxy.signal(Signal::STOP);
    until("the lease of the stopped proxy has ended", || {
        let cleared = one.home.run(&["--clear-cache", "--wait", "5s"]);
        cleared.code == Some(0)
    });
    for (client, (target, _)) in clients.iter_mut().zip(&targets) {
        client.ask(target, "");
    }
    relay.delay(DELAY);
    other.proxy.signal(Signal::CONT);
    for (client, (target, cleared)) in clients.iter_mut().zip(&targets) {
        let answer = client.answer();
        assert_ne!(answer.text(), *cleared, "{target}: {:?}", answer.head);
    }
}
