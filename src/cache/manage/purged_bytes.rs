//! Which responses may have bytes that a purge has removed.
//!
//! A validation and the rest of a part store bytes of a response that was stored before. If a purge removes that response
//! meanwhile, their response must not be stored.

use std::sync::{Arc, Weak};

use crate::cache::{
    EntryFilter,
    fetches::{messages::Put, reader::FetchId},
    store::{
        entry::Entry,
        key::{Key, Resource},
        memory::Store,
    },
};

/// The purges that remove, as far as later responses may have bytes of what they remove.
#[derive(Debug, Default)]
pub(in crate::cache) struct RemovingPurges {
    /// Those that have begun and not gone through the whole store. One that was given up is not alive any more.
    under_way: Vec<Weak<EntryFilter>>,
    /// Earlier fetches began before the last step of a purge.
    last_step: FetchId,
}

impl RemovingPurges {
    /// Notes that a purge begins.
    pub(in crate::cache) fn begin(&mut self, filter: &Arc<EntryFilter>) {
        self.under_way.retain(|other| other.strong_count() > 0);
        self.under_way.push(Arc::downgrade(filter));
    }

    /// Notes a step of a purge. Later fetches have the number `next` or a later one.
    pub(in crate::cache) fn step(&mut self, next: FetchId) {
        self.last_step = next;
    }

    /// Notes that a purge has gone through the whole store.
    pub(in crate::cache) fn end(&mut self, filter: &Arc<EntryFilter>) {
        let ended = Arc::downgrade(filter);
        self.under_way.retain(|other| !other.ptr_eq(&ended));
    }

    /// True if `put` may have bytes of a response that a purge has removed from `store` since the fetch began, or that a purge
    /// under way has still to remove. In the second case the tiers beneath memory, which are told of a purge when it begins,
    /// would keep them.
    pub(in crate::cache) fn concern(&self, put: &Put, store: &Store) -> bool {
        let Some(bytes_of) = put.bytes_of else {
            return false;
        };
        let is_after_purges = put.id >= self.last_step;
        if is_after_purges && self.under_way.is_empty() {
            return false;
        }
        let stored = [&put.key, &put.key.shared()].map(|key: &Key| store.peek(key));
        let mut variants = stored.iter().flatten().flat_map(|one| one.variants.iter());
        // A later response of the same variant may have taken its place.
        let source = variants.find(|entry| entry.order() == bytes_of);
        if !is_after_purges && source.is_none() {
            return true;
        }
        let named = source.into_iter().chain([&put.entry]);
        self.name_one(&put.key.resource, named)
    }

    /// True if a purge under way names one of these responses of `resource`.
    fn name_one<'e>(
        &self,
        resource: &Resource,
        mut entries: impl Iterator<Item = &'e Arc<Entry>> + Clone,
    ) -> bool {
        let filters = self.under_way.iter().filter_map(Weak::upgrade);
        let filters: Vec<_> = filters.collect();
        entries.any(|entry| filters.iter().any(|filter| filter.matches(resource, entry)))
    }
}
