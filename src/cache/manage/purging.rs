//! Purging: removing named responses from the cache, or making them stale.
//!
//! A purge goes through the store a step at a time, so that other messages are handled in between. It first voids the
//! fetches under way for what it names: nobody joins them, and they store nothing. So whatever is stored meanwhile was
//! fetched after the purge began, unless a fetch after that uses bytes of what is purged later (`purged_bytes`). The tags
//! of a fetch are not known before its response: a purge by tag is remembered until all fetches that were under way have
//! ended.

use std::{fmt, future::pending, sync::Arc, time::Duration};

use actix::{Context, Handler, Message, MessageResult};
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        disk_tier::{Confirmation, DiskTier, EndScope},
        fetches::{active::Fetch, reader::FetchId},
        handle::Cache,
        manage::{
            on_disk::{DiskWalk, WalkExtent},
            purged_paths::PurgedPaths,
            walk::WalkPlace,
        },
        shared_tier::{SharedEnd, ToldOthers, Unconfirmed},
        store::{
            entry::Entry,
            key::{Key, Resource},
        },
        unavailable::CacheUnavailable,
    },
    disk::{NotDurable, RuleAction, Swept},
    policy::Time,
};

/// How long a purge waits until its responses on disk are counted. They are not used before either.
const SWEEP_PATIENCE: Duration = Duration::from_secs(2);
/// How long a dry run may read the disk.
const DRY_RUN_TIME: Duration = Duration::from_secs(5);

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
    /// Responses on disk. Some of them are in memory too.
    #[serde(default)]
    pub on_disk: u64,
    /// Where it does not hold.
    #[serde(default, skip_serializing_if = "Unconfirmed::is_empty")]
    pub unconfirmed: Unconfirmed,
    /// Responses on disk that were not looked at, because that took too long or the disk did not answer. The purge holds for
    /// them too, but those that it names are not counted.
    #[serde(default)]
    pub not_read_on_disk: u64,
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
    ) -> Result<(Purged, ToldOthers), PurgeError> {
        self.purge_as(PurgeOrigin::Here, filter, how, now).await
    }

    /// Purges here what another instance has purged.
    ///
    /// # Errors
    /// The same.
    pub(in crate::cache) async fn purge_here(
        &self,
        filter: EntryFilter,
        how: PurgeAction,
        now: Time,
    ) -> Result<Purged, PurgeError> {
        let purged = self.purge_as(PurgeOrigin::Others, filter, how, now).await;
        Ok(purged?.0)
    }

    async fn purge_as(
        &self,
        origin: PurgeOrigin,
        filter: EntryFilter,
        how: PurgeAction,
        now: Time,
    ) -> Result<(Purged, ToldOthers), PurgeError> {
        let filter = Arc::new(filter);
        let mut purged = Purged::default();
        let mut paths = PurgedPaths::default();
        let mut place = None;
        let mut on_disk = DiskPurge::default();
        let mut told = ToldOthers::default();
        loop {
            let chunk = self
                .send(PurgeChunk {
                    filter: Arc::clone(&filter),
                    origin,
                    how,
                    now,
                    place,
                })
                .await?;
            purged.responses += chunk.responses;
            purged.bytes += chunk.bytes;
            purged.fetches += chunk.fetches;
            chunk.resources.iter().for_each(|one| paths.add(one));
            if let Some(begun) = chunk.on_disk {
                on_disk = begun;
            }
            if let Some(begun) = chunk.told {
                told = begun;
            }
            place = chunk.next;
            if place.is_none() {
                break;
            }
        }
        if origin == PurgeOrigin::Others {
            // Nobody here asks what it was, and later ends wait for this one.
            on_disk.confirmation.wait().await?;
        } else if let Some(disk) = self.disk() {
            let counted = match how {
                PurgeAction::Remove => on_disk.removed(disk, &mut paths).await?,
                PurgeAction::Expire => {
                    on_disk.confirmation.wait().await?;
                    let named = DiskWalk::new(filter, WalkExtent::Within(SWEEP_PATIENCE));
                    self.count_on_disk(named, &mut paths).await
                }
                PurgeAction::DryRun => {
                    let named = DiskWalk::new(filter, WalkExtent::Within(DRY_RUN_TIME));
                    self.count_on_disk(named, &mut paths).await
                }
            };
            (purged.on_disk, purged.not_read_on_disk) = counted;
        }
        (purged.paths, purged.more_paths) = paths.into_listed();
        Ok((purged, told))
    }

    /// How many responses a walk over the disk finds, and how many it does not look at.
    async fn count_on_disk(&self, mut named: DiskWalk, paths: &mut PurgedPaths) -> (u64, u64) {
        let mut count = 0;
        while let Some(found) = named.next(self).await {
            count += found.len() as u64;
            found.iter().for_each(|(key, _)| paths.add(&key.resource));
        }
        (count, named.not_read(self))
    }
}

/// Who has asked for a purge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PurgeOrigin {
    /// Somebody at this instance: the others are told.
    Here,
    /// Another instance.
    Others,
}

/// Purges among the keys from a cursor on.
#[derive(Message, Debug)]
#[rtype(result = "PurgedChunk")]
pub struct PurgeChunk {
    filter: Arc<EntryFilter>,
    origin: PurgeOrigin,
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
    /// What the other instances were told. `None` if this message did not tell them.
    told: Option<ToldOthers>,
    /// Where to go on; `None` at the end.
    next: Option<WalkPlace>,
}

/// A purge of the disk.
#[derive(Default)]
struct DiskPurge {
    confirmation: Confirmation,
    /// The resources that it names one by one and of which the disk has something. Empty if it names none so.
    named: Vec<Resource>,
    /// What the purge removes, when it has looked at everything. `None` without a store on disk.
    swept: Option<BoxFuture<'static, Swept>>,
}

impl fmt::Debug for DiskPurge {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DiskPurge").finish_non_exhaustive()
    }
}

impl DiskPurge {
    /// Waits until it holds on disk, and for a limited time until its responses are counted. Returns how many were removed,
    /// and how many may have to be looked at.
    async fn removed(
        self,
        disk: &DiskTier,
        paths: &mut PurgedPaths,
    ) -> Result<(u64, u64), NotDurable> {
        let ended = self.confirmation.wait().await?;
        if ended.responses > 0 {
            self.named.iter().for_each(|one| paths.add(one));
        }
        let swept = match self.swept {
            None => Swept::default(),
            Some(swept) => match timeout(SWEEP_PATIENCE, swept).await {
                Ok(swept) => swept,
                Err(_) => return Ok((ended.responses, disk.stats().responses.max(1))),
            },
        };
        let names = swept.resources.iter();
        let resources = names.filter_map(|name| disk.resource(name));
        resources.for_each(|one| paths.add(&one));
        if swept.has_more_resources {
            paths.add_unknown();
        }
        Ok((ended.responses + swept.responses, 0))
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
        if purge.how == PurgeAction::Remove {
            self.removing_purges.step(FetchId(self.next_id));
        }
        if purge.place.is_none() {
            if purge.how == PurgeAction::Remove {
                self.removing_purges.begin(filter);
            }
            chunk.fetches = self.void_matching(filter, purge.how);
            if purge.how != PurgeAction::DryRun {
                self.forestall_late_claims(filter);
            }
            chunk.on_disk = self.purge_disk(&purge, context);
            chunk.told = self.tell_of(&purge);
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
        self.store.free_aside(chunk.next.is_some());
        if chunk.next.is_none() {
            self.removing_purges.end(filter);
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
        let resources = purge.filter.resources();
        let mut named = resources.clone().unwrap_or_default();
        if named.len() > 1 {
            named.retain(|resource| disk.may_have_resource(resource));
        }
        let mut ending = disk.purge(&purge.filter, action);
        let swept = std::mem::replace(&mut ending.swept, Box::pin(pending()));
        let scope = match resources {
            Some(resources) => EndScope::Resources(resources),
            None => EndScope::All,
        };
        Some(DiskPurge {
            confirmation: self.confirm(scope, ending, context),
            named,
            swept: Some(swept),
        })
    }

    /// Tells the other instances of a purge that was asked for here. `None` if they are not told.
    fn tell_of(&mut self, purge: &PurgeChunk) -> Option<ToldOthers> {
        let filter = || EntryFilter::clone(&purge.filter);
        match (purge.origin, purge.how) {
            (PurgeOrigin::Others, _) | (_, PurgeAction::DryRun) => None,
            (PurgeOrigin::Here, PurgeAction::Remove) => {
                Some(self.tell_others(|| SharedEnd::Purged(filter())))
            }
            (PurgeOrigin::Here, PurgeAction::Expire) => {
                Some(self.tell_others(|| SharedEnd::Expired(filter())))
            }
        }
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
            PurgeAction::Remove => self.store.purge(&key, matches),
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
