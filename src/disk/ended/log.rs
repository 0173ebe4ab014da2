//! The log of what has ended: the file `ended.log`.
//!
//! It is filled with zeros ahead of its rows, so that appending changes no length and a torn write shows. A group of rows is
//! written, then synced. An end of everything overwrites the second sector. A log of which something is lost (missing, damaged
//! before its end, shorter than a [`LogMark`] says, of another secret) is replaced by one with another id.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
};

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::disk::{
    ended::{
        header::{LogHeader, LogMark, LogSlot, SECTOR, tag_of, u64_at},
        log_file::{
            NAME, NEW_NAME, STEP, group, read_all, remove_if_there, write_new, write_zeros,
        },
        logged_rules::{LoggedRule, RuleId},
        read_log::{ReadLog, count},
        row::{EndedRow, RowContent},
        scan::{LogTail, read_rows},
        set::EndedSet,
        state::{LogState, contents_of},
    },
    files::{Files, OpenMode, StoreFile},
};

/// A longer log is rewritten, without what is not needed any more.
const REWRITE_BYTES: u64 = 4 << 20;

/// The numbers of runs go on above this if it is not known how many there were.
const LEAST_RANDOM_RUN: u64 = 1 << 22;

/// Why rows are not durable.
#[derive(Debug, thiserror::Error)]
pub(in crate::disk) enum AppendError {
    /// There is no space for more rows. An end of everything needs none.
    #[error("no space is left for what has ended")]
    NoSpace,
    /// The file cannot be written.
    #[error("cannot write {NAME}: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error),
        }
    }
}

/// What the log says when it is opened.
#[derive(Debug)]
pub(in crate::disk) struct EndedBefore {
    /// Larger by one each time. A large random number, below 2^24, if a loss hides how many times it was.
    pub(in crate::disk) run: u32,
    pub(in crate::disk) set: EndedSet,
    pub(in crate::disk) rules: Vec<LoggedRule>,
    /// The oldest comes first.
    pub(in crate::disk) notes: Vec<Vec<u8>>,
    pub(in crate::disk) are_notes_lost: bool,
    /// The last checkpoint. `None` if there is none.
    pub(in crate::disk) checkpoint: Option<Vec<u8>>,
    /// The largest sequence number of the log. New ones are larger than this one and than those of all records.
    pub(in crate::disk) last_seq: u64,
    /// Something was lost of the log. It is a new one; segments with another id have ended.
    pub(in crate::disk) was_lost: bool,
}

/// The log, open for appending.
pub(in crate::disk) struct EndedLog {
    files: Arc<dyn Files>,
    file: Arc<dyn StoreFile>,
    header: LogHeader,
    slot: LogSlot,
    /// Where the next row is written.
    end: u64,
    next_number: u64,
    next_rule: u64,
    last_seq: u64,
    /// Up to here the file was written.
    capacity: u64,
    /// Up to here there can be rows that were not synced.
    unsynced_end: u64,
    rewrite_at: u64,
    least_rewrite_bytes: u64,
    oldest_seq: u64,
    /// Whether its name is durable.
    is_named: bool,
}

impl EndedLog {
    /// Opens the log, or makes it. `marks` are those of all segments.
    ///
    /// # Errors
    ///
    /// The log cannot be read or written.
    pub(in crate::disk) fn open(
        files: Arc<dyn Files>,
        secret: &[u8; 32],
        marks: &[LogMark],
    ) -> io::Result<(Self, EndedBefore)> {
        let secret_tag = tag_of(secret);
        remove_if_there(&*files, NEW_NAME)?;
        let opened = match files.open(NAME, OpenMode::Existing) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let was_lost = opened.is_some() || !marks.is_empty();
        let mut salvaged = LogSlot::default();
        if let Some(file) = opened
            && let Ok(bytes) = read_all(&*file).or_else(|_| read_all(&*file))
            && let Some(read) = ReadLog::of(&bytes)
        {
            if let Some(slot) = read.whole(secret_tag, marks) {
                return Self::go_on(files, file, read, slot, &bytes);
            }
            let slot = read.slot.unwrap_or_default();
            salvaged.runs = slot.runs;
            salvaged.last_seq = slot.last_seq.max(read.state.last_seq);
        }
        Self::begin(files, secret_tag, salvaged, marks, was_lost)
    }

    /// Opens a log of which nothing is lost.
    fn go_on(
        files: Arc<dyn Files>,
        file: Arc<dyn StoreFile>,
        read: ReadLog,
        slot: LogSlot,
        bytes: &[u8],
    ) -> io::Result<(Self, EndedBefore)> {
        // A run whose sync failed can have left rows that are read, but are not on the disk. They are only if they are
        // written again.
        let unsure = read.end.durable_at..read.end.at;
        let unsure_at = unsure.start as u64;
        file.write_all_at(bytes.get(unsure).unwrap_or_default(), unsure_at)?;
        let capacity = bytes.len() as u64;
        let mut log = Self {
            files,
            file,
            header: read.header,
            slot,
            end: read.end.at as u64,
            next_number: read.end.next_number,
            next_rule: read.state.next_rule,
            last_seq: slot.last_seq.max(slot.all).max(read.state.last_seq),
            capacity,
            unsynced_end: read.end.at as u64,
            rewrite_at: REWRITE_BYTES,
            least_rewrite_bytes: REWRITE_BYTES,
            oldest_seq: 0,
            is_named: false,
        };
        if read.end.tail == LogTail::Torn {
            log.write_zeros(log.end, capacity)?;
        }
        log.overwrite_slot(LogSlot {
            runs: log.slot.runs.saturating_add(1),
            ..log.slot
        })?;
        log.sync_name()?;
        let before = log.before(read.state, false);
        Ok((log, before))
    }

    /// Makes a log in the place of one of which something is lost.
    fn begin(
        files: Arc<dyn Files>,
        secret_tag: u64,
        salvaged: LogSlot,
        marks: &[LogMark],
        was_lost: bool,
    ) -> io::Result<(Self, EndedBefore)> {
        remove_if_there(&*files, NAME)?;
        let state = if was_lost {
            LogState::without_notes()
        } else {
            LogState::default()
        };
        let id = new_id(marks)?;
        let header = LogHeader {
            id,
            secret_tag,
            first_number: 1,
        };
        // How often the store was opened is lost as well: files can have the small numbers.
        let runs_before = match salvaged.runs {
            0 if was_lost => LEAST_RANDOM_RUN + id % LEAST_RANDOM_RUN,
            runs => runs,
        };
        let slot = LogSlot {
            runs: runs_before.saturating_add(1),
            overwritten: 1,
            last_seq: salvaged.last_seq,
            ..LogSlot::default()
        };
        let new = write_new(&*files, header, slot, &state.rows())?;
        let mut log = Self {
            files,
            file: new.file,
            header,
            slot: new.slot,
            end: new.end,
            next_number: new.next_number,
            next_rule: 0,
            last_seq: slot.last_seq,
            capacity: new.capacity,
            unsynced_end: new.end,
            rewrite_at: REWRITE_BYTES,
            least_rewrite_bytes: REWRITE_BYTES,
            oldest_seq: 0,
            is_named: false,
        };
        log.files.rename(NEW_NAME, NAME)?;
        log.sync_name()?;
        let before = log.before(state, was_lost);
        Ok((log, before))
    }

    fn before(&self, state: LogState, was_lost: bool) -> EndedBefore {
        EndedBefore {
            run: u32::try_from(self.slot.runs).unwrap_or(u32::MAX),
            set: state.set,
            rules: state.rules,
            notes: state.notes.into(),
            are_notes_lost: state.are_notes_lost,
            checkpoint: state.checkpoint,
            last_seq: self.last_seq,
            was_lost,
        }
    }

    /// The log as it is now. Each new segment keeps it.
    pub(in crate::disk) fn mark(&self) -> LogMark {
        count(self.header.id, self.next_number, &self.slot)
    }

    /// Segments whose mark has another id have ended as a whole.
    pub(in crate::disk) fn id(&self) -> u64 {
        self.header.id
    }

    /// No segment has a record with a lower number, neither one that is served nor one that has ended. What ends only lower
    /// ones is left out when the log is rewritten.
    pub(in crate::disk) fn forget(&mut self, oldest_seq: u64) {
        self.oldest_seq = self.oldest_seq.max(oldest_seq);
    }

    /// Writes rows and syncs them. Returns the ids of the rules among them, in order.
    ///
    /// # Errors
    ///
    /// The rows do not count as written, but a restart can find them. They can be appended again.
    pub(in crate::disk) fn append(
        &mut self,
        rows: &[EndedRow<'_>],
    ) -> Result<Vec<RuleId>, AppendError> {
        self.sync_name()?;
        let (contents, rules) = contents_of(rows, self.next_rule);
        if contents.is_empty() {
            return Ok(rules);
        }
        self.keep_file()?;
        let mut bytes = group(self.header.id, self.next_number, &contents);
        let written_bytes = bytes.len() as u64;
        if self.make_room(written_bytes)? {
            bytes = group(self.header.id, self.next_number, &contents);
        }
        let end = self.end + written_bytes;
        let stale = self.unsynced_end.saturating_sub(end);
        bytes.resize(bytes.len() + usize::try_from(stale).unwrap_or(0), 0);
        self.unsynced_end = self.unsynced_end.max(end);
        self.file.write_all_at(&bytes, self.end)?;
        self.file.sync_data()?;
        (self.end, self.unsynced_end) = (end, end);
        self.next_number += contents.len() as u64;
        self.next_rule += rules.len() as u64;
        let last_seqs = contents.iter().map(RowContent::last_seq);
        self.last_seq = last_seqs.fold(self.last_seq, u64::max);
        Ok(rules)
    }

    /// Ends everything up to a sequence number. It needs no new space.
    ///
    /// # Errors
    ///
    /// It does not count as written, but a restart can find it. It can be called again.
    pub(in crate::disk) fn append_all(&mut self, seq: u64) -> Result<(), AppendError> {
        self.keep_file()?;
        self.sync_name()?;
        self.last_seq = self.last_seq.max(seq);
        self.overwrite_slot(LogSlot {
            all: self.slot.all.max(seq),
            ..self.slot
        })?;
        Ok(())
    }

    /// Writes down how many rows there are, so that a later loss of any of them shows.
    ///
    /// # Errors
    ///
    /// It cannot be written. Nothing is lost by that.
    pub(in crate::disk) fn close(&mut self) -> io::Result<()> {
        self.keep_file()?;
        self.sync_name()?;
        match self.slot.rows + 1 == self.next_number {
            true => Ok(()),
            false => self.overwrite_slot(self.slot),
        }
    }

    #[cfg(test)]
    pub(super) fn rewrite_beyond(&mut self, bytes: u64) {
        (self.rewrite_at, self.least_rewrite_bytes) = (bytes, bytes);
    }

    fn overwrite_slot(&mut self, slot: LogSlot) -> io::Result<()> {
        let slot = LogSlot {
            overwritten: self.slot.overwritten + 1,
            rows: self.next_number - 1,
            last_seq: self.last_seq,
            ..slot
        };
        let sector = slot.to_sector(self.header.id);
        self.file.write_all_at(&sector, SECTOR as u64)?;
        self.file.sync_data()?;
        self.slot = slot;
        Ok(())
    }

    /// Writes the log again if its file was removed or replaced.
    fn keep_file(&mut self) -> io::Result<()> {
        match self.files.identity(NAME) {
            Ok(there) if there == self.file.identity()? => return Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        self.rewrite()?;
        log::warn!("{NAME} of the store was removed or replaced, and is written again");
        Ok(())
    }

    /// A log that was renamed, but whose directory could not be synced, is not durable.
    fn sync_name(&mut self) -> io::Result<()> {
        if !self.is_named {
            self.files.sync_dir("")?;
            self.is_named = true;
        }
        Ok(())
    }

    /// Makes room for so many bytes. Returns whether the log was rewritten.
    fn make_room(&mut self, bytes: u64) -> Result<bool, AppendError> {
        let mut is_rewritten = false;
        if self.end + bytes > self.rewrite_at {
            is_rewritten = self.rewrite().is_ok();
            self.rewrite_at = self.least_rewrite_bytes.max((self.end + bytes) * 2);
        }
        if self.grow(bytes).is_err() && !is_rewritten {
            is_rewritten = self.rewrite().is_ok();
        }
        self.grow(bytes)?;
        self.sync_name()?;
        Ok(is_rewritten)
    }

    fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let needed = self.end + bytes;
        if needed > self.capacity {
            let capacity = needed.next_multiple_of(STEP);
            self.write_zeros(self.capacity, capacity)?;
            self.capacity = capacity;
        }
        Ok(())
    }

    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        write_zeros(&*self.file, from, to)?;
        self.file.sync_data()
    }

    /// Writes a new log without what is not needed any more.
    fn rewrite(&mut self) -> io::Result<()> {
        // What is left out would be missed if a removed segment came back.
        self.files.sync_dir("")?;
        let bytes = read_all(&*self.file)?;
        let durable = usize::try_from(self.end)
            .ok()
            .and_then(|end| bytes.get(..end));
        let mut state = LogState::default();
        state.set.end_all(self.slot.all);
        let LogHeader {
            id, first_number, ..
        } = self.header;
        let end = read_rows(durable.unwrap_or_default(), id, (first_number, 0), |row| {
            state.add(row);
        });
        if end.next_number != self.next_number {
            return Err(ErrorKind::InvalidData.into());
        }
        state.compact(self.oldest_seq);
        let slot = LogSlot {
            all: state.set.all(),
            last_seq: self.last_seq,
            ..self.slot
        };
        let rows = state.rows();
        let last_number = (self.next_number - 1).max(rows.len() as u64);
        let header = LogHeader {
            first_number: last_number + 1 - rows.len() as u64,
            ..self.header
        };
        let new = write_new(&*self.files, header, slot, &rows)?;
        self.files.rename(NEW_NAME, NAME)?;
        self.is_named = false;
        self.file = new.file;
        self.header = header;
        self.slot = new.slot;
        self.end = new.end;
        self.unsynced_end = new.end;
        self.next_number = new.next_number;
        self.capacity = new.capacity;
        Ok(())
    }
}

/// A random id that no segment knows.
fn new_id(marks: &[LogMark]) -> io::Result<u64> {
    let mut bytes = [0; 8];
    loop {
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| io::Error::other("the system has no random numbers"))?;
        let id = u64_at(&bytes, 0);
        if id != 0 && marks.iter().all(|mark| mark.id != id) {
            return Ok(id);
        }
    }
}
