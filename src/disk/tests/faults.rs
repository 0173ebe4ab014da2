//! A disk that fails, is full, is damaged, or loses power.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tempfile::tempdir;

use super::{
    MIB, TestRecord, TestStore, address, bytes, limits, open, open_with, parse_rule, record,
    timing, try_open, until,
};
use crate::disk::{
    Disk, DiskUnavailable, End, NotDurable, OpenError, RuleAction, StoredBody,
    files::faulty::{Failure, Fault, FaultyFiles, Operation},
};

fn fault(operation: Operation, failure: Failure) -> Fault {
    Fault {
        operation,
        nth: 0,
        times: u64::MAX,
        failure,
    }
}

/// Its body follows from its id.
fn numbered(name: &str, id: u64) -> TestRecord {
    let len = if id % 10 == 9 { 150_000 } else { 500 + id * 10 };
    record(name, id, &bytes(id, usize::try_from(len).unwrap()))
}

/// Panics if a found body is not the one of its id. Returns the ids that were found.
fn found_ids(store: &TestStore, name: &str) -> Vec<u64> {
    let found = match store.get_at(address(name, "")) {
        Ok(found) => found,
        Err(_) => return Vec::new(),
    };
    let is_right = |found: &crate::disk::StoredRecord| {
        let expected = numbered(name, found.id);
        assert_eq!(found.head, expected.head, "{name}");
        match store.body(found) {
            Ok(body) => assert!(body == expected.body, "the body of {name}"),
            Err(_) => assert!(matches!(found.body, StoredBody::Large(_))),
        }
        found.id
    };
    found.iter().map(is_right).collect()
}

/// What a script has done before the process was stopped.
#[derive(Default)]
struct Done {
    /// Responses that have ended, by their ids.
    ended: BTreeSet<u64>,
    /// Responses that were written before the last answered end, and have not ended.
    written: BTreeSet<u64>,
    /// The responses that were to end before each checkpoint.
    checkpoints: Vec<Vec<u64>>,
}

/// Stores and ends responses `/0` to `/29`, whose ids are their numbers, and replaces some.
fn script(files: &Arc<FaultyFiles>) -> Done {
    let mut done = Done::default();
    let Ok(opened) = try_open(files, limits(64 * MIB), timing()) else {
        return done;
    };
    let store = TestStore::of(opened);
    let mut put = BTreeSet::new();
    let mut end = |end: End, ids: &[u64], put: &mut BTreeSet<u64>| {
        store.settle();
        put.retain(|id| !ids.contains(id));
        let ending = store.disk.end(vec![end]);
        store
            .disk
            .checkpoint(vec![u8::try_from(done.checkpoints.len() + 1).unwrap()]);
        done.checkpoints.push(ids.to_vec());
        if store.runtime.block_on(ending.durable).is_ok() && !files.has_stopped() {
            done.ended.extend(ids);
            done.written = put.clone();
        } else {
            done.written.retain(|id| !ids.contains(id));
        }
    };
    for id in 0..30 {
        store.put(numbered(&format!("/{id}"), id));
        put.insert(id);
    }
    let names = [b"/1"[..].into(), b"/9"[..].into()];
    end(End::Resources(names.to_vec()), &[1, 9], &mut put);
    end(End::Address(address("/2", "")), &[2], &mut put);
    let rule = End::Matching {
        rule: b"head of /3,".to_vec(),
        action: RuleAction::Remove,
    };
    end(rule, &[3], &mut put);
    let all: Vec<u64> = (0..30).collect();
    end(End::All, &all, &mut put);
    for id in 30..40 {
        store.put(numbered(&format!("/{}", id - 30), id));
        put.insert(id);
    }
    end(End::Address(address("/4", "")), &[34], &mut put);
    store.close();
    done
}

fn check(files: &Arc<FaultyFiles>, done: &Done, is_all_there: bool, context: &str) {
    let store = open(files);
    let checkpoint = store.checkpoint.as_deref().map_or(0, |bytes| bytes[0]);
    let mut seen = BTreeSet::new();
    for number in 0..30 {
        seen.extend(found_ids(&store, &format!("/{number}")));
    }
    let back: Vec<_> = seen.intersection(&done.ended).collect();
    assert!(back.is_empty(), "{context}: {back:?} came back");
    let covered = &done.checkpoints[..checkpoint.into()];
    let early = covered.iter().flatten().find(|id| seen.contains(id));
    assert_eq!(early, None, "{context}: checkpoint {checkpoint}");
    if is_all_there {
        let lost: Vec<_> = done.written.difference(&seen).collect();
        assert!(lost.is_empty(), "{context}: {lost:?} are lost");
    }
    // It can be used.
    store.store(numbered("/new", 50));
    assert_eq!(found_ids(&store, "/new"), [50], "{context}");
}

#[test]
fn a_process_that_is_killed_at_any_operation_leaves_what_was_answered() {
    let files = FaultyFiles::new();
    script(&files);
    let operations = files.operations();
    assert!(operations > 20, "{operations}");
    for stop in 0..operations + 2 {
        let files = FaultyFiles::new();
        files.stop_after(stop);
        let done = script(&files);
        check(&files.after_kill(), &done, true, &format!("kill at {stop}"));
        for seed in 0..3 {
            let context = format!("power cut {seed} at {stop}");
            check(&files.after_power_cut(seed), &done, false, &context);
        }
    }
}

#[test]
fn a_write_that_ends_in_the_middle_is_no_record() {
    for bytes in [1, 63, 100, 700, 5000, 100_000] {
        for nth in 0..12 {
            let files = FaultyFiles::new();
            files.fail(Fault {
                operation: Operation::Write,
                nth,
                times: 1,
                failure: Failure::Killed(bytes),
            });
            let done = script(&files);
            check(
                &files.after_kill(),
                &done,
                true,
                &format!("{bytes} bytes of write {nth}"),
            );
        }
    }
}

#[test]
fn a_short_write_is_continued() {
    let files = FaultyFiles::new();
    files.fail(fault(Operation::Write, Failure::Short(100)));
    let done = script(&files);
    assert_eq!((done.written.len(), done.ended.len()), (9, 31));
    check(&files.after_kill(), &done, true, "short writes");
}

#[test]
fn a_flipped_bit_anywhere_gives_no_wrong_byte_and_brings_nothing_back() {
    let files = FaultyFiles::new();
    let done = script(&files);
    for name in files.names() {
        let len = files.bytes(&name).unwrap().len();
        let step = (len / 60).max(1);
        let places = (0..len).step_by(step).chain(len.saturating_sub(70)..len);
        for (number, byte) in places.enumerate() {
            let damaged = files.after_kill();
            damaged.flip_bit(&name, byte, u32::try_from(number % 8).unwrap());
            check(&damaged, &done, false, &format!("byte {byte} of {name}"));
        }
    }
}

#[test]
fn a_missing_or_shorter_file_gives_no_wrong_byte_and_brings_nothing_back() {
    let files = FaultyFiles::new();
    let done = script(&files);
    for name in files.names() {
        let damaged = files.after_kill();
        damaged.delete(&name);
        check(&damaged, &done, false, &format!("without {name}"));
        let len = files.bytes(&name).unwrap().len();
        for left in [0, 1, len / 3, len - 1] {
            let damaged = files.after_kill();
            damaged.truncate(&name, left);
            check(&damaged, &done, false, &format!("{left} bytes of {name}"));
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_is_a_miss() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(numbered("/a", 1));
    files.fail(Fault {
        times: 1,
        ..fault(Operation::Read, Failure::Io)
    });
    assert_eq!(store.find("/a"), None);
    assert_eq!(store.disk.stats().corrupt, 1);
    assert!(!store.disk.may_have(&address("/a", "")));
    store.store(numbered("/a", 2));
    assert_eq!(found_ids(&store, "/a"), [2]);
}

#[test]
fn a_damaged_large_body_is_cut_and_removed() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(numbered("/a", 19));
    let name = files
        .names()
        .into_iter()
        .find(|name| name.starts_with("large/"));
    files.flip_bit(&name.unwrap(), 140_000, 1);
    let found = store.get("/a");
    assert_eq!(store.body(&found[0]), Err(DiskUnavailable::Corrupt));
    until(|| store.get("/a").is_empty());
    until(|| !files.names().iter().any(|name| name.starts_with("large/")));
    store.store(numbered("/a", 29));
    assert_eq!(found_ids(&store, "/a"), [29]);
}

#[test]
fn what_cannot_be_stored_takes_the_older_response_with_it() {
    for failure in [Failure::NoSpace, Failure::Io, Failure::ReadOnly] {
        let files = FaultyFiles::new();
        let store = open(&files);
        store.store(numbered("/a", 1));
        store.store(numbered("/b", 2));
        // The response, and no more: what has been superseded can be written down.
        files.fail(Fault {
            times: 1,
            ..fault(Operation::Write, failure)
        });
        store.store(numbered("/a", 3));
        assert!(found_ids(&store, "/a").is_empty(), "{failure:?}");
        assert_eq!(found_ids(&store, "/b"), [2]);
        assert_eq!(store.disk.stats().dropped, 1);
        until(|| store.disk.stats().bypassed.is_none());
        store.store(numbered("/c", 4));
        assert_eq!(found_ids(&store, "/c"), [4]);
        let store = open(&files.after_kill());
        assert!(found_ids(&store, "/a").is_empty());
        assert_eq!(found_ids(&store, "/b"), [2]);
    }
}

#[test]
fn a_disk_that_fails_for_some_time_is_bypassed_and_used_again() {
    for failure in [Failure::NoSpace, Failure::Io, Failure::ReadOnly] {
        let files = FaultyFiles::new();
        let store = open(&files);
        store.store(numbered("/a", 1));
        until(|| !store.disk.stats().is_loading);
        files.fail(fault(Operation::Write, failure));
        // It is tried again after a short time, and fails again.
        until(|| {
            store.put(numbered("/new", 3));
            store.disk.stats().bypassed.is_some()
        });
        assert_eq!(found_ids(&store, "/a"), [1], "{failure:?}");
        files.heal();
        until(|| store.disk.stats().bypassed.is_none());
        store.store(numbered("/new", 4));
        assert_eq!(found_ids(&store, "/new"), [4]);
    }
}

#[test]
fn an_end_that_cannot_be_written_holds_and_nothing_is_served_until_it_is() {
    for failure in [Failure::Io, Failure::ReadOnly, Failure::NoSpace] {
        let files = FaultyFiles::new();
        let store = open(&files);
        store.store(numbered("/a", 1));
        store.store(numbered("/b", 2));
        until(|| !store.disk.stats().is_loading);
        files.fail(fault(Operation::Write, failure));
        files.fail(fault(Operation::Sync, failure));
        let end = || End::Address(address("/a", ""));
        assert_eq!(store.end(end()), Err(NotDurable), "{failure:?}");
        let found = store.get_at(address("/b", ""));
        assert_eq!(found.unwrap_err(), DiskUnavailable::Bypassed);
        assert!(!store.disk.may_have(&address("/b", "")));
        assert!(store.disk.stats().bypassed.is_some());
        files.heal();
        until(|| store.disk.stats().bypassed.is_none());
        assert!(found_ids(&store, "/a").is_empty());
        let after = open(&files.after_power_cut(1));
        assert!(found_ids(&after, "/a").is_empty());
        store.close();
    }
}

#[test]
fn an_opened_body_is_read_to_its_end_while_nothing_is_served() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(numbered("/a", 9));
    until(|| !store.disk.stats().is_loading);
    let StoredBody::Large(large) = store.get("/a")[0].body.clone() else {
        panic!("not a large body");
    };
    let reader = store
        .runtime
        .block_on(async { large.open().await })
        .unwrap();
    files.fail(fault(Operation::Write, Failure::Io));
    store.end(End::All).unwrap_err();
    let rest = store.runtime.block_on(async { reader.read(131_072).await });
    assert_eq!(rest.unwrap(), bytes(9, 150_000)[131_072..]);
}

#[test]
fn a_full_disk_has_room_for_an_end_of_everything() {
    let files = FaultyFiles::new();
    let store = open(&files);
    for id in 0..20 {
        store.put(numbered(&format!("/{id}"), id));
    }
    store.settle();
    until(|| !store.disk.stats().is_loading);
    files.set_total_bytes(files.used_bytes());
    store.end(End::All).unwrap();
    let after = open(&files.after_kill());
    for id in 0..20 {
        assert!(found_ids(&store, &format!("/{id}")).is_empty());
        assert!(found_ids(&after, &format!("/{id}")).is_empty());
    }
}

#[test]
fn an_end_that_takes_too_long_is_not_durable_and_nothing_is_served_until_it_is() {
    let mut impatient = timing();
    impatient.end = Duration::ZERO;
    let files = FaultyFiles::new();
    let store = open_with(&files, limits(64 * MIB), impatient);
    store.store(numbered("/a", 1));
    let held = files.hold_syncs();
    assert_eq!(store.end(End::All), Err(NotDurable));
    assert!(store.get_at(address("/a", "")).is_err());
    drop(held);
    until(|| store.disk.stats().bypassed.is_none());
    assert!(found_ids(&store, "/a").is_empty());
    store.put(numbered("/a", 2));
    until(|| found_ids(&store, "/a") == [2]);
}

#[test]
fn too_much_that_waits_is_dropped_and_counted() {
    let mut slow = timing();
    slow.flush = Duration::from_secs(60);
    let store = open_with(&FaultyFiles::new(), limits(256 * MIB), slow);
    let body = bytes(1, 200_000);
    for id in 0..1000 {
        store.put(record(&format!("/{id}"), id, &body));
    }
    let stats = store.disk.stats();
    assert!(stats.waiting_bytes <= 65 * MIB, "{stats:?}");
    store.close();
}

#[test]
fn a_real_directory_is_locked_kept_and_can_vanish() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("store");
    let opened = Disk::open(&path, limits(64 * MIB), parse_rule).unwrap();
    let second = Disk::open(&path, limits(64 * MIB), parse_rule);
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    let of_opened = TestStore::of;
    let secret = opened.secret;
    let store = of_opened(opened);
    store.store(numbered("/a", 1));
    store.store(numbered("/b", 9));
    store.close();
    let opened = Disk::open(&path, limits(64 * MIB), parse_rule).unwrap();
    assert_eq!((opened.secret, opened.run), (secret, 2));
    let store = of_opened(opened);
    assert_eq!(found_ids(&store, "/a"), [1]);
    assert_eq!(found_ids(&store, "/b"), [9]);
    until(|| !store.disk.stats().is_loading);
    std::fs::remove_dir_all(&path).unwrap();
    store.store(numbered("/c", 19));
    assert_eq!(store.find("/c"), None);
    assert!(store.disk.stats().dropped >= 1);
    let _ = store.end(End::All);
    store.close();
    assert!(Disk::open(&path, limits(64 * MIB), parse_rule).is_ok());
}
