//! The handle by which the rest of the program uses the cache.

use std::{pin::pin, sync::Arc};

use actix::{Actor as _, Addr, Arbiter, Handler, Message};
use tokio::time::timeout;

use crate::cache::{
    actor::CacheActor,
    actor_starts::ActorStarts,
    found::Snapshot,
    messages::Invalidate,
    store::{budget::Budget, key::Resource},
    unavailable::{CacheUnavailable, PATIENCE, in_time},
    worker_cache::generations::Generations,
};

/// A handle of the cache. Clones are handles of the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    starts: Arc<ActorStarts>,
    pub(super) generations: Arc<Generations>,
    pub(super) budget: Arc<Budget>,
    max_object_bytes: u64,
}

impl Cache {
    /// An empty cache. Its actor starts with [`Cache::start`].
    pub fn new(max_memory_bytes: u64, max_object_bytes: u64) -> Self {
        Self {
            starts: Arc::default(),
            generations: Generations::new(),
            budget: Budget::new(max_memory_bytes),
            max_object_bytes,
        }
    }

    /// Starts the actor in the arbiter of this thread, unless it has started in another one.
    ///
    /// Every worker calls this. An actor in the thread of a worker costs less than a thread of its own, which has to be
    /// woken for each message.
    pub fn start(&self) {
        self.starts.first(|| self.empty_actor());
    }

    fn empty_actor(&self) -> Addr<CacheActor> {
        let (budget, generations) = (Arc::clone(&self.budget), Arc::clone(&self.generations));
        CacheActor::new(budget, generations, self.max_object_bytes).start()
    }

    /// The actor; `None` if it has not started. An actor that has panicked, or whose thread has ended, is started again in
    /// the arbiter of this thread, with nothing stored.
    pub(super) fn address(&self) -> Option<&Addr<CacheActor>> {
        let (number, actor) = self.starts.current()?;
        if actor.connected() || Arbiter::try_current().is_none() {
            return Some(actor);
        }
        self.starts.again(number, || {
            log::error!("the cache has failed; it was started again, empty");
            // What workers have copied from the actor before must not be served after a later Clear.
            self.generations.bump_all();
            self.empty_actor()
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
            Some(actor) => in_time(actor.send(message)).await,
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

    /// Makes sure that `invalidate` takes effect after the actor did not answer. The copies of all workers become invalid. If
    /// the actor was only late, it handles the message before later ones.
    pub fn force_invalidate(&self, invalidate: Invalidate) {
        let resources = invalidate.resources.clone();
        let related = invalidate.related.clone();
        self.do_send(invalidate);
        if let Some((resource, _)) = related {
            let groups = self.generations.concerned_groups(&resource);
            self.generations.bump_changes(&groups);
        }
        for resource in &resources {
            self.bump_generation(resource);
        }
    }

    /// The present state of `resource`, for a fetch that claims only when its response has arrived. The claim is declined if
    /// a response for `resource` was stored or invalidated since, or if the cache was cleared.
    pub fn snapshot(&self, resource: &Resource) -> Snapshot {
        Snapshot(self.generations.current(resource))
    }

    /// Makes the workers' copies of `resource` invalid.
    pub fn bump_generation(&self, resource: &Resource) {
        self.generations.bump(resource);
    }

    /// Sends a message to the actor, unless its mailbox is full.
    pub(super) fn try_send<M>(&self, message: M)
    where
        M: Message<Result: Send> + Send + 'static,
        CacheActor: Handler<M>,
    {
        if let Some(actor) = self.address() {
            let _ = actor.try_send(message);
        }
    }
}
