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
        store::{
            entry::Entry,
            key::{Key, Resource},
            shared_list::SharedList,
        },
        worker_cache::generations::Generation,
    },
    policy::{Reason, Time},
};

/// What is stored for a key?
#[derive(Message, Debug)]
#[rtype(result = "Found")]
pub struct Get(pub Key);

/// What is stored for a key: in the partition of its identity, and in everybody's.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub(super) own: Option<SharedList<Entry>>,
    pub(super) shared: Option<SharedList<Entry>>,
    /// Until when this is what is stored.
    pub(super) generation: Generation,
}

impl Found {
    /// All variants, those of the identity's own partition first.
    pub fn variants(&self) -> impl Iterator<Item = &Arc<Entry>> + Clone {
        let own = self.own.iter().flat_map(|variants| variants.iter());
        own.chain(self.shared.iter().flat_map(|variants| variants.iter()))
    }

    /// What all of it counts against the budget, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.variants().map(|entry| entry.weight_bytes()).sum()
    }

    /// True when nothing was stored, replaced or removed between the two looks.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        fn same(a: Option<&SharedList<Entry>>, b: Option<&SharedList<Entry>>) -> bool {
            match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.is_same_as(b),
                _ => false,
            }
        }
        same(self.own.as_ref(), other.own.as_ref())
            && same(self.shared.as_ref(), other.shared.as_ref())
    }
}

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

/// When a fetch began that may come to claim the right to store what it has brought.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot(pub(super) Generation);

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

/// Stores an entry, if the fetch that brought it still counts.
#[derive(Message, Debug)]
#[rtype(result = "PutOutcome")]
pub struct Put {
    pub(super) key: Key,
    pub(super) id: FetchId,
    pub(super) entry: Arc<Entry>,
    /// When the head came that this entry goes back to: what was received later is not replaced.
    pub(super) since: Time,
}

/// What became of a [`Put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// Stored.
    Stored,
    /// A Clear or an invalidation came in between.
    Void,
    /// A newer answer is stored.
    Outdated,
    /// Everything else that could be evicted was, and it still does not fit.
    NoRoom,
}

/// A fetch is over.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct EndFetch {
    pub(super) key: Key,
    pub(super) id: FetchId,
    pub(super) released: FetchResult,
    /// Why what it brought is not stored.
    pub(super) refused: Option<Reason>,
}

/// What a fetch leaves behind when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FetchResult {
    /// What it brought is stored.
    Stored,
    /// It brought nothing to store, as it mostly does: it was for something else.
    Unused,
    /// It brought nothing to store, this time.
    Failed,
    /// Answers for this key are nobody else's for now: those who come soon need not wait for each other.
    NotShareable,
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

/// Evicts until `bytes` more fit into the budget; true when they do.
#[derive(Message, Debug)]
#[rtype(result = "bool")]
pub struct MakeRoom {
    pub(super) bytes: u64,
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

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Stored responses.
    pub entries: u64,
    /// What they held, in bytes, overhead included.
    pub bytes: u64,
}

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
