//! Walking over what is stored on disk, a step at a time. Bodies are not read.

use std::{sync::Arc, time::Duration};

use actix::{Handler, Message, MessageResult};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    cache::{
        EntryFilter,
        actor::CacheActor,
        disk_tier::HeadsPage,
        handle::Cache,
        manage::key_variants::KeyVariants,
        store::{
            entry::Entry,
            key::{Key, Resource},
        },
        unavailable::CacheUnavailable,
    },
    disk::ScanCursor,
};

/// How many responses are read in one step.
const STEP: usize = 1024;
/// How many of them are compared with memory in one message.
const COMPARED: usize = 32;
/// How long a walk over the whole disk waits for the one before it.
const TURN_PATIENCE: Duration = Duration::from_secs(2);
/// How long a walk over the newest responses waits for the one before it.
const NEWEST_PATIENCE: Duration = Duration::from_millis(250);

/// How much of the disk is walked over where a filter does not name all its resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkExtent {
    /// All of it. Walks of this kind do not wait for each other.
    Whole,
    /// As much as can be read in this time.
    Within(Duration),
    /// So many of the responses that were written last.
    Newest(usize),
}

impl WalkExtent {
    /// How long such a walk waits for the one before it. `None` if it does not wait.
    fn patience(self) -> Option<Duration> {
        match self {
            Self::Whole => None,
            Self::Within(_) => Some(TURN_PATIENCE),
            Self::Newest(_) => Some(NEWEST_PATIENCE),
        }
    }
}

/// Where a walk goes on.
#[derive(Debug)]
enum DiskPlace {
    /// At the next of these resources, which the filter names.
    Resources(std::vec::IntoIter<Resource>),
    /// In the order of the disk.
    Record(ScanCursor),
}

/// A walk over what a filter matches on disk. One at a time reads the whole disk.
#[derive(Debug)]
pub(super) struct DiskWalk {
    filter: Arc<EntryFilter>,
    extent: WalkExtent,
    state: WalkState,
    looked_at: u64,
}

#[derive(Debug)]
enum WalkState {
    NotBegun,
    At(DiskPlace, WalkTurn),
    /// Everything that was to be looked at was.
    Ended,
    /// The time is over, or the disk does not answer.
    Cut,
}

/// The turn of a walk over the disk.
#[derive(Debug)]
struct WalkTurn {
    /// When it is over. `None` if its time is not limited.
    until: Option<Instant>,
    /// `None` for a walk that waits for no other.
    _permit: Option<OwnedSemaphorePermit>,
}

impl DiskWalk {
    /// A walk that has not begun.
    pub(super) fn new(filter: Arc<EntryFilter>, extent: WalkExtent) -> Self {
        Self {
            filter,
            extent,
            state: WalkState::NotBegun,
            looked_at: 0,
        }
    }

    /// What the next step finds; `None` at the end.
    pub(super) async fn next(&mut self, cache: &Cache) -> Option<Vec<(Key, Arc<Entry>)>> {
        let (place, turn) = match std::mem::replace(&mut self.state, WalkState::Ended) {
            WalkState::At(place, turn) => (place, turn),
            WalkState::NotBegun => self.begin(cache).await?,
            ended @ (WalkState::Ended | WalkState::Cut) => {
                self.state = ended;
                return None;
            }
        };
        if turn.until.is_some_and(|until| until <= Instant::now()) {
            self.state = WalkState::Cut;
            return None;
        }
        let (page, next) = self.step(cache, place).await?;
        self.looked_at += page.looked_at;
        self.state = next.map_or(WalkState::Ended, |next| WalkState::At(next, turn));
        let mut found = page.heads;
        found.retain(|(key, entry)| self.filter.matches(&key.resource, entry));
        Some(found)
    }

    /// Where the walk begins. `None` if there is nothing to walk over, or its turn does not come.
    async fn begin(&mut self, cache: &Cache) -> Option<(DiskPlace, WalkTurn)> {
        let disk = cache.disk()?;
        let begin = match (self.filter.resources(), self.extent) {
            (Some(resources), _) => {
                let turn = WalkTurn {
                    until: None,
                    _permit: None,
                };
                return Some((DiskPlace::Resources(resources.into_iter()), turn));
            }
            (None, WalkExtent::Newest(count)) => ScanCursor::newest(count),
            (None, _) => ScanCursor::default(),
        };
        let permit = match self.extent.patience() {
            None => None,
            Some(patience) => match disk.walk_turn(patience).await {
                Some(permit) => Some(permit),
                None => {
                    self.state = WalkState::Cut;
                    return None;
                }
            },
        };
        let until = match self.extent {
            WalkExtent::Within(time) => Some(Instant::now() + time),
            WalkExtent::Whole | WalkExtent::Newest(_) => None,
        };
        let turn = WalkTurn {
            until,
            _permit: permit,
        };
        Some((DiskPlace::Record(begin), turn))
    }

    /// What is found at a place, and the next one. `None` at the end, or if the disk does not answer: then the walk is cut.
    async fn step(
        &mut self,
        cache: &Cache,
        place: DiskPlace,
    ) -> Option<(HeadsPage, Option<DiskPlace>)> {
        let disk = cache.disk()?;
        let read = match place {
            DiskPlace::Resources(mut resources) => {
                let page = disk.heads_of(&resources.next()?, &cache.budget).await;
                page.map(|page| (page, Some(DiskPlace::Resources(resources))))
            }
            DiskPlace::Record(cursor) => {
                let page = disk
                    .heads((cursor, STEP), &self.filter, &cache.budget)
                    .await;
                page.map(|page| {
                    let next = page.next.map(DiskPlace::Record);
                    (page, next)
                })
            }
        };
        if read.is_err() {
            self.state = WalkState::Cut;
        }
        read.ok()
    }

    /// How many responses on disk it has not looked at, because its time was over or the disk did not answer. A walk over the
    /// newest ones does not count the others.
    pub(super) fn not_read(&self, cache: &Cache) -> u64 {
        let stored = || cache.disk().map_or(0, |disk| disk.stats().responses);
        match self.state {
            // At least one: the count can be smaller by now.
            WalkState::Cut => stored().saturating_sub(self.looked_at).max(1),
            WalkState::NotBegun | WalkState::At(..) | WalkState::Ended => 0,
        }
    }
}

impl Cache {
    /// Those of `found`, which are on disk, that memory has not.
    ///
    /// # Errors
    /// The cache does not answer.
    pub(super) async fn beside_memory(
        &self,
        found: Vec<(Key, Arc<Entry>)>,
    ) -> Result<Vec<KeyVariants>, CacheUnavailable> {
        let mut rows = Vec::new();
        let mut found = found.into_iter().peekable();
        while found.peek().is_some() {
            let compared = found.by_ref().take(COMPARED).collect();
            rows.extend(self.send(BesideMemory(compared)).await?);
        }
        Ok(rows)
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
