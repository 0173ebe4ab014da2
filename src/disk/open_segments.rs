//! The segments that are open.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;

use crate::disk::{
    files::StoreFile,
    place::Place,
    segment::{SegmentRow, read_footer, scan_records},
};

/// A segment that is open for reading. One of them is written too.
pub(super) struct OpenSegment {
    pub(super) id: u32,
    /// Its number in [`OpenSegments`].
    pub(super) slot: u16,
    /// The seed of its checksums.
    pub(super) seed: u64,
    pub(super) file: Arc<dyn StoreFile>,
    pub(super) first_seq: u64,
    /// The length of its file.
    bytes: AtomicU64,
    /// Its records, as long as it is written. `None` later: then they are in its footer.
    written: Mutex<Option<Vec<SegmentRow>>>,
}

/// The open segments by their slots. Threads look without a lock; the writer alone changes them.
#[derive(Debug, Default)]
pub(super) struct OpenSegments {
    slots: ArcSwap<Vec<Option<Arc<OpenSegment>>>>,
}

/// What [`OpenSegment::new`] needs.
pub(super) struct SegmentParts {
    pub(super) id: u32,
    pub(super) slot: u16,
    pub(super) seed: u64,
    pub(super) file: Arc<dyn StoreFile>,
    pub(super) first_seq: u64,
    pub(super) bytes: u64,
    pub(super) is_written: bool,
}

impl OpenSegment {
    pub(super) fn new(parts: SegmentParts) -> Self {
        Self {
            id: parts.id,
            slot: parts.slot,
            seed: parts.seed,
            file: parts.file,
            first_seq: parts.first_seq,
            bytes: AtomicU64::new(parts.bytes),
            written: Mutex::new(parts.is_written.then(Vec::new)),
        }
    }

    /// The length of its file.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes the length of its file. Returns the length before.
    pub(super) fn set_bytes(&self, bytes: u64) -> u64 {
        self.bytes.swap(bytes, Ordering::Relaxed)
    }

    /// Notes records that were written.
    pub(super) fn add_rows(&self, rows: &[SegmentRow]) {
        if let Some(written) = &mut *self.written() {
            written.extend_from_slice(rows);
        }
    }

    /// Forgets the records in memory: they are in the footer now.
    pub(super) fn seal(&self) {
        *self.written() = None;
    }

    /// Its records, in the order in which they lie there. Reads the footer, or the records where it is not whole.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn rows(&self) -> io::Result<Vec<SegmentRow>> {
        if let Some(written) = &*self.written() {
            return Ok(written.clone());
        }
        match read_footer(self.file.as_ref(), self.seed) {
            Some(rows) => Ok(rows),
            None => Ok(scan_records(&self.file, self.seed)?.0),
        }
    }

    /// Its records from a sequence number on, as [`OpenSegment::rows`] reads them.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub(super) fn rows_from(&self, seq: u64) -> io::Result<Vec<SegmentRow>> {
        // Sequence numbers grow from record to record.
        let begin = |rows: &[SegmentRow]| rows.partition_point(|row| row.seq < seq);
        if let Some(written) = &*self.written() {
            return Ok(written[begin(written)..].to_vec());
        }
        let mut rows = self.rows()?;
        Ok(rows.split_off(begin(&rows)))
    }

    /// Where the record of a row is. `None` if the row cannot be one of this segment.
    pub(super) fn place(&self, row: &SegmentRow) -> Option<Place> {
        let end = row.offset.checked_add(row.len)?;
        let place = Place::new(self.slot, row.offset, row.len)?;
        (end <= self.bytes()).then_some(place)
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Option<Vec<SegmentRow>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for OpenSegment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "OpenSegment({:08x})", self.id)
    }
}

impl OpenSegments {
    pub(super) fn get(&self, slot: u16) -> Option<Arc<OpenSegment>> {
        self.slots.load().get(usize::from(slot))?.clone()
    }

    /// All of them, the oldest first.
    pub(super) fn all(&self) -> Vec<Arc<OpenSegment>> {
        let mut all: Vec<_> = self.slots.load().iter().flatten().cloned().collect();
        all.sort_by_key(|segment| (segment.first_seq, segment.id));
        all
    }

    /// A slot that is free. `None` if there are too many segments.
    pub(super) fn free_slot(&self) -> Option<u16> {
        let slots = self.slots.load();
        let free = slots.iter().position(Option::is_none);
        u16::try_from(free.unwrap_or(slots.len())).ok()
    }

    /// Adds segments at their slots.
    pub(super) fn add(&self, added: Vec<Arc<OpenSegment>>) {
        let mut slots = self.slots.load().as_ref().clone();
        for segment in added {
            let slot = usize::from(segment.slot);
            if slots.len() <= slot {
                slots.resize(slot + 1, None);
            }
            slots[slot] = Some(segment);
        }
        self.slots.store(Arc::new(slots));
    }

    /// Frees a slot.
    pub(super) fn remove(&self, slot: u16) {
        let mut slots = self.slots.load().as_ref().clone();
        if let Some(slot) = slots.get_mut(usize::from(slot)) {
            *slot = None;
        }
        self.slots.store(Arc::new(slots));
    }

    /// Frees all slots.
    pub(super) fn clear(&self) {
        self.slots.store(Arc::default());
    }
}
