//! Writing records into segments.

use std::{io, sync::Arc, time::Instant};

use crate::disk::{
    contents::RemovedRecords,
    files::OpenMode,
    layout::{HEADER_BYTES, RecordHeader},
    open_segments::{OpenSegment, SegmentParts},
    place::{MAX_SEGMENTS, Place},
    segment::{SEGMENT_HEADER_BYTES, SegmentHeader, SegmentRow, footer_bytes, segment_name},
    shared::DiskNumbers,
    writer::{
        DiskWriter,
        batch::{EncodedRecord, EncodedRecords},
        rows::PendingRow,
    },
};

/// A segment is made durable each time that so much of it was written.
const SYNC_BYTES: u64 = 16 * 1024 * 1024;

/// The segment that is written.
pub(super) struct ActiveSegment {
    segment: Arc<OpenSegment>,
    /// Where the next record begins.
    end: u64,
    /// The bodies in files of their own that its records name, in bytes.
    large_bytes: u64,
    unsynced_bytes: u64,
}

impl DiskWriter {
    /// Writes records, in as many segments as it takes, and puts them in the index. Returns how many: all, or those before
    /// an error.
    pub(super) fn append(&mut self, encoded: &mut EncodedRecords) -> (usize, io::Result<()>) {
        let mut bytes = encoded.bytes.as_mut_slice();
        let mut records = encoded.records.as_slice();
        let mut written = 0;
        while let Some(first) = records.first() {
            match self.append_to_segment(first, &mut bytes, &mut records) {
                Ok(count) => written += count,
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    /// Writes as many records as have room in one segment, and takes them off the front.
    fn append_to_segment(
        &mut self,
        first: &EncodedRecord,
        bytes: &mut &mut [u8],
        records: &mut &[EncodedRecord],
    ) -> io::Result<usize> {
        self.open_segment_for(first)?;
        let limit = self.shared.limits.segment_bytes();
        let no_room = || io::Error::other("a record has no room in a segment");
        let active = self.active.as_mut().ok_or_else(no_room)?;
        let (count, len) = active.fitting(records, limit);
        let (now, later) = records.split_at(count);
        let (now_bytes, later_bytes) = std::mem::take(bytes).split_at_mut(len);
        let rows = active.fill_headers(now_bytes, now, self.next_seq);
        self.next_seq += count as u64;
        if count == 0 || rows.len() < count {
            return Err(no_room());
        }
        if let Err(error) = active.segment.file.write_all_at(now_bytes, active.end) {
            // What was written of it is cut off, or else ends: after a kill it would be found.
            if active.segment.file.set_len(active.end).is_err() {
                let sequences = rows.iter().map(|(row, _)| row.seq).collect();
                let row = PendingRow::Sequences(sequences);
                self.pending.push(row, Instant::now(), self.newest_seq());
            }
            return Err(error);
        }
        self.index(now, &rows, len as u64);
        (*bytes, *records) = (later_bytes, later);
        Ok(count)
    }

    /// Counts written records, and puts them in the index.
    fn index(&mut self, records: &[EncodedRecord], rows: &[(SegmentRow, Place)], len: u64) {
        let Some(active) = &mut self.active else {
            return;
        };
        active.end += len;
        active.segment.set_bytes(active.end);
        active.unsynced_bytes += len;
        let numbers = &self.shared.numbers;
        DiskNumbers::add(&numbers.bytes, len);
        DiskNumbers::add(&numbers.written_bytes, len);
        let only_rows: Vec<SegmentRow> = rows.iter().map(|(row, _)| *row).collect();
        active.segment.add_rows(&only_rows);
        let mut removed = RemovedRecords::default();
        let mut not_stored = Vec::new();
        self.shared.change(|contents, index| {
            for (record, (row, place)) in records.iter().zip(rows) {
                active.large_bytes += row.large.map_or(0, |large| large.body_len);
                match record.copied_from {
                    Some(from) if contents.relocate(index, row.key, from, *place) => {}
                    // It went from the index meanwhile. The copy is found after a restart.
                    Some(_) => contents.unlist(row.key.address.resource, row.seq),
                    None => match contents.insert(index, row.key, *place, row.large) {
                        Some(replaced) => removed.add(replaced),
                        // Its file went meanwhile.
                        None => not_stored.push(row.key),
                    },
                }
            }
        });
        let copies = records.iter().filter(|record| record.copied_from.is_some());
        let written = records.len() - copies.count() - not_stored.len();
        DiskNumbers::add(&numbers.written, written as u64);
        self.upkeep.remove_large(&removed);
        if active.unsynced_bytes >= SYNC_BYTES {
            active.unsynced_bytes = 0;
            self.upkeep.sync(active.segment.file.clone());
        }
        for key in not_stored {
            DiskNumbers::add(&self.shared.numbers.dropped, 1);
            self.supersede(key);
        }
    }

    /// Makes sure that there is a segment with room for a record.
    fn open_segment_for(&mut self, record: &EncodedRecord) -> io::Result<()> {
        let limit = self.shared.limits.segment_bytes();
        let has_room = |active: &ActiveSegment| active.fitting(&[*record], limit).0 > 0;
        if self.active.as_ref().is_some_and(has_room) {
            return Ok(());
        }
        self.seal();
        self.forget_old();
        self.begin_segment(self.next_seq)
    }

    fn begin_segment(&mut self, first_seq: u64) -> io::Result<()> {
        let too_many = || io::Error::other("there are too many segments");
        let slot = self.shared.segments.free_slot().ok_or_else(too_many)?;
        if usize::from(slot) + 1 >= MAX_SEGMENTS {
            return Err(too_many());
        }
        self.shared.keep_directory()?;
        let id = self.next_id;
        self.next_id = id.checked_add(1).ok_or_else(too_many)?;
        let seed = self.shared.hasher.segment_seed(id);
        let file = self
            .shared
            .files
            .open(&segment_name(id), OpenMode::CreateNew)?;
        let mark = self.log.mark();
        let header = SegmentHeader {
            id,
            first_seq,
            log_id: mark.id,
            log_count: mark.count,
        };
        let parts = SegmentParts {
            id,
            slot,
            seed,
            file: file.clone(),
            first_seq,
            bytes: SEGMENT_HEADER_BYTES,
            is_written: true,
        };
        let segment = Arc::new(OpenSegment::new(parts));
        DiskNumbers::add(&self.shared.numbers.bytes, SEGMENT_HEADER_BYTES);
        if let Err(error) = file.write_all_at(&header.bytes(seed), 0) {
            self.upkeep.remove_segment(&segment);
            return Err(error);
        }
        self.shared.segments.add(vec![segment.clone()]);
        self.active = Some(ActiveSegment {
            segment,
            end: SEGMENT_HEADER_BYTES,
            large_bytes: 0,
            unsynced_bytes: 0,
        });
        Ok(())
    }

    /// Ends the segment that is written. Without its footer, which may fail, its records are read one by one later.
    pub(super) fn seal(&mut self) {
        let Some(ActiveSegment { segment, end, .. }) = self.active.take() else {
            return;
        };
        if let Ok(rows) = segment.rows() {
            let footer = footer_bytes(&rows, segment.seed);
            let len = end + footer.len() as u64;
            let written = segment.file.write_all_at(&footer, end);
            if let Err(error) = written.and_then(|()| segment.file.set_len(len)) {
                log::debug!("cannot write the footer of a segment of the store: {error}");
                let _ = segment.file.set_len(end);
            } else {
                segment.set_bytes(len);
                DiskNumbers::add(&self.shared.numbers.bytes, footer.len() as u64);
                DiskNumbers::add(&self.shared.numbers.written_bytes, footer.len() as u64);
            }
        }
        segment.seal();
        self.upkeep.sync(segment.file.clone());
        self.sealed.push_back(segment);
    }

    /// Forgets what has ended and is older than all that is on the disk.
    pub(super) fn forget_old(&mut self) {
        let removed = {
            let contents = self.shared.contents();
            contents.removed_segments.values().min().copied()
        };
        let active = self.active.as_ref().map(|active| active.segment.first_seq);
        let sealed = self.sealed.iter().map(|segment| segment.first_seq).min();
        let oldest = [removed, active, sealed].into_iter().flatten().min();
        let oldest = oldest.unwrap_or(self.next_seq);
        self.shared.contents().forget_unlisted_before(oldest);
        self.log.forget(oldest);
        if let Some(rules) = self.shared.rules.load().forget(oldest) {
            self.shared.rules.store(Arc::new(rules));
        }
    }
}

impl ActiveSegment {
    pub(super) fn segment(&self) -> &Arc<OpenSegment> {
        &self.segment
    }

    pub(super) fn is_empty(&self) -> bool {
        self.end == SEGMENT_HEADER_BYTES
    }

    /// How many of the records have room, and their length. A record has room in an empty segment in any case.
    fn fitting(&self, records: &[EncodedRecord], limit: u64) -> (usize, usize) {
        let (mut count, mut len, mut large) = (0, 0, self.large_bytes);
        for record in records {
            let record_len = record.header.record_len();
            large += record.large().map_or(0, |name| name.body_len);
            let is_first = self.is_empty() && count == 0;
            if !is_first && self.end + len + record_len + large > limit {
                break;
            }
            len += record_len;
            count += 1;
        }
        (count, usize::try_from(len).unwrap_or(0))
    }

    /// Fills in the headers of records, with sequence numbers from `seq` on, and returns their rows and places.
    fn fill_headers(
        &self,
        bytes: &mut [u8],
        records: &[EncodedRecord],
        seq: u64,
    ) -> Vec<(SegmentRow, Place)> {
        let mut rows = Vec::with_capacity(records.len());
        let mut at = 0;
        for (record, seq) in records.iter().zip(seq..) {
            let header = RecordHeader {
                seq,
                ..record.header
            };
            let head = header.bytes(self.segment.seed);
            bytes[at..at + HEADER_BYTES].copy_from_slice(&head);
            let row = SegmentRow::new(&header, self.end + at as u64);
            if let Some(place) = Place::new(self.segment.slot, row.offset, row.len) {
                rows.push((row, place));
            }
            at += usize::try_from(row.len).unwrap_or(0);
        }
        rows
    }
}
