//! Operations that fail, and files that are damaged, at random. What has ended never comes back, no byte is wrong, and the
//! store works again when the disk does.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    MIB, Random, TestRecord, TestStore, address, bytes, limits, seeds, timing, try_open, until,
};
use crate::disk::{
    Address, DiskLimits, End, RuleAction,
    files::faulty::{Failure, Fault, FaultyFiles, Operation},
};

const RESOURCES: u64 = 10;
const TAGS: u64 = 4;

/// A response that was put.
#[derive(Clone, Debug)]
struct Put {
    resource: u64,
    partition: u64,
    tag: u64,
    len: usize,
}

struct Storm {
    files: Arc<FaultyFiles>,
    store: TestStore,
    limits: DiskLimits,
    seed: u64,
    random: Random,
    put: HashMap<u64, Put>,
    /// They have ended, whatever happens.
    ended: HashSet<u64>,
    /// They have ended in this process.
    ended_here: HashSet<u64>,
    found: u64,
}

fn address_of(resource: u64, partition: u64) -> Address {
    let partition = ["", "bob"][usize::try_from(partition).unwrap()];
    address(&format!("/resource/{resource}"), partition)
}

impl Storm {
    fn new(seed: u64, max_bytes: u64) -> Self {
        let files = FaultyFiles::new();
        let limits = limits(max_bytes);
        Self {
            store: store(&files, limits).unwrap(),
            files,
            limits,
            seed,
            random: Random(seed),
            put: HashMap::new(),
            ended: HashSet::new(),
            ended_here: HashSet::new(),
            found: 0,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random.below(limit)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..40 => self.put(),
            40..60 => self.look(),
            60..66 => self.store.settle(),
            66..80 => self.end(),
            80..90 => self.fail(),
            90..94 => self.kill(),
            94..96 => self.cut_power(),
            96..98 => self.damage(),
            _ => self.heal(),
        }
        if self.files.has_stopped() {
            self.kill();
        }
    }

    fn put(&mut self) {
        let len = match self.below(8) {
            0 => self.below(250_000),
            _ => self.below(9000),
        };
        let put = Put {
            resource: self.below(RESOURCES),
            partition: self.below(2),
            tag: self.below(TAGS),
            len: usize::try_from(len).unwrap(),
        };
        let id = self.put.len() as u64 + 1;
        let record = TestRecord {
            address: address_of(put.resource, put.partition),
            variant: vec![u8::try_from(self.below(2)).unwrap()],
            head: format!("tag={};", put.tag).into_bytes(),
            body: bytes(id, put.len),
            large: None,
            id,
            body_from: None,
        };
        self.store.put(record);
        self.put.insert(id, put);
    }

    fn look(&mut self) {
        for resource in 0..RESOURCES {
            for partition in 0..2 {
                self.look_at(resource, partition);
            }
        }
    }

    fn look_at(&mut self, resource: u64, partition: u64) {
        let found = self.store.get_at(address_of(resource, partition));
        for record in found.unwrap_or_default() {
            let put = self.put[&record.id].clone();
            assert_eq!((put.resource, put.partition), (resource, partition));
            assert_eq!(record.head, format!("tag={};", put.tag));
            if let Ok(body) = self.store.body(&record) {
                assert!(body == bytes(record.id, put.len), "the body of {put:?}");
                self.found += 1;
            }
            let has_ended = self.ended.contains(&record.id) || self.ended_here.contains(&record.id);
            let Self { seed, .. } = self;
            assert!(!has_ended, "{} has ended, seed {seed}: {put:?}", record.id);
        }
    }

    fn end(&mut self) {
        let (resource, partition, tag) = (self.below(RESOURCES), self.below(2), self.below(TAGS));
        let name = format!("/resource/{resource}").into_bytes();
        let kind = self.below(12);
        let end = match kind {
            0 => End::All,
            1..5 => End::Resources(vec![name.into()]),
            5..8 => End::Address(address_of(resource, partition)),
            8..10 => End::Matching {
                rule: format!("tag={tag};").into_bytes(),
                action: RuleAction::Remove,
            },
            _ => End::Note(b"note".to_vec()),
        };
        let is_named = |put: &Put| match kind {
            0 => true,
            1..5 => put.resource == resource,
            5..8 => (put.resource, put.partition) == (resource, partition),
            8..10 => put.tag == tag,
            _ => false,
        };
        let named = self.put.iter().filter(|(_, put)| is_named(put));
        let named: Vec<u64> = named.map(|(id, _)| *id).collect();
        match self.store.end(end) {
            Ok(_) => self.ended.extend(named),
            Err(_) if self.files.has_stopped() => {}
            Err(_) => self.ended_here.extend(named),
        }
    }

    fn fail(&mut self) {
        let operations = [
            Operation::Any,
            Operation::Any,
            Operation::Write,
            Operation::Sync,
            Operation::Read,
            Operation::Read,
            Operation::Create,
            Operation::SetLen,
            Operation::Remove,
            Operation::Rename,
            Operation::SyncDir,
        ];
        let failures = [
            Failure::Io,
            Failure::Io,
            Failure::NoSpace,
            Failure::ReadOnly,
            Failure::Short(3),
            Failure::Killed(700),
            Failure::PowerCut,
        ];
        let operation = operations[usize::try_from(self.below(11)).unwrap()];
        let failure = failures[usize::try_from(self.below(7)).unwrap()];
        let fault = Fault {
            operation,
            nth: self.below(12),
            times: [1, 1, 2, 5, 40][usize::try_from(self.below(5)).unwrap()],
            failure,
        };
        self.files.fail(fault);
    }

    fn heal(&mut self) {
        self.files.heal();
        if !self.files.has_stopped() {
            self.store.settle();
            until(|| self.store.disk.stats().bypassed.is_none());
        }
    }

    fn kill(&mut self) {
        let is_cut = self.files.has_stopped() && self.below(2) == 0;
        let files = match is_cut {
            true => self.files.after_power_cut(self.random.0),
            false => self.files.after_kill(),
        };
        self.reopen(files);
    }

    fn cut_power(&mut self) {
        let files = self.files.after_power_cut(self.random.0);
        self.reopen(files);
    }

    fn damage(&mut self) {
        let files = self.files.after_kill();
        for _ in 0..=self.below(3) {
            let names = files.names();
            if names.is_empty() {
                break;
            }
            let at = usize::try_from(self.below(names.len() as u64)).unwrap();
            let name = &names[at];
            let content = files.bytes(name).unwrap();
            let used = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) as u64;
            let byte = usize::try_from(self.below(used + 1)).unwrap();
            match self.below(4) {
                0 | 1 if used > 0 => files.flip_bit(name, byte, 1),
                2 => files.delete(name),
                // A log that lacks its end is whole.
                _ if name == "ended.log" => {}
                _ => files.truncate(name, byte),
            }
        }
        self.reopen(files);
    }

    fn reopen(&mut self, files: Arc<FaultyFiles>) {
        self.ended_here.clear();
        self.files = files;
        if self.below(4) == 0 {
            self.fail();
        }
        self.store = match store(&self.files, self.limits) {
            Ok(store) => store,
            Err(_) => {
                self.files = self.files.after_kill();
                store(&self.files, self.limits).unwrap()
            }
        };
        self.look();
    }
}

fn store(files: &Arc<FaultyFiles>, limits: DiskLimits) -> std::io::Result<TestStore> {
    let opened = try_open(files, limits, timing())?;
    Ok(TestStore::of(opened))
}

fn run(seeds: std::ops::Range<u64>, steps: u32, max_bytes: u64) {
    let mut found = 0;
    let least = 100 * (seeds.end - seeds.start);
    for seed in seeds {
        let mut storm = Storm::new(seed, max_bytes);
        for _ in 0..steps {
            storm.step();
        }
        let files = storm.files.after_kill();
        storm.reopen(files);
        storm.heal();
        storm.put();
        storm.store.settle();
        storm.look();
        found += storm.found;
    }
    assert!(found > least, "{found} responses were found");
}

#[test]
fn what_has_ended_does_not_come_back_from_a_disk_that_fails() {
    run(seeds(1, 2), 400, 64 * MIB);
}

#[test]
fn what_has_ended_does_not_come_back_from_a_full_disk_that_fails() {
    run(seeds(100, 2), 400, 4 * MIB);
}
