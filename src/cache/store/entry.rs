//! A stored response.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::FetchId,
        store::{body::Body, budget::Budget, key::Key},
    },
    policy::{Audience, StoredHead, Time},
};

/// The memory of an entry beyond head and body, with that of two allocations, in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 88;

/// A stored response: a head that the policy judged, and its body.
#[derive(Debug)]
pub struct Entry {
    head: Arc<StoredHead>,
    body: Body,
    /// The memory of the head is counted against it until the entry is dropped.
    budget: Arc<Budget>,
    head_bytes: u32,
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
        // No head has 4 GiB.
        let bytes = head.weight_bytes() + ENTRY_OVERHEAD_BYTES;
        let head_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        budget.take(head_bytes.into());
        Self {
            head,
            body,
            budget: Arc::clone(budget),
            head_bytes,
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
        self.head_bytes.into()
    }

    /// The memory that the entry uses of the budget, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        self.head_bytes() + self.body.weight_bytes()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.budget.give_back(self.head_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_takes_little_memory_beside_head_and_body() {
        // With the counters of its Arc it is in the allocator's class of 64 bytes.
        assert!(size_of::<Entry>() + 2 * size_of::<usize>() <= 64);
    }
}
