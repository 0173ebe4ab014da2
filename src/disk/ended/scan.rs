//! The rows in the bytes of a log.

use crate::disk::ended::{
    header::{ROWS_AT, SECTOR},
    row::{ROW_HEADER, ReadRow, RowContent, RowHead},
};

/// How the rows of a log end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogTail {
    /// With zeros.
    Clean,
    /// With a group of rows of which some sectors are missing: it was being written when the power was cut. It had not been
    /// durable.
    Torn,
    /// With damage: a row that had been durable is lost.
    Damaged,
}

/// Where the rows of a log end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEnd {
    /// The offset behind the last row.
    pub(super) at: usize,
    /// The offset behind the last row that is known to be durable.
    pub(super) durable_at: usize,
    /// The number of the row that comes next.
    pub(super) next_number: u64,
    pub(super) tail: LogTail,
}

/// Reads the rows of the log with this id up to the first one that is not whole. Those up to the number `durable` are known
/// to be durable.
pub(super) fn read_rows(
    log: &[u8],
    id: u64,
    (first_number, durable): (u64, u64),
    mut each: impl FnMut(RowContent),
) -> LogEnd {
    let mut end = LogEnd {
        at: ROWS_AT,
        durable_at: ROWS_AT,
        next_number: first_number,
        tail: LogTail::Clean,
    };
    while let Some(row) = log.get(end.at..).and_then(|rest| ReadRow::read(rest, id)) {
        let content = row.content().filter(|_| row.number == end.next_number);
        let Some(content) = content else { break };
        each(content);
        end.at += row.bytes;
        if row.number <= durable {
            end.durable_at = end.at;
        }
        end.next_number += 1;
    }
    end.tail = tail(log, id, &end);
    end
}

fn is_zero(bytes: &[u8]) -> bool {
    let zeros = [0; SECTOR];
    let mut sectors = bytes.chunks(SECTOR);
    sectors.all(|sector| *sector == zeros[..sector.len()])
}

fn tail(log: &[u8], id: u64, end: &LogEnd) -> LogTail {
    let rest = log.get(end.at..).unwrap_or_default();
    if is_zero(rest) {
        return LogTail::Clean;
    }
    // Rows of a later group were written after the sync of the row that is missing here.
    let used = rest.rchunks(SECTOR).skip_while(|sector| is_zero(sector));
    let used: usize = used.map(<[u8]>::len).sum();
    let later = (0..used)
        .step_by(8)
        .filter_map(|at| ReadRow::read(&rest[at..], id));
    let is_same_group = |row: ReadRow<'_>| (row.group..=row.number).contains(&end.next_number);
    let mut later = later.map(is_same_group);
    match later.all(|is_same| is_same) && has_missing_sector(log, id, end) {
        true => LogTail::Torn,
        false => LogTail::Damaged,
    }
}

/// Whether a sector of the row at the end has not arrived. Before a row is written, there are zeros.
fn has_missing_sector(log: &[u8], id: u64, end: &LogEnd) -> bool {
    let rest = &log[end.at..];
    let bytes = match RowHead::read(rest, id) {
        Some(head) if head.number == end.next_number => head.bytes,
        Some(_) => return false,
        None => ROW_HEADER,
    };
    let Some(mut row) = rest.get(..bytes) else {
        return false;
    };
    let mut in_sector = SECTOR - end.at % SECTOR;
    while !row.is_empty() {
        let (sector, others) = row.split_at(in_sector.min(row.len()));
        if is_zero(sector) {
            return true;
        }
        (row, in_sector) = (others, SECTOR);
    }
    false
}
