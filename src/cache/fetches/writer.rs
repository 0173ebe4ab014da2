//! Taking a body in: for the store, and for all who read along.

use std::{
    ops::RangeInclusive,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

use crate::{
    cache::{
        actor::CacheUnavailable,
        fetches::{
            reader::{End, News, Opening, Reader},
            ticket::Ticket,
            window::Window,
        },
        messages::PutOutcome,
        store::{
            body::{Body, Piece},
            budget::Unattended,
            entry::Entry,
        },
    },
    policy::{Reason, StoredHead},
};

/// Places in a body, both ends counted in.
pub type Span = RangeInclusive<u64>;

/// A body is passed on in pieces of at most this while it comes.
const PIECE_BYTES: usize = 32 * 1024;
/// What is short enough to be there when its head is.
const SHORT_BYTES: u64 = PIECE_BYTES as u64;

/// From here on there is mostly more to come, and somebody waits for what has come.
const YIELD_BYTES: u64 = 4 * 1024;

/// How long a fetch may go on for the cache alone, when nobody reads along any more and its end is known.
const UNATTENDED: Duration = Duration::from_secs(300);
/// The same when it may have no end.
const UNATTENDED_ENDLESS: Duration = Duration::from_secs(30);

/// Takes a body in, for the store and for all who read along.
#[derive(Debug)]
pub struct Filler {
    opening: Opening,
    last: Arc<Piece>,
    withheld: Option<Arc<Piece>>,
    pieces: Vec<Arc<Piece>>,
    received_bytes: u64,
    position: u64,
    /// Since when nobody reads along, and the leave to go on all the same.
    unattended: Option<(Instant, Unattended)>,
    /// What is stored of the same representation before and behind this part of it.
    before: Option<Body>,
    after: Option<Body>,
    ticket: Ticket,
}

impl Filler {
    pub(in crate::cache) fn new(ticket: Ticket, opening: Opening) -> Self {
        Self {
            last: Arc::clone(&opening.first),
            opening,
            withheld: None,
            pieces: Vec::new(),
            received_bytes: 0,
            position: 0,
            unattended: None,
            before: None,
            after: None,
            ticket,
        }
    }

    /// Joins what comes to bytes of a stored body, those before it and those behind, when it is stored. The places,
    /// both counted in, are those in that body.
    pub fn join(mut self, stored: &Body, before: Option<Span>, after: Option<Span>) -> Self {
        let budget = self.ticket.budget();
        let part = |span: Span| stored.part(*span.start(), *span.end(), budget);
        (self.before, self.after) = (before.map(part), after.map(part));
        self
    }

    /// Takes the whole `body` in and stores it. `open` is called as soon as the head may leave: at once, or, when the
    /// whole body has come with it, after the entry was stored.
    pub async fn run<S, E>(mut self, body: S, open: impl FnOnce(Arc<StoredHead>, Reader))
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut body = pin!(body);
        let mut open = Some(open);
        let first = self.what_has_come(body.as_mut()).await;
        if self.opening.length != Some(0) {
            if !self.is_all(first.as_ref())
                && let Some(open) = open.take()
            {
                open(Arc::clone(&self.opening.head), self.reader());
            }
            self.announce();
        }
        let end = match self.take_in(first, body).await {
            Taken::Whole => self.store().await,
            Taken::Abandoned(reason) => End::NotStored(reason),
            Taken::Cut => End::Cut,
        };
        if let Some(withheld) = self.withheld.take() {
            self.last.link(&withheld);
        }
        let pieces = std::mem::take(&mut self.pieces);
        self.ticket.tell(|state| {
            state.end = Some(end);
            state.news = Some(News::LookAgain);
            state.pieces.get_or_insert_with(|| pieces.into());
        });
        if let Some(open) = open.take() {
            open(Arc::clone(&self.opening.head), self.reader());
        }
    }

    /// The first bytes of a short body, when they are there already: then nobody need wait twice for it.
    async fn what_has_come<S, E>(&self, mut body: Pin<&mut S>) -> Option<Chunk>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let is_short = self
            .opening
            .length
            .is_some_and(|length| (1..=SHORT_BYTES).contains(&length));
        if !is_short {
            return None;
        }
        std::future::poll_fn(|context| {
            Poll::Ready(match body.as_mut().poll_next(context) {
                Poll::Ready(next) => Some(Chunk::from(next)),
                Poll::Pending => None,
            })
        })
        .await
    }

    fn is_all(&self, first: Option<&Chunk>) -> bool {
        matches!(first, Some(Chunk::Bytes(bytes)) if Some(bytes.len() as u64) == self.opening.length)
    }

    /// Lets others read along.
    fn announce(&self) {
        let news = News::Head(self.opening.clone());
        self.ticket.tell(|state| state.news = Some(news));
    }

    fn reader(&self) -> Reader {
        Reader::new(&self.opening, self.ticket.subscribe())
    }

    async fn take_in<S, E>(&mut self, mut first: Option<Chunk>, mut body: Pin<&mut S>) -> Taken
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        loop {
            let next = match first.take() {
                Some(first) => first,
                None if self.is_complete() => Chunk::End,
                None => self.next(body.as_mut()).await,
            };
            match next {
                Chunk::Bytes(chunk) => {
                    if let Err(reason) = self.append(&chunk).await {
                        let passed = self.pass_on(body, reason).await;
                        return passed.map_or(Taken::Cut, |()| Taken::Abandoned(reason));
                    }
                }
                Chunk::End if self.is_short() => return Taken::Cut,
                Chunk::End => return Taken::Whole,
                Chunk::Cut => return Taken::Cut,
            }
        }
    }

    /// The next bytes. When nobody reads along, they have to come within a limit.
    async fn next<S, E>(&mut self, mut body: Pin<&mut S>) -> Chunk
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        // Those who read along, and other requests of this worker, get their turn also when the origin sends faster than
        // this takes.
        if self.received_bytes >= YIELD_BYTES {
            tokio::task::yield_now().await;
        }
        if self.opening.length == Some(0) {
            // Its reader comes when it is stored, and there is nothing to wait for.
            return Chunk::from(body.next().await);
        }
        while self.readers() > 0 {
            self.unattended = None;
            tokio::select! {
                biased;
                next = body.next() => return Chunk::from(next),
                // Perhaps the last reader has left.
                () = self.opening.pace.moved() => {}
            }
        }
        if self.unattended.is_none() {
            self.unattended =
                Unattended::new(self.ticket.budget()).map(|leave| (Instant::now(), leave));
        }
        let Some((since, _)) = &self.unattended else {
            return Chunk::Cut;
        };
        let limit = match self.opening.length {
            Some(_) => UNATTENDED,
            None => UNATTENDED_ENDLESS,
        };
        match timeout(limit.saturating_sub(since.elapsed()), body.next()).await {
            Ok(next) => Chunk::from(next),
            Err(_) => Chunk::Cut,
        }
    }

    /// All of a short body has come; its connection knows that without being asked once more.
    fn is_complete(&self) -> bool {
        self.received_bytes > 0
            && self.received_bytes <= SHORT_BYTES
            && self.opening.length == Some(self.received_bytes)
    }

    fn is_short(&self) -> bool {
        self.opening
            .length
            .is_some_and(|length| length != self.received_bytes)
    }

    /// Adds `chunk` in pieces. It is in the chain even when it tells that the body can not be stored.
    async fn append(&mut self, chunk: &Bytes) -> Result<(), Reason> {
        let cost = Piece::cost_bytes(chunk.len());
        let received = self.received_bytes + chunk.len() as u64;
        let room = self.ticket.room(received, cost).await;
        for piece in self.add(chunk) {
            self.pieces.push(piece);
        }
        room
    }

    fn add(&mut self, chunk: &Bytes) -> Vec<Arc<Piece>> {
        self.received_bytes += chunk.len() as u64;
        let mut added = Vec::with_capacity(1);
        for bytes in chunk.chunks(PIECE_BYTES) {
            let piece = Piece::copy_of(bytes, self.position, self.ticket.budget());
            self.position = piece.position();
            self.link(&piece);
            added.push(piece);
        }
        self.ticket.tell(|_| {});
        added
    }

    /// Shows `piece` to the readers, or withholds it when it is the last one: it then waits for the store.
    fn link(&mut self, piece: &Arc<Piece>) {
        if let Some(withheld) = self.withheld.take() {
            self.last.link(&withheld);
            self.last = withheld;
        }
        if self.opening.length == Some(self.received_bytes) {
            self.withheld = Some(Arc::clone(piece));
        } else {
            self.last.link(piece);
            self.last = Arc::clone(piece);
        }
    }

    /// Goes on for the readers alone: nothing is kept but a window, and new ones cannot join.
    async fn pass_on<S, E>(&mut self, mut body: Pin<&mut S>, reason: Reason) -> Option<()>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        self.opening.pace.abandon();
        let first = std::mem::replace(&mut self.opening.first, Piece::sentinel());
        let pieces = std::mem::take(&mut self.pieces);
        let mut window = Window::new(std::iter::once(first).chain(pieces));
        self.ticket.give_up(reason);
        loop {
            while !window.has_room(&self.opening.pace, self.ticket.budget()) {
                window.wait(&self.opening.pace).await;
                if self.readers() == 0 {
                    return None;
                }
            }
            if self.readers() == 0 {
                return None;
            }
            match self.next(body.as_mut()).await {
                Chunk::Bytes(chunk) => window.extend(self.add(&chunk)),
                Chunk::End if self.is_short() => return None,
                Chunk::End => break,
                Chunk::Cut => return None,
            }
        }
        let pieces = window.into_pieces();
        self.ticket.tell(|state| state.pieces = Some(pieces));
        Some(())
    }

    async fn store(&mut self) -> End {
        let pieces: Arc<[_]> = std::mem::take(&mut self.pieces).into();
        let mut body = Body::new(Arc::clone(&pieces));
        self.ticket.tell(|state| state.pieces = Some(pieces));
        if self.before.is_some() || self.after.is_some() {
            let around = (self.before.iter(), self.after.iter());
            body = Body::chain(around.0.chain([&body]).chain(around.1));
        }
        if body.is_scattered() && self.ticket.room(0, body.len_bytes()).await.is_ok() {
            body = body.joined(self.ticket.budget());
        }
        let head = &self.opening.head;
        let since = head.received();
        let took = self.ticket.age_millis();
        let entry = Entry::new(Arc::clone(head), body, took, self.ticket.budget());
        match self.ticket.put(Arc::new(entry), since).await {
            Ok(PutOutcome::Stored) => End::Stored,
            Ok(PutOutcome::Void) => End::NotStored(Reason::Cleared),
            Ok(PutOutcome::Outdated) => End::NotStored(Reason::Outdated),
            Ok(PutOutcome::NoRoom) => End::NotStored(Reason::NoRoom),
            Err(CacheUnavailable) => End::NotStored(Reason::CacheUnavailable),
        }
    }

    fn readers(&self) -> usize {
        // The filler itself and, while it is there, the opening in the news hold the pace as well.
        let others = if self.ticket.has_opened() { 2 } else { 1 };
        Arc::strong_count(&self.opening.pace).saturating_sub(others)
    }
}

enum Chunk {
    Bytes(Bytes),
    End,
    Cut,
}

impl<E> From<Option<Result<Bytes, E>>> for Chunk {
    fn from(next: Option<Result<Bytes, E>>) -> Self {
        match next {
            Some(Ok(bytes)) => Self::Bytes(bytes),
            Some(Err(_)) => Self::Cut,
            None => Self::End,
        }
    }
}

enum Taken {
    Whole,
    Abandoned(Reason),
    Cut,
}
