//! Listing what is stored, without counting as a use.
//!
//! The actor returns keys and shared entries a chunk at a time. The caller sorts them in its own thread.

use std::{sync::Arc, time::Duration};

use actix::{Handler, Message, MessageResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        handle::Cache,
        manage::{
            key_variants::{KeyVariants, ListedKey},
            on_disk::{DiskWalk, WalkExtent},
            ranking::{ListOrder, Ranking},
            walk::WalkPlace,
        },
        unavailable::CacheUnavailable,
    },
    policy::Time,
};

/// The most keys that one listing has.
pub const MAX_LISTED: usize = 10_000;
/// The largest offset of a listing.
pub const MAX_OFFSET: usize = 100_000;
/// The most bytes of paths that one listing has.
const MAX_LISTED_BYTES: usize = 4 * 1024 * 1024;
/// The most keys that are returned in detail.
const MAX_ROWS: usize = 1000;

/// Which keys are listed, and how.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The keys to list.
    pub filter: EntryFilter,
    /// Their order.
    pub order: ListOrder,
    /// How many are skipped.
    pub offset: usize,
    /// The most that are listed.
    pub limit: usize,
    /// How long the disk may be read.
    pub disk_time: Duration,
}

/// A part of the keys that a query matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The keys of this part.
    pub entries: Vec<ListedKey>,
    /// How many keys match.
    pub total: u64,
    /// How many of them follow this part.
    pub more: u64,
    /// The memory of all that match, in bytes, overhead included.
    pub bytes: u64,
    /// True if it has fewer keys than were to be listed, because they are too long together.
    #[serde(default)]
    pub is_cut: bool,
    /// Responses on disk that were not looked at, because that took too long or the disk did not answer. They may match, and
    /// would be listed before others.
    #[serde(default)]
    pub not_read_on_disk: u64,
}

impl Cache {
    /// Lists what is stored. Nothing counts as used.
    ///
    /// # Errors
    /// The cache does not answer.
    pub async fn list(&self, list: &ListQuery, now: Time) -> Result<Listing, CacheUnavailable> {
        let offset = list.offset.min(MAX_OFFSET);
        let limit = list.limit.min(MAX_LISTED);
        let mut ranking = Ranking::new(list.order, offset + limit, now);
        let mut listing = Listing::default();
        let mut look = ChunkedLookup::of(&list.filter, WalkExtent::Within(list.disk_time));
        while let Some(rows) = look.next(self).await? {
            for row in rows {
                listing.total += 1;
                listing.bytes += row.memory_bytes();
                ranking.add(&row);
            }
        }
        listing.not_read_on_disk = look.not_read(self);
        let ranked = ranking.into_ranked();
        listing.is_cut = ranked.is_cut;
        let mut bytes = 0;
        for entry in ranked.keys.into_iter().skip(offset) {
            bytes += entry.path.len();
            if bytes > MAX_LISTED_BYTES {
                listing.is_cut = true;
                break;
            }
            listing.entries.push(entry);
        }
        let shown = (offset as u64).saturating_add(listing.entries.len() as u64);
        listing.more = listing.total.saturating_sub(shown);
        Ok(listing)
    }

    /// What is stored for the keys that match, up to a limit.
    ///
    /// # Errors
    /// The cache does not answer.
    pub async fn matching(
        &self,
        filter: &EntryFilter,
    ) -> Result<Vec<KeyVariants>, CacheUnavailable> {
        let mut found = Vec::new();
        let mut look = ChunkedLookup::at(filter);
        while let Some(rows) = look.next(self).await? {
            found.extend(rows);
            if found.len() >= MAX_ROWS {
                break;
            }
        }
        found.truncate(MAX_ROWS);
        Ok(found)
    }
}

/// Goes through the keys that match, a chunk at a time: what is in memory, then what is on disk alone.
#[derive(Debug)]
pub struct ChunkedLookup {
    filter: Arc<EntryFilter>,
    in_memory: MemoryWalk,
    on_disk: DiskWalk,
}

/// A walk over what is in memory.
#[derive(Debug)]
enum MemoryWalk {
    /// Where it goes on. `None` at the beginning.
    At(Option<WalkPlace>),
    End,
}

impl ChunkedLookup {
    /// The keys that `filter` matches, from the first one on.
    pub fn at(filter: &EntryFilter) -> Self {
        Self::of(filter, WalkExtent::Whole)
    }

    /// The same, with as much of the disk as `extent` says.
    pub(super) fn of(filter: &EntryFilter, extent: WalkExtent) -> Self {
        let filter = Arc::new(filter.clone());
        Self {
            in_memory: MemoryWalk::At(None),
            on_disk: DiskWalk::new(Arc::clone(&filter), extent),
            filter,
        }
    }

    /// The next chunk; `None` at the end. Nothing counts as used.
    ///
    /// # Errors
    /// The cache does not answer.
    pub async fn next(
        &mut self,
        cache: &Cache,
    ) -> Result<Option<Vec<KeyVariants>>, CacheUnavailable> {
        let MemoryWalk::At(place) = self.in_memory else {
            return match self.on_disk.next(cache).await {
                Some(found) => Ok(Some(cache.beside_memory(found).await?)),
                None => Ok(None),
            };
        };
        let chunk = LookChunk {
            filter: Arc::clone(&self.filter),
            place,
        };
        let LookedAt { rows, next } = cache.send(chunk).await?;
        self.in_memory = match next {
            Some(_) => MemoryWalk::At(next),
            None => MemoryWalk::End,
        };
        Ok(Some(rows))
    }

    /// How many responses on disk were not looked at, because the time was over or the disk did not answer.
    pub(super) fn not_read(&self, cache: &Cache) -> u64 {
        self.on_disk.not_read(cache)
    }
}

/// Returns what is stored for the keys from a cursor on.
#[derive(Message, Debug)]
#[rtype(result = "LookedAt")]
pub struct LookChunk {
    filter: Arc<EntryFilter>,
    /// Where to go on; `None` at the beginning.
    place: Option<WalkPlace>,
}

/// What one message has found.
#[derive(Debug, Default)]
pub struct LookedAt {
    rows: Vec<KeyVariants>,
    /// Where to go on; `None` at the end.
    next: Option<WalkPlace>,
}

impl Handler<LookChunk> for CacheActor {
    type Result = MessageResult<LookChunk>;

    fn handle(
        &mut self,
        LookChunk { filter, place }: LookChunk,
        context: &mut Self::Context,
    ) -> Self::Result {
        self.pause(context);
        let mut rows = Vec::new();
        let next = self.walk(&filter, place.unwrap_or_default(), |key, stored| {
            let mut all = stored.variants.iter();
            if all.any(|entry| filter.matches(&key.resource, entry)) {
                rows.push(KeyVariants::of(key, stored));
            }
        });
        for row in &mut rows {
            if let Some(found) = self.store.as_found(&row.key, &row.variants) {
                row.variants = found;
            }
        }
        MessageResult(LookedAt { rows, next })
    }
}
