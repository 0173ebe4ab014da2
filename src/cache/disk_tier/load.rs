//! Bringing a response from disk into memory.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::task::yield_now;

use crate::{
    cache::{
        disk_tier::on_disk::OnDisk,
        fetches::ticket::FetchTicket,
        found::PutOutcome,
        handle::Cache,
        store::{
            body::Body, budget::Budget, entry::Entry, even_pieces::EvenPieces, key::Key,
            piece::Piece,
        },
    },
    disk::{DiskUnavailable, LargeBody, StoredBody},
    policy::{StoredHead, Time},
};

/// A response that was received so much after the present time is from before the clock was set back.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);
/// Bodies up to this size are read into memory. Larger ones are sent from disk, which costs no more.
pub(super) const MOST_READ_BYTES: u64 = 1024 * 1024;
/// After so many bytes other tasks of the thread run.
const READ_AT_ONCE_BYTES: u64 = 256 * 1024;

/// What came of loading a response.
#[derive(Debug)]
pub enum Loaded {
    /// The response is in memory: look up again.
    InMemory,
    /// It is not in memory, but what memory has for the key has changed: look up again.
    LookAgain,
    /// The response cannot be loaded: fetch from the origin.
    Not(FetchTicket),
}

impl Cache {
    /// The response that the disk has for the key of `ticket`, of which `choose` names one by its index. `None` if it names none,
    /// there is no store on disk, it does not answer in time, or this instance does not know what others have ended.
    pub async fn find_on_disk(
        &self,
        ticket: &FetchTicket,
        now: Time,
        choose: impl Fn(&[&StoredHead]) -> Option<usize>,
    ) -> Option<OnDisk> {
        let may_load = ticket.may_load() && self.is_current();
        let disk = self.disk().filter(|_| may_load)?;
        // Asked before: what is left out then is found later.
        let is_loading = disk.is_loading();
        let found = disk.find(ticket.key(), false).await;
        let is_whole = found.is_empty() || !is_loading;
        match chosen(found, now, &choose) {
            None if !is_whole => chosen(disk.find(ticket.key(), true).await, now, &choose),
            response => response,
        }
    }

    /// True if the disk may have a response for `key`.
    pub fn may_have_on_disk(&self, key: &Key) -> bool {
        self.disk().is_some_and(|disk| disk.may_have(key))
    }

    /// `entry` for one response, with its file open until that is sent. `None` if the file cannot be opened.
    pub async fn opened(&self, entry: &Arc<Entry>) -> Option<Arc<Entry>> {
        if !entry.body().is_in_file() {
            return Some(Arc::clone(entry));
        }
        let body = entry.body().kept_open().await?;
        Some(Arc::new(entry.with_body(body, &self.budget)))
    }

    /// The body of `entry`, of which a list has the head alone, from disk. `None` if it is not there any more, or cannot be
    /// read.
    pub async fn body_on_disk(&self, key: &Key, entry: &Entry) -> Option<Body> {
        let found = self.disk()?.find(key, true).await;
        let is_same = |response: &OnDisk| {
            let head = response.head();
            // A newer response has another body.
            head.same_variant(entry.head()) && head.received() == entry.head().received()
        };
        let response = found.into_iter().find(is_same)?;
        Some(match response.body {
            StoredBody::Memory(bytes) => body_of(bytes, &self.budget),
            StoredBody::Large(large) => Body::on_disk(large),
        })
    }

    /// Brings `response` into memory. This ends the fetch of `ticket`.
    pub async fn load(&self, mut ticket: FetchTicket, response: OnDisk, now: Time) -> Loaded {
        let body = match response.body {
            StoredBody::Memory(bytes) => body_of(bytes, ticket.budget()),
            StoredBody::Large(large) => match read(&large, &ticket).await {
                Ok(in_memory) => in_memory.unwrap_or_else(|| Body::on_disk(large)),
                Err(_) => return Loaded::Not(ticket),
            },
        };
        let entry = response.head.with_body(body, ticket.budget());
        match ticket
            .load(ticket.disk_source(), (response.key, entry), now)
            .await
        {
            Ok(PutOutcome::NoRoom) | Err(_) => Loaded::Not(ticket),
            Ok(PutOutcome::Stored | PutOutcome::StoredStale) => Loaded::InMemory,
            Ok(PutOutcome::Void | PutOutcome::Outdated) => Loaded::LookAgain,
        }
    }
}

/// The one of these responses that `choose` names by its index. None is from before the clock was set back.
pub(super) fn chosen(
    mut found: Vec<OnDisk>,
    now: Time,
    choose: impl Fn(&[&StoredHead]) -> Option<usize>,
) -> Option<OnDisk> {
    let latest = now.saturating_add(CLOCK_TOLERANCE);
    found.retain(|response| response.head().received() <= latest);
    let heads: Vec<_> = found.iter().map(OnDisk::head).collect();
    let index = choose(&heads).filter(|index| *index < found.len())?;
    Some(found.swap_remove(index))
}

/// A body of one piece. Bytes that nobody else has are not copied.
fn body_of(bytes: Bytes, budget: &Arc<Budget>) -> Body {
    let bytes = Vec::from(bytes).into_boxed_slice();
    let piece = (!bytes.is_empty()).then(|| Piece::of(bytes, budget));
    Body::new(piece.into_iter().collect::<Vec<_>>())
}

/// Reads a body that has a file of its own; `None` if it is too large for memory, or there is no room for it.
///
/// # Errors
/// It cannot be read.
async fn read(large: &LargeBody, ticket: &FetchTicket) -> Result<Option<Body>, DiskUnavailable> {
    let length = large.len_bytes();
    if length > ticket.max_object_bytes().min(MOST_READ_BYTES) {
        return Ok(None);
    }
    let mut pieces = EvenPieces::new(length, ticket.budget());
    let mut read_bytes = 0;
    let reader = large.clone().open().await?;
    while read_bytes < length {
        let bytes = reader.read(read_bytes).await?;
        if bytes.is_empty() {
            return Err(DiskUnavailable::Corrupt);
        }
        if ticket.room(read_bytes, bytes.len() as u64).await.is_err() {
            return Ok(None);
        }
        pieces.push(&bytes);
        read_bytes += bytes.len() as u64;
        if read_bytes.is_multiple_of(READ_AT_ONCE_BYTES) {
            // What the system has in memory comes without a pause.
            yield_now().await;
        }
    }
    Ok(Some(pieces.into_body()))
}
