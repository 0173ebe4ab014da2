//! The counts of the store, compared with a recount after every operation.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{
    cache::{
        PutOutcome,
        fetches::{messages::RoomMade, reader::FetchId},
        store::{budget::Charge, piece::Piece},
    },
    policy::{BodyKey, PersistedQueries},
};

/// An operation on the store. Numbers select a key, a variant or a stored response.
#[derive(Clone, Debug)]
enum Operation {
    /// Stores a response. A slow reader may hold it beyond its eviction.
    Put {
        key: usize,
        accept: usize,
        body_bytes: usize,
        age_seconds: u64,
        is_held: bool,
    },
    /// Stores a response with the body of another one, as after a 304.
    PutSameBody {
        from: usize,
        key: usize,
    },
    Remove {
        key: usize,
        variant: usize,
    },
    /// Removes every second response of a key, and replaces the others.
    Change {
        key: usize,
    },
    Invalidate {
        key: usize,
    },
    /// Frees some of what was invalidated.
    Sweep {
        keys: usize,
    },
    Clear,
    MakeRoom {
        bytes: u64,
    },
    Touch {
        key: usize,
    },
    /// Memory is used outside of the store.
    Charge {
        bytes: u64,
    },
    GiveBack,
    /// The slow readers leave.
    Release,
}

fn operation() -> impl Strategy<Value = Operation> {
    let key = 0..KEYS;
    prop_oneof![
        8 => (key.clone(), 0..3_usize, 1..6000_usize, 0..3_u64, prop::bool::weighted(0.2)).prop_map(
            |(key, accept, body_bytes, age_seconds, is_held)| Operation::Put {
                key,
                accept,
                body_bytes,
                age_seconds,
                is_held,
            }
        ),
        2 => (key.clone(), key.clone()).prop_map(|(from, key)| Operation::PutSameBody { from, key }),
        1 => (key.clone(), 0..3_usize).prop_map(|(key, variant)| Operation::Remove { key, variant }),
        1 => key.clone().prop_map(|key| Operation::Change { key }),
        1 => key.clone().prop_map(|key| Operation::Invalidate { key }),
        1 => (0..3_usize).prop_map(|keys| Operation::Sweep { keys }),
        1 => Just(Operation::Clear),
        2 => (0..30_000_u64).prop_map(|bytes| Operation::MakeRoom { bytes }),
        2 => key.prop_map(|key| Operation::Touch { key }),
        2 => (0..20_000_u64).prop_map(|bytes| Operation::Charge { bytes }),
        2 => Just(Operation::GiveBack),
        1 => Just(Operation::Release),
    ]
}

/// Twelve keys of four resources: without a body, and with one of two.
const KEYS: usize = 12;
const ACCEPTS: [&str; 3] = ["a", "b", "c"];

fn keys() -> Vec<Key> {
    let mut json = HeaderMap::new();
    json.insert(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/json"),
    );
    let contents = [
        None,
        BodyKey::of(&json, b"{}", PersistedQueries::Change).ok(),
        BodyKey::of(&json, b"[]", PersistedQueries::Change).ok(),
    ];
    assert_ne!(contents[0], contents[1]);
    let key = |number: usize| Key {
        // The memory of a long target matters in a small budget.
        resource: Resource::new(&format!("/{}", "x".repeat(number % 4 * 300))),
        identity: None,
        content: contents[number / 4],
        is_recorded: false,
    };
    (0..KEYS).map(key).collect()
}

/// A store, and everything beside it that uses the budget.
struct Fixture {
    store: Store,
    budget: Arc<Budget>,
    keys: Vec<Key>,
    held: Vec<Arc<Entry>>,
    charges: Vec<Charge>,
    /// The bodies that two stored responses have shared. When one of these leaves, nobody counts the body.
    shared: HashSet<*const u8>,
}

/// The content of a store: its keys in their order, and the addresses of their responses.
type Content = Vec<(Key, Vec<*const Entry>)>;

impl Fixture {
    fn new(limit_bytes: u64) -> Self {
        let budget = Budget::new(limit_bytes);
        Self {
            store: empty_store(&budget),
            budget,
            keys: keys(),
            held: Vec::new(),
            charges: Vec::new(),
            shared: HashSet::new(),
        }
    }

    fn stored(&self) -> Vec<(Key, Vec<Arc<Entry>>)> {
        let mut all = Vec::new();
        let end = self.store.walk(0, |stored| {
            let stored = stored.map(|stored| (stored.key.key(), stored.variants.to_vec()));
            all.extend(stored);
            true
        });
        assert_eq!(end, None);
        all
    }

    fn content(&self) -> Content {
        let stored = self.stored().into_iter();
        stored
            .map(|(key, variants)| (key, variants.iter().map(Arc::as_ptr).collect()))
            .collect()
    }

    fn entry(&self, accept: &'static str, age_seconds: u64, body: Body) -> Arc<Entry> {
        let received = NOW.saturating_sub(Duration::from_secs(age_seconds));
        let head = Arc::new(head_at(accept, Some("accept"), received));
        Arc::new(Entry::new(head, body, (FetchId(0), 0), &self.budget))
    }

    fn put(&mut self, key: usize, entry: Arc<Entry>) -> PutOutcome {
        let (since, now) = (entry.order(), entry.head().received());
        self.store.put(&self.keys[key], entry, (since, now))
    }

    /// Applies `operation`. Returns the key that it changes by itself; `None` if it changes none, or
    /// several.
    fn apply(&mut self, operation: &Operation) -> Option<Key> {
        let budget = Arc::clone(&self.budget);
        let changed = match *operation {
            Operation::Put {
                key,
                accept,
                body_bytes,
                age_seconds,
                is_held,
            } => {
                let piece = Piece::copy_of(&vec![b'x'; body_bytes], &budget);
                let entry = self.entry(ACCEPTS[accept], age_seconds, Body::new(vec![piece]));
                if is_held {
                    self.held.push(Arc::clone(&entry));
                }
                self.put(key, entry);
                key
            }
            Operation::PutSameBody { from, key } => {
                let stored = self.store.peek(&self.keys[from])?;
                let body = stored.variants[0].body().clone();
                self.shared.insert(address(&body));
                let entry = self.entry(ACCEPTS[0], 0, body);
                self.put(key, entry);
                key
            }
            Operation::Remove { key, variant } => {
                let stored = self.store.peek(&self.keys[key])?;
                let entry = Arc::clone(stored.variants.get(variant)?);
                self.store.remove(&self.keys[key], &entry);
                key
            }
            Operation::Change { key } => {
                let mut number = 0;
                self.store.change(&self.keys[key], |entry| {
                    number += 1;
                    let (head, body) = (Arc::clone(entry.head()), entry.body().clone());
                    (number % 2 == 0)
                        .then(|| Arc::new(Entry::new(head, body, (FetchId(0), 0), &budget)))
                });
                key
            }
            _ => {
                self.apply_to_all(operation);
                return None;
            }
        };
        Some(self.keys[changed].clone())
    }

    /// Applies an operation that does not change one key by itself.
    fn apply_to_all(&mut self, operation: &Operation) {
        match *operation {
            Operation::Invalidate { key } => self.remove_resources(Some(key)),
            Operation::Clear => self.remove_resources(None),
            Operation::Sweep { keys } => drop(self.store.sweep(keys)),
            Operation::MakeRoom { bytes } => self.make_room(bytes),
            Operation::Touch { key } => drop(self.store.find(&self.keys[key])),
            Operation::Charge { bytes } => self.charges.push(self.budget.charge(bytes)),
            Operation::GiveBack => drop(self.charges.pop()),
            Operation::Release => self.held.clear(),
            Operation::Put { .. }
            | Operation::PutSameBody { .. }
            | Operation::Remove { .. }
            | Operation::Change { .. } => unreachable!("{operation:?} changes one key"),
        }
    }

    /// Evicts until there is room. It is refused only if what is not in the store leaves none.
    fn make_room(&mut self, bytes: u64) {
        let room = self.store.make_room(bytes, 3);
        let has_room = self.budget.has_room(bytes);
        match room {
            RoomMade::Enough => assert!(has_room),
            RoomMade::NotYet => {}
            RoomMade::None => assert_eq!((has_room, self.store.entries()), (false, 0)),
        }
    }

    /// Invalidates the resource of a key, or clears the store, and compares what was cleared with a recount.
    fn remove_resources(&mut self, key: Option<usize>) {
        let resource = key.map(|key| self.keys[key].resource.clone());
        let mut removed = self.stored();
        removed.retain(|(key, _)| resource.as_ref().is_none_or(|it| key.resource == *it));
        let cleared = match &resource {
            Some(resource) => self.store.invalidate(resource),
            None => self.store.clear(),
        };
        let [least, most] = self.recount(&removed);
        assert_eq!(cleared.entries, most.entries);
        assert!((least.bytes..=most.bytes).contains(&cleared.bytes));
    }

    /// What is stored, counted again: without the bodies that were shared, and with each of them wherever it is stored.
    fn recount(&self, stored: &[(Key, Vec<Arc<Entry>>)]) -> [Cleared; 2] {
        let entries = stored
            .iter()
            .map(|(_, variants)| variants.len() as u64)
            .sum();
        let heads = stored.iter().map(|(key, variants)| {
            let heads = variants.iter().map(|entry| entry.head_bytes());
            heads.sum::<u64>() + key.heap_bytes()
        });
        let heads: u64 = heads.sum();
        let all = stored
            .iter()
            .flat_map(|(_, variants)| variants)
            .map(|entry| entry.body());
        let is_alone = |body: &&Body| !self.shared.contains(&address(body));
        let alone: u64 = all.clone().filter(is_alone).map(Body::weight_bytes).sum();
        let all: u64 = all.map(Body::weight_bytes).sum();
        [heads + alone, heads + all].map(|bytes| Cleared { entries, bytes })
    }

    /// Compares the counts with a recount, before and after what was invalidated is freed.
    fn check_counts(&mut self) {
        let stored = self.stored();
        let [least, most] = self.recount(&stored);
        let check = |store: &Store| {
            assert_eq!(store.entries(), most.entries);
            assert!((least.bytes..=most.bytes).contains(&store.stored_bytes()));
        };
        check(&self.store);
        assert!(self.store.stored_bytes() <= self.budget.used_bytes());
        assert!(self.store.stored_bytes() <= self.budget.limit_bytes());
        while self.store.sweep(2) {}
        check(&self.store);
        assert!(self.store.stored_bytes() <= self.budget.used_bytes());

        // Of the budget, each response and each body counts once, whoever shares it.
        let entries = stored.iter().flat_map(|(_, variants)| variants);
        let entries: HashMap<_, _> = entries
            .chain(&self.held)
            .map(|entry| (Arc::as_ptr(entry), entry))
            .collect();
        let heads = entries
            .values()
            .map(|entry| entry.weight_bytes() - entry.body().weight_bytes());
        let bodies = entries.values().map(|entry| entry.body());
        let bodies: HashMap<_, _> = bodies
            .map(|body| (address(body), body.weight_bytes()))
            .collect();
        let keys = stored.iter().map(|(key, _)| key.heap_bytes());
        let charges = self.charges.iter().map(Charge::bytes);
        let used: u64 = heads
            .chain(bodies.into_values())
            .chain(keys)
            .chain(charges)
            .sum();
        assert_eq!(self.budget.used_bytes(), used);

        for key in &self.keys {
            let of_resource = stored.iter().map(|(key, _)| key);
            let of_resource: HashSet<_> = of_resource
                .filter(|other| other.resource == key.resource)
                .cloned()
                .collect();
            let mut keys_of = Vec::new();
            self.store.walk_resource(&key.resource, 0, |stored| {
                keys_of.extend(stored.map(|stored| stored.key.key()));
                true
            });
            assert_eq!(keys_of.len(), of_resource.len());
            assert_eq!(keys_of.into_iter().collect::<HashSet<_>>(), of_resource);
        }
    }
}

fn address(body: &Body) -> *const u8 {
    body.single().unwrap().as_ptr()
}

/// Compares the number of evictions with the responses that are gone under other keys than the one that was changed.
fn check_evictions(before: &Content, after: &Content, changed: Option<&Key>, evicted: u64) {
    let left: HashSet<_> = after.iter().flat_map(|(_, variants)| variants).collect();
    let (own, others): (Vec<_>, Vec<_>) = before.iter().partition(|(key, _)| Some(key) == changed);
    let gone = others.iter().flat_map(|(_, variants)| variants);
    let gone = gone.filter(|entry| !left.contains(entry)).count() as u64;
    // The previous responses of the changed key may be evicted before they are replaced.
    let own: u64 = own.iter().map(|(_, variants)| variants.len() as u64).sum();
    assert!(
        (gone..=gone + own).contains(&evicted),
        "{evicted} for {gone}"
    );
}

proptest! {
    #[test]
    fn counts_are_those_of_a_recount_after_every_operation(
        limit_bytes in 4_000..60_000_u64,
        operations in prop::collection::vec((operation(), any::<prop::sample::Index>()), 1..80),
    ) {
        let mut fixture = Fixture::new(limit_bytes);
        for (operation, position) in &operations {
            let before = fixture.content();
            let evictions = fixture.store.evictions();
            let passed = position.index(before.len() + 1);
            let mut left = passed;
            let cursor = fixture.store.walk(0, |stored| {
                left -= usize::from(stored.is_some() && left > 0);
                left > 0
            });
            let cursor = if passed == 0 { Some(0) } else { cursor };
            let removes_resources = matches!(operation, Operation::Invalidate { .. } | Operation::Clear);
            let changed = fixture.apply(operation);
            fixture.check_counts();

            let after = fixture.content();
            let evicted = fixture.store.evictions() - evictions;
            match removes_resources {
                true => prop_assert_eq!(evicted, 0),
                false => check_evictions(&before, &after, changed.as_ref(), evicted),
            }

            // A walk from the cursor leaves out no key that is still stored, and repeats none if none was inserted or removed.
            // The key of the operation may have been evicted, and stored again at another place.
            let keys = |content: &Content| content.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            let (keys_before, keys_after) = (keys(&before), keys(&after));
            let mut visited = Vec::new();
            if let Some(cursor) = cursor {
                fixture.store.walk(cursor, |stored| {
                    visited.extend(stored.map(|stored| stored.key.key()));
                    true
                });
            }
            let unvisited = &keys_before[passed..];
            let is_left_out = |key: &&Key| {
                keys_after.contains(key) && !visited.contains(key) && changed.as_ref() != Some(key)
            };
            prop_assert_eq!(unvisited.iter().find(is_left_out), None);
            if keys_before == keys_after && evicted == 0 {
                prop_assert_eq!(&visited, unvisited);
            }
        }
    }
}
