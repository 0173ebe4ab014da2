//! A page of what is stored.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{
    ended::RuleVerdict,
    lookup::read_head,
    open_segments::OpenSegment,
    place::Place,
    results::{ScanCursor, ScanPage, ScannedRecord},
    segment::SegmentRow,
    shared::DiskShared,
    unavailable::DiskUnavailable,
};

/// The longest page.
const MAX_PAGE: usize = 10_000;
/// A page ends when its heads are so long.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// The records of a segment that are in the index, with their places.
pub(super) fn live_rows(shared: &DiskShared, segment: &OpenSegment) -> Vec<(SegmentRow, Place)> {
    let rows = rows_from(segment, 0).into_iter();
    rows.filter_map(|row| Some((row, live_place(shared, segment, &row)?)))
        .collect()
}

/// The records of a segment from a sequence number on. None if it cannot be read.
fn rows_from(segment: &OpenSegment, seq: u64) -> Vec<SegmentRow> {
    segment.rows_from(seq).unwrap_or_else(|error| {
        log::debug!("cannot read a segment of the store: {error}");
        Vec::new()
    })
}

/// Where the record of a row is. `None` if it is not in the index.
fn live_place(shared: &DiskShared, segment: &OpenSegment, row: &SegmentRow) -> Option<Place> {
    let place = segment.place(row)?;
    let at = shared.index.get(row.key)?;
    (at.unused() == place).then_some(at)
}

/// The sequence number from which on `count` records were written.
fn begin_of_newest(segments: &[Arc<OpenSegment>], count: usize) -> u64 {
    let mut left = count;
    for segment in segments.iter().rev() {
        let rows = rows_from(segment, 0);
        match rows.len().checked_sub(left) {
            Some(before) => return rows.get(before).map_or(u64::MAX, |row| row.seq),
            None => left -= rows.len(),
        }
    }
    0
}

/// A page of what is stored, without its bodies.
///
/// # Errors
///
/// The disk is bypassed.
pub(super) fn scan(
    shared: &DiskShared,
    from: ScanCursor,
    limit: usize,
) -> Result<ScanPage, DiskUnavailable> {
    let mut page = ScanPage::default();
    let mut bytes = 0;
    let segments = shared.segments.all();
    let begin = match from.newest {
        Some(count) => begin_of_newest(&segments, count),
        None => from.next,
    };
    for (number, segment) in segments.iter().enumerate() {
        let next = segments.get(number + 1);
        if next.is_some_and(|next| next.first_seq <= begin) {
            continue;
        }
        for row in rows_from(segment, begin) {
            let Some(place) = live_place(shared, segment, &row) else {
                continue;
            };
            if page.records.len() >= limit.min(MAX_PAGE) || bytes >= MAX_PAGE_BYTES {
                page.next = Some(ScanCursor {
                    next: row.seq,
                    newest: None,
                });
                return finished(shared, page);
            }
            if let Some(record) = scanned(shared, segment, place) {
                bytes += record.head.len() + record.address.resource.len();
                page.records.push(record);
            }
        }
    }
    finished(shared, page)
}

fn finished(shared: &DiskShared, page: ScanPage) -> Result<ScanPage, DiskUnavailable> {
    match shared.availability.may_read() {
        true => Ok(page),
        false => Err(DiskUnavailable::Bypassed),
    }
}

/// All that is stored of a resource, without the bodies.
///
/// # Errors
///
/// The disk is bypassed.
pub(super) fn records_of(
    shared: &DiskShared,
    resource: &[u8],
) -> Result<Vec<ScannedRecord>, DiskUnavailable> {
    let found = shared.index.find_resource(shared.hasher.resource(resource));
    let records = found.into_iter().filter_map(|(_, place)| {
        let segment = shared.segments.get(place.segment())?;
        scanned(shared, &segment, place)
    });
    // Two resources can have equal hashes.
    let records = records.filter(|record| *record.address.resource == *resource);
    let records = records.collect();
    match shared.availability.may_read() {
        true => Ok(records),
        false => Err(DiskUnavailable::Bypassed),
    }
}

/// The record at a place. `None` if it cannot be read, or has ended.
fn scanned(shared: &DiskShared, segment: &Arc<OpenSegment>, place: Place) -> Option<ScannedRecord> {
    let found = read_head(segment, place)?;
    let header = found.header;
    let rules = shared.rules.load();
    let expired_at = match rules.judge(&found.address.resource, &found.head, header.seq) {
        RuleVerdict::Removed => return None,
        RuleVerdict::ExpiredAt(at) => Some(at),
        RuleVerdict::Unaffected => None,
    };
    let at = shared.index.get(header.key)?;
    (at.unused() == place.unused()).then_some(ScannedRecord {
        address: found.address,
        // Not a part of what was read, which is longer.
        head: Bytes::copy_from_slice(&found.head),
        body_bytes: header.body_len,
        bytes_on_disk: header.stored_bytes(),
        is_large: header.large.is_some(),
        expired_at,
    })
}
