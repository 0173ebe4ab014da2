//! Purges, as the store on disk keeps them until everything that they name is removed.

use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        disk_tier::record::EntryHead,
        manage::filter::{EntryFilter, WrittenFilter},
        namespace::Namespace,
    },
    disk::DiskRule,
};

/// A purge.
#[derive(Debug, Serialize, Deserialize)]
struct WrittenPurge {
    namespace: [u8; 16],
    filter: WrittenFilter,
}

/// What a purge names.
struct PurgeRule {
    namespace: Namespace,
    filter: EntryFilter,
}

impl DiskRule for PurgeRule {
    fn names(&self, resource: &[u8], head: &[u8]) -> bool {
        let Some(resource) = self.namespace.resource(resource) else {
            return false;
        };
        self.filter.matches_path(&resource)
            || !self.filter.tags().is_empty()
                // A head that cannot be read is not served either.
                && EntryHead::read(head)
                    .is_none_or(|read| self.filter.matches_tags(read.head()))
    }
}

/// The rule of a purge of what `filter` names, as bytes.
pub(super) fn write(namespace: Namespace, filter: &EntryFilter) -> Vec<u8> {
    let rule = WrittenPurge {
        namespace: namespace.0,
        filter: filter.written(),
    };
    // What cannot be written cannot be read, and then the rule names everything.
    serde_json::to_vec(&rule).unwrap_or_default()
}

/// The rule that [`write`] has written; `None` if it is none.
pub(super) fn parse(bytes: &[u8]) -> Option<Box<dyn DiskRule>> {
    let rule: WrittenPurge = serde_json::from_slice(bytes).ok()?;
    Some(Box::new(PurgeRule {
        namespace: Namespace(rule.namespace),
        filter: rule.filter.into(),
    }))
}
