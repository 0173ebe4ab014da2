//! What one worker holds, and what all workers share.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    rc::Rc,
    sync::Arc,
};

use actix::{Handler, Message};
use actix_web::http::header::HeaderValue;
use tokio::sync::{Semaphore, watch};

use crate::{
    cache::{
        Cache, CacheActor, CacheUnavailable, CachedLookup, Claim, ClaimBasis, Claimed, Found,
        WorkerCache,
    },
    config::Config,
    observe::{LiveRequests, Observer, WorkerCounters},
    origin::{Origin, OriginConfig},
    policy::{IdentitySecret, Time},
    proxy::{
        fetch::lead::FetchPlan,
        hit::prepared::PreparedResponses,
        request::{forwarded::ForwardedRequest, upload::BodyBuffers},
        request_config::WorkerConfig,
    },
    reload::ActiveConfig,
};

/// Validations in the background that one worker has under way at the most.
const MAX_BACKGROUND: usize = 32;

/// What all workers share.
pub struct Shared {
    /// The cache.
    pub cache: Cache,
    /// Tells identities apart.
    pub secret: IdentitySecret,
    /// Our own member of Via.
    pub via: HeaderValue,
    /// The configuration in force.
    pub in_force: watch::Receiver<ActiveConfig>,
    /// The origin's Host.
    pub origin_host: HeaderValue,
    /// Counts what becomes of requests.
    pub observer: Arc<Observer>,
}

impl Shared {
    /// For a proxy with this configuration, before this cache.
    ///
    /// # Errors
    /// The origin's name can not be a Host.
    pub fn new(
        config: &Config,
        in_force: watch::Receiver<ActiveConfig>,
        cache: Cache,
    ) -> io::Result<Self> {
        let host = HeaderValue::try_from(config.origin.authority());
        let live_requests = match config.dashboard {
            Some(_) => LiveRequests::On,
            None => LiveRequests::Off,
        };
        Ok(Self {
            origin_host: host.map_err(io::Error::other)?,
            cache,
            secret: IdentitySecret::new(),
            via: own_via(),
            in_force,
            observer: Arc::new(Observer::new(live_requests)),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.in_force.borrow().config)
    }
}

/// What one worker answers with.
pub struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) worker_cache: WorkerCache<PreparedResponses>,
    pub(crate) newest: WorkerConfig,
    pub(crate) origin: Origin,
    /// Leave to validate behind a client's back.
    pub(crate) background: Arc<Semaphore>,
    pub(crate) held: BodyBuffers,
    pub(crate) tally: Rc<WorkerCounters>,
}

impl Worker {
    /// A worker with connections of its own to the origin. Belongs to the thread that makes it.
    pub fn new(shared: Arc<Shared>, origin: OriginConfig) -> Self {
        let newest = WorkerConfig::new(shared.in_force.clone());
        let workers = newest.get().config.workers;
        let tally = Rc::new(shared.observer.tally());
        Self {
            worker_cache: WorkerCache::new(shared.cache.clone(), workers),
            newest,
            shared,
            origin: Origin::new(origin),
            background: Arc::new(Semaphore::new(MAX_BACKGROUND)),
            held: BodyBuffers::default(),
            tally,
        }
    }

    /// What is stored for `ask`.
    pub(crate) async fn find(&self, ask: &ForwardedRequest) -> Rc<CachedLookup<PreparedResponses>> {
        self.worker_cache.lookup(&ask.key).await
    }

    /// Asks the actor.
    pub(crate) async fn ask<M>(&self, message: M) -> Result<M::Result, CacheUnavailable>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        CacheActor: Handler<M>,
    {
        self.shared.cache.send(message).await
    }

    pub(crate) async fn claim(
        &self,
        ask: &ForwardedRequest,
        seen: Found,
        plan: &FetchPlan,
        now: Time,
    ) -> Option<Claimed> {
        let claim = Claim {
            key: ask.key.clone(),
            basis: ClaimBasis::Found(seen),
            revalidates: plan.about(),
            coalescing: plan.coalescing,
            now,
        };
        let claimed = self.ask(claim).await.ok()?;
        Some(self.still_counting(ask, claimed))
    }

    /// What was divided among users by another configuration must not be stored beside what is divided by this one. To
    /// look after the claim suffices: a fetch that was claimed before the change is voided with the cache.
    pub(crate) fn still_counting(&self, ask: &ForwardedRequest, claimed: Claimed) -> Claimed {
        match claimed {
            Claimed::Lead(_) if !self.newest.is(&ask.config) => Claimed::Declined,
            claimed => claimed,
        }
    }
}

/// Our own member of Via: a name that no other instance has, for that is how a loop is known.
pub fn own_via() -> HeaderValue {
    let name = RandomState::new().hash_one(std::process::id());
    HeaderValue::try_from(format!("1.1 caching-proxy-{name:016x}"))
        .unwrap_or(HeaderValue::from_static("1.1 caching-proxy"))
}
