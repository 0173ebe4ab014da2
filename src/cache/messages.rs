//! The messages from workers to the [`CacheActor`](super::CacheActor).

use std::{sync::Arc, time::Duration};

use actix::Message;
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        disk_tier::Removal,
        fetches::{
            reader::{FetchId, SharedFetch},
            ticket::FetchTicket,
        },
        found::Found,
        store::{
            changes::Snapshot,
            entry::Entry,
            key::{Key, Resource},
        },
    },
    policy::Time,
};

/// Looks up a key.
#[derive(Message, Debug)]
#[rtype(result = "Found")]
pub struct Get(pub Key);

/// Asks for the right to fetch a key and to store the response.
#[derive(Message, Debug)]
#[rtype(result = "Claimed")]
pub struct Claim {
    /// The key to fetch.
    pub key: Key,
    /// What the decision to fetch is based on.
    pub basis: ClaimBasis,
    /// The stored response to revalidate; `None` if a new one is fetched.
    pub revalidates: Option<Arc<Entry>>,
    /// Whether the fetch may be shared with other requests.
    pub coalescing: Coalescing,
    /// Which variant is requested ([`policy::variant`](crate::policy::variant)); `None` if no Vary of the key is known.
    /// Only fetches for the same variant are shared.
    pub variant: Option<u64>,
    /// How old a fetch without a head may be for other requests to wait for it.
    pub wait: Duration,
    /// The time of the claim.
    pub now: Time,
}

/// What the decision to fetch is based on. If it has changed since, the claim is not granted.
#[derive(Debug)]
pub enum ClaimBasis {
    /// The result of a lookup.
    Found(Found),
    /// The state when the fetch began, without a claim.
    Since(Snapshot),
}

/// Which requests share a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coalescing {
    /// All requests for the key: the claim joins a fetch under way, or leads one that others join.
    Join,
    /// No others. The response may still be stored.
    Never,
    /// All requests for the key. The claim is for a validation in the background, after the client got a stale response.
    /// It is declined if one is under way for the same stored response, or if recent responses could not be shared.
    Background,
}

/// The result of a [`Claim`].
#[derive(Debug)]
pub enum Claimed {
    /// The stored responses have changed since the lookup: decide again.
    Changed(Found),
    /// A fetch is under way: follow it.
    Follow(SharedFetch),
    /// Fetch, and store the response with this ticket.
    Lead(FetchTicket),
    /// No validation in the background now; or the response of a fetch without a claim must not be stored.
    Declined,
}

/// Removes one stored response: a newer response makes it invalid without replacing it, or its body cannot be read.
#[derive(Message, Debug)]
#[rtype(result = "Removal")]
pub struct Remove {
    /// The key of the lookup.
    pub key: Key,
    /// The response.
    pub entry: Arc<Entry>,
    /// Where.
    pub reach: RemovalReach,
}

/// Where a response is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalReach {
    /// At all instances that share it.
    Everywhere,
    /// At this one: what the others have is as it was.
    Here,
}

/// Removes every variant of some resources, of every identity and every body, and voids their fetches (RFC 9111, 4.4).
#[derive(Message, Clone, Debug)]
#[rtype(result = "Removal")]
pub struct Invalidate {
    /// The resources.
    pub resources: Arc<[Resource]>,
    /// The fetch whose response causes this, which is not voided; `None` if there is no such fetch.
    pub(super) by: Option<FetchId>,
    /// The unsafe request whose related paths are concerned, and when it had its response; `None` if there is none.
    pub(super) related: Option<(Resource, Time)>,
    /// Whether another instance has told of it. Then the others know it too.
    pub(super) is_from_others: bool,
}

impl Invalidate {
    /// Invalidates `resources`. The fetch of `ticket`, whose response causes this, may still store that response.
    pub fn new(resources: impl Into<Arc<[Resource]>>, ticket: Option<&FetchTicket>) -> Self {
        Self {
            resources: resources.into(),
            by: ticket.map(FetchTicket::id),
            related: None,
            is_from_others: false,
        }
    }

    /// Invalidates what another instance has invalidated, as an unsafe request to the resource of `related` did.
    pub(super) fn from_others(resources: Vec<Resource>, related: Option<(Resource, Time)>) -> Self {
        Self {
            resources: resources.into(),
            by: None,
            related,
            is_from_others: true,
        }
    }

    /// Also makes guessed responses stale whose path is related to that of `resource`: an unsafe request to it was
    /// successful at `at`.
    #[must_use]
    pub fn with_related(mut self, resource: Resource, at: Time) -> Self {
        self.related = Some((resource, at));
        self
    }
}

/// Removes all stored responses and voids all fetches.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Removal")]
pub struct Clear;

/// Asks for the counters of the cache.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "CacheStats")]
pub struct GetStats;

/// The counters of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Stored responses.
    pub entries: u64,
    /// Their memory, in bytes, overhead included.
    pub stored_bytes: u64,
    /// All memory that counts against the budget, in bytes. It includes bodies that are arriving, and evicted bodies that
    /// slow readers still hold.
    pub used_bytes: u64,
    /// The budget, in bytes.
    pub limit_bytes: u64,
    /// Responses that were evicted since the start.
    pub evictions: u64,
    /// Fetches under way.
    pub fetches: u64,
    /// Requests that have joined these fetches.
    #[serde(default)]
    pub followers: u64,
    /// Validations in the background that were declined since the start, because one was under way or had just failed.
    #[serde(default)]
    pub declined: u64,
}
