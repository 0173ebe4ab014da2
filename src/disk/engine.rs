//! The handle of the disk tier.

use std::{
    future::{Future, ready},
    path::Path,
    sync::Arc,
};

use crate::disk::{
    address::Address,
    ends::{End, Ending, NotDurable, ParseRule, Swept},
    large::LargeWriter,
    open_error::OpenError,
    record::Record,
    results::{DiskStats, DiskUnavailable, ScanCursor, ScanPage, StoredRecord},
};

/// How much the disk tier may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    /// The bytes of all its files.
    pub max_bytes: u64,
    /// The bytes of the file system that stay free. `None`: the larger of 1 GiB and 5 % of it.
    pub reserve_bytes: Option<u64>,
    /// The longest body that is stored, in bytes.
    pub max_object_bytes: u64,
}

/// An opened store.
#[derive(Debug)]
pub struct Opened {
    /// The handle.
    pub disk: Disk,
    /// A secret that the directory keeps.
    pub secret: [u8; 32],
    /// Larger by one with each time that the directory is opened.
    pub run: u32,
    /// The notes of the runs before, the oldest first ([`End::Note`]).
    pub notes: Vec<Vec<u8>>,
    /// Whether older notes were dropped.
    pub are_notes_lost: bool,
}

/// The disk tier. Clones share it.
#[derive(Clone, Debug)]
pub struct Disk {
    limits: DiskLimits,
}

impl Disk {
    /// Opens a directory, or makes it. What is stored there is loaded in a thread after this has returned.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory is in use, not a store, or cannot be read and written.
    pub fn open(
        dir: &Path,
        _limits: DiskLimits,
        _parse_rule: ParseRule,
    ) -> Result<Opened, OpenError> {
        Err(OpenError::NotADirectory { path: dir.into() })
    }

    /// False if nothing is stored there. It takes no lock. True as long as the index is loaded.
    pub fn may_have(&self, _address: &Address) -> bool {
        false
    }

    /// All variants at these addresses.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the disk does not answer within 250 ms, or is bypassed.
    pub fn get(
        &self,
        _addresses: Vec<Address>,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, DiskUnavailable>> + Send + 'static {
        ready(Err(DiskUnavailable::Bypassed))
    }

    /// Writes a response down later. It never waits. The response is dropped and counted if too much waits, or if the
    /// disk is bypassed.
    pub fn put(&self, _record: Arc<dyn Record>) {}

    /// Ends what these name, among what was put before this call.
    pub fn end(&self, _ends: Vec<End>) -> Ending {
        Ending {
            durable: Box::pin(ready(Err(NotDurable))),
            swept: Box::pin(ready(Swept::default())),
        }
    }

    /// A page of what is stored, in the order of the disk, without its bodies.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the disk is bypassed or busy.
    pub fn scan(
        &self,
        _from: ScanCursor,
        _limit: usize,
    ) -> impl Future<Output = Result<ScanPage, DiskUnavailable>> + Send + 'static {
        ready(Err(DiskUnavailable::Bypassed))
    }

    /// The numbers of the disk tier.
    pub fn stats(&self) -> DiskStats {
        DiskStats {
            limit_bytes: self.limits.max_bytes,
            ..DiskStats::default()
        }
    }

    /// Writes what waits, and closes the files. Later calls do nothing.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        ready(())
    }

    /// Begins a body that is written while it arrives. `None` if there is no room, or the disk is bypassed.
    pub fn large_writer(&self) -> Option<LargeWriter> {
        None
    }
}
