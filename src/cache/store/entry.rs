//! A stored response.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::FetchId,
        store::{
            body::Body,
            budget::{Budget, Charge},
            key::Key,
        },
    },
    policy::{Audience, StoredHead, Time},
};

/// The memory of an entry beyond head and body: the slot in the store, the key, allocations.
const ENTRY_OVERHEAD_BYTES: u64 = 160;

/// A stored response: a head that the policy judged, and its body.
#[derive(Debug)]
pub struct Entry {
    head: Arc<StoredHead>,
    body: Body,
    charge: Charge,
    fetch_millis: u32,
    begun: FetchId,
}

impl Entry {
    /// An entry that the fetch `begun` has brought or validated, and whose body took `fetch_millis` milliseconds.
    pub(in crate::cache) fn new(
        head: Arc<StoredHead>,
        body: Body,
        (begun, fetch_millis): (FetchId, u32),
        budget: &Arc<Budget>,
    ) -> Self {
        let charge = budget.charge(head.weight_bytes() + ENTRY_OVERHEAD_BYTES);
        Self {
            head,
            body,
            charge,
            fetch_millis,
            begun,
        }
    }

    /// The same response with another head.
    pub(in crate::cache) fn with_head(&self, head: StoredHead, budget: &Arc<Budget>) -> Self {
        let fetch = (self.begun, self.fetch_millis);
        Self::new(Arc::new(head), self.body.clone(), fetch, budget)
    }

    /// The same response with its body in another form.
    pub(in crate::cache) fn with_body(&self, body: Body, budget: &Arc<Budget>) -> Self {
        let fetch = (self.begun, self.fetch_millis);
        Self::new(Arc::clone(&self.head), body, fetch, budget)
    }

    /// The fetch that has brought or validated it.
    pub(in crate::cache) fn begun(&self) -> FetchId {
        self.begun
    }

    /// The order among the responses of a variant: by when the head was received, within a millisecond by when the fetch
    /// began.
    pub(in crate::cache) fn order(&self) -> (Time, FetchId) {
        (self.head.received(), self.begun)
    }

    /// How long the fetch from the origin took, in milliseconds. A hit saves that time.
    pub fn fetch_millis(&self) -> u32 {
        self.fetch_millis
    }

    /// The head.
    pub fn head(&self) -> &Arc<StoredHead> {
        &self.head
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The key that it is stored under if it was fetched for `key`.
    pub(in crate::cache) fn key_for(&self, key: &Key) -> Key {
        match self.head.audience() {
            Audience::Everyone => key.shared(),
            Audience::Partition => key.clone(),
        }
    }

    /// The memory of the entry without its body, in bytes.
    pub(in crate::cache) fn head_bytes(&self) -> u64 {
        self.charge.bytes()
    }

    /// The memory that the entry uses of the budget, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.charge.bytes() + self.body.weight_bytes()
    }
}
