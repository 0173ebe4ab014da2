//! What people see of Redis.

use super::{counting, node::Node, server::RedisServer};
use crate::{chromium::Browser, dashboard::DashboardProxy, instance::Home, waiting::until};

#[test]
#[ignore = "needs redis-server, chromium and chromedriver: cargo test -- --include-ignored"]
fn the_page_and_stats_say_who_shares_the_cache_and_that_redis_is_away() {
    let origin = counting();
    let mut redis = RedisServer::start();
    let url = redis.url();
    let other = Node::start(&origin, &redis, &[]);
    let home = Home::new();
    let browser = Browser::open(&home);
    let watched = DashboardProxy::start_with(&home, &origin, &["--redis", &url]);
    browser.go(&watched.link);
    browser.shows("#shared-note", "Shared by 2 proxies: 0 of 0 lookups found");
    watched.proxy.get("/a");
    until("the page shows a lookup", || {
        !browser.text("#shared-note").contains(" of 0 lookups")
    });
    let stats = || home.run_ok(&["stats"]);
    until("stats say it too", || {
        let stats = stats();
        stats.contains("2 proxies") && !stats.contains(" of 0 lookups")
    });
    redis.kill();
    browser.shows("#shared-note", "; not in use: ");
    until("stats say it too", || stats().contains("; not in use: "));
    drop(other);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
fn check_config_says_in_words_what_redis_is_and_what_to_set() {
    let redis = RedisServer::start();
    let url = redis.url();
    let home = Home::new();
    let text = home.run_ok(&[
        "check-config",
        "--origin",
        "http://127.0.0.1:1",
        "--redis",
        &url,
    ]);
    for words in ["Redis answers: ", " ms\n", "maxmemory", "allkeys-lfu"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}
