//! Which responses are evicted.

use super::*;
use crate::cache::{
    PutOutcome,
    fetches::{messages::RoomMade, reader::FetchId},
    store::piece::Piece,
};

/// Room for some 600 responses.
const LIMIT_BYTES: u64 = MIB;

struct Fixture {
    store: Store,
    budget: Arc<Budget>,
}

impl Fixture {
    fn new() -> Self {
        Self::of(LIMIT_BYTES)
    }

    fn of(limit_bytes: u64) -> Self {
        let budget = Budget::new(limit_bytes);
        Self {
            store: empty_store(&budget),
            budget,
        }
    }

    fn entry(&self, body_bytes: usize) -> Arc<Entry> {
        let piece = Piece::copy_of(&vec![b'x'; body_bytes], &self.budget);
        let head = Arc::new(plain_head());
        let fetch = (FetchId(0), 0);
        Arc::new(Entry::new(
            head,
            Body::new(vec![piece]),
            fetch,
            &self.budget,
        ))
    }

    fn put(&mut self, target: &str) {
        let entry = self.entry(1024);
        self.put_entry(target, entry);
    }

    fn put_entry(&mut self, target: &str, entry: Arc<Entry>) {
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

#[test]
fn keys_in_use_get_a_limited_number_of_turns_in_one_step() {
    const TURNS: usize = 512;
    const EVICTED: usize = 16;
    let mut fixture = Fixture::of(2 * LIMIT_BYTES);
    let targets: Vec<_> = (0..700).map(|number| format!("/{number}")).collect();
    for target in &targets {
        fixture.put(target);
        assert!(fixture.use_of(target));
    }
    let room = fixture.store.make_room(u64::MAX, EVICTED);
    assert_eq!(room, RoomMade::NotYet);
    for (number, target) in targets.iter().enumerate() {
        let is_evicted = (TURNS..TURNS + EVICTED).contains(&number);
        assert_ne!(fixture.is_stored(target), is_evicted, "{target}");
    }
}

#[test]
fn a_large_response_gets_its_place_in_steps() {
    const STEP: usize = 16;
    let mut fixture = Fixture::new();
    fixture.scan("a");
    let (large, stored_at) = (fixture.entry(300_000), key("/large"));
    let mut steps = 0;
    let mut evictions = fixture.store.evictions();
    while fixture.store.make_place(&stored_at, &large, STEP) == RoomMade::NotYet {
        assert_eq!(fixture.store.evictions(), evictions + STEP as u64);
        evictions = fixture.store.evictions();
        steps += 1;
    }
    assert!(steps > 5, "{steps}");
    let evictions = fixture.store.evictions();
    fixture.put_entry("/large", large);
    assert_eq!(fixture.store.evictions(), evictions, "it had its place");
    // One that replaces it needs no more.
    let newer = fixture.entry(300_000);
    let place = fixture.store.make_place(&stored_at, &newer, STEP);
    fixture.put_entry("/large", newer);
    assert_eq!(place, RoomMade::Enough);
    assert_eq!(fixture.store.evictions(), evictions);
}
