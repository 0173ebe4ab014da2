//! The cache: an actor that owns what is stored, and what its clients hold.
//!
//! | place | what it holds |
//! |---|---|
//! | `actor` | [`CacheActor`]: the only one who changes the store and the list of fetches |
//! | `messages` | the messages of the actor: [`Get`], [`Claim`], [`Put`], [`Clear`], [`Invalidate`], ... |
//! | `found` | what a lookup finds, and what has become of a change: [`Found`], [`PutOutcome`], [`Cleared`] |
//! | `handle` | [`Cache`]: how the rest of the program holds it |
//! | `store` | entries in memory, their keys, the budget, eviction |
//! | `fetches` | [`FetchTicket`], [`BodyWriter`], [`SharedFetch`]: one fetch, written once and read by many |
//! | `worker_cache` | [`WorkerCache`]: a worker's copies of lookups, valid for one generation |
//! | `manage` | [`Cache::list`], [`Cache::purge`]: a chunk at a time |
//!
//! A fetch is stored only while its ticket counts. [`Clear`] and [`Invalidate`] forget the tickets together with the
//! entries, in one message: what was fetched before can not come back after.

mod actor;
mod fetches;
mod found;
mod handle;
mod manage;
mod messages;
mod store;
#[cfg(test)]
mod tests;
mod unavailable;
mod worker_cache;

pub use actor::CacheActor;
pub use fetches::messages::Put;
pub use fetches::reader::{BodyError, BodyReader, FetchEnd, FetchEvent, SharedFetch, SharedHead};
pub use fetches::ticket::FetchTicket;
pub use fetches::writer::{BodyWriter, Span};
pub use found::{Cleared, Found, PutOutcome, Snapshot};
pub use handle::Cache;
pub use manage::filter::{EntryFilter, FilterError, FilterSpec, parse_target};
pub use manage::listing::{
    Inspect, KeyState, KeyVariants, ListOrder, ListQuery, ListedKey, Listing, MAX_LISTED,
    MAX_OFFSET,
};
pub use manage::purging::{PurgeAction, Purged};
pub use messages::{
    CacheStats, Claim, ClaimBasis, Claimed, Clear, Coalescing, Get, GetStats, Invalidate, Remove,
};
pub use store::body::{Body, Slices};
pub use store::entry::Entry;
pub use store::key::{Key, PlainKey, Resource};
pub use unavailable::CacheUnavailable;
pub use worker_cache::copies::{CachedLookup, WorkerCache, WorkerCacheMode};
