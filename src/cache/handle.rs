//! How everybody else holds the cache.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
};

use actix::{Actor as _, Addr, Handler, Message};
use tokio::{sync::Notify, time::timeout};

use crate::cache::{
    actor::CacheActor,
    found::Snapshot,
    messages::Invalidate,
    store::{budget::Budget, key::Resource},
    unavailable::{CacheUnavailable, PATIENCE, in_time},
    worker_cache::generations::Generations,
};

/// The cache, to be asked and told. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    hosted: Arc<Hosted>,
    pub(super) generations: Arc<Generations>,
    pub(super) budget: Arc<Budget>,
    max_object_bytes: u64,
}

#[derive(Debug, Default)]
struct Hosted {
    actor: OnceLock<Addr<CacheActor>>,
    /// Told when there is one.
    begun: Notify,
}

impl Cache {
    /// An empty cache. Its actor starts where somebody is its host.
    pub fn new(max_memory_bytes: u64, max_object_bytes: u64) -> Self {
        Self {
            hosted: Arc::default(),
            generations: Generations::new(),
            budget: Budget::new(max_memory_bytes),
            max_object_bytes,
        }
    }

    /// Starts the actor in the arbiter of this thread, unless it has started somewhere else.
    ///
    /// Every worker offers itself: to ask an actor in a thread that is awake costs less than to wake another one.
    pub fn start(&self) {
        self.hosted.actor.get_or_init(|| {
            let (budget, generations) = (Arc::clone(&self.budget), Arc::clone(&self.generations));
            CacheActor::new(budget, generations, self.max_object_bytes).start()
        });
        self.hosted.begun.notify_waiters();
    }

    /// Asks the actor, for a limited time.
    ///
    /// # Errors
    /// The cache did not answer, which is logged here.
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

    /// The actor, which may be about to start.
    async fn actor(&self) -> Option<&Addr<CacheActor>> {
        if let Some(actor) = self.hosted.actor.get() {
            return Some(actor);
        }
        let mut begun = pin!(self.hosted.begun.notified());
        // From here on no start is missed.
        begun.as_mut().enable();
        if self.hosted.actor.get().is_none() {
            let _ = timeout(PATIENCE, begun).await;
        }
        self.hosted.actor.get()
    }

    /// Tells the actor what it must know, and does not wait.
    pub fn do_send<M>(&self, message: M)
    where
        M: Message<Result: Send> + Send + 'static,
        CacheActor: Handler<M>,
    {
        if let Some(actor) = self.hosted.actor.get() {
            actor.do_send(message);
        }
    }

    /// Has `invalidate` hold although the actor did not answer when it was asked: what workers remember counts no more,
    /// and an actor that was only late comes to it before it answers anybody again.
    pub fn force_invalidate(&self, invalidate: Invalidate) {
        let resources = invalidate.resources.clone();
        self.do_send(invalidate);
        for resource in &resources {
            self.bump_generation(resource);
        }
    }

    /// Now, for a fetch of `resource` that claims later, when it is known what it has brought: if anything is stored for
    /// `resource` in between, or invalidated, or the cache is cleared, the claim is declined.
    pub fn snapshot(&self, resource: &Resource) -> Snapshot {
        Snapshot(self.generations.current(resource))
    }

    /// What workers remember of `resource` counts no more, until the actor has said it again.
    pub fn bump_generation(&self, resource: &Resource) {
        self.generations.bump(resource);
    }

    /// Tells the actor what it need not know when it has no time for it.
    pub(super) fn try_send<M>(&self, message: M)
    where
        M: Message<Result: Send> + Send + 'static,
        CacheActor: Handler<M>,
    {
        if let Some(actor) = self.hosted.actor.get() {
            let _ = actor.try_send(message);
        }
    }
}
