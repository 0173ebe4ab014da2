//! One fetch for many requests: the side of the followers.
//!
//! A follower waits for the [`FetchEvent`] of a [`SharedFetch`]. If the response suits it, it reads the body with a
//! [`BodyReader`] at its own speed. The reader gets the last byte only when the response is stored.
//!
//! A body is read in memory. One that is too large for it is in a file as far as it has arrived, if there is a store on disk:
//! whoever finds the next piece no longer in memory reads on there.

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::http::StatusCode;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    cache::{
        fetches::progress::ReadProgress,
        store::{
            body::Body,
            piece::{Next, Piece},
            shared_list::SharedList,
        },
    },
    disk::LargeReader,
    policy::{Reason, StoredHead, Time},
};

/// The number of a fetch. Later fetches have larger numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::cache) struct FetchId(pub(crate) u64);

/// What has happened to a fetch, as its followers see it.
#[derive(Clone, Debug)]
pub enum FetchEvent {
    /// The head has arrived and may be stored. A follower that it suits reads along.
    Head(SharedHead),
    /// The stored response was freshened or replaced. Followers look it up again.
    LookAgain,
    /// A Clear, a purge or an invalidation came during the fetch. Followers look it up again as requests that arrive now do,
    /// and share the next fetch.
    Voided,
    /// The response is for one client only. Each follower fetches for itself.
    Released,
    /// The fetch failed. Its followers need not ask the origin again.
    Failed(FetchFailure),
}

/// Why a fetch failed.
#[derive(Clone, Debug)]
pub enum FetchFailure {
    /// The origin failed with this status, and a stale response was served in its place.
    Status(StatusCode),
    /// There was no response.
    Error(Arc<SharedError>),
}

/// Why there was no response, as the responses to all who waited for it say.
#[derive(Debug)]
pub struct SharedError {
    /// Whether another fetch at this moment would most likely fail too.
    pub lasts: bool,
    /// The short name of the error.
    pub name: &'static str,
    /// The status of the response.
    pub status: StatusCode,
    /// Its Retry-After, in seconds; `None` if it has none.
    pub retry_after_seconds: Option<u64>,
    /// A sentence for the client.
    pub sentence: String,
    /// What went wrong, for the log.
    pub problem: String,
}

/// For how many milliseconds after its head a body of unknown length is shared. One that has not ended by then may be
/// without end: a camera, a feed. Whoever comes later wants what is now, not a replay from the first byte.
const SHARED_WITHOUT_END_MILLIS: u64 = 3000;

/// The head of a fetch under way, and the start of its body.
#[derive(Clone, Debug)]
pub struct SharedHead {
    /// The head, as the policy judged it.
    pub head: Arc<StoredHead>,
    /// Length of the body in bytes; `None` if the origin did not send it.
    pub length: Option<u64>,
    first: Arc<Piece>,
    reading: Reading,
}

impl SharedHead {
    /// True if the body may be read along by those who have waited for the head.
    pub fn is_shared(&self) -> bool {
        is_shared(&self.head, self.length)
    }

    /// Reads the body along with the fetch.
    pub fn reader(self) -> BodyReader {
        BodyReader::begin(self.first, self.reading)
    }
}

fn is_shared(head: &StoredHead, length: Option<u64>) -> bool {
    length.is_some() || !head.is_of_records()
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchEnd {
    /// The body is whole and stored.
    Stored,
    /// The body is whole and was not stored.
    NotStored(Reason),
    /// The body did not arrive whole.
    Cut,
}

/// What a fetch shares with its followers and its readers. Each part but the file is written once.
#[derive(Debug, Default)]
pub(in crate::cache) struct FetchState {
    head: OnceLock<ArrivedHead>,
    /// What has happened after the head or in its place. Nobody else may read the body along then.
    outcome: OnceLock<FetchEvent>,
    end: OnceLock<FetchEnd>,
    /// The pieces of the body, which keep it alive for slow readers.
    pieces: OnceLock<SharedList<Piece>>,
    /// The body so far, if it is written to a file. Most are not.
    file: OnceLock<ArcSwapOption<LargeReader>>,
    /// Notified after each change, and after each piece of the body.
    changed: Notify,
    /// How many requests wait for the head.
    followers: AtomicUsize,
    /// How many read the body.
    readers: AtomicUsize,
    progress: ReadProgress,
}

/// The head of a fetch, and where its body begins as long as readers may begin there.
#[derive(Debug)]
struct ArrivedHead {
    head: Arc<StoredHead>,
    length: Option<u64>,
    first: Weak<Piece>,
}

impl ArrivedHead {
    /// True if a request at `now` may read the body along. A clock that was set makes no body young again.
    fn is_joinable(&self, now: Time) -> bool {
        let is_young = now.millis_apart(self.head.received()) < SHARED_WITHOUT_END_MILLIS;
        is_shared(&self.head, self.length) && (self.length.is_some() || is_young)
    }
}

impl FetchState {
    /// Notes that the head has arrived and may be stored. The body begins after `first`.
    pub(in crate::cache) fn opened(
        &self,
        head: &Arc<StoredHead>,
        length: Option<u64>,
        first: &Arc<Piece>,
    ) {
        let _ = self.head.set(ArrivedHead {
            head: Arc::clone(head),
            length,
            first: Arc::downgrade(first),
        });
        self.notify();
    }

    /// Notes what has happened after the head or in its place. Only the first call has an effect: a voided fetch stays voided.
    pub(in crate::cache) fn happened(&self, event: FetchEvent) {
        let _ = self.outcome.set(event);
        self.notify();
    }

    /// Notes that the fetch is voided if its head has not arrived. Those who read the body read on.
    pub(in crate::cache) fn voided(&self) {
        if !self.has_head() {
            self.happened(FetchEvent::Voided);
        }
    }

    /// Keeps the pieces of the whole body for slow readers. Only the first call has an effect.
    pub(in crate::cache) fn keep(&self, pieces: SharedList<Piece>) {
        let _ = self.pieces.set(pieces);
    }

    /// Shows the body so far in its file to the readers; `None` if it is in no file any more. Once it has `ended`, the file
    /// has the whole body.
    pub(in crate::cache) fn in_file(&self, file: Option<LargeReader>) {
        let place = self.file.get_or_init(ArcSwapOption::empty);
        place.store(file.map(Arc::new));
        self.notify();
    }

    /// Notes how the fetch ended, and what has happened then. Only the first of each has an effect.
    pub(in crate::cache) fn ended(&self, event: FetchEvent, end: FetchEnd) {
        let _ = self.outcome.set(event);
        let _ = self.end.set(end);
        self.notify();
    }

    /// Wakes those who wait for a change or for a piece of the body.
    pub(in crate::cache) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// True if the head has arrived.
    pub(in crate::cache) fn has_head(&self) -> bool {
        self.head.get().is_some()
    }

    /// True if a request at `now` may follow: the body may still be joined, or the head is awaited and the fetch `is_young`.
    pub(in crate::cache) fn is_joinable(&self, now: Time, is_young: bool) -> bool {
        // With an outcome it has ended, and the actor is about to hear of it.
        let is_open = self.outcome.get().is_none();
        is_open && self.head.get().map_or(is_young, |it| it.is_joinable(now))
    }

    /// True if other requests wait for the head.
    pub(in crate::cache) fn has_followers(&self) -> bool {
        self.followers.load(Ordering::SeqCst) > 0
    }

    /// How many requests read the body.
    pub(in crate::cache) fn readers(&self) -> usize {
        self.readers.load(Ordering::SeqCst)
    }

    pub(in crate::cache) fn progress(&self) -> &ReadProgress {
        &self.progress
    }

    /// What has happened last; `None` if nothing has.
    fn event(self: &Arc<Self>) -> Option<FetchEvent> {
        if let Some(outcome) = self.outcome.get() {
            return Some(outcome.clone());
        }
        let arrived = self.head.get()?;
        let reading = Reading::new(Arc::clone(self));
        // Without the beginning of the body nobody else may read it.
        let head = arrived.first.upgrade().map(|first| SharedHead {
            head: Arc::clone(&arrived.head),
            length: arrived.length,
            first,
            reading,
        });
        Some(head.map_or(FetchEvent::Released, FetchEvent::Head))
    }
}

/// Counts a reader of the body of a fetch until this is dropped.
#[derive(Debug)]
struct Reading(Arc<FetchState>);

impl Reading {
    fn new(state: Arc<FetchState>) -> Self {
        state.readers.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl Clone for Reading {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.0))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::SeqCst);
        self.0.progress.left();
    }
}

/// A fetch under way, for a follower.
#[derive(Debug)]
pub struct SharedFetch {
    state: Arc<FetchState>,
    /// How long the follower waits for the head.
    wait: Duration,
}

impl SharedFetch {
    /// The fetch for one follower more, who waits that long for its head.
    pub(in crate::cache) fn new(state: Arc<FetchState>, wait: Duration) -> Self {
        state.followers.fetch_add(1, Ordering::SeqCst);
        Self { state, wait }
    }

    /// How long its follower waits for its head.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// Waits until it is known whether the response can be shared.
    pub async fn event(&mut self) -> FetchEvent {
        loop {
            // Before it looks, so that it misses no change.
            let changed = self.state.changed.notified();
            if let Some(event) = self.state.event() {
                return event;
            }
            changed.await;
        }
    }
}

impl Drop for SharedFetch {
    fn drop(&mut self) {
        self.state.followers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads a body while it is being fetched.
#[derive(Debug)]
pub struct BodyReader {
    // Dropped before the reader is: the fetch looks for pieces that nobody is at.
    place: ReadPlace,
    /// How many bytes it has read.
    offset: u64,
    /// The cost of what it has read in memory.
    position: u64,
    reading: Reading,
}

/// Where a body is read.
#[derive(Debug)]
enum ReadPlace {
    /// In memory, after this piece.
    Memory(Arc<Piece>),
    /// In its file.
    File,
}

impl BodyReader {
    /// A reader that begins after `first`.
    pub(in crate::cache) fn new(first: &Arc<Piece>, state: &Arc<FetchState>) -> Self {
        Self::begin(Arc::clone(first), Reading::new(Arc::clone(state)))
    }

    fn begin(first: Arc<Piece>, reading: Reading) -> Self {
        Self {
            place: ReadPlace::Memory(first),
            offset: 0,
            position: 0,
            reading,
        }
    }

    /// The next bytes; `None` at the end of a whole body, an error if it was cut.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        let Self {
            place,
            offset,
            position,
            reading,
        } = self;
        let state = &*reading.0;
        loop {
            // Before it looks, so that it misses no change.
            let changed = pin!(state.changed.notified());
            // The end is read before the place, so that all that came before the end is seen.
            let end = state.end.get();
            match place {
                ReadPlace::Memory(at) => match at.next() {
                    Next::Here(next) => {
                        let bytes = next.bytes();
                        *offset += bytes.len() as u64;
                        *position += next.cost();
                        state.progress.reached(*position);
                        *at = next;
                        return Some(Ok(bytes));
                    }
                    Next::Gone => {
                        *place = ReadPlace::File;
                        continue;
                    }
                    Next::Coming => {}
                },
                ReadPlace::File => {
                    let file = state.file.get().and_then(ArcSwapOption::load_full);
                    let Some(file) = file else {
                        return Some(Err(BodyError::TooSlow));
                    };
                    if *offset < file.len_bytes() {
                        return Some(read_file(&file, offset, &state.progress).await);
                    }
                }
            }
            match end {
                Some(FetchEnd::Stored | FetchEnd::NotStored(_)) => return None,
                Some(FetchEnd::Cut) => return Some(Err(BodyError::Truncated)),
                None => changed.await,
            }
        }
    }

    /// The body that the fetch has stored; `None` if it has not.
    pub fn stored(&self) -> Option<Body> {
        let is_stored = self.end() == Some(FetchEnd::Stored);
        let pieces = self.reading.0.pieces.get().filter(|_| is_stored)?;
        Some(Body::new(pieces.clone()))
    }

    /// How the fetch ended; `None` if it has not.
    pub fn end(&self) -> Option<FetchEnd> {
        self.reading.0.end.get().copied()
    }
}

/// Reads on in the file of a body, in which `offset` is written.
async fn read_file(
    file: &LargeReader,
    offset: &mut u64,
    progress: &ReadProgress,
) -> Result<Bytes, BodyError> {
    match file.read(*offset).await {
        Ok(bytes) if !bytes.is_empty() => {
            *offset += bytes.len() as u64;
            progress.reached_in_file(*offset);
            Ok(bytes)
        }
        // The disk fails or is too slow. The body can be had elsewhere.
        Ok(_) | Err(_) => Err(BodyError::TooSlow),
    }
}

/// Why a reader does not get the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The fetch ended before the end of the body.
    #[error("the body was cut short")]
    Truncated,
    /// The body is too large for memory, the reader was too slow for the fetch, and there is no file that it could read. What
    /// it has not read is not lost to it: it may fetch that itself.
    #[error("the reader was too slow for the fetch it shared")]
    TooSlow,
}
