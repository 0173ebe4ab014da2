//! What is stored: looking without touching.
//!
//! The actor hands out what it holds a chunk at a time (keys and shared heads, no copies of them); whoever asked ranks
//! and shows it in its own thread.

use std::{cmp::Ordering, sync::Arc};

use actix::{Handler, Message, MessageResult};
use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        found::Found,
        handle::Cache,
        manage::purging::CHUNK,
        store::{
            entry::Entry,
            key::Key,
            memory::{Cursor, Variants},
        },
        unavailable::CacheUnavailable,
    },
    mask::hidden,
    policy::{Audience, Reason, Time},
};

/// Keys that one answer lists at the most.
pub const MAX_LISTED: usize = 10_000;
/// Keys beyond which no list goes.
pub const MAX_OFFSET: usize = 100_000;
/// Bytes of paths that one answer lists at the most.
const MAX_LISTED_BYTES: usize = 4 * 1024 * 1024;
/// Rows that are looked at in detail.
const MAX_ROWS: usize = 1000;
/// Chunks of keys among which the nearest one is looked for.
const NEAREST_CHUNKS: usize = 16;

/// What a list is ordered by.
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
    /// What becomes stale first, first.
    Fresh,
}

/// Which keys are listed, and how.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// Which.
    pub filter: EntryFilter,
    /// In which order.
    pub order: ListOrder,
    /// How many are left out at the front.
    pub offset: usize,
    /// How many are listed.
    pub limit: usize,
}

/// A part of what is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// The keys of this part.
    pub entries: Vec<ListedKey>,
    /// How many keys there are of those wanted.
    pub total: u64,
    /// How many of them come after this part.
    pub more: u64,
    /// What all those wanted hold in memory, in bytes, overhead included.
    pub bytes: u64,
}

/// One key, by its newest response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedKey {
    /// Path and query, secrets masked.
    pub path: String,
    /// The Host, where clients choose it.
    pub host: Option<String>,
    /// The method that asks for it.
    pub method: String,
    /// The status.
    pub status: u16,
    /// The bodies of all variants, in bytes.
    pub body_bytes: u64,
    /// What all variants hold in memory, in bytes, overhead included.
    pub memory_bytes: u64,
    /// RFC 9111, 4.2.3, in seconds.
    pub age_seconds: u64,
    /// Seconds for which it is still fresh, negative when it is stale; none: until it is cleared.
    pub fresh_seconds: Option<i64>,
    /// Whether it is stale.
    pub is_stale: bool,
    /// Answers from the cache so far, those of all variants.
    pub hits: u64,
    /// Responses stored for it.
    pub variants: u64,
    /// Whether only the identity it was made for is answered from it.
    pub is_own: bool,
}

impl Cache {
    /// Lists what is stored; nothing is counted as used.
    ///
    /// # Errors
    /// The cache did not answer.
    pub async fn list(&self, list: &ListQuery, now: Time) -> Result<Listing, CacheUnavailable> {
        let offset = list.offset.min(MAX_OFFSET);
        let limit = list.limit.min(MAX_LISTED);
        let mut ranking = Ranking::new(list.order, offset + limit, now);
        let mut listing = Listing::default();
        let mut look = Look::at(&list.filter);
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

    /// What is stored of what is wanted, in detail, up to a bound.
    ///
    /// # Errors
    /// The cache did not answer.
    pub async fn matching(
        &self,
        filter: &EntryFilter,
    ) -> Result<Vec<KeyVariants>, CacheUnavailable> {
        let mut found = Vec::new();
        let mut look = Look::at(filter);
        while let Some(rows) = look.next(self).await? {
            found.extend(rows);
            if found.len() >= MAX_ROWS {
                break;
            }
        }
        found.truncate(MAX_ROWS);
        Ok(found)
    }

    /// The stored target that has the most bytes in common with `target` from its beginning on, if need be without
    /// regard to case, among as many as are looked at.
    ///
    /// # Errors
    /// The cache did not answer.
    pub async fn nearest(&self, target: &str) -> Result<Option<String>, CacheUnavailable> {
        let everything = EntryFilter::all();
        let mut look = Look::at(&everything);
        let mut nearest: Option<((usize, usize), KeyVariants)> = None;
        for _ in 0..NEAREST_CHUNKS {
            let Some(rows) = look.next(self).await? else {
                break;
            };
            let common = |row: &KeyVariants| {
                let pairs = || row.key.resource.target().bytes().zip(target.bytes());
                let same = pairs().take_while(|(one, other)| one == other);
                let alike = pairs().take_while(|(one, other)| one.eq_ignore_ascii_case(other));
                (same.count(), alike.count())
            };
            let best = rows
                .into_iter()
                .map(|row| (common(&row), row))
                .max_by_key(|(common, _)| *common);
            nearest = nearest
                .into_iter()
                .chain(best)
                .max_by_key(|(common, _)| *common);
        }
        Ok(nearest.map(|(_, row)| row.key.resource.target().to_owned()))
    }
}

/// What is stored for one key.
#[derive(Clone, Debug)]
pub struct KeyVariants {
    /// The key.
    pub key: Key,
    /// The responses, the newest first.
    pub variants: Arc<[Arc<Entry>]>,
    /// Answers from them so far.
    pub hits: u64,
}

impl KeyVariants {
    fn of(key: &Key, shelf: &Variants) -> Self {
        Self {
            key: key.clone(),
            variants: shelf.variants.iter().cloned().collect(),
            hits: shelf.hits(),
        }
    }

    fn body_bytes(&self) -> u64 {
        let bytes = self.variants.iter().map(|entry| entry.body().len_bytes());
        bytes.sum()
    }

    fn memory_bytes(&self) -> u64 {
        self.variants.iter().map(|entry| entry.weight_bytes()).sum()
    }

    fn listed(&self, now: Time) -> Option<ListedKey> {
        let head = self.variants.first()?.head();
        let asks_with_body = self.key.content.is_some();
        Some(ListedKey {
            path: hidden(self.key.resource.target()).into_owned(),
            host: self.key.resource.host().map(str::to_owned),
            method: if asks_with_body { "POST" } else { "GET" }.to_owned(),
            status: head.status().as_u16(),
            body_bytes: self.body_bytes(),
            memory_bytes: self.memory_bytes(),
            age_seconds: head.age_seconds(now),
            fresh_seconds: head.ttl_seconds(now),
            is_stale: !head.is_fresh(now),
            hits: self.hits,
            variants: self.variants.len() as u64,
            is_own: self.key.identity.is_some() && head.audience() == Audience::Partition,
        })
    }
}

/// Keeps the first rows of an order.
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
                // Those that are stale come before those that are not.
                Some(seconds) => seconds.cast_unsigned() ^ (1 << 63),
                None => u64::MAX,
            },
        };
        self.rows.push((rank, row));
        // Half of the work is kept, so that the other half is not done for every row.
        if self.rows.len() >= 2 * self.wanted + CHUNK {
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

/// Goes through what is wanted, a chunk at a time.
struct Look {
    filter: Arc<EntryFilter>,
    place: Option<Cursor>,
    is_over: bool,
}

impl Look {
    fn at(filter: &EntryFilter) -> Self {
        Self {
            filter: Arc::new(filter.clone()),
            place: None,
            is_over: false,
        }
    }

    async fn next(&mut self, cache: &Cache) -> Result<Option<Vec<KeyVariants>>, CacheUnavailable> {
        if self.is_over {
            return Ok(None);
        }
        let chunk = LookChunk {
            filter: Arc::clone(&self.filter),
            place: self.place,
        };
        let LookedAt { rows, next } = cache.send(chunk).await?;
        self.place = next;
        self.is_over = next.is_none();
        Ok(Some(rows))
    }
}

/// What is stored among the keys from a place on?
#[derive(Message, Debug)]
#[rtype(result = "LookedAt")]
pub struct LookChunk {
    filter: Arc<EntryFilter>,
    /// None: from the front.
    place: Option<Cursor>,
}

/// Some of what is stored.
#[derive(Debug, Default)]
pub struct LookedAt {
    rows: Vec<KeyVariants>,
    /// None: that were all.
    next: Option<Cursor>,
}

impl Handler<LookChunk> for CacheActor {
    type Result = MessageResult<LookChunk>;

    fn handle(
        &mut self,
        LookChunk { filter, place }: LookChunk,
        _: &mut Self::Context,
    ) -> Self::Result {
        if let Some(resources) = filter.resources() {
            let keys = resources
                .iter()
                .flat_map(|resource| self.store.keys_of(resource));
            let row = |key: Key| {
                self.store
                    .peek(&key)
                    .map(|shelf| KeyVariants::of(&key, shelf))
            };
            let (rows, next) = (keys.filter_map(row).collect(), None);
            return MessageResult(LookedAt { rows, next });
        }
        let place = place.unwrap_or_else(|| self.store.front());
        let mut seen = 0;
        let looked_at = self.store.from(place).take(CHUNK).inspect(|_| seen += 1);
        let rows = looked_at
            .filter(|(key, shelf)| {
                let mut variants = shelf.variants.iter();
                variants.any(|entry| filter.matches(&key.resource, entry))
            })
            .map(|(key, shelf)| KeyVariants::of(&key, shelf))
            .collect();
        let next = (seen == CHUNK).then(|| self.store.behind(place, seen));
        MessageResult(LookedAt { rows, next })
    }
}

/// What would a request for this key find, and what is known of it? Nothing is counted as used.
#[derive(Message, Debug)]
#[rtype(result = "KeyState")]
pub struct Inspect {
    /// The key.
    pub key: Key,
}

/// What is known of a key.
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    /// What is stored.
    pub found: Found,
    /// Why the last answer for it was not stored, and when it was asked for.
    pub refused: Option<(Reason, Time)>,
    /// Whether a fetch is under way that a request would join.
    pub is_fetching: bool,
    /// Until when everybody fetches for themselves.
    pub hit_for_miss_until: Option<Time>,
}

impl Handler<Inspect> for CacheActor {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, Inspect { key }: Inspect, _: &mut Self::Context) -> Self::Result {
        let lesson = self.hit_for_miss_of(&key);
        MessageResult(KeyState {
            found: self.store.peek_found(&key),
            refused: lesson.and_then(|lesson| lesson.refused),
            is_fetching: self.joinable(&key).is_some(),
            hit_for_miss_until: lesson.map(|lesson| lesson.hit_for_miss_until),
        })
    }
}
