//! Taking a body in: for the store, and for all who read along.

use std::{
    collections::VecDeque,
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{
    body::{Body, Piece, Slices},
    entry::Entry,
    fill::{End, News, Opening, Reader},
    messages::PutOutcome,
    ticket::Ticket,
};
use crate::policy::{Reason, Stored};

/// How long a fetch may go on for the cache alone, when nobody reads along any more.
const UNATTENDED: Duration = Duration::from_secs(300);
/// How far a fetch that is no longer stored may run ahead of its slowest reader, in bytes.
const WINDOW_BYTES: usize = 1024 * 1024;

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
    pub(super) fn new(ticket: Ticket, opening: Opening) -> Self {
        Self {
            last: Arc::clone(&opening.first),
            opening,
            withheld: None,
            pieces: Vec::new(),
            received_bytes: 0,
            unattended_since: None,
            ticket,
        }
    }

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
        self.ticket.tell(|state| {
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
        self.ticket.tell(|state| state.news = Some(news));
    }

    fn reader(&self) -> Reader {
        Reader::new(&self.opening, self.ticket.subscribe())
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
        let cost = Piece::cost_bytes(chunk.len());
        let room = self.ticket.room(self.received_bytes, cost).await;
        for bytes in chunk.chunks(Slices::MAX_BYTES) {
            let piece = Piece::copy_of(bytes, self.ticket.budget());
            self.pieces.push(Arc::clone(&piece));
            self.link(piece);
        }
        self.ticket.tell(|_| {});
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

    /// Goes on for the readers alone: nothing is kept, and the slowest reader sets the pace. New ones cannot join.
    async fn pass_on<S, E>(&mut self, mut body: S) -> Option<()>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        self.opening.pace.abandon();
        self.opening.first = Piece::sentinel();
        let mut window: VecDeque<Weak<Piece>> = self
            .pieces
            .drain(..)
            .map(|piece| Arc::downgrade(&piece))
            .collect();
        self.ticket.give_up();
        loop {
            while held_bytes(&mut window) > WINDOW_BYTES {
                self.opening.pace.moved().await;
            }
            if self.readers() == 0 {
                return None;
            }
            match body.next().await {
                Some(Ok(chunk)) => {
                    self.received_bytes += chunk.len() as u64;
                    for bytes in chunk.chunks(Slices::MAX_BYTES) {
                        let piece = Piece::copy_of(bytes, self.ticket.budget());
                        window.push_back(Arc::downgrade(&piece));
                        self.link(piece);
                    }
                    self.ticket.tell(|_| {});
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
        let body = Body::from_pieces(std::mem::take(&mut self.pieces), self.ticket.budget());
        let entry = Entry::new(Arc::clone(&self.opening.head), body, self.ticket.budget());
        match self.ticket.put(Arc::new(entry)).await {
            PutOutcome::Stored => End::Stored,
            PutOutcome::Void => End::NotStored(Reason::Cleared),
            PutOutcome::NoRoom => End::NotStored(Reason::NoRoom),
        }
    }

    fn readers(&self) -> usize {
        // The filler itself and, while it is there, the opening in the news hold the pace as well.
        let others = if self.ticket.has_opened() { 2 } else { 1 };
        Arc::strong_count(&self.opening.pace).saturating_sub(others)
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
