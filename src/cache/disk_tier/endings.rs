//! Which ends the disk has not confirmed yet.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::cache::{disk_tier::noted::NotedRequests, store::key::Resource};

/// What an end concerns.
#[derive(Clone, Debug)]
pub(in crate::cache) enum EndScope {
    /// Everything.
    All,
    /// These resources.
    Resources(Vec<Resource>),
}

/// The ends that the disk has not confirmed. What they concern is not loaded, because the disk may still have what is ended.
#[derive(Debug, Default)]
pub(in crate::cache) struct Endings {
    of_all: usize,
    of_resources: HashMap<Resource, usize, RandomState>,
    /// How many responses were removed for themselves.
    pub(in crate::cache) removals: u64,
    /// The unsafe requests that the disk knows.
    pub(in crate::cache) noted: NotedRequests,
}

impl Endings {
    /// Notes an end that the disk is told of.
    pub(in crate::cache) fn begin(&mut self, scope: &EndScope) {
        match scope {
            EndScope::All => self.of_all += 1,
            EndScope::Resources(resources) => {
                for resource in resources {
                    *self.of_resources.entry(resource.clone()).or_default() += 1;
                }
            }
        }
    }

    /// Notes that the disk has confirmed an end, or is not read before it has.
    pub(in crate::cache) fn confirmed(&mut self, scope: &EndScope) {
        match scope {
            EndScope::All => self.of_all = self.of_all.saturating_sub(1),
            EndScope::Resources(resources) => {
                for resource in resources {
                    if let Some(count) = self.of_resources.get_mut(resource) {
                        *count -= 1;
                        if *count == 0 {
                            self.of_resources.remove(resource);
                        }
                    }
                }
            }
        }
    }

    /// How many responses were removed for themselves. `None` if an end that is not confirmed concerns `resource`.
    pub(in crate::cache) fn removals(&self, resource: &Resource) -> Option<u64> {
        (!self.concern(resource)).then_some(self.removals)
    }

    /// True if an end that is not confirmed concerns `resource`.
    fn concern(&self, resource: &Resource) -> bool {
        self.of_all > 0 || self.of_resources.contains_key(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_concerns_its_resources_until_each_of_its_ends_is_confirmed() {
        let (a, b) = (Resource::new("/a"), Resource::new("/b"));
        let mut endings = Endings::default();
        let of_a = EndScope::Resources(vec![a.clone()]);
        endings.begin(&of_a);
        endings.begin(&of_a);
        endings.confirmed(&of_a);
        assert!(endings.concern(&a) && !endings.concern(&b));
        endings.confirmed(&of_a);
        assert!(!endings.concern(&a));
        endings.begin(&EndScope::All);
        assert!(endings.concern(&b));
        endings.confirmed(&EndScope::All);
        assert!(!endings.concern(&b));
    }
}
