//! The options about proxies in front of this one, and about what watches it.

use std::ffi::OsString;

use clap::Args;

use super::LOGGING;

const FRONT: &str = "Behind another proxy";

/// The settings about what stands around the proxy, as options.
#[derive(Debug, Args)]
pub struct DeploymentArgs {
    /// Serve metrics and health checks on this address, such as 0.0.0.0:9090 [default: none]
    ///
    /// /metrics is for Prometheus, /healthz and /readyz are for load balancers and Kubernetes. Nothing else is served there.
    #[arg(long, help_heading = LOGGING, hide_short_help = true, value_name = "ADDRESS")]
    pub metrics: Option<OsString>,

    /// Header with an id for each request, such as X-Request-Id [default: none]
    ///
    /// An id is made where a request has none. It is logged, forwarded, and sent back in the response.
    #[arg(long, help_heading = LOGGING, hide_short_help = true, value_name = "HEADER")]
    pub request_id: Option<OsString>,

    /// Proxies whose X-Forwarded-* and Forwarded headers are believed [default: none]
    ///
    /// A comma-separated list of addresses, networks such as 10.0.0.0/8, and `unix`.
    #[arg(long, help_heading = FRONT, hide_short_help = true, value_name = "LIST")]
    pub trusted_proxies: Option<OsString>,

    /// Expect a header of the PROXY protocol, version 1 or 2, at the beginning of each connection [default: false]
    ///
    /// A connection without it is closed. If --trusted-proxies is set, so is one from another peer.
    #[arg(long, help_heading = FRONT, hide_short_help = true, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub proxy_protocol: Option<OsString>,
}

impl DeploymentArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 4] {
        [
            ("trusted-proxies", self.trusted_proxies),
            ("proxy-protocol", self.proxy_protocol),
            ("metrics", self.metrics),
            ("request-id", self.request_id),
        ]
    }
}
