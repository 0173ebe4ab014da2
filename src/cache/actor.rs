//! The actor that owns the cache.
//!
//! There is one actor for all workers. It runs in the thread of one of them and owns all shared state: the stored
//! responses, the fetches under way and the memory budget. Workers send it messages:
//!
//! - [`Get`] for a lookup. Most lookups need no message: workers look in the index that the actor writes (`store::index`).
//! - [`Claim`] before a fetch, then [`Put`] to store its response, or [`EndFetch`].
//!
//! It handles one message at a time, and answers after the change. [The module](super) says why a [`Clear`] therefore holds
//! for every worker.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use actix::{Actor, AsyncContext, Context, Handler, MessageResult, WrapFuture as _};
use foldhash::fast::RandomState;

use crate::cache::{
    disk_tier::{DiskTier, EndScope, Endings},
    fetches::{
        active::Fetch,
        messages::{EndFetch, FetchResult, Put},
        reader::{FetchId, SharedFetch},
        recipients::TicketRecipients,
        ticket::FetchTicket,
    },
    found::PutOutcome,
    hit_for_miss::HitsForMiss,
    manage::{purged_bytes::RemovingPurges, tag_purges::TagPurges},
    messages::{Claim, ClaimBasis, Claimed, Coalescing, Get},
    not_stored_paths::NotStoredPaths,
    shared_tier::SharedState,
    store::{
        budget::Budget,
        key::{Key, Resource},
        memory::Store,
    },
    successor::Successor,
};

/// After so many messages, other tasks of the thread run, even if there are more.
const MESSAGES_IN_A_ROW: u64 = 32;
/// How many messages the mailbox holds. Beyond that, senders wait.
const MAILBOX: usize = 4096;

/// Owns the stored responses and the list of fetches under way. Nothing else changes them.
pub struct CacheActor {
    pub(super) store: Store,
    pub(super) fetches: HashMap<Resource, Vec<Fetch>, RandomState>,
    /// Purges by tag that came while fetches were under way.
    pub(super) tag_purges: TagPurges,
    /// The purges that remove.
    pub(super) removing_purges: RemovingPurges,
    pub(super) hits_for_miss: HitsForMiss,
    pub(super) not_stored_paths: NotStoredPaths,
    pub(super) next_id: u64,
    /// How many validations in the background were declined since the start.
    pub(super) declined: u64,
    pub(super) budget: Arc<Budget>,
    max_object_bytes: u64,
    /// How many messages were handled.
    handled: u64,
    /// True while invalidated keys are freed, a step at a time.
    pub(super) is_sweeping: bool,
    /// The store on disk. `None` if there is none.
    pub(super) disk: Option<Arc<DiskTier>>,
    /// The ends that the disk has not confirmed yet.
    pub(super) endings: Endings,
    /// The tier that several instances share. `None` if there is none.
    pub(super) shared: Option<SharedState>,
    /// The process that has taken over. `None` before that.
    pub(super) successor: Option<Successor>,
    /// True if an actor before this one has failed. What it was told to end is not known.
    is_restart: bool,
    /// The actor, as its tickets address it; `None` before the first ticket. The actor lives as long as its thread.
    recipients: Option<Arc<TicketRecipients>>,
}

impl CacheActor {
    /// A cache with an empty store. It stays on the thread that makes it.
    /// Its fetches have the number `first_fetch` or a later one. `is_restart` if an actor before it has failed.
    pub(super) fn new(
        store: Store,
        (budget, max_object_bytes): (Arc<Budget>, u64),
        (disk, shared): (Option<Arc<DiskTier>>, Option<SharedState>),
        (first_fetch, is_restart): (FetchId, bool),
    ) -> Self {
        Self {
            store,
            fetches: HashMap::default(),
            tag_purges: TagPurges::default(),
            removing_purges: RemovingPurges::default(),
            hits_for_miss: HitsForMiss::new(),
            not_stored_paths: NotStoredPaths::new(),
            next_id: first_fetch.0,
            declined: 0,
            budget,
            max_object_bytes,
            handled: 0,
            is_sweeping: false,
            disk,
            endings: Endings::default(),
            shared,
            successor: None,
            is_restart,
            recipients: None,
        }
    }

    /// Lets the other tasks of the thread run before the next message. Without this, steps that another thread asks for one
    /// after the other would follow each other without a pause.
    pub(super) fn pause(&self, context: &mut Context<Self>) {
        context.wait(tokio::task::yield_now().into_actor(self));
    }

    /// Counts a message, and pauses after some. Other workers may send messages as fast as this one handles them, and hits of
    /// this thread would wait for all of them.
    pub(super) fn take_turns(&mut self, context: &mut Context<Self>) {
        self.handled += 1;
        if self.handled.is_multiple_of(MESSAGES_IN_A_ROW) {
            self.pause(context);
        }
    }

    /// The actor, as its tickets address it. All tickets share one.
    fn recipients(&mut self, context: &Context<Self>) -> Arc<TicketRecipients> {
        let recipients = || Arc::new(TicketRecipients::of(&context.address()));
        Arc::clone(self.recipients.get_or_insert_with(recipients))
    }

    /// Adds a fetch to the list, and makes its ticket.
    fn lead(&mut self, claim: Claim, context: &Context<Self>) -> FetchTicket {
        let id = FetchId(self.next_id);
        self.next_id += 1;
        // A fetch that was not decided on a lookup, and stores nothing, says nothing about the key.
        let result = match claim.basis {
            ClaimBasis::Found(_) => FetchResult::Failed,
            ClaimBasis::Since(_) => FetchResult::Unused,
        };
        let mut ticket = FetchTicket::new(
            id,
            claim.key.clone(),
            self.recipients(context),
            Arc::clone(&self.budget),
            self.max_object_bytes,
            (result, claim.now),
        );
        let path = self.not_stored_paths.path(&claim.key.resource);
        if self.not_stored_paths.contains(path) {
            ticket.mark_path_not_stored();
        }
        if let Some(disk) = &self.disk {
            let is_first = self.fetches_of(&claim.key).next().is_none();
            ticket = ticket.with_disk(disk, self.endings.removals(&claim.key.resource), is_first);
        }
        let partition = claim.key.partition();
        let fetch = Fetch {
            id,
            stamp: self.shared.as_ref().and_then(SharedState::stamp),
            partition,
            path,
            variant: claim.variant,
            since: claim.now,
            revalidates: claim.revalidates,
            is_joinable: claim.coalescing != Coalescing::Never,
            followers: 0,
            state: ticket.state(),
        };
        match self.fetches.entry(claim.key.resource) {
            Entry::Occupied(mut fetches) => fetches.get_mut().push(fetch),
            // Mostly it stays the only one.
            Entry::Vacant(place) => drop(place.insert(vec![fetch])),
        }
        ticket
    }

    /// The fetches under way for `key`.
    fn fetches_of<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Fetch> {
        let fetches = self.fetches.get(&key.resource).into_iter().flatten();
        fetches.filter(|fetch| fetch.partition == key.partition())
    }

    /// True if a fetch is under way that a request for `key` may join.
    pub(super) fn has_joinable(&self, key: &Key) -> bool {
        let oldest = self.store.oldest_joinable(&key.resource);
        self.fetches_of(key)
            .any(|fetch| fetch.id >= oldest && fetch.is_joinable)
    }

    /// Joins the fetch under way that has a head, or the youngest, `claim` may wait for it; `None` if there is none.
    fn join(&mut self, claim: &Claim) -> Option<SharedFetch> {
        let oldest = self.store.oldest_joinable(&claim.key.resource);
        let fetches = self.fetches.get_mut(&claim.key.resource)?;
        let (wait, fetch) = fetches
            .iter_mut()
            .filter(|fetch| fetch.id >= oldest)
            .filter_map(|fetch| Some((fetch.joinable_by(claim)?, fetch)))
            .max_by_key(|(_, fetch)| (fetch.state.has_head(), fetch.id))?;
        fetch.followers += 1;
        Some(SharedFetch::new(Arc::clone(&fetch.state), wait))
    }

    /// Removes a fetch that has ended; `None` if it was voided before.
    pub(super) fn forget(&mut self, resource: &Resource, id: FetchId) -> Option<Fetch> {
        let Entry::Occupied(mut fetches) = self.fetches.entry(resource.clone()) else {
            return None;
        };
        let index = fetches.get().iter().position(|fetch| fetch.id == id)?;
        let fetch = fetches.get_mut().swap_remove(index);
        if fetches.get().is_empty() {
            fetches.remove();
        }
        self.tag_purges.ended(id);
        Some(fetch)
    }

    /// A fetch under way; `None` if it was voided.
    pub(super) fn fetch(&self, key: &Key, id: FetchId) -> Option<&Fetch> {
        let fetches = self.fetches.get(&key.resource)?;
        fetches.iter().find(|fetch| fetch.id == id)
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
        if self.is_restart {
            drop(self.end_on_disk(EndScope::All, DiskTier::clear, context));
        }
    }
}

impl Handler<Get> for CacheActor {
    type Result = MessageResult<Get>;

    fn handle(&mut self, Get(key): Get, context: &mut Self::Context) -> Self::Result {
        self.take_turns(context);
        self.end_with_lease(context);
        MessageResult(self.store.find(&key))
    }
}

impl Handler<Claim> for CacheActor {
    type Result = MessageResult<Claim>;

    fn handle(&mut self, mut claim: Claim, context: &mut Self::Context) -> Self::Result {
        self.take_turns(context);
        self.end_with_lease(context);
        let found = self.store.find(&claim.key);
        match &claim.basis {
            ClaimBasis::Found(seen) if !found.is_same_as(seen) => {
                return MessageResult(Claimed::Changed(found));
            }
            ClaimBasis::Since(moment) if !self.store.is_unchanged_since(*moment) => {
                return MessageResult(Claimed::Declined);
            }
            ClaimBasis::Found(_) | ClaimBasis::Since(_) => {}
        }
        let remembered = self.hits_for_miss.get(&claim.key, claim.variant);
        let is_hit_for_miss = remembered.is_some_and(|it| it.is_hit_for_miss(claim.now));
        let is_no_background = remembered.is_some_and(|it| it.is_no_background(claim.now));
        match claim.coalescing {
            Coalescing::Join => {
                if let Some(shared) = self.join(&claim) {
                    return MessageResult(Claimed::Follow(shared));
                }
                if is_hit_for_miss {
                    claim.coalescing = Coalescing::Never;
                }
            }
            Coalescing::Background => {
                let stored = claim.revalidates.as_ref();
                let is_under_way = self
                    .fetches_of(&claim.key)
                    .any(|fetch| fetch.revalidates(stored));
                if is_hit_for_miss || is_no_background || is_under_way {
                    self.declined += 1;
                    return MessageResult(Claimed::Declined);
                }
            }
            Coalescing::Never => {}
        }
        let needs_claim = !found.is_empty() || claim.variant.is_some();
        let claimed_at = (!needs_claim).then(|| self.store.snapshot(&claim.key.resource));
        let mut ticket = self.lead(claim, context);
        if is_hit_for_miss {
            ticket.mark_hit_for_miss(claimed_at);
        }
        MessageResult(Claimed::Lead(ticket))
    }
}

impl Handler<Put> for CacheActor {
    type Result = MessageResult<Put>;

    fn handle(&mut self, put: Put, context: &mut Self::Context) -> Self::Result {
        self.take_turns(context);
        let Some(fetch) = self.fetch(&put.key, put.id) else {
            return MessageResult(PutOutcome::Void);
        };
        let (variant, stamp, path) = (fetch.variant, fetch.stamp, fetch.path);
        if self.tag_purges.concern(put.id, put.entry.head())
            || self.removing_purges.concern(&put, &self.store)
        {
            self.forget(&put.key.resource, put.id);
            return MessageResult(PutOutcome::Void);
        }
        if !put.key.is_recorded {
            self.hits_for_miss.stored(&put.key, variant);
            self.not_stored_paths.stored(path);
        }
        let key = put.entry.key_for(&put.key);
        let is_doubted =
            put.entry.head().is_guess() && put.id < self.store.oldest_joinable(&put.key.resource);
        let has_tiers = self.disk.is_some() || self.shared.is_some();
        let for_tiers = has_tiers.then(|| Arc::clone(&put.entry));
        let outcome = self.store.put(&key, put.entry, (put.since, put.now));
        if let Some(entry) = for_tiers {
            self.put_on_disk(&key, &entry, put.since, outcome);
            let stored = (&key, &entry);
            self.put_into_shared_tier(stored, (stamp, put.now), outcome, put.lease);
        }
        if outcome == PutOutcome::Stored {
            self.forget(&put.key.resource, put.id);
            if is_doubted {
                return MessageResult(PutOutcome::StoredStale);
            }
        }
        MessageResult(outcome)
    }
}

impl Handler<EndFetch> for CacheActor {
    type Result = ();

    fn handle(&mut self, end: EndFetch, context: &mut Self::Context) {
        self.take_turns(context);
        let Some(fetch) = self.forget(&end.key.resource, end.id) else {
            return;
        };
        if end.key.is_recorded {
            return;
        }
        if let Some(reason) = end.refused {
            self.not_stored_paths.not_stored(fetch.path, reason);
        }
        self.hits_for_miss
            .ended(&end.key, &fetch, (end.result, end.refused));
    }
}
