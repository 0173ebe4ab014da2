//! The thread that writes: it does all that is asked for in the order in which it was asked.

mod append;
mod batch;
mod ending;
mod room;
mod rows;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use crate::disk::{
    address::KeyHash,
    ended::{EndedAddress, EndedLog},
    large_thread::LargeThread,
    messages::{EndCall, Message},
    open_segments::OpenSegment,
    outages::OutageLog,
    shared::{DiskNumbers, DiskShared},
    sweeper::Sweeper,
    upkeep::{RemovalProgress, Upkeep},
    writer::{
        append::ActiveSegment,
        batch::Batch,
        rows::{PendingRow, PendingRows, PendingWritten},
    },
};

/// How long the thread waits for a message when it has nothing to do.
const IDLE: Duration = Duration::from_secs(60);
/// How many ends are written together at most.
const MAX_GROUP: usize = 256;

/// The thread that writes.
pub(super) struct DiskWriter {
    shared: Arc<DiskShared>,
    log: EndedLog,
    upkeep: Upkeep,
    progress: RemovalProgress,
    sweeper: Sweeper,
    large: LargeThread,
    /// The other threads, which end before the directory is unlocked. That of the upkeep is the last one.
    threads: Vec<JoinHandle<()>>,
    batch: Batch,
    active: Option<ActiveSegment>,
    /// The other segments, the oldest first.
    sealed: VecDeque<Arc<OpenSegment>>,
    next_seq: u64,
    next_id: u32,
    pending: PendingRows,
    /// Which outages are logged.
    outages: OutageLog,
    /// When a failing disk is tried again. `None` if it does not fail.
    retry: Option<Instant>,
    /// Whether the last response could not be stored.
    is_failing: bool,
    /// Messages that came while one of another kind was waited for.
    postponed: VecDeque<Message>,
}

/// What [`DiskWriter::start`] needs.
pub(super) struct WriterParts {
    pub(super) shared: Arc<DiskShared>,
    pub(super) log: EndedLog,
    pub(super) upkeep: Upkeep,
    pub(super) progress: RemovalProgress,
    pub(super) sweeper: Sweeper,
    pub(super) large: LargeThread,
    pub(super) threads: Vec<JoinHandle<()>>,
    /// The segments that are there, the oldest first.
    pub(super) sealed: VecDeque<Arc<OpenSegment>>,
    pub(super) next_seq: u64,
    pub(super) next_id: u32,
}

impl DiskWriter {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(parts: WriterParts, inbox: Receiver<Message>) -> io::Result<()> {
        let writer = Self {
            shared: parts.shared,
            log: parts.log,
            upkeep: parts.upkeep,
            progress: parts.progress,
            sweeper: parts.sweeper,
            large: parts.large,
            threads: parts.threads,
            batch: Batch::default(),
            active: None,
            sealed: parts.sealed,
            next_seq: parts.next_seq,
            next_id: parts.next_id,
            pending: PendingRows::default(),
            outages: OutageLog::default(),
            retry: None,
            is_failing: false,
            postponed: VecDeque::new(),
        };
        thread::Builder::new()
            .name("disk-writer".to_owned())
            .spawn(move || writer.run(inbox))?;
        Ok(())
    }

    fn run(mut self, inbox: Receiver<Message>) {
        let answer = loop {
            match self.next(&inbox) {
                Ok(Message::Close { answer }) => break answer,
                Err(RecvTimeoutError::Disconnected) => break None,
                Ok(message) => self.handle(message, &inbox),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.do_what_is_due();
        };
        // Nobody waits for an answer any longer.
        drop(inbox);
        self.postponed.clear();
        self.close(answer);
    }

    fn next(&mut self, inbox: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        if let Some(message) = self.postponed.pop_front() {
            return Ok(message);
        }
        // Nothing else is written before a failing disk is tried again.
        let written = self.retry.or_else(|| self.pending.due());
        let due = [self.batch.due(), written];
        let wait = due
            .into_iter()
            .flatten()
            .min()
            .map_or(IDLE, |due| due.saturating_duration_since(Instant::now()));
        inbox.recv_timeout(wait)
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.batch.due()) {
            self.flush();
        }
        if is_due(self.retry) {
            self.retry = None;
            if self.write_pending() != PendingWritten::NotWritten {
                // Whether it can store again shows with the next response.
                self.shared.availability.resume();
            }
        } else if is_due(self.pending.due()) && self.retry.is_none() {
            self.write_pending();
        }
    }

    fn handle(&mut self, message: Message, inbox: &Receiver<Message>) {
        match message {
            Message::Put {
                record,
                bytes,
                waiting,
            } => self.put(record, bytes, waiting),
            Message::Superseded(waiting) => {
                DiskNumbers::subtract(&self.shared.numbers.waiting_superseded, 1);
                self.superseded(waiting.key());
            }
            Message::End(call) => {
                let group = self.end_group(call, inbox);
                self.end_all_of(group, inbox);
            }
            Message::Checkpoint(bytes) => {
                let due = Instant::now() + self.shared.timing.checkpoint;
                self.pending.set_checkpoint(bytes, due);
            }
            Message::MakeRoom { bytes, answer } => {
                let has_room = self.make_room(bytes).is_ok();
                if has_room {
                    DiskNumbers::add(&self.shared.numbers.granted_bytes, bytes);
                }
                let _ = answer.send(has_room);
            }
            Message::Release(number) => self.release_file(number),
            Message::BodyGone(number) => {
                let forgotten = self.shared.contents().forget_file(number);
                if let Some(file) = forgotten {
                    self.upkeep.remove_body(file);
                }
            }
            Message::Loaded => self.forget_old(),
            Message::Swept { sequences, rules } => self.swept(sequences, rules),
            // Answered by the caller.
            Message::Close { .. } => {}
        }
    }

    /// The calls that wait, from the first one to a message of another kind. They are written together.
    fn end_group(&mut self, first: EndCall, inbox: &Receiver<Message>) -> Vec<EndCall> {
        let mut group = vec![first];
        while group.len() < MAX_GROUP {
            let next = self.postponed.pop_front().or_else(|| inbox.try_recv().ok());
            match next {
                Some(Message::End(call)) => group.push(call),
                Some(other) => {
                    self.postponed.push_front(other);
                    break;
                }
                None => break,
            }
        }
        group
    }

    /// A response of this key was dropped.
    fn superseded(&mut self, key: KeyHash) {
        self.batch_remove(|waiting| waiting == key);
        self.supersede(key);
        if self.shared.is_track_lost.swap(false, Ordering::SeqCst) {
            self.end_everything();
        }
    }

    /// Removes the response of a key, because a newer one is not stored. It does not come back after a restart.
    fn supersede(&mut self, key: KeyHash) {
        let is_loading = self.shared.is_loading();
        if !is_loading && self.shared.index.get(key).is_none() {
            return;
        }
        let seq = self.newest_seq();
        let address = EndedAddress {
            resource: key.address.resource,
            partition: key.address.partition,
        };
        let removed = self.shared.change(|contents, index| {
            if let Some(ended) = &mut contents.ended {
                ended.end_addresses(seq, &[address]);
            }
            contents.remove_key(index, key)
        });
        self.upkeep.remove_large(&removed);
        let due = Instant::now() + self.shared.timing.flush;
        let row = PendingRow::Addresses {
            seq,
            addresses: vec![address],
        };
        self.pending.push(row, due, seq);
    }

    /// Removes the file of a body if no record names it.
    fn release_file(&mut self, number: u64) {
        let forgotten = self.shared.contents().forget_unnamed_file(number);
        if let Some(file) = forgotten {
            self.upkeep.remove_body(file);
        }
    }

    fn batch_remove(&mut self, chosen: impl Fn(KeyHash) -> bool) -> u64 {
        let (responses, bytes) = self.batch.remove(chosen);
        self.let_go(bytes);
        responses
    }

    /// The number of the newest record.
    fn newest_seq(&self) -> u64 {
        self.next_seq.saturating_sub(1)
    }

    fn may_store(&self) -> bool {
        self.shared.availability.may_store()
    }

    /// Stores nothing for some time.
    fn pause(&mut self, reason: String) {
        self.retry = Some(Instant::now() + self.shared.timing.retry);
        if !std::mem::replace(&mut self.is_failing, true) && self.outages.begins(Instant::now()) {
            log::warn!("nothing is stored on disk at present: {reason}");
        }
        self.shared.availability.pause(reason);
    }

    /// Something was stored.
    fn resume(&mut self) {
        if std::mem::replace(&mut self.is_failing, false) {
            self.shared.availability.resume();
            if self.outages.ends() {
                log::info!("responses are stored on disk again");
            }
        }
    }

    fn close(mut self, answer: Option<oneshot::Sender<()>>) {
        self.flush();
        self.write_pending();
        self.seal();
        let kept = self.shared.keep_directory();
        if let Err(error) = kept.and_then(|()| self.log.close()) {
            log::debug!("cannot close the log of the store: {error}");
        }
        self.shared.availability.close();
        self.sweeper.close();
        self.large.close();
        let upkeep = self.threads.pop();
        for thread in std::mem::take(&mut self.threads) {
            let _ = thread.join();
        }
        // The others give it work.
        self.upkeep.close();
        let _ = upkeep.map(JoinHandle::join);
        self.shared.unlock();
        if let Some(answer) = answer {
            let _ = answer.send(());
        }
    }
}
