//! What has ended and is not written down yet.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use crate::disk::{
    ended::{AppendError, EndedAddress, EndedRow, RuleId},
    ends::{DiskRule, RuleAction, Swept},
    writer::DiskWriter,
};

/// More rows than these become an end of everything.
const MAX_PENDING_BYTES: usize = 4 * 1024 * 1024;

/// A row of the log of what has ended.
pub(super) enum PendingRow {
    Resources {
        seq: u64,
        resources: Vec<u64>,
    },
    Addresses {
        seq: u64,
        addresses: Vec<EndedAddress>,
    },
    Sequences(Vec<u64>),
    Rule {
        seq: u64,
        action: RuleAction,
        rule: Vec<u8>,
        swept: Option<oneshot::Sender<Swept>>,
    },
    RuleDone(RuleId),
    Note(Vec<u8>),
}

/// Rows that are not written yet.
#[derive(Default)]
pub(super) struct PendingRows {
    /// Everything up to this sequence number has ended. `None` if not.
    all: Option<u64>,
    rows: Vec<PendingRow>,
    bytes: usize,
    /// When they are written at the latest.
    due: Option<Instant>,
    /// It is written after the rows. `None` if the last one is written.
    checkpoint: Option<PendingCheckpoint>,
}

/// A checkpoint that is not written yet.
struct PendingCheckpoint {
    bytes: Vec<u8>,
    due: Instant,
}

/// What has become of pending rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PendingWritten {
    Written,
    /// There was no room for rows: everything has ended instead.
    Everything,
    /// They are tried again later. Until then nothing is served.
    NotWritten,
}

impl PendingRow {
    fn as_row(&self) -> EndedRow<'_> {
        match self {
            Self::Resources { seq, resources } => EndedRow::Resources {
                seq: *seq,
                resources,
            },
            Self::Addresses { seq, addresses } => EndedRow::Addresses {
                seq: *seq,
                addresses,
            },
            Self::Sequences(sequences) => EndedRow::Sequences { sequences },
            Self::Rule {
                seq, action, rule, ..
            } => EndedRow::Rule {
                seq: *seq,
                action: *action,
                rule,
            },
            Self::RuleDone(rule) => EndedRow::RuleDone { rule: *rule },
            Self::Note(note) => EndedRow::Note { note },
        }
    }

    fn bytes(&self) -> usize {
        let content = match self {
            Self::Resources { resources, .. } => resources.len() * 8,
            Self::Addresses { addresses, .. } => addresses.len() * size_of::<EndedAddress>(),
            Self::Sequences(sequences) => sequences.len() * 8,
            Self::Rule { rule, .. } => rule.len(),
            Self::RuleDone(_) => 0,
            Self::Note(note) => note.len(),
        };
        content + size_of::<Self>()
    }
}

impl PendingCheckpoint {
    fn row(&self) -> EndedRow<'_> {
        EndedRow::Checkpoint {
            checkpoint: &self.bytes,
        }
    }
}

impl PendingRows {
    /// Adds a row. `newest_seq` is the number of the newest record.
    pub(super) fn push(&mut self, row: PendingRow, due: Instant, newest_seq: u64) {
        self.bytes += row.bytes();
        self.rows.push(row);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
        // Only a disk that fails for long lets so much wait. The rows of a sweep are needed at once.
        if self.bytes > MAX_PENDING_BYTES && self.rows.len() > 1024 {
            self.end_all(newest_seq);
        }
    }

    /// Everything up to a sequence number has ended. Notes stay.
    pub(super) fn end_all(&mut self, seq: u64) {
        self.all = self.all.max(Some(seq));
        self.rows.retain(|row| matches!(row, PendingRow::Note(_)));
        self.bytes = self.rows.iter().map(PendingRow::bytes).sum();
    }

    /// Replaces the checkpoint. It is written with the next rows, or alone when it is due.
    pub(super) fn set_checkpoint(&mut self, bytes: Vec<u8>, due: Instant) {
        let due = match &self.checkpoint {
            Some(before) => before.due,
            None => due,
        };
        self.checkpoint = Some(PendingCheckpoint { bytes, due });
    }

    pub(super) fn due(&self) -> Option<Instant> {
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| checkpoint.due);
        [self.due, checkpoint].into_iter().flatten().min()
    }

    /// True if nothing that has ended waits.
    fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.all.is_none()
    }
}

impl DiskWriter {
    /// Writes what has ended and is not written down yet, and makes it durable. Its rules are in force then.
    pub(super) fn write_pending(&mut self) -> PendingWritten {
        if self.pending.is_empty() {
            self.write_checkpoint();
            self.all_written();
            return PendingWritten::Written;
        }
        match self.try_pending() {
            Ok(rules) => {
                self.rows_written(rules);
                PendingWritten::Written
            }
            Err(AppendError::NoSpace) => self.write_all_instead(),
            Err(AppendError::Io(error)) => self.not_written(&error.to_string()),
        }
    }

    fn try_pending(&mut self) -> Result<Vec<RuleId>, AppendError> {
        self.shared.keep_directory()?;
        if let Some(seq) = self.pending.all {
            self.log.append_all(seq)?;
            self.pending.all = None;
        }
        let first = self.append_rows();
        match first {
            // Room for rows can be made.
            Err(AppendError::NoSpace) if self.evict_one() => {
                self.progress.wait();
                self.append_rows()
            }
            result => result,
        }
    }

    fn append_rows(&mut self) -> Result<Vec<RuleId>, AppendError> {
        let rows = self.pending.rows.iter().map(PendingRow::as_row);
        let checkpoint = self.pending.checkpoint.as_ref().map(PendingCheckpoint::row);
        // It is the last one: a restart that finds it finds all before it.
        let rows: Vec<_> = rows.chain(checkpoint).collect();
        self.log.append(&rows)
    }

    /// Writes the checkpoint alone. If that fails, the one before it stays, and it is tried again later.
    fn write_checkpoint(&mut self) {
        let Some(checkpoint) = &self.pending.checkpoint else {
            return;
        };
        let kept = self.shared.keep_directory().map_err(AppendError::from);
        match kept.and_then(|()| self.log.append(&[checkpoint.row()])) {
            Ok(_) => self.pending.checkpoint = None,
            Err(error) => {
                log::debug!("the checkpoint of the store cannot be written: {error}");
                let due = Instant::now() + self.shared.timing.retry;
                if let Some(checkpoint) = &mut self.pending.checkpoint {
                    checkpoint.due = due;
                }
            }
        }
    }

    /// The disk is full: an end of everything has its place set aside.
    fn write_all_instead(&mut self) -> PendingWritten {
        let seq = self.newest_seq();
        match self.log.append_all(seq) {
            Ok(()) => {
                log::warn!("no space is left to note what has ended: the store on disk is cleared");
                self.pending = PendingRows {
                    checkpoint: self.pending.checkpoint.take(),
                    ..PendingRows::default()
                };
                self.clear(seq);
                self.all_written();
                PendingWritten::Everything
            }
            Err(error) => self.not_written(&error.to_string()),
        }
    }

    fn not_written(&mut self, reason: &str) -> PendingWritten {
        self.retry = Some(Instant::now() + self.shared.timing.retry);
        let reason = format!("what has ended cannot be written down: {reason}");
        if self.shared.availability.is_unwritten(reason.clone()) {
            log::warn!("the store on disk is not used at present: {reason}");
        }
        PendingWritten::NotWritten
    }

    fn all_written(&mut self) {
        if self.shared.availability.all_written() {
            log::info!("the store on disk is used again");
        }
        if self.may_store() {
            self.retry = None;
        }
    }

    /// The rows are durable: rules are in force, and their sweeps begin.
    fn rows_written(&mut self, ids: Vec<RuleId>) {
        let rows = std::mem::take(&mut self.pending).rows;
        let mut ids = ids.into_iter();
        for row in rows {
            match row {
                PendingRow::Rule {
                    seq,
                    action,
                    rule,
                    swept,
                } => {
                    let Some(id) = ids.next() else { continue };
                    let parsed = (self.shared.parse_rule)(&rule).map(Arc::from);
                    self.put_in_force(id, seq, action, parsed);
                    if action == RuleAction::Remove {
                        self.sweeper.sweep(id, swept);
                    }
                }
                PendingRow::RuleDone(id) => {
                    let rules = self.shared.rules.load().without(id);
                    self.shared.rules.store(Arc::new(rules));
                }
                _ => {}
            }
        }
        self.all_written();
    }

    fn put_in_force(
        &mut self,
        id: RuleId,
        seq: u64,
        action: RuleAction,
        rule: Option<Arc<dyn DiskRule>>,
    ) {
        let (rules, all_ended) = self.shared.rules.load().with(id, seq, action, rule);
        self.shared.rules.store(Arc::new(rules));
        // There were too many rules. More than has to end ends.
        if all_ended.is_some() {
            self.clear(self.newest_seq());
        }
    }

    /// What rules name was removed from the index: it is written down, and the rules are done.
    pub(super) fn swept(&mut self, sequences: Vec<u64>, rules: Vec<RuleId>) {
        let (due, seq) = (Instant::now(), self.newest_seq());
        if !sequences.is_empty() {
            self.pending
                .push(PendingRow::Sequences(sequences), due, seq);
        }
        for rule in rules {
            self.pending.push(PendingRow::RuleDone(rule), due, seq);
        }
        if self.retry.is_none() {
            self.write_pending();
        }
    }
}
