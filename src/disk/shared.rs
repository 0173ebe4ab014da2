//! What the threads of the disk share.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::disk::{
    address::{AddressHasher, KeyHash},
    availability::DiskAvailability,
    contents::{Contents, RemovedRecords},
    directory::StoreDirectory,
    ended::RulesInForce,
    ends::ParseRule,
    files::Files,
    index::DiskIndex,
    limits::{DiskLimits, DiskTiming},
    open_segments::OpenSegments,
    place::Place,
    reservation::ArrivingSpace,
    results::{DiskStats, StoredRecord},
    waiting_keys::WaitingKeys,
};

/// What the threads of the disk share. Handlers use only what has no lock.
pub(super) struct DiskShared {
    pub(super) files: Arc<dyn Files>,
    pub(super) hasher: AddressHasher,
    pub(super) limits: DiskLimits,
    pub(super) timing: DiskTiming,
    pub(super) parse_rule: ParseRule,
    pub(super) index: DiskIndex,
    pub(super) segments: OpenSegments,
    pub(super) rules: ArcSwap<RulesInForce>,
    pub(super) availability: DiskAvailability,
    pub(super) numbers: DiskNumbers,
    pub(super) waiting_keys: Arc<WaitingKeys>,
    /// What is set aside for bodies that arrive.
    pub(super) arriving: Arc<ArrivingSpace>,
    pub(super) is_loading: AtomicBool,
    /// More responses were dropped than could be noted: what is stored may be older than what was dropped.
    pub(super) is_track_lost: AtomicBool,
    /// The number of the next file of a body.
    pub(super) next_file: AtomicU64,
    contents: Mutex<Contents>,
    /// Its lock keeps other processes away until it is closed.
    directory: Mutex<Option<StoreDirectory>>,
}

/// The counts of [`DiskStats`].
#[derive(Debug, Default)]
pub(super) struct DiskNumbers {
    pub(super) responses: AtomicU64,
    pub(super) bytes: AtomicU64,
    /// Of `bytes`, those of files that are being removed.
    pub(super) removed_bytes: AtomicU64,
    /// The bytes of bodies that arrive for which room was made, and that are not written yet.
    pub(super) granted_bytes: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) late: AtomicU64,
    pub(super) corrupt: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) waiting_bytes: AtomicU64,
    /// The memory of ends that wait.
    pub(super) waiting_end_bytes: AtomicU64,
    /// How many [`Superseded`] wait.
    ///
    /// [`Superseded`]: crate::disk::messages::Message::Superseded
    pub(super) waiting_superseded: AtomicU64,
}

/// What [`DiskShared::new`] needs.
pub(super) struct SharedParts {
    pub(super) files: Arc<dyn Files>,
    pub(super) hasher: AddressHasher,
    pub(super) limits: DiskLimits,
    pub(super) timing: DiskTiming,
    pub(super) parse_rule: ParseRule,
    pub(super) index: DiskIndex,
    pub(super) contents: Contents,
    pub(super) rules: RulesInForce,
    pub(super) first_file: u64,
    /// `None` in tests that have no directory.
    pub(super) directory: Option<StoreDirectory>,
}

impl DiskShared {
    pub(super) fn new(parts: SharedParts) -> Self {
        Self {
            arriving: ArrivingSpace::new(parts.limits.arriving_bytes()),
            files: parts.files,
            hasher: parts.hasher,
            limits: parts.limits,
            timing: parts.timing,
            parse_rule: parts.parse_rule,
            index: parts.index,
            segments: OpenSegments::default(),
            rules: ArcSwap::from_pointee(parts.rules),
            availability: DiskAvailability::default(),
            numbers: DiskNumbers::default(),
            waiting_keys: WaitingKeys::new(),
            is_loading: AtomicBool::new(true),
            is_track_lost: AtomicBool::new(false),
            next_file: AtomicU64::new(parts.first_file),
            contents: Mutex::new(parts.contents),
            directory: Mutex::new(parts.directory),
        }
    }

    /// Looks at the contents, for threads of the disk.
    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the contents, for threads of the disk.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Contents, &DiskIndex) -> T) -> T {
        let mut contents = self.contents();
        let result = change(&mut contents, &self.index);
        let responses = contents.responses() as u64;
        self.numbers.responses.store(responses, Ordering::Relaxed);
        result
    }

    /// Removes a record that cannot be read. Returns the files that are not needed any more.
    pub(super) fn remove_corrupt(&self, key: KeyHash, place: Place) -> RemovedRecords {
        self.numbers.corrupt.fetch_add(1, Ordering::Relaxed);
        self.change(|contents, index| {
            contents.unlist(key.address.resource, u64::MAX);
            contents.remove_at(index, key, place)
        })
    }

    /// The number of a new file of a body.
    pub(super) fn take_file_number(&self) -> u64 {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn is_loading(&self) -> bool {
        self.is_loading.load(Ordering::SeqCst)
    }

    /// Lets other processes use the directory.
    pub(super) fn unlock(&self) {
        *self.directory() = None;
    }

    /// Checks that the directory is in its place, for threads of the disk ([`StoreDirectory::keep`]).
    pub(super) fn keep_directory(&self) -> io::Result<()> {
        self.directory()
            .as_ref()
            .map_or(Ok(()), StoreDirectory::keep)
    }

    /// Says to other processes what this one is called.
    pub(super) fn name_holder(&self, name: &str) {
        if let Some(directory) = &*self.directory() {
            directory.name_holder(name);
        }
    }

    fn directory(&self) -> MutexGuard<'_, Option<StoreDirectory>> {
        self.directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stats(&self) -> DiskStats {
        let numbers = &self.numbers;
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        DiskStats {
            responses: of(&numbers.responses),
            bytes: of(&numbers.bytes),
            limit_bytes: self.limits.max_bytes,
            hits: of(&numbers.hits),
            misses: of(&numbers.misses),
            late: of(&numbers.late),
            corrupt: of(&numbers.corrupt),
            written: of(&numbers.written),
            written_bytes: of(&numbers.written_bytes),
            dropped: of(&numbers.dropped) + self.arriving.refused(),
            evicted: of(&numbers.evicted),
            waiting_bytes: of(&numbers.waiting_bytes),
            is_loading: self.is_loading(),
            bypassed: self.availability.reason(),
        }
    }
}

impl DiskNumbers {
    /// Counts up.
    pub(super) fn add(number: &AtomicU64, count: u64) {
        number.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a lookup that has found these.
    pub(super) fn looked_up(&self, found: &[StoredRecord]) {
        let counted = match found.is_empty() {
            true => &self.misses,
            false => &self.hits,
        };
        Self::add(counted, 1);
    }

    /// Counts down, to 0 at the least.
    pub(super) fn subtract(number: &AtomicU64, count: u64) {
        let less = |before: u64| Some(before.saturating_sub(count));
        let _ = number.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl fmt::Debug for DiskShared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DiskShared")
    }
}
