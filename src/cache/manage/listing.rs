//! Listing what is stored, without counting as a use.
//!
//! The actor returns keys and shared entries a chunk at a time. The caller sorts them in its own thread.

use std::{cmp::Ordering, sync::Arc};

use actix::{Handler, Message, MessageResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        handle::Cache,
        manage::{
            key_variants::{KeyVariants, ListedKey},
            on_disk::DiskPlace,
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
/// How many keys a listing holds beyond those that it returns, before it drops the others.
const SPARE_ROWS: usize = 16 * 1024;

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOrder {
    /// By path.
    #[default]
    Path,
    /// The largest first.
    Size,
    /// The youngest first.
    Age,
    /// The most used first.
    Hits,
    /// Those that become stale first.
    Fresh,
}

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
        let mut look = ChunkedLookup::at(&list.filter);
        while let Some(rows) = look.next(self).await? {
            for row in rows {
                listing.total += 1;
                listing.bytes += row.memory_bytes();
                ranking.add(row);
            }
        }
        let mut bytes = 0;
        for row in ranking.into_ranked().into_iter().skip(offset) {
            bytes += row.key.resource.target().len();
            if bytes > MAX_LISTED_BYTES {
                break;
            }
            listing.entries.extend(row.listed(now));
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

/// Keeps the keys that come first in an order.
struct Ranking {
    order: ListOrder,
    wanted: usize,
    now: Time,
    rows: Vec<(u64, KeyVariants)>,
}

impl Ranking {
    fn new(order: ListOrder, wanted: usize, now: Time) -> Self {
        Self {
            order,
            wanted,
            now,
            rows: Vec::new(),
        }
    }

    fn add(&mut self, row: KeyVariants) {
        let Some(entry) = row.variants.first() else {
            return;
        };
        let rank = match self.order {
            ListOrder::Path => 0,
            ListOrder::Size => u64::MAX - row.body_bytes(),
            ListOrder::Age => entry.head().age_seconds(self.now),
            ListOrder::Hits => u64::MAX - row.hits,
            ListOrder::Fresh => match entry.head().ttl_seconds(self.now) {
                // Stale ones come before fresh ones.
                Some(seconds) => seconds.cast_unsigned() ^ (1 << 63),
                None => u64::MAX,
            },
        };
        self.rows.push((rank, row));
        // Pruning only when twice as many are there keeps its cost per key constant.
        if self.rows.len() >= 2 * self.wanted + SPARE_ROWS {
            self.prune();
        }
    }

    fn prune(&mut self) {
        if self.wanted == 0 {
            self.rows.clear();
        } else if self.rows.len() > self.wanted {
            self.rows.select_nth_unstable_by(self.wanted - 1, compare);
            self.rows.truncate(self.wanted);
        }
    }

    fn into_ranked(mut self) -> Vec<KeyVariants> {
        self.prune();
        self.rows.sort_unstable_by(compare);
        self.rows.into_iter().map(|(_, row)| row).collect()
    }
}

fn compare(
    (one_rank, one): &(u64, KeyVariants),
    (other_rank, other): &(u64, KeyVariants),
) -> Ordering {
    let paths = || one.key.resource.cmp(&other.key.resource);
    one_rank.cmp(other_rank).then_with(paths)
}

/// Goes through the keys that match, a chunk at a time.
#[derive(Debug)]
pub struct ChunkedLookup {
    filter: Arc<EntryFilter>,
    place: ListPlace,
}

/// Where it goes on.
#[derive(Debug)]
enum ListPlace {
    Memory(Option<WalkPlace>),
    Disk(DiskPlace),
    End,
}

impl ChunkedLookup {
    /// The keys that `filter` matches, from the first one on.
    pub fn at(filter: &EntryFilter) -> Self {
        Self {
            filter: Arc::new(filter.clone()),
            place: ListPlace::Memory(None),
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
        let place = match self.place {
            ListPlace::End => return Ok(None),
            ListPlace::Disk(place) => {
                let (rows, next) = cache.walk_disk(&self.filter, place).await?;
                self.place = next.map_or(ListPlace::End, ListPlace::Disk);
                return Ok(Some(rows));
            }
            ListPlace::Memory(place) => place,
        };
        let chunk = LookChunk {
            filter: Arc::clone(&self.filter),
            place,
        };
        let LookedAt { rows, next } = cache.send(chunk).await?;
        let on_disk = || cache.disk_place(&self.filter);
        self.place = match next {
            Some(_) => ListPlace::Memory(next),
            None => on_disk().map_or(ListPlace::End, ListPlace::Disk),
        };
        Ok(Some(rows))
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
