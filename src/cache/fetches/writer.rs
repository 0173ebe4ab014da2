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
        fetches::{
            reader::{BodyReader, FetchEnd, FetchEvent, SharedHead},
            ticket::FetchTicket,
            window::Window,
        },
        found::PutOutcome,
        store::{
            body::{Body, Piece},
            budget::UnattendedPermit,
            entry::Entry,
        },
        unavailable::CacheUnavailable,
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
pub struct BodyWriter {
    shared_head: SharedHead,
    last: Arc<Piece>,
    withheld: Option<Arc<Piece>>,
    pieces: Vec<Arc<Piece>>,
    received_bytes: u64,
    position: u64,
    /// Since when nobody reads along, and the leave to go on all the same.
    unattended: Option<(Instant, UnattendedPermit)>,
    /// What is stored of the same representation before and behind this part of it.
    before: Option<Body>,
    after: Option<Body>,
    ticket: FetchTicket,
}

impl BodyWriter {
    /// A writer for the body that belongs to `head`. `length` is the length of the body in bytes; `None` if the origin did
    /// not send it.
    pub fn new(ticket: FetchTicket, head: StoredHead, length: Option<u64>) -> Self {
        let shared_head = SharedHead::new(head, length);
        Self {
            last: Arc::clone(&shared_head.first),
            shared_head,
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
    pub async fn run<S, E>(mut self, body: S, open: impl FnOnce(Arc<StoredHead>, BodyReader))
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut body = pin!(body);
        let mut open = Some(open);
        let first = self.what_has_come(body.as_mut()).await;
        if self.shared_head.length != Some(0) {
            if !self.is_all(first.as_ref())
                && let Some(open) = open.take()
            {
                open(Arc::clone(&self.shared_head.head), self.reader());
            }
            self.announce();
        }
        let end = match self.take_in(first, body).await {
            BodyOutcome::Whole => self.store().await,
            BodyOutcome::Abandoned(reason) => FetchEnd::NotStored(reason),
            BodyOutcome::Cut => FetchEnd::Cut,
        };
        if let Some(withheld) = self.withheld.take() {
            self.last.link(&withheld);
        }
        let pieces = std::mem::take(&mut self.pieces);
        self.ticket.tell(|state| {
            state.end = Some(end);
            state.event = Some(FetchEvent::LookAgain);
            state.pieces.get_or_insert_with(|| pieces.into());
        });
        if let Some(open) = open.take() {
            open(Arc::clone(&self.shared_head.head), self.reader());
        }
    }

    /// The first bytes of a short body, when they are there already: then nobody need wait twice for it.
    async fn what_has_come<S, E>(&self, mut body: Pin<&mut S>) -> Option<Chunk>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let is_short = self
            .shared_head
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
        matches!(first, Some(Chunk::Bytes(bytes)) if Some(bytes.len() as u64) == self.shared_head.length)
    }

    /// Lets others read along.
    fn announce(&self) {
        let news = FetchEvent::Head(self.shared_head.clone());
        self.ticket.tell(|state| state.event = Some(news));
    }

    fn reader(&self) -> BodyReader {
        BodyReader::new(&self.shared_head, self.ticket.subscribe())
    }

    async fn take_in<S, E>(
        &mut self,
        mut first: Option<Chunk>,
        mut body: Pin<&mut S>,
    ) -> BodyOutcome
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
                        return passed
                            .map_or(BodyOutcome::Cut, |()| BodyOutcome::Abandoned(reason));
                    }
                }
                Chunk::End if self.is_short() => return BodyOutcome::Cut,
                Chunk::End => return BodyOutcome::Whole,
                Chunk::Cut => return BodyOutcome::Cut,
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
        if self.shared_head.length == Some(0) {
            // Its reader comes when it is stored, and there is nothing to wait for.
            return Chunk::from(body.next().await);
        }
        while self.readers() > 0 {
            self.unattended = None;
            tokio::select! {
                biased;
                next = body.next() => return Chunk::from(next),
                // Perhaps the last reader has left.
                () = self.shared_head.pace.moved() => {}
            }
        }
        if self.unattended.is_none() {
            self.unattended =
                UnattendedPermit::new(self.ticket.budget()).map(|leave| (Instant::now(), leave));
        }
        let Some((since, _)) = &self.unattended else {
            return Chunk::Cut;
        };
        let limit = match self.shared_head.length {
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
            && self.shared_head.length == Some(self.received_bytes)
    }

    fn is_short(&self) -> bool {
        self.shared_head
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
        if self.shared_head.length == Some(self.received_bytes) {
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
        self.shared_head.pace.abandon();
        let first = std::mem::replace(&mut self.shared_head.first, Piece::sentinel());
        let pieces = std::mem::take(&mut self.pieces);
        let mut window = Window::new(std::iter::once(first).chain(pieces));
        self.ticket.give_up(reason);
        loop {
            while !window.has_room(&self.shared_head.pace, self.ticket.budget()) {
                window.wait(&self.shared_head.pace).await;
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

    async fn store(&mut self) -> FetchEnd {
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
        let head = &self.shared_head.head;
        let since = head.received();
        let took = self.ticket.age_millis();
        let entry = Entry::new(Arc::clone(head), body, took, self.ticket.budget());
        match self.ticket.put(Arc::new(entry), since).await {
            Ok(PutOutcome::Stored) => FetchEnd::Stored,
            Ok(PutOutcome::Void) => FetchEnd::NotStored(Reason::Cleared),
            Ok(PutOutcome::Outdated) => FetchEnd::NotStored(Reason::Outdated),
            Ok(PutOutcome::NoRoom) => FetchEnd::NotStored(Reason::NoRoom),
            Err(CacheUnavailable) => FetchEnd::NotStored(Reason::CacheUnavailable),
        }
    }

    fn readers(&self) -> usize {
        // The writer itself and, while it is there, the shared_head in the news hold the pace as well.
        let others = if self.ticket.has_opened() { 2 } else { 1 };
        Arc::strong_count(&self.shared_head.pace).saturating_sub(others)
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

enum BodyOutcome {
    Whole,
    Abandoned(Reason),
    Cut,
}
