//! What all workers share.

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    sync::Arc,
};

use actix_web::http::header::HeaderValue;
use tokio::sync::watch;

use crate::{
    cache::Cache,
    config::Config,
    headers::OwnVia,
    observe::{LiveRequests, Observer},
    origin::OriginPace,
    policy::IdentitySecret,
    proxy::origin_health::OriginHealth,
    reload::ActiveConfig,
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
    /// The Host that the origin gets.
    pub origin_host: HeaderValue,
    /// Counts the outcomes of requests.
    pub observer: Arc<Observer>,
    /// Whether the origin is known to fail.
    pub(crate) origin_health: OriginHealth,
    /// How fast requests go to the origin.
    pub(crate) origin_pace: Arc<OriginPace>,
}

impl Shared {
    /// The state of a proxy with this configuration and this cache.
    ///
    /// # Errors
    /// The origin's name is no valid Host.
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
            via: OwnVia::new(&own_name()).map_err(io::Error::other)?,
            in_force,
            observer: Arc::new(Observer::new(live_requests)),
            origin_health: OriginHealth::default(),
            origin_pace: Arc::new(OriginPace::new(config.origin_settings.max_rate)),
        })
    }

    /// How fast requests go to the origin.
    pub fn origin_pace(&self) -> Arc<OriginPace> {
        Arc::clone(&self.origin_pace)
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
