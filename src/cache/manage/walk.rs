//! Walking over the stored keys that a filter may match, a step for each message. After each step, other tasks run.

use crate::cache::{
    EntryFilter,
    actor::CacheActor,
    store::{key::Key, stored::Stored},
};

/// The effort of one step: some 30 responses with short keys, and one pattern.
const STEP: usize = 512;
/// The effort for each response of a key, and one more for so many bytes of the key.
const KEY_EFFORT: usize = 16;
const BYTES_FOR_ONE: usize = 16;

/// Where a walk goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::cache) struct WalkPlace {
    /// The number of the resource among those that the filter names; 0 if it names none.
    resource: usize,
    /// The number of the key.
    key: usize,
}

impl CacheActor {
    /// Shows `see` the keys that `filter` may match, from `place` on, as many as one step allows. Returns where to go on;
    /// `None` at the end.
    pub(super) fn walk(
        &self,
        filter: &EntryFilter,
        place: WalkPlace,
        mut see: impl FnMut(&Key, &Stored),
    ) -> Option<WalkPlace> {
        let mut effort = 0;
        let mut step = |stored: Option<&Stored>| {
            effort += stored.map_or(1, |stored| {
                let key = stored.key.key();
                see(&key, stored);
                let len = key.resource.target().len();
                let responses = stored.variants.len().max(1);
                (KEY_EFFORT + len / BYTES_FOR_ONE) * responses * filter.patterns().max(1)
            });
            effort < STEP
        };
        let Some(resources) = filter.resources() else {
            let next = self.store.walk(place.key, step);
            return next.map(|key| WalkPlace { resource: 0, key });
        };
        let mut from = place.key;
        for (number, resource) in resources.iter().enumerate().skip(place.resource) {
            let next = self.store.walk_resource(resource, from, &mut step);
            from = 0;
            if let Some(key) = next {
                let resource = number;
                return Some(WalkPlace { resource, key });
            }
        }
        None
    }
}
