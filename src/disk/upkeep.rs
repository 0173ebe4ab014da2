//! The thread that removes files and makes segments durable, so that no other thread waits for it.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::disk::{
    contents::RemovedRecords,
    files::StoreFile,
    large_file::{large_file_bytes, large_file_name},
    open_segments::OpenSegment,
    segment::{LargeName, segment_name},
    shared::{DiskNumbers, DiskShared},
};

/// How long the removal of a file may take before no room is made.
const REMOVAL_TIME: Duration = Duration::from_secs(1);

/// Gives work to the thread.
#[derive(Clone)]
pub(super) struct Upkeep {
    shared: Arc<DiskShared>,
    sender: Sender<UpkeepJob>,
}

enum UpkeepJob {
    Remove {
        name: String,
        bytes: u64,
        /// The id of a segment. `None` for other files.
        segment: Option<u32>,
    },
    Sync(Arc<dyn StoreFile>),
    Close,
}

/// Tells when files were removed.
pub(super) struct RemovalProgress(Receiver<()>);

impl RemovalProgress {
    /// Waits until a file was removed. False if none was for some time.
    pub(super) fn wait(&self) -> bool {
        self.0.recv_timeout(REMOVAL_TIME).is_ok()
    }
}

impl Upkeep {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(super) fn start(
        shared: &Arc<DiskShared>,
    ) -> io::Result<(Self, RemovalProgress, JoinHandle<()>)> {
        let (sender, receiver) = channel();
        let (progress, progress_of_writer) = sync_channel(1);
        let of_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("disk-upkeep".to_owned())
            .spawn(move || run(&of_thread, &receiver, &progress))?;
        let shared = shared.clone();
        Ok((
            Self { shared, sender },
            RemovalProgress(progress_of_writer),
            thread,
        ))
    }

    /// Removes the files of bodies that no record names any more.
    pub(super) fn remove_large(&self, removed: &RemovedRecords) {
        for file in &removed.files {
            self.remove_body(*file);
        }
    }

    /// Removes the file of a body.
    pub(super) fn remove_body(&self, file: LargeName) {
        let bytes = large_file_bytes(file.body_len);
        self.remove(large_file_name(file.number), bytes, None);
    }

    /// The file of a body is not there. Its bytes do not count any longer.
    pub(super) fn forget_body(&self, file: LargeName) {
        self.remove_body(file);
    }

    /// Removes a segment. Until it is gone for good, its records count as those on the disk ([`EndedLog::forget`]).
    ///
    /// [`EndedLog::forget`]: crate::disk::ended::EndedLog::forget
    pub(super) fn remove_segment(&self, segment: &OpenSegment) {
        self.remove_segment_file(segment.id, segment.first_seq, segment.bytes());
    }

    /// Removes a segment by its id.
    pub(super) fn remove_segment_file(&self, id: u32, first_seq: u64, bytes: u64) {
        self.shared
            .contents()
            .removed_segments
            .insert(id, first_seq);
        self.remove(segment_name(id), bytes, Some(id));
    }

    /// Removes a file whose bytes are counted.
    fn remove(&self, name: String, bytes: u64, segment: Option<u32>) {
        DiskNumbers::add(&self.shared.numbers.removed_bytes, bytes);
        let job = UpkeepJob::Remove {
            name,
            bytes,
            segment,
        };
        let _ = self.sender.send(job);
    }

    /// Makes a segment durable some time, with its name.
    pub(super) fn sync(&self, file: Arc<dyn StoreFile>) {
        let _ = self.sender.send(UpkeepJob::Sync(file));
    }

    /// Ends the thread when all is done.
    pub(super) fn close(&self) {
        let _ = self.sender.send(UpkeepJob::Close);
    }
}

fn run(shared: &DiskShared, jobs: &Receiver<UpkeepJob>, progress: &SyncSender<()>) {
    for job in jobs {
        match job {
            UpkeepJob::Remove {
                name,
                bytes,
                segment,
            } => {
                match remove(shared, &name, segment) {
                    Err(error) => log::debug!("cannot remove {name} of the store: {error}"),
                    Ok(()) => DiskNumbers::subtract(&shared.numbers.bytes, bytes),
                }
                DiskNumbers::subtract(&shared.numbers.removed_bytes, bytes);
                let _ = progress.try_send(());
            }
            UpkeepJob::Sync(file) => {
                let synced = file.sync_data();
                if let Err(error) = synced.and_then(|()| shared.files.sync_dir("")) {
                    log::debug!("cannot make a segment of the store durable: {error}");
                }
            }
            UpkeepJob::Close => return,
        }
    }
}

/// Removes a file, a segment for good.
fn remove(shared: &DiskShared, name: &str, segment: Option<u32>) -> io::Result<()> {
    // Not that of another process.
    shared.keep_directory()?;
    match shared.files.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(id) = segment {
        shared.files.sync_dir("")?;
        shared.contents().removed_segments.remove(&id);
    }
    Ok(())
}
