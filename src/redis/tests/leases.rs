//! The own tiers serve for the length of the lease, and not longer.

use std::time::Duration;

use super::{Instance, RedisServer, address, next, settings, timing, until};
use crate::redis::{
    OwnTiers, Redis, RedisMessageKind, RedisSettings, RedisUnavailable, boot_time_ms,
    settings::RedisTiming,
};

const LEASE: Duration = Duration::from_millis(500);

fn short(server: &RedisServer, name: &str) -> RedisSettings {
    RedisSettings {
        lease: Some(LEASE),
        ..settings(&server.url(), name)
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn heartbeats_lengthen_the_lease() {
    let server = RedisServer::start();
    let one = Instance::open(settings(&server.url(), "1"), timing());
    assert_eq!(one.redis.valid_until(), u64::MAX);
    one.is_ready().await;
    let first = one.redis.valid_until();
    assert!(first > boot_time_ms() && first <= boot_time_ms() + 600_000);
    until(|| one.redis.valid_until() > first).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_hears_nothing_empties_its_tiers_and_goes_on_alone() {
    let server = RedisServer::start();
    let impatient = RedisTiming {
        connect: LEASE,
        answer: LEASE,
        ..timing()
    };
    let (redis, mut events) = Redis::open_with(short(&server, "1"), impatient).unwrap();
    redis.confirm(&next(&mut events).await);
    until(|| redis.valid_until() != u64::MAX).await;
    server.stop();
    let ended = next(&mut events).await;
    assert_eq!(ended.kind, RedisMessageKind::LeaseEnded);
    assert!(boot_time_ms() >= redis.valid_until());
    redis.confirm(&ended);
    until(|| redis.valid_until() == u64::MAX).await;
    server.go_on();
    until(|| redis.is_usable() && redis.valid_until() != u64::MAX).await;
    assert!(redis.valid_until() <= boot_time_ms() + 500);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_hears_events_and_does_not_apply_them_loses_its_lease() {
    let server = RedisServer::start();
    let (redis, mut events) = Redis::open_with(short(&server, "1"), timing()).unwrap();
    redis.confirm(&next(&mut events).await);
    until(|| redis.valid_until() != u64::MAX).await;
    let two = Instance::ready(&server, "2").await;
    two.publish("event").await;
    let mut event = None;
    let ended = loop {
        let message = next(&mut events).await;
        match message.kind {
            RedisMessageKind::Event { .. } => event = Some(message),
            RedisMessageKind::LeaseEnded if event.is_some() => break message,
            // The machine is busy.
            _ => redis.confirm(&message),
        }
    };
    redis.confirm(&event.unwrap());
    redis.confirm(&ended);
    until(|| redis.valid_until() > boot_time_ms()).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_whose_lease_has_ended_does_not_use_redis_before_it_has_applied_the_events() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", b"body")).await;
    let (redis, mut events) = Redis::open_with(short(&server, "2"), timing()).unwrap();
    let mut is_published = false;
    let event = loop {
        tokio::select! {
            message = next(&mut events) => match message.kind {
                RedisMessageKind::Event { .. } => break message,
                // The machine is busy, if the lease has ended.
                RedisMessageKind::Begins { .. } | RedisMessageKind::LeaseEnded => redis.confirm(&message),
            },
            () = until(|| redis.is_usable()), if !is_published => {
                one.publish("event").await;
                is_published = true;
            }
        }
    };
    until(|| !redis.has_lease()).await;
    let answer = redis.get(vec![address("/a")]).await;
    assert_eq!(answer.err(), Some(RedisUnavailable::Away));
    assert!(!redis.is_usable() && redis.stats().bypassed.unwrap().contains("lease"));
    let follower = Instance::follow(redis, events);
    follower.redis.confirm(&event);
    follower.is_ready().await;
    assert_eq!(follower.get("/a").await.len(), 1);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn without_a_lease_the_tiers_serve_for_ever() {
    let mut server = RedisServer::start();
    let mut settings = settings(&server.url(), "1");
    settings.lease = None;
    let one = Instance::open(settings, timing());
    one.is_ready().await;
    server.kill();
    until(|| !one.redis.is_usable()).await;
    assert_eq!(one.redis.valid_until(), u64::MAX);
    assert!(!one.has_lost_its_lease());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn tiers_with_content_of_an_earlier_run_wait_for_redis() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.publish("known").await;
    let known = one.publish("known too").await;
    one.publish("missed").await;
    let mut settings = short(&server, "2");
    settings.own_tiers = OwnTiers::Earlier(Some(known));
    let (two, mut events) = Redis::open_with(settings, timing()).unwrap();
    assert_eq!(two.valid_until(), 0);
    let mut known = Vec::new();
    while known.len() < 3 {
        let message = next(&mut events).await;
        match &message.kind {
            RedisMessageKind::Begins { is_continuous, .. } => assert!(is_continuous),
            RedisMessageKind::Event { is_known, .. } => known.push(*is_known),
            // The machine is busy.
            RedisMessageKind::LeaseEnded => {}
        }
        two.confirm(&message);
    }
    assert_eq!(known, [true, true, false]);
    until(|| two.valid_until() > boot_time_ms()).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn tiers_with_content_of_an_earlier_run_are_emptied_if_redis_is_not_there() {
    let mut server = RedisServer::start();
    server.kill();
    let mut settings = short(&server, "1");
    settings.own_tiers = OwnTiers::Earlier(None);
    let (redis, mut events) = Redis::open_with(settings, timing()).unwrap();
    assert_eq!(redis.valid_until(), 0);
    let ended = next(&mut events).await;
    assert_eq!(ended.kind, RedisMessageKind::LeaseEnded);
    redis.confirm(&ended);
    until(|| redis.valid_until() == u64::MAX).await;
}
