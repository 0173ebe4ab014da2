//! Taking what somebody names out of the cache, or making it stale.
//!
//! A purge goes through what is stored a chunk at a time, so that others are answered in between. What is stored
//! meanwhile was fetched after it began, for fetches under way are voided first: nobody joins them, and they store
//! nothing. Which tags a fetch will bring is not known yet: those of a purge are remembered until all fetches have ended
//! that were under way.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use actix::{Handler, Message, MessageResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        fetches::{active::Fetch, reader::FetchId},
        handle::Cache,
        store::{
            entry::Entry,
            key::{Key, Resource},
            memory::Cursor,
        },
        unavailable::CacheUnavailable,
    },
    mask::hidden,
    policy::Time,
};

/// How many keys are looked at in one message.
pub(in crate::cache) const CHUNK: usize = 16 * 1024;
/// Paths that are told of, and how many bytes of them.
const MAX_PATHS: usize = 10_000;
const MAX_PATHS_BYTES: usize = 4 * 1024 * 1024;

/// What becomes of the stored responses that are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurgeAction {
    /// They are removed.
    #[default]
    Remove,
    /// They become stale.
    Expire,
    /// Nothing: it is only said which they are.
    DryRun,
}

/// What was purged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Stored responses.
    #[serde(rename = "answers")]
    pub responses: u64,
    /// What they hold in memory, in bytes, overhead included.
    pub bytes: u64,
    /// Fetches under way whose responses will not be stored.
    pub fetches: u64,
    /// The paths, in order, each once, secrets masked.
    pub paths: Vec<String>,
    /// True when there are more paths than are told of.
    pub more_paths: bool,
}

impl Cache {
    /// Purges what is wanted. When this has answered, it holds for every worker.
    ///
    /// # Errors
    /// The cache did not answer. What it has purged by then stays purged.
    pub async fn purge(
        &self,
        filter: EntryFilter,
        how: PurgeAction,
        now: Time,
    ) -> Result<Purged, CacheUnavailable> {
        let filter = Arc::new(filter);
        let mut purged = Purged::default();
        let (mut paths, mut paths_bytes) = (BTreeSet::new(), 0);
        let mut place = None;
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
            place = chunk.next;
            if place.is_none() {
                break;
            }
        }
        purged.paths = paths.into_iter().collect();
        Ok(purged)
    }
}

/// Purges what is wanted among the keys from a place on.
#[derive(Message, Debug)]
#[rtype(result = "PurgedChunk")]
pub struct PurgeChunk {
    filter: Arc<EntryFilter>,
    how: PurgeAction,
    now: Time,
    /// None: it begins.
    place: Option<Cursor>,
}

/// What was purged among some keys.
#[derive(Debug, Default)]
pub struct PurgedChunk {
    responses: u64,
    bytes: u64,
    fetches: u64,
    resources: Vec<Resource>,
    /// None: that were all.
    next: Option<Cursor>,
}

impl Handler<PurgeChunk> for CacheActor {
    type Result = MessageResult<PurgeChunk>;

    fn handle(&mut self, purge: PurgeChunk, _: &mut Self::Context) -> Self::Result {
        let mut chunk = PurgedChunk::default();
        let filter = &purge.filter;
        if purge.place.is_none() {
            chunk.fetches = self.void_wanted(filter, purge.how);
        }
        let keys: Vec<Key> = match filter.resources() {
            Some(resources) => {
                let keys = resources
                    .iter()
                    .map(|resource| self.store.keys_of(resource));
                keys.flatten().collect()
            }
            None => {
                let place = purge.place.unwrap_or_else(|| self.store.front());
                let mut seen = 0;
                let looked_at = self.store.from(place).take(CHUNK).inspect(|_| seen += 1);
                let keys = looked_at
                    .filter(|(key, shelf)| {
                        let mut variants = shelf.variants.iter();
                        variants.any(|entry| filter.matches(&key.resource, entry))
                    })
                    .map(|(key, _)| key)
                    .collect();
                chunk.next = (seen == CHUNK).then(|| self.store.behind(place, seen));
                keys
            }
        };
        for key in keys {
            self.purge_key(key, &purge, &mut chunk);
        }
        // Workers may remember what was evicted here, and what they asked for since this began.
        if chunk.next.is_none() && purge.how != PurgeAction::DryRun {
            match filter.resources() {
                Some(resources) => resources
                    .iter()
                    .for_each(|one| self.store.bump_generation(one)),
                None => self.store.bump_all_generations(),
            }
        }
        MessageResult(chunk)
    }
}

impl CacheActor {
    fn purge_key(&mut self, key: Key, purge: &PurgeChunk, chunk: &mut PurgedChunk) {
        let Some(shelf) = self.store.peek(&key) else {
            return;
        };
        let meant = |entry: &Arc<Entry>| purge.filter.matches(&key.resource, entry);
        for entry in shelf.variants.iter().filter(|entry| meant(entry)) {
            chunk.responses += 1;
            chunk.bytes += entry.weight_bytes();
        }
        let budget = Arc::clone(&self.budget);
        match purge.how {
            PurgeAction::DryRun => {}
            PurgeAction::Remove => self
                .store
                .change(&key, |entry| (!meant(entry)).then(|| Arc::clone(entry))),
            PurgeAction::Expire => self.store.change(&key, |entry| {
                let is_due = meant(entry) && entry.head().is_fresh(purge.now);
                Some(match is_due {
                    true => {
                        let head = entry.head().expired(purge.now);
                        Arc::new(Entry::new(
                            Arc::new(head),
                            entry.body().clone(),
                            entry.fetch_millis(),
                            &budget,
                        ))
                    }
                    false => Arc::clone(entry),
                })
            }),
        }
        chunk.resources.push(key.resource);
    }

    /// Voids the fetches under way of what is wanted; responses how many these are.
    fn void_wanted(&mut self, filter: &EntryFilter, how: PurgeAction) -> u64 {
        let concerns = |resource: &Resource, fetch: &Fetch| {
            let about = fetch.revalidates.as_ref();
            filter.matches_path(resource)
                || about.is_some_and(|entry| filter.matches_tags(entry.head()))
        };
        let count = |fetches: &HashMap<Resource, Vec<Fetch>>| {
            fetches.values().map(Vec::len).sum::<usize>() as u64
        };
        if how == PurgeAction::DryRun {
            let all = self.fetches.iter();
            let of = |(resource, fetches): (&Resource, &Vec<Fetch>)| {
                fetches.iter().filter(|one| concerns(resource, one)).count() as u64
            };
            return all.map(of).sum();
        }
        let before = count(&self.fetches);
        self.fetches.retain(|resource, fetches| {
            fetches.retain(|fetch| !concerns(resource, fetch));
            !fetches.is_empty()
        });
        if !filter.tags().is_empty() && !self.tag_purges.remember(filter, FetchId(self.next_id)) {
            self.fetches.clear();
        }
        if !filter.tags().is_empty() {
            // They may bring what was purged: whoever asks from now on does not wait for that.
            let under_way = self.fetches.values_mut().flatten();
            under_way.for_each(|fetch| fetch.fill = None);
        }
        self.tag_purges.settle(&self.fetches);
        before - count(&self.fetches)
    }
}
