//! The cache: an actor that owns what is stored, and what its clients hold.
//!
//! | place | what it holds |
//! |---|---|
//! | `actor` | [`CacheActor`]: the only one who changes the store and the list of fetches |
//! | `messages` | the messages of the actor: [`Get`], [`Claim`], [`Put`], [`Clear`], [`Invalidate`], ... |
//! | `handle` | [`Cache`]: how the rest of the program holds it |
//! | `store` | entries in memory, their keys, the budget, eviction |
//! | `fetches` | [`Ticket`], [`Filler`], [`Fill`]: one fetch, written once and read by many |
//! | `worker_cache` | [`Near`]: a worker's copies of lookups, valid for one generation |
//! | `manage` | [`Cache::list`], [`Cache::purge`]: a chunk at a time |
//!
//! A fetch is stored only while its ticket counts. [`Clear`] and [`Invalidate`] forget the tickets together with the
//! entries, in one message: what was fetched before can not come back after.

mod actor;
mod fetches;
mod handle;
mod manage;
mod messages;
mod store;
#[cfg(test)]
mod tests;
mod worker_cache;

pub use actor::{CacheActor, CacheUnavailable};
pub use fetches::reader::{BodyCut, End, Fill, News, Opening, Reader};
pub use fetches::ticket::Ticket;
pub use fetches::writer::{Filler, Span};
pub use handle::Cache;
pub use manage::listing::{
    Consider, Known, List, Listed, Listing, MAX_LISTED, MAX_OFFSET, Order, Row,
};
pub use manage::purging::{How, Purged};
pub use manage::wanted::{BadName, Names, Wanted, target};
pub use messages::{
    Claim, Claimed, Clear, Cleared, Company, Found, Get, Invalidate, Moment, Put, PutOutcome,
    Remove, Seen, Statistics, Stats,
};
pub use store::body::{Body, Slices};
pub use store::entry::Entry;
pub use store::key::{Key, Plain, Resource};
pub use worker_cache::lookups::{Near, Remembered};
