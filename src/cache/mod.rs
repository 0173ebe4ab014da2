//! The cache: an actor that owns what is stored, and what its clients hold.
//!
//! | file | what |
//! |---|---|
//! | `actor.rs` | [`CacheActor`]: the only one who changes the store and the list of fetches |
//! | `handle.rs` | [`Cache`]: how everybody else holds it |
//! | `messages.rs` | what it is asked: [`Get`], [`Claim`], [`Clear`], [`Invalidate`], ... |
//! | `key.rs` | [`Resource`] and [`Key`]: what a response is filed under |
//! | `near.rs`, `generations.rs` | [`Near`]: what a worker remembers, and how it learns that this has changed |
//! | `entry.rs` | [`Entry`]: a stored response |
//! | `body.rs` | [`Body`]: chains of immutable pieces, read without locks |
//! | `ticket.rs` | [`Ticket`]: the right to store what one fetch brings |
//! | `filler.rs`, `window.rs` | [`Filler`]: takes a body in |
//! | `fill.rs` | [`Fill`], [`Reader`]: one fetch for many askers |
//! | `store.rs` | entries in memory, and who is evicted |
//! | `wanted.rs` | [`Wanted`]: which stored responses somebody means |
//! | `listing.rs`, `purging.rs` | [`Cache::list`], [`Cache::purge`]: a chunk at a time |
//! | `budget.rs` | how much may be held, and how much is |
//!
//! A fetch is stored only while its ticket counts. [`Clear`] and [`Invalidate`] forget the tickets together with the
//! entries, in one message: what was fetched before can not come back after.

mod actor;
mod body;
mod budget;
mod entry;
mod fill;
mod filler;
mod generations;
mod handle;
mod key;
mod listing;
mod messages;
mod near;
mod purging;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod ticket;
mod wanted;
mod window;

pub use actor::{CacheActor, CacheUnavailable};
pub use body::{Body, Slices};
pub use entry::Entry;
pub use fill::{BodyCut, End, Fill, News, Opening, Reader};
pub use filler::{Filler, Span};
pub use handle::Cache;
pub use key::{Key, Plain, Resource};
pub use listing::{Consider, Known, List, Listed, Listing, MAX_LISTED, MAX_OFFSET, Order, Row};
pub use messages::{
    Claim, Claimed, Clear, Cleared, Company, Found, Get, Invalidate, Moment, Put, PutOutcome,
    Remove, Seen, Statistics, Stats,
};
pub use near::{Near, Remembered};
pub use purging::{How, Purged};
pub use ticket::Ticket;
pub use wanted::{BadName, Names, Wanted, target};
