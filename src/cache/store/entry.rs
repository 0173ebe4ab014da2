//! A stored response.

use std::sync::Arc;

use crate::{
    cache::store::{
        body::Body,
        budget::{Budget, Charge},
    },
    policy::StoredHead,
};

/// What an entry costs beyond head and body: its place in the store, the key, allocations.
const ENTRY_OVERHEAD_BYTES: u64 = 160;

/// A stored response: a head that the policy judged, and its body.
#[derive(Debug)]
pub struct Entry {
    head: Arc<StoredHead>,
    body: Body,
    charge: Charge,
    fetch_millis: u32,
}

impl Entry {
    /// `fetch_millis` is what it took to fetch it, in milliseconds.
    pub(in crate::cache) fn new(
        head: Arc<StoredHead>,
        body: Body,
        fetch_millis: u32,
        budget: &Arc<Budget>,
    ) -> Self {
        let charge = budget.charge(head.weight_bytes() + ENTRY_OVERHEAD_BYTES);
        Self {
            head,
            body,
            charge,
            fetch_millis,
        }
    }

    /// What it took to fetch it from the origin, in milliseconds: that is what a hit spares.
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

    /// What the entry counts against the budget, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.charge.bytes() + self.body.weight_bytes()
    }
}
