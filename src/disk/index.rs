//! The index: where each stored response is.
//!
//! Workers read it without a lock. It has 64 tables of slots with linear probing. The slots of one resource lie behind
//! one another, so that one probe finds all of them. A slot is three words, read and written one by one: a look that meets
//! a change may find a place of another response, which the record there refuses, or nothing. What was removed before a
//! look began is not found: a removal marks the slot itself, and a table that grows is replaced as a whole.
//!
//! Changes need the [`IndexCounts`], which the threads of the disk keep behind their lock.

use std::{
    ops::ControlFlow::{self, Break, Continue},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::disk::{
    address::{AddressHash, KeyHash},
    place::Place,
};

const TABLES: usize = 64;
/// How many responses of one resource are found. A further one replaces another.
const MAX_PER_RESOURCE: usize = 4096;
/// How many responses at one address are found. A further one replaces another.
const MAX_PER_ADDRESS: usize = 64;
/// Slots in a new table for 100 responses.
const SLOTS_FOR_100: usize = 160;
/// A table is replaced by a larger one when so many of 100 slots are not empty.
const FULL_OF_100: usize = 85;
const EMPTY: u64 = 0;
/// The place of a slot whose response has gone: further slots behind it are still looked at.
const GONE: u64 = 1 << 3;

/// The index of what is stored.
#[derive(Debug)]
pub(super) struct DiskIndex {
    tables: Box<[ArcSwap<SlotTable>]>,
}

/// How many slots of each table are taken.
#[derive(Debug)]
pub(super) struct IndexCounts {
    /// For each table, slots with a response, and slots that are not empty.
    tables: Vec<(usize, usize)>,
    responses: usize,
}

#[derive(Debug)]
struct SlotTable {
    slots: Box<[IndexSlot]>,
}

#[derive(Debug, Default)]
struct IndexSlot {
    resource: AtomicU64,
    rest: AtomicU64,
    place: AtomicU64,
}

/// What an insertion has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReplacedRecord {
    pub(super) place: Place,
    /// False for a response of another key, which was given up because there were too many.
    pub(super) is_same_key: bool,
}

/// What has become of a record that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadedRecord {
    Inserted,
    /// A newer one of its key is there.
    Older,
    /// There are too many of its resource or its address.
    OneTooMany,
}

/// The slots that matter to an insertion.
#[derive(Default)]
struct Insertion {
    same_key: Option<usize>,
    free: Option<usize>,
    /// One to give up if there are too many of the resource or of the address.
    given_up: Option<usize>,
    of_resource: usize,
    of_address: usize,
}

impl DiskIndex {
    /// An empty index with room for so many responses.
    pub(super) fn new(responses: usize) -> (Self, IndexCounts) {
        let slots = slots_for(responses / TABLES);
        let tables = (0..TABLES).map(|_| ArcSwap::from_pointee(SlotTable::new(slots)));
        let index = Self {
            tables: tables.collect(),
        };
        let counts = IndexCounts {
            tables: vec![(0, 0); TABLES],
            responses: 0,
        };
        (index, counts)
    }

    /// Reads where the search for these resources begins: reads that do not wait for each other take as long as a few.
    pub(super) fn prefetch(&self, resources: impl Iterator<Item = u64>) {
        let word = |resource| {
            let table = self.table(resource)?.load();
            let slot = table.slots.get(table.home(resource))?;
            Some(slot.place.load(Ordering::Relaxed))
        };
        std::hint::black_box(resources.filter_map(word).fold(0, |all, word| all ^ word));
    }

    /// Whether anything is stored at an address.
    pub(super) fn has(&self, address: AddressHash) -> bool {
        self.table(address.resource).is_some_and(|table| {
            let found =
                table
                    .load()
                    .each(address.resource, |_, key, _| match key.address == address {
                        true => Break(()),
                        false => Continue(()),
                    });
            found.is_break()
        })
    }

    /// What is stored at an address.
    pub(super) fn find(&self, address: AddressHash) -> Vec<(KeyHash, Place)> {
        let mut found = self.find_resource(address.resource);
        found.retain(|(key, _)| key.address == address);
        found
    }

    /// What is stored of a resource.
    pub(super) fn find_resource(&self, resource: u64) -> Vec<(KeyHash, Place)> {
        let mut found = Vec::new();
        if let Some(table) = self.table(resource) {
            let _: ControlFlow<()> = table.load().each(resource, |_, key, place| {
                found.push((key, place));
                Continue(())
            });
        }
        found
    }

    /// Where the response of a key is.
    pub(super) fn get(&self, key: KeyHash) -> Option<Place> {
        let table = self.table(key.address.resource)?.load();
        let found = table.each(key.address.resource, |_, found, place| match found == key {
            true => Break(place),
            false => Continue(()),
        });
        found.break_value()
    }

    /// Marks a response as read, if it is still at this place.
    pub(super) fn mark_used(&self, key: KeyHash, place: Place) {
        let Some(table) = self.table(key.address.resource) else {
            return;
        };
        let table = table.load();
        let _ = table.each(key.address.resource, |slot, found, at| {
            if found != key {
                return Continue(());
            }
            if at == place.unused() {
                let word = &slot.place;
                let _ = word.compare_exchange(
                    at.word(),
                    at.used().word(),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
            }
            Break(())
        });
    }

    /// Inserts a response. Returns the one that it replaces.
    pub(super) fn insert(
        &self,
        counts: &mut IndexCounts,
        key: KeyHash,
        place: Place,
    ) -> Option<ReplacedRecord> {
        self.insert_if(counts, key, place, |_| true).1
    }

    /// Inserts a response if there is none of its key and there are not too many beside it.
    pub(super) fn insert_if_absent(
        &self,
        counts: &mut IndexCounts,
        key: KeyHash,
        place: Place,
    ) -> LoadedRecord {
        let mut result = LoadedRecord::Inserted;
        self.insert_if(counts, key, place, |insertion| {
            result = match (insertion.same_key, insertion.given_up) {
                (Some(_), _) => LoadedRecord::Older,
                (None, Some(_)) => LoadedRecord::OneTooMany,
                (None, None) => LoadedRecord::Inserted,
            };
            result == LoadedRecord::Inserted
        });
        result
    }

    /// Whether it was inserted, and what it replaced.
    fn insert_if(
        &self,
        counts: &mut IndexCounts,
        key: KeyHash,
        place: Place,
        may: impl FnOnce(&Insertion) -> bool,
    ) -> (bool, Option<ReplacedRecord>) {
        let number = table_number(key.address.resource);
        let (Some(table), Some((live, taken))) =
            (self.tables.get(number), counts.tables.get_mut(number))
        else {
            return (false, None);
        };
        let mut slots = table.load_full();
        if (*taken + 1) * 100 > slots.slots.len() * FULL_OF_100 {
            slots = Arc::new(slots.replaced(slots_for(*live + 1)));
            table.store(slots.clone());
            *taken = *live;
        }
        let insertion = slots.look(key);
        if !may(&insertion) {
            return (false, None);
        }
        let [resource, rest] = key.words();
        let replaced = insertion.same_key.or(insertion.given_up);
        let Some(slot) = replaced
            .or(insertion.free)
            .and_then(|at| slots.slots.get(at))
        else {
            return (false, None);
        };
        // The place is taken away first, so that no look finds the new key with the old place.
        let before = match insertion.same_key {
            Some(_) => slot.place.swap(place.word(), Ordering::AcqRel),
            None => {
                let before = slot.place.swap(GONE, Ordering::AcqRel);
                slot.resource.store(resource, Ordering::Relaxed);
                slot.rest.store(rest, Ordering::Relaxed);
                slot.place.store(place.word(), Ordering::Release);
                before
            }
        };
        let replaced = Place::from_word(before);
        *live += usize::from(replaced.is_none());
        counts.responses += usize::from(replaced.is_none());
        *taken += usize::from(before == EMPTY);
        let replaced = replaced.map(|place| ReplacedRecord {
            place,
            is_same_key: insertion.same_key.is_some(),
        });
        (true, replaced)
    }

    /// Puts a response at another place, if it is still at the first one. Whether it was.
    pub(super) fn relocate(&self, key: KeyHash, from: Place, to: Place) -> bool {
        self.replace_word(key, from, to.word())
    }

    /// Removes a response if it is still at this place. Whether it was.
    pub(super) fn remove_at(&self, counts: &mut IndexCounts, key: KeyHash, place: Place) -> bool {
        let removed = self.replace_word(key, place, GONE);
        let number = table_number(key.address.resource);
        if removed && let Some((live, _)) = counts.tables.get_mut(number) {
            *live -= 1;
            counts.responses -= 1;
        }
        removed
    }

    fn replace_word(&self, key: KeyHash, from: Place, to: u64) -> bool {
        let Some(table) = self.table(key.address.resource) else {
            return false;
        };
        let replaced = table
            .load()
            .each(key.address.resource, |slot, found, place| {
                if found != key {
                    return Continue(());
                }
                if place.unused() != from.unused() {
                    return Break(false);
                }
                // A look marks it as used meanwhile; nobody else changes it.
                slot.place.store(to, Ordering::Release);
                Break(true)
            });
        replaced.break_value() == Some(true)
    }

    /// Removes what is chosen of a resource. Returns it.
    pub(super) fn remove(
        &self,
        counts: &mut IndexCounts,
        resource: u64,
        chosen: impl Fn(KeyHash) -> bool,
    ) -> Vec<(KeyHash, Place)> {
        let mut found = self.find_resource(resource);
        found.retain(|(key, place)| chosen(*key) && self.remove_at(counts, *key, *place));
        found
    }

    /// Removes everything.
    pub(super) fn clear(&self, counts: &mut IndexCounts) {
        for (table, taken) in self.tables.iter().zip(&mut counts.tables) {
            table.store(Arc::new(SlotTable::new(slots_for(0))));
            *taken = (0, 0);
        }
        counts.responses = 0;
    }

    fn table(&self, resource: u64) -> Option<&ArcSwap<SlotTable>> {
        self.tables.get(table_number(resource))
    }
}

impl IndexCounts {
    /// The number of responses.
    pub(super) fn responses(&self) -> usize {
        self.responses
    }
}

impl SlotTable {
    fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| IndexSlot::default()).collect(),
        }
    }

    /// The slots from the one where the search for a resource begins, around the table.
    fn slots_from(&self, resource: u64) -> impl Iterator<Item = (usize, &IndexSlot)> {
        let (before, behind) = self.slots.split_at(self.home(resource));
        let home = before.len();
        let behind = behind
            .iter()
            .enumerate()
            .map(move |(at, slot)| (home + at, slot));
        behind.chain(before.iter().enumerate())
    }

    /// The slot where the search for a resource begins.
    #[allow(clippy::cast_possible_truncation, reason = "smaller than the table")]
    fn home(&self, resource: u64) -> usize {
        (((resource & 0xffff_ffff) * self.slots.len() as u64) >> 32) as usize
    }

    /// Calls `step` for all that is stored of a resource, until it breaks.
    fn each<B>(
        &self,
        resource: u64,
        mut step: impl FnMut(&IndexSlot, KeyHash, Place) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        for (_, slot) in self.slots_from(resource) {
            let word = slot.place.load(Ordering::Acquire);
            if word == EMPTY {
                break;
            }
            if let Some(place) = Place::from_word(word)
                && let Some(key) = slot.key_of(resource)
            {
                step(slot, key, place)?;
            }
        }
        Continue(())
    }

    /// The slots that matter to an insertion of `key`.
    fn look(&self, key: KeyHash) -> Insertion {
        let mut insertion = Insertion::default();
        for (at, slot) in self.slots_from(key.address.resource) {
            let word = slot.place.load(Ordering::Relaxed);
            if Place::from_word(word).is_none() {
                insertion.free = insertion.free.or(Some(at));
                if word == EMPTY {
                    break;
                }
                continue;
            }
            let Some(found) = slot.key_of(key.address.resource) else {
                continue;
            };
            insertion.of_resource += 1;
            let is_same_address = found.address == key.address;
            insertion.of_address += usize::from(is_same_address);
            if found == key {
                insertion.same_key = Some(at);
            }
            if insertion.of_resource >= MAX_PER_RESOURCE
                || is_same_address && insertion.of_address >= MAX_PER_ADDRESS
            {
                insertion.given_up = insertion.given_up.or(Some(at));
            }
        }
        insertion
    }

    /// A table of another length with the same responses.
    fn replaced(&self, slots: usize) -> Self {
        let table = Self::new(slots);
        for slot in &self.slots {
            let word = slot.place.load(Ordering::Relaxed);
            if Place::from_word(word).is_none() {
                continue;
            }
            let resource = slot.resource.load(Ordering::Relaxed);
            let mut places = table.slots_from(resource);
            let free = places.find(|(_, slot)| slot.place.load(Ordering::Relaxed) == EMPTY);
            if let Some((_, free)) = free {
                let rest = slot.rest.load(Ordering::Relaxed);
                free.resource.store(resource, Ordering::Relaxed);
                free.rest.store(rest, Ordering::Relaxed);
                free.place.store(word, Ordering::Relaxed);
            }
        }
        table
    }
}

impl IndexSlot {
    /// The key, if it is of this resource.
    fn key_of(&self, resource: u64) -> Option<KeyHash> {
        let rest = self.rest.load(Ordering::Relaxed);
        let is_same = self.resource.load(Ordering::Relaxed) == resource;
        is_same.then(|| KeyHash::from_words([resource, rest]))
    }
}

fn slots_for(responses: usize) -> usize {
    (responses * SLOTS_FOR_100 / 100).max(16)
}

#[allow(clippy::cast_possible_truncation, reason = "6 bits are left")]
fn table_number(resource: u64) -> usize {
    (resource >> 58) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn key(resource: u64, partition: u32, variant: u32) -> KeyHash {
        KeyHash {
            address: AddressHash {
                resource,
                partition,
            },
            variant,
        }
    }

    fn place(number: u64) -> Place {
        Place::new(1, number * 16, 16).unwrap()
    }

    #[test]
    fn what_is_inserted_is_found_by_address_and_by_resource() {
        let (index, mut counts) = DiskIndex::new(0);
        for (partition, variant) in [(1, 1), (1, 2), (2, 1)] {
            let at = place(u64::from(partition * 10 + variant));
            assert_eq!(
                index.insert(&mut counts, key(9, partition, variant), at),
                None
            );
        }
        let at = |partition| AddressHash {
            resource: 9,
            partition,
        };
        assert!(index.has(at(1)) && index.has(at(2)) && !index.has(at(3)));
        assert_eq!(index.find(at(1)).len(), 2);
        assert_eq!(index.find(at(2)), [(key(9, 2, 1), place(21))]);
        assert_eq!(index.find_resource(9).len(), 3);
        assert_eq!(index.get(key(9, 1, 2)), Some(place(12)));
        assert_eq!(counts.responses(), 3);
    }

    #[test]
    fn a_newer_response_replaces_the_one_with_its_key() {
        let (index, mut counts) = DiskIndex::new(0);
        index.insert(&mut counts, key(1, 1, 1), place(1));
        let replaced = index.insert(&mut counts, key(1, 1, 1), place(2));
        let before = ReplacedRecord {
            place: place(1),
            is_same_key: true,
        };
        assert_eq!(replaced, Some(before));
        let loaded = index.insert_if_absent(&mut counts, key(1, 1, 1), place(3));
        assert_eq!(loaded, LoadedRecord::Older);
        assert_eq!(index.get(key(1, 1, 1)), Some(place(2)));
        assert_eq!(counts.responses(), 1);
    }

    #[test]
    fn what_is_removed_leaves_the_slots_behind_it_in_reach() {
        let (index, mut counts) = DiskIndex::new(0);
        for variant in 0..10 {
            index.insert(&mut counts, key(5, 1, variant), place(u64::from(variant)));
        }
        assert!(index.remove_at(&mut counts, key(5, 1, 0), place(0)));
        assert!(!index.remove_at(&mut counts, key(5, 1, 0), place(0)));
        assert!(!index.remove_at(&mut counts, key(5, 1, 1), place(7)));
        assert_eq!(index.find_resource(5).len(), 9);
        let removed = index.remove(&mut counts, 5, |key| key.variant > 4);
        assert_eq!(removed.len(), 5);
        assert_eq!(counts.responses(), 4);
        index.clear(&mut counts);
        assert_eq!((counts.responses(), index.find_resource(5).len()), (0, 0));
    }

    #[test]
    fn a_mark_of_use_is_set_only_at_the_same_place() {
        let (index, mut counts) = DiskIndex::new(0);
        index.insert(&mut counts, key(1, 1, 1), place(1));
        index.mark_used(key(1, 1, 1), place(2));
        assert!(!index.get(key(1, 1, 1)).unwrap().is_used());
        index.mark_used(key(1, 1, 1), place(1));
        assert!(index.get(key(1, 1, 1)).unwrap().is_used());
        assert!(index.relocate(key(1, 1, 1), place(1), place(3)));
        assert_eq!(index.get(key(1, 1, 1)), Some(place(3)));
        assert!(!index.relocate(key(1, 1, 1), place(1), place(4)));
    }

    #[test]
    fn there_are_bounds_for_an_address_and_for_a_resource() {
        let (index, mut counts) = DiskIndex::new(0);
        for variant in 0..100 {
            index.insert(&mut counts, key(1, 1, variant), place(u64::from(variant)));
        }
        assert_eq!(counts.responses(), MAX_PER_ADDRESS);
        assert_eq!(index.get(key(1, 1, 99)), Some(place(99)));
        let loaded = index.insert_if_absent(&mut counts, key(1, 1, 200), place(200));
        assert_eq!(loaded, LoadedRecord::OneTooMany);
        for partition in 0..5000 {
            index.insert(
                &mut counts,
                key(2, partition, 1),
                place(u64::from(partition)),
            );
        }
        assert_eq!(counts.responses(), MAX_PER_ADDRESS + MAX_PER_RESOURCE);
        assert_eq!(index.get(key(2, 4999, 1)), Some(place(4999)));
    }

    #[test]
    fn it_agrees_with_a_map_after_many_changes() {
        let (index, mut counts) = DiskIndex::new(0);
        let mut model: HashMap<KeyHash, Place> = HashMap::new();
        let mut state = 1_u64;
        for step in 0..30_000_u64 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let number = state >> 33;
            // Few resources, many of which begin at the same slot.
            let resource = (number % 7) << 58 | (number % 100) << 26 | (number % 400);
            let key = key(resource, 1, u32::try_from(number % 3).unwrap());
            let at = place(step);
            match number % 5 {
                0 | 1 => {
                    let replaced = index.insert(&mut counts, key, at);
                    assert_eq!(
                        replaced.map(|replaced| replaced.place),
                        model.insert(key, at)
                    );
                }
                2 => {
                    let inserted = index.insert_if_absent(&mut counts, key, at);
                    let is_new = !model.contains_key(&key);
                    assert_eq!(inserted == LoadedRecord::Inserted, is_new);
                    model.entry(key).or_insert(at);
                }
                3 => {
                    let removed = index.remove(&mut counts, resource, |_| true);
                    let before = model.len();
                    model.retain(|key, _| key.address.resource != resource);
                    assert_eq!(removed.len(), before - model.len());
                }
                _ => assert_eq!(index.get(key), model.get(&key).copied()),
            }
            assert_eq!(counts.responses(), model.len());
        }
        assert!(model.len() > 100);
    }

    #[test]
    fn an_index_takes_less_than_40_bytes_for_a_response() {
        let (index, mut counts) = DiskIndex::new(0);
        for number in 0..100_000_u64 {
            let resource = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            index.insert(&mut counts, key(resource, 1, 1), place(number));
        }
        let slots: usize = index
            .tables
            .iter()
            .map(|table| table.load().slots.len())
            .sum();
        let bytes = slots * size_of::<IndexSlot>();
        assert!(bytes < 40 * 100_000, "{bytes}");
        assert_eq!(counts.responses(), 100_000);
    }
}
