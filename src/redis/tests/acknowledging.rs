//! Who publishes an event learns which instances have not applied it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Instance, LIMIT, RedisServer, next, settings, timing, until};
use crate::redis::{Redis, RedisEvents, settings::RedisTiming};

const AT_ONCE: Duration = Duration::ZERO;

/// An instance that applies nothing but what the test confirms.
async fn by_hand(server: &RedisServer, name: &str) -> (Redis, RedisEvents) {
    let opened = Redis::open_with(settings(&server.url(), name), timing());
    let (redis, mut events) = opened.unwrap();
    let begins = next(&mut events).await;
    redis.confirm(&begins);
    until(|| redis.is_usable()).await;
    (redis, events)
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_is_missing_until_it_has_applied_the_event() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "one").await;
    let (two, mut events) = by_hand(&server, "two").await;
    let stamp = one.publish("event").await;
    let missing = one.redis.acknowledged(stamp, AT_ONCE).await.missing;
    assert_eq!(missing, ["two"]);
    let event = next(&mut events).await;
    let waits = tokio::spawn(one.redis.acknowledged(stamp, LIMIT));
    two.confirm(&event);
    // The data are younger than a lease: there may be others.
    until(|| {
        server
            .command(&["HGET", "{test}:acks", &two.shared().id])
            .starts_with("2 ")
    })
    .await;
    waits.abort();
    let result = one.redis.acknowledged(stamp, AT_ONCE).await;
    assert_eq!((result.missing, result.is_certain), (vec![], false));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn the_result_is_certain_when_the_data_are_older_than_a_lease() {
    let server = RedisServer::start();
    let mut short = settings(&server.url(), "one");
    short.lease = Some(Duration::from_millis(400));
    let one = Instance::open(short, timing());
    one.is_ready().await;
    let stamp = one.publish("event").await;
    let result = one.redis.acknowledged(stamp, LIMIT).await;
    assert_eq!((result.missing, result.is_certain), (vec![], true));
    let registration = RedisTiming::registration(Some(Duration::from_millis(400)));
    assert!(registration > Duration::from_secs(1));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_was_closed_is_not_missing() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "one").await;
    let (two, _events) = by_hand(&server, "two").await;
    two.close().await;
    let stamp = one.publish("event").await;
    let missing = one.redis.acknowledged(stamp, AT_ONCE).await.missing;
    assert_eq!(missing, Vec::<String>::new());
}

/// An instance that does not connect again after it has lost its connections.
async fn without_connections(server: &RedisServer, limits: RedisTiming) -> (Redis, RedisEvents) {
    let timing = RedisTiming {
        pause: LIMIT,
        max_pause: LIMIT,
        ..limits
    };
    let opened = Redis::open_with(settings(&server.url(), "two"), timing);
    let (redis, mut events) = opened.unwrap();
    redis.confirm(&next(&mut events).await);
    until(|| redis.is_usable()).await;
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until(|| !redis.is_usable()).await;
    (redis, events)
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_was_closed_without_connections_is_not_missing() {
    let server = RedisServer::start();
    let (two, _events) = without_connections(&server, timing()).await;
    let waiting = two.publish(Bytes::from_static(b"waiting"));
    two.close().await;
    assert!(waiting.published().await.is_err(), "it had no connection");
    let one = Instance::ready(&server, "one").await;
    assert_eq!(one.redis.stats().instances, ["one"]);
    until(|| one.events() == ["waiting"]).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn closing_without_connections_does_not_wait_for_a_server_that_stands_still() {
    let server = RedisServer::start();
    let limits = RedisTiming {
        leave: RedisTiming::default().leave,
        ..timing()
    };
    let (two, _events) = without_connections(&server, limits).await;
    server.stop();
    let begun = Instant::now();
    two.close().await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    server.go_on();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_was_known_before_redis_was_emptied_is_missing() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "one").await;
    let (two, _events) = by_hand(&server, "two").await;
    until(|| one.redis.stats().instances.len() == 2).await;
    drop(two);
    let before = one.redis.stamp().unwrap();
    server.command(&["FLUSHALL"]);
    until(|| {
        one.redis
            .stamp()
            .is_some_and(|stamp| stamp.epoch != before.epoch)
    })
    .await;
    one.is_ready().await;
    let stamp = one.publish("event").await;
    let missing = one.redis.acknowledged(stamp, AT_ONCE).await.missing;
    assert_eq!(missing, ["two"]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn without_redis_all_others_are_missing() {
    let mut server = RedisServer::start();
    let one = Instance::ready(&server, "one").await;
    let _two = by_hand(&server, "two").await;
    until(|| one.redis.stats().instances.len() == 2).await;
    let stamp = one.publish("event").await;
    server.kill();
    until(|| !one.redis.is_usable()).await;
    let result = one.redis.acknowledged(stamp, AT_ONCE).await;
    assert_eq!(
        (result.missing, result.is_certain),
        (vec!["two".to_owned()], false)
    );
    let published = one
        .redis
        .publish(Bytes::from_static(b"later"))
        .published()
        .await;
    assert!(published.is_err());
}
