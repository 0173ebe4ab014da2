//! Bodies in files of their own.

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::{TestRecord, address, bytes, open, record, until};
use crate::disk::{DiskUnavailable, End, StoredBody, files::faulty::FaultyFiles};

#[test]
fn a_long_body_goes_into_a_file_of_its_own() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let body = bytes(1, 300_000);
    store.store(record("/a", 1, &body));
    assert!(matches!(store.get("/a")[0].body, StoredBody::Large(_)));
    assert_eq!(store.find("/a"), Some((1, body.clone())));
    store.close();
    let store = open(&files);
    assert_eq!(store.find("/a"), Some((1, body)));
    store.end(End::Address(address("/a", ""))).unwrap();
    until(|| !files.names().iter().any(|name| name.starts_with("large/")));
}

#[test]
fn an_updated_head_uses_the_body_that_is_there() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let body = bytes(1, 300_000);
    store.store(record("/a", 1, &body));
    let written = store.disk.stats().written_bytes;
    let updated = TestRecord {
        head: b"updated".to_vec(),
        body_from: Some(1),
        ..record("/a", 2, b"not taken")
    };
    store.store(updated);
    assert!(store.disk.stats().written_bytes - written < 1000);
    assert_eq!(store.find("/a"), Some((2, body.clone())));
    // In one batch, and after a restart.
    store.put(TestRecord {
        body_from: Some(2),
        ..record("/a", 3, b"not taken")
    });
    store.put(TestRecord {
        body_from: Some(3),
        ..record("/a", 4, b"not taken")
    });
    store.close();
    let store = open(&files);
    assert_eq!(store.find("/a"), Some((4, body)));
    // Another response has come between: its body is not that of the update.
    store.store(record("/a", 5, b"other"));
    store.store(TestRecord {
        body_from: Some(4),
        ..record("/a", 6, b"own")
    });
    assert_eq!(store.find("/a"), Some((6, b"own".to_vec())));
    until(|| !files.names().iter().any(|name| name.starts_with("large/")));
}

#[test]
fn a_body_is_written_while_it_arrives() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let body = bytes(3, 500_000);
    let large = store.runtime.block_on(async {
        let mut writer = store.disk.large_writer(None).unwrap();
        for piece in body.chunks(70_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        assert_eq!(writer.written_bytes(), 500_000);
        writer.finish().await.unwrap()
    });
    assert_eq!(large.len_bytes(), 500_000);
    assert_eq!(store.large_body(&large).unwrap(), body);
    store.store(TestRecord {
        large: Some(large.clone()),
        ..record("/a", 1, b"")
    });
    drop(large);
    assert_eq!(store.find("/a"), Some((1, body.clone())));
    store.close();
    assert_eq!(open(&files).find("/a"), Some((1, body)));
}

#[test]
fn a_body_is_read_so_far_while_it_arrives() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let body = bytes(3, 700_000);
    store.runtime.block_on(async {
        let mut writer = store.disk.large_writer(None).unwrap();
        assert!(writer.so_far().is_none());
        writer.write(Bytes::new()).await.unwrap();
        let empty = writer.so_far().unwrap().clone();
        assert_eq!(empty.len_bytes(), 0);
        assert!(empty.read(0).await.unwrap().is_empty());
        let mut read = Vec::new();
        for piece in body.chunks(70_000) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
            let so_far = writer.so_far().unwrap();
            while (read.len() as u64) < so_far.len_bytes() {
                read.extend_from_slice(&so_far.read(read.len() as u64).await.unwrap());
            }
            assert!(body.starts_with(&read));
        }
        assert_eq!(read.len(), 512 * 1024);
        let so_far = writer.so_far().unwrap().clone();
        let other = store
            .disk
            .large_writer(None)
            .unwrap()
            .finish()
            .await
            .unwrap();
        assert!(so_far.grown_to(&other).is_none());
        let whole = so_far.grown_to(&writer.finish().await.unwrap()).unwrap();
        while (read.len() as u64) < whole.len_bytes() {
            read.extend_from_slice(&whole.read(read.len() as u64).await.unwrap());
        }
        assert!(read == body);
    });
}

#[test]
fn a_body_that_is_damaged_while_it_arrives_is_not_read() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.runtime.block_on(async {
        let mut writer = store.disk.large_writer(None).unwrap();
        writer.write(Bytes::from(bytes(3, 300_000))).await.unwrap();
        let so_far = writer.so_far().unwrap().clone();
        let names = files.names();
        let name = names.iter().find(|name| name.ends_with(".t")).unwrap();
        files.flip_bit(name, 100_000, 3);
        assert!(so_far.read(0).await.is_ok());
        assert_eq!(so_far.read(70_000).await, Err(DiskUnavailable::Corrupt));
        // It is not counted as the shorter body that was read.
        let before = store.disk.stats().bytes;
        let body = writer.finish().await.unwrap();
        assert!(so_far.read(70_000).await.is_err());
        until(|| store.disk.stats().bytes < before);
        drop(body);
    });
    until(|| store.disk.stats().bytes == 0);
}

#[test]
fn a_body_that_nothing_names_is_removed() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let before = store.disk.stats().bytes;
    store.runtime.block_on(async {
        let mut writer = store.disk.large_writer(None).unwrap();
        writer.write(Bytes::from(bytes(1, 400_000))).await.unwrap();
        drop(writer);
        let mut writer = store.disk.large_writer(None).unwrap();
        writer.write(Bytes::from(bytes(1, 400_000))).await.unwrap();
        drop(writer.finish().await.unwrap());
    });
    until(|| !files.names().iter().any(|name| name.starts_with("large/")));
    until(|| store.disk.stats().bytes == before);
}

#[test]
fn a_body_longer_than_allowed_is_refused() {
    let store = open(&FaultyFiles::new());
    let result = store.runtime.block_on(async {
        let mut writer = store.disk.large_writer(None).unwrap();
        for _ in 0..16 {
            writer
                .write(Bytes::from(vec![0; 1024 * 1024]))
                .await
                .unwrap();
        }
        writer.write(Bytes::from_static(b"x")).await
    });
    assert_eq!(result, Err(DiskUnavailable::NotWritten));
    store.store(record("/a", 1, &vec![0; 17 * 1024 * 1024]));
    assert_eq!(store.find("/a"), None);
    assert_eq!(store.disk.stats().dropped, 1);
}

#[test]
fn an_open_body_is_read_without_a_thread_as_far_as_the_system_has_it_in_memory() {
    let files = FaultyFiles::new();
    let store = open(&files);
    let body = bytes(1, 200_000);
    store.store(record("/a", 1, &body));
    let StoredBody::Large(large) = store.get("/a")[0].body.clone() else {
        panic!("not a large body");
    };
    let opened = store.runtime.block_on(async { large.open().await });
    let reader = opened.unwrap();
    let first = reader.read(0).now_or_never().unwrap().unwrap();
    assert_eq!(first, body[..65_536]);
    files.go_cold();
    let again = store.runtime.block_on(async { reader.read(0).await });
    assert_eq!(again.unwrap(), first);
}

#[test]
fn what_is_open_is_read_to_its_end_after_it_has_ended() {
    let store = open(&FaultyFiles::new());
    let body = bytes(1, 200_000);
    store.store(record("/a", 1, &body));
    let StoredBody::Large(large) = store.get("/a")[0].body.clone() else {
        panic!("not a large body");
    };
    let reader = store
        .runtime
        .block_on(async { large.open().await })
        .unwrap();
    store.end(End::All).unwrap();
    let rest = store.runtime.block_on(async { reader.read(131_072).await });
    assert_eq!(rest.unwrap(), body[131_072..196_608]);
    until(|| {
        store
            .runtime
            .block_on(async { large.open().await })
            .is_err()
    });
}
