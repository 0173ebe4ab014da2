//! The resources that have keys with an identity or a body.

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;

use crate::cache::{
    found::Cleared,
    store::{key::Resource, slots::Slots, stored_key::Epoch},
};

/// How many parts there are. A part that grows moves all that is in it, which takes a millisecond for 10,000 resources.
const PARTS: u64 = 1024;

/// The keys of a resource that have an identity or a body.
#[derive(Debug, Default)]
pub(in crate::cache) struct ResourceRecord {
    pub(in crate::cache) epoch: Arc<Epoch>,
    /// Their slots in the eviction order.
    pub(in crate::cache) partitions: Slots<usize>,
    pub(in crate::cache) total: Cleared,
}

/// The records by resource, in parts by the hash: no insertion moves more than one part.
#[derive(Debug)]
pub(in crate::cache) struct ResourceRecords(Box<[HashMap<Resource, ResourceRecord, RandomState>]>);

impl Default for ResourceRecords {
    fn default() -> Self {
        Self((0..PARTS).map(|_| HashMap::default()).collect())
    }
}

impl ResourceRecords {
    /// The record of a resource; `None` if it has none.
    pub(in crate::cache) fn get(&self, resource: &Resource) -> Option<&ResourceRecord> {
        self.0.get(part(resource))?.get(resource)
    }

    /// The record of a resource; `None` if it has none.
    pub(in crate::cache) fn get_mut(&mut self, resource: &Resource) -> Option<&mut ResourceRecord> {
        self.0.get_mut(part(resource))?.get_mut(resource)
    }

    /// Lists a key of `resource`, which has this slot. Returns its number in the record.
    pub(in crate::cache) fn list(&mut self, resource: &Resource, slot: usize) -> usize {
        let part = self.0.get_mut(part(resource));
        part.map_or(0, |part| {
            let record = part.entry(resource.clone()).or_default();
            record.partitions.insert(slot)
        })
    }

    /// Removes the record of a resource; `None` if it has none.
    pub(in crate::cache) fn remove(&mut self, resource: &Resource) -> Option<ResourceRecord> {
        self.0.get_mut(part(resource))?.remove(resource)
    }
}

/// The number of the part for a resource.
fn part(resource: &Resource) -> usize {
    usize::try_from(resource.keyed_hash() % PARTS).unwrap_or_default()
}
