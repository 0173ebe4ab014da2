//! The request's body, from the client to the origin.

use std::{
    collections::VecDeque,
    error::Error,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::{
    body::{self, BodySize, BoxBody, MessageBody},
    error::PayloadError,
};
use bytes::{Buf, Bytes, BytesMut};
use futures_core::Stream;
use tokio::io::AsyncWrite;

use super::{Expectation, error::UploadError};
use crate::headers::write_line;

/// How much time a byte gives its client, in milliseconds: a body slower than 100 bytes a second on the whole is too slow.
pub const MILLIS_PER_BYTE: u32 = 10;

/// The client's body, piece by piece.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A request's body, and how it is framed towards the origin. awc carries it to the transport as a [`MessageBody`].
pub enum RequestBody {
    /// No body, and no header about one.
    Empty,
    /// Content-Length. A stream of any other length is an error.
    Sized(u64, BodyStream),
    /// Transfer-Encoding: chunked.
    Chunked(BodyStream),
}

impl MessageBody for RequestBody {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        match self {
            Self::Empty => BodySize::None,
            Self::Sized(bytes, _) => BodySize::Sized(*bytes),
            Self::Chunked(_) => BodySize::Stream,
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Sized(_, body) | Self::Chunked(body) => body.as_mut().poll_next(cx),
        }
    }
}

/// Writes the header that announces a body of this size; none for [`BodySize::None`].
pub(super) fn write_body_header(size: BodySize, head: &mut Vec<u8>) {
    match size {
        BodySize::None => {}
        BodySize::Sized(bytes) => {
            let mut digits = itoa::Buffer::new();
            write_line(head, b"content-length", digits.format(bytes).as_bytes());
        }
        BodySize::Stream => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
}

/// What the upload waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadProgress {
    /// The client has not sent the next piece, or is not to send it yet.
    AwaitsClient,
    /// The connection takes no more bytes at present.
    AwaitsOrigin,
    /// Everything is written.
    Done,
}

/// Why the upload stopped.
#[derive(Debug)]
pub(super) enum UploadStopped {
    /// The client's body failed.
    Client(UploadError),
    /// The connection failed for writing; a response may still arrive on it.
    Origin(io::Error),
}

/// Writes a request to the origin: the head, then the body as the client sends it.
pub(super) struct Upload {
    /// Encoded and not yet written: at most the head, and one piece of the body with its chunk framing.
    outgoing: VecDeque<Bytes>,
    /// The first write has been tried.
    has_started: bool,
    /// Nothing that was written is held back.
    is_flushed: bool,
    /// Only the head is written: the body waits for a 100.
    is_held: bool,
    /// How many more times the head waits for the first piece of the body.
    waits: u8,
    /// The framing, with the bytes that are still to come of a sized body. [`BodySize::None`] if nothing is.
    remaining: BodySize,
    body: BoxBody,
}

/// How many times the head waits for bytes that the client has already sent, to be written together with them: the write
/// is the most expensive step here. The server polls a handler twice before it passes on what it has read after the head.
const HEAD_WAITS: u8 = 2;

/// A piece of a body up to this length is copied behind the head, in bytes: a write of one piece costs less.
const MAX_JOINED_BYTES: usize = 1024;

/// Most slices in one write: head, chunk size, piece, end of chunk.
const MAX_SLICES: usize = 4;

impl Upload {
    pub(super) fn new(head: Bytes, body: BoxBody, expectation: Expectation) -> Self {
        let mut outgoing = VecDeque::with_capacity(MAX_SLICES);
        outgoing.push_back(head);
        Self {
            outgoing,
            has_started: false,
            is_flushed: true,
            is_held: expectation == Expectation::Continue,
            waits: HEAD_WAITS,
            remaining: body.size(),
            body,
        }
    }

    /// True while the body waits for a 100.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// The body no longer waits for a 100.
    pub(super) fn release(&mut self) {
        self.is_held = false;
    }

    /// True when everything is written.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.is_empty() && self.remaining.is_eof()
    }

    /// Drops everything that is not written, and the client's body.
    pub(super) fn abandon(&mut self) {
        self.outgoing.clear();
        self.is_held = false;
        self.end_body();
    }

    /// Writes as much as is possible without waiting. `wrote` is called after each write.
    pub(super) fn drive(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        mut wrote: impl FnMut(),
    ) -> Result<UploadProgress, UploadStopped> {
        if self.is_done() && self.is_flushed {
            return Ok(UploadProgress::Done);
        }
        self.has_started |= self.is_held;
        if !self.has_started {
            match self.next_piece(cx) {
                Poll::Ready(Err(error)) => return Err(UploadStopped::Client(error)),
                Poll::Pending if self.waits > 0 => {
                    self.waits -= 1;
                    cx.waker().wake_by_ref();
                    return Ok(UploadProgress::AwaitsClient);
                }
                Poll::Ready(Ok(())) | Poll::Pending => self.has_started = true,
            }
        }
        loop {
            while !self.outgoing.is_empty() {
                match self.write(cx, stream) {
                    Poll::Ready(Ok(())) => wrote(),
                    Poll::Ready(Err(error)) => return Err(UploadStopped::Origin(error)),
                    Poll::Pending => return Ok(UploadProgress::AwaitsOrigin),
                }
            }
            let next = match self.is_held {
                true => Poll::Pending,
                false => self.next_piece(cx),
            };
            let progress = match next {
                Poll::Ready(Err(error)) => return Err(UploadStopped::Client(error)),
                Poll::Ready(Ok(())) if !self.outgoing.is_empty() => continue,
                Poll::Ready(Ok(())) => UploadProgress::Done,
                Poll::Pending => UploadProgress::AwaitsClient,
            };
            // TLS may hold bytes back; they must be sent before the upload waits.
            return match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => {
                    self.is_flushed = true;
                    Ok(progress)
                }
                Poll::Ready(Err(error)) => Err(UploadStopped::Origin(error)),
                Poll::Pending => Ok(UploadProgress::AwaitsOrigin),
            };
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut written = match self.outgoing.len() {
            // The system takes one piece at a lower cost than a list of one.
            1 => ready!(Pin::new(stream).poll_write(cx, &self.outgoing[0]))?,
            _ => {
                let mut slices = [IoSlice::new(&[]); MAX_SLICES];
                for (slice, bytes) in slices.iter_mut().zip(&self.outgoing) {
                    *slice = IoSlice::new(bytes);
                }
                ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.is_flushed = false;
        while let Some(first) = self.outgoing.front_mut() {
            if first.len() > written {
                first.advance(written);
                break;
            }
            written -= first.len();
            self.outgoing.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// Encodes the client's next piece, or the end of its body. If `outgoing` is empty afterwards, the body has ended.
    fn next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            let polled = match self.remaining {
                BodySize::None => return Poll::Ready(Ok(())),
                size => (size, Pin::new(&mut self.body).poll_next(cx)),
            };
            let piece = match polled {
                (_, Poll::Ready(piece)) => piece,
                // All bytes have arrived: the end of the client's stream is not waited for.
                (BodySize::Sized(0), Poll::Pending) => return Poll::Ready(Ok(())),
                (_, Poll::Pending) => return Poll::Pending,
            };
            match piece {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Poll::Ready(self.encode(bytes)),
                Some(Err(error)) => return Poll::Ready(Err(client_error(error))),
                None => return Poll::Ready(self.finish()),
            }
        }
    }

    fn encode(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        match &mut self.remaining {
            BodySize::Sized(remaining) => {
                *remaining = remaining
                    .checked_sub(bytes.len() as u64)
                    .ok_or(UploadError::Long)?;
                self.push(bytes);
            }
            BodySize::Stream => {
                self.outgoing
                    .push_back(Bytes::from(format!("{:x}\r\n", bytes.len())));
                self.outgoing.push_back(bytes);
                self.outgoing.push_back(Bytes::from_static(b"\r\n"));
            }
            BodySize::None => {}
        }
        Ok(())
    }

    /// Adds a piece of the body. A short one is copied behind the head if that is still to be written.
    fn push(&mut self, piece: Bytes) {
        match self.outgoing.front_mut() {
            Some(head) if piece.len() <= MAX_JOINED_BYTES => {
                let mut joined = BytesMut::with_capacity(head.len() + piece.len());
                joined.extend_from_slice(head);
                joined.extend_from_slice(&piece);
                *head = joined.freeze();
            }
            _ => self.outgoing.push_back(piece),
        }
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        match self.remaining {
            BodySize::Sized(missing_bytes @ 1..) => {
                return Err(UploadError::Short { missing_bytes });
            }
            BodySize::Stream => self.outgoing.push_back(Bytes::from_static(b"0\r\n\r\n")),
            BodySize::Sized(0) | BodySize::None => {}
        }
        self.end_body();
        Ok(())
    }

    /// Drops the client's body.
    fn end_body(&mut self) {
        self.remaining = BodySize::None;
        self.body = BoxBody::new(body::None::new());
    }
}

/// awc carries the errors of a body in a box; ours are of [`RequestBody`].
fn client_error(error: Box<dyn Error>) -> UploadError {
    match error.downcast::<PayloadError>() {
        Ok(error) => UploadError::from(*error),
        Err(other) => UploadError::Client(PayloadError::Io(io::Error::other(other.to_string()))),
    }
}
