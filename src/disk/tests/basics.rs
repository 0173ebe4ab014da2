//! Storing, finding, ending, and opening again.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;

use super::{MIB, TestRecord, address, bytes, limits, open, open_with, record, timing, until};
use crate::disk::{
    DiskUnavailable, End, ScanCursor, StoredBody, files::faulty::FaultyFiles, limits::DiskTiming,
};

#[test]
fn what_is_stored_is_found_with_its_head_and_body() {
    let store = open(&FaultyFiles::new());
    store.store(record("/a", 1, b"body"));
    let found = store.get("/a");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].head, "head of /a, 1");
    assert_eq!((found[0].id, found[0].address_index), (1, 0));
    assert_eq!(found[0].expired_at, None);
    assert!(matches!(&found[0].body, StoredBody::Memory(body) if body == "body"));
    assert_eq!(store.find("/b"), None);
    let stats = store.disk.stats();
    assert_eq!(
        (stats.responses, stats.written, stats.hits, stats.misses),
        (1, 1, 1, 1)
    );
    assert_eq!(
        (stats.waiting_bytes, stats.dropped, stats.corrupt),
        (0, 0, 0)
    );
}

#[test]
fn variants_and_partitions_are_stored_beside_one_another() {
    let store = open(&FaultyFiles::new());
    for (id, partition, variant) in [(1, "", "gzip"), (2, "", "br"), (3, "bob", "gzip")] {
        store.put(TestRecord {
            address: address("/a", partition),
            variant: variant.into(),
            ..record("/a", id, variant.as_bytes())
        });
    }
    store.settle();
    let mut ids: Vec<u64> = store.get("/a").iter().map(|found| found.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
    let both = vec![address("/a", "bob"), address("/a", "")];
    let found = store.runtime.block_on(store_get(&store, both)).unwrap();
    let mut found: Vec<_> = found
        .iter()
        .map(|found| (found.address_index, found.id))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 3), (1, 1), (1, 2)]);
    let all = store
        .runtime
        .block_on(async { store.disk.records_of(b"/a"[..].into()).await });
    assert_eq!(all.unwrap().len(), 3);
}

async fn store_get(
    store: &super::TestStore,
    addresses: Vec<crate::disk::Address>,
) -> Result<Vec<crate::disk::StoredRecord>, DiskUnavailable> {
    store.disk.get(addresses).await
}

#[test]
fn what_the_system_has_in_memory_is_found_without_a_thread() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"body"));
    until(|| !store.disk.stats().is_loading);
    let at_once = |name: &str| {
        let found = store.disk.get(vec![address(name, "")]).now_or_never();
        found.map(|found| found.unwrap().len())
    };
    assert_eq!((at_once("/a"), at_once("/b")), (Some(1), Some(0)));
    let stats = store.disk.stats();
    assert_eq!((stats.hits, stats.misses), (1, 1));
    // A thread reads more than a little, and what is not in memory.
    for variant in 0..3 {
        store.put(TestRecord {
            variant: vec![variant],
            ..record("/c", variant.into(), &bytes(1, 60_000))
        });
    }
    store.settle();
    assert_eq!(store.get("/c").len(), 3);
    files.go_cold();
    assert_eq!(store.find("/a"), Some((1, b"body".to_vec())));
}

#[test]
fn a_newer_response_replaces_the_older_one_also_within_a_batch() {
    let store = open(&FaultyFiles::new());
    store.put(record("/a", 1, b"one"));
    store.put(record("/a", 2, b"two"));
    store.settle();
    assert_eq!(store.find("/a"), Some((2, b"two".to_vec())));
    store.store(record("/a", 3, b"three"));
    assert_eq!(store.find("/a"), Some((3, b"three".to_vec())));
    assert_eq!(store.disk.stats().responses, 1);
}

#[test]
fn an_older_response_is_not_found_while_a_newer_one_waits_to_be_written() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"one"));
    store.store(record("/b", 1, b"other"));
    until(|| !store.disk.stats().is_loading);
    store.close();
    let timing = DiskTiming {
        flush: Duration::from_secs(3600),
        ..timing()
    };
    let store = open_with(&files, limits(64 * MIB), timing);
    assert_eq!(store.find("/a"), Some((1, b"one".to_vec())));
    store.put(record("/a", 2, b"two"));
    assert_eq!(store.find("/a"), None);
    assert_eq!(store.find("/b"), Some((1, b"other".to_vec())));
    // So much is written at once.
    store.put(record("/c", 3, &bytes(3, 1024 * 1024)));
    store.settle();
    assert_eq!(store.find("/a"), Some((2, b"two".to_vec())));
}

#[test]
fn a_worker_knows_without_asking_what_is_not_stored() {
    let store = open(&FaultyFiles::new());
    until(|| !store.disk.stats().is_loading);
    assert!(!store.disk.may_have(&address("/a", "")));
    store.store(record("/a", 1, b"body"));
    assert!(store.disk.may_have(&address("/a", "")));
    assert!(!store.disk.may_have(&address("/a", "bob")));
    store.end(End::All).unwrap();
    assert!(!store.disk.may_have(&address("/a", "")));
}

#[test]
fn all_variants_are_found_when_the_index_is_loaded_and_some_before() {
    let files = FaultyFiles::new();
    let variant = |name: &str, id| TestRecord {
        variant: name.into(),
        ..record("/a", id, b"body")
    };
    let store = open(&files);
    store.store(variant("older", 1));
    store.close();
    let is_segment = |name: &String| name.ends_with(".seg");
    let older = files.names().into_iter().find(is_segment).unwrap();
    let store = open(&files);
    store.store(variant("newer", 2));
    store.close();
    files.hold_reads(&older);
    let store = open(&files);
    until(|| store.disk.stats().responses == 1);
    assert_eq!(store.get("/a").len(), 1);
    assert!(store.disk.is_loading());
    let all = store
        .runtime
        .spawn(store.disk.get_all(vec![address("/a", "")]));
    files.release_reads();
    let found = store.runtime.block_on(all).unwrap().unwrap();
    assert_eq!(found.len(), 2);
}

#[test]
fn everything_is_there_after_closing_and_opening() {
    let files = FaultyFiles::new();
    for run in 1..4_u64 {
        let store = open(&files);
        assert_eq!(u64::from(store.opened_run), run);
        for number in 0..100 * (run - 1) {
            let expected = Some((number, bytes(number, 2000)));
            assert_eq!(store.find(&format!("/{number}")), expected, "run {run}");
        }
        for number in 100 * (run - 1)..100 * run {
            store.put(record(&format!("/{number}"), number, &bytes(number, 2000)));
        }
        store.close();
    }
}

#[test]
fn everything_written_is_there_after_a_kill() {
    let files = FaultyFiles::new();
    let store = open(&files);
    for number in 0..50 {
        store.put(record(&format!("/{number}"), number, &bytes(number, 3000)));
    }
    store.settle();
    store.end(End::Resources(vec![b"/7"[..].into()])).unwrap();
    let files = files.after_kill();
    drop(store);
    let store = open(&files);
    for number in 0..50 {
        let expected = (number != 7).then(|| (number, bytes(number, 3000)));
        assert_eq!(store.find(&format!("/{number}")), expected);
    }
}

#[test]
fn a_scan_shows_each_response_once() {
    let files = FaultyFiles::new();
    let store = open_with(&files, limits(16 * MIB), timing());
    for number in 0..1000 {
        let body = bytes(number, usize::try_from(number * 3).unwrap());
        store.put(record(&format!("/{number}"), number, &body));
    }
    store.put(record("/5", 2000, &bytes(5, 100_000)));
    store.settle();
    store.end(End::Address(address("/7", ""))).unwrap();
    let (mut seen, mut from) = (Vec::new(), ScanCursor::default());
    loop {
        let page = store
            .runtime
            .block_on(async { store.disk.scan(from, 64).await })
            .unwrap();
        assert!(page.records.len() <= 64);
        for found in page.records {
            let name = String::from_utf8(found.address.resource.to_vec()).unwrap();
            assert!(
                found
                    .head
                    .starts_with(format!("head of {name},").as_bytes())
            );
            assert_eq!(found.is_large, name == "/5");
            assert!(found.bytes_on_disk >= found.body_bytes);
            seen.push(name);
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    seen.sort();
    let mut expected: Vec<_> = (0..1000).map(|number| format!("/{number}")).collect();
    expected.retain(|name| name != "/7");
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn the_newest_responses_are_those_that_were_written_last() {
    let files = FaultyFiles::new();
    let store = open_with(&files, limits(16 * MIB), timing());
    for number in 0..1000 {
        store.put(record(&format!("/{number}"), number, &bytes(number, 3000)));
    }
    store.settle();
    store.end(End::Address(address("/998", ""))).unwrap();
    let newest = |count, limit| {
        let scan = store.disk.scan(ScanCursor::newest(count), limit);
        let page = store.runtime.block_on(scan).unwrap();
        let names = page.records.iter().map(|it| &it.address.resource);
        let names: Vec<_> = names
            .map(|name| String::from_utf8_lossy(name).into_owned())
            .collect();
        (names, page.next)
    };
    assert_eq!(newest(0, 9), (vec![], None));
    assert_eq!(
        newest(3, 9),
        (vec!["/997".to_owned(), "/999".to_owned()], None)
    );
    // They are in several segments.
    assert_eq!(newest(600, 1000).0.len(), 599);
    assert_eq!(newest(5000, 1000).0.len(), 999);
    let (first, next) = newest(3, 1);
    assert_eq!(first, ["/997"]);
    let scan = store.disk.scan(next.unwrap(), 9);
    let rest = store.runtime.block_on(scan).unwrap();
    assert_eq!((rest.records.len(), rest.next), (1, None));
}

#[test]
fn a_closed_store_answers_that_it_is_not_in_use() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"body"));
    let disk = store.disk.clone();
    store.close();
    assert!(!disk.may_have(&address("/a", "")));
    assert!(disk.large_writer(None).is_none());
    disk.put(Arc::new(record("/b", 2, b"body")));
    let runtime = super::runtime();
    let found = runtime.block_on(async { disk.get(vec![address("/a", "")]).await });
    assert_eq!(found.unwrap_err(), DiskUnavailable::Bypassed);
    assert!(runtime.block_on(disk.end(vec![End::All]).durable).is_err());
    assert_eq!(open(&files).find("/a"), Some((1, b"body".to_vec())));
}
