//! Reading a response from disk without a claim, for one request.
//!
//! When memory is full, a response on disk is put into memory when it is asked for the second time within a while. The first
//! time it is sent as it was read: nothing is evicted for it, and the actor is not asked. What may have ended while it was read
//! is not sent so; the request then claims, as all others do.

use std::sync::Arc;

use crate::{
    cache::{
        disk_tier::{
            end_counts::ConfirmedEnds,
            load::{MOST_READ_BYTES, chosen},
            on_disk::OnDisk,
        },
        handle::Cache,
        store::{
            body::Body,
            changes::Snapshot,
            entry::Entry,
            key::{Key, KeyRef},
        },
    },
    disk::StoredBody,
    policy::{StoredHead, Time},
};

/// Memory is full if less than one part in this many is free. One part in 16 always stays free for bodies that arrive, and a
/// response that does not fit leaves some of the memory of an evicted one free.
const FREE_PARTS: u64 = 10;

/// A response that is read from disk without a claim.
pub struct UnclaimedLoad {
    ends: ConfirmedEnds,
    changes: Snapshot,
}

impl Cache {
    /// Begins to read what the disk has for `key`. `None` if it has nothing, or has to be asked with a claim: memory has a
    /// response or room for it, it was asked for not long ago, or something has ended that the disk has not confirmed.
    pub fn begin_unclaimed(&self, key: &Key) -> Option<UnclaimedLoad> {
        let disk = self.disk().filter(|disk| !disk.is_loading())?;
        // First, so that later changes are noticed.
        let load = UnclaimedLoad {
            ends: disk.ends.all_confirmed()?,
            changes: self.changes.snapshot(&key.resource),
        };
        let is_full = !self.budget.has_room(self.budget.limit_bytes() / FREE_PARTS);
        let may_load = is_full
            && self.may_serve_unclaimed(key)
            && !self.may_be_in_memory(key)
            && disk.may_have(key)
            && !self.loads.take_or_note(key.keyed_hash());
        may_load.then_some(load)
    }

    /// The response on disk that `choose` names by its index. `None` if there is none that may be sent without a claim.
    pub async fn load_unclaimed(
        &self,
        load: UnclaimedLoad,
        key: &Key,
        now: Time,
        choose: impl Fn(&[&StoredHead]) -> Option<usize>,
    ) -> Option<Arc<Entry>> {
        let disk = self.disk()?;
        let OnDisk { head, body, .. } = chosen(disk.find_present(key, false).await, now, choose)?;
        // The actor alone knows which unsafe requests have ended a guess.
        if head.head().is_guess() {
            return None;
        }
        let body = match body {
            StoredBody::Memory(bytes) => Body::in_buffer(bytes, &self.budget),
            StoredBody::Large(large) if large.len_bytes() <= MOST_READ_BYTES => {
                // A file that is removed from now on is sent to its end.
                Body::on_disk(large.kept_open().await.ok()?)
            }
            // Of a larger body, memory takes the head alone.
            StoredBody::Large(_) => return None,
        };
        self.loads.count(body.len_bytes());
        let is_valid = self.may_serve_unclaimed(key)
            && disk.ends.all_confirmed() == Some(load.ends)
            && self.changes.is_unchanged_since(load.changes);
        is_valid.then(|| head.with_body(body, &self.budget))
    }

    /// True if memory has a response for `key`, which may be newer than that on disk.
    fn may_be_in_memory(&self, key: &Key) -> bool {
        let index = self.index.load();
        let has = |key: KeyRef<'_>| index.find(key).is_some();
        has(key.into()) || key.identity.is_some() && has(KeyRef::from(key).shared())
    }

    /// False if this instance does not know what others have ended, or the actor may not know what was ended here.
    fn may_serve_unclaimed(&self, key: &Key) -> bool {
        self.is_current() && self.changes.was_never_doubted(&key.resource)
    }
}
