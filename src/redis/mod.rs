//! The shared tier: what is stored in Redis or Valkey, for several instances of the program.
//!
//! This room knows nothing of HTTP. It takes and gives back bytes: a [`SharedAddress`], a head, a body, and events.
//!
//! | place | what it holds |
//! |---|---|
//! | `handle` | [`Redis`]: the handle that the rest of the program uses |
//! | `settings` | [`RedisSettings`]: what it is opened with; how long things take |
//! | `url` | [`RedisUrl`] |
//! | `address` | [`SharedAddress`]: what a record is looked up by; the names of all keys |
//! | `record` | [`NewRecord`], [`SharedRecord`]: a record, and its bytes |
//! | `stamp` | [`Stamp`]: a position in the stream of events |
//! | `events` | [`RedisMessage`]: what has to be applied and confirmed |
//! | `lookup`, `writes` | reading records, and writing them in the background |
//! | `fetch_lease`, `waiters` | [`FetchTurn`]: one fetch for all instances |
//! | `acknowledgements` | [`Acknowledgements`]: which instances have not applied an event |
//! | `check` | [`check`]: what a configuration check says |
//! | `stats`, `unavailable` | [`RedisStats`]; why there is no answer |
//! | `unpublished` | [`NotPublished`]; the mark on disk that events wait |
//! | `boot_time` | [`boot_time_ms`]: the clock of leases |
//! | `keeper`, `session` | the thread: it connects, reads events, sends heartbeats, publishes |
//! | `reading`, `stream` | what was read of the stream of events, and what of it was applied |
//! | `heartbeat`, `lease_clock` | the registration of this instance, and until when it may serve alone |
//! | `outbox`, `pause` | events that wait; how long Redis is left alone after failures |
//! | `shared` | what the thread and its callers share |
//! | `servers`, `connect`, `slots` | connections: to one server, or to the nodes of a cluster |
//! | `reply_limit`, `replies`, `script` | replies, limited and by type; the scripts that Redis runs |
//! | `random` | random numbers |
//!
//! # What holds
//!
//! - Nothing needs Redis. A call that Redis does not answer in time is a miss; after failures all calls answer at once,
//!   until a heartbeat was answered.
//! - An event ends records by comparison, and nothing is deleted: each record has the position up to which its instance
//!   had applied the events when its fetch began. Positions have no gaps, so a missing event is always noticed; then, and
//!   if the data in Redis are others, the user is told to empty its own tiers.
//! - Data are others after a restart of Redis and after a failover, even if Redis has kept them: a snapshot and a replica
//!   may lack the last events.
//! - A lease is counted from the sending of a heartbeat, and only if all events that it knew of were applied.
//! - What waits to be published is published before anything else is read or written.
//! - What Redis sends is limited before it is kept, and checked before it is used.
//! - Callers use the connections from their own threads, which the crate `redis` allows; the thread `redis` reads and
//!   writes. They share no lock of ours.
//!
//! The crate `redis` packs commands, keeps their order on a connection, and reads replies. Connections are opened here:
//! for TLS with the settings of the rest of the program, and since the crate buffers replies of any length. The nodes of a
//! cluster are chosen here, since they use these connections.

mod acknowledgements;
mod address;
mod boot_time;
mod check;
mod connect;
mod events;
mod fetch_lease;
mod handle;
mod heartbeat;
mod keeper;
mod lease_clock;
mod lookup;
mod outbox;
mod pause;
mod random;
mod reading;
mod record;
mod replies;
mod reply_limit;
mod script;
mod servers;
mod session;
mod settings;
mod shared;
mod slots;
mod stamp;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod unavailable;
mod unpublished;
mod url;
mod waiters;
mod writes;

pub use acknowledgements::Acknowledgements;
pub use address::SharedAddress;
pub use boot_time::boot_time_ms;
pub use check::{RedisCheckError, RedisReport, check};
pub use connect::ConnectError;
pub use events::{RedisEvents, RedisMessage, RedisMessageKind};
pub use fetch_lease::{FetchLease, FetchTurn, FetchWait, SharedFetchEnd};
pub use handle::{Publishing, Redis};
pub use record::{ChunkedBody, NewRecord, SharedRecord, SharedRecordBody};
pub use settings::{OwnTiers, RedisSettings, RedisSettingsError};
pub use stamp::{DataEpoch, Stamp};
pub use stats::RedisStats;
pub use unavailable::RedisUnavailable;
pub use unpublished::NotPublished;
pub use url::{RedisUrl, RedisUrlError};
