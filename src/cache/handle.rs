//! The handle by which the rest of the program uses the cache.

use std::{pin::pin, sync::Arc};

use actix::{Actor as _, Addr, Arbiter, Handler, Message};
use arc_swap::ArcSwap;
use tokio::time::timeout;

use crate::cache::{
    actor::CacheActor,
    actor_starts::ActorStarts,
    disk_tier::{DiskTier, RecentLoads},
    fetches::reader::FetchId,
    messages::Invalidate,
    shared_tier::{SharedState, SharedTier},
    store::{
        budget::Budget,
        changes::{ChangeCounts, Snapshot},
        index::{Index, SharedIndex},
        key::Resource,
        memory::Store,
    },
    unavailable::{CacheUnavailable, PATIENCE, in_time},
    unsafe_requests::UnsafeRequestCount,
};

/// The number of a fetch has that of the start of the actor, so that a fetch of a later start has a later number. There are
/// fewer than 2^30 fetches in a start that fails.
const START_SHIFT: u32 = 30;

/// A handle of the cache. Clones are handles of the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    starts: Arc<ActorStarts>,
    pub(super) index: SharedIndex,
    pub(super) changes: Arc<ChangeCounts>,
    pub(super) budget: Arc<Budget>,
    max_object_bytes: u64,
    pub(super) unsafe_requests: UnsafeRequestCount,
    disk: Option<Arc<DiskTier>>,
    /// Which keys were read from disk not long ago.
    pub(super) loads: Arc<RecentLoads>,
    shared: Option<Arc<SharedTier>>,
}

impl Cache {
    /// An empty cache. Its actor starts with [`Cache::start`].
    pub fn new(max_memory_bytes: u64, max_object_bytes: u64) -> Self {
        Self {
            starts: Arc::default(),
            index: Arc::new(ArcSwap::from_pointee(Index::new(0))),
            changes: ChangeCounts::new(),
            budget: Budget::new(max_memory_bytes),
            max_object_bytes,
            unsafe_requests: UnsafeRequestCount::default(),
            disk: None,
            loads: Arc::new(RecentLoads::new(0)),
            shared: None,
        }
    }

    /// The same cache with a store on disk, before its actor has started.
    #[must_use]
    pub fn with_disk(self, disk: DiskTier) -> Self {
        Self {
            disk: Some(Arc::new(disk)),
            loads: Arc::new(RecentLoads::new(self.budget.limit_bytes())),
            ..self
        }
    }

    /// The store on disk. `None` if there is none.
    pub fn disk(&self) -> Option<&DiskTier> {
        self.disk.as_deref()
    }

    /// The same cache with a tier that several instances share, before its actor has started.
    #[must_use]
    pub fn with_shared_tier(self, tier: SharedTier) -> Self {
        Self {
            shared: Some(Arc::new(tier)),
            ..self
        }
    }

    /// The tier that several instances share. `None` if there is none.
    pub fn shared(&self) -> Option<&SharedTier> {
        self.shared.as_deref()
    }

    /// True if what is stored may be served. It may not if this instance does not know any more what others have ended.
    pub(super) fn is_current(&self) -> bool {
        self.shared.as_ref().is_none_or(|tier| tier.is_current())
    }

    /// Starts the actor in the arbiter of this thread, unless it has started in another one.
    ///
    /// Every worker calls this. An actor in the thread of a worker costs less than a thread of its own, which has to be
    /// woken for each message.
    pub fn start(&self) {
        self.starts.first(|| self.empty_actor(0));
    }

    /// Starts an actor with nothing in memory. `start` is the number of the start, from 0.
    fn empty_actor(&self, start: usize) -> Addr<CacheActor> {
        let (budget, changes) = (Arc::clone(&self.budget), Arc::clone(&self.changes));
        let mut store = Store::new(Arc::clone(&self.index), budget, changes);
        let is_restart = start > 0;
        let mut first_fetch = FetchId((start as u64) << START_SHIFT);
        if let Some(disk) = &self.disk {
            first_fetch.0 += disk.first_fetch().0;
            let (noted, lost) = disk.noted();
            for (resource, request) in noted {
                store.note_unsafe(resource, *request);
            }
            if let Some(lost) = lost {
                store.note_lost(lost);
            }
        }
        let limits = (Arc::clone(&self.budget), self.max_object_bytes);
        let shared = self.shared.clone();
        let shared = shared.map(|tier| SharedState::new(tier, is_restart));
        let tiers = (self.disk.clone(), shared);
        CacheActor::new(store, limits, tiers, (first_fetch, is_restart)).start()
    }

    /// The threads of the actor and of the workers are about to end. An actor that has ended is not started again, and messages
    /// to it fail.
    pub fn end(&self) {
        self.starts.end();
    }

    /// The actor; `None` if it has not started, or is not started again. An actor that has panicked, or whose thread has ended, is started again in
    /// the arbiter of this thread, with nothing stored.
    pub(super) fn address(&self) -> Option<&Addr<CacheActor>> {
        let (number, actor) = self.starts.current()?;
        if actor.connected() || Arbiter::try_current().is_none() {
            return Some(actor);
        }
        if self.starts.has_ended() {
            return None;
        }
        self.starts.again(number, || {
            log::error!("the cache has failed; it was started again, empty");
            self.changes.all_changed();
            self.empty_actor(number + 1)
        })
    }

    /// Sends a message to the actor, and waits for its result for a limited time.
    ///
    /// # Errors
    /// The actor did not answer in time. This is logged.
    pub async fn send<M>(&self, message: M) -> Result<M::Result, CacheUnavailable>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        CacheActor: Handler<M>,
    {
        match self.actor().await {
            Some(actor) => in_time(|| actor.send(message)).await,
            None => Err(CacheUnavailable),
        }
    }

    /// The actor. Waits for its start for a limited time; `None` if it has not started by then.
    async fn actor(&self) -> Option<&Addr<CacheActor>> {
        if let Some(actor) = self.address() {
            return Some(actor);
        }
        let mut begun = pin!(self.starts.begun());
        // A start after this line wakes the wait below.
        begun.as_mut().enable();
        if self.starts.current().is_none() {
            let _ = timeout(PATIENCE, begun).await;
        }
        self.address()
    }

    /// Sends a message to the actor, even if its mailbox is full, and does not wait.
    pub fn do_send<M>(&self, message: M)
    where
        M: Message<Result: Send> + Send + 'static,
        CacheActor: Handler<M>,
    {
        if let Some(actor) = self.address() {
            actor.do_send(message);
        }
    }

    /// Makes sure that `invalidate` takes effect after the actor did not answer: workers ask the actor from now on. If the
    /// actor was only late, it handles the message before later ones.
    pub fn force_invalidate(&self, invalidate: Invalidate) {
        let resources = invalidate.resources.clone();
        let related = invalidate.related.clone();
        self.do_send(invalidate);
        if let Some((resource, _)) = related {
            let groups = self.changes.concerned_groups(&resource);
            self.changes.doubt_related(&groups);
        }
        for resource in resources.iter() {
            self.doubt(resource);
        }
    }

    /// The present state of `resource`, for a fetch that claims only when its response has arrived. The claim is declined if
    /// a response for `resource` was stored or invalidated since, or if the cache was cleared.
    pub fn snapshot(&self, resource: &Resource) -> Snapshot {
        self.changes.snapshot(resource)
    }

    /// Makes workers ask the actor about `resource` before they serve it.
    pub fn doubt(&self, resource: &Resource) {
        self.changes.doubt(resource);
    }
}
