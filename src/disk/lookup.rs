//! Reading records.

use std::sync::Arc;

use bytes::Bytes;

use crate::disk::{
    address::{Address, KeyHash},
    contents::RemovedRecords,
    ended::RuleVerdict,
    files::ReadFrom,
    large::{LargeBody, LargeFiles},
    layout::{HEADER_BYTES, HeadBlock, RecordHeader, checked_body, checked_head, parse_head_block},
    open_segments::OpenSegment,
    place::Place,
    read_buffer::ReadBuffer,
    results::{StoredBody, StoredRecord},
    segment::LargeName,
    shared::DiskShared,
};

/// How much is read first where the head of a record is read without its body.
const HEAD_GUESS_BYTES: u64 = 4096;
/// A handler does not read more than this, in bytes.
const MOST_READ_AT_ONCE: u64 = 128 * 1024;
/// How often a response is looked for at another place, because it was replaced while it was read.
const MAX_MOVES: usize = 4;

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

/// Who reads a record.
#[derive(Clone, Copy)]
enum RecordReader<'a> {
    /// A thread of the disk. This gives it the bodies in files of their own.
    Thread(&'a Arc<dyn LargeFiles>),
    /// A handler. It waits neither for the disk nor for a lock.
    Handler,
}

/// Reads a record, or as much of it. `None` if it cannot be read, or is not as it was written.
fn read_record(
    segment: &OpenSegment,
    (place, len): (Place, u64),
    from: ReadFrom,
) -> Option<(RecordHeader, ReadBuffer)> {
    let mut record = ReadBuffer::new(usize::try_from(len.min(place.len())).ok()?);
    let file = &segment.file;
    file.read_exact_from(from, record.bytes_mut(), place.offset())
        .ok()?;
    let header = RecordHeader::parse(record.as_ref(), segment.seed)?;
    Some((header, record))
}

/// Reads a record at least to the end of its head. `None` if it cannot be read, or is not as it was written.
fn read_to_body(segment: &OpenSegment, place: Place) -> Option<(RecordHeader, ReadBuffer)> {
    let read = |len| read_record(segment, (place, len), ReadFrom::Disk);
    let (header, mut record) = read(HEAD_GUESS_BYTES)?;
    let needed = HEADER_BYTES as u64 + u64::from(header.head_len);
    if needed > record.as_ref().len() as u64 {
        record = read(needed)?.1;
    }
    Some((header, record))
}

/// Reads the head of a record. `None` if it cannot be read, or is not as it was written.
pub(super) fn read_head(segment: &OpenSegment, place: Place) -> Option<RecordHead> {
    let (header, record) = read_to_body(segment, place)?;
    let block = checked_head(&header, record.as_ref())?;
    let HeadBlock { address, head } = parse_head_block(block)?;
    let head = HEADER_BYTES + head.start..HEADER_BYTES + head.end;
    Some(RecordHead {
        header,
        address,
        head: record.into_bytes().slice(head),
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
            let mut place = place;
            for _ in 0..MAX_MOVES {
                match read_at(shared, RecordReader::Thread(files), address, key, place) {
                    ReadAt::Found(mut record) => {
                        record.address_index = number;
                        shared.index.mark_used(key, place);
                        found.records.push(record);
                    }
                    ReadAt::Ended => {}
                    ReadAt::Moved(to) => {
                        place = to;
                        continue;
                    }
                    ReadAt::Corrupt => found.removed.add(shared.remove_corrupt(key, place)),
                }
                break;
            }
        }
    }
    if !shared.availability.may_read() {
        found.records.clear();
    }
    found
}

/// Reads all variants at the addresses, as [`look_up`] does, without waiting. `None` if a thread of the disk has to look: a
/// record is not in the memory of the system, or is large, or cannot be read.
pub(super) fn look_up_in_memory(
    shared: &DiskShared,
    addresses: &[Address],
) -> Option<Vec<StoredRecord>> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for (number, address) in addresses.iter().enumerate() {
        for (key, place) in shared.index.find(shared.hasher.address(address)) {
            bytes += place.len();
            if bytes > MOST_READ_AT_ONCE {
                return None;
            }
            match read_at(shared, RecordReader::Handler, address, key, place) {
                ReadAt::Found(mut record) => {
                    record.address_index = number;
                    shared.index.mark_used(key, place);
                    records.push(record);
                }
                ReadAt::Ended => {}
                ReadAt::Moved(_) | ReadAt::Corrupt => return None,
            }
        }
    }
    shared.availability.may_read().then_some(records)
}

/// What is at a place.
enum ReadAt {
    Found(StoredRecord),
    /// A record of another address, or one that has ended, or is older than one that waits to be written.
    Ended,
    /// The response of the key is at another place by now.
    Moved(Place),
    /// Not what was written.
    Corrupt,
}

/// The record at a place.
fn read_at(
    shared: &DiskShared,
    reader: RecordReader<'_>,
    address: &Address,
    key: KeyHash,
    place: Place,
) -> ReadAt {
    let read = read_whole(shared, reader, key, place);
    // Both are asked after the record was read, the rules first: when a rule is lifted, what it names has gone from the
    // index.
    let verdict = read.as_ref().map(|(header, found, record)| {
        let rules = shared.rules.load();
        rules.judge(&found.resource, &record.head, header.seq)
    });
    // Asked before the index: what waits no more is in it.
    if shared.waiting_keys.has(key) {
        return ReadAt::Ended;
    }
    match shared.index.get(key) {
        None => return ReadAt::Ended,
        Some(now) if now.unused() != place.unused() => return ReadAt::Moved(now),
        Some(_) => {}
    }
    let Some((_, found, mut record)) = read else {
        return ReadAt::Corrupt;
    };
    // Two addresses can have equal hashes.
    if found != *address {
        return ReadAt::Ended;
    }
    match verdict {
        Some(RuleVerdict::Removed) => return ReadAt::Ended,
        Some(RuleVerdict::ExpiredAt(at)) => record.expired_at = Some(at),
        Some(RuleVerdict::Unaffected) | None => {}
    }
    ReadAt::Found(record)
}

/// The record at a place. `None` if it is not as it was written, or its body has gone, or the reader would have to wait.
fn read_whole(
    shared: &DiskShared,
    reader: RecordReader<'_>,
    key: KeyHash,
    place: Place,
) -> Option<(RecordHeader, Address, StoredRecord)> {
    let segment = shared.segments.get(place.segment())?;
    let from = match reader {
        RecordReader::Thread(_) => ReadFrom::Disk,
        RecordReader::Handler => ReadFrom::Memory,
    };
    let (header, record) = read_record(&segment, (place, place.len()), from)?;
    if header.key != key {
        return None;
    }
    let block = parse_head_block(checked_head(&header, record.as_ref())?)?;
    let record = record.into_bytes();
    let body = match (header.large, reader) {
        (None, _) => StoredBody::Memory(record.slice(checked_body(&header, &record)?)),
        (Some(_), RecordReader::Handler) => return None,
        (Some(number), RecordReader::Thread(files)) => {
            let body_len = header.body_len;
            let is_there = shared.contents().has_file(number);
            let name = is_there.then_some(LargeName { number, body_len })?;
            StoredBody::Large(LargeBody::named(name, files.clone()))
        }
    };
    let head = HEADER_BYTES + block.head.start..HEADER_BYTES + block.head.end;
    let found = StoredRecord {
        address_index: 0,
        id: header.id,
        head: record.slice(head),
        body,
        expired_at: None,
    };
    Some((header, block.address, found))
}
