//! Black-box tests of the proxy: real sockets, a raw TCP origin that can misbehave, one file per theme.
//!
//! Gates in the origin order the events of the origin, the proxy and its clients. No test sleeps. Every wait has a
//! deadline, so a hang is a failure with a message.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in the helpers that are not test functions themselves"
)]

mod certificates;
mod chromium;
mod client;
mod dice;
mod exchange;
mod harness;
mod http2_client;
mod instance;
mod origin;
mod ports;
mod waiting;

mod basics;
mod browser;
mod check_config;
mod clear;
mod clear_truth;
mod coalescing;
mod coalescing_ends;
mod configuration;
mod connection_credentials;
mod cookies_and_forms;
mod cors;
mod dashboard;
mod dashboard_patience;
mod demo;
mod departures;
mod expectations;
mod explaining;
mod failover;
mod failure;
mod fast_path;
mod fidelity;
mod forwarding;
mod framing;
mod guesses;
mod guides;
mod har;
mod http2;
mod http2_floods;
mod https;
mod identity;
mod identity_cookies;
mod inherited_sockets;
mod interim;
mod invalidation;
mod large_bodies;
mod limits;
mod live_streams;
mod log_formats;
mod logging;
mod max_forwards;
mod metrics_listener;
mod mistakes;
mod model;
mod numbers;
mod offline;
mod offline_commands;
mod origin_proxy;
mod parts;
mod pipelining;
mod plain_words;
mod points;
mod points_conditions;
mod points_freshness;
mod points_messages;
mod points_methods;
mod points_post_and_head;
mod points_ranges;
mod points_selecting;
mod points_stale;
mod points_storing;
mod points_targeted;
mod points_validating;
mod policies;
mod posts;
mod proxy_protocol;
mod purging;
mod ranges;
mod rate_limits;
mod recording;
mod redirects;
mod reload;
mod request_bodies;
mod request_heads;
mod request_ids;
mod response_headers;
mod routes;
mod routes_observed;
mod rules;
mod shared_tier;
mod shipped;
mod silent_leaders;
mod slow_origins;
mod slow_readers;
mod soak;
mod stampede;
mod statistics;
mod stats_screen;
mod store;
mod store_large;
mod stored_or_not;
mod superseded;
mod take_over;
mod terminal;
mod tidy;
mod tls;
mod trusted_proxies;
mod tunnels;
mod unix_origins;
mod unread_output;
mod upgrades;
mod validation;
mod voided;
mod warm;
mod warm_sitemaps;
mod whole_fetches;
