//! One request and its response on a connection: HTTP/1 as it is spoken with the origin.
//!
//! The request leaves with its head and body in one write where it can. Its body is driven whenever the answer is
//! looked for, so that an origin that answers early is heard. An end of the connection is an end of the body only where
//! the origin said so; everywhere else it is a cut.

use std::{
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::error::PayloadError;
use actix_web::http::Method;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::AsyncReadExt as _;

use super::{
    error::OriginError,
    exchange::{Afterwards, Exchange, InterimSink},
    framing::{Follower, Head, Persistence},
    heads::HeadSearch,
    pool::Pool,
    stream::OriginStream,
    upload::{Progress, RequestBody, Stopped, Upload},
};

/// Room for the head and what comes with it, in bytes.
const HEAD_ROOM_BYTES: usize = 8 * 1024;
/// Most that is read of a body at once, in bytes.
const BODY_ROOM_BYTES: usize = 64 * 1024;
/// Less room than this is not worth a read, in bytes.
const LEAST_ROOM_BYTES: usize = 2 * 1024;

/// A request as it is spoken, but for its body.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) head: Bytes,
    pub(super) interim: Option<InterimSink>,
    pub(super) afterwards: Afterwards,
}

/// A request on its way, and its response.
pub(super) struct InFlight {
    /// None once the response is whole or has failed.
    stream: Option<OriginStream>,
    /// Where the connection goes when the response is whole.
    pool: Rc<Pool>,
    exchange: Exchange,
    method: Method,
    upload: Upload,
    interim: Option<InterimSink>,
    afterwards: Afterwards,
    search: HeadSearch,
    /// Read from the origin and not yet understood.
    received: BytesMut,
    /// Something of a response has come.
    is_answered: bool,
    /// Of the response's body.
    follower: Follower,
}

impl InFlight {
    /// Sends nothing yet: the first poll does.
    pub(super) fn new(
        stream: OriginStream,
        pool: Rc<Pool>,
        exchange: Exchange,
        request: &Request,
        body: RequestBody,
    ) -> Self {
        exchange.begin();
        Self {
            stream: Some(stream),
            pool,
            exchange,
            method: request.method.clone(),
            upload: Upload::new(request.head.clone(), body),
            interim: request.interim.clone(),
            afterwards: request.afterwards,
            search: HeadSearch::default(),
            received: BytesMut::with_capacity(HEAD_ROOM_BYTES),
            is_answered: false,
            follower: Follower::Length(0),
        }
    }

    /// Something of a response has come, whatever became of it.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Waits for the head of the final response.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Box<Head>, OriginError>> {
        self.drive_upload(cx)?;
        loop {
            match ready!(self.poll_read(cx, HEAD_ROOM_BYTES, u64::MAX))? {
                0 => return Poll::Ready(Err(OriginError::cut())),
                _ => self.is_answered = true,
            }
            let found = (self.search).take(&mut self.received, &self.method, self.interim.as_ref());
            if let Some(head) = found.map_err(|source| OriginError::Malformed { source })? {
                self.accept(&head);
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Reads at most `limit` bytes behind what is received; answers how many came, 0 at the end of the connection.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        limit: u64,
    ) -> Poll<Result<usize, OriginError>> {
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Ok(0));
        };
        if self.received.capacity() - self.received.len() < LEAST_ROOM_BYTES.min(room) {
            self.received.reserve(room);
        }
        let mut limited = stream.take(limit);
        let read = pin!(limited.read_buf(&mut self.received)).poll(cx);
        let count = ready!(read).map_err(|source| OriginError::Cut { source })?;
        self.exchange.progressed();
        Poll::Ready(Ok(count))
    }

    /// Takes the final head.
    fn accept(&mut self, head: &Head) {
        if head.persistence == Persistence::Close {
            self.afterwards = Afterwards::Close;
        }
        // RFC 9110, 10.1.1 and RFC 9112, 9.5: an error answer ends the upload; an origin that answers while it
        // reads, as an echo does, gets all of it.
        if (head.status.is_client_error() || head.status.is_server_error())
            && !self.upload.is_done()
        {
            self.abandon_upload();
        }
        self.follower = Follower::new(head.framing);
        self.exchange.set_answered(head.framing);
        if self.follower.is_done() {
            self.complete();
        }
    }

    /// Drives the upload, as far as it goes without waiting.
    fn drive_upload(&mut self, cx: &mut Context<'_>) -> Result<(), OriginError> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        let exchange = &self.exchange;
        match self.upload.drive(cx, stream, || exchange.progressed()) {
            Ok(progress) => exchange.set_awaits_client(progress == Progress::AwaitsClient),
            Err(Stopped::Client(source)) => return Err(OriginError::Upload { source }),
            // The origin stopped reading; it may have said why.
            Err(Stopped::Origin(error)) => {
                log::debug!("the origin takes no more of the request: {error}");
                self.abandon_upload();
            }
        }
        Ok(())
    }

    fn abandon_upload(&mut self) {
        self.upload.abandon();
        self.exchange.set_awaits_client(false);
        self.afterwards = Afterwards::Close;
    }

    /// The response is whole.
    fn complete(&mut self) {
        // An upload that nobody waits for any more would be read as the next request, and surplus bytes as the answer
        // to it.
        let reusable = self.afterwards == Afterwards::Keep
            && self.received.is_empty()
            && self.upload.is_done();
        self.upload.abandon();
        self.received = BytesMut::new();
        self.exchange.set_whole();
        match self.stream.take() {
            Some(stream) if reusable => self.pool.park(stream),
            Some(stream) => stream.close(),
            None => {}
        }
    }

    /// The next piece of the body; `None` when it is whole.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OriginError>>> {
        self.drive_upload(cx)?;
        while self.stream.is_some() {
            if self.received.is_empty() {
                // What lies behind a body of known length stays unread, for the check before the next exchange to find.
                let limit = match self.follower {
                    Follower::Length(left) => left,
                    Follower::Chunked(_) | Follower::UntilClose => u64::MAX,
                };
                let room = usize::try_from(limit).unwrap_or(usize::MAX);
                match ready!(self.poll_read(cx, room.min(BODY_ROOM_BYTES), limit))? {
                    0 if self.follower == Follower::UntilClose => {
                        self.complete();
                        return Poll::Ready(None);
                    }
                    0 => return Poll::Ready(Some(Err(OriginError::cut()))),
                    _ => {}
                }
            }
            let piece = self.follower.take(&mut self.received);
            let piece = piece.map_err(|source| OriginError::Malformed { source })?;
            if self.follower.is_done() {
                self.complete();
            }
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
        Poll::Ready(None)
    }
}

/// The body. What went wrong is told to the exchange.
impl Stream for InFlight {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(this.poll_piece(cx));
        Poll::Ready(item.map(|piece| {
            piece.map_err(|failure| {
                this.stream = None;
                this.upload.abandon();
                this.exchange.fail(failure);
                PayloadError::Incomplete(None)
            })
        }))
    }
}
