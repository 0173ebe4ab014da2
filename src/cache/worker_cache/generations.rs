//! Generations: how workers learn that their copies of lookups are out of date.
//!
//! A generation is a counter. Each resource has one of about a thousand, which it shares with others. The actor bumps
//! the counter at every change of the resource. A copy is valid as long as its counter is what it was when the actor
//! answered. If the actor does not answer a request for a change, the requester bumps the counter in its place.
//!
//! This makes a Clear hold for every worker. The actor handles one message at a time: it removes, then bumps, then
//! answers, and each of its answers carries the generation that belongs to its content. So a worker that looks after the
//! Clear was answered sees another generation than that of its copy. It asks the actor, which has nothing stored.
//!
//! A copy with guessed lifetimes also counts the unsafe requests that concern its path (see `related`).

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::cache::store::{
    key::Resource,
    related::{PathGroup, concerned_groups, groups_of},
};

/// With more counters, fewer copies become invalid because another resource has changed.
const COUNTERS: usize = 1024;

/// The generations of all resources.
#[derive(Debug)]
pub(in crate::cache) struct Generations {
    counters: Box<[AtomicU64]>,
    /// The unsafe requests, by the groups of paths that they concern. Several groups share a counter.
    changes: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// The unsafe requests that concern a resource, counted at some time.
#[derive(Clone, Debug)]
pub(in crate::cache) struct RelatedChanges {
    counters: Arc<[usize]>,
    count: u64,
}

/// The generation of a resource at some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Generation {
    counter: usize,
    count: u64,
}

impl Generations {
    pub(in crate::cache) fn new() -> Arc<Self> {
        Arc::new(Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        })
    }

    /// The present generation of `resource`.
    pub(in crate::cache) fn current(&self, resource: &Resource) -> Generation {
        let counter = self.counter(resource);
        Generation {
            counter,
            count: self.counters[counter].load(Ordering::Acquire),
        }
    }

    /// True if nothing has changed since.
    pub(in crate::cache) fn is_current(&self, generation: Generation) -> bool {
        let counter = self.counters.get(generation.counter);
        counter.is_some_and(|counter| counter.load(Ordering::Acquire) == generation.count)
    }

    /// Makes all copies of `resource` invalid.
    pub(in crate::cache) fn bump(&self, resource: &Resource) {
        self.counters[self.counter(resource)].fetch_add(1, Ordering::AcqRel);
    }

    /// Makes all copies invalid.
    pub(in crate::cache) fn bump_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The groups of paths that an unsafe request to `resource` concerns.
    pub(in crate::cache) fn concerned_groups(&self, resource: &Resource) -> Vec<PathGroup> {
        concerned_groups(&self.hasher, resource)
    }

    /// The groups of paths that `resource` belongs to.
    pub(in crate::cache) fn groups_of(&self, resource: &Resource) -> Vec<PathGroup> {
        groups_of(&self.hasher, resource)
    }

    /// The unsafe requests until now that concern one of these groups.
    pub(in crate::cache) fn changes(&self, groups: &[PathGroup]) -> RelatedChanges {
        let counters: Arc<[usize]> = groups.iter().map(|group| index(group.hash())).collect();
        RelatedChanges {
            count: self.count(&counters),
            counters,
        }
    }

    /// True if no unsafe request has concerned the resource since.
    pub(in crate::cache) fn is_unchanged(&self, changes: &RelatedChanges) -> bool {
        self.count(&changes.counters) == changes.count
    }

    fn count(&self, counters: &[usize]) -> u64 {
        let counters = counters.iter().filter_map(|index| self.changes.get(*index));
        counters
            .map(|counter| counter.load(Ordering::Acquire))
            .sum()
    }

    /// Makes the copies of guessed responses in these groups invalid.
    pub(in crate::cache) fn bump_changes(&self, groups: &[PathGroup]) {
        for group in groups {
            if let Some(counter) = self.changes.get(index(group.hash())) {
                counter.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    fn counter(&self, resource: &Resource) -> usize {
        index(self.hasher.hash_one(resource))
    }
}

/// The counter for a hash.
fn index(hash: u64) -> usize {
    usize::try_from(hash % COUNTERS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bump_invalidates_the_copies_of_its_resource_and_a_bump_of_all_invalidates_every_copy() {
        let generations = Generations::new();
        let resources: Vec<_> = (0..100)
            .map(|number| Resource::new(&format!("/{number}")))
            .collect();
        let copied: Vec<_> = resources
            .iter()
            .map(|resource| generations.current(resource))
            .collect();
        generations.bump(&resources[0]);
        let valid = copied
            .iter()
            .filter(|generation| generations.is_current(**generation))
            .count();
        assert!(!generations.is_current(copied[0]));
        assert!((90..100).contains(&valid), "{valid}");
        generations.bump_all();
        assert!(!copied.iter().any(|it| generations.is_current(*it)));
        let again = generations.current(&resources[0]);
        assert!(generations.is_current(again));
    }
}
