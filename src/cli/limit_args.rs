//! The options about memory, threads and connections.

use std::ffi::OsString;

use clap::Args;

use super::LIMITS;

/// The limits of the proxy, as options.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Memory for the cache, as a size such as 1GiB [default: 256MiB]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "SIZE")]
    pub max_memory: Option<OsString>,

    /// Largest body to cache, as a size such as 16MiB [default: a quarter of --max-memory]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "SIZE")]
    pub max_object: Option<OsString>,

    /// Number of worker threads [default: one per CPU core]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "NUMBER")]
    pub workers: Option<OsString>,

    /// Most client connections at a time; further ones wait until one ends [default: 8192]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "NUMBER")]
    pub max_clients: Option<OsString>,

    /// How long a tunnel (WebSocket) may be without a byte in either direction [default: 10m]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "DURATION")]
    pub tunnel_idle: Option<OsString>,

    /// Most tunnels (WebSocket) that are open at a time [default: 1000]
    #[arg(long, help_heading = LIMITS, hide_short_help = true, value_name = "NUMBER")]
    pub max_tunnels: Option<OsString>,
}

impl LimitArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 6] {
        [
            ("max-memory", self.max_memory),
            ("max-object", self.max_object),
            ("workers", self.workers),
            ("max-clients", self.max_clients),
            ("tunnel-idle", self.tunnel_idle),
            ("max-tunnels", self.max_tunnels),
        ]
    }
}
