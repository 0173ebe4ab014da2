//! What all workers share.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::http::header::HeaderValue;
use tokio::sync::{Semaphore, watch};

use crate::{
    cache::Cache,
    config::Config,
    headers::OwnVia,
    observe::{CertificateReport, LiveRequests, Observer, OriginState},
    origin::{OriginPace, OriginUrl},
    policy::{IdentitySecret, OriginIndex, PerOrigin, Time},
    proxy::{availability::Availability, origin_health::OriginHealth},
    reload::ActiveConfig,
    tls::ServerTls,
};

/// What all workers share.
pub struct Shared {
    /// The cache.
    pub cache: Cache,
    /// The secret under which identities are hashed.
    pub secret: IdentitySecret,
    /// Our own member of Via.
    pub via: OwnVia,
    /// The configuration in force.
    pub in_force: watch::Receiver<ActiveConfig>,
    /// Counts the outcomes of requests.
    pub observer: Arc<Observer>,
    /// TLS towards clients. `None`: they speak plain HTTP.
    pub tls: Option<ServerTls>,
    /// Permits for tunnels.
    pub(crate) tunnels: Arc<Semaphore>,
    /// No more requests are wanted.
    stopping: AtomicBool,
    /// The origins, by their index.
    pub(crate) origins: PerOrigin<SharedOrigin>,
}

/// What all workers share of one origin.
pub struct SharedOrigin {
    pub(crate) url: OriginUrl,
    /// The Host that it gets.
    pub(crate) host: HeaderValue,
    /// Whether it is known to fail.
    pub(crate) health: OriginHealth,
    /// Whether it gets requests where it is one of several.
    pub(crate) availability: Availability,
    /// How fast requests go to it.
    pub(crate) pace: Arc<OriginPace>,
}

impl SharedOrigin {
    fn new(url: &OriginUrl, config: &Config) -> io::Result<Self> {
        Ok(Self {
            url: url.clone(),
            host: HeaderValue::try_from(url.authority()).map_err(io::Error::other)?,
            health: OriginHealth::default(),
            availability: Availability::default(),
            pace: Arc::new(OriginPace::new(config.origin_settings.max_rate)),
        })
    }
}

impl Shared {
    /// The state of a proxy with this configuration and this cache, which hashes identities under `secret`.
    ///
    /// # Errors
    /// The name of an origin is no valid Host.
    pub fn new(
        config: &Config,
        in_force: watch::Receiver<ActiveConfig>,
        cache: Cache,
        secret: IdentitySecret,
    ) -> io::Result<Self> {
        let live_requests = match config.dashboard {
            Some(_) => LiveRequests::On,
            None => LiveRequests::Off,
        };
        Ok(Self {
            origins: config
                .origins
                .try_map(|url| SharedOrigin::new(url, config))?,
            cache,
            secret,
            via: OwnVia::new(&own_name()).map_err(io::Error::other)?,
            in_force,
            observer: Arc::new(Observer::new(live_requests, config.origins.iter().count())),
            tls: None,
            tunnels: Arc::new(Semaphore::new(config.tunnels.max)),
            stopping: AtomicBool::new(false),
        })
    }

    /// The origins as they are at `now`, by their index.
    pub fn origin_states(&self, now: Time) -> impl Iterator<Item = OriginState<'_>> {
        let config = self.config();
        let origins = self.origins.iter().enumerate();
        origins.map(move |(index, origin)| OriginState {
            url: &origin.url,
            pace: &origin.pace,
            is_avoided: config.is_one_of_several(OriginIndex(index))
                && !origin.availability.is_open(now),
        })
    }

    /// The certificates that clients get at `now`, the default one first; empty without TLS.
    pub fn certificates(&self, now: Time) -> Vec<CertificateReport> {
        let expiry = self.tls.iter().flat_map(ServerTls::expiry);
        expiry.map(|it| CertificateReport::new(it, now)).collect()
    }

    /// From now on no more requests are wanted.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.in_force.borrow().config)
    }
}

/// The name of this proxy in Via. No other instance has the same, so that a loop can be told (RFC 9110, 7.6.3).
fn own_name() -> String {
    let number = RandomState::new().hash_one(std::process::id());
    format!("caching-proxy-{number:016x}")
}
