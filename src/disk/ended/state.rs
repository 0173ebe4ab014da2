//! What the rows of a log together say.

use std::collections::VecDeque;

use crate::disk::ended::{
    logged_rules::{LoggedRule, RuleId, add_rule},
    row::{EndedRow, MAX_CHECKPOINT_BYTES, MAX_ITEMS, MAX_NOTE_BYTES, MAX_RULE_BYTES, RowContent},
    set::EndedSet,
};

const MAX_NOTES: usize = 4096;
const MAX_NOTES_BYTES: usize = 2 << 20;
/// The most resources, addresses and sequence numbers after a rewriting.
const MAX_ENDS: usize = 256 << 10;

/// What the rows of a log together say.
#[derive(Clone, Debug, Default)]
pub(super) struct LogState {
    pub(super) set: EndedSet,
    pub(super) rules: Vec<LoggedRule>,
    pub(super) notes: VecDeque<Vec<u8>>,
    pub(super) are_notes_lost: bool,
    /// `None` if there is none.
    pub(super) checkpoint: Option<Vec<u8>>,
    /// The id of the rule that comes next.
    pub(super) next_rule: u64,
    /// The largest sequence number in a row.
    pub(super) last_seq: u64,
    note_bytes: usize,
}

impl LogState {
    /// What is known when everything was lost.
    pub(super) fn without_notes() -> Self {
        Self {
            are_notes_lost: true,
            ..Self::default()
        }
    }

    /// Takes in a row; the oldest comes first.
    pub(super) fn add(&mut self, row: RowContent) {
        self.last_seq = self.last_seq.max(row.last_seq());
        match row {
            RowContent::Resources(ends) => ends
                .into_iter()
                .for_each(|(resource, seq)| self.set.end_resource(seq, resource)),
            RowContent::Addresses(ends) => ends
                .into_iter()
                .for_each(|(address, seq)| self.set.end_address(seq, address)),
            RowContent::Sequences(ends) => self.set.end_sequences(&ends),
            RowContent::Rule(rule) => {
                self.next_rule = self.next_rule.max(rule.id.0.saturating_add(1));
                if let Some(seq) = add_rule(&mut self.rules, rule) {
                    self.set.end_all(seq);
                }
            }
            RowContent::RuleDone(rule) => self.rules.retain(|logged| logged.id != rule),
            RowContent::Note(note) => self.add_note(note),
            RowContent::NotesLost => self.are_notes_lost = true,
            RowContent::Checkpoint(checkpoint) => {
                self.checkpoint = (!checkpoint.is_empty()).then_some(checkpoint);
            }
        }
    }

    fn add_note(&mut self, note: Vec<u8>) {
        self.note_bytes += note.len();
        self.notes.push_back(note);
        while self.notes.len() > MAX_NOTES || self.note_bytes > MAX_NOTES_BYTES {
            let Some(oldest) = self.notes.pop_front() else {
                break;
            };
            self.note_bytes -= oldest.len();
            self.are_notes_lost = true;
        }
    }

    /// Drops what ends only numbers below this one, and bounds what is left.
    pub(super) fn compact(&mut self, oldest_seq: u64) {
        self.set.forget(oldest_seq);
        self.set.bound(MAX_ENDS);
        let all = self.set.all();
        self.rules
            .retain(|rule| rule.seq >= oldest_seq && rule.seq > all);
    }

    /// Rows that say the same, without [`EndedSet::all`].
    pub(super) fn rows(&self) -> Vec<RowContent> {
        let mut rows = Vec::new();
        let resources: Vec<_> = self.set.resources().collect();
        let addresses: Vec<_> = self.set.addresses().collect();
        let sequences: Vec<_> = self.set.sequences().collect();
        rows.extend(in_rows(&resources, RowContent::Resources));
        rows.extend(in_rows(&addresses, RowContent::Addresses));
        rows.extend(in_rows(&sequences, RowContent::Sequences));
        rows.extend(self.rules.iter().cloned().map(RowContent::Rule));
        if self.are_notes_lost {
            rows.push(RowContent::NotesLost);
        }
        rows.extend(self.notes.iter().cloned().map(RowContent::Note));
        // What it says was applied is in the rows before it.
        rows.extend(self.checkpoint.clone().map(RowContent::Checkpoint));
        rows
    }
}

fn in_rows<T: Clone>(
    items: &[T],
    row: impl Fn(Vec<T>) -> RowContent,
) -> impl Iterator<Item = RowContent> {
    items
        .chunks(MAX_ITEMS)
        .map(move |items| row(items.to_vec()))
}

/// The rows to write, and the ids of the rules among them.
pub(super) fn contents_of(
    rows: &[EndedRow<'_>],
    mut next_rule: u64,
) -> (Vec<RowContent>, Vec<RuleId>) {
    let (mut contents, mut rules) = (Vec::new(), Vec::new());
    for row in rows {
        match *row {
            EndedRow::Resources { seq, resources } => {
                let ends: Vec<_> = resources.iter().map(|resource| (*resource, seq)).collect();
                contents.extend(in_rows(&ends, RowContent::Resources));
            }
            EndedRow::Addresses { seq, addresses } => {
                let ends: Vec<_> = addresses.iter().map(|address| (*address, seq)).collect();
                contents.extend(in_rows(&ends, RowContent::Addresses));
            }
            EndedRow::Sequences { sequences } => {
                contents.extend(in_rows(sequences, RowContent::Sequences));
            }
            EndedRow::Rule { seq, action, rule } => {
                let id = RuleId(next_rule);
                next_rule += 1;
                rules.push(id);
                contents.push(RowContent::Rule(LoggedRule {
                    id,
                    seq,
                    action,
                    rule: (rule.len() <= MAX_RULE_BYTES).then(|| rule.to_vec()),
                }));
            }
            EndedRow::RuleDone { rule } => contents.push(RowContent::RuleDone(rule)),
            EndedRow::Note { note } => contents.push(match note.len() <= MAX_NOTE_BYTES {
                true => RowContent::Note(note.to_vec()),
                false => RowContent::NotesLost,
            }),
            EndedRow::Checkpoint { checkpoint } => {
                let is_short = checkpoint.len() <= MAX_CHECKPOINT_BYTES;
                let checkpoint = if is_short { checkpoint } else { &[] };
                contents.push(RowContent::Checkpoint(checkpoint.to_vec()));
            }
        }
    }
    (contents, rules)
}
