//! Which responses are evicted.

use super::*;
use crate::cache::{PutOutcome, fetches::reader::FetchId, store::body::Piece};

/// Room for some 600 responses.
const LIMIT_BYTES: u64 = MIB;

struct Fixture {
    store: Store,
    budget: Arc<Budget>,
}

impl Fixture {
    fn new() -> Self {
        let budget = Budget::new(LIMIT_BYTES);
        Self {
            store: empty_store(&budget),
            budget,
        }
    }

    fn put(&mut self, target: &str) {
        let body = Body::new(vec![Piece::copy_of(&[b'x'; 1024], 0, &self.budget)]);
        let head = Arc::new(plain_head());
        let entry = Arc::new(Entry::new(head, body, (FetchId(0), 0), &self.budget));
        let order = (entry.order(), NOW);
        assert_eq!(
            self.store.put(&key(target), entry, order),
            PutOutcome::Stored
        );
    }

    /// Stores responses that are not used.
    fn scan(&mut self, name: &str) {
        for number in 0..2000 {
            self.put(&format!("/{name}/{number}"));
        }
    }

    fn use_of(&mut self, target: &str) -> bool {
        self.store.find(&key(target)).variants().count() == 1
    }

    fn is_stored(&self, target: &str) -> bool {
        self.store.peek(&key(target)).is_some()
    }
}

#[test]
fn what_was_used_outlasts_a_scan() {
    let mut fixture = Fixture::new();
    let targets: Vec<_> = (0..300).map(|number| format!("/{number}")).collect();
    for target in &targets {
        fixture.put(target);
        assert!(fixture.use_of(target));
    }
    fixture.put("/unused");
    fixture.scan("a");
    assert!(targets.iter().all(|target| fixture.is_stored(target)));
    assert!(!fixture.is_stored("/unused"));
    // The first keys of the scan are gone, the last ones are there.
    assert!(!fixture.is_stored("/a/0") && fixture.is_stored("/a/1999"));
}

#[test]
fn what_comes_back_after_an_eviction_outlasts_a_scan() {
    let mut fixture = Fixture::new();
    fixture.scan("a");
    let targets = (0..2000).rev().map(|number| format!("/a/{number}"));
    let evicted = targets
        .into_iter()
        .find(|target| !fixture.is_stored(target));
    let evicted = evicted.unwrap();
    fixture.put(&evicted);
    fixture.scan("b");
    assert!(fixture.is_stored(&evicted));
    assert!(!fixture.is_stored("/a/1999"));
}

#[test]
fn what_is_not_used_any_more_gives_way_to_what_is() {
    let mut fixture = Fixture::new();
    for round in 0..4 {
        for number in 0..1000 {
            let target = format!("/{round}/{number}");
            fixture.put(&target);
            assert!(fixture.use_of(&target));
        }
        let left = |before: usize| {
            let targets = (0..1000).map(|number| format!("/{before}/{number}"));
            targets.filter(|target| fixture.is_stored(target)).count()
        };
        assert!(left(round) > 500);
        assert!(round == 0 || left(round - 1) < 100, "{}", left(round - 1));
    }
}
