//! The actor that owns the cache.
//!
//! # The shape
//!
//! One actor is the truth for all workers: what is stored, which fetches count, what there is room for. It lives in the
//! thread of one of the workers. A handler asks it for what its worker does not know: the first hit on a key ([`Get`]),
//! a fetch and its end ([`Claim`], [`Put`]). What it has answered each worker remembers (`worker_cache.rs`), together with the
//! count of changes that belonged to the answer (`generations.rs`). All further hits are answered from there: they look
//! at that count, and write nothing that another thread reads. Which keys are in use the actor is told in batches
//! ([`Touch`]), so that it does not evict them.
//!
//! # Why that is true
//!
//! 1. Only the actor changes the store. It handles one message at a time: it changes, then counts, then answers; so the
//!    count in an answer belongs to what was found.
//! 2. A worker uses what it remembers only while the count is what it was.
//! 3. A request that comes after a [`Clear`] was answered comes after the count was raised. So its worker sees another
//!    count than the one it remembers, and asks the actor, which has nothing.
//! 4. A fetch that was under way lost its ticket in the same message; its [`Put`] is void.
//! 5. Where the actor does not answer, but a change must hold all the same, the one who asked for it counts in its
//!    place (`Cache::force_invalidate`, `Cache::bump_generation`), and workers ask again.
//!
//! `tests/it/model.rs` tries to break this, with many clients on several workers.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, MessageResult};
use quick_cache::unsync;

use crate::{
    cache::{
        fetches::{
            active::Fetch,
            messages::{EndFetch, FetchResult, MakeRoom, Put},
            reader::{FetchId, SharedFetch},
            ticket::{FetchTicket, TicketRecipients},
        },
        found::{Cleared, PutOutcome},
        manage::tag_purges::TagPurges,
        messages::{
            CacheStats, Claim, ClaimBasis, Claimed, Clear, Coalescing, Get, GetStats, Invalidate,
            KeyUse, Remove, Touch,
        },
        store::{
            budget::Budget,
            key::{Key, Resource},
            memory::Store,
        },
        worker_cache::generations::Generations,
    },
    policy::{Audience, Reason, Time},
};

/// Messages that may wait for the actor before senders have to.
const MAILBOX: usize = 4096;
/// For how many keys it is remembered that a fetch brought nothing to store.
const LESSONS: usize = 4096;
/// How long askers of what nobody else may get need not wait for each other.
const ALONE_FOR: Duration = Duration::from_secs(120);
/// How long nobody asks in the background after a fetch that was in vain.
const QUIET_FOR: Duration = Duration::from_secs(10);

/// What a fetch that brought nothing to store teaches about the next ones.
#[derive(Clone, Copy)]
pub(super) struct HitForMiss {
    /// Until then everybody fetches for themselves.
    pub(super) hit_for_miss_until: Time,
    /// Until then nobody fetches in the background.
    no_background_until: Time,
    /// Why its answer was not stored, and when it was begun.
    pub(super) refused: Option<(Reason, Time)>,
}

/// Owns every stored response and knows every fetch under way. Nothing else changes either.
pub struct CacheActor {
    pub(super) store: Store,
    pub(super) fetches: HashMap<Resource, Vec<Fetch>>,
    /// What was purged by tags while fetches were under way.
    pub(super) tag_purges: TagPurges,
    /// By a keyed hash: whole keys are as long as clients make them.
    hit_for_miss: unsync::Cache<u64, HitForMiss>,
    hasher: RandomState,
    pub(super) next_id: u64,
    /// How many validations in the background were declined.
    declined: u64,
    pub(super) budget: Arc<Budget>,
    max_object_bytes: u64,
}

impl CacheActor {
    /// An empty cache. It stays on the thread that makes it.
    pub(super) fn new(
        budget: Arc<Budget>,
        generations: Arc<Generations>,
        max_object_bytes: u64,
    ) -> Self {
        Self {
            store: Store::new(Arc::clone(&budget), generations),
            fetches: HashMap::new(),
            tag_purges: TagPurges::default(),
            hit_for_miss: unsync::Cache::new(LESSONS),
            hasher: RandomState::new(),
            next_id: 0,
            declined: 0,
            budget,
            max_object_bytes,
        }
    }

    fn lead(&mut self, claim: Claim, cache: &Addr<Self>) -> Claimed {
        let id = FetchId(self.next_id);
        self.next_id += 1;
        // What does not depend on what is stored says nothing about it either.
        let released = match claim.basis {
            ClaimBasis::Found(_) => FetchResult::Failed,
            ClaimBasis::Since(_) => FetchResult::Unused,
        };
        let (ticket, fill) = FetchTicket::new(
            id,
            claim.key.clone(),
            TicketRecipients::of(cache),
            Arc::clone(&self.budget),
            self.max_object_bytes,
            released,
        );
        let joinable = claim.coalescing != Coalescing::Never;
        let part = claim.key.partition();
        self.fetches
            .entry(claim.key.resource)
            .or_default()
            .push(Fetch {
                id,
                part,
                since: claim.now,
                revalidates: claim.revalidates,
                fill: joinable.then_some(fill),
                followers: 0,
            });
        Claimed::Lead(ticket)
    }

    fn fetches_of<'a>(&'a self, key: &'a Key) -> impl Iterator<Item = &'a Fetch> {
        let fetches = self.fetches.get(&key.resource).into_iter().flatten();
        fetches.filter(|fetch| fetch.part == key.partition())
    }

    pub(super) fn joinable(&self, key: &Key) -> Option<SharedFetch> {
        self.fetches_of(key).find_map(|fetch| fetch.fill.clone())
    }

    /// Joins a fetch under way; `None` if there is none that may be joined.
    fn join(&mut self, key: &Key) -> Option<SharedFetch> {
        let fetches = self.fetches.get_mut(&key.resource)?;
        let mut fetches = fetches
            .iter_mut()
            .filter(|fetch| fetch.part == key.partition());
        let fetch = fetches.find(|fetch| fetch.fill.is_some())?;
        fetch.followers += 1;
        fetch.fill.clone()
    }

    pub(super) fn hit_for_miss_of(&self, key: &Key) -> Option<HitForMiss> {
        self.hit_for_miss.get(&self.hasher.hash_one(key)).copied()
    }

    /// Voids the fetches of `resource`, but for one.
    fn void(&mut self, resource: &Resource, spared: Option<FetchId>) {
        if let Some(mut fetches) = self.fetches.remove(resource) {
            fetches.retain(|fetch| Some(fetch.id) == spared);
            if !fetches.is_empty() {
                self.fetches.insert(resource.clone(), fetches);
            }
        }
    }

    /// A fetch is over.
    fn forget(&mut self, resource: &Resource, id: FetchId) -> Option<Fetch> {
        let fetches = self.fetches.get_mut(resource)?;
        let index = fetches.iter().position(|fetch| fetch.id == id)?;
        let fetch = fetches.swap_remove(index);
        if fetches.is_empty() {
            self.fetches.remove(resource);
        }
        self.tag_purges.settle(&self.fetches);
        Some(fetch)
    }

    fn counts(&self, key: &Key, id: FetchId) -> bool {
        let fetches = self.fetches.get(&key.resource);
        fetches.is_some_and(|fetches| fetches.iter().any(|fetch| fetch.id == id))
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Get> for CacheActor {
    type Result = MessageResult<Get>;

    fn handle(&mut self, Get(key): Get, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.store.find(&key))
    }
}

impl Handler<Touch> for CacheActor {
    type Result = ();

    fn handle(&mut self, Touch(touched): Touch, _: &mut Self::Context) {
        for KeyUse { key, hits } in touched {
            self.store.touch(&key, hits);
        }
    }
}

impl Handler<Claim> for CacheActor {
    type Result = MessageResult<Claim>;

    fn handle(&mut self, mut claim: Claim, context: &mut Self::Context) -> Self::Result {
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
        let lesson = self.hit_for_miss_of(&claim.key);
        let holds =
            |until: fn(HitForMiss) -> Time| lesson.is_some_and(|lesson| claim.now < until(lesson));
        let is_alone = holds(|lesson| lesson.hit_for_miss_until);
        let is_quiet = holds(|lesson| lesson.no_background_until);
        match claim.coalescing {
            Coalescing::Join => {
                if let Some(fill) = self.join(&claim.key) {
                    return MessageResult(Claimed::Follow(fill));
                }
                if is_alone {
                    claim.coalescing = Coalescing::Never;
                }
            }
            Coalescing::Background => {
                let about = claim.revalidates.as_ref();
                let is_asked = self
                    .fetches_of(&claim.key)
                    .any(|fetch| fetch.is_about(about));
                if is_alone || is_quiet || is_asked {
                    self.declined += 1;
                    return MessageResult(Claimed::Declined);
                }
            }
            Coalescing::Never => {}
        }
        MessageResult(self.lead(claim, &context.address()))
    }
}

impl Handler<Put> for CacheActor {
    type Result = MessageResult<Put>;

    fn handle(&mut self, put: Put, _: &mut Self::Context) -> Self::Result {
        if !self.counts(&put.key, put.id) {
            return MessageResult(PutOutcome::Void);
        }
        if self.tag_purges.concern(put.id, put.entry.head()) {
            self.forget(&put.key.resource, put.id);
            return MessageResult(PutOutcome::Void);
        }
        self.hit_for_miss.remove(&self.hasher.hash_one(&put.key));
        let key = match put.entry.head().audience() {
            Audience::Everyone => put.key.shared(),
            Audience::Partition => put.key.clone(),
        };
        let outcome = self.store.put(&key, put.entry, put.since);
        if outcome == PutOutcome::Stored {
            self.forget(&put.key.resource, put.id);
        }
        MessageResult(outcome)
    }
}

impl Handler<EndFetch> for CacheActor {
    type Result = ();

    fn handle(&mut self, release: EndFetch, _: &mut Self::Context) {
        let Some(fetch) = self.forget(&release.key.resource, release.id) else {
            return;
        };
        let refused = release.refused.map(|reason| (reason, fetch.since));
        let hash = self.hasher.hash_one(&release.key);
        let (alone_for, quiet_for) = match (release.released, refused) {
            (FetchResult::Stored, _) | (FetchResult::Unused, None) => return,
            // It teaches nothing about others, but may be asked about.
            (FetchResult::Unused, Some(_)) => match self.hit_for_miss.get_mut(&hash) {
                Some(mut lesson) => return lesson.refused = refused,
                None => (Duration::ZERO, Duration::ZERO),
            },
            (FetchResult::Failed, _) => (Duration::ZERO, QUIET_FOR),
            (FetchResult::NotShareable, _) => (ALONE_FOR, QUIET_FOR),
        };
        let lesson = HitForMiss {
            hit_for_miss_until: fetch.since.saturating_add(alone_for),
            no_background_until: fetch.since.saturating_add(quiet_for),
            refused,
        };
        self.hit_for_miss.insert(hash, lesson);
    }
}

impl Handler<Remove> for CacheActor {
    type Result = ();

    fn handle(&mut self, Remove { key, entry }: Remove, _: &mut Self::Context) {
        self.store.remove(&key, &entry);
        self.store.remove(&key.shared(), &entry);
    }
}

impl Handler<MakeRoom> for CacheActor {
    type Result = bool;

    fn handle(&mut self, MakeRoom { bytes }: MakeRoom, _: &mut Self::Context) -> bool {
        self.store.make_room(bytes)
    }
}

impl Handler<Invalidate> for CacheActor {
    type Result = MessageResult<Invalidate>;

    fn handle(&mut self, invalidate: Invalidate, _: &mut Self::Context) -> Self::Result {
        let mut cleared = Cleared::default();
        for resource in &invalidate.resources {
            self.void(resource, invalidate.by);
            let removed = self.store.invalidate(resource);
            cleared.entries += removed.entries;
            cleared.bytes += removed.bytes;
        }
        MessageResult(cleared)
    }
}

impl Handler<Clear> for CacheActor {
    type Result = MessageResult<Clear>;

    fn handle(&mut self, _: Clear, _: &mut Self::Context) -> Self::Result {
        self.fetches.clear();
        self.tag_purges = TagPurges::default();
        self.hit_for_miss.clear();
        MessageResult(self.store.clear())
    }
}

impl Handler<GetStats> for CacheActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(CacheStats {
            entries: self.store.entries(),
            stored_bytes: self.store.stored_bytes(),
            used_bytes: self.budget.used_bytes(),
            limit_bytes: self.budget.limit_bytes(),
            evictions: self.store.evictions(),
            fetches: self
                .fetches
                .values()
                .map(|fetches| fetches.len() as u64)
                .sum(),
            followers: self
                .fetches
                .values()
                .flatten()
                .map(|fetch| fetch.followers)
                .sum(),
            declined: self.declined,
        })
    }
}
