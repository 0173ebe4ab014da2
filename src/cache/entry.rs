//! A stored response.

use std::sync::Arc;

use super::{
    body::Body,
    budget::{Budget, Charge},
    shared::Shared,
};
use crate::policy::Stored;

/// What an entry costs beyond head and body: its place in the store, the key, allocations.
const ENTRY_OVERHEAD_BYTES: u64 = 160;

/// A stored response: a head that the policy judged, and its body.
#[derive(Debug)]
pub struct Entry {
    head: Arc<Stored>,
    body: Body,
    charge: Charge,
}

impl Entry {
    pub(super) fn new(head: Arc<Stored>, body: Body, budget: &Arc<Budget>) -> Self {
        let charge = budget.charge(head.weight_bytes() + ENTRY_OVERHEAD_BYTES);
        Self { head, body, charge }
    }

    /// The head.
    pub fn head(&self) -> &Arc<Stored> {
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

/// The variants of one key, the newest first.
pub(super) type Variants = Shared<Entry>;
