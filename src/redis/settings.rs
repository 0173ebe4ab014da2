//! What this room is opened with.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::ClientConfig;

use crate::redis::{address::MAX_NAMESPACE_BYTES, stamp::Stamp, url::RedisUrl};

/// What this room is opened with.
#[derive(Clone)]
pub struct RedisSettings {
    /// Where Redis is.
    pub url: RedisUrl,
    /// Before the names of all keys: up to 64 letters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. Instances with the same
    /// namespace share what they store.
    pub namespace: String,
    /// What this instance is called where others have to name it.
    pub instance: String,
    /// For connections with TLS.
    pub tls: Option<Arc<ClientConfig>>,
    /// How long a lookup may take.
    pub timeout: Duration,
    /// How long the own tiers may serve without having heard of Redis. `None`: for ever.
    pub lease: Option<Duration>,
    /// The longest body, in bytes.
    pub max_object_bytes: u64,
    /// The event that stands for all: it takes the place of events that could not wait.
    pub all: Bytes,
    /// What the own tiers have at the start.
    pub own_tiers: OwnTiers,
    /// A file that is made while events wait to be published. At a start that finds it, the event that stands for all is
    /// published. `None`: events that wait are lost when the process ends.
    pub unpublished: Option<PathBuf>,
    /// The clock, in milliseconds since the Unix epoch: Redis's own is compared with it.
    pub wall_clock_ms: fn() -> i64,
}

/// What the own tiers have at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnTiers {
    /// Nothing.
    Empty,
    /// Content of an earlier run, and what was applied to it. `None` if that is unknown.
    Earlier(Option<Stamp>),
}

impl OwnTiers {
    /// What was applied to them. `None` if that is unknown, or they are empty.
    pub(super) fn stamp(self) -> Option<Stamp> {
        match self {
            Self::Empty => None,
            Self::Earlier(stamp) => stamp,
        }
    }
}

/// Why the settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum RedisSettingsError {
    /// The namespace has other letters, or is too long.
    #[error(
        "a namespace has 1 to {MAX_NAMESPACE_BYTES} letters of A-Z, a-z, 0-9, \".\", \"_\" and \"-\""
    )]
    Namespace,
    /// The name of the instance is empty, too long, or has control characters.
    #[error(
        "the name of an instance has 1 to {MAX_INSTANCE_BYTES} bytes and no control characters"
    )]
    Instance,
    /// The URL asks for TLS, which is not set up.
    #[error("the URL asks for TLS, which is not set up")]
    Tls,
    /// The thread could not be started.
    #[error("cannot start the thread for Redis: {0}")]
    Thread(#[source] std::io::Error),
}

/// The longest name of an instance, in bytes.
pub(super) const MAX_INSTANCE_BYTES: usize = 200;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedisTiming {
    /// How long connecting to one server may take.
    pub(super) connect: Duration,
    /// Between two heartbeats.
    pub(super) heartbeat: Duration,
    /// How long a heartbeat, or publishing, may take.
    pub(super) answer: Duration,
    /// The longest that Redis may delay a request. Whatever takes longer means that Redis is left alone for a while.
    pub(super) hard_limit: Duration,
    /// How long Redis is left alone after a failure. It doubles with each.
    pub(super) pause: Duration,
    /// The longest pause.
    pub(super) max_pause: Duration,
    /// How long reading the stream waits for events before it asks again.
    pub(super) block: Duration,
    /// How long writing one part of a record may take.
    pub(super) write: Duration,
    /// How long an instance without connections tries to leave before it ends.
    pub(super) leave: Duration,
    /// How long the lease of a fetch holds after it was renewed.
    pub(super) fetch_lease: Duration,
    /// How often it is renewed.
    pub(super) fetch_renewal: Duration,
    /// How often a waiting instance looks whether the holder of a lease is gone.
    pub(super) fetch_poll: Duration,
    /// How long records, the stream and registrations are kept.
    pub(super) kept: Duration,
    /// The most events in the stream. Redis may keep some more.
    pub(super) stream_events: u64,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest TTL of a record.
pub(super) const MAX_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a registration holds where there is no lease.
const REGISTRATION: Duration = Duration::from_secs(30);

impl Default for RedisTiming {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            heartbeat: Duration::from_secs(1),
            answer: Duration::from_secs(1),
            hard_limit: Duration::from_millis(150),
            pause: Duration::from_secs(1),
            max_pause: Duration::from_secs(15),
            block: Duration::from_secs(1),
            write: Duration::from_secs(1),
            leave: Duration::from_millis(250),
            fetch_lease: Duration::from_secs(3),
            fetch_renewal: Duration::from_secs(1),
            fetch_poll: Duration::from_millis(250),
            kept: 31 * DAY,
            stream_events: 10_000,
        }
    }
}

impl RedisTiming {
    /// Fits the times to the length of the lease.
    pub(super) fn fit(mut self, lease: Option<Duration>) -> Self {
        if let Some(lease) = lease {
            self.heartbeat = self.heartbeat.min(lease / 10);
            self.max_pause = self.max_pause.min(lease / 4).max(self.pause);
        }
        self
    }

    /// How long a registration holds: a little longer than the lease, as clocks do not go equally fast.
    pub(super) fn registration(lease: Option<Duration>) -> Duration {
        lease.map_or(REGISTRATION, |lease| {
            lease + lease / 4 + Duration::from_secs(1)
        })
    }
}

/// A duration in milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
