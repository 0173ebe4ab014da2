//! A process that ends things, restarts, and checks that they stay ended.

use std::sync::Arc;

use crate::disk::{
    ended::{
        header::LogMark,
        log::{AppendError, EndedBefore, EndedLog},
        log_file::NAME,
        row::EndedRow,
        set::EndedAddress,
    },
    ends::RuleAction,
    files::faulty::FaultyFiles,
};

pub(super) const SECRET: [u8; 32] = [7; 32];
const RESOURCES: u64 = 6;

/// What a process does to a log.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Group(Vec<Change>),
    All(u64),
    Forget(u64),
    Restart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Resources(u64, Vec<u64>),
    Address(u64, EndedAddress),
    Sequences(Vec<u64>),
    Rule(u64, RuleAction, Vec<u8>),
    Note(Vec<u8>),
    /// It covers all changes with smaller numbers.
    Checkpoint([u8; 8]),
}

impl Change {
    fn row(&self) -> EndedRow<'_> {
        match self {
            Self::Resources(seq, resources) => EndedRow::Resources {
                seq: *seq,
                resources,
            },
            Self::Address(seq, address) => EndedRow::Addresses {
                seq: *seq,
                addresses: std::slice::from_ref(address),
            },
            Self::Sequences(sequences) => EndedRow::Sequences { sequences },
            Self::Rule(seq, action, rule) => EndedRow::Rule {
                seq: *seq,
                action: *action,
                rule,
            },
            Self::Note(note) => EndedRow::Note { note },
            Self::Checkpoint(checkpoint) => EndedRow::Checkpoint { checkpoint },
        }
    }
}

/// What was answered, and what was tried.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) answered: Vec<Change>,
    pub(super) answered_all: u64,
    tried: Vec<Change>,
    tried_all: u64,
    oldest: u64,
    seq: u64,
}

pub(super) fn random(seed: &mut u64) -> u64 {
    *seed = seed
        .wrapping_mul(0x5851_f42d_4c95_7f2d)
        .wrapping_add(0x1405_7b7e_f767_814f);
    (*seed ^ (*seed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

pub(super) fn steps(mut seed: u64, count: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    for seq in (10..).step_by(3).take(usize::try_from(count).unwrap()) {
        // The rows of the last steps are known from nothing but the rows.
        let is_last = steps.len() as u64 + 8 > count;
        steps.push(match random(&mut seed) % 16 {
            _ if is_last => Step::Group(vec![change(&mut seed, seq)]),
            0 => Step::All(seq - 8),
            1 => Step::Forget(seq.saturating_sub(25)),
            2 | 3 => Step::Restart,
            _ => {
                let changes = 1 + random(&mut seed) % 4;
                Step::Group((0..changes).map(|_| change(&mut seed, seq)).collect())
            }
        });
    }
    steps
}

pub(super) fn change(seed: &mut u64, seq: u64) -> Change {
    let resource = random(seed) % RESOURCES;
    match random(seed) % 11 {
        0..4 => Change::Resources(seq, vec![resource]),
        4 => Change::Resources(seq, (100..140).chain([resource]).collect()),
        5 | 6 => {
            let partition = u32::try_from(random(seed) % 3).unwrap();
            let address = EndedAddress {
                resource,
                partition,
            };
            Change::Address(seq, address)
        }
        7 => Change::Sequences(vec![seq - random(seed) % 5, seq - 7]),
        8 => {
            let action = match random(seed) % 2 {
                0 => RuleAction::Remove,
                _ => RuleAction::Expire { at: seq },
            };
            let rule = vec![b'r'; usize::try_from(random(seed) % 700).unwrap()];
            Change::Rule(seq, action, rule)
        }
        9 => Change::Note(seq.to_le_bytes().to_vec()),
        _ => Change::Checkpoint(seq.to_le_bytes()),
    }
}

pub(super) fn open(
    files: &Arc<FaultyFiles>,
    marks: &[LogMark],
) -> std::io::Result<(EndedLog, EndedBefore)> {
    let (mut log, before) = EndedLog::open(files.clone(), &SECRET, marks)?;
    log.rewrite_beyond(6000);
    Ok((log, before))
}

/// Takes the steps as the engine does: what could not be written is tried again, and on a full disk everything is ended.
/// Gives up after `retries` failures in a row.
pub(super) fn run(files: &Arc<FaultyFiles>, steps: &[Step], retries: u32) -> (Known, Vec<LogMark>) {
    let mut known = Known::default();
    let mut marks = Vec::new();
    let _ = try_run(files, steps, retries, &mut known, &mut marks);
    (known, marks)
}

pub(super) fn try_run(
    files: &Arc<FaultyFiles>,
    steps: &[Step],
    retries: u32,
    known: &mut Known,
    marks: &mut Vec<LogMark>,
) -> Result<(), AppendError> {
    let reopen = |marks: &[LogMark]| {
        (0..retries)
            .find_map(|_| open(files, marks).ok())
            .map_or_else(|| open(files, marks), Ok)
    };
    let (mut log, before) = reopen(marks)?;
    let (mut id, mut run) = (log.id(), before.run);
    for step in steps {
        match step {
            Step::Forget(oldest) => {
                known.oldest = *oldest;
                log.forget(*oldest);
            }
            Step::Restart => {
                let _ = log.close();
                let (reopened, before) = reopen(marks)?;
                assert!(before.run > run || before.was_lost);
                check(known, &before, id == reopened.id());
                if id != reopened.id() {
                    *known = Known::default();
                }
                (id, run) = (reopened.id(), before.run);
                log = reopened;
            }
            Step::All(seq) => {
                known.tried_all = known.tried_all.max(*seq);
                retry(retries, || log.append_all(*seq))?;
                known.answered_all = known.answered_all.max(*seq);
            }
            Step::Group(changes) => {
                let rows: Vec<_> = changes.iter().map(Change::row).collect();
                known.tried.extend_from_slice(changes);
                known.seq = changes.iter().map(last_seq).fold(known.seq, u64::max);
                match retry(retries, || log.append(&rows)) {
                    Ok(_) => known.answered.extend_from_slice(changes),
                    Err(AppendError::NoSpace) => {
                        known.tried_all = known.tried_all.max(known.seq);
                        retry(retries, || log.append_all(known.seq))?;
                        known.answered_all = known.answered_all.max(known.seq);
                    }
                    Err(error) => return Err(error),
                }
                marks.push(log.mark());
            }
        }
    }
    Ok(())
}

pub(super) fn last_seq(change: &Change) -> u64 {
    match change {
        Change::Resources(seq, _) | Change::Address(seq, _) | Change::Rule(seq, _, _) => *seq,
        Change::Sequences(sequences) => sequences.iter().copied().max().unwrap(),
        Change::Note(_) | Change::Checkpoint(_) => 0,
    }
}

pub(super) fn retry<T>(
    retries: u32,
    mut write: impl FnMut() -> Result<T, AppendError>,
) -> Result<T, AppendError> {
    for _ in 0..retries {
        match write() {
            Err(AppendError::Io(_)) => {}
            written => return written,
        }
    }
    write()
}

/// Nothing that was answered as ended is served again, and nothing else has ended.
pub(super) fn check(known: &Known, before: &EndedBefore, is_same: bool) {
    if !is_same {
        // The segments have ended as a whole.
        let is_first = known.answered.is_empty() && known.answered_all == 0;
        assert!(before.was_lost || is_first);
        assert_eq!(before.checkpoint, None);
        return;
    }
    assert!(!before.was_lost);
    let all = known.answered_all;
    let checkpoint = before.checkpoint.as_deref();
    let checkpoint = checkpoint.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    // The changes of its group can come after it. Their numbers are at most 4 below its own.
    let before_it = 1..checkpoint.saturating_sub(4);
    let covered = |change: &&Change| before_it.contains(&last_seq(change));
    for change in known
        .answered
        .iter()
        .chain(known.tried.iter().filter(covered))
    {
        check_change(change, known, before, checkpoint);
    }
    assert!(before.set.ends(999, 9, all) || all == 0 || all < known.oldest);
    assert!(before.last_seq >= known.answered.iter().map(last_seq).max().unwrap_or(0));
    for seq in (known.tried_all + 1..known.seq + 3).step_by(5) {
        for (resource, partition) in (0..RESOURCES).flat_map(|r| (0..3).map(move |p| (r, p))) {
            let names = |change: &Change| match change {
                Change::Resources(last, resources) => seq <= *last && resources.contains(&resource),
                Change::Address(last, address) => {
                    seq <= *last && (address.resource, address.partition) == (resource, partition)
                }
                Change::Sequences(sequences) => sequences.contains(&seq),
                _ => false,
            };
            let is_ended = before.set.ends(resource, partition, seq);
            assert!(
                !is_ended || known.tried.iter().any(names),
                "{resource} {seq}"
            );
        }
    }
}

/// A change that was answered, or that a checkpoint covers, is in force.
fn check_change(change: &Change, known: &Known, before: &EndedBefore, checkpoint: u64) {
    if last_seq(change) < known.oldest && !matches!(change, Change::Note(_) | Change::Checkpoint(_))
    {
        return;
    }
    let set = &before.set;
    match change {
        Change::Resources(seq, resources) => {
            let ends = |resource: &u64| set.ends(*resource, 9, *seq);
            assert!(resources.iter().all(ends), "{change:?}");
        }
        Change::Address(seq, address) => {
            assert!(
                set.ends(address.resource, address.partition, *seq),
                "{change:?}"
            );
        }
        Change::Sequences(sequences) => {
            let mut due = sequences.iter().filter(|&&seq| seq >= known.oldest);
            assert!(due.all(|seq| set.ends(999, 9, *seq)), "{change:?}");
        }
        Change::Rule(seq, action, rule) => {
            let is_logged = before.rules.iter().any(|logged| {
                (logged.seq, logged.action, logged.rule.as_ref()) == (*seq, *action, Some(rule))
            });
            assert!(is_logged || *seq <= known.answered_all, "{change:?}");
        }
        Change::Note(note) => assert!(before.notes.contains(note), "{change:?}"),
        Change::Checkpoint(bytes) => {
            assert!(u64::from_le_bytes(*bytes) <= checkpoint, "{change:?}");
        }
    }
}

/// The log's id at the end of what `files` has, if it is there.
pub(super) fn id_of(files: &FaultyFiles) -> Option<[u8; 8]> {
    files.bytes(NAME)?.get(16..24)?.try_into().ok()
}

/// Opens what is left by a process of which `known` was answered.
pub(super) fn check_left(files: &Arc<FaultyFiles>, known: &Known, marks: &[LogMark]) -> bool {
    let id = id_of(files);
    let (log, before) = open(files, marks).unwrap();
    let is_same = id == Some(log.id().to_le_bytes());
    check(known, &before, is_same);
    is_same
}
