//! Whether this proxy should get requests.

use crate::{policy::Time, proxy::shared::Shared};

/// Whether a load balancer should send requests to this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// It should, for what is stored: the proxy is offline, whatever the origins do.
    Offline,
    /// The proxy is shutting down.
    Stopping,
    /// Each origin has failed a short time ago, and not responded since.
    OriginFailing,
}

impl Shared {
    /// Whether this proxy should get requests at `now`. It listens.
    pub fn readiness(&self, now: Time) -> Readiness {
        if self.is_stopping() {
            return Readiness::Stopping;
        }
        let config = self.config();
        if config.offline {
            return Readiness::Offline;
        }
        let timeout = config.head_limit().time;
        let mut origins = self.origins.iter();
        match origins.all(|origin| origin.health.is_failing(now, timeout)) {
            true => Readiness::OriginFailing,
            false => Readiness::Ready,
        }
    }
}
