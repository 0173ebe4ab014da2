//! One proxy fetches for all.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{node::Node, server::RedisServer};
use crate::{client::Client, exchange::Gate, origin::Origin, waiting::until};

const PROXIES: usize = 3;
const CLIENTS: usize = 100;
/// How long the origin takes for a response.
const ORIGIN_TIME: Duration = Duration::from_millis(50);
/// More than a proxy keeps the right to fetch after its end (3 s), on a busy machine.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// Proxies that wait for each other for longer than any of these tests takes.
fn proxies(origin: &Origin, redis: &RedisServer) -> [Node; PROXIES] {
    let args = &["--redis-timeout", "150ms", "--coalesce-wait", "60s"];
    [(); PROXIES].map(|()| Node::start(origin, redis, args))
}

fn ask(node: &Node, target: &str) -> Client {
    let mut client = Client::connect(node.proxy.port);
    client.ask(target, "");
    client
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn many_requests_at_all_proxies_for_a_cold_target_are_one_request_at_the_origin() {
    let origin = Origin::start(|exchange| {
        std::thread::park_timeout(ORIGIN_TIME);
        let body = format!("{} #{}", exchange.target(), exchange.nth);
        exchange.ok("Cache-Control: max-age=600\r\n", body);
    });
    let redis = RedisServer::start();
    let nodes = proxies(&origin, &redis);
    let mut number = 0;
    // On a busy machine Redis may be late: then a proxy fetches for itself.
    until("one request reaches the origin", || {
        nodes.iter().for_each(Node::wait_until_used);
        number += 1;
        let target = format!("/{number}");
        let requests = origin.count();
        let clients = (0..CLIENTS * PROXIES).map(|client| ask(&nodes[client % PROXIES], &target));
        let clients: Vec<Client> = clients.collect();
        for mut client in clients {
            let answer = client.answer();
            assert_eq!(answer.status(), 200);
            assert!(answer.text().starts_with(&format!("{target} #")));
        }
        let fetched = origin.count() - requests;
        assert!((1..=PROXIES).contains(&fetched), "{fetched}");
        fetched == 1
    });
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn when_the_proxy_that_fetches_is_killed_the_others_go_on_soon() {
    let gates: Arc<Mutex<Vec<Gate>>> = Arc::default();
    let opened = Arc::clone(&gates);
    let origin = Origin::start(move |exchange| {
        // The first request for a target has no response before the end.
        if exchange.nth == 0 {
            let gate = Gate::default();
            opened.lock().unwrap().push(gate.clone());
            gate.wait();
        }
        exchange.ok("Cache-Control: max-age=600\r\n", "whole");
    });
    let redis = RedisServer::start();
    let [mut holder, others @ ..] = proxies(&origin, &redis);
    let mut number = 0;
    let mut first = Vec::new();
    let mut waiting = Vec::new();
    // On a busy machine Redis may be late: then a proxy fetches for itself.
    until("the others wait", || {
        number += 1;
        let target = format!("/{number}");
        let requests = origin.count();
        first.push(ask(&holder, &target));
        origin.wait_for(requests + 1);
        waiting = others.iter().map(|node| ask(node, &target)).collect();
        until("they wait, or fetch", || {
            !redis.keys("*:w").is_empty() || origin.count() > requests + 1
        });
        !redis.keys("*:w").is_empty()
    });
    let begun = Instant::now();
    holder.kill();
    for mut client in waiting {
        let answer = client.answer();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "whole"));
    }
    let took = begun.elapsed();
    assert!(took < TAKEN_OVER, "{took:?}");
    gates.lock().unwrap().iter().for_each(Gate::open);
}
