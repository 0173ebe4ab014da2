//! Files that somebody else removes or replaces while the store is in use.

use std::{fs, path::Path};

use bytes::Bytes;
use tempfile::tempdir;

use super::{MIB, TestRecord, TestStore, bytes, limits, open, parse_rule, record, until};
use crate::disk::{
    Disk, End, NotDurable, OpenError,
    files::{Files as _, OpenMode, faulty::FaultyFiles},
};

fn open_directory(path: &Path) -> TestStore {
    let store = TestStore::of(Disk::open(path, limits(64 * MIB), parse_rule).unwrap());
    until(|| !store.disk.stats().is_loading);
    store
}

/// Empties a directory.
fn remove_all_in(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => fs::remove_dir_all(entry.path()).unwrap(),
            false => fs::remove_file(entry.path()).unwrap(),
        }
    }
}

#[test]
fn a_log_that_is_removed_or_replaced_is_written_again() {
    for is_replaced in [false, true] {
        let files = FaultyFiles::new();
        let store = open(&files);
        store.store(record("/a", 1, b"a"));
        store.store(record("/b", 2, b"b"));
        store.store(record("/c", 3, b"c"));
        let older = files.bytes("ended.log").unwrap();
        store.end(End::Address(super::address("/a", ""))).unwrap();
        files.remove("ended.log").unwrap();
        if is_replaced {
            let file = files.open("ended.log", OpenMode::CreateNew).unwrap();
            file.write_all_at(&older, 0).unwrap();
        }
        store.end(End::Address(super::address("/b", ""))).unwrap();
        let store = open(&files.after_kill());
        assert_eq!((store.find("/a"), store.find("/b")), (None, None));
        assert_eq!(store.find("/c"), Some((3, b"c".to_vec())));
    }
}

#[test]
fn a_log_that_is_removed_is_written_again_at_the_end() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"a"));
    store.store(record("/b", 2, b"b"));
    store.end(End::Address(super::address("/a", ""))).unwrap();
    files.remove("ended.log").unwrap();
    store.close();
    let store = open(&files);
    assert_eq!(store.find("/a"), None);
    assert_eq!(store.find("/b"), Some((2, b"b".to_vec())));
}

#[test]
fn nothing_is_written_into_a_directory_that_was_emptied() {
    let root = tempdir().unwrap();
    let path = root.path().join("store");
    let store = open_directory(&path);
    store.store(record("/a", 1, &bytes(1, 200_000)));
    remove_all_in(&path);
    // The segment that is open takes records still; the next one is not begun, nor is a file of a body.
    store.store(record("/b", 2, &bytes(2, 200_000)));
    assert_eq!(store.find("/b"), None);
    let mut writer = store.disk.large_writer(None);
    let written = writer.as_mut().map(|writer| {
        let written = writer.write(Bytes::from(bytes(1, 400_000)));
        store.runtime.block_on(written).is_ok()
    });
    assert!(!written.unwrap_or(false));
    assert_eq!(store.end(End::All), Err(NotDurable));
    drop(writer);
    // Another process may use the directory, and its files stay.
    let other = open_directory(&path);
    other.store(record("/c", 3, &bytes(3, 200_000)));
    store.close();
    assert_eq!(other.find("/c"), Some((3, bytes(3, 200_000))));
    other.close();
    let again = open_directory(&path);
    assert_eq!(again.find("/c"), Some((3, bytes(3, 200_000))));
    assert_eq!((again.find("/a"), again.find("/b")), (None, None));
}

#[test]
fn a_format_and_a_secret_that_are_removed_are_written_again() {
    let root = tempdir().unwrap();
    let path = root.path().join("store");
    let store = open_directory(&path);
    store.store(record("/a", 1, b"body"));
    fs::remove_file(path.join("format")).unwrap();
    fs::remove_file(path.join("secret")).unwrap();
    store.store(record("/b", 2, &bytes(2, 200_000)));
    store.close();
    let store = open_directory(&path);
    assert_eq!(store.find("/a"), Some((1, b"body".to_vec())));
}

#[test]
fn a_store_that_has_lost_its_format_is_refused_and_left_as_it_is() {
    let root = tempdir().unwrap();
    let path = root.path().join("store");
    let store = open_directory(&path);
    store.store(record("/a", 1, b"body"));
    store.close();
    let format = fs::read_to_string(path.join("format")).unwrap();
    for begun in [None, Some(""), Some("store")] {
        match begun {
            None => fs::remove_file(path.join("format")).unwrap(),
            Some(text) => fs::write(path.join("format"), text).unwrap(),
        }
        let refused = Disk::open(&path, limits(64 * MIB), parse_rule).err();
        let refused = refused.unwrap();
        assert!(matches!(refused, OpenError::NoFormat { .. }), "{refused}");
        let text = refused.to_string();
        assert!(text.contains("printf 'store of caching-proxy\\nlayout 1\\n' > "));
    }
    fs::write(path.join("format"), format).unwrap();
    let store = open_directory(&path);
    assert_eq!(store.find("/a"), Some((1, b"body".to_vec())));
}

#[test]
fn a_segment_that_has_ended_is_durable_with_its_name() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"body"));
    store.close();
    for seed in 0..30 {
        let store = open(&files.after_power_cut(seed));
        assert_eq!(store.find("/a"), Some((1, b"body".to_vec())), "{seed}");
    }
}

#[test]
fn a_large_body_whose_file_is_removed_is_a_miss() {
    let root = tempdir().unwrap();
    let path = root.path().join("store");
    let store = open_directory(&path);
    store.store(TestRecord {
        head: b"head".to_vec(),
        ..record("/a", 1, &bytes(1, 200_000))
    });
    remove_all_in(&path.join("large"));
    assert_eq!(store.get("/a").len(), 1);
    let crate::disk::StoredBody::Large(body) = store.get("/a")[0].body.clone() else {
        panic!("not a large body");
    };
    assert!(store.large_body(&body).is_err());
    until(|| store.get("/a").is_empty());
    store.store(record("/a", 2, &bytes(2, 200_000)));
    assert_eq!(store.find("/a"), Some((2, bytes(2, 200_000))));
}
