//! One row of a log.
//!
//! Length 4, kind 1, action 1, padding 2, number 8, position in its group 4, checksum of these 20 bytes 4, content, zeros up to
//! a multiple of 8, checksum 8 whose last byte is fixed. Numbers are little endian. The rows of a group are written and synced
//! together. So if a row is not whole, but one of a later group is, the row had been durable.

use crate::disk::{
    checksum::checksum,
    ended::{
        header::u64_at,
        logged_rules::{LoggedRule, RuleId},
        set::EndedAddress,
    },
    ends::RuleAction,
};

pub(super) const ROW_HEADER: usize = 24;
const ROW_CHECKSUM: usize = 8;
/// The most items in a row of hashes or sequence numbers.
pub(super) const MAX_ITEMS: usize = 1024;
/// The longest rule that is written down. A longer one names everything after a restart.
pub(super) const MAX_RULE_BYTES: usize = 64 << 10;
/// The longest note that is kept.
pub(super) const MAX_NOTE_BYTES: usize = 16 << 10;
/// The longest checkpoint that is kept.
pub(super) const MAX_CHECKPOINT_BYTES: usize = 1 << 10;
/// The last byte of each row. It is not zero, and a flipped bit does not make it so.
const LAST_BYTE: u64 = 0xa5;

/// What is appended to the log. `seq` is S: it ends what it names with a number up to S.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum EndedRow<'a> {
    /// All responses of these resources, by their hashes.
    Resources { seq: u64, resources: &'a [u64] },
    /// Those at these addresses.
    Addresses {
        seq: u64,
        addresses: &'a [EndedAddress],
    },
    /// Those with exactly these numbers.
    Sequences { sequences: &'a [u64] },
    /// Those that a rule names. A rule of more than 64 KiB names everything after a restart.
    Rule {
        seq: u64,
        action: RuleAction,
        rule: &'a [u8],
    },
    /// The rule is lifted: what it has removed was written down as sequence numbers.
    RuleDone { rule: RuleId },
    /// Ends nothing. The newest 4,096 notes and 2 MiB are kept; one of more than 16 KiB is not.
    Note { note: &'a [u8] },
    /// Ends nothing. The last one is kept; one of more than 1 KiB counts as none.
    Checkpoint { checkpoint: &'a [u8] },
}

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RowContent {
    /// Hashes of resources, and S for each.
    Resources(Vec<(u64, u64)>),
    /// Addresses, and S for each.
    Addresses(Vec<(EndedAddress, u64)>),
    Sequences(Vec<u64>),
    Rule(LoggedRule),
    RuleDone(RuleId),
    Note(Vec<u8>),
    /// Older notes were dropped.
    NotesLost,
    /// It replaces those before it. Empty if there is none.
    Checkpoint(Vec<u8>),
}

/// A row that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReadRow<'a> {
    pub(super) number: u64,
    /// The number of the first row of its group.
    pub(super) group: u64,
    pub(super) bytes: usize,
    kind: u8,
    action: u8,
    payload: &'a [u8],
}

/// The header of a row, if it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowHead {
    pub(super) number: u64,
    group: u64,
    pub(super) bytes: usize,
    padding: usize,
}

impl RowContent {
    fn kind(&self) -> u8 {
        match self {
            Self::Resources(_) => 1,
            Self::Addresses(_) => 2,
            Self::Sequences(_) => 3,
            Self::Rule(_) => 4,
            Self::RuleDone(_) => 5,
            Self::Note(_) => 6,
            Self::NotesLost => 7,
            Self::Checkpoint(_) => 8,
        }
    }

    fn action(&self) -> u8 {
        let Self::Rule(rule) = self else { return 0 };
        let expires = u8::from(rule.action != RuleAction::Remove);
        expires | u8::from(rule.rule.is_none()) << 1
    }

    /// The largest sequence number that it ends.
    pub(super) fn last_seq(&self) -> u64 {
        let last = match self {
            Self::Resources(ends) => ends.iter().map(|(_, seq)| *seq).max(),
            Self::Addresses(ends) => ends.iter().map(|(_, seq)| *seq).max(),
            Self::Sequences(ends) => ends.iter().copied().max(),
            Self::Rule(rule) => Some(rule.seq),
            Self::RuleDone(_) | Self::Note(_) | Self::NotesLost | Self::Checkpoint(_) => None,
        };
        last.unwrap_or(0)
    }

    fn write_payload(&self, out: &mut Vec<u8>) {
        let mut word = |word: u64| out.extend_from_slice(&word.to_le_bytes());
        match self {
            Self::Resources(ends) => ends.iter().for_each(|(resource, seq)| {
                word(*resource);
                word(*seq);
            }),
            Self::Addresses(ends) => ends.iter().for_each(|(address, seq)| {
                word(address.resource);
                word(address.partition.into());
                word(*seq);
            }),
            Self::Sequences(ends) => ends.iter().copied().for_each(word),
            Self::Rule(rule) => {
                word(rule.id.0);
                word(rule.seq);
                match rule.action {
                    RuleAction::Remove => word(0),
                    RuleAction::Expire { at } => word(at),
                }
                out.extend_from_slice(rule.rule.as_deref().unwrap_or_default());
            }
            Self::RuleDone(rule) => word(rule.0),
            Self::Note(note) => out.extend_from_slice(note),
            Self::NotesLost => {}
            Self::Checkpoint(checkpoint) => out.extend_from_slice(checkpoint),
        }
    }

    /// Appends the row to `out`. `position` is its place in its group; `id` is that of the log.
    pub(super) fn write(&self, id: u64, number: u64, position: u32, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&[0; ROW_HEADER]);
        self.write_payload(out);
        let padding = (out.len() - begin).wrapping_neg() % 8;
        out.resize(out.len() + padding, 0);
        // A row holds 1,024 items or a rule, so its length fits.
        let bytes = u32::try_from(out.len() - begin + ROW_CHECKSUM).unwrap_or(u32::MAX);
        let head = &mut out[begin..begin + ROW_HEADER];
        head[..4].copy_from_slice(&bytes.to_le_bytes());
        head[4] = self.kind();
        head[5] = self.action();
        head[6] = u8::try_from(padding).unwrap_or(0);
        head[8..16].copy_from_slice(&number.to_le_bytes());
        head[16..20].copy_from_slice(&position.to_le_bytes());
        let check = checksum(&head[..20], id).to_le_bytes();
        head[20..].copy_from_slice(&check[..4]);
        let check = row_checksum(&out[begin..], id);
        out.extend_from_slice(&check.to_le_bytes());
    }
}

fn row_checksum(row: &[u8], id: u64) -> u64 {
    checksum(row, id) >> 8 | LAST_BYTE << 56
}

impl RowHead {
    /// The header of a row at the begin of `log`. `None` if there is none that is whole.
    pub(super) fn read(log: &[u8], id: u64) -> Option<Self> {
        let head = log.get(..ROW_HEADER)?;
        let bytes = u32::from_le_bytes(head[..4].try_into().ok()?);
        let (bytes, padding) = (usize::try_from(bytes).ok()?, usize::from(head[6]));
        let is_plausible = (1..=8).contains(&head[4])
            && bytes.is_multiple_of(8)
            && padding < 8
            && bytes >= ROW_HEADER + ROW_CHECKSUM + padding;
        if !is_plausible || checksum(&head[..20], id).to_le_bytes()[..4] != head[20..] {
            return None;
        }
        let number = u64_at(head, 8);
        let position = u32::from_le_bytes(head[16..20].try_into().ok()?);
        Some(Self {
            number,
            group: number.checked_sub(position.into())?,
            bytes,
            padding,
        })
    }
}

impl<'a> ReadRow<'a> {
    /// The row at the begin of `log`. `None` if there is none that is whole.
    pub(super) fn read(log: &'a [u8], id: u64) -> Option<Self> {
        let head = RowHead::read(log, id)?;
        let row = log.get(..head.bytes)?;
        let (content, check) = row.split_at(head.bytes - ROW_CHECKSUM);
        (row_checksum(content, id) == u64_at(check, 0)).then(|| Self {
            number: head.number,
            group: head.group,
            bytes: head.bytes,
            kind: content[4],
            action: content[5],
            payload: &content[ROW_HEADER..content.len() - head.padding],
        })
    }

    /// What it says. `None` if this program cannot have written it.
    pub(super) fn content(&self) -> Option<RowContent> {
        let payload = self.payload;
        let items = |words: usize| {
            let items = payload.chunks_exact(words * 8);
            items.remainder().is_empty().then_some(items)
        };
        Some(match self.kind {
            1 => {
                let ends = items(2)?.map(|item| (u64_at(item, 0), u64_at(item, 8)));
                RowContent::Resources(ends.collect())
            }
            2 => {
                let ends = items(3)?.map(|item| {
                    let partition = u32::try_from(u64_at(item, 8)).ok()?;
                    let resource = u64_at(item, 0);
                    let address = EndedAddress {
                        resource,
                        partition,
                    };
                    Some((address, u64_at(item, 16)))
                });
                RowContent::Addresses(ends.collect::<Option<_>>()?)
            }
            3 => RowContent::Sequences(items(1)?.map(|item| u64_at(item, 0)).collect()),
            4 => RowContent::Rule(self.rule()?),
            5 if payload.len() == 8 => RowContent::RuleDone(RuleId(u64_at(payload, 0))),
            6 => RowContent::Note(payload.to_vec()),
            7 => RowContent::NotesLost,
            8 => RowContent::Checkpoint(payload.to_vec()),
            _ => return None,
        })
    }

    fn rule(&self) -> Option<LoggedRule> {
        let rule = self.payload.get(24..)?;
        let action = match self.action & 1 {
            0 => RuleAction::Remove,
            _ => RuleAction::Expire {
                at: u64_at(self.payload, 16),
            },
        };
        Some(LoggedRule {
            id: RuleId(u64_at(self.payload, 0)),
            seq: u64_at(self.payload, 8),
            action,
            rule: (self.action & 2 == 0).then(|| rule.to_vec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Vec<RowContent> {
        let address = EndedAddress {
            resource: 5,
            partition: u32::MAX,
        };
        let rule = LoggedRule {
            id: RuleId(9),
            seq: 8,
            action: RuleAction::Expire { at: 7 },
            rule: Some(b"/a*".to_vec()),
        };
        let wide = LoggedRule {
            action: RuleAction::Remove,
            rule: None,
            ..rule.clone()
        };
        vec![
            RowContent::Resources(vec![(1, 2), (3, 4)]),
            RowContent::Addresses(vec![(address, 6)]),
            RowContent::Sequences(vec![1, 2, 3]),
            RowContent::Rule(rule),
            RowContent::Rule(wide),
            RowContent::RuleDone(RuleId(9)),
            RowContent::Note(b"note".to_vec()),
            RowContent::NotesLost,
            RowContent::Checkpoint(b"checkpoint".to_vec()),
        ]
    }

    #[test]
    fn each_row_is_read_as_it_was_written() {
        for content in contents() {
            let mut log = Vec::new();
            content.write(1, 20, 3, &mut log);
            let row = ReadRow::read(&log, 1).unwrap();
            assert_eq!((row.number, row.group, row.bytes), (20, 17, log.len()));
            assert_eq!(row.content(), Some(content));
            assert_eq!(ReadRow::read(&log, 2), None);
            assert_eq!(log.len() % 8, 0);
        }
    }

    #[test]
    fn a_cut_or_changed_row_is_not_read() {
        for content in contents() {
            let mut log = Vec::new();
            content.write(1, 20, 3, &mut log);
            for bytes in 0..log.len() {
                assert_eq!(ReadRow::read(&log[..bytes], 1), None);
            }
            for bit in 0..log.len() * 8 {
                log[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(ReadRow::read(&log, 1), None, "{content:?} {bit}");
                log[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
