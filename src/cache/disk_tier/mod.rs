//! The store on disk, as the cache uses it: beneath memory, and optional.
//!
//! | file | what it holds |
//! |---|---|
//! | `tier` | [`DiskTier`]: what is written, read and ended |
//! | `heads` | the heads of what is stored, for lists |
//! | `load` | [`Cache::load`](crate::cache::Cache::load): brings what is stored on disk for a key into memory |
//! | `acting` | what the actor does with it |
//! | `endings` | which ends the disk has not confirmed yet |
//! | `end_counts` | how many ends the disk has confirmed, as workers know it |
//! | `unclaimed` | [`UnclaimedLoad`]: reads a response for one request, past the actor and memory |
//! | `recent_loads` | which keys were read so not long ago |
//! | `noted` | which unsafe requests the disk knows already |
//! | `notes` | unsafe requests, as the disk remembers them |
//! | `on_disk` | [`OnDisk`]: a response that the disk has |
//! | `record` | a stored response as a record |
//! | `removal` | what has ended, and when the disk has confirmed it |
//! | `rule` | a purge as a rule |
//!
//! Whoever leads a fetch asks the disk first. What it has is put into memory, and the request looks up again: so every
//! decision is made on what is in memory. The actor alone changes both, in the same order. It grants a ticket that may load
//! only if the disk has confirmed everything that ends what the ticket is for; what ends it later voids the ticket.
//!
//! There is one exception: when memory is full, a response that was not asked for recently is sent as it was read, without a
//! claim. Workers see in the [`EndCounts`](end_counts::EndCounts) and in the counters of changes whether anything has ended
//! meanwhile.

mod acting;
mod end_counts;
mod endings;
mod heads;
mod load;
mod noted;
mod notes;
mod on_disk;
mod recent_loads;
mod record;
mod removal;
mod rule;
mod tier;
mod unclaimed;

pub(in crate::cache) use self::{
    endings::{EndScope, Endings},
    heads::HeadsPage,
    recent_loads::RecentLoads,
    removal::Confirmation,
};
pub use self::{
    load::Loaded,
    on_disk::OnDisk,
    removal::Removal,
    tier::{DiskTier, OpenedTier},
    unclaimed::UnclaimedLoad,
};
