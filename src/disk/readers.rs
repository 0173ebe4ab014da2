//! The threads that read.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::disk::{
    address::Address,
    large::LargeFiles,
    large_file::{BlockError, OpenLargeFile},
    lookup::look_up,
    messages::Message,
    results::{ScanCursor, ScanPage, ScannedRecord, StoredRecord},
    scan::{records_of, scan},
    segment::LargeName,
    shared::{DiskNumbers, DiskShared},
    unavailable::DiskUnavailable,
    upkeep::Upkeep,
};

const READERS: usize = 4;
/// How many jobs wait for one reader.
const WAITING_JOBS: usize = 256;
/// How many lookups wait until the index is loaded.
const WAITING_FOR_LOAD: usize = 4096;

pub(super) type Answer<T> = oneshot::Sender<Result<T, DiskUnavailable>>;

/// What a reader does.
pub(super) enum ReadJob {
    Get {
        addresses: Vec<Address>,
        /// Whether it waits for the index even if something is found.
        is_whole: bool,
        files: Arc<dyn LargeFiles>,
        answer: Answer<Vec<StoredRecord>>,
    },
    Scan {
        from: ScanCursor,
        limit: usize,
        answer: Answer<ScanPage>,
    },
    RecordsOf {
        resource: Box<[u8]>,
        answer: Answer<Vec<ScannedRecord>>,
    },
    Open {
        name: LargeName,
        answer: Answer<OpenLargeFile>,
    },
    Read {
        file: Arc<OpenLargeFile>,
        offset: u64,
        answer: Answer<Bytes>,
    },
}

/// Gives jobs to the readers.
pub(super) struct Readers {
    senders: Vec<SyncSender<ReadJob>>,
    next: AtomicUsize,
}

/// Lookups that wait until the index is loaded. `None` when it is.
pub(super) struct WaitingForLoad(Mutex<Option<Vec<ReadJob>>>);

/// What a reader needs.
#[derive(Clone)]
pub(super) struct ReadContext {
    pub(super) shared: Arc<DiskShared>,
    pub(super) waiting: Arc<WaitingForLoad>,
    pub(super) upkeep: Upkeep,
    pub(super) writer: Sender<Message>,
}

impl Readers {
    /// Starts the threads. They end when this is dropped.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(context: &ReadContext) -> io::Result<Self> {
        let mut senders = Vec::new();
        for _ in 0..READERS {
            let (sender, receiver) = sync_channel(WAITING_JOBS);
            let context = context.clone();
            thread::Builder::new()
                .name("disk-reader".to_owned())
                .spawn(move || run(&context, &receiver))?;
            senders.push(sender);
        }
        Ok(Self {
            senders,
            next: AtomicUsize::new(0),
        })
    }

    /// Gives a job to a reader. It is dropped, and with it its answer, if all have too much to do.
    pub(super) fn give(&self, mut job: ReadJob) {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for number in 0..self.senders.len() {
            let at = first.wrapping_add(number) % self.senders.len();
            match self.senders[at].try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => job = back,
            }
        }
    }
}

impl WaitingForLoad {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Lets a job wait. Gives it back if the index is loaded.
    fn wait(&self, job: ReadJob) -> Option<ReadJob> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(waiting) => {
                if waiting.len() < WAITING_FOR_LOAD {
                    waiting.push(job);
                }
                None
            }
            None => Some(job),
        }
    }

    /// The index is loaded: no job waits any longer. Returns those that have waited.
    pub(super) fn end(&self) -> Vec<ReadJob> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.take().unwrap_or_default()
    }
}

fn run(context: &ReadContext, jobs: &Receiver<ReadJob>) {
    for job in jobs {
        do_job(context, job);
    }
}

/// Does a job, or lets it wait until the index is loaded.
pub(super) fn do_job(context: &ReadContext, job: ReadJob) {
    let shared = &context.shared;
    let is_allowed = match job {
        // What was opened is read to its end.
        ReadJob::Read { .. } => true,
        ReadJob::Open { .. } => shared.availability.may_open(),
        _ => shared.availability.may_read(),
    };
    if !is_allowed {
        return refuse(job);
    }
    match job {
        ReadJob::Get {
            addresses,
            is_whole,
            files,
            answer,
        } => get(context, (addresses, is_whole), files, answer),
        job @ (ReadJob::Scan { .. } | ReadJob::RecordsOf { .. }) if shared.is_loading() => {
            if let Some(job) = context.waiting.wait(job) {
                do_job(context, job);
            }
        }
        ReadJob::Scan {
            from,
            limit,
            answer,
        } if !answer.is_closed() => {
            let _ = answer.send(scan(shared, from, limit));
        }
        ReadJob::RecordsOf { resource, answer } if !answer.is_closed() => {
            let _ = answer.send(records_of(shared, &resource));
        }
        // Nobody waits for it any more.
        ReadJob::Scan { .. } | ReadJob::RecordsOf { .. } => {}
        ReadJob::Open { name, answer } => {
            let _ = answer.send(open_large(context, name));
        }
        ReadJob::Read {
            file,
            offset,
            answer,
        } => {
            let _ = answer.send(read_large(context, &file, offset));
        }
    }
}

fn refuse(job: ReadJob) {
    match job {
        ReadJob::Get { answer, .. } => _ = answer.send(Err(DiskUnavailable::Bypassed)),
        ReadJob::Scan { answer, .. } => _ = answer.send(Err(DiskUnavailable::Bypassed)),
        ReadJob::RecordsOf { answer, .. } => _ = answer.send(Err(DiskUnavailable::Bypassed)),
        ReadJob::Open { answer, .. } => _ = answer.send(Err(DiskUnavailable::Bypassed)),
        ReadJob::Read { answer, .. } => _ = answer.send(Err(DiskUnavailable::Bypassed)),
    }
}

fn get(
    context: &ReadContext,
    (addresses, is_whole): (Vec<Address>, bool),
    files: Arc<dyn LargeFiles>,
    answer: Answer<Vec<StoredRecord>>,
) {
    if answer.is_closed() {
        return;
    }
    // Asked before the look: what is found while the index is loaded is true, what is not found is not.
    let is_loading = context.shared.is_loading();
    let found = look_up(&context.shared, &files, &addresses);
    context.upkeep.remove_large(&found.removed);
    let is_enough = !is_whole && !found.records.is_empty();
    if is_enough || !is_loading {
        context.shared.numbers.looked_up(&found.records);
        let _ = answer.send(Ok(found.records));
        return;
    }
    let job = ReadJob::Get {
        addresses,
        is_whole,
        files,
        answer,
    };
    if let Some(job) = context.waiting.wait(job) {
        do_job(context, job);
    }
}

fn open_large(context: &ReadContext, name: LargeName) -> Result<OpenLargeFile, DiskUnavailable> {
    let files = context.shared.files.as_ref();
    match OpenLargeFile::open(files, name) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(corrupt(context, name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let _ = context.writer.send(Message::BodyGone(name.number));
            Err(DiskUnavailable::Gone)
        }
        Err(error) => Err(unreadable(&error)),
    }
}

fn read_large(
    context: &ReadContext,
    file: &OpenLargeFile,
    offset: u64,
) -> Result<Bytes, DiskUnavailable> {
    file.read(offset).map_err(|error| match error {
        BlockError::Corrupt => corrupt(context, file.name),
        BlockError::Io(error) => unreadable(&error),
    })
}

fn corrupt(context: &ReadContext, name: LargeName) -> DiskUnavailable {
    DiskNumbers::add(&context.shared.numbers.corrupt, 1);
    let _ = context.writer.send(Message::BodyGone(name.number));
    DiskUnavailable::Corrupt
}

fn unreadable(error: &io::Error) -> DiskUnavailable {
    log::debug!("cannot read a large body of the store: {error}");
    DiskUnavailable::Corrupt
}
