//! One instance fetches a record, the others wait.

use std::time::Duration;

use super::{Instance, LIMIT, RedisServer, address, until};
use crate::redis::{FetchLease, FetchTurn, FetchWait, RedisUnavailable, SharedFetchEnd};

async fn leads(instance: &Instance) -> FetchLease {
    match instance.redis.begin_fetch(&address("/a")).await.unwrap() {
        FetchTurn::Leads(lease) => lease,
        FetchTurn::Waits(_) => panic!("another instance leads"),
    }
}

async fn waits(instance: &Instance) -> FetchWait {
    match instance.redis.begin_fetch(&address("/a")).await.unwrap() {
        FetchTurn::Waits(wait) => wait,
        FetchTurn::Leads(_) => panic!("nobody leads"),
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn who_waits_is_woken_when_the_record_is_stored() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    let lease = leads(&one).await;
    let ended = tokio::spawn(waits(&two).await.ended(LIMIT));
    let mut record = one.record("/a", b"body");
    record.lease = Some(lease);
    one.redis.put(record);
    assert!(matches!(
        ended.await.unwrap(),
        SharedFetchEnd::Released | SharedFetchEnd::Lapsed
    ));
    assert_eq!(two.body("/a").await.as_deref(), Some(&b"body"[..]));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_publication_wakes_who_waits_before_it_looks_again() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let mut timing = super::timing();
    timing.fetch_poll = 2 * LIMIT;
    timing.fetch_lease = 2 * LIMIT;
    let two = Instance::open(super::settings(&server.url(), "2"), timing);
    two.is_ready().await;
    let lease = leads(&one).await;
    let wait = waits(&two).await;
    let ended = tokio::spawn(wait.ended(LIMIT));
    tokio::task::yield_now().await;
    drop(lease);
    assert!(matches!(
        ended.await.unwrap(),
        SharedFetchEnd::Released | SharedFetchEnd::Lapsed
    ));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_lease_that_is_dropped_is_given_to_another() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    drop(leads(&one).await);
    until(|| server.keys("*:l").is_empty()).await;
    let lease = leads(&two).await;
    waits(&one).await;
    drop(lease);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_lease_is_renewed_as_long_as_its_holder_lives() {
    let server = RedisServer::start();
    let mut timing = super::timing();
    timing.fetch_lease = Duration::from_secs(6);
    timing.fetch_renewal = Duration::from_millis(20);
    let one = Instance::open(super::settings(&server.url(), "1"), timing);
    one.is_ready().await;
    let two = Instance::ready(&server, "2").await;
    let lease = leads(&one).await;
    let key = server.keys("*:l").remove(0);
    // Somebody shortens it, and its holder lengthens it again.
    for _ in 0..3 {
        assert_eq!(server.command(&["PEXPIRE", &key, "5000"]), ":1");
        until(|| server.command(&["PTTL", &key])[1..].parse::<u64>().unwrap() > 5_000).await;
    }
    let late = waits(&two).await.ended(Duration::from_millis(50)).await;
    assert_eq!(late, SharedFetchEnd::Late);
    drop(lease);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn the_lease_of_a_holder_that_is_gone_ends() {
    let server = RedisServer::start();
    let two = Instance::ready(&server, "2").await;
    let one = Instance::ready(&server, "1").await;
    let lease = leads(&one).await;
    // The thread ends, and renews nothing.
    one.redis.close().await;
    let ended = tokio::spawn(waits(&two).await.ended(LIMIT));
    let key = server.keys("*:l").remove(0);
    assert_eq!(server.command(&["PEXPIRE", &key, "1"]), ":1");
    assert_eq!(ended.await.unwrap(), SharedFetchEnd::Lapsed);
    drop((leads(&two).await, lease));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn garbage_under_the_key_of_a_lease_is_replaced() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    drop(leads(&one).await);
    until(|| server.keys("*:l").is_empty()).await;
    let name = crate::redis::address::RecordName::of(&address("/a"));
    let key = one.redis.shared().keys.lease(name);
    for garbage in [["SET", &key, "x"], ["LPUSH", &key, "x"]] {
        server.command(&["DEL", &key]);
        server.command(&garbage);
        drop(leads(&one).await);
        until(|| server.keys("*:l").is_empty()).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn without_redis_everybody_fetches() {
    let mut server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    let lease = leads(&one).await;
    let wait = waits(&two).await;
    server.kill();
    assert_eq!(wait.ended(LIMIT).await, SharedFetchEnd::Unavailable);
    until(|| !one.redis.is_usable()).await;
    let refused = one.redis.begin_fetch(&address("/a")).await;
    assert!(matches!(refused, Err(RedisUnavailable::Away)));
    drop(lease);
}
