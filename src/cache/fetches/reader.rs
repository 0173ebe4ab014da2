//! One fetch for many askers: what its followers see of it.
//!
//! A follower waits for the [`News`] of a [`Fill`]. When the head suits it, it walks along the pieces of the body at its
//! own pace with a [`Reader`], which shows the last byte only once the entry is stored.

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
pub(in crate::cache) struct FillId(pub(crate) u64);

/// What becomes of a fetch, as its followers see it.
#[derive(Clone, Debug)]
pub enum News {
    /// The head has come and may be stored: a follower whom it suits reads along.
    Head(Opening),
    /// The stored response was freshened or replaced: look again.
    LookAgain,
    /// The answer is nobody else's, or the fetch failed: everyone fetches for themselves.
    Released,
}

/// The head of a fetch under way, and where its body begins.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The head, as the policy judged it.
    pub head: Arc<StoredHead>,
    /// Length of the body in bytes, where the origin told it.
    pub length: Option<u64>,
    pub(in crate::cache) first: Arc<Piece>,
    pub(in crate::cache) pace: Arc<Pace>,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The body is whole and stored.
    Stored,
    /// The body is whole and was not stored.
    NotStored(Reason),
    /// The body did not arrive whole.
    Cut,
}

#[derive(Clone, Debug, Default)]
pub(in crate::cache) struct State {
    pub(in crate::cache) news: Option<News>,
    pub(in crate::cache) end: Option<End>,
    /// Keeps the whole body for those who read more slowly than it came.
    pub(in crate::cache) pieces: Option<Arc<[Arc<Piece>]>>,
}

/// How readers tell a fetch how far they have come.
#[derive(Debug, Default)]
pub(in crate::cache) struct Pace {
    furthest: AtomicU64,
    abandoned: AtomicBool,
    moved: Notify,
}

impl Pace {
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
pub struct Fill {
    state: watch::Receiver<State>,
}

impl Fill {
    pub(in crate::cache) fn new(state: watch::Receiver<State>) -> Self {
        Self { state }
    }

    /// Waits for the head of the answer, or for what makes it none to share.
    pub async fn news(&mut self) -> News {
        match self.state.wait_for(|state| state.news.is_some()).await {
            Ok(state) => state.news.clone().unwrap_or(News::Released),
            Err(_) => News::Released,
        }
    }

    /// Reads the body along with the fetch.
    pub fn reader(self, opening: Opening) -> Reader {
        Reader::new(&opening, self.state)
    }
}

/// Reads a body while it is being fetched.
#[derive(Debug)]
pub struct Reader {
    at: Option<Arc<Piece>>,
    pace: Arc<Pace>,
    state: watch::Receiver<State>,
}

impl Reader {
    pub(in crate::cache) fn new(opening: &Opening, state: watch::Receiver<State>) -> Self {
        Self {
            at: Some(Arc::clone(&opening.first)),
            pace: Arc::clone(&opening.pace),
            state,
        }
    }

    /// The next bytes; `None` once the body is whole, an error when it was cut short.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyCut>> {
        loop {
            // The end is read before the chain: what was linked before the end is then seen for certain.
            let end = self.state.borrow_and_update().end;
            match self.step() {
                Step::Bytes(bytes) => return Some(Ok(bytes)),
                Step::Lost => return Some(Err(BodyCut::TooSlow)),
                Step::Wait => {}
            }
            match end {
                Some(End::Stored | End::NotStored(_)) => return None,
                Some(End::Cut) => return Some(Err(BodyCut::Short)),
                None => {}
            }
            if self.state.changed().await.is_err() && self.state.borrow().end.is_none() {
                return Some(Err(BodyCut::Short));
            }
        }
    }

    /// How the fetch ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.state.borrow().end
    }

    fn step(&mut self) -> Step {
        let next = match self.at.as_ref().map(|at| at.next()) {
            Some(Next::Here(next)) => next,
            Some(Next::Coming) | None => return Step::Wait,
            Some(Next::Gone) => return Step::Lost,
        };
        let bytes = next.bytes().clone();
        self.pace.reached(next.position());
        self.at = Some(next);
        Step::Bytes(bytes)
    }
}

enum Step {
    Bytes(Bytes),
    Wait,
    /// The fetch did not wait for so slow a reader.
    Lost,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.at = None;
        self.pace.moved.notify_one();
    }
}

/// Why a body does not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyCut {
    /// The fetch ended before its end.
    #[error("the body was cut short")]
    Short,
    /// The fetch, whose body is too large to keep, did not wait for so slow a reader.
    #[error("the reader was too slow for the fetch it shared")]
    TooSlow,
}
