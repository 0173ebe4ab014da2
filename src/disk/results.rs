//! What the disk answers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::disk::{address::Address, large::LargeBody};

/// A response as it was found.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// Which of the addresses asked for it is at.
    pub address_index: usize,
    /// The id that it was written with.
    pub id: u64,
    /// Its head.
    pub head: Bytes,
    /// Its body.
    pub body: StoredBody,
    /// Since when it is expired by a rule, in milliseconds since the Unix epoch. `None` if no rule has expired it.
    pub expired_at: Option<u64>,
}

/// The body of a [`StoredRecord`].
#[derive(Clone, Debug)]
pub enum StoredBody {
    /// Read with its head, and checked.
    Memory(Bytes),
    /// In a file of its own.
    Large(LargeBody),
}

/// Where a page of [`crate::disk::Disk::scan`] begins. The default is the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanCursor {
    /// Records with smaller sequence numbers were on the pages before.
    pub(super) next: u64,
    /// Only so many of the records that were written last are on this page and those behind it. `None` for all.
    pub(super) newest: Option<usize>,
}

impl ScanCursor {
    /// Begins so that `count` records follow: those that were written last. What has ended since is counted, not found.
    pub fn newest(count: usize) -> Self {
        Self {
            next: 0,
            newest: Some(count),
        }
    }
}

/// A page of what is stored.
#[derive(Clone, Debug, Default)]
pub struct ScanPage {
    /// In the order of the disk: the oldest first.
    pub records: Vec<ScannedRecord>,
    /// Where the next page begins. `None` after the last page.
    pub next: Option<ScanCursor>,
}

/// A stored response, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScannedRecord {
    /// Where it is stored.
    pub address: Address,
    /// Its head.
    pub head: Bytes,
    /// The length of its body in bytes.
    pub body_bytes: u64,
    /// What it takes on the disk, in bytes.
    pub bytes_on_disk: u64,
    /// Whether its body is in a file of its own.
    pub is_large: bool,
    /// Since when it is expired by a rule, in milliseconds since the Unix epoch. `None` if no rule has expired it.
    pub expired_at: Option<u64>,
}

/// Numbers of the disk tier. The counts begin with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskStats {
    /// How many responses are stored.
    pub responses: u64,
    /// The bytes of all records and bodies.
    pub bytes: u64,
    /// The limit of the bytes of all files.
    pub limit_bytes: u64,
    /// Lookups that have found a response.
    pub hits: u64,
    /// Lookups that have found none.
    pub misses: u64,
    /// Lookups that were not answered in time, or for which no reader was free.
    pub late: u64,
    /// Responses whose bytes were not as they were written.
    pub corrupt: u64,
    /// Responses written.
    pub written: u64,
    /// Bytes written, of files of all kinds.
    pub written_bytes: u64,
    /// Responses that were to be written and were not: too much waited or arrived, the disk was bypassed, or they were too
    /// large.
    pub dropped: u64,
    /// Responses removed to make room.
    pub evicted: u64,
    /// The memory of what waits to be written, in bytes.
    pub waiting_bytes: u64,
    /// Whether the index is still being loaded.
    pub is_loading: bool,
    /// Why the disk is bypassed. `None` if it is in use.
    pub bypassed: Option<String>,
}
