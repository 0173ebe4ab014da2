//! What the disk tier takes: stores, lookups, opening, memory, and an end of everything.
//!
//! `cargo bench --bench disk [RECORDS]`, by default 1,000,000 records of 1 KiB. It writes beneath the target directory.

#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that cannot be taken ends"
)]

use std::{
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use caching_proxy::disk::{
    Address, Disk, DiskLimits, DiskRule, End, Opened, Record, RecordBody, StoredBody,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

const GIB: u64 = 1024 * 1024 * 1024;
const HEAD_BYTES: usize = 400;
/// Names the directory whose index is loaded to measure its memory.
const MEMORY_OF: &str = "DISK_BENCH_MEMORY_OF";
/// So much may wait to be written before the next response is put.
const WAITING_BYTES: u64 = 32 * 1024 * 1024;

struct Numbered {
    number: u64,
    body: Bytes,
}

impl Record for Numbered {
    fn address(&self) -> Address {
        address(self.number)
    }

    fn variant(&self) -> Vec<u8> {
        Vec::new()
    }

    fn head(&self) -> Vec<u8> {
        vec![b'h'; HEAD_BYTES]
    }

    fn body(&self) -> RecordBody {
        RecordBody::Memory(vec![self.body.clone()])
    }

    fn memory_bytes(&self) -> u64 {
        (HEAD_BYTES + self.body.len()) as u64
    }

    fn id(&self) -> u64 {
        self.number
    }

    fn body_from(&self) -> Option<u64> {
        None
    }
}

fn address(number: u64) -> Address {
    Address {
        resource: format!("/bench/{number}").into_bytes().into(),
        partition: Box::default(),
    }
}

fn no_rules(_rule: &[u8]) -> Option<Box<dyn DiskRule>> {
    None
}

fn open(dir: &Path) -> Opened {
    let limits = DiskLimits {
        max_bytes: 8 * GIB,
        reserve_bytes: Some(GIB),
        max_object_bytes: GIB,
    };
    Disk::open(dir, limits, no_rules).expect("the directory can be opened")
}

/// The processor time of this process.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// A number in a file of `/proc/self`.
fn of_process(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let digits = line.and_then(|line| line.split_whitespace().nth(1));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        thread::sleep(Duration::from_micros(200));
    }
}

fn micros(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// Stores responses and closes. The numbers of other sizes begin elsewhere.
fn store(runtime: &Runtime, dir: &Path, first: u64, count: u64, body_bytes: usize) {
    let disk = open(dir).disk;
    let body = Bytes::from(vec![b'b'; body_bytes]);
    let written = of_process("io", "write_bytes");
    let (begun, cpu) = (Instant::now(), processor_time());
    for number in first..first + count {
        until(|| disk.stats().waiting_bytes < WAITING_BYTES);
        let body = body.clone();
        disk.put(Arc::new(Numbered { number, body }));
    }
    let is_written = || disk.stats().waiting_bytes == 0;
    until(is_written);
    let (taken, cpu) = (begun.elapsed(), processor_time() - cpu);
    let stats = disk.stats();
    runtime.block_on(disk.close());
    let logical = count * (HEAD_BYTES + body_bytes) as u64;
    let amplification = stats.written_bytes as f64 / logical as f64;
    let by_system = of_process("io", "write_bytes") - written;
    println!(
        "store {count} of {body_bytes} bytes: {:.0} a second, {:.1} us of processor time each, dropped {}",
        count as f64 / taken.as_secs_f64(),
        micros(cpu, count),
        stats.dropped
    );
    println!(
        "  written {amplification:.3} bytes for each stored one; {:.3} as the system counts until now",
        by_system as f64 / logical as f64
    );
}

fn look_up(runtime: &Runtime, disk: &Disk, first: u64, count: u64, lookups: u64) {
    let mut times = Vec::new();
    let cpu = processor_time();
    let mut body_bytes = 0;
    for lookup in 0..lookups {
        let number = first + lookup.wrapping_mul(0x9e37_79b9_7f4a_7c15) % count;
        let begun = Instant::now();
        let found = runtime.block_on(async { disk.get(vec![address(number)]).await });
        times.push(begun.elapsed());
        let found = found.expect("the disk answers");
        assert_eq!(found.len(), 1);
        if let StoredBody::Memory(body) = &found[0].body {
            body_bytes = body.len();
        }
    }
    let cpu = processor_time() - cpu;
    times.sort();
    let at = |percent: usize| micros(times[times.len() * percent / 100], 1);
    println!(
        "get of {body_bytes} bytes: p50 {:.0} us, p99 {:.0} us, {:.1} us of processor time",
        at(50),
        at(99),
        micros(cpu, lookups)
    );
}

/// Loads the index in another process, whose memory has nothing else in it.
fn measure_memory(dir: &Path, records: u64) {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    let status = command
        .arg(records.to_string())
        .env(MEMORY_OF, dir)
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

fn print_memory(runtime: &Runtime, dir: &Path, records: u64) {
    let before = of_process("status", "RssAnon");
    let disk = open(dir).disk;
    until(|| !disk.stats().is_loading);
    let kib = of_process("status", "RssAnon").saturating_sub(before);
    println!(
        "memory {:.0} bytes a response ({kib} KiB)",
        kib as f64 * 1024.0 / records as f64
    );
    runtime.block_on(disk.close());
}

fn main() {
    let mut numbers = std::env::args().filter_map(|argument| argument.parse().ok());
    let records: u64 = numbers.next().unwrap_or(1_000_000);
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    if let Some(dir) = std::env::var_os(MEMORY_OF) {
        return print_memory(&runtime, Path::new(&dir), records);
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let dir = dir.path();
    store(&runtime, dir, 0, records, 1024);
    let begun = Instant::now();
    let opened = open(dir);
    let open_time = begun.elapsed();
    until(|| !opened.disk.stats().is_loading);
    println!(
        "open {:.1} ms, loaded after {:.0} ms: {} responses",
        open_time.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3,
        opened.disk.stats().responses
    );
    look_up(&runtime, &opened.disk, 0, records, 20_000);
    runtime.block_on(opened.disk.close());
    drop(opened);
    measure_memory(dir, records);
    let disk = open(dir).disk;
    until(|| !disk.stats().is_loading);
    let begun = Instant::now();
    let ended = runtime.block_on(disk.end(vec![End::All]).durable);
    let taken = begun.elapsed();
    until(|| disk.stats().bytes < 1024 * 1024);
    println!(
        "end of {} responses: durable after {:.1} ms, space given back after {:.0} ms",
        ended.expect("it is durable").responses,
        taken.as_secs_f64() * 1e3,
        begun.elapsed().as_secs_f64() * 1e3
    );
    runtime.block_on(disk.close());
    drop(disk);
    store(&runtime, dir, 0, records / 100 + 1, 60 * 1024);
    let disk = open(dir).disk;
    until(|| !disk.stats().is_loading);
    look_up(&runtime, &disk, 0, records / 100 + 1, 10_000);
    runtime.block_on(disk.close());
}
