//! The keys of the configuration file.

/// Keys of the file. All except the routes and the rules are also flags and variables.
pub(super) const KEYS: &[&str] = &[
    "port",
    "origin",
    "bind",
    "policy",
    "ttl",
    "timeout",
    "client_timeout",
    "coalesce_wait",
    "max_memory",
    "max_object",
    "max_stale",
    "origin_ca",
    "first_byte_timeout",
    "max_rate",
    "proxy",
    "insecure",
    "tunnel_idle",
    "max_tunnels",
    "workers",
    "preserve_host",
    "no_rewrite",
    "cors",
    "offline",
    "record",
    "identity_headers",
    "identity_cookies",
    "ignored_cookies",
    "drop_headers",
    "masked_parameters",
    "log_format",
    "dashboard",
    "trusted_proxies",
    "proxy_protocol",
    "metrics",
    "request_id",
    ROUTES,
    RULES,
];
/// The key of the routes.
pub(super) const ROUTES: &str = "routes";
/// The key of the rules.
pub(super) const RULES: &str = "rules";
