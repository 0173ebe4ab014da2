//! One fetch for many requests: the side of the followers.
//!
//! A follower waits for the [`FetchEvent`] of a [`SharedFetch`]. If the response suits it, it reads the body with a
//! [`BodyReader`] at its own speed. The reader gets the last byte only when the response is stored.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::http::StatusCode;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::{
    cache::store::body::{Body, Next, Piece},
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
    pub(in crate::cache) first: Arc<Piece>,
    pub(in crate::cache) pace: Arc<ReadProgress>,
}

impl SharedHead {
    pub(in crate::cache) fn new(head: StoredHead, length: Option<u64>) -> Self {
        Self {
            head: Arc::new(head),
            length,
            first: Piece::sentinel(),
            pace: Arc::default(),
        }
    }

    /// True if the body may be read along by those who have waited for the head.
    pub fn is_shared(&self) -> bool {
        self.length.is_some() || !self.head.is_of_records()
    }

    /// True if a request at `now` may read the body along. A clock that was set makes no body young again.
    fn is_joinable(&self, now: Time) -> bool {
        let is_young = now.millis_apart(self.head.received()) < SHARED_WITHOUT_END_MILLIS;
        self.is_shared() && (self.length.is_some() || is_young)
    }
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

#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct FetchState {
    pub(in crate::cache) event: Option<FetchEvent>,
    pub(in crate::cache) end: Option<FetchEnd>,
    /// The pieces of the body, which keep it alive for slow readers.
    pub(in crate::cache) pieces: Option<Arc<[Arc<Piece>]>>,
}

impl FetchState {
    /// Notes what has happened. A voided fetch stays voided: nobody else may read its body along.
    pub(in crate::cache) fn note(&mut self, event: FetchEvent) {
        if !matches!(self.event, Some(FetchEvent::Voided)) {
            self.event = Some(event);
        }
    }
}

/// How far the readers of a fetch have come.
#[derive(Debug, Default)]
pub(in crate::cache) struct ReadProgress {
    furthest: AtomicU64,
    abandoned: AtomicBool,
    moved: Notify,
}

impl ReadProgress {
    /// From now on the fetch is notified when a reader moves on.
    pub(in crate::cache) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// The position of the fastest reader.
    pub(in crate::cache) fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::SeqCst)
    }

    fn reached(&self, position: u64) {
        self.furthest.fetch_max(position, Ordering::SeqCst);
        if self.abandoned.load(Ordering::SeqCst) {
            self.moved.notify_one();
        }
    }

    /// Waits until a reader moves on, or returns at once if one has done so since the last call.
    pub(in crate::cache) async fn moved(&self) {
        self.moved.notified().await;
    }
}

/// A fetch under way, for a follower.
#[derive(Clone, Debug)]
pub struct SharedFetch {
    state: watch::Receiver<FetchState>,
    followers: Weak<()>,
    /// Counts a follower; `None` where the fetch is listed.
    _follower: Option<Arc<()>>,
    /// How long the follower waits for the head.
    wait: Duration,
}

impl SharedFetch {
    /// The fetch as it is listed. `followers` counts those who join it.
    pub(in crate::cache) fn new(state: watch::Receiver<FetchState>, followers: Weak<()>) -> Self {
        Self {
            state,
            followers,
            _follower: None,
            wait: Duration::ZERO,
        }
    }

    /// The fetch for one follower more, who waits that long for its head.
    pub(in crate::cache) fn joined(&self, wait: Duration) -> Self {
        Self {
            _follower: self.followers.upgrade(),
            wait,
            ..self.clone()
        }
    }

    /// How long its follower waits for its head.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// True if the head has arrived.
    pub(in crate::cache) fn has_head(&self) -> bool {
        matches!(self.state.borrow().event, Some(FetchEvent::Head(_)))
    }

    /// True if a request at `now` may follow: the body may still be joined, or the head is awaited and the fetch `is_young`.
    pub(in crate::cache) fn is_joinable(&self, now: Time, is_young: bool) -> bool {
        match &self.state.borrow().event {
            Some(FetchEvent::Head(head)) => head.is_joinable(now),
            // It has ended, and the actor is about to hear of it.
            Some(
                FetchEvent::LookAgain
                | FetchEvent::Voided
                | FetchEvent::Released
                | FetchEvent::Failed(_),
            ) => false,
            None => is_young,
        }
    }

    /// Waits until it is known whether the response can be shared.
    pub async fn event(&mut self) -> FetchEvent {
        match self.state.wait_for(|state| state.event.is_some()).await {
            Ok(state) => state.event.clone().unwrap_or(FetchEvent::Released),
            Err(_) => FetchEvent::Released,
        }
    }

    /// Reads the body along with the fetch.
    pub fn reader(self, shared_head: SharedHead) -> BodyReader {
        BodyReader::new(&shared_head, self.state)
    }
}

/// Reads a body while it is being fetched.
#[derive(Debug)]
pub struct BodyReader {
    at: Option<Arc<Piece>>,
    pace: Arc<ReadProgress>,
    state: watch::Receiver<FetchState>,
}

impl BodyReader {
    pub(in crate::cache) fn new(
        shared_head: &SharedHead,
        state: watch::Receiver<FetchState>,
    ) -> Self {
        Self {
            at: Some(Arc::clone(&shared_head.first)),
            pace: Arc::clone(&shared_head.pace),
            state,
        }
    }

    /// The next bytes; `None` at the end of a whole body, an error if it was cut.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            // The end is read before the chain, so that every piece linked before the end is seen.
            let end = self.state.borrow_and_update().end;
            match self.step() {
                ReadStep::Bytes(bytes) => return Some(Ok(bytes)),
                ReadStep::Lost => return Some(Err(BodyError::TooSlow)),
                ReadStep::Wait => {}
            }
            match end {
                Some(FetchEnd::Stored | FetchEnd::NotStored(_)) => return None,
                Some(FetchEnd::Cut) => return Some(Err(BodyError::Truncated)),
                None => {}
            }
            if self.state.changed().await.is_err() && self.state.borrow().end.is_none() {
                return Some(Err(BodyError::Truncated));
            }
        }
    }

    /// The body that the fetch has stored; `None` if it has not.
    pub fn stored(&self) -> Option<Body> {
        let state = self.state.borrow();
        let is_stored = state.end == Some(FetchEnd::Stored);
        let pieces = state.pieces.as_ref().filter(|_| is_stored)?;
        Some(Body::new(Arc::clone(pieces)))
    }

    /// How the fetch ended; `None` if it has not.
    pub fn end(&self) -> Option<FetchEnd> {
        self.state.borrow().end
    }

    fn step(&mut self) -> ReadStep {
        let next = match self.at.as_ref().map(|at| at.next()) {
            Some(Next::Here(next)) => next,
            Some(Next::Coming) | None => return ReadStep::Wait,
            Some(Next::Gone) => return ReadStep::Lost,
        };
        let bytes = next.bytes().clone();
        self.pace.reached(next.position());
        self.at = Some(next);
        ReadStep::Bytes(bytes)
    }
}

enum ReadStep {
    Bytes(Bytes),
    Wait,
    /// The fetch has dropped the piece: the reader was too slow.
    Lost,
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.at = None;
        self.pace.moved.notify_one();
    }
}

/// Why a reader does not get the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The fetch ended before the end of the body.
    #[error("the body was cut short")]
    Truncated,
    /// The body is too large to store, and the reader was too slow for the fetch. What it has not read is not lost to it:
    /// it may fetch that itself.
    #[error("the reader was too slow for the fetch it shared")]
    TooSlow,
}
