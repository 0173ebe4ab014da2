//! Tests of the whole disk tier, most of them on files in memory.

mod basics;
mod bodies;
mod ends;
mod faults;
mod model;
mod removed_files;
mod rules;
mod space;
mod storm;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};

use crate::disk::{
    Address, Disk, DiskLimits, DiskRule, DiskUnavailable, End, Ended, LargeBody, NotDurable,
    Opened, Record, RecordBody, StoredBody, StoredRecord, files::Files, files::faulty::FaultyFiles,
    limits::DiskTiming, open::OpenParts,
};

const SECRET: [u8; 32] = [9; 32];
const MIB: u64 = 1024 * 1024;

/// Numbers that look random, and are the same for each seed.
struct Random(u64);

impl Random {
    /// The next number, below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        let next = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = next.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Seeds from `first` on: `count` of them, and more where the program is optimised.
fn seeds(first: u64, count: u64) -> std::ops::Range<u64> {
    let factor = if cfg!(debug_assertions) { 1 } else { 4 };
    first..first + factor * count
}

/// A response to store.
#[derive(Clone)]
struct TestRecord {
    address: Address,
    variant: Vec<u8>,
    head: Vec<u8>,
    body: Vec<u8>,
    large: Option<LargeBody>,
    id: u64,
    body_from: Option<u64>,
}

impl Record for TestRecord {
    fn address(&self) -> Address {
        self.address.clone()
    }

    fn variant(&self) -> Vec<u8> {
        self.variant.clone()
    }

    fn head(&self) -> Vec<u8> {
        self.head.clone()
    }

    fn body(&self) -> RecordBody {
        match &self.large {
            Some(body) => RecordBody::Large(body.clone()),
            None => {
                let pieces = self.body.chunks(50_000).map(Bytes::copy_from_slice);
                RecordBody::Memory(pieces.collect())
            }
        }
    }

    fn memory_bytes(&self) -> u64 {
        (self.head.len() + self.body.len()) as u64
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn body_from(&self) -> Option<u64> {
        self.body_from
    }
}

/// A rule whose bytes are a part of the heads that it names.
struct HeadContains(Vec<u8>);

impl DiskRule for HeadContains {
    fn names(&self, _resource: &[u8], head: &[u8]) -> bool {
        head.windows(self.0.len()).any(|part| part == self.0)
    }
}

fn parse_rule(rule: &[u8]) -> Option<Box<dyn DiskRule>> {
    (!rule.is_empty()).then(|| Box::new(HeadContains(rule.to_vec())) as Box<dyn DiskRule>)
}

fn address(resource: &str, partition: &str) -> Address {
    Address {
        resource: resource.as_bytes().into(),
        partition: partition.as_bytes().into(),
    }
}

/// A response of a resource in the shared partition.
fn record(resource: &str, id: u64, body: &[u8]) -> TestRecord {
    TestRecord {
        address: address(resource, ""),
        variant: Vec::new(),
        head: format!("head of {resource}, {id}").into_bytes(),
        body: body.to_vec(),
        large: None,
        id,
        body_from: None,
    }
}

/// Bytes that differ from seed to seed and from place to place.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(step).collect();
    bytes.truncate(len);
    bytes
}

fn timing() -> DiskTiming {
    DiskTiming {
        flush: Duration::from_millis(5),
        checkpoint: Duration::from_millis(5),
        retry: Duration::from_millis(20),
        end: Duration::from_secs(20),
        read: Duration::from_secs(20),
        load: Duration::from_secs(20),
    }
}

fn limits(max_bytes: u64) -> DiskLimits {
    DiskLimits {
        max_bytes,
        reserve_bytes: Some(0),
        max_object_bytes: max_bytes / 4,
    }
}

/// An open store on files in memory.
struct TestStore {
    runtime: Runtime,
    disk: Disk,
    opened_run: u32,
    notes: Vec<Vec<u8>>,
    are_notes_lost: bool,
    checkpoint: Option<Vec<u8>>,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn try_open(
    files: &Arc<FaultyFiles>,
    limits: DiskLimits,
    timing: DiskTiming,
) -> std::io::Result<Opened> {
    let files: Arc<dyn Files> = files.clone();
    Disk::open_with(OpenParts {
        files,
        secret: SECRET,
        limits,
        timing,
        parse_rule,
        directory: None,
    })
}

fn open(files: &Arc<FaultyFiles>) -> TestStore {
    open_with(files, limits(64 * MIB), timing())
}

fn open_with(files: &Arc<FaultyFiles>, limits: DiskLimits, timing: DiskTiming) -> TestStore {
    TestStore::of(try_open(files, limits, timing).unwrap())
}

impl TestStore {
    fn of(opened: Opened) -> Self {
        Self {
            runtime: runtime(),
            disk: opened.disk,
            opened_run: opened.run,
            notes: opened.notes,
            are_notes_lost: opened.are_notes_lost,
            checkpoint: opened.checkpoint,
        }
    }

    fn put(&self, record: TestRecord) {
        self.disk.put(Arc::new(record));
    }

    /// Puts, and waits until it was written or dropped.
    fn store(&self, record: TestRecord) {
        self.put(record);
        self.settle();
    }

    /// Waits until nothing waits to be written.
    fn settle(&self) {
        until(|| self.disk.stats().waiting_bytes == 0);
        // All that came before is done when this is answered: it names nothing.
        let _ = self.end(End::Resources(Vec::new()));
    }

    fn end(&self, end: End) -> Result<Ended, NotDurable> {
        let ending = self.disk.end(vec![end]);
        self.runtime.block_on(ending.durable)
    }

    fn get_at(&self, address: Address) -> Result<Vec<StoredRecord>, DiskUnavailable> {
        self.runtime
            .block_on(async { self.disk.get(vec![address]).await })
    }

    /// What is stored of a resource in the shared partition.
    fn get(&self, resource: &str) -> Vec<StoredRecord> {
        self.get_at(address(resource, "")).unwrap()
    }

    /// The id and the body of the only response of a resource. `None` if there is none.
    fn find(&self, resource: &str) -> Option<(u64, Vec<u8>)> {
        let found = self.get(resource);
        assert!(found.len() <= 1, "{found:?}");
        let found = found.into_iter().next()?;
        let body = self.body(&found).unwrap();
        Some((found.id, body))
    }

    fn body(&self, record: &StoredRecord) -> Result<Vec<u8>, DiskUnavailable> {
        match &record.body {
            StoredBody::Memory(body) => Ok(body.to_vec()),
            StoredBody::Large(body) => self.large_body(body),
        }
    }

    fn large_body(&self, body: &LargeBody) -> Result<Vec<u8>, DiskUnavailable> {
        self.runtime.block_on(async {
            let reader = body.open().await?;
            let mut read = Vec::new();
            loop {
                let bytes = reader.read(read.len() as u64).await?;
                match bytes.is_empty() {
                    true => break,
                    false => read.extend_from_slice(&bytes),
                }
            }
            assert_eq!(read.len() as u64, body.len_bytes());
            Ok(read)
        })
    }

    fn close(self) {
        self.runtime.block_on(async { self.disk.close().await });
    }
}

/// Waits for a condition.
fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "it has not happened"
        );
        thread::yield_now();
    }
}
