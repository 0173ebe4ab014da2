//! Purges by tag, remembered for the fetches that were under way.

use std::collections::HashMap;

use crate::{
    cache::{
        EntryFilter,
        fetches::{active::Fetch, reader::FetchId},
        store::key::Resource,
    },
    policy::StoredHead,
};

/// The most purges by tag that are remembered. Beyond that, all fetches under way are voided.
const MAX_TAG_PURGES: usize = 64;

/// Purges by tag that came while fetches were under way.
#[derive(Debug, Default)]
pub(in crate::cache) struct TagPurges(Vec<TagPurge>);

#[derive(Debug)]
struct TagPurge {
    /// Fetches before this one began before the purge.
    before: FetchId,
    filter: EntryFilter,
}

impl TagPurges {
    /// Remembers the tags of a purge; false if there are too many.
    pub(in crate::cache) fn remember(&mut self, filter: &EntryFilter, before: FetchId) -> bool {
        if self.0.len() >= MAX_TAG_PURGES {
            return false;
        }
        self.0.push(TagPurge {
            before,
            filter: filter.clone(),
        });
        true
    }

    /// True if the response of this fetch was purged after the fetch began.
    pub(in crate::cache) fn concern(&self, id: FetchId, head: &StoredHead) -> bool {
        let mut tag_purges = self.0.iter();
        tag_purges.any(|purge| id < purge.before && purge.filter.matches_tags(head))
    }

    /// Forgets the purges that are older than every fetch under way.
    pub(in crate::cache) fn settle(&mut self, fetches: &HashMap<Resource, Vec<Fetch>>) {
        if self.0.is_empty() {
            return;
        }
        let oldest = fetches.values().flatten().map(|fetch| fetch.id).min();
        self.0
            .retain(|purge| oldest.is_some_and(|oldest| oldest < purge.before));
    }
}
