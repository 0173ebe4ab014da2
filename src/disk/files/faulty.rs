//! Files in memory that fail as a test wants, and that show what is left after a kill or a power cut.

mod file;
mod state;
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

pub(in crate::disk) use self::state::{Failure, Fault, Operation};
use self::{
    file::FaultyFile,
    state::{Inode, NameChange, State, dir_of},
};
use crate::disk::files::{DiskSpace, FileIdentity, Files, ListedFile, OpenMode, StoreFile};

/// A directory in memory.
pub(in crate::disk) struct FaultyFiles {
    state: Arc<Mutex<State>>,
    /// Held by a test while no file may become durable.
    syncs: Arc<Mutex<()>>,
    /// Notified when held reads go on.
    released: Arc<Condvar>,
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
            held: None,
            is_cold: false,
            total_bytes: 1 << 40,
        })
    }

    fn of(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Arc::new(Mutex::new(state)),
            syncs: Arc::default(),
            released: Arc::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(in crate::disk) fn fail(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// From now on the system has nothing in memory.
    pub(in crate::disk) fn go_cold(&self) {
        self.state().is_cold = true;
    }

    /// No sync of a file ends until what this returns is dropped.
    pub(in crate::disk) fn hold_syncs(&self) -> MutexGuard<'_, ()> {
        self.syncs.lock().unwrap()
    }

    /// Reads of this file wait in all threads but the caller's, until [`FaultyFiles::release_reads`].
    pub(in crate::disk) fn hold_reads(&self, name: &str) {
        let mut state = self.state();
        state.held = Some((state.names[name], thread::current().id()));
    }

    pub(in crate::disk) fn release_reads(&self) {
        self.state().held = None;
        self.released.notify_all();
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
            syncs: self.syncs.clone(),
            released: self.released.clone(),
            inode,
            can_write: mode != OpenMode::ReadOnly,
        }))
    }

    fn identity(&self, name: &str) -> io::Result<FileIdentity> {
        let inode = self.state().names.get(name).copied();
        Ok((0, inode.ok_or(ErrorKind::NotFound)? as u64))
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
