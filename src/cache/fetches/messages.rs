//! What a ticket tells the actor.

use std::sync::Arc;

use actix::Message;

use crate::{
    cache::{
        fetches::reader::FetchId,
        found::PutOutcome,
        store::{entry::Entry, key::Key},
    },
    policy::{Reason, Time},
};

/// Stores an entry, if the fetch that brought it still counts.
#[derive(Message, Debug)]
#[rtype(result = "PutOutcome")]
pub struct Put {
    pub(in crate::cache) key: Key,
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) entry: Arc<Entry>,
    /// When the head came that this entry goes back to: what was received later is not replaced.
    pub(in crate::cache) since: Time,
}

/// A fetch is over.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct EndFetch {
    pub(in crate::cache) key: Key,
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) released: FetchResult,
    /// Why what it brought is not stored.
    pub(in crate::cache) refused: Option<Reason>,
}

/// What a fetch leaves behind when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum FetchResult {
    /// What it brought is stored.
    Stored,
    /// It brought nothing to store, as it mostly does: it was for something else.
    Unused,
    /// It brought nothing to store, this time.
    Failed,
    /// Answers for this key are nobody else's for now: those who come soon need not wait for each other.
    NotShareable,
}

/// Evicts until `bytes` more fit into the budget; true when they do.
#[derive(Message, Debug)]
#[rtype(result = "bool")]
pub struct MakeRoom {
    pub(in crate::cache) bytes: u64,
}
