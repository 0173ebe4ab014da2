//! How far the readers of a body have come, as its fetch sees it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// How far the readers of a fetch have come.
#[derive(Debug, Default)]
pub(in crate::cache) struct ReadProgress {
    furthest: AtomicU64,
    furthest_in_file: AtomicU64,
    abandoned: AtomicBool,
    moved: Notify,
}

impl ReadProgress {
    /// From now on the fetch is notified when a reader moves on.
    pub(in crate::cache) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// The position of the fastest of those who read in memory: the cost of what it has read.
    pub(in crate::cache) fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::SeqCst)
    }

    /// How many bytes the fastest of those has read who read in the file of the body.
    pub(in crate::cache) fn furthest_in_file(&self) -> u64 {
        self.furthest_in_file.load(Ordering::SeqCst)
    }

    /// A reader in memory has come to this position.
    pub(super) fn reached(&self, position: u64) {
        self.furthest.fetch_max(position, Ordering::SeqCst);
        self.reader_moved();
    }

    /// A reader in the file has read so many bytes.
    pub(super) fn reached_in_file(&self, offset: u64) {
        self.furthest_in_file.fetch_max(offset, Ordering::SeqCst);
        self.reader_moved();
    }

    fn reader_moved(&self) {
        if self.abandoned.load(Ordering::SeqCst) {
            self.moved.notify_one();
        }
    }

    /// A reader has left.
    pub(super) fn left(&self) {
        self.moved.notify_one();
    }

    /// Waits until a reader moves on or leaves, or returns at once if one has done so since the last call.
    pub(in crate::cache) async fn moved(&self) {
        self.moved.notified().await;
    }
}
