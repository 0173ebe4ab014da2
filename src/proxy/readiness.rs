//! Whether this proxy should get requests.

use crate::{policy::Time, proxy::shared::Shared};

/// Whether a load balancer should send requests to this proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It should.
    Ready,
    /// The proxy is shutting down.
    Stopping,
    /// No origin has responded since the last failure, a short time ago.
    OriginFailing,
}

impl Shared {
    /// Whether this proxy should get requests at `now`. It listens.
    pub fn readiness(&self, now: Time) -> Readiness {
        if self.is_stopping() {
            return Readiness::Stopping;
        }
        let timeout = self.in_force.borrow().config.timeout;
        match self.origin_health.is_failing(now, timeout) {
            true => Readiness::OriginFailing,
            false => Readiness::Ready,
        }
    }
}
