//! A stored response as a record of the shared tier.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::FetchId,
        namespace::KeyName,
        store::{body::Body, budget::Budget, entry::Entry, key::Key},
    },
    policy::StoredHead,
    redis::{SharedAddress, SharedRecord},
};

/// The bytes before the head: how long its body took.
const PREFIX_BYTES: usize = 4;

impl From<KeyName> for SharedAddress {
    fn from(name: KeyName) -> Self {
        Self {
            resource: name.resource,
            partition: name.partition,
        }
    }
}

/// The head of `entry` as it is written, with times of a clock that shows `ahead_millis` more.
pub(super) fn write_head(entry: &Entry, ahead_millis: i64) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    head.extend_from_slice(&entry.fetch_millis().to_le_bytes());
    entry.head().by_clock(ahead_millis).write(&mut head);
    head
}

/// A response that the shared tier has, whose body was not read yet if it is long.
pub struct InSharedTier {
    pub(super) key: Key,
    pub(super) head: StoredHead,
    pub(super) fetch_millis: u32,
    pub(super) record: SharedRecord,
}

impl InSharedTier {
    /// Its head.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The stored response with this body. `fetch` is the one that has loaded it.
    pub(super) fn with_body(self, body: Body, fetch: FetchId, budget: &Arc<Budget>) -> Arc<Entry> {
        let fetch = (fetch, self.fetch_millis);
        Arc::new(Entry::new(Arc::new(self.head), body, fetch, budget))
    }
}

/// Reads a head as [`write_head`] writes it, and how long its fetch took; `None` if it is none.
pub(super) fn read_head(bytes: &[u8], ahead_millis: i64) -> Option<(StoredHead, u32)> {
    let (prefix, head) = bytes.split_first_chunk::<PREFIX_BYTES>()?;
    let head = StoredHead::read(head)?.by_clock(ahead_millis.checked_neg()?);
    Some((head, u32::from_le_bytes(*prefix)))
}
