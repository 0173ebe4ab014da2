//! What one worker holds.

use std::{rc::Rc, sync::Arc};

use tokio::sync::Semaphore;

use crate::{
    cache::{KnownMisses, WorkerCache, WorkerCacheMode},
    headers::LastMember,
    observe::WorkerCounters,
    origin::{Origin, OriginConfig},
    policy::PerOrigin,
    proxy::{
        hit::prepared::PreparedResponses, request::upload::BodyBuffers,
        request_config::WorkerConfig, response::refusal_log::RefusalLog, shared::Shared,
    },
};

/// Validations in the background that one worker runs at a time.
const MAX_BACKGROUND: usize = 32;

/// What one worker holds. It belongs to the thread that makes it.
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) config: WorkerConfig,
    /// Lookups, with the responses prepared from them.
    pub(crate) worker_cache: WorkerCache<PreparedResponses>,
    /// Keys whose responses are not stored.
    pub(crate) known_misses: KnownMisses,
    /// The origins, each with connections of its own.
    pub(crate) origins: PerOrigin<Origin>,
    /// Permits for validations in the background.
    pub(crate) background: Arc<Semaphore>,
    pub(crate) buffers: BodyBuffers,
    /// The member of Cache-Status in the last response.
    pub(crate) last_member: LastMember,
    pub(crate) counters: Rc<WorkerCounters>,
}

impl Worker {
    /// The counters of this worker.
    pub fn counters(&self) -> Rc<WorkerCounters> {
        Rc::clone(&self.counters)
    }

    /// Counts and logs the requests that are refused before the handler gets them.
    pub fn refusal_log(&self) -> RefusalLog {
        let feed = self.shared.observer.feed().cloned();
        let request_id = self.shared.config().deployment.request_id.clone();
        RefusalLog::new(Rc::clone(&self.counters), feed, request_id)
    }

    /// A worker with its own connections to the origins.
    pub fn new(
        shared: Arc<Shared>,
        origins: &PerOrigin<OriginConfig>,
        worker_cache: WorkerCacheMode,
    ) -> Self {
        let config = WorkerConfig::new(shared.in_force.clone(), Arc::clone(&shared.observer));
        let workers = config.current().config.workers;
        let counters = Rc::new(shared.observer.tally());
        Self {
            worker_cache: WorkerCache::new(shared.cache.clone(), workers, worker_cache),
            known_misses: KnownMisses::new(shared.cache.clone()),
            config,
            shared,
            origins: origins.map(|origin| Origin::new(origin.clone())),
            background: Arc::new(Semaphore::new(MAX_BACKGROUND)),
            buffers: BodyBuffers::default(),
            last_member: LastMember::default(),
            counters,
        }
    }

    /// True if no request may go to an origin now. Requests that began before a change find out here.
    pub(crate) fn is_offline(&self) -> bool {
        self.config.current().config.offline
    }
}
