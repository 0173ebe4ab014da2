//! The right to store the response of one fetch.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    cache::{
        disk_tier::DiskTier,
        fetches::{
            known_miss::KnownMiss,
            messages::{
                EndFetch, FetchResult, Load, LoadedFrom, MakePlace, MakeRoom, Put, RoomMade,
            },
            reader::{FetchEnd, FetchEvent, FetchFailure, FetchId, FetchState},
            recipients::TicketRecipients,
        },
        found::PutOutcome,
        store::{
            budget::{Budget, Charge},
            changes::{ChangeCounts, Snapshot},
            entry::Entry,
            key::Key,
        },
        unavailable::{CacheUnavailable, in_time},
    },
    policy::{Reason, Time},
    redis::FetchLease,
};

/// For smaller responses, in bytes, few keys are evicted when they are stored.
const LARGE_BYTES: u64 = 32 * 1024;

/// The right to store the response of one fetch.
///
/// The actor grants it for a [`Claim`](crate::cache::Claim). It voids the ticket when it removes the fetch from its list,
/// after a Clear or an invalidation. If the response may be stored, a [`BodyWriter`](crate::cache::BodyWriter) takes the
/// ticket. A ticket that is dropped unused releases the followers.
#[derive(Debug)]
pub struct FetchTicket(Box<TicketParts>);

/// What a ticket consists of. It is in a box, because tickets are often moved.
#[derive(Debug)]
struct TicketParts {
    id: FetchId,
    key: Key,
    recipients: Arc<TicketRecipients>,
    budget: Arc<Budget>,
    max_object_bytes: u64,
    state: Arc<FetchState>,
    result: FetchResult,
    /// When the ticket was granted.
    begun: Instant,
    claimed: Time,
    /// Why the response is not stored; `None` if that is not known.
    refused: Option<Reason>,
    /// The memory of the key, counted against the budget until the ticket is dropped.
    _key_charge: Charge,
    /// Whether the last response for the path, with any query, was not storable.
    path_not_stored: bool,
    /// Whether the last response for the key was not storable, and the next one will probably not be either.
    is_hit_for_miss: bool,
    /// The resource at the time of the claim, if requests like this one need no claim as long as it is unchanged.
    claimed_at: Option<Snapshot>,
    /// The store on disk. `None` if there is none.
    disk: Option<Arc<DiskTier>>,
    /// Whether a body that is too large for memory may be written to a file.
    may_write_file: bool,
    /// How many responses had been removed when the ticket was granted; `None` if nothing may be loaded from disk with it.
    removals: Option<u64>,
    /// The right to fetch for all instances; `None` if it was not asked for, or another instance has it.
    lease: Option<FetchLease>,
    /// Why there was no claim; `None` if there was one.
    unclaimed: Option<Arc<KnownMiss>>,
    /// The order of the stored response of which the body that is put has bytes; `None` if all of them come with this fetch.
    bytes_of: Option<(Time, FetchId)>,
}

impl FetchTicket {
    /// A ticket that was claimed at `claimed`. `result` is how the fetch ends if the ticket is dropped unused.
    pub(in crate::cache) fn new(
        id: FetchId,
        key: Key,
        recipients: Arc<TicketRecipients>,
        budget: Arc<Budget>,
        max_object_bytes: u64,
        (result, claimed): (FetchResult, Time),
    ) -> Self {
        Self(Box::new(TicketParts {
            id,
            _key_charge: budget.charge(key.heap_bytes()),
            key,
            recipients,
            budget,
            max_object_bytes,
            state: Arc::default(),
            result,
            begun: Instant::now(),
            claimed,
            refused: None,
            path_not_stored: false,
            is_hit_for_miss: false,
            claimed_at: None,
            disk: None,
            may_write_file: false,
            removals: None,
            lease: None,
            unclaimed: None,
            bytes_of: None,
        }))
    }

    /// The ticket of a fetch that `known` spares the claim. It stores nothing.
    pub(in crate::cache) fn unclaimed(
        known: &Arc<KnownMiss>,
        key: Key,
        budget: &Arc<Budget>,
        now: Time,
    ) -> Self {
        let (recipients, budget) = (Arc::clone(&known.recipients), Arc::clone(budget));
        let result = (FetchResult::Unused, now);
        let id = FetchId::default();
        let mut ticket = Self::new(id, key, recipients, budget, known.max_object_bytes, result);
        ticket.0.path_not_stored = known.path_not_stored;
        ticket.0.is_hit_for_miss = true;
        ticket.0.unclaimed = Some(Arc::clone(known));
        ticket
    }

    /// What spares the next fetches for the key a claim until `until`, when the response of this one is not stored for this
    /// reason; `None` if they have to claim.
    pub(in crate::cache) fn known_miss(
        &self,
        reason: Reason,
        changes: &ChangeCounts,
        until: Time,
    ) -> Option<KnownMiss> {
        let claimed_at = self.0.claimed_at.filter(|_| reason.is_lasting())?;
        Some(KnownMiss {
            recipients: Arc::clone(&self.0.recipients),
            max_object_bytes: self.0.max_object_bytes,
            path_not_stored: self.0.path_not_stored,
            reason,
            claimed_at,
            related: changes.watch(&self.0.key.resource, true),
            until,
            has_ended: AtomicBool::new(false),
        })
    }

    /// What has spared it the claim; `None` if it was claimed.
    pub(in crate::cache) fn unclaimed_since(&self) -> Option<&KnownMiss> {
        self.0.unclaimed.as_deref()
    }

    /// The same ticket for a fetch that began with `unclaimed`.
    #[must_use]
    pub(in crate::cache) fn begun_with(mut self, unclaimed: &Self) -> Self {
        (self.0.begun, self.0.claimed) = (unclaimed.0.begun, unclaimed.0.claimed);
        self
    }

    pub(in crate::cache) fn key(&self) -> &Key {
        &self.0.key
    }

    /// Notes that requests for the key do not wait for each other. `claimed_at` is the resource, if they need no claim as long
    /// as it is unchanged.
    pub(in crate::cache) fn mark_hit_for_miss(&mut self, claimed_at: Option<Snapshot>) {
        self.0.is_hit_for_miss = true;
        self.0.claimed_at = claimed_at;
    }

    /// Whether the last response for the key was not storable, and the next one will probably not be either.
    pub fn is_hit_for_miss(&self) -> bool {
        self.0.is_hit_for_miss
    }

    /// The same ticket for a cache with a store on disk. Nothing may be loaded from it if `removals`, the number of responses
    /// that have been removed, is `None`. With `may_write_file` a body that is too large for memory is written to a file.
    #[must_use]
    pub(in crate::cache) fn with_disk(
        mut self,
        disk: &Arc<DiskTier>,
        removals: Option<u64>,
        may_write_file: bool,
    ) -> Self {
        self.0.disk = Some(Arc::clone(disk));
        self.0.removals = removals;
        self.0.may_write_file = may_write_file;
        self
    }

    /// The store on disk, for a body that is too large for memory. `None` if the body is not to be written.
    pub(in crate::cache) fn file_store(&self) -> Option<&DiskTier> {
        self.disk().filter(|_| self.0.may_write_file)
    }

    /// The store on disk. `None` if there is none.
    pub(in crate::cache) fn disk(&self) -> Option<&DiskTier> {
        self.0.disk.as_deref()
    }

    /// Whether a response may be loaded from disk with this ticket.
    pub(in crate::cache) fn may_load(&self) -> bool {
        self.0.removals.is_some()
    }

    /// Where a response comes from that is loaded from disk with this ticket.
    pub(in crate::cache) fn disk_source(&self) -> LoadedFrom {
        LoadedFrom::Disk {
            removals: self.0.removals.unwrap_or_default(),
        }
    }

    /// Puts a response of a tier beneath memory into memory, which is stored there under another key of the same resource. This
    /// ends the fetch, unless there is no room. Its followers look again.
    ///
    /// # Errors
    /// The actor did not answer in time.
    pub(in crate::cache) async fn load(
        &mut self,
        from: LoadedFrom,
        (stored_key, entry): (Key, Arc<Entry>),
        now: Time,
    ) -> Result<PutOutcome, CacheUnavailable> {
        self.make_place(&stored_key, &entry).await?;
        let load = Load {
            key: self.0.key.clone(),
            id: self.0.id,
            from,
            stored_key,
            entry,
            now,
        };
        let outcome = in_time(|| self.0.recipients.load.send(load)).await?;
        if outcome != PutOutcome::NoRoom {
            self.0.result = FetchResult::Stored;
            self.0.state.happened(FetchEvent::LookAgain);
        }
        Ok(outcome)
    }

    /// Keeps the right to fetch for all instances until the response is shared, or the fetch has ended.
    pub fn hold(&mut self, lease: FetchLease) {
        self.0.lease = Some(lease);
    }

    /// True if this instance has the right to fetch for all instances.
    pub fn has_turn(&self) -> bool {
        self.0.lease.is_some()
    }

    /// Lets the other instances fetch for themselves: the response will not be shared.
    pub fn let_others_fetch(&mut self) {
        self.0.lease = None;
    }

    /// Ends the fetch before it has begun. It says nothing about the key.
    pub fn unused(mut self) {
        self.0.result = FetchResult::Unused;
    }

    pub(in crate::cache) fn mark_path_not_stored(&mut self) {
        self.0.path_not_stored = true;
    }

    /// Whether the last response for the path, with any query, was not storable.
    pub fn is_path_not_stored(&self) -> bool {
        self.0.path_not_stored
    }

    pub(in crate::cache) fn id(&self) -> FetchId {
        self.0.id
    }

    /// The largest body that is stored in memory, in bytes.
    pub fn max_object_bytes(&self) -> u64 {
        self.0.max_object_bytes
    }

    /// The largest body that is stored in memory or on disk, in bytes.
    pub fn max_stored_bytes(&self) -> u64 {
        let on_disk = self.disk().map_or(0, DiskTier::max_object_bytes);
        on_disk.max(self.0.max_object_bytes)
    }

    /// No more requests join the fetch. The present readers read on.
    pub(in crate::cache) fn release(&self) {
        self.0.state.happened(FetchEvent::Released);
    }

    /// Ends the fetch without storing its response. The followers fetch for themselves. If the reason lasts, so do requests
    /// in the near future.
    pub fn not_stored(mut self, reason: Reason) {
        if reason.is_lasting() {
            self.0.result = FetchResult::NotShareable;
        } else if self.0.is_hit_for_miss {
            // The response to a condition or a range says nothing about the whole.
            return self.unused();
        }
        self.0.refused = Some(reason);
    }

    /// Ends the fetch, which has failed. The failure is the followers' too.
    pub fn failed(self, failure: FetchFailure) {
        self.0.state.happened(FetchEvent::Failed(failure));
    }

    /// Ends the fetch. What it was to confirm is not stored any more, so its followers look again.
    pub fn voided(self) {
        self.0.state.happened(FetchEvent::Voided);
    }

    /// Notes that the body has bytes of `stored`.
    pub(in crate::cache) fn uses_bytes_of(&mut self, stored: &Entry) {
        self.0.bytes_of = Some(stored.order());
    }

    /// How long the fetch has taken so far.
    pub(in crate::cache) fn age(&self) -> Duration {
        self.0.begun.elapsed()
    }

    pub(in crate::cache) fn budget(&self) -> &Arc<Budget> {
        &self.0.budget
    }

    /// What the followers see.
    pub(in crate::cache) fn state(&self) -> Arc<FetchState> {
        Arc::clone(&self.0.state)
    }

    /// True if other requests wait for the head of this fetch.
    pub fn has_followers(&self) -> bool {
        self.0.state.has_followers()
    }

    /// Makes room for `more_bytes` of a body of which `received_bytes` have arrived.
    ///
    /// # Errors
    /// The body is too large, or there is no room for it, or the actor did not answer.
    pub(in crate::cache) async fn room(
        &self,
        received_bytes: u64,
        more_bytes: u64,
    ) -> Result<(), Reason> {
        if received_bytes > self.0.max_object_bytes {
            return Err(Reason::TooLarge);
        }
        if self.0.budget.has_room(more_bytes) {
            return Ok(());
        }
        let message = || MakeRoom { bytes: more_bytes };
        loop {
            match in_time(|| self.0.recipients.make_room.send(message())).await {
                Ok(RoomMade::Enough) => return Ok(()),
                Ok(RoomMade::NotYet) => {}
                Ok(RoomMade::None) => return Err(Reason::NoRoom),
                Err(_) => return Err(Reason::CacheUnavailable),
            }
        }
    }

    /// Makes place for a large `entry` a step at a time: to store it would evict many keys at once.
    async fn make_place(&self, key: &Key, entry: &Arc<Entry>) -> Result<(), CacheUnavailable> {
        let message = || MakePlace {
            key: key.clone(),
            entry: Arc::clone(entry),
        };
        while entry.weight_bytes() >= LARGE_BYTES
            && in_time(|| self.0.recipients.make_place.send(message())).await? == RoomMade::NotYet
        {
        }
        Ok(())
    }

    /// Ends the fetch without storing its response. No more requests join, but the present readers read on.
    pub(in crate::cache) fn give_up(&self, reason: Reason) {
        self.release();
        let result = match reason.is_lasting() {
            true => FetchResult::NotShareable,
            false => FetchResult::Failed,
        };
        self.end_fetch(result, Some(reason));
    }

    fn end_fetch(&self, result: FetchResult, refused: Option<Reason>) {
        // This ignores the limit of the mailbox, but a fetch sends at most two such messages.
        self.0.recipients.end_fetch.do_send(EndFetch {
            key: self.0.key.clone(),
            id: self.0.id,
            result,
            refused,
        });
    }

    /// Stores `entry` when the fetch has taken `age`. `since` is its order, or that of the entry that it updates.
    ///
    /// # Errors
    /// The actor did not answer in time.
    pub(in crate::cache) async fn put(
        &mut self,
        entry: Arc<Entry>,
        since: (Time, FetchId),
        age: Duration,
    ) -> Result<PutOutcome, CacheUnavailable> {
        self.make_place(&entry.key_for(&self.0.key), &entry).await?;
        let put = Put {
            key: self.0.key.clone(),
            id: self.0.id,
            entry,
            since,
            lease: self.0.lease.take(),
            now: self.0.claimed.saturating_add(age),
            bytes_of: self.0.bytes_of,
        };
        let outcome = in_time(|| self.0.recipients.put.send(put)).await;
        if let Ok(PutOutcome::Stored | PutOutcome::StoredStale) = outcome {
            self.0.result = FetchResult::Stored;
        }
        if let Ok(PutOutcome::Void | PutOutcome::StoredStale) = outcome {
            self.0.state.happened(FetchEvent::Voided);
        }
        outcome
    }
}

impl Drop for FetchTicket {
    fn drop(&mut self) {
        self.0.state.ended(FetchEvent::Released, FetchEnd::Cut);
        if let Some(known) = &self.0.unclaimed {
            // The actor has no such fetch.
            if self.0.refused != Some(known.reason) {
                known.end();
            }
        } else if self.0.result != FetchResult::Stored {
            // The actor has ended a fetch whose response it has stored.
            self.end_fetch(self.0.result, self.0.refused);
        }
    }
}
