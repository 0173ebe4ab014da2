//! Opening a store: what was written before is found, the threads start.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, mpsc::channel},
};

use crate::disk::{
    address::AddressHasher,
    contents::Contents,
    directory::StoreDirectory,
    ended::{EndedBefore, EndedLog, LogMark, RulesInForce},
    ends::ParseRule,
    files::{Files, OpenMode},
    handle::DiskHandle,
    index::DiskIndex,
    large_thread::LargeThread,
    limits::{DiskLimits, DiskTiming},
    open_segments::{OpenSegment, SegmentParts},
    readers::{ReadContext, Readers, WaitingForLoad},
    segment::{FIRST_SEQ, SegmentHeader, Trailer, parse_segment_name, read_trailer, segment_name},
    shared::{DiskNumbers, DiskShared, SharedParts},
    sweeper::Sweeper,
    upkeep::Upkeep,
    writer::{DiskWriter, WriterParts},
};

/// By so much sequence numbers go on after a run that was not closed: more than a run gives.
const SEQ_GAP: u64 = 1 << 40;
/// Larger numbers are not those of a store.
const MAX_SEQ: u64 = 1 << 62;

/// What [`open`] needs.
pub(super) struct OpenParts {
    pub(super) files: Arc<dyn Files>,
    pub(super) secret: [u8; 32],
    pub(super) limits: DiskLimits,
    pub(super) timing: DiskTiming,
    pub(super) parse_rule: ParseRule,
    /// Locked until the store is closed. `None` in tests that have no directory.
    pub(super) directory: Option<StoreDirectory>,
}

/// The segments of a directory.
#[derive(Default)]
struct FoundSegments {
    segments: Vec<FoundSegment>,
    /// Files that are no segments of this store: their ids and lengths.
    unusable: Vec<(u32, u64)>,
    last_id: u32,
}

struct FoundSegment {
    parts: SegmentParts,
    header: SegmentHeader,
    trailer: Option<Trailer>,
}

/// Opens a store.
///
/// # Errors
///
/// The files cannot be read or written.
pub(super) fn open(parts: OpenParts) -> io::Result<(DiskHandle, EndedBefore)> {
    let hasher = AddressHasher::new(&parts.secret);
    let mut found = find_segments(parts.files.as_ref(), &hasher)?;
    let marks: Vec<LogMark> = found.segments.iter().map(FoundSegment::mark).collect();
    let (log, mut before) = EndedLog::open(parts.files.clone(), &parts.secret, &marks)?;
    if before.was_lost {
        log::warn!("a part of what the store on disk has noted is lost: it begins empty");
    }
    found.keep_those_of(log.id());
    let responses = found.responses().min(parts.limits.max_responses());
    let (index, counts) = DiskIndex::new(responses);
    let contents = Contents::new(counts, std::mem::take(&mut before.set));
    let next_seq = found.next_seq(before.last_seq);
    let rules = RulesInForce::from_log(&before.rules, parts.parse_rule);
    let shared = Arc::new(DiskShared::new(SharedParts {
        files: parts.files,
        hasher,
        limits: parts.limits,
        timing: parts.timing,
        parse_rule: parts.parse_rule,
        index,
        contents,
        rules,
        first_file: u64::from(before.run) << 40 | 1,
        directory: parts.directory,
    }));
    let next_id = found.last_id.saturating_add(1);
    let (sealed, unusable) = found.add_to(&shared);
    let handle = start(
        shared,
        log,
        sealed,
        &unusable,
        (next_seq, next_id, before.run),
    )?;
    Ok((handle, before))
}

/// Starts the threads.
fn start(
    shared: Arc<DiskShared>,
    log: EndedLog,
    sealed: VecDeque<Arc<OpenSegment>>,
    unusable: &[(u32, u64)],
    (next_seq, next_id, run): (u64, u32, u32),
) -> io::Result<DiskHandle> {
    let (writer, inbox) = channel();
    let (upkeep, progress, upkeep_thread) = Upkeep::start(&shared)?;
    for (id, bytes) in unusable {
        upkeep.remove_segment_file(*id, 0, *bytes);
    }
    let context = ReadContext {
        shared: shared.clone(),
        waiting: Arc::new(WaitingForLoad::new()),
        upkeep: upkeep.clone(),
        writer: writer.clone(),
    };
    let readers = Readers::start(&context)?;
    let (large, large_thread) = LargeThread::start(shared.clone(), writer.clone())?;
    let (sweeper, sweeper_thread) = Sweeper::start(context, run)?;
    let parts = WriterParts {
        shared: shared.clone(),
        log,
        upkeep,
        progress,
        sweeper,
        large: large.clone(),
        threads: vec![large_thread, sweeper_thread, upkeep_thread],
        sealed,
        next_seq,
        next_id,
    };
    DiskWriter::start(parts, inbox)?;
    Ok(DiskHandle {
        shared,
        writer,
        readers,
        large,
    })
}

fn find_segments(files: &dyn Files, hasher: &AddressHasher) -> io::Result<FoundSegments> {
    let mut found = FoundSegments::default();
    for listed in files.list("")? {
        let Some(id) = parse_segment_name(&listed.name).filter(|_| !listed.is_dir) else {
            continue;
        };
        found.last_id = found.last_id.max(id);
        let seed = hasher.segment_seed(id);
        let file = files.open(&segment_name(id), OpenMode::Existing)?;
        let header = SegmentHeader::read(file.as_ref(), id, seed);
        let Some(header) = header.filter(|header| header.first_seq <= MAX_SEQ) else {
            found.unusable.push((id, listed.bytes));
            continue;
        };
        let trailer = read_trailer(file.as_ref(), seed);
        let parts = SegmentParts {
            id,
            slot: 0,
            seed,
            file,
            first_seq: header.first_seq,
            bytes: listed.bytes,
            is_written: false,
        };
        found.segments.push(FoundSegment {
            parts,
            header,
            trailer: trailer.filter(|trailer| trailer.last_seq <= MAX_SEQ),
        });
    }
    let order = |segment: &FoundSegment| (segment.header.first_seq, segment.header.id);
    found.segments.sort_by_key(order);
    Ok(found)
}

impl FoundSegment {
    fn mark(&self) -> LogMark {
        LogMark {
            id: self.header.log_id,
            count: self.header.log_count,
        }
    }
}

impl FoundSegments {
    /// Gives up the segments of another log: all in them has ended.
    fn keep_those_of(&mut self, log_id: u64) {
        let unusable = &mut self.unusable;
        self.segments.retain(|segment| {
            let is_kept = segment.header.log_id == log_id;
            if !is_kept {
                unusable.push((segment.parts.id, segment.parts.bytes));
            }
            is_kept
        });
    }

    /// The number of records. 0 for a segment without a trailer.
    fn responses(&self) -> usize {
        let trailers = self.segments.iter().filter_map(|segment| segment.trailer);
        let rows = trailers.fold(0_u64, |rows, trailer| rows.saturating_add(trailer.rows));
        usize::try_from(rows).unwrap_or(usize::MAX)
    }

    /// The sequence number of the next record: larger than all before.
    fn next_seq(&self, last_of_log: u64) -> u64 {
        let mut last = last_of_log;
        let mut is_closed = self.unusable.is_empty();
        for segment in &self.segments {
            match segment.trailer {
                Some(trailer) => last = last.max(trailer.last_seq),
                None => is_closed = false,
            }
            last = last.max(segment.header.first_seq);
        }
        let gap = if is_closed { 1 } else { SEQ_GAP };
        last.saturating_add(gap).clamp(FIRST_SEQ, MAX_SEQ)
    }

    /// Opens them. Returns them, the oldest first, and what is not usable.
    fn add_to(self, shared: &DiskShared) -> (VecDeque<Arc<OpenSegment>>, Vec<(u32, u64)>) {
        let mut unusable = self.unusable;
        let mut opened = Vec::new();
        let bytes = &shared.numbers.bytes;
        for (number, segment) in self.segments.into_iter().enumerate() {
            match u16::try_from(number) {
                Ok(slot) => {
                    DiskNumbers::add(bytes, segment.parts.bytes);
                    opened.push(Arc::new(OpenSegment::new(SegmentParts {
                        slot,
                        ..segment.parts
                    })));
                }
                Err(_) => unusable.push((segment.parts.id, segment.parts.bytes)),
            }
        }
        let sum = unusable.iter().map(|(_, bytes)| *bytes);
        DiskNumbers::add(bytes, sum.fold(0, u64::saturating_add));
        shared.segments.add(opened.clone());
        (opened.into(), unusable)
    }
}
