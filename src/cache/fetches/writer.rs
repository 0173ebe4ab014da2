//! The writer of a body: it stores the body, and passes it on to its readers while it arrives.

use std::{
    collections::VecDeque,
    future::poll_fn,
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
            reader::{BodyReader, FetchEnd, FetchEvent, FetchState},
            ticket::FetchTicket,
        },
        found::PutOutcome,
        store::{
            body::Body,
            budget::{Charge, UnattendedPermit},
            entry::Entry,
            even_pieces::joined,
            piece::Piece,
            shared_list::SharedList,
        },
        unavailable::CacheUnavailable,
    },
    policy::{ErrorsScan, Reason, StoredHead},
};

/// Offsets in a body, both inclusive.
pub type Span = RangeInclusive<u64>;

/// The largest piece of a body that arrives, in bytes.
const PIECE_BYTES: usize = 32 * 1024;
/// Bodies up to this size, in bytes, usually arrive in the same read as the headers.
const SHORT_BYTES: u64 = PIECE_BYTES as u64;

/// How long the headers of a short body wait for it: many origins send the two apart. A body that is stored before its
/// headers leave is called stored in them.
const SHORT_WAIT: Duration = Duration::from_millis(20);

/// After this many bytes the writer yields to the readers: usually more bytes follow.
const YIELD_BYTES: u64 = 4 * 1024;

/// How long a fetch of known length may run without a reader.
const UNATTENDED: Duration = Duration::from_secs(300);
/// How long a fetch of unknown length may run without a reader, if it never had one: a validation in the background.
const UNATTENDED_ENDLESS: Duration = Duration::from_secs(30);
/// How long a fetch of unknown length may run after its last reader left. It may have no end, and the origin works for
/// nobody.
const LEFT_ENDLESS: Duration = Duration::from_millis(500);

/// Writes one body, which the store and any number of readers get.
#[derive(Debug)]
pub struct BodyWriter {
    head: Arc<StoredHead>,
    /// Length of the body in bytes; `None` if the origin did not send it.
    pub(super) length: Option<u64>,
    /// What the followers and readers see.
    pub(super) state: Arc<FetchState>,
    /// The memory of the head, counted against the budget until its entry counts it.
    head_charge: Option<Charge>,
    /// The place before the first piece of the body.
    pub(super) first: Arc<Piece>,
    last: Arc<Piece>,
    withheld: Option<Arc<Piece>>,
    pub(super) pieces: Vec<Arc<Piece>>,
    /// What has arrived and is not in `pieces` yet.
    arrived: VecDeque<Chunk>,
    pub(super) received_bytes: u64,
    /// Whether there has been a reader.
    was_read: bool,
    /// Since when there is no reader, and the permit to run without one.
    unattended: Option<(Instant, UnattendedPermit)>,
    /// Stored bytes of the same representation, before and after this part of it.
    pub(super) before: Option<Body>,
    pub(super) after: Option<Body>,
    /// Looks for GraphQL errors; `None` if the body is not looked at.
    pub(super) errors: Option<ErrorsScan>,
    pub(super) ticket: FetchTicket,
}

impl BodyWriter {
    /// A writer for the body that belongs to `head`. `length` is the length of the body in bytes; `None` if the origin did
    /// not send it.
    pub fn new(ticket: FetchTicket, head: StoredHead, length: Option<u64>) -> Self {
        let head_charge = ticket.budget().charge(head.weight_bytes());
        let first = Piece::sentinel();
        Self {
            head: Arc::new(head),
            length,
            state: ticket.state(),
            last: Arc::clone(&first),
            first,
            head_charge: Some(head_charge),
            withheld: None,
            pieces: Vec::new(),
            arrived: VecDeque::new(),
            received_bytes: 0,
            was_read: false,
            unattended: None,
            before: None,
            after: None,
            errors: None,
            ticket,
        }
    }

    /// Does not store the body if it is a GraphQL response with errors.
    pub fn without_errors(mut self) -> Self {
        self.errors = Some(ErrorsScan::default());
        self
    }

    /// Joins the body, when it is stored, with bytes of the body of `stored` before and after it. The offsets are those in
    /// the stored body.
    pub fn join(mut self, stored: &Entry, before: Option<Span>, after: Option<Span>) -> Self {
        let budget = self.ticket.budget();
        let part = |span: Span| stored.body().part(*span.start(), *span.end(), budget);
        (self.before, self.after) = (before.map(part), after.map(part));
        self.ticket.uses_bytes_of(stored);
        self
    }

    /// Reads the whole `body` and stores it. `open` is called when the headers may be sent: at once, or, if the whole body
    /// came with them, after it was stored.
    pub fn run<S, E>(
        mut self,
        body: S,
        open: impl FnOnce(Arc<StoredHead>, BodyReader),
    ) -> impl Future<Output = ()>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut open = Some(open);
        // The future of an async function would have place for two writers.
        async move {
            let mut body = pin!(body);
            self.arrived = self.first_chunks(body.as_mut()).await;
            if self.length != Some(0) {
                if !self.has_all_arrived()
                    && let Some(open) = open.take()
                {
                    open(Arc::clone(&self.head), self.reader());
                }
                self.state.opened(&self.head, self.length, &self.first);
            }
            let end = match self.take_in(body.as_mut()).await {
                BodyOutcome::Whole if self.errors.as_ref().is_some_and(ErrorsScan::has_errors) => {
                    self.ticket.give_up(Reason::GraphqlErrors);
                    FetchEnd::NotStored(Reason::GraphqlErrors)
                }
                BodyOutcome::Whole => self.store().await,
                BodyOutcome::NotStorable(reason) => {
                    // The body is passed on to readers, so the leader has to be one.
                    if let Some(open) = open.take() {
                        open(Arc::clone(&self.head), self.reader());
                    }
                    // In a box: the future is large, and few fetches need it.
                    Box::pin(self.pass_on(body, reason)).await
                }
                BodyOutcome::Cut => FetchEnd::Cut,
            };
            if let Some(withheld) = self.withheld.take() {
                self.last.link(&withheld);
            }
            if !self.pieces.is_empty() {
                self.state.keep(std::mem::take(&mut self.pieces).into());
            }
            self.state.ended(FetchEvent::LookAgain, end);
            if let Some(open) = open.take() {
                open(Arc::clone(&self.head), self.reader());
            }
        }
    }

    /// What of a short body has arrived with the headers, or soon after them if its length is known. Nothing if the body is
    /// long.
    async fn first_chunks<S, E>(&self, mut body: Pin<&mut S>) -> VecDeque<Chunk>
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let mut chunks = VecDeque::new();
        let length = self.length;
        let mut left_bytes = match length {
            Some(length) if (1..=SHORT_BYTES).contains(&length) => length,
            Some(_) => return chunks,
            None => SHORT_BYTES,
        };
        let mut arriving = pin!(async {
            while left_bytes > 0 {
                let chunk = Chunk::from(body.next().await);
                left_bytes = match &chunk {
                    Chunk::Bytes(bytes) => left_bytes.saturating_sub(bytes.len() as u64),
                    Chunk::End | Chunk::Cut => 0,
                };
                chunks.push_back(chunk);
            }
        });
        let now = poll_fn(|context| Poll::Ready(arriving.as_mut().poll(context))).await;
        if now.is_pending() && length.is_some() {
            let _ = timeout(SHORT_WAIT, arriving).await;
        }
        chunks
    }

    /// True if the whole body has arrived with the headers.
    fn has_all_arrived(&self) -> bool {
        let bytes = self.arrived.iter().map(|chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::End | Chunk::Cut => 0,
        });
        match self.length {
            Some(length) => bytes.sum::<u64>() == length,
            None => matches!(self.arrived.back(), Some(Chunk::End)),
        }
    }

    fn reader(&self) -> BodyReader {
        BodyReader::new(&self.first, &self.state)
    }

    async fn take_in<S, E>(&mut self, mut body: Pin<&mut S>) -> BodyOutcome
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        let max_bytes = self.ticket.max_object_bytes();
        if self.length.is_some_and(|length| length > max_bytes) {
            return BodyOutcome::NotStorable(Reason::TooLarge);
        }
        loop {
            match self.next(body.as_mut()).await {
                Chunk::Bytes(chunk) => {
                    if let Err(reason) = self.append(&chunk).await {
                        return BodyOutcome::NotStorable(reason);
                    }
                }
                Chunk::End if self.is_short() => return BodyOutcome::Cut,
                Chunk::End => return BodyOutcome::Whole,
                Chunk::Cut => return BodyOutcome::Cut,
            }
        }
    }

    /// The next bytes. Without a reader they have to arrive within a limit.
    pub(super) async fn next<S, E>(&mut self, mut body: Pin<&mut S>) -> Chunk
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        if let Some(chunk) = self.arrived.pop_front() {
            return chunk;
        }
        if self.is_complete() {
            return Chunk::End;
        }
        // Readers and other requests of this worker get their turn, even if the origin sends faster than this reads.
        if self.received_bytes >= YIELD_BYTES {
            tokio::task::yield_now().await;
        }
        if self.length == Some(0) {
            // The reader is opened after the body is stored, and there are no bytes to wait for.
            return Chunk::from(body.next().await);
        }
        while self.readers() > 0 {
            self.was_read = true;
            self.unattended = None;
            tokio::select! {
                biased;
                next = body.next() => return Chunk::from(next),
                // The last reader may have left.
                () = self.state.progress().moved() => {}
            }
        }
        if self.unattended.is_none() {
            self.unattended =
                UnattendedPermit::new(self.ticket.budget()).map(|permit| (Instant::now(), permit));
        }
        let Some((since, _)) = &self.unattended else {
            return Chunk::Cut;
        };
        let limit = match self.length {
            Some(_) => UNATTENDED,
            None if self.was_read => LEFT_ENDLESS,
            None => UNATTENDED_ENDLESS,
        };
        match timeout(limit.saturating_sub(since.elapsed()), body.next()).await {
            Ok(next) => Chunk::from(next),
            Err(_) => Chunk::Cut,
        }
    }

    /// True if all of a short body has arrived. Then the origin's body need not be polled again.
    fn is_complete(&self) -> bool {
        self.received_bytes > 0
            && self.received_bytes <= SHORT_BYTES
            && self.length == Some(self.received_bytes)
    }

    pub(super) fn is_short(&self) -> bool {
        self.length
            .is_some_and(|length| length != self.received_bytes)
    }

    /// Adds `chunk` in pieces. They are in the chain even if the body cannot be stored.
    ///
    /// # Errors
    /// The body cannot be stored.
    async fn append(&mut self, chunk: &Bytes) -> Result<(), Reason> {
        let cost = Piece::cost_bytes(chunk.len());
        let received = self.received_bytes + chunk.len() as u64;
        if let Some(errors) = &mut self.errors {
            errors.read(chunk);
        }
        let room = self.ticket.room(received, cost).await;
        self.add(chunk);
        room
    }

    pub(super) fn add(&mut self, chunk: &Bytes) {
        self.received_bytes += chunk.len() as u64;
        for bytes in chunk.chunks(PIECE_BYTES) {
            let piece = Piece::copy_of(bytes, self.ticket.budget());
            self.link(&piece);
            self.pieces.push(piece);
        }
        self.state.notify();
    }

    /// Shows `piece` to the readers. The last piece is withheld until the body is stored.
    fn link(&mut self, piece: &Arc<Piece>) {
        if let Some(withheld) = self.withheld.take() {
            self.last.link(&withheld);
            self.last = withheld;
        }
        if self.length == Some(self.received_bytes) {
            self.withheld = Some(Arc::clone(piece));
        } else {
            self.last.link(piece);
            self.last = Arc::clone(piece);
        }
    }

    async fn store(&mut self) -> FetchEnd {
        let pieces: SharedList<_> = std::mem::take(&mut self.pieces).into();
        let mut body = Body::new(pieces.clone());
        self.state.keep(pieces);
        if self.before.is_some() || self.after.is_some() {
            let around = (self.before.iter(), self.after.iter());
            body = Body::chain(around.0.chain([&body]).chain(around.1));
        }
        if body.is_scattered() && self.ticket.room(0, body.len_bytes()).await.is_ok() {
            body = joined(&body, self.ticket.budget()).await;
        }
        self.put(body).await
    }

    /// Stores the head with `body`.
    pub(super) async fn put(&mut self, body: Body) -> FetchEnd {
        drop(self.head_charge.take());
        let age = self.ticket.age();
        let fetch_millis = u32::try_from(age.as_millis()).unwrap_or(u32::MAX);
        let fetch = (self.ticket.id(), fetch_millis);
        let entry = Entry::new(Arc::clone(&self.head), body, fetch, self.ticket.budget());
        let since = entry.order();
        match self.ticket.put(Arc::new(entry), since, age).await {
            Ok(PutOutcome::Stored | PutOutcome::StoredStale) => FetchEnd::Stored,
            Ok(PutOutcome::Void) => FetchEnd::NotStored(Reason::Cleared),
            Ok(PutOutcome::Outdated) => FetchEnd::NotStored(Reason::Outdated),
            Ok(PutOutcome::NoRoom) => FetchEnd::NotStored(Reason::NoRoom),
            Err(CacheUnavailable) => FetchEnd::NotStored(Reason::CacheUnavailable),
        }
    }

    pub(super) fn readers(&self) -> usize {
        self.state.readers()
    }
}

#[derive(Debug)]
pub(super) enum Chunk {
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
    /// There is more of it, or there may be: what cannot be stored is passed on.
    NotStorable(Reason),
    Cut,
}
