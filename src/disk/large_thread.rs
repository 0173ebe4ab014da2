//! The thread that writes bodies while they arrive.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
};

use crate::disk::{
    large::{LargeBody, LargeFiles, LargeWrite},
    large_file::{LargeFileWriter, OpenLargeFile, large_file_bytes},
    messages::Message,
    readers::Answer,
    segment::LargeName,
    shared::{DiskNumbers, DiskShared},
    unavailable::DiskUnavailable,
};

/// Room is asked for in pieces of this length.
const ROOM_BYTES: u64 = 4 * 1024 * 1024;

/// Gives work to the thread.
#[derive(Clone)]
pub(super) struct LargeThread {
    sender: Sender<LargeJob>,
}

/// What the thread does.
pub(super) enum LargeJob {
    /// Writes, and answers with the body so far.
    Write(LargeWrite, Answer<OpenLargeFile>),
    Finish {
        number: u64,
        files: Arc<dyn LargeFiles>,
        answer: Answer<LargeBody>,
    },
    Abandon(u64),
    Close,
}

/// A body that is written.
struct Arriving {
    /// `None` if it could not be written.
    writer: Option<LargeFileWriter>,
    /// The bytes of its file that are counted.
    counted: u64,
    /// The bytes that room was asked for.
    asked: u64,
    /// Of those, the bytes that are not given to the file yet.
    room: u64,
    /// Of those, the bytes that are counted as granted: they are not in `counted`.
    granted: u64,
}

impl LargeThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(
        shared: Arc<DiskShared>,
        writer: Sender<Message>,
    ) -> io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new()
            .name("disk-large".to_owned())
            .spawn(move || run(&shared, &writer, &receiver))?;
        Ok((Self { sender }, thread))
    }

    /// Gives it a job. Its answer is dropped if the thread has ended.
    pub(super) fn give(&self, job: LargeJob) {
        let _ = self.sender.send(job);
    }

    /// Ends the thread. Bodies that are not finished are removed.
    pub(super) fn close(&self) {
        self.give(LargeJob::Close);
    }
}

fn run(shared: &DiskShared, writer: &Sender<Message>, jobs: &Receiver<LargeJob>) {
    let mut arriving: HashMap<u64, Arriving> = HashMap::new();
    for job in jobs {
        match job {
            LargeJob::Write(write, answer) => {
                let body = arriving.entry(write.number);
                let body = body.or_insert_with(|| Arriving::begin(shared, write.number));
                let _ = answer.send(body.write(shared, writer, &write));
            }
            LargeJob::Finish {
                number,
                files,
                answer,
            } => {
                let body = arriving.remove(&number);
                let body = body.unwrap_or_else(|| Arriving::begin(shared, number));
                let finished = body.finish(shared);
                let finished = finished.map(|name| LargeBody::unnamed(name, files));
                // Dropped with the answer, the body is removed.
                let _ = answer.send(finished);
            }
            LargeJob::Abandon(number) => {
                if let Some(body) = arriving.remove(&number) {
                    body.remove(shared);
                }
            }
            LargeJob::Close => break,
        }
    }
    for (_, body) in arriving {
        body.remove(shared);
    }
}

impl Arriving {
    fn begin(shared: &DiskShared, number: u64) -> Self {
        let mut body = Self {
            writer: None,
            counted: 0,
            asked: 0,
            room: 0,
            granted: 0,
        };
        if shared.availability.may_store() {
            let kept = shared.keep_directory();
            let writer = kept.and_then(|()| LargeFileWriter::create(&shared.files, number));
            body.writer = writer.map_err(|error| not_written(&error)).ok();
        }
        body
    }

    fn write(
        &mut self,
        shared: &DiskShared,
        thread: &Sender<Message>,
        LargeWrite {
            bytes, reserved, ..
        }: &LargeWrite,
    ) -> Result<OpenLargeFile, DiskUnavailable> {
        if !self.has_room(bytes.len() as u64, *reserved, thread) {
            self.fail(shared);
        }
        let writer = self.writer.as_mut().ok_or(DiskUnavailable::NotWritten)?;
        let result = writer.write(bytes).map(|()| writer.so_far());
        self.count(shared);
        result.map_err(|error| {
            not_written(&error);
            self.fail(shared);
            DiskUnavailable::NotWritten
        })
    }

    fn finish(mut self, shared: &DiskShared) -> Result<LargeName, DiskUnavailable> {
        let writer = self.writer.take().ok_or(DiskUnavailable::NotWritten)?;
        match writer.finish() {
            Ok(name) => {
                let bytes = large_file_bytes(name.body_len);
                let numbers = &shared.numbers;
                DiskNumbers::add(&numbers.bytes, bytes.saturating_sub(self.counted));
                DiskNumbers::add(&numbers.written_bytes, bytes.saturating_sub(self.counted));
                self.give_back(shared, u64::MAX);
                shared.contents().add_file(name);
                Ok(name)
            }
            Err(error) => {
                not_written(&error);
                DiskNumbers::subtract(&shared.numbers.bytes, self.counted);
                self.give_back(shared, u64::MAX);
                Err(DiskUnavailable::NotWritten)
            }
        }
    }

    /// Asks the writer for room where there is none left. The file may take `reserved` bytes so far.
    fn has_room(&mut self, bytes: u64, reserved: u64, thread: &Sender<Message>) -> bool {
        if self.room >= bytes {
            self.room -= bytes;
            return true;
        }
        let left = reserved.saturating_sub(self.asked);
        let wanted = left.min(ROOM_BYTES).max(bytes);
        let (answer, answered) = sync_channel(1);
        let asked = thread.send(Message::MakeRoom {
            bytes: wanted,
            answer,
        });
        if asked.is_err() || answered.recv() != Ok(true) {
            return false;
        }
        self.asked += wanted;
        self.granted += wanted;
        self.room = wanted - bytes;
        true
    }

    /// Counts what was written since the last time.
    fn count(&mut self, shared: &DiskShared) {
        if let Some(writer) = &self.writer {
            let written = writer.file_bytes();
            let added = written.saturating_sub(self.counted);
            DiskNumbers::add(&shared.numbers.bytes, added);
            DiskNumbers::add(&shared.numbers.written_bytes, added);
            self.counted = written;
            self.give_back(shared, added);
        }
    }

    /// So many bytes, or all, do not count as granted any longer.
    fn give_back(&mut self, shared: &DiskShared, bytes: u64) {
        let bytes = bytes.min(self.granted);
        self.granted -= bytes;
        DiskNumbers::subtract(&shared.numbers.granted_bytes, bytes);
    }

    /// Removes the file. Later writes fail.
    fn fail(&mut self, shared: &DiskShared) {
        if let Some(writer) = self.writer.take() {
            writer.remove();
        }
        DiskNumbers::subtract(&shared.numbers.bytes, self.counted);
        self.counted = 0;
        self.give_back(shared, u64::MAX);
    }

    fn remove(mut self, shared: &DiskShared) {
        self.fail(shared);
    }
}

fn not_written(error: &io::Error) {
    log::debug!("cannot write a large body of the store: {error}");
}
