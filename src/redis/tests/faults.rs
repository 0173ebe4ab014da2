//! Redis that fails, or is slow, is a miss.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::{Instance, RedisServer, address, settings, timing, until};
use crate::redis::{
    RedisSettings, RedisUnavailable, SharedRecordBody, record::CHUNK_BYTES, settings::RedisTiming,
};

/// An instance that waits for lookups as long as the real one does.
async fn impatient(server: &RedisServer) -> Instance {
    let settings = RedisSettings {
        timeout: Duration::from_millis(20),
        ..settings(&server.url(), "1")
    };
    let timing = RedisTiming {
        hard_limit: Duration::from_millis(150),
        ..timing()
    };
    let one = Instance::open(settings, timing);
    one.is_ready().await;
    one
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_that_is_killed_and_restarted_empty_is_used_again() {
    let mut server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", b"body")).await;
    server.kill();
    until(|| !one.redis.is_usable()).await;
    assert_eq!(
        one.redis.get(vec![address("/a")]).await.err(),
        Some(RedisUnavailable::Away)
    );
    assert!(one.redis.stats().bypassed.is_some());
    server.start_again();
    one.is_ready().await;
    assert!(one.get("/a").await.is_empty());
    assert_eq!(one.beginnings(), [false, false]);
    one.put(one.record("/a", b"again")).await;
    assert_eq!(one.body("/a").await.as_deref(), Some(&b"again"[..]));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_instance_starts_without_redis_and_uses_it_when_it_is_there() {
    let mut server = RedisServer::start();
    server.kill();
    let one = Instance::start(&server, "1");
    until(|| one.redis.stats().bypassed.unwrap().contains("connect")).await;
    assert_eq!(one.redis.stamp(), None);
    server.start_again();
    one.is_ready().await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_that_stops_is_left_alone_after_five_lookups() {
    let server = RedisServer::start();
    let one = impatient(&server).await;
    server.stop();
    let mut late = 0;
    while one.redis.is_usable() {
        let result = one.redis.get(vec![address("/a")]).await;
        late += u32::from(result.is_err_and(|error| error == RedisUnavailable::Late));
        assert!(late <= 5);
    }
    let answer = one.redis.get(vec![address("/a")]).await;
    assert_eq!(answer.err(), Some(RedisUnavailable::Away));
    server.go_on();
    one.is_ready().await;
    assert_eq!(one.beginnings(), [false]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_that_sleeps_is_left_alone_and_used_again_without_a_beginning() {
    let server = RedisServer::start_with(&["--save", "", "--enable-debug-command", "local"]);
    let one = impatient(&server).await;
    let socket = server.socket();
    let sleeping = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream.write_all(b"DEBUG SLEEP 2\r\n").unwrap();
        let mut answer = [0; 64];
        let length = stream.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    });
    while one.redis.is_usable() {
        // In time or not: it ends.
        let _ = one.redis.get(vec![address("/a")]).await;
        assert!(!sleeping.is_finished(), "{:?}", one.redis.stats());
    }
    assert_eq!(sleeping.await.unwrap(), "+OK\r\n");
    one.is_ready().await;
    assert_eq!(one.beginnings(), [false]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_body_of_which_redis_has_evicted_a_part_is_a_miss() {
    const RECORDS: u8 = 60;
    let server = RedisServer::start_with(&[
        "--save",
        "",
        "--maxmemory",
        "8mb",
        "--maxmemory-policy",
        "allkeys-lfu",
        // Redis looks at all keys, so that it does not choose what each heartbeat uses.
        "--maxmemory-samples",
        "64",
    ]);
    let one = Instance::ready(&server, "1").await;
    for number in 0..RECORDS {
        let body = vec![number; CHUNK_BYTES + 1];
        one.put(one.record(&format!("/{number}"), &body)).await;
    }
    let (mut whole, mut lacking) = (0, 0);
    for number in 0..RECORDS {
        for record in one.get(&format!("/{number}")).await {
            let SharedRecordBody::Chunked(body) = record.body else {
                panic!("the body is large");
            };
            match one.redis.body(&body).await {
                Ok(parts) => {
                    whole += 1;
                    assert!(parts.concat() == vec![number; CHUNK_BYTES + 1], "{number}");
                }
                Err(error) => {
                    lacking += 1;
                    assert_eq!(error, RedisUnavailable::Gone, "{number}");
                }
            }
        }
    }
    assert!(whole > 0 && lacking > 0, "{whole} {lacking}");
    assert!(one.redis.is_usable());
    one.publish("event").await;
    until(|| one.events() == ["event"]).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn one_part_that_takes_longer_than_the_hard_limit_is_enough() {
    let server = RedisServer::start();
    let patient = Instance::ready(&server, "2").await;
    patient.put(patient.record("/a", &[b'x'; 20_000])).await;
    let one = impatient(&server).await;
    let record = loop {
        if let Ok(mut found) = one.redis.get(vec![address("/a")]).await
            && let Some(record) = found.pop()
        {
            break record;
        }
        one.is_ready().await;
    };
    let SharedRecordBody::Chunked(body) = record.body else {
        panic!("the body is large");
    };
    server.stop();
    let error = one.redis.body(&body).await.unwrap_err();
    assert!(matches!(
        error,
        RedisUnavailable::Late | RedisUnavailable::Away
    ));
    assert!(!one.redis.is_usable());
    server.go_on();
    one.is_ready().await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_without_memory_still_carries_events() {
    let server = RedisServer::start_with(&["--save", "", "--maxmemory-policy", "noeviction"]);
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", b"body")).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    one.redis.put(one.record("/b", b"body"));
    until(|| one.redis.stats().dropped == 1).await;
    one.publish("event").await;
    until(|| one.events() == ["event"]).await;
    assert_eq!(one.body("/a").await.as_deref(), Some(&b"body"[..]));
    let first = one.redis.valid_until();
    until(|| one.redis.valid_until() > first).await;
    assert!(one.redis.is_usable());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_wrong_password_is_told_and_not_shown() {
    let server = RedisServer::start_with(&["--save", "", "--requirepass", "right"]);
    let wrong = Instance::open(with_password(&server, "wr0ng"), timing());
    until(|| wrong.redis.stats().bypassed.unwrap().contains("WRONGPASS")).await;
    assert!(!wrong.redis.stats().bypassed.unwrap().contains("wr0ng"));
    let right = Instance::open(with_password(&server, "right"), timing());
    right.is_ready().await;
}

fn with_password(server: &RedisServer, password: &str) -> RedisSettings {
    let mut settings = settings(&server.url(), "1");
    settings.url = settings.url.with_password(password.into());
    settings
}
