//! One store, its origin, and the processes that use it one after the other.

use std::{
    collections::HashSet,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    dice::Dice,
    instance::{Home, Instance},
    origin::Origin,
    resources::{Lifetime, Resource, Slot},
    responder,
    truth::Truth,
    visitor::Visitor,
};

/// Clients under load.
const VISITORS: usize = 3;
/// The limit of the store.
pub(crate) const MAX_DISK_BYTES: u64 = 64 * 1024 * 1024;
/// Until so many bytes were written, certainly nothing was evicted.
const FITTING_BYTES: u64 = MAX_DISK_BYTES / 2;
/// A new store is begun after so many bytes.
const MOST_BYTES: u64 = MAX_DISK_BYTES * 5 / 2;
/// The random requests of a check.
const CHECKED: usize = 40;

/// Where a lane stores.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storing {
    /// In memory alone.
    Memory,
    /// In a directory too.
    Directory,
}

/// One store and its origin.
pub(crate) struct Lane {
    pub(crate) truth: Arc<Truth>,
    pub(crate) home: Home,
    origin: Origin,
    storing: Storing,
    dice: Dice,
    stores: usize,
}

impl Lane {
    pub(crate) fn new(storing: Storing, seed: u64) -> Self {
        let truth = Arc::new(Truth::new());
        Self {
            origin: responder::start(&truth, seed),
            truth,
            home: Home::new(),
            storing,
            dice: Dice::new(seed),
            stores: 0,
        }
    }

    /// The directory of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.home.path(&format!("work/store-{}", self.stores))
    }

    /// Begins a new store if much was written to this one.
    pub(crate) fn renew_store(&mut self) {
        if self.truth.written_bytes() > MOST_BYTES {
            std::fs::remove_dir_all(self.store()).unwrap();
            self.stores += 1;
            self.truth.store_is_new();
            self.truth.count("new stores");
        }
    }

    /// Starts a process, checks what is stored, and ends it at a random moment under load: mostly by a kill.
    pub(crate) fn live_and_die(&mut self) {
        if self.dice.below(8) == 0 {
            self.die_at_start();
        }
        let process = self.start();
        self.check(&process);
        let millis = match self.dice.below(12) {
            // What is stored in this life can be older than a second.
            0 => 1200 + self.dice.below(400),
            // While it loads what it has stored.
            1 => self.dice.below(10),
            _ => self.dice.below(250),
        };
        let millis = Duration::from_millis(millis.try_into().unwrap());
        match self.dice.below(12) {
            0 => self.load_and_stop(process, millis),
            _ => self.load_and_kill(process, millis),
        }
    }

    /// Starts a process, fills its store for some time, and kills it.
    pub(crate) fn live_and_fill(&mut self) {
        let process = self.start();
        self.check(&process);
        self.truth.fills(true);
        let time = Duration::from_millis(1500);
        self.load(process.port, time, || ());
        self.truth.fills(false);
        if self.disk_stats(&process)["evicted"] != 0 {
            self.truth.count("evictions");
        }
        self.kill(process);
    }

    /// Copies the store while a process uses it. Then goes on with the copy in its place.
    pub(crate) fn live_and_copy(&mut self) {
        let process = self.start();
        self.check(&process);
        let (truth, from) = (Arc::clone(&self.truth), self.store());
        self.note("the store is copied");
        self.stores += 1;
        let to = self.store();
        let mut ends = None;
        let at_end = || {
            ends = Some(truth.ends());
            // It complains about files that are removed meanwhile, and copies the rest.
            let status = Command::new("cp").arg("-a").args([&from, &to]).status();
            status.unwrap();
        };
        let time = Duration::from_millis(150);
        self.load(process.port, time, at_end);
        process.kill();
        std::fs::remove_dir_all(from).unwrap();
        truth.go_back_to(ends.unwrap());
        let process = self.start();
        self.check(&process);
        self.kill(process);
    }

    /// Damages a file that holds responses.
    pub(crate) fn damage(&mut self) {
        let mut files = files_below(&self.store());
        files.retain(|file| {
            let name = file.file_name().unwrap().to_str().unwrap();
            let is_response = file.parent() != Some(&self.store()) || name.ends_with(".seg");
            is_response && file.metadata().unwrap().len() > 0
        });
        files.sort();
        if files.is_empty() {
            return;
        }
        let file = &files[self.dice.below(files.len())];
        let mut bytes = std::fs::read(file).unwrap();
        let place = self.dice.below(bytes.len());
        match self.dice.below(5) {
            0 => bytes.truncate(place),
            1 => bytes.drain(..place).for_each(drop),
            2 => {
                let end = bytes.len().min(place + 512);
                bytes[place..end].fill(0);
            }
            _ => bytes[place] ^= 1 << self.dice.below(8),
        }
        std::fs::write(file, bytes).unwrap();
        self.truth.forget_stored();
        self.truth.count("damages");
    }

    /// Starts a process on the store.
    pub(crate) fn start(&mut self) -> Instance {
        let store = self.store();
        let mut args = vec!["--workers", "2"];
        args.extend(["--max-memory", self.dice.one_of(&["8MiB", "64MiB"])]);
        args.extend(self.store_args(store.to_str().unwrap()));
        let environment = [("RUST_LOG", "warn")];
        let process = self
            .home
            .start_with(&self.origin.url(), &args, &environment);
        self.truth.started();
        self.note("a process has started");
        process
    }

    fn store_args<'s>(&self, store: &'s str) -> Vec<&'s str> {
        match self.storing {
            Storing::Memory => Vec::new(),
            Storing::Directory => vec![
                "--store",
                store,
                "--max-disk",
                "64MiB",
                "--disk-reserve",
                "0",
            ],
        }
    }

    /// Kills a process before it listens, or soon after.
    fn die_at_start(&mut self) {
        let store = self.store();
        let port = crate::ports::free_port().to_string();
        let origin = self.origin.url();
        let mut args = vec!["--port", &port, "--origin", &origin];
        args.extend(self.store_args(store.to_str().unwrap()));
        let mut command = self.home.command(&args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let millis = self.dice.below(40).try_into().unwrap();
        std::thread::park_timeout(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        self.truth.count("kills while starting");
    }

    /// Checks that all is there that must be, and nothing that must not.
    pub(crate) fn check(&mut self, process: &Instance) {
        let truth = Arc::clone(&self.truth);
        let mut visitor = Visitor::new(&truth, &self.home, process.port);
        let given = truth.given();
        if self.storing == Storing::Memory || truth.written_bytes() > FITTING_BYTES {
            truth.forget_stored();
        }
        for (slot, least) in truth.must_be_stored() {
            let asked = truth.ask(slot.resource, slot.identity, slot.lang);
            let requests = truth.requests(slot.resource);
            let Some(found) = visitor.get(&asked) else {
                continue;
            };
            let asks_origin = match slot.resource.lifetime() {
                Lifetime::StaleAtOnce => Some(1),
                // It is validated while it is served.
                Lifetime::WhileRevalidating => None,
                _ => Some(0),
            };
            let made = truth.requests(slot.resource) - requests;
            let is_there = found.is_hit
                && found.number >= least
                && asks_origin.is_none_or(|expected| made == expected);
            if is_there {
                truth.count("found that must be there");
                continue;
            }
            let disk = self.disk_stats(process);
            // A busy machine may read it too late. Then it is fetched, but not lost.
            if disk["late"] != 0 && !found.is_hit {
                truth.count("late");
                continue;
            }
            let what = format!(
                "not there any more: {asked:?}, at least {least}, but {found:?}, {made} requests to the origin; {disk}"
            );
            truth.violation_at(slot.resource, &what);
        }
        let mut used = HashSet::new();
        for _ in 0..CHECKED {
            let asked = visitor.any_request(&mut self.dice);
            let requests = truth.requests(asked.resource);
            let found = visitor.get(&asked);
            let Some(old) = found.filter(|found| found.is_hit && found.number <= given) else {
                continue;
            };
            if self.storing == Storing::Memory {
                truth.violation(format!("there without a store: {asked:?} {old:?}"));
            }
            truth.count("found");
            // What this process has stored or validated need not be in the store yet.
            let slot = Slot::of(asked.resource, asked.identity, asked.lang);
            let is_first = slot.is_some_and(|slot| used.insert(slot));
            if is_first && truth.requests(asked.resource) == requests {
                truth.found_again(&asked, old.number);
            }
        }
        truth.checked();
        self.note("the check is over");
    }

    /// What the process says of its store.
    fn disk_stats(&self, process: &Instance) -> serde_json::Value {
        let port = process.port.to_string();
        let mut stats = self.home.run_json(&["stats", "--json", "--port", &port]);
        stats["disk"].take()
    }

    fn note(&self, what: &str) {
        self.truth.note(&Resource::named(|_| true), &what);
    }

    /// Changes all resources.
    pub(crate) fn change_everything(&self, process: &Instance) {
        let mut visitor = Visitor::new(&self.truth, &self.home, process.port);
        Resource::all().for_each(|resource| visitor.change(resource));
    }

    /// Sends requests for some time, and kills the process meanwhile.
    fn load_and_kill(&mut self, process: Instance, time: Duration) {
        let truth = Arc::clone(&self.truth);
        let mut killed_at = None;
        let at_end = || {
            truth.killed();
            killed_at = Some(Instant::now());
            process.signal(Signal::KILL);
        };
        self.load(process.port, time, at_end);
        self.end(process, killed_at);
        truth.count("kills");
    }

    /// Kills the process.
    pub(crate) fn kill(&mut self, process: Instance) {
        self.truth.killed();
        let killed_at = Instant::now();
        process.signal(Signal::KILL);
        self.end(process, Some(killed_at));
    }

    /// Stops the process in the orderly way.
    pub(crate) fn stop(&mut self, process: Instance) {
        process.signal(Signal::TERM);
        self.end(process, None);
    }

    /// Sends requests for some time, and then stops the process in the orderly way.
    fn load_and_stop(&mut self, process: Instance, time: Duration) {
        self.load(process.port, time, || ());
        self.stop(process);
        self.truth.count("orderly ends");
    }

    /// Sends requests from several clients for some time, and until `at_end` has run.
    fn load(&mut self, port: u16, time: Duration, at_end: impl FnOnce()) {
        let seeds = [(); VISITORS].map(|()| u64::try_from(self.dice.below(usize::MAX)).unwrap());
        let (truth, home) = (&*self.truth, &self.home);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in seeds {
                let is_over = &is_over;
                scope.spawn(move || {
                    let mut dice = Dice::new(seed);
                    let mut visitor = Visitor::new(truth, home, port);
                    while !is_over.load(SeqCst) && truth.is_right() {
                        visitor.step(&mut dice);
                    }
                });
            }
            // This waits for nothing: the end is at a random moment.
            std::thread::park_timeout(time);
            at_end();
            is_over.store(true, SeqCst);
        });
    }

    /// Waits for the end of the process, which was killed at that time; `None`: it was stopped in the orderly way.
    fn end(&mut self, mut process: Instance, killed_at: Option<Instant>) {
        process.wait();
        self.note("the process has ended");
        let log = process.log();
        if log.contains("panicked") {
            self.truth.violation(log);
        }
        let bytes = bytes_below(&self.store());
        if bytes > MAX_DISK_BYTES + MAX_DISK_BYTES / 20 {
            self.truth
                .violation(format!("the store takes {bytes} bytes"));
        }
        self.truth.ended(killed_at);
        self.origin.forget();
    }
}

/// The files below a directory; none if it does not exist.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let files = entries.flatten().flat_map(|entry| {
        let path = entry.path();
        match path.is_dir() {
            true => files_below(&path),
            false => vec![path],
        }
    });
    files.collect()
}

/// The bytes that the files below a directory take on the disk.
fn bytes_below(directory: &Path) -> u64 {
    let files = files_below(directory).into_iter();
    let blocks = files.filter_map(|file| Some(file.metadata().ok()?.blocks()));
    blocks.sum::<u64>() * 512
}
