//! Events that other instances do not hear of yet.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Redis is away. The event waits, and is published before anything else is read from Redis or written there. If the
/// process ends before, it is lost, unless it is marked on disk that events wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis is not reachable: other instances do not know of it yet")]
pub struct NotPublished;

/// An empty file that is there while events wait to be published. The next start finds it if the process ends meanwhile.
#[derive(Debug)]
pub(super) struct UnpublishedMark {
    /// Where it is. `None` if nothing is marked.
    path: Option<PathBuf>,
    is_set: bool,
}

impl UnpublishedMark {
    /// The mark at a path, as an earlier run has left it.
    pub(super) fn at(path: Option<PathBuf>) -> Self {
        let is_there = |path: &PathBuf| fs::symlink_metadata(path).is_ok();
        let is_set = path.as_ref().is_some_and(is_there);
        Self { path, is_set }
    }

    /// Whether events wait, or waited when an earlier run ended.
    pub(super) fn is_set(&self) -> bool {
        self.is_set
    }

    /// Events wait.
    pub(super) fn set(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| !self.is_set) else {
            return;
        };
        // If it cannot be written, that is said once.
        self.is_set = true;
        if let Err(error) = write(path) {
            let path = path.display();
            log::warn!(
                "cannot write {path}, which says that other instances were not told of a clear or purge: {error}"
            );
        }
    }

    /// All events were published.
    pub(super) fn remove(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| self.is_set) {
            // One that stays makes the next start tell the others once more.
            let _ = fs::remove_file(path);
        }
        self.is_set = false;
    }
}

/// Makes an empty file, durably.
fn write(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.sync_all()?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_by_the_next_run_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("unpublished");
        let at_path = || UnpublishedMark::at(Some(path.clone()));
        assert!(!at_path().is_set());
        let mut mark = at_path();
        mark.set();
        mark.set();
        assert!(mark.is_set() && at_path().is_set());
        mark.remove();
        assert!(!mark.is_set() && !at_path().is_set());
        mark.set();
        assert!(at_path().is_set());
    }

    #[test]
    fn without_a_place_nothing_is_marked() {
        let mut mark = UnpublishedMark::at(None);
        mark.set();
        assert!(!mark.is_set());
        let mut mark = UnpublishedMark::at(Some("/none/unpublished".into()));
        mark.set();
        mark.remove();
        assert!(!mark.is_set());
    }
}
