//! Reading records.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{
    address::{Address, KeyHash},
    contents::RemovedRecords,
    ended::RuleVerdict,
    large::{LargeBody, LargeFiles},
    layout::{HEADER_BYTES, HeadBlock, RecordHeader, checked_body, checked_head, parse_head_block},
    open_segments::OpenSegment,
    place::Place,
    results::{StoredBody, StoredRecord},
    segment::LargeName,
    shared::DiskShared,
};

/// How much is read first where the head of a record is read without its body.
const HEAD_GUESS_BYTES: u64 = 4096;

/// A record without its body.
pub(super) struct RecordHead {
    pub(super) header: RecordHeader,
    pub(super) address: Address,
    pub(super) head: Bytes,
}

/// What a lookup has found.
#[derive(Default)]
pub(super) struct LookedUp {
    pub(super) records: Vec<StoredRecord>,
    /// What was removed because it cannot be read.
    pub(super) removed: RemovedRecords,
}

/// Reads a record, or as much of it. `None` if it cannot be read, or is not as it was written.
fn read_record(segment: &OpenSegment, place: Place, len: u64) -> Option<(RecordHeader, Vec<u8>)> {
    let mut record = vec![0; usize::try_from(len.min(place.len())).ok()?];
    segment
        .file
        .read_exact_at(&mut record, place.offset())
        .ok()?;
    let header = RecordHeader::parse(&record, segment.seed)?;
    Some((header, record))
}

/// Reads the head of a record. `None` if it cannot be read, or is not as it was written.
pub(super) fn read_head(segment: &OpenSegment, place: Place) -> Option<RecordHead> {
    let (header, mut record) = read_record(segment, place, HEAD_GUESS_BYTES)?;
    let needed = HEADER_BYTES as u64 + u64::from(header.head_len);
    if needed > record.len() as u64 {
        record = read_record(segment, place, needed)?.1;
    }
    let block = checked_head(&header, &record)?;
    let HeadBlock { address, head } = parse_head_block(block)?;
    let head = HEADER_BYTES + head.start..HEADER_BYTES + head.end;
    Some(RecordHead {
        header,
        address,
        head: Bytes::from(record).slice(head),
    })
}

/// Reads all variants at the addresses. What cannot be read is removed.
pub(super) fn look_up(
    shared: &DiskShared,
    files: &Arc<dyn LargeFiles>,
    addresses: &[Address],
) -> LookedUp {
    let mut found = LookedUp::default();
    for (number, address) in addresses.iter().enumerate() {
        for (key, place) in shared.index.find(shared.hasher.address(address)) {
            match read_at(shared, files, address, key, place) {
                Ok(Some(mut record)) => {
                    record.address_index = number;
                    shared.index.mark_used(key, place);
                    found.records.push(record);
                }
                Ok(None) => {}
                Err(NotReadable) => found.removed.add(shared.remove_corrupt(key, place)),
            }
        }
    }
    if !shared.availability.may_read() {
        found.records.clear();
    }
    found
}

/// The record at a place is not as it was written.
struct NotReadable;

/// The record at a place. `None` if it is of another address, or has ended.
fn read_at(
    shared: &DiskShared,
    files: &Arc<dyn LargeFiles>,
    address: &Address,
    key: KeyHash,
    place: Place,
) -> Result<Option<StoredRecord>, NotReadable> {
    let is_still_there = || {
        let at = shared.index.get(key);
        at.is_some_and(|at| at.unused() == place.unused())
    };
    let gone_or_corrupt = || match is_still_there() {
        true => Err(NotReadable),
        false => Ok(None),
    };
    let Some(segment) = shared.segments.get(place.segment()) else {
        return gone_or_corrupt();
    };
    let Some((header, record)) = read_record(&segment, place, place.len()) else {
        return gone_or_corrupt();
    };
    let Some(block) = checked_head(&header, &record).and_then(parse_head_block) else {
        return gone_or_corrupt();
    };
    if header.key != key {
        return gone_or_corrupt();
    }
    // Two addresses can have equal hashes.
    if block.address != *address {
        return Ok(None);
    }
    let record = Bytes::from(record);
    let body = match header.large {
        None => match checked_body(&header, &record) {
            Some(body) => StoredBody::Memory(record.slice(body)),
            None => return gone_or_corrupt(),
        },
        Some(number) if shared.contents().has_file(number) => {
            let body_len = header.body_len;
            StoredBody::Large(LargeBody::named(
                LargeName { number, body_len },
                files.clone(),
            ))
        }
        Some(_) => return gone_or_corrupt(),
    };
    let head = record.slice(HEADER_BYTES + block.head.start..HEADER_BYTES + block.head.end);
    // Asked after the record was read: what ended meanwhile has gone from the index, or a rule in force names it.
    let verdict = shared
        .rules
        .load()
        .judge(&address.resource, &head, header.seq);
    let expired_at = match verdict {
        RuleVerdict::Removed => return Ok(None),
        RuleVerdict::ExpiredAt(at) => Some(at),
        RuleVerdict::Unaffected => None,
    };
    Ok(is_still_there().then_some(StoredRecord {
        address_index: 0,
        id: header.id,
        head,
        body,
        expired_at,
    }))
}
