//! The options about the tier that several instances share.

use std::ffi::OsString;

use clap::Args;

const SHARING: &str = "Shared cache (Redis)";

/// The settings of the shared tier, as options.
#[derive(Debug, Args)]
pub struct SharedTierArgs {
    /// Share the cache with other proxies through this Redis or Valkey, such as redis://host:6379 [default: none]
    ///
    /// Also rediss://user@host:6380, unix:/run/redis.sock, and redis+cluster://host:6379. A password may be in the URL or in
    /// the variable REDIS_PASSWORD. The proxy works without Redis when it cannot be reached.
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "URL")]
    pub redis: Option<OsString>,

    /// Largest body to share, as a size such as 1MiB [default: 8MiB]
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "SIZE")]
    pub redis_max_object: Option<OsString>,

    /// How long a request waits for Redis, at most 150ms [default: 20ms]
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "DURATION")]
    pub redis_timeout: Option<OsString>,

    /// How long to serve from memory without hearing from Redis, or none for no limit [default: 30s]
    ///
    /// After that time other proxies may have been cleared, so this one clears its cache too, and works alone.
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "DURATION")]
    pub redis_lease: Option<OsString>,

    /// Name that the keys in Redis begin with; proxies share a cache if it and their origins are the same [default: caching-proxy]
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "NAME")]
    pub redis_namespace: Option<OsString>,

    /// File with a secret of at least 32 bytes, the same for all proxies; without it private responses are not shared [default: none]
    #[arg(long, help_heading = SHARING, hide_short_help = true, value_name = "FILE")]
    pub identity_secret_file: Option<OsString>,
}

impl SharedTierArgs {
    /// The options by name. `None` for those that were not given.
    pub(super) fn options(self) -> [(&'static str, Option<OsString>); 6] {
        [
            ("redis", self.redis),
            ("redis-max-object", self.redis_max_object),
            ("redis-timeout", self.redis_timeout),
            ("redis-lease", self.redis_lease),
            ("redis-namespace", self.redis_namespace),
            ("identity-secret-file", self.identity_secret_file),
        ]
    }
}
