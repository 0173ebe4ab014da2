//! Files in memory that fail as a test wants, and that show what is left after a kill or a power cut.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use crate::disk::files::{DiskSpace, Files, ListedFile, OpenMode, StoreFile};

const SECTOR: usize = 512;

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

/// A directory in memory.
pub(in crate::disk) struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    dirs: BTreeSet<String>,
    /// Names as they are when nothing of `renamed` has arrived.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names that are not durable, in order.
    renamed: Vec<NameChange>,
    changes: u64,
    stop_after: u64,
    faults: Vec<Fault>,
    total_bytes: u64,
}

#[derive(Clone, Default)]
struct Inode {
    /// What a process reads.
    bytes: Vec<u8>,
    /// What is certain to be there after a power cut.
    durable: Vec<u8>,
    /// Sectors that the next sync makes durable.
    dirty: BTreeSet<usize>,
}

#[derive(Clone)]
struct NameChange {
    removed: Option<String>,
    added: Option<(String, usize)>,
}

impl NameChange {
    fn dir(&self) -> &str {
        let added = self.added.as_ref().map(|(name, _)| name.as_str());
        dir_of(added.or(self.removed.as_deref()).unwrap_or(""))
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        if let Some(name) = &self.removed {
            names.remove(name);
        }
        if let Some((name, inode)) = &self.added {
            names.insert(name.clone(), *inode);
        }
    }
}

fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn failed(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// Like [`Vec::resize`] with zeros, which takes ten times as long without optimisation.
fn set_length(bytes: &mut Vec<u8>, length: usize) {
    bytes.truncate(length);
    bytes.extend_from_slice(&vec![0; length - bytes.len()]);
}

/// Numbers that follow from a seed.
fn next_random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl FaultyFiles {
    pub(in crate::disk) fn new() -> Arc<Self> {
        Self::of(State {
            inodes: Vec::new(),
            names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            durable_names: BTreeMap::new(),
            renamed: Vec::new(),
            changes: 0,
            stop_after: u64::MAX,
            faults: Vec::new(),
            total_bytes: 1 << 40,
        })
    }

    fn of(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(in crate::disk) fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Faults that have not happened yet are forgotten.
    pub(in crate::disk) fn heal(&self) {
        self.state().faults.clear();
    }

    /// The number of changing operations until now.
    pub(in crate::disk) fn operations(&self) -> u64 {
        self.state().changes
    }

    /// Whether the process was killed, or the power cut.
    pub(in crate::disk) fn has_stopped(&self) -> bool {
        let state = self.state();
        state.changes >= state.stop_after
    }

    /// After so many changing operations all others fail, as if the process had been killed.
    pub(in crate::disk) fn stop_after(&self, operations: u64) {
        self.state().stop_after = operations;
    }

    /// What a new process finds: all that was written.
    pub(in crate::disk) fn after_kill(&self) -> Arc<Self> {
        let mut state = self.state().clone();
        state.faults.clear();
        state.stop_after = u64::MAX;
        state.changes = 0;
        Self::of(state)
    }

    /// What is found after a power cut. Of what was not durable, some sectors, lengths and names have arrived.
    pub(in crate::disk) fn after_power_cut(&self, mut seed: u64) -> Arc<Self> {
        let mut state = self.state().clone();
        state.survive(&mut seed);
        state.faults.clear();
        state.stop_after = u64::MAX;
        state.changes = 0;
        Self::of(state)
    }

    pub(in crate::disk) fn flip_bit(&self, name: &str, byte: usize, bit: u32) {
        self.damage(name, |bytes| bytes[byte] ^= 1 << bit);
    }

    pub(in crate::disk) fn overwrite(&self, name: &str, offset: usize, with: &[u8]) {
        self.damage(name, |bytes| {
            bytes[offset..offset + with.len()].copy_from_slice(with)
        });
    }

    pub(in crate::disk) fn truncate(&self, name: &str, bytes: usize) {
        self.damage(name, |content| content.truncate(bytes));
    }

    fn damage(&self, name: &str, damage: impl Fn(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.names[name];
        damage(&mut state.inodes[inode].bytes);
        state.inodes[inode].durable = state.inodes[inode].bytes.clone();
    }

    /// Removes a file, durably.
    pub(in crate::disk) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Puts a file there, durably.
    pub(in crate::disk) fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.inodes.len();
        state.inodes.push(Inode {
            bytes: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: BTreeSet::new(),
        });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    pub(in crate::disk) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let inode = *state.names.get(name)?;
        Some(state.inodes[inode].bytes.clone())
    }

    pub(in crate::disk) fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// The size of the disk. A write that would take more fails with ENOSPC.
    pub(in crate::disk) fn set_total_bytes(&self, bytes: u64) {
        self.state().total_bytes = bytes;
    }

    pub(in crate::disk) fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }
}

impl State {
    /// Whether the next operation fails; `Some(bytes)` if it is a write that writes less.
    fn begin(&mut self, operation: Operation) -> io::Result<Option<usize>> {
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

    fn used_bytes(&self) -> u64 {
        let lengths = self.names.values();
        lengths
            .map(|inode| self.inodes[*inode].bytes.len() as u64)
            .sum()
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.renamed.push(change);
    }

    fn survive(&mut self, seed: &mut u64) {
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

impl Files for FaultyFiles {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn StoreFile>> {
        let mut state = self.state();
        let there = state.names.get(name).copied();
        let inode = match there {
            Some(_) if mode == OpenMode::CreateNew => {
                return Err(ErrorKind::AlreadyExists.into());
            }
            Some(inode) => {
                state.begin(Operation::Open)?;
                inode
            }
            None if mode == OpenMode::CreateNew => {
                state.begin(Operation::Create)?;
                let dir = dir_of(name);
                if !dir.is_empty() && !state.dirs.contains(dir) {
                    return Err(ErrorKind::NotFound.into());
                }
                let inode = state.inodes.len();
                state.inodes.push(Inode::default());
                state.change_name(NameChange {
                    removed: None,
                    added: Some((name.to_owned(), inode)),
                });
                inode
            }
            None => return Err(ErrorKind::NotFound.into()),
        };
        Ok(Arc::new(FaultyFile {
            state: self.state.clone(),
            inode,
            can_write: mode != OpenMode::ReadOnly,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.names.get(from).ok_or(ErrorKind::NotFound)?;
        state.begin(Operation::Rename)?;
        state.change_name(NameChange {
            removed: Some(from.to_owned()),
            added: Some((to.to_owned(), inode)),
        });
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        state.begin(Operation::Remove)?;
        state.change_name(NameChange {
            removed: Some(name.to_owned()),
            added: None,
        });
        Ok(())
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::CreateDir)?;
        state.dirs.insert(name.to_owned());
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<ListedFile>> {
        let mut state = self.state();
        state.begin(Operation::Open)?;
        if !dir.is_empty() && !state.dirs.contains(dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let last = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let files = state.names.iter().filter(|(name, _)| dir_of(name) == dir);
        let files = files.map(|(name, inode)| ListedFile {
            name: last(name),
            bytes: state.inodes[*inode].bytes.len() as u64,
            is_dir: false,
        });
        let dirs = state.dirs.iter().filter(|name| dir_of(name) == dir);
        let dirs = dirs.map(|name| ListedFile {
            name: last(name),
            bytes: 0,
            is_dir: true,
        });
        Ok(files.chain(dirs).collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::SyncDir)?;
        let (durable, later): (Vec<_>, Vec<_>) = mem::take(&mut state.renamed)
            .into_iter()
            .partition(|change| change.dir() == dir);
        for change in durable {
            change.apply(&mut state.durable_names);
        }
        state.renamed = later;
        Ok(())
    }

    fn space(&self) -> io::Result<DiskSpace> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        Ok(DiskSpace {
            free_bytes: state.total_bytes.saturating_sub(state.used_bytes()),
            total_bytes: state.total_bytes,
        })
    }
}

struct FaultyFile {
    state: Arc<Mutex<State>>,
    inode: usize,
    can_write: bool,
}

impl FaultyFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Extends the file if there is space.
    fn extend(&self, state: &mut State, length: usize) -> io::Result<()> {
        let more = length.saturating_sub(state.inodes[self.inode].bytes.len());
        if more > 0 {
            if state.used_bytes() + more as u64 > state.total_bytes {
                return Err(failed(ENOSPC));
            }
            set_length(&mut state.inodes[self.inode].bytes, length);
        }
        Ok(())
    }
}

impl StoreFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        let bytes = &state.inodes[self.inode].bytes;
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|at| bytes.get(at..))
            .unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if !self.can_write {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let mut state = self.state();
        let len = state
            .begin(Operation::Write)?
            .unwrap_or(bytes.len())
            .min(bytes.len());
        let at = usize::try_from(offset).unwrap();
        self.extend(&mut state, at + len)?;
        let inode = &mut state.inodes[self.inode];
        inode.bytes[at..at + len].copy_from_slice(&bytes[..len]);
        if len > 0 {
            inode.dirty.extend(at / SECTOR..=(at + len - 1) / SECTOR);
        }
        Ok(len)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.state();
        state.begin(Operation::SetLen)?;
        let inode = &mut state.inodes[self.inode];
        set_length(&mut inode.bytes, usize::try_from(bytes).unwrap());
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.state();
        state.begin(Operation::Read)?;
        Ok(state.inodes[self.inode].bytes.len() as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state();
        let begun = state.begin(Operation::Sync);
        let inode = &mut state.inodes[self.inode];
        let dirty = mem::take(&mut inode.dirty);
        begun?;
        set_length(&mut inode.durable, inode.bytes.len());
        for sector in dirty {
            let begin = (sector * SECTOR).min(inode.bytes.len());
            let end = (begin + SECTOR).min(inode.bytes.len());
            inode.durable[begin..end].copy_from_slice(&inode.bytes[begin..end]);
        }
        Ok(())
    }
}

mod tests {
    use super::*;

    fn text(files: &FaultyFiles, name: &str) -> String {
        String::from_utf8(files.bytes(name).unwrap()).unwrap()
    }

    #[test]
    fn after_a_power_cut_what_was_synced_is_there_and_other_sectors_may_be() {
        let files = FaultyFiles::new();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        file.write_all_at(&[b'o'; 2 * SECTOR], 0).unwrap();
        file.sync_data().unwrap();
        files.sync_dir("").unwrap();
        file.write_all_at(&[b'n'; 2 * SECTOR], 0).unwrap();
        files.rename("a", "b").unwrap();
        let mut seen = BTreeSet::new();
        for seed in 0..64 {
            let left = files.after_power_cut(seed);
            let name = left.names().pop().unwrap();
            let content = text(&left, &name);
            seen.insert((name, content[..1].to_owned(), content[1023..].to_owned()));
        }
        assert_eq!(seen.len(), 8);
        assert_eq!(text(&files.after_kill(), "b"), "n".repeat(2 * SECTOR));
    }

    #[test]
    fn what_a_failed_sync_has_lost_a_later_sync_does_not_bring_back() {
        let files = FaultyFiles::new();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        files.sync_dir("").unwrap();
        file.set_len(1).unwrap();
        file.sync_data().unwrap();
        file.write_all_at(b"x", 0).unwrap();
        let fault = Fault {
            operation: Operation::Sync,
            nth: 0,
            times: 1,
            failure: Failure::Io,
        };
        files.fail(fault);
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        let lost = (0..16).any(|seed| text(&files.after_power_cut(seed), "a") == "\0");
        assert!(lost);
        file.write_all_at(b"x", 0).unwrap();
        file.sync_data().unwrap();
        assert!((0..16).all(|seed| text(&files.after_power_cut(seed), "a") == "x"));
    }

    #[test]
    fn faults_happen_at_their_operation_and_a_killed_process_does_nothing_more() {
        let files = FaultyFiles::new();
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        files.fail(Fault {
            operation: Operation::Write,
            nth: 1,
            times: 1,
            failure: Failure::Killed(2),
        });
        file.write_all_at(b"1234", 0).unwrap();
        file.write_all_at(b"5678", 4).unwrap_err();
        file.sync_data().unwrap_err();
        assert_eq!(text(&files.after_kill(), "a"), "123456");
        files.after_kill().set_total_bytes(8);
    }

    #[test]
    fn a_full_disk_takes_no_more_bytes() {
        let files = FaultyFiles::new();
        files.set_total_bytes(4);
        let file = files.open("a", OpenMode::CreateNew).unwrap();
        file.write_all_at(b"1234", 0).unwrap();
        let full = file.write_all_at(b"5", 4).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::StorageFull);
        file.write_all_at(b"4321", 0).unwrap();
        assert_eq!(files.space().unwrap().free_bytes, 0);
    }
}
