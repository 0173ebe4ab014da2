//! Fetches on their way into the cache, and those who read along.
//!
//! A [`Ticket`] is the right to store what one fetch brings. The actor hands it out with a claim and takes it back by
//! forgetting it: after a Clear or an invalidation the ticket is void, so what was fetched before can never come back.
//! When the head has come and may be stored, the ticket becomes a [`Filler`], which copies the body into pieces.
//! Readers walk along the pieces at their own pace; the last byte is shown to them only once the entry is stored.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{
    actor::CacheActor,
    body::{Body, Piece, Slices},
    budget::Budget,
    entry::Entry,
    key::Key,
    messages::{MakeRoom, Put, PutOutcome, Release, Released},
};
use crate::policy::{Reason, Stored};

/// How long a fetch may go on for the cache alone, when nobody reads along any more.
const UNATTENDED: Duration = Duration::from_secs(300);
/// How far a fetch that is no longer stored may run ahead of its slowest reader, in bytes.
const WINDOW_BYTES: usize = 1024 * 1024;

/// Tells one fetch from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FillId(pub(super) u64);

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
    pub head: Arc<Stored>,
    /// Length of the body in bytes, where the origin told it.
    pub length: Option<u64>,
    first: Arc<Piece>,
    pace: Arc<Pace>,
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
struct State {
    news: Option<News>,
    end: Option<End>,
}

/// How readers tell a fetch that is not stored any more that they have moved on.
#[derive(Debug, Default)]
struct Pace {
    abandoned: AtomicBool,
    moved: Notify,
}

/// A fetch under way, as one sees it who would like to share its answer.
#[derive(Clone, Debug)]
pub struct Fill {
    id: FillId,
    state: watch::Receiver<State>,
}

impl Fill {
    /// Which fetch this is.
    pub fn id(&self) -> FillId {
        self.id
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
        Reader {
            at: Some(opening.first),
            pace: opening.pace,
            state: self.state,
        }
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
    /// The next bytes; `None` once the body is whole, an error when it was cut short.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyCut>> {
        loop {
            // The end is read before the chain: what was linked before the end is then seen for certain.
            let end = self.state.borrow_and_update().end;
            if let Some(bytes) = self.step() {
                return Some(Ok(bytes));
            }
            match end {
                Some(End::Stored | End::NotStored(_)) => return None,
                Some(End::Cut) => return Some(Err(BodyCut)),
                None => {}
            }
            if self.state.changed().await.is_err() && self.state.borrow().end.is_none() {
                return Some(Err(BodyCut));
            }
        }
    }

    /// How the fetch ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.state.borrow().end
    }

    fn step(&mut self) -> Option<Bytes> {
        let next = Arc::clone(self.at.as_ref()?.next()?);
        let bytes = next.bytes().clone();
        self.at = Some(next);
        if self.pace.abandoned.load(Ordering::Acquire) {
            self.pace.moved.notify_one();
        }
        Some(bytes)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.at = None;
        self.pace.moved.notify_one();
    }
}

/// A body did not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body was cut short")]
pub struct BodyCut;

/// The right to store what one fetch brings. Dropped unused, it lets the followers go.
#[derive(Debug)]
pub struct Ticket {
    id: FillId,
    key: Key,
    cache: Addr<CacheActor>,
    budget: Arc<Budget>,
    max_object_bytes: u64,
    state: watch::Sender<State>,
    released: Released,
}

impl Ticket {
    pub(super) fn new(
        id: FillId,
        key: Key,
        cache: Addr<CacheActor>,
        budget: Arc<Budget>,
        max_object_bytes: u64,
    ) -> (Self, Fill) {
        let (sender, state) = watch::channel(State::default());
        let ticket = Self {
            id,
            key,
            cache,
            budget,
            max_object_bytes,
            state: sender,
            released: Released::Unused,
        };
        (ticket, Fill { id, state })
    }

    /// Which fetch this is.
    pub fn id(&self) -> FillId {
        self.id
    }

    /// The largest body that is stored, in bytes.
    pub fn max_object_bytes(&self) -> u64 {
        self.max_object_bytes
    }

    /// The answer is not to be shared: the followers fetch for themselves, and so do those who come soon.
    pub fn not_shareable(mut self) {
        self.released = Released::NotShareable;
    }

    /// Stores `head` over the body of `entry`, which the origin called current. None when the entry may not be kept
    /// any more, because of a Clear or an invalidation since the claim.
    pub async fn freshen(self, entry: &Entry, head: Stored) -> Option<Arc<Entry>> {
        let entry = Arc::new(Entry::new(
            Arc::new(head),
            entry.body().clone(),
            &self.budget,
        ));
        let outcome = self.put(Arc::clone(&entry)).await;
        self.state
            .send_modify(|state| state.news = Some(News::LookAgain));
        match outcome {
            PutOutcome::Stored | PutOutcome::NoRoom => Some(entry),
            PutOutcome::Void => None,
        }
    }

    /// The head has come and may be stored.
    pub fn begin(self, head: Stored, length: Option<u64>) -> Filler {
        let first = Piece::sentinel();
        Filler {
            opening: Opening {
                head: Arc::new(head),
                length,
                first: Arc::clone(&first),
                pace: Arc::default(),
            },
            last: first,
            withheld: None,
            pieces: Vec::new(),
            received_bytes: 0,
            unattended_since: None,
            ticket: self,
        }
    }

    async fn put(&self, entry: Arc<Entry>) -> PutOutcome {
        let put = Put {
            key: self.key.clone(),
            id: self.id,
            entry,
        };
        self.cache.send(put).await.unwrap_or(PutOutcome::Void)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.state.send_if_modified(|state| {
            let open = state.news.is_none();
            if open {
                state.news = Some(News::Released);
            }
            open
        });
        // At most one message a fetch, so the mailbox's limit is not needed here.
        self.cache.do_send(Release {
            key: self.key.clone(),
            id: self.id,
            released: self.released,
        });
    }
}

/// Takes a body in, for the store and for all who read along.
#[derive(Debug)]
pub struct Filler {
    opening: Opening,
    last: Arc<Piece>,
    withheld: Option<Arc<Piece>>,
    pieces: Vec<Arc<Piece>>,
    received_bytes: u64,
    unattended_since: Option<Instant>,
    ticket: Ticket,
}

impl Filler {
    /// Takes the whole `body` in and stores it. `open` is called as soon as the head may leave: at once, or, when
    /// there is no body, after the entry was stored.
    pub async fn run<S, E>(mut self, body: S, open: impl FnOnce(Arc<Stored>, Reader))
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut open = Some(open);
        if self.opening.length != Some(0)
            && let Some(open) = open.take()
        {
            self.open(open);
        }
        let end = match self.take_in(body).await {
            Taken::Whole => self.store().await,
            Taken::Abandoned(reason) => End::NotStored(reason),
            Taken::Cut => End::Cut,
        };
        if let Some(withheld) = self.withheld.take() {
            self.last.link(withheld);
        }
        self.ticket.state.send_modify(|state| {
            state.end = Some(end);
            state.news = Some(News::LookAgain);
        });
        if let Some(open) = open.take() {
            open(Arc::clone(&self.opening.head), self.reader());
        }
    }

    fn open(&self, open: impl FnOnce(Arc<Stored>, Reader)) {
        open(Arc::clone(&self.opening.head), self.reader());
        let news = News::Head(self.opening.clone());
        self.ticket
            .state
            .send_modify(|state| state.news = Some(news));
    }

    fn reader(&self) -> Reader {
        Reader {
            at: Some(Arc::clone(&self.opening.first)),
            pace: Arc::clone(&self.opening.pace),
            state: self.ticket.state.subscribe(),
        }
    }

    async fn take_in<S, E>(&mut self, body: S) -> Taken
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut body = pin!(body);
        while let Some(chunk) = body.next().await {
            let Ok(chunk) = chunk else { return Taken::Cut };
            if self.is_forsaken() {
                return Taken::Cut;
            }
            if let Err(reason) = self.append(&chunk).await {
                return self
                    .pass_on(body)
                    .await
                    .map_or(Taken::Cut, |()| Taken::Abandoned(reason));
            }
        }
        match self.opening.length {
            Some(length) if length != self.received_bytes => Taken::Cut,
            _ => Taken::Whole,
        }
    }

    /// Adds `chunk` in pieces. It is in the chain even when it tells that the body can not be stored.
    async fn append(&mut self, chunk: &Bytes) -> Result<(), Reason> {
        self.received_bytes += chunk.len() as u64;
        let room = self.room(Piece::cost_bytes(chunk.len())).await;
        for bytes in chunk.chunks(Slices::MAX_BYTES) {
            let piece = Piece::copy_of(bytes, &self.ticket.budget);
            self.pieces.push(Arc::clone(&piece));
            self.link(piece);
        }
        self.ticket.state.send_modify(|_| {});
        room
    }

    /// Shows `piece` to the readers, or withholds it when it is the last one: it then waits for the store.
    fn link(&mut self, piece: Arc<Piece>) {
        if let Some(withheld) = self.withheld.take() {
            self.last.link(Arc::clone(&withheld));
            self.last = withheld;
        }
        if self.opening.length == Some(self.received_bytes) {
            self.withheld = Some(piece);
        } else {
            self.last.link(Arc::clone(&piece));
            self.last = piece;
        }
    }

    async fn room(&self, bytes: u64) -> Result<(), Reason> {
        if self.received_bytes > self.ticket.max_object_bytes {
            return Err(Reason::TooLarge);
        }
        if self.ticket.budget.has_room(bytes) {
            return Ok(());
        }
        match self.ticket.cache.send(MakeRoom { bytes }).await {
            Ok(true) => Ok(()),
            _ => Err(Reason::NoRoom),
        }
    }

    /// Goes on for the readers alone: nothing is kept, and the slowest reader sets the pace. New ones cannot join.
    async fn pass_on<S, E>(&mut self, mut body: S) -> Option<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        self.opening.pace.abandoned.store(true, Ordering::Release);
        self.opening.first = Piece::sentinel();
        let mut window: VecDeque<Weak<Piece>> = self
            .pieces
            .drain(..)
            .map(|piece| Arc::downgrade(&piece))
            .collect();
        self.ticket
            .state
            .send_modify(|state| state.news = Some(News::Released));
        self.ticket.cache.do_send(Release {
            key: self.ticket.key.clone(),
            id: self.ticket.id,
            released: Released::NotShareable,
        });
        loop {
            while held_bytes(&mut window) > WINDOW_BYTES {
                self.opening.pace.moved.notified().await;
            }
            if self.readers() == 0 {
                return None;
            }
            match body.next().await {
                Some(Ok(chunk)) => {
                    self.received_bytes += chunk.len() as u64;
                    for bytes in chunk.chunks(Slices::MAX_BYTES) {
                        let piece = Piece::copy_of(bytes, &self.ticket.budget);
                        window.push_back(Arc::downgrade(&piece));
                        self.link(piece);
                    }
                    self.ticket.state.send_modify(|_| {});
                }
                Some(Err(_)) => return None,
                None => break,
            }
        }
        self.opening
            .length
            .is_none_or(|length| length == self.received_bytes)
            .then_some(())
    }

    async fn store(&mut self) -> End {
        let body = Body::from_pieces(std::mem::take(&mut self.pieces), &self.ticket.budget);
        let entry = Entry::new(Arc::clone(&self.opening.head), body, &self.ticket.budget);
        match self.ticket.put(Arc::new(entry)).await {
            PutOutcome::Stored => End::Stored,
            PutOutcome::Void => End::NotStored(Reason::Cleared),
            PutOutcome::NoRoom => End::NotStored(Reason::NoRoom),
        }
    }

    fn readers(&self) -> usize {
        // The filler itself and the opening in the news hold the other two.
        Arc::strong_count(&self.opening.pace).saturating_sub(self.holders_of_pace())
    }

    fn holders_of_pace(&self) -> usize {
        match self.ticket.state.borrow().news {
            Some(News::Head(_)) => 2,
            _ => 1,
        }
    }

    /// True when nobody has read along for longer than a fetch may go on for the cache alone.
    fn is_forsaken(&mut self) -> bool {
        if self.readers() > 0 {
            self.unattended_since = None;
            return false;
        }
        let since = *self.unattended_since.get_or_insert_with(Instant::now);
        since.elapsed() > UNATTENDED
    }
}

enum Taken {
    Whole,
    Abandoned(Reason),
    Cut,
}

/// The bytes of the pieces that somebody still holds or has yet to read.
fn held_bytes(window: &mut VecDeque<Weak<Piece>>) -> usize {
    while window
        .front()
        .is_some_and(|piece| piece.strong_count() == 0)
    {
        window.pop_front();
    }
    window
        .iter()
        .filter_map(Weak::upgrade)
        .map(|piece| piece.bytes().len())
        .sum()
}
