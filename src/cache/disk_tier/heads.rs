//! The heads of what is stored on disk, for lists. Their bodies stay there.

use std::{sync::Arc, time::Duration};

use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    cache::{
        disk_tier::{on_disk::OnDisk, record::EntryHead, tier::DiskTier},
        manage::filter::EntryFilter,
        store::{
            body::Body,
            budget::Budget,
            entry::Entry,
            key::{Key, Resource},
        },
    },
    disk::{DiskUnavailable, ScanCursor, ScannedRecord},
    policy::Time,
};

/// A page of heads.
#[derive(Debug, Default)]
pub(in crate::cache) struct HeadsPage {
    /// The heads, with their keys.
    pub(in crate::cache) heads: Vec<(Key, Arc<Entry>)>,
    /// How many responses were looked at.
    pub(in crate::cache) looked_at: u64,
    /// Where the next page begins. `None` after the last one.
    pub(in crate::cache) next: Option<ScanCursor>,
}

impl DiskTier {
    /// What is stored from a cursor on, among so many responses. What `filter` cannot match is left out. The bodies are not
    /// read.
    ///
    /// # Errors
    /// The disk does not answer.
    pub(in crate::cache) async fn heads(
        &self,
        (cursor, count): (ScanCursor, usize),
        filter: &EntryFilter,
        budget: &Arc<Budget>,
    ) -> Result<HeadsPage, DiskUnavailable> {
        let page = self.disk.scan(cursor, count).await?;
        let may_match = |resource: &Resource| filter.may_match(resource);
        Ok(HeadsPage {
            heads: self.entries(&page.records, may_match, budget),
            looked_at: page.records.len() as u64,
            next: page.next,
        })
    }

    /// What is stored for `resource`, of every identity and every body. The bodies are not read.
    ///
    /// # Errors
    /// The disk does not answer.
    pub(in crate::cache) async fn heads_of(
        &self,
        resource: &Resource,
        budget: &Arc<Budget>,
    ) -> Result<HeadsPage, DiskUnavailable> {
        let name = self.namespace.load().name(resource);
        let found = self.disk.records_of(name).await?;
        Ok(HeadsPage {
            heads: self.entries(&found, |_| true, budget),
            looked_at: found.len() as u64,
            next: None,
        })
    }

    /// The turn of a walk over what is stored: one at a time has it. `None` if it does not come within a time.
    pub(in crate::cache) async fn walk_turn(
        &self,
        patience: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let turn = Arc::clone(&self.walk_turns).acquire_owned();
        timeout(patience, turn).await.ok()?.ok()
    }

    /// What is stored for `key`: for its identity, and for everybody. The bodies are not kept.
    pub(in crate::cache) async fn heads_for(
        &self,
        key: &Key,
        budget: &Arc<Budget>,
    ) -> Vec<(Key, Arc<Entry>)> {
        let found = self.find(key, true).await.into_iter();
        let head_alone = |response: OnDisk| {
            let body = Body::elsewhere(response.body_bytes());
            (response.key, response.head.with_body(body, budget))
        };
        found.map(head_alone).collect()
    }

    fn entries(
        &self,
        records: &[ScannedRecord],
        may_match: impl Fn(&Resource) -> bool,
        budget: &Arc<Budget>,
    ) -> Vec<(Key, Arc<Entry>)> {
        let namespace = **self.namespace.load();
        let entry = |record: &ScannedRecord| {
            let key = namespace.key(&record.address.resource, &record.address.partition)?;
            let is_wanted = may_match(&key.resource);
            is_wanted.then(|| Some((key, entry(record, budget)?)))?
        };
        records.iter().filter_map(entry).collect()
    }
}

/// `None` if it cannot be read.
fn entry(record: &ScannedRecord, budget: &Arc<Budget>) -> Option<Arc<Entry>> {
    let head = EntryHead::read(&record.head)?;
    let head = match record.expired_at {
        Some(at) => head.map(|head| head.expired(Time::from_unix_millis(at))),
        None => head,
    };
    Some(head.with_body(Body::elsewhere(record.body_bytes), budget))
}
