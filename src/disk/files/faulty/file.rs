//! A file in memory.

use std::{
    io::{self, ErrorKind},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};

use super::state::{ENOSPC, Operation, SECTOR, State, failed, set_length};
use crate::disk::files::{FileIdentity, StoreFile};

pub(super) struct FaultyFile {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) syncs: Arc<Mutex<()>>,
    pub(super) released: Arc<Condvar>,
    pub(super) inode: usize,
    pub(super) can_write: bool,
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
        let caller = thread::current().id();
        let is_held = |state: &mut State| match state.held {
            Some((inode, holder)) => inode == self.inode && holder != caller,
            None => false,
        };
        let mut state = self.released.wait_while(self.state(), is_held).unwrap();
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

    /// What is to fail is read from the disk.
    fn read_in_memory_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let is_cold = {
            let state = self.state();
            state.is_cold || state.held.is_some() || !state.faults.is_empty()
        };
        match is_cold {
            true => Err(ErrorKind::WouldBlock.into()),
            false => self.read_at(buffer, offset),
        }
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

    fn identity(&self) -> io::Result<FileIdentity> {
        Ok((0, self.inode as u64))
    }

    fn sync_data(&self) -> io::Result<()> {
        let _held = self.syncs.lock().unwrap();
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
