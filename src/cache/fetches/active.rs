//! The fetches under way, as the actor knows them.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::reader::{FetchId, SharedFetch},
        store::{entry::Entry, key::Partition},
    },
    policy::Time,
};

/// A fetch under way. Its response may be stored as long as the actor has the fetch in its list.
pub(in crate::cache) struct Fetch {
    pub(in crate::cache) id: FetchId,
    pub(in crate::cache) partition: Partition,
    /// When it began.
    pub(in crate::cache) since: Time,
    /// The stored response that it revalidates; `None` if it fetches a new one.
    pub(in crate::cache) revalidates: Option<Arc<Entry>>,
    /// What followers join; `None` if there may be no followers.
    pub(in crate::cache) joinable: Option<SharedFetch>,
    /// How many requests have joined.
    pub(in crate::cache) followers: u64,
}

impl Fetch {
    /// True if it revalidates `entry`.
    pub(in crate::cache) fn revalidates(&self, entry: Option<&Arc<Entry>>) -> bool {
        let both = self.revalidates.as_ref().zip(entry);
        both.is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }
}
