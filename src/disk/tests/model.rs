//! Random calls, kills and power cuts, compared with a model.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use super::{
    MIB, Random, TestRecord, TestStore, address, bytes, limits, open_with, seeds, timing, until,
};
use crate::disk::{Address, DiskLimits, End, RuleAction, StoredRecord, files::faulty::FaultyFiles};

const RESOURCES: u64 = 12;
const PARTITIONS: u64 = 2;
const VARIANTS: u64 = 2;
const TAGS: u64 = 5;

type Key = (u64, u64, u64);

#[derive(Clone, Debug, PartialEq)]
struct Version {
    id: u64,
    /// The body follows from it.
    seed: u64,
    len: usize,
    tag: u64,
    expired_at: Option<u64>,
}

/// What may be found of a key.
#[derive(Default)]
struct KeyModel {
    /// What may be found now; `None` for nothing. The newest is the last one.
    candidates: Vec<Option<Version>>,
    /// All since it has ended. A power cut may leave any of them.
    history: Vec<Version>,
}

struct Model {
    files: Arc<FaultyFiles>,
    store: TestStore,
    limits: DiskLimits,
    keys: HashMap<Key, KeyModel>,
    random: Random,
    next_id: u64,
    expiries: u64,
    /// Nothing waits to be written: what is found is all there is.
    is_settled: bool,
    /// Whether responses are evicted: nothing may be found of any key.
    evicts: bool,
}

impl Model {
    fn new(seed: u64, max_bytes: u64) -> Self {
        let files = FaultyFiles::new();
        let limits = limits(max_bytes);
        let keys = (0..RESOURCES * PARTITIONS * VARIANTS).map(|number| {
            let key = (number / 4, number / 2 % 2, number % 2);
            let model = KeyModel {
                candidates: vec![None],
                history: Vec::new(),
            };
            (key, model)
        });
        Self {
            store: open_with(&files, limits, timing()),
            files,
            limits,
            keys: keys.collect(),
            random: Random(seed),
            next_id: 1,
            expiries: 0,
            is_settled: true,
            evicts: max_bytes < 64 * MIB,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..45 => self.put(),
            45..70 => self.look(),
            70..76 => self.settle(),
            76..82 => self.end_resources(),
            82..86 => self.end_address(),
            86 => self.end_all(),
            87..90 => self.remove_tag(),
            90..92 => self.expire_tag(),
            92..94 => self.close(),
            94..97 => self.kill(),
            97 => self.cut_power(),
            _ => self.look_at_everything(),
        }
    }

    fn random_key(&mut self) -> Key {
        let resource = self.below(RESOURCES);
        (resource, self.below(PARTITIONS), self.below(VARIANTS))
    }

    fn put(&mut self) {
        let key = self.random_key();
        let id = self.next_id;
        self.next_id += 1;
        let newest = self.keys[&key].candidates.last().cloned().flatten();
        let update = newest.filter(|_| self.below(4) == 0);
        let len = match self.below(10) {
            0 => self.below(400_000),
            1 => 0,
            _ => self.below(20_000),
        };
        let version = Version {
            id,
            seed: update.as_ref().map_or(id, |version| version.seed),
            len: match &update {
                Some(version) => version.len,
                None => usize::try_from(len).unwrap(),
            },
            tag: self.below(TAGS),
            expired_at: None,
        };
        let mut record = TestRecord {
            address: address_of(key),
            variant: vec![u8::try_from(key.2).unwrap()],
            head: format!("tag={};id={id}", version.tag).into_bytes(),
            body: bytes(version.seed, version.len),
            large: None,
            id,
            body_from: update.map(|version| version.id),
        };
        if version.len > 100_000 && self.below(2) == 0 {
            record.large = self.write_large(&record.body);
        }
        self.store.put(record);
        self.is_settled = false;
        let model = self.keys.get_mut(&key).unwrap();
        model.candidates.push(Some(version.clone()));
        model.history.push(version);
    }

    fn write_large(&self, body: &[u8]) -> Option<crate::disk::LargeBody> {
        self.store.runtime.block_on(async {
            let mut writer = self.store.disk.large_writer(None)?;
            for piece in body.chunks(64_000) {
                writer.write(Bytes::copy_from_slice(piece)).await.ok()?;
            }
            writer.finish().await.ok()
        })
    }

    /// All that was put is written.
    fn settle(&mut self) {
        self.store.settle();
        self.is_settled = true;
        for model in self.keys.values_mut() {
            let newest = model.candidates.pop().unwrap();
            model.candidates = vec![newest];
        }
    }

    fn end(&self, end: End) {
        self.store.end(end).unwrap();
    }

    fn end_keys(&mut self, has_ended: impl Fn(&Key) -> bool) {
        for (_, model) in self.keys.iter_mut().filter(|(key, _)| has_ended(key)) {
            model.candidates = vec![None];
            model.history.clear();
        }
    }

    fn end_resources(&mut self) {
        let ended = [self.below(RESOURCES), self.below(RESOURCES)];
        let names = ended.map(|resource| name_of(resource).into_bytes().into());
        self.end(End::Resources(names.to_vec()));
        self.end_keys(|key| ended.contains(&key.0));
    }

    fn end_address(&mut self) {
        let ended = self.random_key();
        self.end(End::Address(address_of(ended)));
        self.end_keys(|key| (key.0, key.1) == (ended.0, ended.1));
    }

    fn end_all(&mut self) {
        self.end(End::All);
        self.end_keys(|_| true);
    }

    /// The rule comes after all that was put.
    fn rule(&mut self, action: RuleAction) -> u64 {
        let tag = self.below(TAGS);
        let rule = format!("tag={tag};").into_bytes();
        self.end(End::Matching { rule, action });
        for model in self.keys.values_mut() {
            let newest = model.candidates.pop().unwrap();
            model.candidates = vec![newest];
        }
        tag
    }

    fn remove_tag(&mut self) {
        let tag = self.rule(RuleAction::Remove);
        for model in self.keys.values_mut() {
            model.history.retain(|version| version.tag != tag);
            let newest = &mut model.candidates[0];
            if newest.as_ref().is_some_and(|version| version.tag == tag) {
                *newest = None;
                // Older ones do not come back, but for a power cut that takes the newer one from the disk.
            }
        }
    }

    fn expire_tag(&mut self) {
        if self.expiries == 40 {
            return;
        }
        self.expiries += 1;
        let at = 1000 + self.below(1000);
        let tag = self.rule(RuleAction::Expire { at });
        for model in self.keys.values_mut() {
            let versions = model.candidates.iter_mut().flatten();
            for version in versions.chain(&mut model.history) {
                if version.tag == tag {
                    let earliest = version.expired_at.map_or(at, |before| before.min(at));
                    version.expired_at = Some(earliest);
                }
            }
        }
    }

    fn close(&mut self) {
        self.settle();
        self.store.runtime.block_on(self.store.disk.close());
        self.reopen();
    }

    fn kill(&mut self) {
        self.files = self.files.after_kill();
        self.reopen();
    }

    fn cut_power(&mut self) {
        let seed = self.below(1 << 30);
        self.files = self.files.after_power_cut(seed);
        for model in self.keys.values_mut() {
            model.candidates = vec![None];
            model
                .candidates
                .extend(model.history.iter().cloned().map(Some));
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.store = open_with(&self.files, self.limits, timing());
        until(|| !self.store.disk.stats().is_loading);
        self.is_settled = true;
        self.look_at_everything();
    }

    fn look(&mut self) {
        let key = self.random_key();
        self.look_at(key.0, key.1);
    }

    fn look_at_everything(&mut self) {
        for resource in 0..RESOURCES {
            for partition in 0..PARTITIONS {
                self.look_at(resource, partition);
            }
        }
    }

    fn look_at(&mut self, resource: u64, partition: u64) {
        let found = self.found(resource, partition);
        let mut explained = 0;
        for variant in 0..VARIANTS {
            let key = (resource, partition, variant);
            let evicts = self.evicts;
            let model = self.keys.get_mut(&key).unwrap();
            let is_of_key = |version: &&Version| {
                let candidates = model.candidates.iter().flatten();
                candidates.map(|known| known.id).any(|id| id == version.id)
            };
            let of_key: Vec<&Version> = found.iter().filter(is_of_key).collect();
            assert!(of_key.len() <= 1, "{key:?}: {of_key:?}");
            explained += of_key.len();
            let seen = of_key.first().map(|version| (*version).clone());
            // What is older than one that waits to be written is not found.
            let is_right = match model.candidates.len() > 1 && !self.is_settled {
                true => seen.is_none() || model.candidates.last() == Some(&seen),
                false => model.candidates.contains(&seen) || seen.is_none() && evicts,
            };
            let candidates = &model.candidates;
            assert!(
                is_right,
                "{key:?}: found {seen:?}, not one of {candidates:?}"
            );
            // What is found once stays until it is replaced.
            if self.is_settled {
                model.candidates = vec![seen];
            } else if !evicts {
                let from = candidates.iter().position(|candidate| *candidate == seen);
                model.candidates.drain(..from.unwrap_or(0));
            }
        }
        let known = (0..VARIANTS).map(|variant| &self.keys[&(resource, partition, variant)]);
        let known: Vec<_> = known
            .map(|model| (&model.candidates, &model.history))
            .collect();
        assert_eq!(
            explained,
            found.len(),
            "of {resource}, {partition}: found {found:?}, known {known:?}"
        );
    }

    /// What is found at an address. What has a damaged body is removed when the body is read.
    fn found(&self, resource: u64, partition: u64) -> Vec<Version> {
        for _ in 0..10_000 {
            let address = address_of((resource, partition, 0));
            let found = self.store.get_at(address).unwrap();
            let versions = found.iter().map(|record| self.version_of(record));
            if let Some(versions) = versions.collect() {
                return versions;
            }
        }
        panic!("a body cannot be read, and its response is not removed");
    }

    /// `None` if the body has gone, because a newer response has replaced it, or is damaged.
    fn version_of(&self, record: &StoredRecord) -> Option<Version> {
        let head = String::from_utf8(record.head.to_vec()).unwrap();
        let (tag, id) = head
            .strip_prefix("tag=")
            .unwrap()
            .split_once(";id=")
            .unwrap();
        let id: u64 = id.parse().unwrap();
        assert_eq!(id, record.id);
        let known = self.keys.values().flat_map(|model| {
            let candidates = model.candidates.iter().flatten();
            candidates.chain(&model.history)
        });
        let mut known = known.filter(|version| version.id == id);
        let known = known.next().unwrap_or_else(|| panic!("{head} has ended"));
        match self.store.body(record) {
            Ok(body) => assert!(body == bytes(known.seed, known.len), "the body of {head}"),
            Err(_) => return None,
        }
        Some(Version {
            id,
            seed: known.seed,
            len: known.len,
            tag: tag.parse().unwrap(),
            expired_at: record.expired_at,
        })
    }
}

fn name_of(resource: u64) -> String {
    format!("/resource/{resource}")
}

fn address_of(key: Key) -> Address {
    address(
        &name_of(key.0),
        ["", "bob"][usize::try_from(key.1).unwrap()],
    )
}

fn run(seeds: std::ops::Range<u64>, steps: u32, max_bytes: u64) {
    for seed in seeds {
        let mut model = Model::new(seed, max_bytes);
        for _ in 0..steps {
            model.step();
        }
        model.settle();
        model.look_at_everything();
        assert_eq!(model.store.disk.stats().bypassed, None, "seed {seed}");
    }
}

#[test]
fn random_calls_agree_with_the_model() {
    run(seeds(1, 4), 400, 256 * MIB);
    // It ends a resource of which the index has no record, and then loses power.
    run(93..94, 400, 256 * MIB);
}

#[test]
fn random_calls_agree_with_the_model_while_responses_are_evicted() {
    run(seeds(100, 3), 400, 4 * MIB);
}
