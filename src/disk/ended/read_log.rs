//! A log as it is read when it is opened, and whether it is whole.

use crate::disk::ended::{
    header::{LogHeader, LogMark, LogSlot},
    scan::{LogEnd, LogTail, read_rows},
    state::LogState,
};

/// A log as it was read, with all that could be read.
pub(super) struct ReadLog {
    pub(super) header: LogHeader,
    /// `None` if it is damaged.
    pub(super) slot: Option<LogSlot>,
    pub(super) state: LogState,
    pub(super) end: LogEnd,
}

impl ReadLog {
    /// `None` if its header is damaged.
    pub(super) fn of(log: &[u8]) -> Option<Self> {
        let header = LogHeader::from_log(log)?;
        let slot = LogSlot::from_log(log, header.id);
        let mut state = LogState::default();
        state.set.end_all(slot.map_or(0, |slot| slot.all));
        let durable = slot.map_or(0, |slot| slot.rows);
        let end = read_rows(log, header.id, (header.first_number, durable), |row| {
            state.add(row);
        });
        Some(Self {
            header,
            slot,
            state,
            end,
        })
    }

    /// The slot if nothing is lost: it is the log of this secret, and has all that it had when it was opened and when the
    /// segments were made.
    pub(super) fn whole(&self, secret_tag: u64, marks: &[LogMark]) -> Option<LogSlot> {
        let slot = self.slot?;
        let now = count(self.header.id, self.end.next_number, &slot);
        let has_all = |mark: &LogMark| mark.id != now.id || mark.count <= now.count;
        let is_whole = self.end.tail != LogTail::Damaged
            && slot.rows < self.end.next_number
            && self.header.secret_tag == secret_tag
            && marks.iter().all(has_all);
        is_whole.then_some(slot)
    }
}

/// The mark of a log.
pub(super) fn count(id: u64, next_number: u64, slot: &LogSlot) -> LogMark {
    LogMark {
        id,
        count: next_number - 1 + slot.overwritten,
    }
}
