//! The store on disk, as the cache uses it: beneath memory, and optional.
//!
//! | file | what it holds |
//! |---|---|
//! | `tier` | [`DiskTier`]: what is written, read and ended |
//! | `heads` | the heads of what is stored, for lists |
//! | `load` | [`Cache::load`](crate::cache::Cache::load): brings what is stored on disk for a key into memory |
//! | `acting` | what the actor does with it |
//! | `endings` | which ends the disk has not confirmed yet |
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

mod acting;
mod endings;
mod heads;
mod load;
mod noted;
mod notes;
mod on_disk;
mod record;
mod removal;
mod rule;
mod tier;

pub(in crate::cache) use self::{
    endings::{EndScope, Endings},
    heads::HeadsPage,
    removal::Confirmation,
};
pub use self::{
    load::Loaded,
    on_disk::OnDisk,
    removal::Removal,
    tier::{DiskTier, OpenedTier},
};
