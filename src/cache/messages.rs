//! What the [`CacheActor`](super::CacheActor) is asked.

use std::sync::Arc;

use actix::Message;
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        fetches::{
            reader::{FetchId, SharedFetch},
            ticket::FetchTicket,
        },
        found::{Cleared, Found, Snapshot},
        store::{
            entry::Entry,
            key::{Key, Resource},
        },
    },
    policy::Time,
};

/// What is stored for a key?
#[derive(Message, Debug)]
#[rtype(result = "Found")]
pub struct Get(pub Key);

/// These keys are in use.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Touch(pub(super) Vec<KeyUse>);

/// A key in use.
#[derive(Clone, Debug)]
pub(super) struct KeyUse {
    pub(super) key: Key,
    /// How many answers came from what a worker remembers of it, that the actor does not know of.
    pub(super) hits: u32,
}

/// May I fetch this, or is somebody at it?
#[derive(Message, Debug)]
#[rtype(result = "Claimed")]
pub struct Claim {
    /// What is to be fetched.
    pub key: Key,
    /// What the fetch was decided on.
    pub basis: ClaimBasis,
    /// The stored response that the origin is asked about.
    pub revalidates: Option<Arc<Entry>>,
    /// Alone, or in coalescing.
    pub coalescing: Coalescing,
    /// The time of the claim.
    pub now: Time,
}

/// What a fetch was decided on. Where that is no longer so, the claim is not granted.
#[derive(Debug)]
pub enum ClaimBasis {
    /// This was stored.
    Found(Found),
    /// The fetch began then, without a claim.
    Since(Snapshot),
}

/// With whom a fetch is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// With all who want the same.
    Join,
    /// With nobody: the answer may still be stored.
    Never,
    /// With all who want the same, and only if nobody asks about the same stored response and the last answers could be
    /// shared: the client has been answered already.
    Background,
}

/// The answer to a [`Claim`].
#[derive(Debug)]
pub enum Claimed {
    /// What is stored has changed in between: decide again.
    Changed(Found),
    /// Somebody is at it: follow.
    Follow(SharedFetch),
    /// Fetch it, and store it with this ticket.
    Lead(FetchTicket),
    /// A fetch in the background is not wanted now; or what was fetched without a claim is no longer to be stored.
    Declined,
}

/// Removes one stored response, which a newer answer has made void without taking its place.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct Remove {
    /// The key it was found by.
    pub key: Key,
    /// The response.
    pub entry: Arc<Entry>,
}

/// Removes every variant of these resources in every partition, whatever body was asked with, and voids the fetches of them (RFC 9111, 4.4).
#[derive(Message, Clone, Debug)]
#[rtype(result = "Cleared")]
pub struct Invalidate {
    /// What has become invalid.
    pub resources: Vec<Resource>,
    /// The fetch whose answer tells of it.
    pub(super) by: Option<FetchId>,
}

impl Invalidate {
    /// Invalidates `resources`, but for what `ticket` will store: the answer that tells of it may itself be stored.
    pub fn new(resources: Vec<Resource>, ticket: Option<&FetchTicket>) -> Self {
        Self {
            resources,
            by: ticket.map(FetchTicket::id),
        }
    }
}

/// Empties the cache and voids every fetch under way.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Cleared")]
pub struct Clear;

/// How is the cache doing?
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "CacheStats")]
pub struct GetStats;

/// How the cache is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Stored responses.
    pub entries: u64,
    /// What they hold, in bytes, overhead included.
    pub stored_bytes: u64,
    /// All that counts against the budget, in bytes: also what is on its way in, and what slow readers still hold.
    pub used_bytes: u64,
    /// How much may be held, in bytes.
    pub limit_bytes: u64,
    /// Entries that had to make room since the start.
    pub evictions: u64,
    /// Fetches under way.
    pub fetches: u64,
    /// Requests that have joined these fetches.
    #[serde(default)]
    pub followers: u64,
    /// Validations in the background that were declined since the start: one was under way, or had just failed.
    #[serde(default)]
    pub declined: u64,
}
