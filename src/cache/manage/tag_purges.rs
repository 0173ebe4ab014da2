//! Purges by tags, remembered for the fetches that were under way.

use std::collections::HashMap;

use crate::{
    cache::{
        EntryFilter,
        fetches::{active::Fetch, reader::FetchId},
        store::key::Resource,
    },
    policy::StoredHead,
};

/// Purges by tags that are remembered for the fetches under way; beyond that, those are voided.
const MAX_RECALLS: usize = 64;

/// Purges by tags that fetches under way have not heard of.
#[derive(Debug, Default)]
pub(in crate::cache) struct TagPurges(Vec<TagPurge>);

#[derive(Debug)]
struct TagPurge {
    /// Fetches before this one began before the purge.
    before: FetchId,
    filter: EntryFilter,
}

impl TagPurges {
    /// Remembers the tags of a purge; false when that is too much.
    pub(in crate::cache) fn remember(&mut self, filter: &EntryFilter, before: FetchId) -> bool {
        if self.0.len() >= MAX_RECALLS {
            return false;
        }
        self.0.push(TagPurge {
            before,
            filter: filter.clone(),
        });
        true
    }

    /// True when what this fetch brings was purged after it began.
    pub(in crate::cache) fn concern(&self, id: FetchId, head: &StoredHead) -> bool {
        let mut tag_purges = self.0.iter();
        tag_purges.any(|recall| id < recall.before && recall.filter.matches_tags(head))
    }

    /// Forgets those before which no fetch is under way.
    pub(in crate::cache) fn settle(&mut self, fetches: &HashMap<Resource, Vec<Fetch>>) {
        if self.0.is_empty() {
            return;
        }
        let oldest = fetches.values().flatten().map(|fetch| fetch.id).min();
        self.0
            .retain(|recall| oldest.is_some_and(|oldest| oldest < recall.before));
    }
}
