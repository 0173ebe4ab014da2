//! One fetch for many askers: what its followers see of it.
//!
//! A follower waits for the [`FetchEvent`] of a [`SharedFetch`]. When the head suits it, it walks along the pieces of the body at its
//! own pace with a [`BodyReader`], which shows the last byte only once the entry is stored.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::{
    cache::store::body::{Next, Piece},
    policy::{Reason, StoredHead},
};

/// Tells one fetch from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::cache) struct FetchId(pub(crate) u64);

/// What becomes of a fetch, as its followers see it.
#[derive(Clone, Debug)]
pub enum FetchEvent {
    /// The head has come and may be stored: a follower whom it suits reads along.
    Head(SharedHead),
    /// The stored response was freshened or replaced: look again.
    LookAgain,
    /// The answer is nobody else's, or the fetch failed: everyone fetches for themselves.
    Released,
}

/// The head of a fetch under way, and where its body begins.
#[derive(Clone, Debug)]
pub struct SharedHead {
    /// The head, as the policy judged it.
    pub head: Arc<StoredHead>,
    /// Length of the body in bytes, where the origin told it.
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
    /// Keeps the whole body for those who read more slowly than it came.
    pub(in crate::cache) pieces: Option<Arc<[Arc<Piece>]>>,
}

/// How readers tell a fetch how far they have come.
#[derive(Debug, Default)]
pub(in crate::cache) struct ReadProgress {
    furthest: AtomicU64,
    abandoned: AtomicBool,
    moved: Notify,
}

impl ReadProgress {
    /// From now on readers tell when they have moved on.
    pub(in crate::cache) fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
    }

    /// The position of the reader that has come furthest.
    pub(in crate::cache) fn furthest(&self) -> u64 {
        self.furthest.load(Ordering::SeqCst)
    }

    fn reached(&self, position: u64) {
        self.furthest.fetch_max(position, Ordering::SeqCst);
        if self.abandoned.load(Ordering::SeqCst) {
            self.moved.notify_one();
        }
    }

    /// Waits until some reader has moved on, or has done so since the last call.
    pub(in crate::cache) async fn moved(&self) {
        self.moved.notified().await;
    }
}

/// A fetch under way, as one sees it who would like to share its answer.
#[derive(Clone, Debug)]
pub struct SharedFetch {
    state: watch::Receiver<FetchState>,
}

impl SharedFetch {
    pub(in crate::cache) fn new(state: watch::Receiver<FetchState>) -> Self {
        Self { state }
    }

    /// Waits for the head of the answer, or for what makes it none to share.
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

    /// The next bytes; `None` once the body is whole, an error when it was cut short.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            // The end is read before the chain: what was linked before the end is then seen for certain.
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

    /// How the fetch ended, once it has.
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
    /// The fetch did not wait for so slow a reader.
    Lost,
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.at = None;
        self.pace.moved.notify_one();
    }
}

/// Why a body does not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The fetch ended before its end.
    #[error("the body was cut short")]
    Truncated,
    /// The fetch, whose body is too large to keep, did not wait for so slow a reader.
    #[error("the reader was too slow for the fetch it shared")]
    TooSlow,
}
