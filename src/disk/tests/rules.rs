//! Rules that remove and that expire.

use super::{TestRecord, TestStore, bytes, open, record, until};
use crate::disk::{End, RuleAction, Swept, files::faulty::FaultyFiles};

fn tagged(name: &str, id: u64, tag: &str) -> TestRecord {
    TestRecord {
        head: tag.into(),
        ..record(name, id, b"body")
    }
}

fn remove(store: &TestStore, tag: &str) -> Swept {
    let ending = store.disk.end(vec![End::Matching {
        rule: tag.into(),
        action: RuleAction::Remove,
    }]);
    store.runtime.block_on(ending.durable).unwrap();
    store.runtime.block_on(ending.swept)
}

fn expire(store: &TestStore, tag: &str, at: u64) {
    store
        .end(End::Matching {
            rule: tag.into(),
            action: RuleAction::Expire { at },
        })
        .unwrap();
}

#[test]
fn a_rule_removes_what_it_names_and_nothing_that_is_stored_later() {
    let files = FaultyFiles::new();
    let store = open(&files);
    for number in 0..100 {
        let tag = ["red", "blue"][number % 2];
        store.put(tagged(&format!("/{number}"), 1, tag));
    }
    let swept = remove(&store, "red");
    assert_eq!(swept.responses, 50);
    assert_eq!(swept.resources.len(), 50);
    assert!(swept.resources.contains(&b"/98"[..].into()));
    assert!(swept.bytes > 50 * 80);
    store.store(tagged("/0", 2, "red"));
    for store in [store, open(&files.after_kill())] {
        assert_eq!(store.find("/0").unwrap().0, 2);
        assert_eq!(store.find("/2"), None);
        assert_eq!(store.find("/3").unwrap().0, 1);
    }
}

#[test]
fn each_of_several_rules_at_once_is_answered_with_what_it_has_removed() {
    let store = open(&FaultyFiles::new());
    for round in 0..20 {
        for number in 0..120 {
            let tag = format!("tag {round} {}.", number % 12);
            store.put(tagged(&format!("/{number}"), round + 1, &tag));
        }
        let rule = |tag: usize| End::Matching {
            rule: format!("tag {round} {tag}.").into(),
            action: RuleAction::Remove,
        };
        let endings: Vec<_> = (0..12).map(|tag| store.disk.end(vec![rule(tag)])).collect();
        for ending in endings {
            assert_eq!(store.runtime.block_on(ending.swept).responses, 10);
        }
    }
}

#[test]
fn a_rule_holds_from_the_answer_on_also_after_a_kill_before_its_sweep() {
    let files = FaultyFiles::new();
    let store = open(&files);
    for number in 0..500 {
        store.put(tagged(&format!("/{number}"), 1, "red"));
    }
    let rule = End::Matching {
        rule: b"red".to_vec(),
        action: RuleAction::Remove,
    };
    store.end(rule).unwrap();
    for files in [files.after_kill(), files.after_power_cut(7)] {
        let store = open(&files);
        assert!((0..500).all(|number| store.find(&format!("/{number}")).is_none()));
    }
    assert!((0..500).all(|number| store.find(&format!("/{number}")).is_none()));
}

#[test]
fn a_rule_that_cannot_be_read_names_everything() {
    let store = open(&FaultyFiles::new());
    store.store(tagged("/a", 1, "red"));
    assert_eq!(remove(&store, "").responses, 1);
    assert_eq!(store.find("/a"), None);
    store.store(tagged("/a", 2, "red"));
    assert!(store.find("/a").is_some());
}

#[test]
fn a_rule_expires_what_it_names_at_the_earliest_of_several_times() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(tagged("/a", 1, "red blue"));
    store.store(tagged("/b", 1, "green"));
    expire(&store, "red", 2000);
    expire(&store, "blue", 1000);
    expire(&store, "red", 3000);
    store.store(tagged("/c", 1, "red"));
    let expired = |store: &TestStore, name: &str| store.get(name)[0].expired_at;
    for store in [store, open(&files.after_kill())] {
        assert_eq!(expired(&store, "/a"), Some(1000));
        assert_eq!(expired(&store, "/b"), None);
        assert_eq!(expired(&store, "/c"), None);
        let page = store.runtime.block_on(async {
            let from = crate::disk::ScanCursor::default();
            store.disk.scan(from, 10).await
        });
        let times: Vec<_> = page
            .unwrap()
            .records
            .iter()
            .map(|found| found.expired_at)
            .collect();
        assert_eq!(times, [Some(1000), None, None]);
    }
}

#[test]
fn many_rules_in_a_row_remove_only_what_they_name() {
    let store = open(&FaultyFiles::new());
    store.store(tagged("/kept", 1, "kept"));
    for number in 0..200 {
        let tag = format!("tag {number};");
        store.put(tagged(&format!("/{number}"), 1, &tag));
        let rule = End::Matching {
            rule: tag.into(),
            action: RuleAction::Remove,
        };
        store.end(rule).unwrap();
        assert_eq!(store.find(&format!("/{number}")), None);
    }
    assert!(store.find("/kept").is_some());
}

#[test]
fn a_rule_removes_the_files_of_large_bodies() {
    let files = FaultyFiles::new();
    let store = open(&files);
    store.store(TestRecord {
        body: bytes(1, 200_000),
        ..tagged("/a", 1, "red")
    });
    let swept = remove(&store, "red");
    assert_eq!((swept.responses, swept.bytes > 200_000), (1, true));
    until(|| !files.names().iter().any(|name| name.starts_with("large/")));
}
