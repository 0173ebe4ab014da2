//! The limit of the space, and the reserve.

use std::sync::Arc;

use bytes::Bytes;

use super::{MIB, TestRecord, TestStore, bytes, limits, open_with, record, timing, until};
use crate::disk::{DiskLimits, End, LargeWriter, files::faulty::FaultyFiles};

#[test]
fn the_limit_holds_and_what_is_used_stays() {
    let files = FaultyFiles::new();
    let limit = 16 * MIB;
    let store = open_with(&files, limits(limit), timing());
    until(|| !store.disk.stats().is_loading);
    for number in 0..3000_u64 {
        store.put(record(
            &format!("/{number}"),
            number,
            &bytes(number, 20_000),
        ));
        if number % 50 == 0 {
            store.settle();
            assert!(store.find("/0").is_some(), "after {number}");
            let stats = store.disk.stats();
            assert!(stats.bytes <= limit + limit / 20, "{stats:?}");
        }
    }
    store.settle();
    let stats = store.disk.stats();
    assert!(stats.evicted > 1000 && stats.responses > 400, "{stats:?}");
    assert_eq!(stats.dropped, 0);
    assert_eq!(store.find("/1"), None);
    assert_eq!(store.find("/2999"), Some((2999, bytes(2999, 20_000))));
    let names = files.names();
    let stored: usize = names
        .iter()
        .map(|name| files.bytes(name).unwrap().len())
        .sum();
    assert!(stored as u64 <= limit + limit / 20, "{stored}");
    store.close();
    let store = open_with(&files, limits(limit), timing());
    assert_eq!(store.find("/0"), Some((0, bytes(0, 20_000))));
    assert_eq!(store.find("/2999"), Some((2999, bytes(2999, 20_000))));
}

#[test]
fn the_limit_holds_for_large_bodies() {
    let files = FaultyFiles::new();
    let limit = 16 * MIB;
    let store = open_with(&files, limits(limit), timing());
    until(|| !store.disk.stats().is_loading);
    for number in 0..60_u64 {
        store.store(record(
            &format!("/{number}"),
            number,
            &bytes(number, 1_000_000),
        ));
        let stats = store.disk.stats();
        assert!(stats.bytes <= limit + limit / 20, "{stats:?}");
    }
    assert_eq!(store.disk.stats().dropped, 0);
    assert_eq!(store.find("/59"), Some((59, bytes(59, 1_000_000))));
    assert!(store.find("/50").is_some());
    assert_eq!(store.find("/1"), None);
    store.end(End::All).unwrap();
    until(|| files.names().iter().all(|name| name == "ended.log"));
}

#[test]
fn the_reserve_of_free_space_is_left() {
    let files = FaultyFiles::new();
    files.set_total_bytes(30 * MIB);
    let mut limits = limits(1024 * MIB);
    limits.reserve_bytes = Some(10 * MIB);
    let store = open_with(&files, limits, timing());
    until(|| !store.disk.stats().is_loading);
    for number in 0..800_u64 {
        store.put(record(
            &format!("/{number}"),
            number,
            &bytes(number, 60_000),
        ));
        if number % 20 == 0 {
            store.settle();
        }
    }
    store.settle();
    let names = files.names();
    let stored: usize = names
        .iter()
        .map(|name| files.bytes(name).unwrap().len())
        .sum();
    assert!(stored as u64 <= 20 * MIB + MIB, "{stored}");
    assert_eq!(store.find("/799"), Some((799, bytes(799, 60_000))));
}

/// A store of 32 MiB, with responses that fill it.
fn full_of_bodies(files: &Arc<FaultyFiles>) -> TestStore {
    let limits = DiskLimits {
        max_object_bytes: 8 * MIB,
        ..limits(32 * MIB)
    };
    let store = open_with(files, limits, timing());
    until(|| !store.disk.stats().is_loading);
    for number in 0..40_u64 {
        let body = bytes(number, 1_000_000);
        store.store(record(&format!("/{number}"), number, &body));
    }
    store
}

/// All bytes of all files.
fn stored_bytes(files: &FaultyFiles) -> u64 {
    let names = files.names().into_iter();
    // One can be removed meanwhile.
    let bytes = names.filter_map(|name| files.bytes(&name));
    bytes.map(|bytes| bytes.len() as u64).sum()
}

/// Writes 64 KiB of each body, one after the other, until all have arrived. Bodies that cannot be written are dropped.
fn write_together(store: &TestStore, files: &FaultyFiles, writers: &mut Vec<LargeWriter>) {
    let piece = Bytes::from(bytes(7, 64 * 1024));
    let length = 4 * MIB;
    for _ in 0..length / piece.len() as u64 {
        let write = |mut writer: LargeWriter| {
            let written = writer.write(piece.clone());
            let result = store.runtime.block_on(written);
            result.is_ok().then_some(writer)
        };
        *writers = std::mem::take(writers)
            .into_iter()
            .filter_map(write)
            .collect();
        let limit = 32 * MIB;
        let (stats, stored) = (store.disk.stats(), stored_bytes(files));
        assert!(stats.bytes <= limit + limit / 20, "{stats:?}");
        assert!(stored <= limit + limit / 20, "{stored}");
        // Bodies that arrive take half of the space, and a segment at a time goes.
        assert!(stats.responses >= 10, "{stats:?}");
    }
}

#[test]
fn the_limit_holds_while_many_large_bodies_arrive() {
    for length in [Some(4 * MIB), None] {
        let files = FaultyFiles::new();
        let store = full_of_bodies(&files);
        let dropped = store.disk.stats().dropped;
        let begin = |_| store.disk.large_writer(length);
        let mut writers: Vec<LargeWriter> = (0..30).filter_map(begin).collect();
        write_together(&store, &files, &mut writers);
        let finished = writers.len();
        assert!((2..=3).contains(&finished), "{length:?}: {finished}");
        assert_eq!(store.disk.stats().dropped - dropped, 30 - finished as u64);
        for (number, writer) in (100..).zip(writers) {
            let large = store.runtime.block_on(writer.finish()).unwrap();
            store.store(TestRecord {
                large: Some(large),
                ..record(&format!("/{number}"), number, b"")
            });
            let found = store.find(&format!("/{number}")).unwrap();
            assert_eq!(found.1.len() as u64, 4 * MIB);
        }
        // The space that was set aside is free again.
        let begin = |_| store.disk.large_writer(length);
        let again: Vec<LargeWriter> = (0..30).filter_map(begin).collect();
        assert_eq!(again.len(), 3);
        drop(again);
        store.store(record("/last", 1000, &bytes(1, 1_000_000)));
        assert!(store.find("/last").is_some());
        assert!(store.disk.stats().responses >= 10);
    }
}
