//! The fetches under way, as the actor knows them.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::{FetchId, SharedFetch},
        store::{entry::Entry, key::Partition},
    },
    policy::Time,
};

/// A fetch under way whose ticket counts.
pub(in crate::cache) struct Fetch {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) part: Partition,
    pub(in crate::cache) since: Time,
    pub(in crate::cache) revalidates: Option<Arc<Entry>>,
    /// None: nobody may join.
    pub(in crate::cache) fill: Option<SharedFetch>,
    /// How many requests have joined it.
    pub(in crate::cache) followers: u64,
}

impl Fetch {
    /// True if it asks the origin about `entry`.
    pub(in crate::cache) fn is_about(&self, entry: Option<&Arc<Entry>>) -> bool {
        let both = self.revalidates.as_ref().zip(entry);
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }
}
