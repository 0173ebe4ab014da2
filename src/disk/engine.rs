//! The handle of the disk tier.

use std::{path::Path, sync::Arc};

use crate::disk::{
    address::Address,
    directory::StoreDirectory,
    ends::{End, Ending, ParseRule},
    handle::DiskHandle,
    large::LargeWriter,
    limits::{DiskLimits, DiskTiming},
    open::{OpenParts, open},
    open_error::OpenError,
    record::Record,
    results::{DiskStats, ScanCursor, ScanPage, ScannedRecord, StoredRecord},
    unavailable::DiskUnavailable,
};

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
    /// The last checkpoint that was written ([`Disk::checkpoint`]). `None` if there is none.
    pub checkpoint: Option<Vec<u8>>,
}

/// The disk tier. Clones share it. When the last one is dropped, it is closed.
#[derive(Clone)]
pub struct Disk {
    handle: Arc<DiskHandle>,
}

impl Disk {
    /// Opens a directory, or makes it. What is stored there is loaded in a thread after this has returned.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if the directory is in use, not a store, or cannot be read and written.
    pub fn open(
        dir: &Path,
        limits: DiskLimits,
        parse_rule: ParseRule,
    ) -> Result<Opened, OpenError> {
        let directory = StoreDirectory::open(dir)?;
        let parts = OpenParts {
            files: directory.files(),
            secret: *directory.secret(),
            limits,
            timing: DiskTiming::default(),
            parse_rule,
            directory: Some(directory),
        };
        Self::open_with(parts).map_err(|error| OpenError::io("open", dir, error))
    }

    /// Checks that a directory can be opened as soon as the process `user` does not use it any more. It is made if it is not
    /// there.
    ///
    /// # Errors
    ///
    /// [`OpenError`] if it cannot be opened, or if another process uses it.
    pub fn check(dir: &Path, user: u32) -> Result<(), OpenError> {
        match StoreDirectory::open(dir) {
            Err(OpenError::Locked { holder, .. }) if holder == Some(user) => Ok(()),
            opened => opened.map(drop),
        }
    }

    /// Opens a store by its files.
    pub(super) fn open_with(parts: OpenParts) -> std::io::Result<Opened> {
        let secret = parts.secret;
        let (handle, before) = open(parts)?;
        Ok(Opened {
            disk: Self {
                handle: Arc::new(handle),
            },
            secret,
            run: before.run,
            notes: before.notes,
            are_notes_lost: before.are_notes_lost,
            checkpoint: before.checkpoint,
        })
    }

    /// Says to other processes that want the directory what this one is called, such as its port. It writes a file.
    pub fn name_holder(&self, name: &str) {
        self.handle.shared.name_holder(name);
    }

    /// False if nothing is stored there. It takes no lock. True as long as the index is loaded.
    pub fn may_have(&self, address: &Address) -> bool {
        self.handle.may_have(address)
    }

    /// False if nothing of this resource is stored, in any partition. It takes no lock. True as long as the index is loaded.
    pub fn may_have_resource(&self, resource: &[u8]) -> bool {
        self.handle.may_have_resource(resource)
    }

    /// The variants at these addresses, up to 64 of each. As long as the index is loaded they may not be all of them, but
    /// nothing is only found if there is nothing.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the disk does not answer within 250 ms, within a second while the index is loaded, or is bypassed.
    pub fn get(
        &self,
        addresses: Vec<Address>,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, DiskUnavailable>> + Send + 'static {
        self.handle.get(addresses, false)
    }

    /// All variants at these addresses, up to 64 of each. It waits until the index is loaded.
    ///
    /// # Errors
    ///
    /// The same.
    pub fn get_all(
        &self,
        addresses: Vec<Address>,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, DiskUnavailable>> + Send + 'static {
        self.handle.get(addresses, true)
    }

    /// True as long as the index is loaded.
    pub fn is_loading(&self) -> bool {
        self.handle.shared.is_loading()
    }

    /// Writes a response down later. It never waits. The response is dropped and counted if too much waits, or if the
    /// disk is bypassed; what it would have replaced is removed then.
    pub fn put(&self, record: Arc<dyn Record>) {
        self.handle.put(record);
    }

    /// Ends what these name, among what was put before this call.
    pub fn end(&self, ends: Vec<End>) -> Ending {
        self.handle.end(ends)
    }

    /// Keeps these bytes, up to 1 KiB, in the place of those before: they say up to where a list of ends elsewhere was applied.
    /// They are written within about a second, with or after all that was ended before this call, and never before it.
    pub fn checkpoint(&self, bytes: Vec<u8>) {
        self.handle.checkpoint(bytes);
    }

    /// A page of what is stored, in the order of the disk, without its bodies. At most 10,000 records.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the disk is bypassed or busy.
    pub fn scan(
        &self,
        from: ScanCursor,
        limit: usize,
    ) -> impl Future<Output = Result<ScanPage, DiskUnavailable>> + Send + 'static {
        self.handle.scan(from, limit)
    }

    /// All that is stored of a resource, in all partitions, without the bodies.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the disk is bypassed or busy.
    pub fn records_of(
        &self,
        resource: Box<[u8]>,
    ) -> impl Future<Output = Result<Vec<ScannedRecord>, DiskUnavailable>> + Send + 'static {
        self.handle.records_of(resource)
    }

    /// The numbers of the disk tier.
    pub fn stats(&self) -> DiskStats {
        self.handle.shared.stats()
    }

    /// Writes what waits, and closes the files. Later calls do nothing.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        self.handle.close()
    }

    /// Begins a body that is written while it arrives. `length` is its length in bytes; `None` if that is not known. The
    /// result is `None` if the disk is bypassed, or if so much arrives that there is no space. Then it counts as dropped.
    pub fn large_writer(&self, length: Option<u64>) -> Option<LargeWriter> {
        self.handle.large_writer(length)
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Disk")
    }
}
