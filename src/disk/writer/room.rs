//! Room for what is written: the oldest segment goes. What was read since it was written is written again.

use std::sync::atomic::Ordering;

use crate::disk::{
    contents::RemovedRecords,
    directory::reserve_bytes,
    ended::RuleVerdict,
    layout::{HEADER_BYTES, RecordHeader, checked_body, checked_head, parse_head_block},
    open_segments::OpenSegment,
    place::Place,
    scan::live_rows,
    segment::SegmentRow,
    shared::DiskNumbers,
    writer::{DiskWriter, batch::EncodedRecords},
};

/// Copies are written in pieces of this length.
const COPY_BYTES: usize = 1024 * 1024;

impl DiskWriter {
    /// Makes room for so many bytes.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn make_room(&mut self, bytes: u64) -> Result<(), String> {
        // More than it has when nothing can be removed.
        let mut least = u64::MAX;
        while let Some(reason) = self.lacks_room(bytes) {
            let numbers = &self.shared.numbers;
            if numbers.removed_bytes.load(Ordering::Relaxed) > 0 {
                if !self.progress.wait() && numbers.removed_bytes.load(Ordering::Relaxed) > 0 {
                    return Err(reason);
                }
                continue;
            }
            let used = numbers.bytes.load(Ordering::Relaxed);
            if used >= least || !self.evict_one() {
                return Err(reason);
            }
            least = used;
        }
        Ok(())
    }

    /// Why there is no room for so many bytes. `None` if there is.
    fn lacks_room(&self, bytes: u64) -> Option<String> {
        let (numbers, limits) = (&self.shared.numbers, &self.shared.limits);
        let granted = numbers.granted_bytes.load(Ordering::Relaxed);
        let bytes = bytes.saturating_add(granted);
        let used = numbers.bytes.load(Ordering::Relaxed);
        if used.saturating_add(bytes) > limits.content_bytes() {
            return Some("its limit of bytes is reached".to_owned());
        }
        if numbers.responses.load(Ordering::Relaxed) >= limits.max_responses() as u64 {
            return Some("its limit of responses is reached".to_owned());
        }
        match self.shared.files.space() {
            Ok(space) => {
                let reserve = reserve_bytes(limits.reserve_bytes, &space);
                let is_free = space.free_bytes >= reserve.saturating_add(bytes);
                (!is_free).then(|| "the file system has too little free space".to_owned())
            }
            Err(error) => Some(error.to_string()),
        }
    }

    /// Removes the oldest segment. False if there is none to remove.
    pub(super) fn evict_one(&mut self) -> bool {
        if self.shared.is_loading() {
            return false;
        }
        if self.sealed.is_empty() {
            self.seal();
        }
        let Some(segment) = self.sealed.pop_front() else {
            return false;
        };
        let rows = live_rows(&self.shared, &segment);
        let gone = self.copy_used(&segment, rows);
        let removed = self.shared.change(|contents, index| {
            let mut removed = RemovedRecords::default();
            for (row, place) in gone {
                removed.add(contents.remove_at(index, row.key, place));
            }
            removed
        });
        DiskNumbers::add(&self.shared.numbers.evicted, removed.responses);
        self.upkeep.remove_large(&removed);
        // It counts as removed before it is taken from the others: a sweep sees it in one of the two.
        self.upkeep.remove_segment(&segment);
        self.shared.segments.remove(segment.slot);
        true
    }

    /// Writes again what was read since it was written, up to half of a segment. Returns all rows: those that were copied
    /// are at another place by then, and are not removed.
    fn copy_used(
        &mut self,
        segment: &OpenSegment,
        rows: Vec<(SegmentRow, Place)>,
    ) -> Vec<(SegmentRow, Place)> {
        let mut left = self.shared.limits.segment_bytes() / 2;
        let mut copies = EncodedRecords::default();
        for (row, place) in rows.iter().filter(|(_, place)| place.is_used()) {
            let Some(rest) = left.checked_sub(row.stored_bytes()) else {
                continue;
            };
            if self.copy(segment, *place, &mut copies).is_some() {
                left = rest;
            }
            if copies.bytes.len() >= COPY_BYTES && !self.append_copies(&mut copies) {
                return rows;
            }
        }
        self.append_copies(&mut copies);
        rows
    }

    fn append_copies(&mut self, copies: &mut EncodedRecords) -> bool {
        let mut copies = std::mem::take(copies);
        self.append(&mut copies).1.is_ok()
    }

    /// Adds a copy of a record, with a new number. `None` if it is not as it was written, or a rule names it: a rule does
    /// not name newer records.
    fn copy(
        &mut self,
        segment: &OpenSegment,
        place: Place,
        copies: &mut EncodedRecords,
    ) -> Option<()> {
        let mut record = vec![0; usize::try_from(place.len()).ok()?];
        segment
            .file
            .read_exact_at(&mut record, place.offset())
            .ok()?;
        let header = RecordHeader::parse(&record, segment.seed)?;
        if header.record_len() != place.len() {
            return None;
        }
        let block = parse_head_block(checked_head(&header, &record)?)?;
        match header.large {
            None => _ = checked_body(&header, &record)?,
            Some(number) if self.shared.contents().has_file(number) => {}
            Some(_) => return None,
        }
        let head = record.get(HEADER_BYTES + block.head.start..HEADER_BYTES + block.head.end)?;
        let rules = self.shared.rules.load();
        if rules.judge(&block.address.resource, head, header.seq) != RuleVerdict::Unaffected {
            return None;
        }
        copies.push_copy(&record, header, place);
        Some(())
    }
}
