//! The heads of what is stored on disk, for lists. Their bodies stay there.

use std::sync::Arc;

use crate::{
    cache::{
        disk_tier::{on_disk::OnDisk, record::EntryHead, tier::DiskTier},
        namespace::Namespace,
        store::{
            body::Body,
            budget::Budget,
            entry::Entry,
            key::{Key, Resource},
        },
    },
    disk::{ScanCursor, ScannedRecord},
    policy::Time,
};

impl DiskTier {
    /// Some of what is stored from `cursor` on, and where the next step begins; `None` at the end, also if the disk does not
    /// answer. The bodies are not read.
    pub(in crate::cache) async fn heads(
        &self,
        cursor: ScanCursor,
        count: usize,
        budget: &Arc<Budget>,
    ) -> (Vec<(Key, Arc<Entry>)>, Option<ScanCursor>) {
        match self.disk.scan(cursor, count).await {
            Ok(page) => (self.entries(&page.records, budget), page.next),
            Err(_) => (Vec::new(), None),
        }
    }

    /// What is stored for `resource`, of every identity and every body. The bodies are not read.
    pub(in crate::cache) async fn heads_of(
        &self,
        resource: &Resource,
        budget: &Arc<Budget>,
    ) -> Vec<(Key, Arc<Entry>)> {
        let name = self.namespace.load().name(resource);
        let found = self.disk.records_of(name).await.unwrap_or_default();
        self.entries(&found, budget)
    }

    /// What is stored for `key`: for its identity, and for everybody. The bodies are not kept.
    pub(in crate::cache) async fn heads_for(
        &self,
        key: &Key,
        budget: &Arc<Budget>,
    ) -> Vec<(Key, Arc<Entry>)> {
        let found = self.find(key).await.into_iter();
        let head_alone = |response: OnDisk| {
            let body = Body::elsewhere(response.body_bytes());
            (response.key, response.head.with_body(body, budget))
        };
        found.map(head_alone).collect()
    }

    fn entries(&self, records: &[ScannedRecord], budget: &Arc<Budget>) -> Vec<(Key, Arc<Entry>)> {
        let namespace = **self.namespace.load();
        let entry = |record: &ScannedRecord| entry(namespace, record, budget);
        records.iter().filter_map(entry).collect()
    }
}

/// `None` if it is in another namespace, or cannot be read.
fn entry(
    namespace: Namespace,
    record: &ScannedRecord,
    budget: &Arc<Budget>,
) -> Option<(Key, Arc<Entry>)> {
    let key = namespace.key(&record.address.resource, &record.address.partition)?;
    let head = EntryHead::read(&record.head)?;
    let head = match record.expired_at {
        Some(at) => head.map(|head| head.expired(Time::from_unix_millis(at))),
        None => head,
    };
    Some((
        key,
        head.with_body(Body::elsewhere(record.body_bytes), budget),
    ))
}
