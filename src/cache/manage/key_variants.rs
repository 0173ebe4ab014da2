//! What is stored for one key, in lists.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    cache::store::{entry::Entry, key::Key, stored::Stored},
    mask::hidden,
    policy::{Audience, Time},
};

/// What is stored for one key.
#[derive(Clone, Debug)]
pub struct KeyVariants {
    /// The key.
    pub key: Key,
    /// The responses, the newest first.
    pub variants: Arc<[Arc<Entry>]>,
    /// Hits on them so far.
    pub hits: u64,
    /// Whether they are on disk alone. Then their bodies are not here.
    pub is_on_disk: bool,
}

impl KeyVariants {
    pub(super) fn of(key: &Key, stored: &Stored) -> Self {
        Self {
            key: key.clone(),
            variants: stored.variants.iter().cloned().collect(),
            hits: stored.hits(),
            is_on_disk: false,
        }
    }

    /// What is stored for one key on disk alone.
    pub(super) fn on_disk(key: Key, entry: Arc<Entry>) -> Self {
        Self {
            key,
            variants: Arc::new([entry]),
            hits: 0,
            is_on_disk: true,
        }
    }

    /// Adds another variant on disk.
    pub(super) fn add(&mut self, entry: Arc<Entry>) {
        self.variants = self.variants.iter().cloned().chain([entry]).collect();
    }

    pub(super) fn body_bytes(&self) -> u64 {
        let bytes = self.variants.iter().map(|entry| entry.body().len_bytes());
        bytes.sum()
    }

    /// The memory of all variants, in bytes. 0 for what is on disk alone.
    pub(super) fn memory_bytes(&self) -> u64 {
        if self.is_on_disk {
            return 0;
        }
        self.variants.iter().map(|entry| entry.weight_bytes()).sum()
    }

    pub(super) fn listed(&self, now: Time) -> Option<ListedKey> {
        let head = self.variants.first()?.head();
        let asks_with_body = self.key.content.is_some();
        Some(ListedKey {
            path: hidden(self.key.resource.target()).into_owned(),
            host: self.key.resource.host().map(str::to_owned),
            origin: self.key.resource.origin().map(str::to_owned),
            method: if asks_with_body { "POST" } else { "GET" }.to_owned(),
            status: head.status().as_u16(),
            body_bytes: self.body_bytes(),
            memory_bytes: self.memory_bytes(),
            age_seconds: head.age_seconds(now),
            fresh_seconds: head.ttl_seconds(now),
            is_stale: !head.is_fresh(now),
            hits: self.hits,
            variants: self.variants.len() as u64,
            is_own: self.key.identity.is_some() && head.audience() == Audience::Partition,
            provenance: head.provenance().name().map(str::to_owned),
            is_on_disk: self.is_on_disk,
        })
    }
}

/// One key, by its newest response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedKey {
    /// Path and query, secrets masked.
    pub path: String,
    /// The Host; `None` if clients do not choose it.
    pub host: Option<String>,
    /// The origin of its route; `None` if that is the first one.
    #[serde(default)]
    pub origin: Option<String>,
    /// The method of requests for it.
    pub method: String,
    /// The status.
    pub status: u16,
    /// The bodies of all variants, in bytes.
    pub body_bytes: u64,
    /// The memory of all variants, in bytes, overhead included.
    pub memory_bytes: u64,
    /// RFC 9111, 4.2.3, in seconds.
    pub age_seconds: u64,
    /// How long it is fresh, in seconds, negative if it is stale; `None` if it is fresh until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// Whether it is stale.
    pub is_stale: bool,
    /// Hits so far, of all variants.
    pub hits: u64,
    /// Responses stored for it.
    pub variants: u64,
    /// Whether only one identity gets it.
    pub is_own: bool,
    /// `recorded` if it is only served offline, `imported` if it came from a file; `None` if neither is the case.
    #[serde(default)]
    pub provenance: Option<String>,
    /// Whether it is on disk alone.
    #[serde(default)]
    pub is_on_disk: bool,
}
