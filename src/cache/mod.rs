//! The cache: an actor that owns the stored responses, and its clients.
//!
//! | place | what it holds |
//! |---|---|
//! | `actor` | [`CacheActor`]: it alone changes the store and the list of fetches |
//! | `actor_starts` | the address of the actor, also after it was started again |
//! | `messages` | the messages of the actor: [`Get`], [`Claim`], [`Put`], [`Clear`], [`Invalidate`], ... |
//! | `ends` | what the actor does when stored responses end |
//! | `found` | the results of lookups and changes: [`Found`], [`PutOutcome`], [`Cleared`] |
//! | `hand_over` | [`Cache::hand_over`]: what is left to do when another process takes over |
//! | `handle` | [`Cache`]: the handle that the rest of the program uses |
//! | `store` | responses in memory, their keys and counts, the budget, eviction |
//! | `fetches` | [`FetchTicket`], [`BodyWriter`], [`SharedFetch`]: one fetch, written once and read by many |
//! | `disk_tier` | [`DiskTier`]: the store on disk beneath memory |
//! | `shared_tier` | [`SharedTier`]: what several proxies share, beneath memory and disk |
//! | `worker_cache` | [`WorkerCache`]: a worker's lookups in the index of what is stored |
//! | `hit_for_miss` | what is remembered of a response that was not stored |
//! | `known_misses` | [`KnownMisses`]: keys of which a worker knows that their responses are not stored |
//! | `not_stored_paths` | the paths whose last response was not storable |
//! | `room` | evictions for what arrives and what is stored, in steps |
//! | `recent` | a bounded number of values by hash |
//! | `successor` | the process that has taken over, as the actor knows it |
//! | `unsafe_requests` | the number of unsafe requests in progress |
//! | `namespace` | [`Namespace`]: the names of keys in the tiers beneath memory |
//! | `manage` | [`Cache::list`], [`Cache::purge`]: a chunk at a time |
//!
//! # Why a Clear holds for every worker
//!
//! Workers find what is stored in one index, which the actor alone writes, and look there for each request. [`Clear`] voids
//! the tickets and puts an empty index in the place of the one before, in one message, and only then answers. So a later
//! request finds nothing. A fetch that began earlier has lost its ticket, so its [`Put`] stores nothing. [`Invalidate`],
//! purges and evictions take single keys out of the index, and hold in the same way. What a worker keeps beside the index,
//! it uses only for what it has just found there.
//! A fetch without a claim ([`KnownMisses`]) claims before its response is stored, and that claim is declined if anything of
//! its resource has changed since the fetch began. A response that is read from disk without a claim ([`UnclaimedLoad`]) is
//! not sent if anything has ended since the request began.
//!
//! If the actor does not answer in time, the sender of an [`Invalidate`] makes workers ask the actor about the resource
//! ([`Cache::force_invalidate`]). `tests/it/model.rs` tests all this with many clients on several workers.
//!
//! An actor that has panicked is started again with nothing stored and an empty index ([`Cache::send`]). Its tickets are void,
//! because they address the actor before it.

mod actor;
mod actor_starts;
mod disk_tier;
mod ends;
mod fetches;
mod found;
mod hand_over;
mod handle;
mod hit_for_miss;
mod known_misses;
mod manage;
mod messages;
mod namespace;
mod not_stored_paths;
mod recent;
mod room;
mod shared_tier;
mod store;
mod successor;
#[cfg(test)]
mod tests;
mod unavailable;
mod unsafe_requests;
mod worker_cache;

pub use actor::CacheActor;
pub use disk_tier::{DiskTier, Loaded, OnDisk, OpenedTier, Removal, UnclaimedLoad};
pub use fetches::messages::Put;
pub use fetches::reader::{
    BodyError, BodyReader, FetchEnd, FetchEvent, FetchFailure, SharedError, SharedFetch, SharedHead,
};
pub use fetches::ticket::FetchTicket;
pub use fetches::writer::{BodyWriter, Span};
pub use found::{Cleared, Found, PutOutcome};
pub use handle::Cache;
pub use known_misses::KnownMisses;
pub use manage::filter::{EntryFilter, FilterError, FilterSpec, parse_target};
pub use manage::inspecting::{Inspect, KeyState};
pub use manage::key_variants::{KeyVariants, ListedKey};
pub use manage::listing::{ChunkedLookup, ListQuery, Listing, MAX_LISTED, MAX_OFFSET};
pub use manage::purging::{PurgeAction, PurgeError, Purged};
pub use manage::ranking::ListOrder;
pub use messages::{
    CacheStats, Claim, ClaimBasis, Claimed, Clear, Coalescing, Get, GetStats, Invalidate,
    RemovalReach, Remove,
};
pub use namespace::Namespace;
pub use shared_tier::{
    ClearHere, InSharedTier, OtherInstances, SharedTier, SharingSettings, ToldOthers, Turn,
    Unconfirmed,
};
pub use store::body::{Body, Slices};
pub use store::changes::Snapshot;
pub use store::entry::Entry;
pub use store::file_body::FileBody;
pub use store::key::{Key, KeyRef, Resource, ResourceRef};
pub use successor::PassedEnd;
pub use unavailable::CacheUnavailable;
pub use unsafe_requests::CountedRequest;
pub use worker_cache::{CachedLookup, WorkerCache, WorkerCacheMode};
