//! The limit of the space, and the reserve.

use super::{MIB, bytes, limits, open_with, record, timing, until};
use crate::disk::{End, files::faulty::FaultyFiles};

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
