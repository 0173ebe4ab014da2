//! What is in memory in the place of a disk: what a process reads, and what a power cut leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
    thread::ThreadId,
};

pub(super) const SECTOR: usize = 512;

/// The kinds of operations. All but the first three change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Operation {
    Any,
    /// Of a file that is there.
    Open,
    Read,
    /// Of a file that is not there.
    Create,
    Write,
    SetLen,
    Sync,
    Rename,
    Remove,
    CreateDir,
    SyncDir,
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Failure {
    /// A write that writes so many bytes and says so. Any other operation succeeds.
    Short(usize),
    NoSpace,
    /// After a sync that fails so, what was not durable stays so, whatever is synced later, unless it is written again.
    Io,
    ReadOnly,
    /// The process ends in the operation: a write writes so many bytes, another one nothing. All later ones fail.
    Killed(usize),
    /// The operation is done, but nothing of it is durable. All later ones fail.
    PowerCut,
}

/// Fails the operations `nth..nth + times` of a kind, counted from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) struct Fault {
    pub(in crate::disk) operation: Operation,
    pub(in crate::disk) nth: u64,
    pub(in crate::disk) times: u64,
    pub(in crate::disk) failure: Failure,
}

#[derive(Clone)]
pub(super) struct State {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) dirs: BTreeSet<String>,
    /// Names as they are when nothing of `renamed` has arrived.
    pub(super) durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable, in order.
    pub(super) renamed: Vec<NameChange>,
    pub(super) changes: u64,
    pub(super) stop_after: u64,
    pub(super) faults: Vec<Fault>,
    /// Reads of this file wait, in other threads than this one.
    pub(super) held: Option<(usize, ThreadId)>,
    /// The system has nothing in memory.
    pub(super) is_cold: bool,
    pub(super) total_bytes: u64,
}

#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What a process reads.
    pub(super) bytes: Vec<u8>,
    /// What is certain to be there after a power cut.
    pub(super) durable: Vec<u8>,
    /// Sectors that the next sync makes durable.
    pub(super) dirty: BTreeSet<usize>,
}

#[derive(Clone)]
pub(super) struct NameChange {
    pub(super) removed: Option<String>,
    pub(super) added: Option<(String, usize)>,
}

impl NameChange {
    pub(super) fn dir(&self) -> &str {
        let added = self.added.as_ref().map(|(name, _)| name.as_str());
        dir_of(added.or(self.removed.as_deref()).unwrap_or(""))
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, inode)) = &self.added {
            names.insert(name.clone(), *inode);
        }
    }
}

pub(super) fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

pub(super) fn failed(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;
pub(super) const EROFS: i32 = 30;

/// Like [`Vec::resize`] with zeros, which takes ten times as long without optimisation.
pub(super) fn set_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    bytes.extend_from_slice(&vec![0; length - bytes.len()]);
}

/// Numbers that follow from a seed.
pub(super) fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl State {
    /// Whether the next operation fails; `Some(bytes)` if it is a write that writes less.
    pub(super) fn begin(&mut self, operation: Operation) -> io::Result<Option<usize>> {
        if self.changes >= self.stop_after {
            return Err(failed(EIO));
        }
        if !matches!(operation, Operation::Open | Operation::Read) {
            self.changes += 1;
        }
        let mut happened = None;
        for fault in &mut self.faults {
            if fault.operation != operation && fault.operation != Operation::Any {
                continue;
            }
            if fault.nth > 0 {
                fault.nth -= 1;
            } else if fault.times > 0 && happened.is_none() {
                fault.times -= 1;
                happened = Some(fault.failure);
            }
        }
        match happened {
            None => Ok(None),
            Some(Failure::Short(bytes)) => Ok(Some(bytes)),
            Some(Failure::NoSpace) => Err(failed(ENOSPC)),
            Some(Failure::Io) => Err(failed(EIO)),
            Some(Failure::ReadOnly) => Err(failed(EROFS)),
            Some(Failure::Killed(bytes)) => {
                self.stop_after = 0;
                match operation {
                    Operation::Write => Ok(Some(bytes)),
                    _ => Err(failed(EIO)),
                }
            }
            Some(Failure::PowerCut) => {
                self.stop_after = 0;
                match operation {
                    Operation::Sync | Operation::SyncDir => Err(failed(EIO)),
                    _ => Ok(None),
                }
            }
        }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let lengths = self.names.values();
        lengths
            .map(|inode| self.inodes[*inode].bytes.len() as u64)
            .sum()
    }

    pub(super) fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renamed.push(change);
    }

    pub(super) fn survive(&mut self, seed: &mut u64) {
        for inode in &mut self.inodes {
            let length = match next_random(seed) % 2 {
                0 => inode.durable.len(),
                _ => inode.bytes.len(),
            };
            let mut left = inode.durable.clone();
            set_length(&mut left, length);
            for (number, sector) in left.chunks_mut(SECTOR).enumerate() {
                let new = inode.bytes.get(number * SECTOR..).unwrap_or_default();
                if next_random(seed).is_multiple_of(2) {
                    let len = sector.len().min(new.len());
                    sector[..len].copy_from_slice(&new[..len]);
                }
            }
            *inode = Inode {
                bytes: left.clone(),
                durable: left,
                dirty: BTreeSet::new(),
            };
        }
        // Changes of the names in one directory arrive in their order.
        let mut ended = BTreeSet::new();
        let mut names = mem::take(&mut self.durable_names);
        for change in mem::take(&mut self.renamed) {
            let dir = change.dir().to_owned();
            if !ended.contains(&dir) && !next_random(seed).is_multiple_of(4) {
                change.apply(&mut names);
            } else {
                ended.insert(dir);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
    }
}
