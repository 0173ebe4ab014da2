//! The numbers of this room.

use serde::{Deserialize, Serialize};

/// Numbers of the shared tier. The counts begin with the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedisStats {
    /// Why Redis is not in use. `None` if it is in use.
    pub bypassed: Option<String>,
    /// Lookups that were sent.
    pub lookups: u64,
    /// Records that were found and are as they were written.
    pub found: u64,
    /// Calls that were not answered in time.
    pub late: u64,
    /// Calls that were refused, or whose connection broke.
    pub failed: u64,
    /// Records that were not as they were written, or of another type.
    pub corrupt: u64,
    /// Records written.
    pub written: u64,
    /// Bytes of these, with their heads.
    pub written_bytes: u64,
    /// Records that were to be written and were not.
    pub dropped: u64,
    /// The bytes of records that wait to be written.
    pub waiting_bytes: u64,
    /// Events that wait to be published.
    pub waiting_events: u64,
    /// Events that were read.
    pub events: u64,
    /// How often Redis was left alone after failures.
    pub left_alone: u64,
    /// How long the last heartbeat took, in microseconds.
    pub round_trip_us: u64,
    /// Redis's clock minus ours, in milliseconds.
    pub clock_difference_ms: i64,
    /// The names of the registered instances, with this one.
    pub instances: Vec<String>,
    /// Whether a restart of Redis is noticed. Without permission for INFO it is not.
    pub notices_restarts: bool,
}
