//! How workers learn that what they remember of the cache is no longer what it holds.
//!
//! The actor counts its changes here: a resource has one of some hundred counters, which it shares with others. What a
//! worker remembers counts only while the counter says what it said when the actor answered. Who asks the actor for a
//! change and gets no answer counts in its place.
//!
//! That makes a Clear true for every worker. The actor first removes, then counts, then answers; and every answer it
//! gives carries the count that belongs to what is in it, for the actor does one thing at a time. So a worker that looks
//! after the Clear was answered sees another count than the one it remembers, and asks the actor, who has nothing.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::cache::store::key::Resource;

/// More counters: fewer resources are asked for again because another one has changed.
const COUNTERS: usize = 1024;

/// The counts of changes.
#[derive(Debug)]
pub(in crate::cache) struct Generations {
    counters: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// How often a resource, or one of those it shares a counter with, had changed at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cache) struct Generation {
    counter: usize,
    count: u64,
}

impl Generations {
    pub(in crate::cache) fn new() -> Arc<Self> {
        Arc::new(Self {
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        })
    }

    /// What is remembered of `resource` from now on.
    pub(in crate::cache) fn current(&self, resource: &Resource) -> Generation {
        let counter = self.counter(resource);
        Generation {
            counter,
            count: self.counters[counter].load(Ordering::Acquire),
        }
    }

    /// True while nothing has changed since.
    pub(in crate::cache) fn is_current(&self, generation: Generation) -> bool {
        let counter = self.counters.get(generation.counter);
        counter.is_some_and(|counter| counter.load(Ordering::Acquire) == generation.count)
    }

    /// Makes what is remembered of `resource` void.
    pub(in crate::cache) fn bump(&self, resource: &Resource) {
        self.counters[self.counter(resource)].fetch_add(1, Ordering::AcqRel);
    }

    /// Makes everything void that is remembered.
    pub(in crate::cache) fn bump_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn counter(&self, resource: &Resource) -> usize {
        let hash = self.hasher.hash_one(resource);
        usize::try_from(hash % COUNTERS as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_makes_void_what_is_remembered_of_its_resource_and_a_change_of_all_everything() {
        let generations = Generations::new();
        let resources: Vec<_> = (0..100)
            .map(|number| Resource::new(&format!("/{number}")))
            .collect();
        let remembered: Vec<_> = resources
            .iter()
            .map(|resource| generations.current(resource))
            .collect();
        generations.bump(&resources[0]);
        let valid = remembered
            .iter()
            .filter(|generation| generations.is_current(**generation))
            .count();
        assert!(!generations.is_current(remembered[0]));
        assert!((90..100).contains(&valid), "{valid}");
        generations.bump_all();
        assert!(!remembered.iter().any(|it| generations.is_current(*it)));
        let again = generations.current(&resources[0]);
        assert!(generations.is_current(again));
    }
}
