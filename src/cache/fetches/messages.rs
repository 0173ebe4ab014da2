//! The messages from a ticket to the actor.

use std::sync::Arc;

use actix::Message;

use crate::{
    cache::{
        fetches::reader::FetchId,
        found::PutOutcome,
        store::{entry::Entry, key::Key},
    },
    policy::{Reason, Time},
    redis::{FetchLease, Stamp},
};

/// Stores an entry, unless its fetch was voided.
#[derive(Message, Debug)]
#[rtype(result = "PutOutcome")]
pub struct Put {
    pub(in crate::cache) key: Key,
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) entry: Arc<Entry>,
    /// The order of the entry, or of the entry that it updates. Later entries are not replaced.
    pub(in crate::cache) since: (Time, FetchId),
    /// The right to fetch it for all instances, if there is one. It ends when the response is shared.
    pub(in crate::cache) lease: Option<FetchLease>,
    /// The present time. Entries received after it are from before the clock was set back, and are replaced.
    pub(in crate::cache) now: Time,
    /// The order of the stored response of which the body has bytes; `None` if all of them came with this fetch.
    pub(in crate::cache) bytes_of: Option<(Time, FetchId)>,
}

/// Puts a response of a tier beneath memory into memory, unless its fetch was voided.
#[derive(Message, Debug)]
#[rtype(result = "PutOutcome")]
pub struct Load {
    /// The key of the fetch.
    pub(in crate::cache) key: Key,
    pub(in crate::cache) id: FetchId,
    /// Where it comes from.
    pub(in crate::cache) from: LoadedFrom,
    /// The key that the response is stored under.
    pub(in crate::cache) stored_key: Key,
    pub(in crate::cache) entry: Arc<Entry>,
    pub(in crate::cache) now: Time,
}

/// Where a response comes from that is put into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum LoadedFrom {
    /// The disk.
    Disk {
        /// How many responses had been removed when the ticket was granted.
        removals: u64,
    },
    /// The tier that several instances share.
    SharedTier {
        /// What was applied at the instance that has fetched it, when its fetch began.
        stamp: Stamp,
    },
}

/// Ends a fetch that has stored nothing.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct EndFetch {
    pub(in crate::cache) key: Key,
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) result: FetchResult,
    /// Why the response is not stored; `None` if there was no response.
    pub(in crate::cache) refused: Option<Reason>,
}

/// How a fetch has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum FetchResult {
    /// The response is stored.
    Stored,
    /// Nothing is stored, and that is usual: the fetch was not decided on a lookup.
    Unused,
    /// Nothing is stored this time.
    Failed,
    /// Nothing is stored, and the next responses for the key will probably not be stored either.
    NotShareable,
}

/// Evicts some keys if `bytes` more do not fit into the budget.
#[derive(Message, Debug)]
#[rtype(result = "RoomMade")]
pub struct MakeRoom {
    pub(in crate::cache) bytes: u64,
}

/// Evicts some keys if `entry`, whose bytes count already, does not fit among the stored responses.
#[derive(Message, Debug)]
#[rtype(result = "RoomMade")]
pub struct MakePlace {
    /// The key that it will be stored under.
    pub(in crate::cache) key: Key,
    pub(in crate::cache) entry: Arc<Entry>,
}

/// What an eviction has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomMade {
    /// The bytes fit.
    Enough,
    /// They do not fit yet, and more can be evicted.
    NotYet,
    /// They do not fit, and nothing is left to evict.
    None,
}
