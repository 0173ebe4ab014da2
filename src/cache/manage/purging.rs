//! Purging: removing named responses from the cache, or making them stale.
//!
//! A purge goes through the store a step at a time, so that other messages are handled in between. It first voids the
//! fetches under way for what it names: nobody joins them, and they store nothing. So whatever is stored meanwhile was
//! fetched after the purge began. The tags of a fetch are not known before its response: a purge by tag is remembered
//! until all fetches that were under way have ended.

use std::{collections::BTreeSet, fmt, future::pending, sync::Arc, time::Duration};

use actix::{Context, Handler, Message, MessageResult};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        disk_tier::{Confirmation, EndScope},
        fetches::{active::Fetch, reader::FetchId},
        handle::Cache,
        manage::walk::WalkPlace,
        store::{
            entry::Entry,
            key::{Key, Resource},
        },
        unavailable::CacheUnavailable,
    },
    disk::{NotDurable, RuleAction, Swept},
    mask::hidden,
    policy::Time,
};

/// The most paths that a purge lists, and the most bytes of them.
const MAX_PATHS: usize = 10_000;
const MAX_PATHS_BYTES: usize = 4 * 1024 * 1024;
/// How long a purge waits until its responses on disk are counted. They are not used before either.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);

/// What a purge does with the responses that it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurgeAction {
    /// They are removed.
    #[default]
    Remove,
    /// They become stale.
    Expire,
    /// Nothing: the purge only lists them.
    DryRun,
}

/// What was purged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Stored responses.
    #[serde(rename = "answers")]
    pub responses: u64,
    /// Their memory, in bytes, overhead included.
    pub bytes: u64,
    /// Fetches under way whose responses will not be stored.
    pub fetches: u64,
    /// The paths in order, each once, with secrets masked.
    pub paths: Vec<String>,
    /// True if there are more paths than are listed.
    pub more_paths: bool,
    /// Responses that were removed from disk.
    #[serde(default)]
    pub on_disk: u64,
    /// Whether responses on disk were made stale. They are not counted.
    #[serde(default)]
    pub is_stale_on_disk: bool,
}

impl Cache {
    /// Purges what `filter` names. When this returns, it holds for every worker.
    ///
    /// # Errors
    /// The cache does not answer, or the purge could not be written to the disk. What was purged before stays purged.
    pub async fn purge(
        &self,
        filter: EntryFilter,
        how: PurgeAction,
        now: Time,
    ) -> Result<Purged, PurgeError> {
        let filter = Arc::new(filter);
        let mut purged = Purged::default();
        let (mut paths, mut paths_bytes) = (BTreeSet::new(), 0);
        let mut place = None;
        let mut on_disk = DiskPurge::default();
        loop {
            let chunk = self
                .send(PurgeChunk {
                    filter: Arc::clone(&filter),
                    how,
                    now,
                    place,
                })
                .await?;
            purged.responses += chunk.responses;
            purged.bytes += chunk.bytes;
            purged.fetches += chunk.fetches;
            for resource in chunk.resources {
                let path = hidden(resource.target());
                if paths.contains(path.as_ref()) {
                    continue;
                }
                if paths.len() >= MAX_PATHS || paths_bytes + path.len() > MAX_PATHS_BYTES {
                    purged.more_paths = true;
                    continue;
                }
                paths_bytes += path.len();
                paths.insert(path.into_owned());
            }
            if let Some(begun) = chunk.on_disk {
                on_disk = begun;
            }
            place = chunk.next;
            if place.is_none() {
                break;
            }
        }
        purged.paths = paths.into_iter().collect();
        purged.is_stale_on_disk = how == PurgeAction::Expire && self.disk().is_some();
        purged.on_disk = match how {
            PurgeAction::DryRun => self.count_on_disk(&filter).await,
            PurgeAction::Remove | PurgeAction::Expire => on_disk.confirmed().await?,
        };
        Ok(purged)
    }
}

/// Purges among the keys from a cursor on.
#[derive(Message, Debug)]
#[rtype(result = "PurgedChunk")]
pub struct PurgeChunk {
    filter: Arc<EntryFilter>,
    how: PurgeAction,
    now: Time,
    /// Where to go on; `None` at the beginning.
    place: Option<WalkPlace>,
}

/// What one message has purged.
#[derive(Debug, Default)]
pub struct PurgedChunk {
    responses: u64,
    bytes: u64,
    fetches: u64,
    resources: Vec<Resource>,
    /// The purge of the disk. `None` if this message did not begin it.
    on_disk: Option<DiskPurge>,
    /// Where to go on; `None` at the end.
    next: Option<WalkPlace>,
}

/// A purge of the disk.
#[derive(Default)]
struct DiskPurge {
    confirmation: Confirmation,
    /// What the purge removes, when it has looked at everything. `None` without a store on disk.
    swept: Option<BoxFuture<'static, Swept>>,
}

impl fmt::Debug for DiskPurge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DiskPurge").finish_non_exhaustive()
    }
}

impl DiskPurge {
    /// Waits until it holds on disk, and for a limited time until its responses are counted. Returns how many they are.
    async fn confirmed(self) -> Result<u64, NotDurable> {
        let ended = self.confirmation.wait().await?;
        let swept = match self.swept {
            None => Swept::default(),
            Some(swept) => timeout(SWEEP_PATIENCE, swept).await.unwrap_or_default(),
        };
        Ok(ended.responses + swept.responses)
    }
}

/// Why a purge failed.
#[derive(Debug, thiserror::Error)]
pub enum PurgeError {
    /// The cache does not answer.
    #[error(transparent)]
    CacheUnavailable(#[from] CacheUnavailable),
    /// It could not be written to the disk.
    #[error(transparent)]
    NotDurable(#[from] NotDurable),
}

impl Handler<PurgeChunk> for CacheActor {
    type Result = MessageResult<PurgeChunk>;

    fn handle(&mut self, purge: PurgeChunk, context: &mut Self::Context) -> Self::Result {
        self.pause(context);
        let mut chunk = PurgedChunk::default();
        let filter = &purge.filter;
        if purge.place.is_none() {
            chunk.fetches = self.void_matching(filter, purge.how);
            if purge.how != PurgeAction::DryRun {
                self.forestall_late_claims(filter);
            }
            chunk.on_disk = self.purge_disk(&purge, context);
        }
        let mut keys = Vec::new();
        chunk.next = self.walk(filter, purge.place.unwrap_or_default(), |key, stored| {
            let mut variants = stored.variants.iter();
            if variants.any(|entry| filter.matches(&key.resource, entry)) {
                keys.push(key.clone());
            }
        });
        for key in keys {
            self.purge_key(key, &purge, &mut chunk);
        }
        MessageResult(chunk)
    }
}

impl CacheActor {
    /// Begins the purge of the disk. `None` without a store on disk, and for a dry run.
    fn purge_disk(&mut self, purge: &PurgeChunk, context: &mut Context<Self>) -> Option<DiskPurge> {
        let disk = self.disk.as_ref()?;
        let action = match purge.how {
            PurgeAction::DryRun => return None,
            PurgeAction::Remove => RuleAction::Remove,
            PurgeAction::Expire => RuleAction::Expire {
                at: purge.now.unix_millis(),
            },
        };
        let mut ending = disk.purge(&purge.filter, action);
        let swept = std::mem::replace(&mut ending.swept, Box::pin(pending()));
        let scope = match purge.filter.resources() {
            Some(resources) => EndScope::Resources(resources),
            None => EndScope::All,
        };
        Some(DiskPurge {
            confirmation: self.confirm(scope, ending, context),
            swept: Some(swept),
        })
    }

    fn purge_key(&mut self, key: Key, purge: &PurgeChunk, chunk: &mut PurgedChunk) {
        let Some(stored) = self.store.peek(&key) else {
            return;
        };
        let matches = |entry: &Arc<Entry>| purge.filter.matches(&key.resource, entry);
        for entry in stored.variants.iter().filter(|entry| matches(entry)) {
            chunk.responses += 1;
            chunk.bytes += entry.weight_bytes();
        }
        let budget = Arc::clone(&self.budget);
        match purge.how {
            PurgeAction::DryRun => {}
            PurgeAction::Remove => self
                .store
                .change(&key, |entry| (!matches(entry)).then(|| Arc::clone(entry))),
            PurgeAction::Expire => self.store.change(&key, |entry| {
                let expires = matches(entry) && entry.head().is_fresh(purge.now);
                Some(match expires {
                    true => {
                        let head = entry.head().expired(purge.now);
                        Arc::new(entry.with_head(head, &budget))
                    }
                    false => Arc::clone(entry),
                })
            }),
        }
        chunk.resources.push(key.resource);
    }

    /// Declines the later claims of fetches that are under way without one: they may bring what is purged.
    fn forestall_late_claims(&self, filter: &EntryFilter) {
        match filter.resources() {
            Some(resources) => resources.iter().for_each(|one| self.store.changed(one)),
            None => self.store.all_changed(),
        }
    }

    /// Voids the fetches under way for what `filter` names. Returns their number.
    fn void_matching(&mut self, filter: &EntryFilter, how: PurgeAction) -> u64 {
        let concerns = |resource: &Resource, fetch: &Fetch| {
            let about = fetch.revalidates.as_ref();
            filter.matches_path(resource)
                || about.is_some_and(|entry| filter.matches_tags(entry.head()))
        };
        if how == PurgeAction::DryRun {
            let all = self.fetches.iter();
            let of = |(resource, fetches): (&Resource, &Vec<Fetch>)| {
                fetches.iter().filter(|one| concerns(resource, one)).count() as u64
            };
            return all.map(of).sum();
        }
        let mut voided = Vec::new();
        self.fetches.retain(|resource, fetches| {
            let gone = fetches.extract_if(.., |fetch| concerns(resource, fetch));
            voided.extend(gone);
            !fetches.is_empty()
        });
        for fetch in &voided {
            self.tag_purges.ended(fetch.id);
            fetch.voided();
        }
        let mut count = voided.len();
        if !filter.tags().is_empty() {
            let next = FetchId(self.next_id);
            let under_way = self.fetches.values().map(Vec::len).sum();
            if !self.tag_purges.remember(filter, next, under_way) {
                count += under_way;
                self.fetches.values().flatten().for_each(Fetch::voided);
                self.fetches.clear();
                self.tag_purges.clear();
            }
            // Their responses may have the tags: later requests do not join them.
            let under_way = self.fetches.values_mut().flatten();
            under_way.for_each(|fetch| fetch.is_joinable = false);
        }
        count as u64
    }
}
