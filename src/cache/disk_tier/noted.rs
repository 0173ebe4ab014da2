//! Which unsafe requests the disk knows already.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::cache::store::key::Resource;

/// The most resources that are remembered.
const MAX_RESOURCES: usize = 8192;

/// The last unsafe requests that the disk was told of. Another one to the same resource changes nothing there if no guessed
/// response was written since: what is written later is written as stale as it is then.
#[derive(Debug, Default)]
pub(in crate::cache) struct NotedRequests {
    /// How many guessed responses were written.
    guesses: u64,
    /// How many there were at the last unsafe request to a resource.
    by_resource: HashMap<Resource, u64, RandomState>,
}

impl NotedRequests {
    /// Counts a guessed response that is written.
    pub(super) fn guess_written(&mut self) {
        self.guesses += 1;
    }

    /// True if the disk has to be told of an unsafe request to `resource`. It is told then.
    pub(in crate::cache) fn is_new(&mut self, resource: &Resource) -> bool {
        if self.by_resource.get(resource) == Some(&self.guesses) {
            return false;
        }
        if self.by_resource.len() >= MAX_RESOURCES {
            self.by_resource.clear();
        }
        self.by_resource.insert(resource.clone(), self.guesses);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_new_once_between_two_guesses() {
        let (a, b) = (Resource::new("/a"), Resource::new("/b"));
        let mut noted = NotedRequests::default();
        assert!(noted.is_new(&a) && noted.is_new(&b));
        assert!(!noted.is_new(&a) && !noted.is_new(&b));
        noted.guess_written();
        assert!(noted.is_new(&a));
        assert!(!noted.is_new(&a));
    }
}
