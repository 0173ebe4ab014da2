//! Events reach all instances in one order, and none is missed unnoticed.

use bytes::Bytes;

use super::{Instance, RedisServer, next, settings, timing, until};
use crate::redis::{
    NotPublished, OwnTiers, Redis, RedisMessageKind, RedisSettings, Stamp, settings::RedisTiming,
};

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn events_reach_all_instances_in_one_order() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    let mut names = Vec::new();
    for number in 0..20 {
        let name = format!("event {number}");
        let publisher = if number % 2 == 0 { &one } else { &two };
        let stamp = publisher.publish(&name).await;
        assert_eq!(stamp.position, number + 2);
        names.push(name);
    }
    until(|| one.events() == names && two.events() == names).await;
    until(|| one.redis.stamp().map(|stamp| stamp.position) == Some(21)).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn own_events_come_back_with_their_token() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    let publishing = one.redis.publish(Bytes::from_static(b"event"));
    let token = publishing.token;
    until(|| !one.events().is_empty() && !two.events().is_empty()).await;
    let own = |instance: &Instance| match instance.heard.lock().unwrap().last() {
        Some(RedisMessageKind::Event { own, .. }) => *own,
        other => panic!("{other:?}"),
    };
    assert_eq!((own(&one), own(&two)), (Some(token), None));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn redis_is_not_used_before_the_events_were_applied() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.publish("event").await;
    let (redis, mut events) = Redis::open_with(settings(&server.url(), "2"), timing()).unwrap();
    let begins = next(&mut events).await;
    let event = next(&mut events).await;
    assert!(!redis.is_usable() && redis.stamp().is_none());
    redis.confirm(&begins);
    until(|| redis.stamp().map(|stamp| stamp.position) == Some(1)).await;
    assert!(!redis.is_usable());
    redis.confirm(&event);
    until(|| redis.is_usable()).await;
    until(|| redis.stamp() == one.redis.stamp()).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn events_that_were_published_while_redis_was_away_come_first_when_it_is_back() {
    let mut server = RedisServer::start_with(&["--save", "", "--appendonly", "no"]);
    let one = Instance::ready(&server, "1").await;
    server.kill();
    until(|| !one.redis.is_usable()).await;
    let waiting = one
        .redis
        .publish(Bytes::from_static(b"away"))
        .published()
        .await;
    assert_eq!(waiting, Err(NotPublished));
    assert_eq!(one.redis.stats().waiting_events, 1);
    server.start_again();
    one.is_ready().await;
    assert_eq!(one.events(), ["away"]);
    assert_eq!(one.redis.stats().waiting_events, 0);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_connection_that_was_cut_loses_no_event() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    for round in 0..5 {
        server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
        server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        one.redis.publish(Bytes::from(format!("event {round}")));
        let has_it = |instance: &Instance| instance.events().contains(&format!("event {round}"));
        until(|| has_it(&one) && has_it(&two)).await;
        until(|| one.redis.is_usable() && two.redis.is_usable()).await;
    }
    assert_eq!(
        (one.beginnings(), two.beginnings()),
        (vec![false], vec![false])
    );
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_that_was_away_for_longer_than_the_stream_empties_its_tiers() {
    let server = RedisServer::start();
    let short = RedisTiming {
        stream_events: 10,
        ..timing()
    };
    let one = Instance::open(settings(&server.url(), "1"), short);
    one.is_ready().await;
    let before = one.redis.stamp().unwrap();
    for number in 0..300 {
        one.publish(&format!("event {number}")).await;
    }
    // The stream keeps whole nodes of a hundred entries.
    let resumed = |position: u64| OwnTiers::Earlier(Some(Stamp { position, ..before }));
    for (position, is_continuous) in [(before.position, false), (290, true)] {
        let mut settings = settings(&server.url(), "2");
        settings.own_tiers = resumed(position);
        let two = Instance::open(settings, short);
        two.is_ready().await;
        assert_eq!(two.beginnings(), [is_continuous], "{position}");
        assert_eq!(two.events().last().map(String::as_str), Some("event 299"));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn entries_that_are_missing_in_the_stream_are_noticed() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    server.command(&[
        "XADD",
        "{test}:events",
        "*",
        "n",
        "9",
        "i",
        "x",
        "t",
        "1",
        "e",
        "later",
    ]);
    until(|| one.redis.stamp().is_some_and(|stamp| stamp.position == 9)).await;
    one.is_ready().await;
    assert_eq!(one.events(), ["later"]);
    assert_eq!(one.beginnings(), [false, false]);
}

/// Does something to the stream, and waits until the instance has begun anew with other data.
async fn assert_new_epoch(server: &RedisServer, one: &Instance, commands: &[&[&str]]) {
    let before = one.redis.stamp().unwrap();
    one.put(one.record("/a", b"body")).await;
    for command in commands {
        let reply = server.command(command);
        assert!(!reply.starts_with('-'), "{reply}");
    }
    until(|| {
        one.redis
            .stamp()
            .is_some_and(|stamp| stamp.epoch != before.epoch)
    })
    .await;
    one.is_ready().await;
    assert_eq!(one.beginnings().last(), Some(&false), "{commands:?}");
    assert!(one.get("/a").await.is_empty(), "{commands:?}");
    let heard = one.events().len();
    one.publish("after").await;
    until(|| one.events().len() == heard + 1).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_begins_anew_when_the_data_are_others() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let list = "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'x')";
    let changes: [&[&[&str]]; 7] = [
        &[&["FLUSHALL"]],
        &[&["DEL", "{test}:epoch"]],
        &[&["DEL", "{test}:events"]],
        &[&["SET", "{test}:epoch", "garbage"]],
        &[&["EVAL", list, "1", "{test}:epoch"]],
        &[&["SET", "{test}:events", "text"]],
        &[&["XADD", "{test}:events", "*", "garbage", "x"]],
    ];
    for change in changes {
        assert_new_epoch(&server, &one, change).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn wrong_types_under_the_keys_of_instances_are_replaced() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    for key in ["{test}:instances", "{test}:acks"] {
        server.command(&["SET", key, "text"]);
        until(|| server.command(&["TYPE", key]) != "+string").await;
    }
    one.is_ready().await;
    assert_eq!(one.beginnings(), [false]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_that_was_restarted_with_its_data_has_other_data() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let one = Instance::ready(&server, "1").await;
    let before = one.redis.stamp().unwrap();
    one.put(one.record("/a", b"body")).await;
    server.kill();
    server.start_again();
    assert_eq!(server.keys("*:m").len(), 1);
    until(|| {
        one.redis
            .stamp()
            .is_some_and(|stamp| stamp.epoch != before.epoch)
    })
    .await;
    one.is_ready().await;
    assert!(one.get("/a").await.is_empty());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_stream_that_has_gone_back_is_another_one() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.publish("first").await;
    one.publish("second").await;
    until(|| one.events().len() == 2).await;
    let before = one.redis.stamp().unwrap();
    let script = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
        return redis.call('XDEL', KEYS[1], last[1])";
    assert_eq!(
        server.command(&["EVAL", script, "1", "{test}:events"]),
        ":1"
    );
    until(|| {
        one.redis
            .stamp()
            .is_some_and(|stamp| stamp.epoch != before.epoch)
    })
    .await;
    one.is_ready().await;
    assert_eq!(one.beginnings(), [false, false]);
}

/// Starts an instance whose own tiers have applied everything up to `applied`. Returns whether it goes on from there.
async fn goes_on_from(mut settings: RedisSettings, applied: Stamp) -> bool {
    settings.own_tiers = OwnTiers::Earlier(Some(applied));
    let instance = Instance::open(settings, timing());
    instance.is_ready().await;
    instance.beginnings() == [true]
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn own_tiers_that_have_applied_more_than_the_stream_has_are_emptied() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let last = one.publish("event").await;
    let later = Stamp {
        position: last.position + 1,
        ..last
    };
    let settings = settings(&server.url(), "2");
    assert!(goes_on_from(settings.clone(), last).await);
    assert!(!goes_on_from(settings, later).await);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn own_tiers_of_an_earlier_run_are_emptied_if_restarts_of_redis_are_not_noticed() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let last = one.publish("event").await;
    server.command(&[
        "ACL", "SETUSER", "proxy", "on", ">secret", "~*", "&*", "+@all", "-info",
    ]);
    let mut settings = settings(&server.url(), "2");
    settings.url.user = Some("proxy".into());
    settings.url.password = Some("secret".into());
    assert!(!goes_on_from(settings, last).await);
}
