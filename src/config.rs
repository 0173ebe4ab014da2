//! Configuration.
use std::{net::IpAddr, path::PathBuf, time::Duration};

/// Everything a proxy needs to know, validated.
#[derive(Clone, Debug)]
pub struct Config {
    /// The port to listen on.
    pub port: u16,
    /// The address to listen on.
    pub bind: IpAddr,
    /// Where requests are forwarded to.
    pub origin: crate::origin::OriginUrl,
    /// Decides what is stored and reused.
    pub policy: crate::policy::Policy,
    /// The longest silence of the origin.
    pub timeout: Duration,
    /// Budget of the cache, in bytes, overhead included.
    pub max_memory_bytes: u64,
    /// Largest body kept, in bytes.
    pub max_object_bytes: u64,
    /// PEM file of certificates trusted beside the system's.
    pub origin_ca: Option<PathBuf>,
    /// Threads that serve.
    pub workers: usize,
    /// Forward the client's Host instead of the origin's.
    pub preserve_host: bool,
}
