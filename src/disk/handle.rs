//! The threads of the disk, as handlers reach them: by messages alone.

use std::{
    future::Future,
    sync::{Arc, atomic::Ordering, mpsc::Sender},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, ready};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::disk::{
    address::Address,
    availability::EndState,
    ends::{End, Ended, Ending, NotDurable},
    large::{LargeBody, LargeFiles, LargeFuture, LargeWrite, LargeWriter},
    large_file::OpenLargeFile,
    large_thread::{LargeJob, LargeThread},
    lookup::look_up_in_memory,
    messages::{EndCall, Message},
    readers::{Answer, ReadJob, Readers},
    record::Record,
    results::{ScanCursor, ScanPage, ScannedRecord, StoredRecord},
    segment::LargeName,
    shared::{DiskNumbers, DiskShared},
    unavailable::DiskUnavailable,
    waiting_keys::WaitingKey,
};

/// The memory of responses that wait to be written. One alone may be longer.
const MAX_WAITING_BYTES: u64 = 64 * 1024 * 1024;
/// The memory of ends that wait. More become an end of everything.
const MAX_WAITING_END_BYTES: u64 = 64 * 1024 * 1024;
/// How many dropped responses are noted at a time.
const MAX_SUPERSEDED: u64 = 1 << 18;
/// The memory of a message.
const MESSAGE_BYTES: u64 = 200;
/// How long a page of a scan may take, also while the index is loaded.
const SCAN_TIME: Duration = Duration::from_secs(10);
/// How long reading or writing a part of a large body may take.
const LARGE_TIME: Duration = Duration::from_secs(10);

/// The threads of the disk. When this is dropped, they write what waits and end.
pub(super) struct DiskHandle {
    pub(super) shared: Arc<DiskShared>,
    pub(super) writer: Sender<Message>,
    pub(super) readers: Readers,
    pub(super) large: LargeThread,
}

impl Drop for DiskHandle {
    fn drop(&mut self) {
        let _ = self.writer.send(Message::Close { answer: None });
    }
}

impl DiskHandle {
    pub(super) fn may_have(&self, address: &Address) -> bool {
        let shared = &self.shared;
        shared.availability.may_read()
            && (shared.is_loading() || shared.index.has(shared.hasher.address(address)))
    }

    pub(super) fn may_have_resource(&self, resource: &[u8]) -> bool {
        let shared = &self.shared;
        let has = || {
            !shared
                .index
                .find_resource(shared.hasher.resource(resource))
                .is_empty()
        };
        shared.availability.may_read() && (shared.is_loading() || has())
    }

    /// Asks a reader. The answer comes within a time.
    fn ask<T: Send + 'static>(
        &self,
        time: Duration,
        job: impl FnOnce(Answer<T>) -> ReadJob,
    ) -> impl Future<Output = Result<T, DiskUnavailable>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        self.readers.give(job(answer));
        let shared = self.shared.clone();
        async move {
            let result = within(time, answered).await;
            if matches!(result, Err(DiskUnavailable::Late | DiskUnavailable::Busy)) {
                DiskNumbers::add(&shared.numbers.late, 1);
            }
            result
        }
    }

    pub(super) fn get(
        self: &Arc<Self>,
        addresses: Vec<Address>,
        is_whole: bool,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, DiskUnavailable>> + Send + 'static {
        if let Some(found) = self.get_at_once(&addresses) {
            return Either::Left(ready(Ok(found)));
        }
        let files = self.large_files();
        let time = self.shared.timing.lookup(self.shared.is_loading());
        Either::Right(self.ask(time, move |answer| ReadJob::Get {
            addresses,
            is_whole,
            files,
            answer,
        }))
    }

    /// What is at the addresses, if that needs no thread of the disk.
    fn get_at_once(&self, addresses: &[Address]) -> Option<Vec<StoredRecord>> {
        let shared = &self.shared;
        if shared.is_loading() || !shared.availability.may_read() {
            return None;
        }
        let found = look_up_in_memory(shared, addresses)?;
        shared.numbers.looked_up(&found);
        Some(found)
    }

    pub(super) fn scan(
        &self,
        from: ScanCursor,
        limit: usize,
    ) -> impl Future<Output = Result<ScanPage, DiskUnavailable>> + Send + 'static {
        self.ask(SCAN_TIME, move |answer| ReadJob::Scan {
            from,
            limit,
            answer,
        })
    }

    pub(super) fn records_of(
        &self,
        resource: Box<[u8]>,
    ) -> impl Future<Output = Result<Vec<ScannedRecord>, DiskUnavailable>> + Send + 'static {
        self.ask(SCAN_TIME, |answer| ReadJob::RecordsOf { resource, answer })
    }

    pub(super) fn put(&self, record: Arc<dyn Record>) {
        let numbers = &self.shared.numbers;
        let bytes = record.memory_bytes().saturating_add(MESSAGE_BYTES);
        let waiting = numbers.waiting_bytes.load(Ordering::Relaxed);
        let has_room = waiting == 0 || waiting.saturating_add(bytes) <= MAX_WAITING_BYTES;
        if !has_room || !self.shared.availability.may_store() {
            return self.drop_record(record.as_ref());
        }
        DiskNumbers::add(&numbers.waiting_bytes, bytes);
        let waiting = self.waiting(record.as_ref());
        let put = Message::Put {
            record,
            bytes,
            waiting,
        };
        let _ = self.writer.send(put);
    }

    /// A response is not stored. The one that it would have replaced is not the newest any more.
    fn drop_record(&self, record: &dyn Record) {
        let numbers = &self.shared.numbers;
        DiskNumbers::add(&numbers.dropped, 1);
        if self.shared.availability.is_closed() {
            return;
        }
        if numbers.waiting_superseded.fetch_add(1, Ordering::Relaxed) >= MAX_SUPERSEDED {
            DiskNumbers::subtract(&numbers.waiting_superseded, 1);
            self.shared.is_track_lost.store(true, Ordering::SeqCst);
            return;
        }
        let waiting = self.waiting(record);
        let _ = self.writer.send(Message::Superseded(waiting));
    }

    /// Notes that `record` is the newest of its key, and is not in the index yet.
    fn waiting(&self, record: &dyn Record) -> WaitingKey {
        let shared = &self.shared;
        let key = shared.hasher.key(&record.address(), &record.variant());
        shared.waiting_keys.add(key)
    }

    pub(super) fn end(&self, mut ends: Vec<End>) -> Ending {
        let numbers = &self.shared.numbers;
        let bytes = ends.iter().map(End::memory_bytes).sum::<u64>() + MESSAGE_BYTES;
        let waiting = numbers
            .waiting_end_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        if waiting.saturating_add(bytes) > MAX_WAITING_END_BYTES && waiting > 0 {
            ends = vec![End::All];
        }
        let (durable, is_durable) = oneshot::channel();
        let (swept, is_swept) = oneshot::channel();
        let state = Arc::new(EndState::default());
        let call = EndCall {
            ends,
            bytes,
            state: state.clone(),
            durable,
            swept,
        };
        // Without a writer the answer is dropped with the message, and nothing is served any longer.
        if self.writer.send(Message::End(call)).is_err() {
            self.shared.availability.close();
        }
        let deadline = Instant::now() + self.shared.timing.end;
        Ending {
            durable: Box::pin(written_until(
                deadline,
                self.shared.clone(),
                state,
                is_durable,
            )),
            swept: Box::pin(async move { is_swept.await.unwrap_or_default() }),
        }
    }

    pub(super) fn checkpoint(&self, bytes: Vec<u8>) {
        let _ = self.writer.send(Message::Checkpoint(bytes));
    }

    pub(super) fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let message = Message::Close {
            answer: Some(answer),
        };
        let _ = self.writer.send(message);
        async move {
            let _ = answered.await;
        }
    }

    pub(super) fn large_writer(self: &Arc<Self>, length: Option<u64>) -> Option<LargeWriter> {
        let shared = &self.shared;
        if !shared.availability.may_store() {
            DiskNumbers::add(&shared.numbers.dropped, 1);
            return None;
        }
        Some(LargeWriter::new(
            shared.take_file_number(),
            shared.limits.max_object_bytes,
            shared.arriving.reserve(length)?,
            self.large_files(),
        ))
    }

    fn large_files(self: &Arc<Self>) -> Arc<dyn LargeFiles> {
        Arc::new(LargeHandle(self.clone()))
    }

    fn ask_large<T: Send + 'static>(
        &self,
        job: impl FnOnce(Answer<T>) -> LargeJob,
    ) -> LargeFuture<T> {
        let (answer, answered) = oneshot::channel();
        self.large.give(job(answer));
        Box::pin(within(LARGE_TIME, answered))
    }
}

/// The handle, for bodies in files of their own.
struct LargeHandle(Arc<DiskHandle>);

impl LargeFiles for LargeHandle {
    fn open(&self, name: LargeName) -> LargeFuture<OpenLargeFile> {
        let opened = self
            .0
            .ask(LARGE_TIME, |answer| ReadJob::Open { name, answer });
        Box::pin(opened)
    }

    fn read(&self, file: Arc<OpenLargeFile>, offset: u64) -> LargeFuture<Bytes> {
        Box::pin(self.0.ask(LARGE_TIME, |answer| ReadJob::Read {
            file,
            offset,
            answer,
        }))
    }

    fn write(&self, write: LargeWrite) -> LargeFuture<OpenLargeFile> {
        self.0.ask_large(|answer| LargeJob::Write(write, answer))
    }

    fn finish(&self, number: u64) -> LargeFuture<LargeBody> {
        let files = self.0.large_files();
        self.0.ask_large(|answer| LargeJob::Finish {
            number,
            files,
            answer,
        })
    }

    fn abandon(&self, number: u64) {
        self.0.large.give(LargeJob::Abandon(number));
    }

    fn release(&self, number: u64) {
        let _ = self.0.writer.send(Message::Release(number));
    }
}

/// The answer, if it comes within a time.
async fn within<T>(
    time: Duration,
    answered: oneshot::Receiver<Result<T, DiskUnavailable>>,
) -> Result<T, DiskUnavailable> {
    match timeout(time, answered).await {
        Ok(Ok(result)) => result,
        // The job was dropped.
        Ok(Err(_)) => Err(DiskUnavailable::Busy),
        Err(_) => Err(DiskUnavailable::Late),
    }
}

/// Waits until an end is written, and gives up at a time. Then nothing is served until it is.
async fn written_until(
    deadline: Instant,
    shared: Arc<DiskShared>,
    state: Arc<EndState>,
    mut written: oneshot::Receiver<Result<Ended, NotDurable>>,
) -> Result<Ended, NotDurable> {
    let is_late = match timeout_at(deadline, &mut written).await {
        Ok(Ok(result)) => return result,
        Ok(Err(_)) => false,
        Err(_) => true,
    };
    if is_late && shared.availability.give_up(&state) {
        return Err(NotDurable);
    }
    if is_late && let Ok(result) = written.await {
        return result;
    }
    // The writer has ended, and nothing is served any longer.
    shared.availability.close();
    Err(NotDurable)
}
