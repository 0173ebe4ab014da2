//! A cluster of three nodes.

use super::{
    Instance, LIMIT, address,
    server::{RedisCluster, RedisServer},
    settings, timing, until,
};
use crate::redis::{FetchTurn, SharedFetchEnd, check, record::CHUNK_BYTES, settings::RedisTiming};

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn records_are_on_all_nodes_and_events_reach_all_instances() {
    let cluster = RedisCluster::start();
    let one = Instance::open(settings(&cluster.url(), "1"), timing());
    let two = Instance::open(settings(&cluster.url(), "2"), timing());
    one.is_ready().await;
    two.is_ready().await;
    let stamp = one.publish("event").await;
    until(|| two.events() == ["event"]).await;
    until(|| one.redis.stamp() == Some(stamp)).await;
    let large = vec![b'x'; CHUNK_BYTES + 1];
    for number in 0..30 {
        let body = if number % 2 == 0 {
            &b"small"[..]
        } else {
            &large
        };
        one.put(one.record(&format!("/{number}"), body)).await;
        assert!(
            two.body(&format!("/{number}")).await.as_deref() == Some(body),
            "{number}"
        );
    }
    for node in &cluster.nodes {
        assert!(!node.keys("*:m").is_empty());
    }
    let with_stream = |node: &&RedisServer| !node.keys("{test}:events").is_empty();
    assert_eq!(cluster.nodes.iter().filter(with_stream).count(), 1);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn who_waits_for_a_fetch_is_woken_whichever_node_has_the_record() {
    let cluster = RedisCluster::start();
    let patient = RedisTiming {
        fetch_poll: 2 * LIMIT,
        ..timing()
    };
    let one = Instance::open(settings(&cluster.url(), "1"), patient);
    let two = Instance::open(settings(&cluster.url(), "2"), patient);
    one.is_ready().await;
    two.is_ready().await;
    for number in 0..10 {
        let address = address(&format!("/{number}"));
        let leads = one.redis.begin_fetch(&address).await.unwrap();
        let FetchTurn::Waits(wait) = two.redis.begin_fetch(&address).await.unwrap() else {
            panic!("the other instance leads");
        };
        let ended = tokio::spawn(wait.ended(LIMIT));
        tokio::task::yield_now().await;
        drop(leads);
        assert!(matches!(
            ended.await.unwrap(),
            SharedFetchEnd::Released | SharedFetchEnd::Lapsed
        ));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_node_that_is_away_costs_only_its_records() {
    let mut cluster = RedisCluster::start();
    let one = Instance::open(settings(&cluster.url(), "1"), timing());
    one.is_ready().await;
    for node in &cluster.nodes {
        node.command(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    for number in 0..30 {
        one.put(one.record(&format!("/{number}"), b"body")).await;
    }
    let is_other = |node: &RedisServer| node.keys("{test}:events").is_empty();
    // The first one has to say which nodes there are.
    let away = (1..3).find(|node| is_other(&cluster.nodes[*node])).unwrap();
    let lost = cluster.nodes[away].keys("*:m").len();
    assert!(lost > 0);
    cluster.nodes[away].kill();
    until(|| !one.redis.is_usable()).await;
    one.is_ready().await;
    let mut found = 0;
    for number in 0..30 {
        found += one
            .redis
            .get(vec![address(&format!("/{number}"))])
            .await
            .map_or(0, |records| records.len());
    }
    assert_eq!(found, 30 - lost);
    assert_eq!(one.beginnings(), [false]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_server_that_is_no_cluster_is_told() {
    let server = RedisServer::start();
    let url = format!("redis+cluster://127.0.0.1:{}", 1);
    assert!(check(&url.parse().unwrap(), "test", None).await.is_err());
    let report = check(&server.url().parse().unwrap(), "test", None)
        .await
        .unwrap();
    let version = report.version.unwrap();
    assert!(
        version.starts_with("Redis ") || version.starts_with("Valkey "),
        "{version}"
    );
    assert_eq!(report.max_memory_bytes, Some(0));
    assert_eq!(report.max_memory_policy.as_deref(), Some("noeviction"));
    assert_eq!(report.refused, Vec::<String>::new());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn a_user_with_the_necessary_permissions_alone_is_enough() {
    let server = RedisServer::start();
    let rules = [
        "ACL",
        "SETUSER",
        "proxy",
        "on",
        ">secret",
        "~{test*",
        "resetchannels",
        "&test:released",
        "+@read",
        "+@write",
        "+@scripting",
        "+@connection",
        "+@pubsub",
        "-@dangerous",
        "+info",
        "+time",
    ];
    assert_eq!(server.command(&rules), "+OK");
    server.command(&[
        "ACL",
        "SETUSER",
        "default",
        "-@all",
        "+ping",
        "+@scripting",
        "+@read",
    ]);
    let mut settings = settings(&server.url(), "1");
    settings.url.user = Some("proxy".into());
    settings.url.password = Some("secret".into());
    let report = check(&settings.url, "test", None).await.unwrap();
    assert_eq!(report.refused, Vec::<String>::new());
    let one = Instance::open(settings.clone(), timing());
    one.is_ready().await;
    one.put(one.record("/a", b"body")).await;
    one.publish("event").await;
    until(|| one.events() == ["event"]).await;
    assert!(one.redis.stats().notices_restarts);
    assert_eq!(one.body("/a").await.as_deref(), Some(&b"body"[..]));
    settings.url.user = None;
    settings.url.password = None;
    let refused = check(&settings.url, "test", None).await.unwrap().refused;
    assert!(
        refused.iter().any(|one| one.contains("NOPERM")),
        "{refused:?}"
    );
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn without_permission_for_info_restarts_are_not_noticed_and_the_rest_works() {
    let server = RedisServer::start();
    server.command(&[
        "ACL", "SETUSER", "proxy", "on", ">secret", "~*", "&*", "+@all", "-info",
    ]);
    let mut settings = settings(&server.url(), "1");
    settings.url.user = Some("proxy".into());
    settings.url.password = Some("secret".into());
    let one = Instance::open(settings, timing());
    one.is_ready().await;
    assert!(!one.redis.stats().notices_restarts);
    // One that may ask agrees with it on the data.
    let two = Instance::ready(&server, "2").await;
    one.put(one.record("/a", b"body")).await;
    assert_eq!(two.body("/a").await.as_deref(), Some(&b"body"[..]));
    assert_eq!(
        (one.beginnings(), two.beginnings()),
        (vec![false], vec![false])
    );
}
