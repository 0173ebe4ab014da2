//! The thread that loads the index, and later removes what rules name.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use crate::disk::{
    contents::RemovedRecords,
    ended::{RemovingRule, RuleId},
    ends::Swept,
    loader::load,
    lookup::read_head,
    messages::Message,
    open_segments::OpenSegment,
    readers::ReadContext,
    segment::SegmentRow,
    shared::DiskShared,
};

/// How many resources are named in [`Swept`].
const MAX_RESOURCES: usize = 10_000;
/// How long rules wait for the removal of files until it is looked again.
const LIFT_TIME: Duration = Duration::from_millis(250);

/// Gives work to the thread.
pub(super) struct Sweeper {
    sender: Sender<SweepJob>,
}

enum SweepJob {
    Sweep {
        rule: RuleId,
        answer: Option<oneshot::Sender<Swept>>,
    },
    Close,
}

/// What a rule has removed.
#[derive(Default)]
struct RuleSwept {
    swept: Swept,
    resources: HashSet<Box<[u8]>>,
}

/// A pass over all records.
struct Sweep<'a> {
    shared: &'a DiskShared,
    rules: Vec<RemovingRule>,
    found: HashMap<RuleId, RuleSwept>,
    sequences: Vec<u64>,
}

impl Sweeper {
    /// Starts the thread: it loads the index first, then sweeps for the rules in force. `run` is the number of this run.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(context: ReadContext, run: u32) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let rules = context.shared.rules.load().removing();
        let before = rules.into_iter().map(|rule| rule.id).collect();
        let thread = thread::Builder::new()
            .name("disk-sweeper".to_owned())
            .spawn(move || work(&context, run, before, &receiver))?;
        Ok((Self { sender }, thread))
    }

    /// Removes what a rule names, which is in force.
    pub(super) fn sweep(&self, rule: RuleId, answer: Option<oneshot::Sender<Swept>>) {
        let _ = self.sender.send(SweepJob::Sweep { rule, answer });
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        let _ = self.sender.send(SweepJob::Close);
    }
}

/// `asked` are the rules to sweep for, at first those of the runs before.
fn work(context: &ReadContext, run: u32, mut asked: HashSet<RuleId>, jobs: &Receiver<SweepJob>) {
    load(context, run);
    let mut swept = sweep(context, &mut asked, HashMap::new());
    loop {
        lift(context, &mut swept);
        let first = match swept.is_empty() {
            true => jobs.recv().map_err(RecvTimeoutError::from),
            false => jobs.recv_timeout(LIFT_TIME),
        };
        let first = match first {
            Ok(first) => first,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let mut answers = HashMap::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                SweepJob::Sweep { rule, answer } => {
                    asked.insert(rule);
                    answers.insert(rule, answer);
                }
                SweepJob::Close => return,
            }
        }
        swept = sweep(context, &mut asked, answers);
    }
}

/// Lifts rules whose sweep has ended, if no file of a removed segment is left that they can name: after a restart, it
/// would be read again.
fn lift(context: &ReadContext, swept: &mut Vec<RemovingRule>) {
    let is_left = {
        let contents = context.shared.contents();
        let mut removed = contents.removed_segments.values();
        removed.any(|first| swept.iter().any(|rule| rule.may_name(*first)))
    };
    if !swept.is_empty() && !is_left {
        let rules = swept.drain(..).map(|rule| rule.id).collect();
        let _ = context.writer.send(Message::Swept {
            sequences: Vec::new(),
            rules,
        });
    }
}

/// Removes what the rules in `asked` name that are still in force, and answers. A rule that comes into force meanwhile is left
/// to its own sweep, which counts what it removes. Returns the rules, but none if a segment could not be read: then they stay
/// in force until another sweep.
fn sweep(
    context: &ReadContext,
    asked: &mut HashSet<RuleId>,
    answers: HashMap<RuleId, Option<oneshot::Sender<Swept>>>,
) -> Vec<RemovingRule> {
    let shared = context.shared.as_ref();
    let mut rules = shared.rules.load().removing();
    asked.retain(|id| rules.iter().any(|rule| rule.id == *id));
    rules.retain(|rule| asked.contains(&rule.id));
    let mut sweep = Sweep {
        shared,
        rules,
        found: HashMap::new(),
        sequences: Vec::new(),
    };
    let mut is_whole = true;
    if !sweep.rules.is_empty() {
        for segment in shared.segments.all() {
            if shared.availability.is_closed() {
                return Vec::new();
            }
            match sweep.segment(&segment) {
                Ok(removed) => context.upkeep.remove_large(&removed),
                Err(error) => {
                    log::debug!("cannot read a segment of the store: {error}");
                    is_whole = false;
                }
            }
        }
        let _ = context.writer.send(Message::Swept {
            sequences: std::mem::take(&mut sweep.sequences),
            rules: Vec::new(),
        });
    }
    for (rule, answer) in answers {
        let found = sweep.found.remove(&rule).unwrap_or_default();
        let mut swept = found.swept;
        swept.resources = found.resources.into_iter().collect();
        let _ = answer.map(|answer| answer.send(swept));
    }
    match is_whole {
        true => sweep.rules,
        false => Vec::new(),
    }
}

impl Sweep<'_> {
    /// Removes what the rules name in a segment. Records that newer ones have replaced are named too: they are not to
    /// come back in a later run.
    ///
    /// # Errors
    ///
    /// The segment cannot be read.
    fn segment(&mut self, segment: &Arc<OpenSegment>) -> io::Result<RemovedRecords> {
        if !self.may_name(segment.first_seq) {
            return Ok(RemovedRecords::default());
        }
        let mut rows = segment.rows()?;
        rows.retain(|row| self.may_name(row.seq) && self.is_named(segment, row));
        Ok(self.shared.change(|contents, index| {
            let mut removed = RemovedRecords::default();
            for row in &rows {
                contents.unlist(row.key.address.resource, row.seq);
                if let Some(place) = segment.place(row) {
                    removed.add(contents.remove_at(index, row.key, place));
                }
            }
            removed
        }))
    }

    fn may_name(&self, seq: u64) -> bool {
        self.rules.iter().any(|rule| rule.may_name(seq))
    }

    /// Whether a rule names a record. It is counted then.
    fn is_named(&mut self, segment: &OpenSegment, row: &SegmentRow) -> bool {
        let Some(place) = segment.place(row) else {
            return false;
        };
        let Some(record) = read_head(segment, place) else {
            // It may be read again later.
            self.sequences.push(row.seq);
            return true;
        };
        let at = self.shared.index.get(row.key);
        let is_live = at.is_some_and(|at| at.unused() == place);
        let resource = &record.address.resource;
        let mut is_named = false;
        for rule in &self.rules {
            if !rule.names(resource, &record.head, row.seq) {
                continue;
            }
            is_named = true;
            if is_live {
                let found = self.found.entry(rule.id).or_default();
                found.swept.responses += 1;
                let bytes = row.stored_bytes();
                found.swept.bytes = found.swept.bytes.saturating_add(bytes);
                if found.resources.len() < MAX_RESOURCES {
                    found.resources.insert(resource.clone());
                } else if !found.resources.contains(resource) {
                    found.swept.has_more_resources = true;
                }
            }
        }
        if is_named {
            self.sequences.push(row.seq);
        }
        is_named
    }
}
