//! Purges by tag, remembered for the fetches that were under way.

use crate::{
    cache::{EntryFilter, fetches::reader::FetchId},
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
    /// How many of them are still under way.
    under_way: usize,
    filter: EntryFilter,
}

impl TagPurges {
    /// Remembers the tags of a purge for the fetches before `before`, of which so many are under way; false if there are too
    /// many purges.
    pub(in crate::cache) fn remember(
        &mut self,
        filter: &EntryFilter,
        before: FetchId,
        under_way: usize,
    ) -> bool {
        if under_way == 0 {
            return true;
        }
        if self.0.len() >= MAX_TAG_PURGES {
            return false;
        }
        self.0.push(TagPurge {
            before,
            under_way,
            filter: filter.clone(),
        });
        true
    }

    /// True if the response of this fetch was purged after the fetch began.
    pub(in crate::cache) fn concern(&self, id: FetchId, head: &StoredHead) -> bool {
        let mut tag_purges = self.0.iter();
        tag_purges.any(|purge| id < purge.before && purge.filter.matches_tags(head))
    }

    /// Notes that a fetch is not under way any more, and forgets the purges that are older than every fetch under way.
    pub(in crate::cache) fn ended(&mut self, id: FetchId) {
        self.0.retain_mut(|purge| {
            purge.under_way -= usize::from(id < purge.before);
            purge.under_way > 0
        });
    }

    /// Forgets all purges, because no fetch is under way.
    pub(in crate::cache) fn clear(&mut self) {
        self.0.clear();
    }

    #[cfg(test)]
    pub(in crate::cache) fn len(&self) -> usize {
        self.0.len()
    }
}
