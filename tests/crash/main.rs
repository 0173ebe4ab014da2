//! A proxy that is killed again and again, and started again on what it has left.
//!
//! | file | holds |
//! |---|---|
//! | `resources.rs` | the resources, and content that says what it is |
//! | `truth.rs` | what a response may be, what must still be stored, and what was wrong |
//! | `responder.rs` | the origin: numbers its responses, confirms and continues what is current |
//! | `visitor.rs` | a client: it asks, compares every byte, changes resources, and gives commands |
//! | `lane.rs` | one store, and the processes that use it one after the other |
//!
//! `CACHING_PROXY_CRASH_KILLS=1000` sets the number of kills. What each client does depends on `CACHING_PROXY_TEST_SEED`
//! alone; how they interleave does not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, also in the helpers that are not test functions themselves"
)]

#[path = "../it/client.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod client;
#[path = "../it/dice.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod dice;
#[path = "../it/exchange.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod exchange;
#[path = "../it/instance.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod instance;
#[path = "../it/origin.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod origin;
#[path = "../it/ports.rs"]
#[allow(dead_code, reason = "the tests in tests/it use the rest")]
mod ports;
#[path = "../it/waiting.rs"]
mod waiting;

mod lane;
mod resources;
mod responder;
mod truth;
mod visitor;

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use dice::setting;
use lane::{Lane, MAX_DISK_BYTES, Storing};
use resources::{NONE, Resource};
use truth::{Checked, Truth};

/// Stores that are used at the same time.
const LANES: u64 = 4;
const DEFAULT_KILLS: u64 = 40;
const DEFAULT_SEED: u64 = 23;

fn seed() -> u64 {
    setting("CACHING_PROXY_TEST_SEED", DEFAULT_SEED)
}

/// Says what happened. It is shown with `--nocapture`, and when the test fails.
#[allow(
    clippy::print_stdout,
    reason = "a test that runs for long says how it went"
)]
fn tell(what: &dyn Display) {
    println!("{what}");
}

/// Runs lanes at the same time until so many processes were killed. Returns what happened how often.
fn kill_many(storing: Storing, kills: u64) -> BTreeMap<&'static str, u64> {
    let seed = seed();
    let left = &AtomicU64::new(kills);
    let is_left = || {
        left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
            .is_ok()
    };
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut violations = Vec::new();
    std::thread::scope(|scope| {
        let start = |number| {
            scope.spawn(move || {
                let mut lane = Lane::new(storing, seed * 1000 + number);
                while lane.truth.is_right() && is_left() {
                    lane.renew_store();
                    lane.live_and_die();
                }
                lane.truth
            })
        };
        let lanes: Vec<_> = (0..LANES).map(start).collect();
        for lane in lanes {
            let truth = lane.join().unwrap();
            violations.extend(truth.violations());
            for (what, count) in truth.counts() {
                *counts.entry(what).or_default() += count;
            }
        }
    });
    tell(&format_args!("seed {seed}: {counts:?}"));
    assert!(
        violations.is_empty(),
        "seed {seed}:\n{}",
        violations.join("\n")
    );
    counts
}

/// Without a store nothing is there after a kill: this checks the check.
#[test]
fn without_a_store_nothing_outlives_a_kill() {
    let counts = kill_many(Storing::Memory, 16);
    assert!(counts["kills"] > 0 && counts["hits"] > 0, "{counts:?}");
}

#[test]
fn nothing_is_wrong_or_lost_after_kills() {
    let kills = setting("CACHING_PROXY_CRASH_KILLS", DEFAULT_KILLS);
    let counts = kill_many(Storing::Directory, kills);
    let common = ["changes", "found", "found that must be there"];
    let others = ["commands", "kills while starting", "orderly ends", "ranges"];
    // In a short run on a busy machine the others may not happen.
    let others = others.iter().filter(|_| kills >= 200);
    for what in common.iter().chain(others) {
        assert!(counts.contains_key(what), "no {what}: {counts:?}");
    }
}

#[test]
fn a_full_store_serves_right_bytes_within_its_limit() {
    let mut lane = Lane::new(Storing::Directory, seed());
    while lane.truth.written_bytes() < 2 * MAX_DISK_BYTES && lane.truth.is_right() {
        lane.live_and_fill();
    }
    lane.live_and_die();
    assert_eq!(lane.truth.violations(), [""; 0]);
    let counts = lane.truth.counts();
    let happened = ["evictions", "found"].map(|what| counts.contains_key(what));
    assert_eq!(happened, [true, true], "{counts:?}");
}

#[test]
fn a_directory_that_is_copied_while_it_is_used_serves_right_bytes() {
    let mut lane = Lane::new(Storing::Directory, seed());
    for _ in 0..4 {
        lane.live_and_die();
        lane.live_and_copy();
    }
    assert_eq!(lane.truth.violations(), [""; 0]);
    let counts = lane.truth.counts();
    assert!(counts.contains_key("found"), "{counts:?}");
}

#[test]
fn a_damaged_store_serves_right_bytes() {
    let mut lane = Lane::new(Storing::Directory, seed());
    for _ in 0..8 {
        lane.live_and_die();
        for _ in 0..4 {
            lane.damage();
        }
    }
    assert_eq!(lane.truth.violations(), [""; 0]);
    let counts = lane.truth.counts();
    let happened = ["found", "damages"].map(|what| counts.contains_key(what));
    assert_eq!(happened, [true, true], "{counts:?}");
}

#[test]
fn what_is_asked_for_while_something_ends_need_not_be_stored() {
    let truth = Truth::new();
    let ask = || truth.ask(Resource(2), NONE, NONE);
    let number = |number| Checked {
        number,
        is_hit: false,
    };
    let mut asked = None;
    truth.ending("a change", &[], &[Resource(2)], || {
        asked = Some(ask());
        true
    });
    truth.received(&asked.unwrap(), number(1));
    assert_eq!(truth.must_be_stored().len(), 0);
    truth.received(&ask(), number(1));
    assert_eq!(truth.must_be_stored().len(), 1);
}

#[test]
fn the_check_notices_a_store_that_is_lost() {
    let mut lane = Lane::new(Storing::Directory, 1);
    let process = lane.start();
    lane.check(&process);
    lane.stop(process);
    std::fs::remove_dir_all(lane.store()).unwrap();
    let process = lane.start();
    lane.check(&process);
    assert!(
        lane.truth.violations()[0].contains("not there any more"),
        "{:?}",
        lane.truth.violations()
    );
}

#[test]
fn the_check_notices_a_store_that_has_missed_an_end() {
    let mut lane = Lane::new(Storing::Directory, 1);
    let process = lane.start();
    lane.check(&process);
    lane.stop(process);
    let older = lane.home.path("work/older");
    std::fs::rename(lane.store(), &older).unwrap();
    let process = lane.start();
    lane.change_everything(&process);
    lane.kill(process);
    std::fs::remove_dir_all(lane.store()).unwrap();
    std::fs::rename(&older, lane.store()).unwrap();
    let process = lane.start();
    lane.check(&process);
    assert!(
        lane.truth.violations()[0].contains("it was removed before"),
        "{:?}",
        lane.truth.violations()
    );
}
