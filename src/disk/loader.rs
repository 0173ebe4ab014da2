//! Loading the index from the segments.

use std::{collections::HashSet, sync::atomic::Ordering, time::Instant};

use crate::disk::{
    address::KeyHash,
    contents::Contents,
    files::ListedFile,
    index::DiskIndex,
    large_file::{large_file_bytes, parse_large_name},
    messages::Message,
    open_segments::OpenSegment,
    readers::{ReadContext, do_job},
    segment::{FIRST_SEQ, LargeName, SegmentRow, footer_bytes, read_footer, scan_records},
    shared::{DiskNumbers, DiskShared},
};

/// No record has this sequence number, and all have larger ones.
const BEFORE_ALL_RECORDS: u64 = FIRST_SEQ - 1;
/// How many records are put in the index at a time, while other threads wait.
const ROWS_AT_A_TIME: usize = 1024;
/// For how many records the index is read ahead.
const ROWS_AHEAD: usize = 32;

/// Loads the index, the newest records first, and removes files that nothing names. `run` is the number of this run.
pub(super) fn load(context: &ReadContext, run: u32) {
    let shared = context.shared.as_ref();
    let begun = Instant::now();
    let mut loading = Loading {
        shared,
        not_loaded: HashSet::new(),
    };
    for segment in shared.segments.all().iter().rev() {
        if shared.availability.is_closed() {
            return;
        }
        loading.segment(segment);
    }
    drop(loading);
    shared.contents().ended = None;
    shared.is_loading.store(false, Ordering::SeqCst);
    for job in context.waiting.end() {
        do_job(context, job);
    }
    let responses = shared.numbers.responses.load(Ordering::Relaxed);
    let taken = begun.elapsed().as_millis();
    log::debug!("loaded {responses} responses from disk in {taken} ms");
    let _ = context.writer.send(Message::Loaded);
    remove_orphans(context, run);
}

struct Loading<'a> {
    shared: &'a DiskShared,
    /// Keys whose newest record has ended: older ones are not loaded either.
    not_loaded: HashSet<KeyHash>,
}

impl Loading<'_> {
    fn segment(&mut self, segment: &OpenSegment) {
        let rows = match read_footer(segment.file.as_ref(), segment.seed) {
            Some(rows) => rows,
            None => recover(self.shared, segment),
        };
        for rows in rows.rchunks(ROWS_AT_A_TIME) {
            self.shared.change(|contents, index| {
                for rows in rows.rchunks(ROWS_AHEAD) {
                    index.prefetch(rows.iter().map(|row| row.key.address.resource));
                    for row in rows.iter().rev() {
                        self.row(contents, index, segment, row);
                    }
                }
            });
        }
    }

    fn row(
        &mut self,
        contents: &mut Contents,
        index: &DiskIndex,
        segment: &OpenSegment,
        row: &SegmentRow,
    ) {
        let Some(place) = segment.place(row) else {
            return;
        };
        let address = row.key.address;
        let ends = |seq: u64| {
            let ended = contents.ended.as_ref();
            ended.is_some_and(|ended| ended.ends(address.resource, address.partition, seq))
        };
        if ends(row.seq) {
            // Otherwise it is named by its number alone, and older ones of its key may not be.
            let are_all_older = ends(BEFORE_ALL_RECORDS);
            self.not_loaded.insert(row.key);
            if !are_all_older {
                contents.unlist(address.resource, row.seq);
            }
            return;
        }
        if !self.not_loaded.is_empty() && self.not_loaded.contains(&row.key) {
            return;
        }
        let is_new = row
            .large
            .is_some_and(|large| !contents.has_file(large.number));
        let inserted = contents.insert_loaded(index, row.key, place, row.large);
        if let Some(large) = row.large
            && inserted
            && is_new
        {
            let bytes = large_file_bytes(large.body_len);
            DiskNumbers::add(&self.shared.numbers.bytes, bytes);
        }
    }
}

/// The records of a segment without a footer, which it gets now.
fn recover(shared: &DiskShared, segment: &OpenSegment) -> Vec<SegmentRow> {
    let (rows, end) = match scan_records(&segment.file, segment.seed) {
        Ok(found) => found,
        Err(error) => {
            log::warn!("cannot read a segment of the store: {error}");
            shared.contents().unlist_all();
            return Vec::new();
        }
    };
    let footer = footer_bytes(&rows, segment.seed);
    let len = end + footer.len() as u64;
    let written = segment.file.write_all_at(&footer, end);
    if let Err(error) = written.and_then(|()| segment.file.set_len(len)) {
        log::debug!("cannot write the footer of a segment of the store: {error}");
        return rows;
    }
    let before = segment.set_bytes(len);
    DiskNumbers::add(&shared.numbers.bytes, len);
    DiskNumbers::subtract(&shared.numbers.bytes, before);
    rows
}

/// Removes files of bodies that no record names, and forgets those that are not there.
fn remove_orphans(context: &ReadContext, run: u32) {
    let shared = context.shared.as_ref();
    // Those of this run are counted as they come and go.
    let is_of_this_run = |number: u64| number >> 40 == u64::from(run);
    let mut missing = shared.contents().files();
    missing.retain(|file| !is_of_this_run(file.number));
    let mut missing: HashSet<LargeName> = missing.into_iter().collect();
    let dirs = shared.files.list("large").unwrap_or_default();
    for dir in dirs.iter().filter(|dir| dir.is_dir) {
        if shared.availability.is_closed() {
            return;
        }
        let dir = format!("large/{}", dir.name);
        for file in shared.files.list(&dir).unwrap_or_default() {
            let number = parse_large_name(&file.name);
            if number.is_some_and(is_of_this_run) {
                continue;
            }
            match number.and_then(|number| named_file(shared, number, &file)) {
                Some(name) => _ = missing.remove(&name),
                None => remove_orphan(shared, &format!("{dir}/{}", file.name)),
            }
        }
    }
    for file in missing {
        if shared.contents().forget_file(file.number).is_some() {
            context.upkeep.forget_body(file);
        }
    }
}

/// The name of a file that records name and that has its length.
fn named_file(shared: &DiskShared, number: u64, file: &ListedFile) -> Option<LargeName> {
    let name = shared.contents().file(number)?;
    let is_whole = !file.name.ends_with(".t") && file.bytes == large_file_bytes(name.body_len);
    is_whole.then_some(name)
}

fn remove_orphan(shared: &DiskShared, name: &str) {
    if let Err(error) = shared.files.remove(name) {
        log::debug!("cannot remove {name} of the store: {error}");
    }
}
