//! Records are found as they were written, or not at all.

use std::time::Duration;

use super::{Instance, RedisServer, address, until};
use crate::redis::{RedisUnavailable, SharedAddress, SharedRecordBody, record::CHUNK_BYTES};

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_record_is_found_by_another_instance() {
    let server = RedisServer::start();
    let (one, two) = (
        Instance::ready(&server, "1").await,
        Instance::ready(&server, "2").await,
    );
    one.put(one.record("/a", b"body")).await;
    let found = two.get("/a").await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].head[..], Some(found[0].stamp)),
        (&b"head"[..], one.redis.stamp())
    );
    assert_eq!(two.body("/a").await.as_deref(), Some(&b"body"[..]));
    assert!(two.get("/b").await.is_empty());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn variants_and_partitions_are_stored_beside_each_other() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    for (variant, body) in [("gzip", "1"), ("br", "2"), ("gzip", "3")] {
        let mut record = one.record("/a", body.as_bytes());
        record.variant = variant.into();
        one.put(record).await;
    }
    let bob = SharedAddress {
        partition: b"bob".as_slice().into(),
        ..address("/a")
    };
    let mut record = one.record("/a", b"4");
    record.address = bob.clone();
    one.put(record).await;
    let found = one.redis.get(vec![bob, address("/a")]).await.unwrap();
    let mut bodies: Vec<_> = found
        .into_iter()
        .map(|record| match record.body {
            SharedRecordBody::Inline(body) => (record.address_index, body),
            SharedRecordBody::Chunked(_) => panic!("the bodies are small"),
        })
        .collect();
    bodies.sort();
    assert_eq!(bodies, [(0, "4".into()), (1, "2".into()), (1, "3".into())]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_large_body_comes_in_parts() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    for length in [
        16 * 1024 + 1,
        CHUNK_BYTES,
        2 * CHUNK_BYTES + 7,
        8 * 1024 * 1024,
    ] {
        let body: Vec<u8> = (0..251).cycle().take(length).collect();
        let resource = format!("/{length}");
        one.put(one.record(&resource, &body)).await;
        assert!(one.body(&resource).await.unwrap() == body, "{length}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_body_with_a_missing_or_changed_part_is_a_miss() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let body = vec![b'x'; 3 * CHUNK_BYTES];
    let damages: [(&str, &[&str], RedisUnavailable); 4] = [
        ("/gone", &["DEL"], RedisUnavailable::Gone),
        ("/short", &["SET", "short"], RedisUnavailable::Corrupt),
        ("/type", &["LPUSH", "list"], RedisUnavailable::Corrupt),
        (
            "/byte",
            &["SETRANGE", "1000", "y"],
            RedisUnavailable::Corrupt,
        ),
    ];
    for (resource, damage, error) in damages {
        one.put(one.record(resource, &body)).await;
        let keys = server.keys("*:b:*:1");
        let key = keys.first().unwrap();
        if damage[0] == "LPUSH" {
            server.command(&["DEL", key]);
        }
        let mut command = vec![damage[0], key];
        command.extend(&damage[1..]);
        server.command(&command);
        let record = one.get(resource).await.pop().unwrap();
        let SharedRecordBody::Chunked(chunked) = record.body else {
            panic!("the body is large");
        };
        assert_eq!(one.redis.body(&chunked).await, Err(error), "{resource}");
        server.command(&["DEL", key]);
        assert!(one.redis.is_usable());
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn of_a_part_that_is_longer_than_it_should_be_no_more_is_read() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", &[b'x'; 20_000])).await;
    let key = server.keys("*:b:*:0").remove(0);
    server.command(&["SETRANGE", &key, "10000000", "y"]);
    let record = one.get("/a").await.pop().unwrap();
    let SharedRecordBody::Chunked(chunked) = record.body else {
        panic!("the body is large");
    };
    let sent_bytes = || {
        let info = server.command(&["INFO", "stats"]);
        let mut lines = info.lines();
        let sent = lines.find_map(|line| line.strip_prefix("total_net_output_bytes:"));
        sent.unwrap().parse::<u64>().unwrap()
    };
    let before = sent_bytes();
    let error = one.redis.body(&chunked).await;
    assert_eq!(error, Err(RedisUnavailable::Corrupt));
    assert!(sent_bytes() - before < 1_000_000);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn garbage_and_wrong_types_under_the_key_of_a_record_are_a_miss() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", b"body")).await;
    let key = server.keys("*:m").remove(0);
    server.command(&["HSET", &key, "garbage", "garbage"]);
    assert_eq!(one.get("/a").await.len(), 1);
    for wrong in [
        ["SET", &key, "text"],
        ["LPUSH", &key, "text"],
        ["SADD", &key, "text"],
    ] {
        server.command(&["DEL", &key]);
        server.command(&wrong);
        for _ in 0..10 {
            assert!(one.get("/a").await.is_empty(), "{wrong:?}");
        }
    }
    assert!(one.redis.is_usable());
    one.put(one.record("/a", b"again")).await;
    assert_eq!(one.body("/a").await.as_deref(), Some(&b"again"[..]));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn every_key_has_a_time_to_live() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.publish("event").await;
    one.put(one.record("/small", b"body")).await;
    one.put(one.record("/large", &vec![b'x'; CHUNK_BYTES + 1]))
        .await;
    let _leads = one.redis.begin_fetch(&address("/a")).await.unwrap();
    let _waits = one.redis.begin_fetch(&address("/a")).await.unwrap();
    let keys = server.keys("*");
    assert_eq!(keys.len(), 4 + 2 + 2 + 2, "{keys:?}");
    for key in keys {
        let left = server.command(&["PTTL", &key]);
        let left: i64 = left.strip_prefix(':').unwrap().parse().unwrap();
        assert!(left > 0, "{key}: {left}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_record_is_kept_for_longer_when_it_is_renewed() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", &vec![b'x'; CHUNK_BYTES + 1]))
        .await;
    let record = one.get("/a").await.remove(0);
    one.redis.renew(&record, Duration::from_secs(90_000));
    let keys: Vec<String> = ["*:m", "*:b:*"]
        .iter()
        .flat_map(|one| server.keys(one))
        .collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        until(|| {
            let left = server.command(&["TTL", &key]);
            left[1..].parse::<u64>().unwrap() > 80_000
        })
        .await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn the_parts_of_a_body_that_was_replaced_are_given_back_soon() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    one.put(one.record("/a", &vec![b'x'; CHUNK_BYTES + 1]))
        .await;
    let before = server.keys("*:b:*");
    one.put(one.record("/a", b"small")).await;
    for key in before {
        let left = server.command(&["TTL", &key]);
        assert!(left[1..].parse::<u64>().unwrap() <= 60, "{left}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn an_address_has_a_limited_number_of_variants() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    for variant in 0..40_u8 {
        let mut record = one.record("/a", b"body");
        record.variant = vec![variant];
        one.put(record).await;
        assert!(one.get("/a").await.len() <= 32);
    }
    assert!(!one.get("/a").await.is_empty());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn records_that_are_too_large_or_of_another_epoch_are_dropped() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let mut long_head = one.record("/head", b"body");
    long_head.head = vec![b'h'; 64 * 1024 + 1];
    let large = one.record("/large", &vec![b'x'; 8 * 1024 * 1024 + 1]);
    let mut other_epoch = one.record("/epoch", b"body");
    other_epoch.stamp.epoch.0 ^= 1;
    for (record, dropped) in [(long_head, 1), (large, 2), (other_epoch, 3)] {
        one.redis.put(record);
        until(|| one.redis.stats().dropped == dropped).await;
    }
    assert_eq!(server.keys("*:m"), Vec::<String>::new());
    assert_eq!(one.redis.stats().waiting_bytes, 0);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_record_that_the_known_events_cannot_judge_is_a_miss() {
    let server = RedisServer::start();
    let one = Instance::ready(&server, "1").await;
    let begun_before = one.record("/old", b"body");
    one.publish("event").await;
    until(|| one.redis.stamp().is_some_and(|stamp| stamp.position == 2)).await;
    let mut ahead = one.record("/ahead", b"body");
    ahead.stamp.position += 1;
    one.put(ahead).await;
    one.put(begun_before).await;
    assert!(one.get("/ahead").await.is_empty());
    // It is for the caller to judge with the event.
    let found = one.get("/old").await;
    assert!(found[0].stamp.position < one.redis.stamp().unwrap().position);
}
