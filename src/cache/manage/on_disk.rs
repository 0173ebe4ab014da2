//! What is stored on disk alone, for lists. Bodies are not read.

use std::sync::Arc;

use actix::{Handler, Message, MessageResult};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        handle::Cache,
        manage::key_variants::KeyVariants,
        store::{entry::Entry, key::Key},
        unavailable::CacheUnavailable,
    },
    disk::ScanCursor,
};

/// How many responses are read in one step.
const STEP: usize = 256;

/// Where a walk over the disk goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum DiskPlace {
    /// At the resource with this number among those that the filter names.
    Resource(usize),
    /// In the order of the disk.
    Record(ScanCursor),
}

impl Cache {
    /// Where a walk over what `filter` matches on disk begins. `None` if there is no store on disk.
    pub(super) fn disk_place(&self, filter: &EntryFilter) -> Option<DiskPlace> {
        self.disk()?;
        Some(match filter.resources() {
            Some(_) => DiskPlace::Resource(0),
            None => DiskPlace::Record(ScanCursor::default()),
        })
    }

    /// A step of a walk over what `filter` matches and is stored on disk alone, and where it goes on. `None` at the end, also
    /// if the disk does not answer.
    ///
    /// # Errors
    /// The cache does not answer.
    pub(super) async fn walk_disk(
        &self,
        filter: &EntryFilter,
        place: DiskPlace,
    ) -> Result<(Vec<KeyVariants>, Option<DiskPlace>), CacheUnavailable> {
        let (mut found, next) = self.disk_step(filter, place).await;
        found.retain(|(key, entry)| filter.matches(&key.resource, entry));
        let rows = self.send(BesideMemory(found)).await?;
        Ok((rows, next))
    }

    async fn disk_step(
        &self,
        filter: &EntryFilter,
        place: DiskPlace,
    ) -> (Vec<(Key, Arc<Entry>)>, Option<DiskPlace>) {
        let Some(disk) = self.disk() else {
            return (Vec::new(), None);
        };
        match place {
            DiskPlace::Resource(number) => {
                let resources = filter.resources().unwrap_or_default();
                let Some(resource) = resources.get(number) else {
                    return (Vec::new(), None);
                };
                let found = disk.heads_of(resource, &self.budget).await;
                (found, Some(DiskPlace::Resource(number + 1)))
            }
            DiskPlace::Record(cursor) => {
                let (found, next) = disk.heads(cursor, STEP, &self.budget).await;
                (found, next.map(DiskPlace::Record))
            }
        }
    }

    /// How many responses on disk `filter` matches.
    pub(super) async fn count_on_disk(&self, filter: &EntryFilter) -> u64 {
        let mut place = self.disk_place(filter);
        let mut count = 0;
        while let Some(from) = place {
            let (found, next) = self.disk_step(filter, from).await;
            let matches = |(key, entry): &&(Key, Arc<Entry>)| filter.matches(&key.resource, entry);
            count += found.iter().filter(matches).count() as u64;
            place = next;
        }
        count
    }
}

/// Returns those of these responses from disk that memory has not, as a lookup would find them.
#[derive(Message, Debug)]
#[rtype(result = "Vec<KeyVariants>")]
pub struct BesideMemory(pub(in crate::cache) Vec<(Key, Arc<Entry>)>);

impl Handler<BesideMemory> for CacheActor {
    type Result = MessageResult<BesideMemory>;

    fn handle(&mut self, heads: BesideMemory, context: &mut Self::Context) -> Self::Result {
        self.pause(context);
        let mut rows: Vec<KeyVariants> = Vec::new();
        for (key, entry) in heads.0 {
            let is_same = |other: &Arc<Entry>| other.head().same_variant(entry.head());
            let stored = self.store.peek(&key);
            if stored.is_some_and(|stored| stored.variants.iter().any(is_same)) {
                continue;
            }
            match rows.iter_mut().find(|row| row.key == key) {
                Some(row) => row.add(entry),
                None => rows.push(KeyVariants::on_disk(key, entry)),
            }
        }
        for row in &mut rows {
            if let Some(found) = self.store.as_found(&row.key, &row.variants) {
                row.variants = found;
            }
        }
        MessageResult(rows)
    }
}
