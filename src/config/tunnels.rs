//! Settings of tunnels.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    ConfigError, SettingSources,
    value::{self, written_duration},
};

const DEFAULT_IDLE: Duration = Duration::from_secs(600);
const DEFAULT_MAX: usize = 1000;

/// Limits of tunnels (WebSocket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelSettings {
    /// How long a tunnel may be without a byte in either direction.
    pub idle: Duration,
    /// Most tunnels that are open at a time, over all workers.
    pub max: usize,
}

impl Default for TunnelSettings {
    fn default() -> Self {
        Self {
            idle: DEFAULT_IDLE,
            max: DEFAULT_MAX,
        }
    }
}

impl TunnelSettings {
    /// The settings by their keys.
    pub(super) fn values(&self) -> [(&'static str, Value); 2] {
        [
            ("tunnel_idle", json!(written_duration(self.idle))),
            ("max_tunnels", json!(self.max)),
        ]
    }
}

impl SettingSources<'_> {
    pub(super) fn tunnels(&self) -> Result<TunnelSettings, ConfigError> {
        let max = self.get("max-tunnels", |given| {
            value::count(given, "tunnels", value::MAX_CONNECTIONS)
        })?;
        Ok(TunnelSettings {
            idle: self.wait("tunnel-idle", DEFAULT_IDLE)?,
            max: max.unwrap_or(DEFAULT_MAX),
        })
    }
}
