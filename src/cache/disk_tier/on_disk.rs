//! A response that the disk has.

use crate::{
    cache::{disk_tier::record::EntryHead, store::key::Key},
    disk::StoredBody,
    policy::StoredHead,
};

/// A response on disk, whose body was not read yet if it is long.
pub struct OnDisk {
    pub(super) key: Key,
    pub(super) head: EntryHead,
    pub(super) body: StoredBody,
}

impl OnDisk {
    /// Its head.
    pub fn head(&self) -> &StoredHead {
        self.head.head()
    }

    /// The length of its body, in bytes.
    pub(super) fn body_bytes(&self) -> u64 {
        match &self.body {
            StoredBody::Memory(bytes) => bytes.len() as u64,
            StoredBody::Large(large) => large.len_bytes(),
        }
    }
}
