//! The thread that loads the index, and later removes what rules name.

use std::{
    collections::{HashMap, HashSet},
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
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
    /// Starts the thread: it loads the index first. `run` is the number of this run.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(context: ReadContext, run: u32) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new()
            .name("disk-sweeper".to_owned())
            .spawn(move || work(&context, run, &receiver))?;
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

fn work(context: &ReadContext, run: u32, jobs: &Receiver<SweepJob>) {
    load(context, run);
    // Rules of the runs before.
    sweep(context, HashMap::new());
    while let Ok(first) = jobs.recv() {
        let mut answers = HashMap::new();
        for job in std::iter::once(first).chain(jobs.try_iter()) {
            match job {
                SweepJob::Sweep { rule, answer } => _ = answers.insert(rule, answer),
                SweepJob::Close => return,
            }
        }
        sweep(context, answers);
    }
}

/// Removes what the rules in force name, and answers.
fn sweep(context: &ReadContext, answers: HashMap<RuleId, Option<oneshot::Sender<Swept>>>) {
    let shared = context.shared.as_ref();
    let mut sweep = Sweep {
        shared,
        rules: shared.rules.load().removing(),
        found: HashMap::new(),
        sequences: Vec::new(),
    };
    if !sweep.rules.is_empty() {
        for segment in shared.segments.all() {
            if shared.availability.is_closed() {
                return;
            }
            let removed = sweep.segment(&segment);
            context.upkeep.remove_large(&removed);
        }
        let rules = sweep.rules.iter().map(|rule| rule.id).collect();
        let _ = context.writer.send(Message::Swept {
            sequences: std::mem::take(&mut sweep.sequences),
            rules,
        });
    }
    for (rule, answer) in answers {
        let found = sweep.found.remove(&rule).unwrap_or_default();
        let mut swept = found.swept;
        swept.resources = found.resources.into_iter().collect();
        let _ = answer.map(|answer| answer.send(swept));
    }
}

impl Sweep<'_> {
    /// Removes what the rules name in a segment. Records that newer ones have replaced are named too: they are not to
    /// come back in a later run.
    fn segment(&mut self, segment: &Arc<OpenSegment>) -> RemovedRecords {
        if !self.may_name(segment.first_seq) {
            return RemovedRecords::default();
        }
        let mut rows = segment.rows().unwrap_or_else(|error| {
            log::debug!("cannot read a segment of the store: {error}");
            Vec::new()
        });
        rows.retain(|row| self.may_name(row.seq) && self.is_named(segment, row));
        self.shared.change(|contents, index| {
            let mut removed = RemovedRecords::default();
            for row in &rows {
                contents.unlist(row.key.address.resource, row.seq);
                if let Some(place) = segment.place(row) {
                    removed.add(contents.remove_at(index, row.key, place));
                }
            }
            removed
        })
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
            // It cannot be read, and so is not served either.
            return false;
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
                }
            }
        }
        if is_named {
            self.sequences.push(row.seq);
        }
        is_named
    }
}
