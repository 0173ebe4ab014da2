//! What ends stored responses, and what is noted beside it.

use super::{MIB, TestRecord, address, bytes, limits, open, open_with, record, timing, until};
use crate::disk::{
    End, Ended,
    files::faulty::{Failure, Fault, FaultyFiles, Operation},
};

#[test]
fn ends_end_what_they_name_and_nothing_else() {
    let store = open(&FaultyFiles::new());
    let fill = || {
        for name in ["/a", "/b", "/c"] {
            store.put(record(name, 1, b"shared"));
            store.put(TestRecord {
                address: address(name, "bob"),
                ..record(name, 2, b"of bob")
            });
        }
        store.settle();
    };
    let count = |name: &str| {
        let of_bob = store.get_at(address(name, "bob")).unwrap().len();
        (store.get(name).len(), of_bob)
    };
    fill();
    until(|| !store.disk.stats().is_loading);
    let ended = store.end(End::Resources(vec![b"/a"[..].into(), b"/x"[..].into()]));
    assert_eq!(ended.unwrap().responses, 2);
    assert_eq!(
        [count("/a"), count("/b"), count("/c")],
        [(0, 0), (1, 1), (1, 1)]
    );
    let ended = store.end(End::Address(address("/b", "bob")));
    assert_eq!(ended.unwrap().responses, 1);
    assert_eq!([count("/b"), count("/c")], [(1, 0), (1, 1)]);
    assert_eq!(store.end(End::All).unwrap().responses, 3);
    assert_eq!([count("/b"), count("/c")], [(0, 0), (0, 0)]);
    fill();
    assert_eq!(count("/a"), (1, 1));
}

#[test]
fn an_end_of_what_is_not_stored_writes_nothing() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"body"));
    until(|| !store.disk.stats().is_loading);
    let before = files.operations();
    let ended = store.end(End::Resources(vec![b"/x"[..].into()]));
    assert_eq!(ended, Ok(Ended::default()));
    assert_eq!(
        store.end(End::Address(address("/a", "bob"))),
        Ok(Ended::default())
    );
    assert_eq!(files.operations(), before);
}

#[test]
fn an_end_names_what_still_waits_to_be_written() {
    let files = FaultyFiles::new();
    let mut slow = timing();
    slow.flush = std::time::Duration::from_secs(60);
    let store = open_with(&files, limits(64 * MIB), slow);
    store.put(record("/a", 1, b"body"));
    store.put(record("/b", 2, b"body"));
    assert_eq!(
        store
            .end(End::Resources(vec![b"/a"[..].into()]))
            .unwrap()
            .responses,
        1
    );
    store.put(record("/a", 3, b"newer"));
    store.close();
    let store = open(&files);
    assert_eq!(store.find("/a"), Some((3, b"newer".to_vec())));
    assert_eq!(store.find("/b"), Some((2, b"body".to_vec())));
}

#[test]
fn what_has_ended_does_not_come_back() {
    let files = FaultyFiles::new();
    let store = open(&files);
    for number in 0..20 {
        store.put(record(&format!("/{number}"), number, b"old"));
    }
    store.settle();
    store.end(End::All).unwrap();
    store.put(record("/1", 100, b"new"));
    store.put(record("/2", 100, b"new"));
    store.settle();
    store.end(End::Address(address("/2", ""))).unwrap();
    for files in [
        files.after_kill(),
        files.after_power_cut(1),
        files.after_power_cut(2),
    ] {
        let store = open(&files);
        for number in 2..20 {
            assert_eq!(store.find(&format!("/{number}")), None);
        }
    }
    let files = files.after_kill();
    assert_eq!(open(&files).find("/1"), Some((100, b"new".to_vec())));
}

#[test]
fn an_older_response_does_not_come_back_when_the_newer_one_has_ended() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(record("/a", 1, b"older"));
    store.store(TestRecord {
        head: b"tagged".to_vec(),
        ..record("/a", 2, b"newer")
    });
    let ending = store.disk.end(vec![End::Matching {
        rule: b"tagged".to_vec(),
        action: crate::disk::RuleAction::Remove,
    }]);
    store.runtime.block_on(ending.durable).unwrap();
    assert_eq!(store.runtime.block_on(ending.swept).responses, 1);
    store.close();
    assert_eq!(open(&files).find("/a"), None);
}

#[test]
fn a_head_that_is_too_long_is_not_stored_and_takes_the_older_response_with_it() {
    let store = open(&FaultyFiles::new());
    store.store(record("/a", 1, b"older"));
    store.store(TestRecord {
        head: vec![1; 262_144],
        ..record("/a", 2, b"newer")
    });
    assert_eq!(store.find("/a"), None);
    assert_eq!(store.disk.stats().dropped, 1);
    store.store(TestRecord {
        head: vec![1; 261_000],
        ..record("/a", 3, &bytes(1, 60_000))
    });
    assert_eq!(store.find("/a"), Some((3, bytes(1, 60_000))));
}

#[test]
fn a_response_that_is_refused_takes_an_older_one_of_its_batch_with_it() {
    let store = open(&FaultyFiles::new());
    store.put(record("/a", 1, b"older"));
    store.put(TestRecord {
        head: vec![1; 262_144],
        ..record("/a", 2, b"newer")
    });
    store.settle();
    assert_eq!(store.find("/a"), None);
}

#[test]
fn notes_come_back_in_their_order() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.end(End::Note(b"one".to_vec())).unwrap();
    store.end(End::All).unwrap();
    store.end(End::Note(b"two".to_vec())).unwrap();
    let store = open(&files.after_power_cut(3));
    assert_eq!(store.notes, [b"one".to_vec(), b"two".to_vec()]);
    assert!(!store.are_notes_lost);
}

#[test]
fn the_last_checkpoint_comes_back() {
    let files = FaultyFiles::new();
    let store = open(&files);
    assert_eq!(store.checkpoint, None);
    store.disk.checkpoint(b"one".to_vec());
    store.disk.checkpoint(b"two".to_vec());
    store.close();
    let files = files.after_power_cut(3);
    let store = open(&files);
    assert_eq!(store.checkpoint.as_deref(), Some(&b"two"[..]));
    store.end(End::All).unwrap();
    store.disk.checkpoint(vec![1; 2000]);
    store.close();
    assert_eq!(open(&files).checkpoint, None);
}

#[test]
fn a_checkpoint_is_written_when_it_is_due() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.disk.checkpoint(b"one".to_vec());
    until(|| open(&files.after_power_cut(3)).checkpoint.is_some());
}

#[test]
fn a_checkpoint_that_cannot_be_written_costs_no_response() {
    for failure in [Failure::NoSpace, Failure::Io] {
        let files = FaultyFiles::new();
        let store = open(&files);
        store.store(record("/a", 1, b"body"));
        files.fail(Fault {
            operation: Operation::Write,
            nth: 0,
            times: 1,
            failure,
        });
        store.disk.checkpoint(b"one".to_vec());
        until(|| open(&files.after_kill()).checkpoint.is_some());
        assert_eq!(store.find("/a"), Some((1, b"body".to_vec())));
    }
}
