//! A soak: clears, purges, changes, identities, ranges, faults of the origin and leaving clients, all at once, before a real
//! proxy process whose memory holds a part of the responses only.
//!
//! | file | holds |
//! |---|---|
//! | `content.rs` | the resources, and content that says what it is |
//! | `truth.rs` | what a response may be, and what was wrong |
//! | `origin.rs` | the origin: numbers its responses, and fails in many ways |
//! | `visitor.rs` | a client: it asks, compares every byte, and sometimes leaves |
//! | `administrator.rs` | clears and purges; the downloads of the largest body |
//!
//! It runs for some seconds. `CACHING_PROXY_SOAK_SECONDS=1800` makes it run for half an hour, best with `--nocapture`.
//! What each client does depends on `CACHING_PROXY_TEST_SEED` alone; how they interleave does not.

mod administrator;
mod content;
mod origin;
mod truth;
mod visitor;

use std::{
    fmt::Display,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use self::{administrator::Administrator, truth::Truth, visitor::Visitor};
use crate::{
    dice::{Dice, setting},
    harness::{DEADLINE, until},
    instance::{Home, Instance},
};

const VISITORS: u64 = 16;
const DEFAULT_SEED: u64 = 17;
const DEFAULT_SECONDS: u64 = 5;
const MAX_MEMORY_BYTES: u64 = 1024 * 1024;

const FLAGS: [&str; 12] = [
    "--max-memory",
    "1MiB",
    "--max-object",
    "200KiB",
    "--timeout",
    "1s",
    "--coalesce-wait",
    "300ms",
    "--workers",
    "3",
    "--bind",
    "127.0.0.1",
];

/// Says what happens. It is shown with `--nocapture`, and when the test fails.
#[allow(
    clippy::print_stdout,
    reason = "a test that runs for long says how it goes"
)]
pub(super) fn tell(what: &dyn Display) {
    println!("{what}");
}

#[test]
fn every_response_under_load_is_right() {
    let seed = setting("CACHING_PROXY_TEST_SEED", DEFAULT_SEED);
    let seconds = setting("CACHING_PROXY_SOAK_SECONDS", DEFAULT_SECONDS);
    tell(&format_args!("seed {seed}, {seconds} seconds"));
    let truth = Arc::new(Truth::new());
    let origin = origin::start(&truth, seed);
    let home = Home::new();
    let proxy = home.start_with(&origin.url(), &FLAGS, &[("RUST_LOG", "error")]);
    let end = Instant::now() + Duration::from_secs(seconds);
    let administrator = Administrator::new(&truth, &home, proxy.port);
    std::thread::scope(|scope| {
        for number in 0..VISITORS {
            let (truth, port) = (&truth, proxy.port);
            scope.spawn(move || {
                let mut visitor = Visitor::new(truth, port, seed * 1000 + number);
                while truth.goes_on(end) {
                    visitor.step();
                }
            });
        }
        scope.spawn(|| {
            let mut dice = Dice::new(seed * 1000 + 900);
            while truth.goes_on(end) {
                administrator.step(&mut dice);
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        scope.spawn(|| {
            while truth.goes_on(end) {
                administrator.download_twice();
            }
        });
        let mut reported = Instant::now();
        while truth.goes_on(end) {
            std::thread::park_timeout(Duration::from_millis(200));
            origin.forget();
            check_memory(&truth, &home);
            if reported.elapsed() > Duration::from_secs(60) {
                reported = Instant::now();
                let memory_mib = proxy.memory("VmRSS") >> 20;
                tell(&format_args!("{truth}, {memory_mib} MiB"));
            }
        }
    });
    tell(&truth);
    let wrong = truth.violations();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} violations:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    truth.assert_it_was_a_test(seed);
    settle(&truth, &home, proxy);
}

/// The memory that counts stays within the budget, but for what fetches under way and slow readers hold for a moment.
fn check_memory(truth: &Truth, home: &Home) {
    let stats = home.run_json(&["stats", "--json"]);
    let cache = &stats["cache"];
    let figure = |name: &str| cache[name].as_u64().expect(name);
    let (stored, used) = (figure("stored_bytes"), figure("used_bytes"));
    truth.evictions.fetch_max(figure("evictions"), SeqCst);
    truth.most_used_bytes.fetch_max(used, SeqCst);
    if stored > MAX_MEMORY_BYTES || used > 3 * MAX_MEMORY_BYTES {
        truth.violation(format!("{used} bytes are used, {stored} stored"));
    }
}

/// After the load nothing is left over: no fetch, no client; and the process ends as it should.
fn settle(truth: &Truth, home: &Home, mut proxy: Instance) {
    truth.stop_faults();
    let fetches = || home.run_json(&["stats", "--json"])["cache"]["fetches"].as_u64();
    let begun = Instant::now();
    until("all fetches have ended", || fetches() == Some(0));
    assert!(begun.elapsed() < DEADLINE);
    let mut visitor = Visitor::new(truth, proxy.port, 1);
    visitor.see_everything();
    assert_eq!(truth.violations(), [""; 0]);
    proxy.signal(rustix::process::Signal::TERM);
    let status = proxy.wait();
    assert!(status.success(), "{status:?}\n{}", proxy.log());
}
