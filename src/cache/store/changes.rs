//! Counters of changes, by which workers learn what they must ask the actor about.
//!
//! | counters | counted | read by |
//! |---|---|---|
//! | of resources | each change of what is stored for a resource | a fetch without a claim, which claims at its end |
//! | of doubts | invalidations that the actor may not have handled yet | each hit |
//! | of related paths | unsafe requests, by the groups of paths that they concern ([`related`](super::related)) | hits whose lifetime is a guess |
//!
//! The actor remembers with each stored key how high the last two were when it looked at the key ([`Watch`]). A worker that
//! finds them higher asks the actor. About a thousand counters of each kind are shared by all resources.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use foldhash::quality::RandomState;

use crate::cache::store::{
    key::Resource,
    related::{PathGroup, PathGroups, concerned_groups, groups_of},
};

/// With more counters, a change concerns fewer other resources.
const COUNTERS: usize = 1024;

/// Counters that threads share.
#[derive(Debug)]
struct Counters(Box<[AtomicU64]>);

impl Counters {
    fn new() -> Self {
        Self((0..COUNTERS).map(|_| AtomicU64::new(0)).collect())
    }

    fn get(&self, number: usize) -> u64 {
        let counter = self.0.get(number);
        counter.map_or(0, |counter| counter.load(Ordering::Acquire))
    }

    fn add(&self, number: usize) {
        if let Some(counter) = self.0.get(number) {
            counter.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn add_to_all(&self) {
        for number in 0..COUNTERS {
            self.add(number);
        }
    }
}

/// The counters of all changes.
#[derive(Debug)]
pub(in crate::cache) struct ChangeCounts {
    resources: Counters,
    doubts: Counters,
    related: Counters,
    /// Keyed, because clients choose paths.
    hasher: RandomState,
}

/// The state of a resource at the start of a fetch that may claim later: one of the counters of changes, and its count.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    counter: usize,
    count: u64,
}

/// Which counters concern a stored key, and how high they were when the actor last looked at it.
#[derive(Debug)]
pub(in crate::cache) struct Watch {
    doubts: u16,
    /// Part of a sum of counters: two sums that are compared never differ by a multiple of 2^32.
    seen: AtomicU32,
    /// `None` if no lifetime is a guess.
    related: Option<Box<RelatedCounters>>,
}

/// The counters of the groups that a path belongs to.
#[derive(Debug)]
struct RelatedCounters(Box<[u16]>);

impl ChangeCounts {
    pub(in crate::cache) fn new() -> Arc<Self> {
        Arc::new(Self {
            resources: Counters::new(),
            doubts: Counters::new(),
            related: Counters::new(),
            hasher: RandomState::default(),
        })
    }

    /// The present state of `resource`.
    pub(in crate::cache) fn snapshot(&self, resource: &Resource) -> Snapshot {
        let counter = counter(resource);
        Snapshot {
            counter,
            count: self.resources.get(counter),
        }
    }

    /// True if the resource of the snapshot has not changed since.
    pub(in crate::cache) fn is_unchanged_since(&self, snapshot: Snapshot) -> bool {
        self.resources.get(snapshot.counter) == snapshot.count
    }

    /// Counts a change of `resource`.
    pub(in crate::cache) fn changed(&self, resource: &Resource) {
        self.resources.add(counter(resource));
    }

    /// Counts a change of all resources.
    pub(in crate::cache) fn all_changed(&self) {
        self.resources.add_to_all();
    }

    /// Makes workers ask the actor about `resource`, and counts a change of it.
    pub(in crate::cache) fn doubt(&self, resource: &Resource) {
        self.doubts.add(counter(resource));
        self.changed(resource);
    }

    /// True if workers were never made to ask the actor about `resource`.
    pub(in crate::cache) fn was_never_doubted(&self, resource: &Resource) -> bool {
        self.doubts.get(counter(resource)) == 0
    }

    /// Makes workers ask the actor about guessed responses in these groups.
    pub(in crate::cache) fn doubt_related(&self, groups: &[PathGroup]) {
        for group in groups {
            self.related.add(index(group.hash()));
        }
    }

    /// Makes workers ask the actor about all guessed responses.
    pub(in crate::cache) fn doubt_all_related(&self) {
        self.related.add_to_all();
    }

    /// The groups of paths that an unsafe request to `resource` concerns.
    pub(in crate::cache) fn concerned_groups(&self, resource: &Resource) -> PathGroups {
        concerned_groups(&self.hasher, resource)
    }

    /// The groups of paths that `resource` belongs to.
    pub(in crate::cache) fn groups_of(&self, resource: &Resource) -> PathGroups {
        groups_of(&self.hasher, resource)
    }

    /// The counters that concern responses of `resource`.
    pub(in crate::cache) fn watch(&self, resource: &Resource, is_guess: bool) -> Watch {
        let groups = is_guess.then(|| self.groups_of(resource));
        let short = |number: usize| u16::try_from(number).unwrap_or_default();
        let number = |group: &PathGroup| short(index(group.hash()));
        let numbers = |groups: PathGroups| groups.iter().map(number).collect();
        let watch = Watch {
            doubts: short(counter(resource)),
            related: groups.map(|groups| Box::new(RelatedCounters(numbers(groups)))),
            seen: AtomicU32::new(0),
        };
        self.look(&watch);
        watch
    }

    /// Notes how high the counters are.
    pub(in crate::cache) fn look(&self, watch: &Watch) {
        watch.seen.store(self.count(watch), Ordering::Release);
    }

    /// True if the counters are as high as when the actor last looked.
    pub(in crate::cache) fn is_undoubted(&self, watch: &Watch) -> bool {
        self.count(watch) == watch.seen.load(Ordering::Acquire)
    }

    fn count(&self, watch: &Watch) -> u32 {
        let related = watch.related.iter().flat_map(|related| &related.0);
        let related: u64 = related
            .map(|number| self.related.get((*number).into()))
            .sum();
        let sum = self.doubts.get(watch.doubts.into()) + related;
        u32::try_from(sum & u64::from(u32::MAX)).unwrap_or_default()
    }
}

fn counter(resource: &Resource) -> usize {
    index(resource.keyed_hash())
}

/// The counter for a hash.
fn index(hash: u64) -> usize {
    usize::try_from(hash % COUNTERS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_its_resource_and_few_others_and_a_change_of_all_concerns_every_one() {
        let changes = ChangeCounts::new();
        let resources: Vec<_> = (0..100)
            .map(|number| Resource::new(&format!("/{number}")))
            .collect();
        let snapshots: Vec<_> = resources.iter().map(|it| changes.snapshot(it)).collect();
        let is_unchanged = |snapshot: &&Snapshot| changes.is_unchanged_since(**snapshot);
        changes.changed(&resources[0]);
        let unchanged = snapshots.iter().filter(is_unchanged).count();
        assert!(!changes.is_unchanged_since(snapshots[0]));
        assert!((90..100).contains(&unchanged), "{unchanged}");
        changes.all_changed();
        assert_eq!(snapshots.iter().filter(is_unchanged).count(), 0);
        let again = changes.snapshot(&resources[0]);
        assert!(changes.is_unchanged_since(again));
    }

    #[test]
    fn a_doubt_lasts_until_the_actor_has_looked() {
        let changes = ChangeCounts::new();
        let resource = Resource::new("/a/b");
        let (known, guess) = (
            changes.watch(&resource, false),
            changes.watch(&resource, true),
        );
        let undoubted = || [&known, &guess].map(|watch| changes.is_undoubted(watch));
        assert_eq!(undoubted(), [true, true]);
        changes.doubt_related(&changes.concerned_groups(&Resource::new("/a")));
        assert_eq!(undoubted(), [true, false]);
        changes.look(&guess);
        assert_eq!(undoubted(), [true, true]);
        changes.doubt(&resource);
        assert_eq!(undoubted(), [false, false]);
        changes.look(&known);
        assert_eq!(undoubted(), [true, false]);
    }
}
