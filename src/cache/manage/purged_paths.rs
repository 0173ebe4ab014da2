//! The paths that a purge lists.

use std::collections::BTreeSet;

use crate::{cache::store::key::Resource, mask::hidden};

/// The most paths that a purge lists, and the most bytes of them.
const MAX_PATHS: usize = 10_000;
const MAX_PATHS_BYTES: usize = 4 * 1024 * 1024;

/// Paths in order, each once, with secrets masked, up to a limit.
#[derive(Debug, Default)]
pub(super) struct PurgedPaths {
    paths: BTreeSet<String>,
    bytes: usize,
    has_more: bool,
}

impl PurgedPaths {
    pub(super) fn add(&mut self, resource: &Resource) {
        let path = hidden(resource.target());
        if self.paths.contains(path.as_ref()) {
            return;
        }
        if self.paths.len() >= MAX_PATHS || self.bytes + path.len() > MAX_PATHS_BYTES {
            self.has_more = true;
            return;
        }
        self.bytes += path.len();
        self.paths.insert(path.into_owned());
    }

    /// There are paths that are not known here.
    pub(super) fn add_unknown(&mut self) {
        self.has_more = true;
    }

    /// The paths, and whether there are more.
    pub(super) fn into_listed(self) -> (Vec<String>, bool) {
        (self.paths.into_iter().collect(), self.has_more)
    }
}
