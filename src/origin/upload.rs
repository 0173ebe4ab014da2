//! The client's body on its way to the origin.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::error::PayloadError;
use bytes::{Buf, Bytes};
use futures_core::Stream;
use tokio::io::AsyncWrite;

use super::error::UploadError;

/// The client's body, piece by piece.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>;

/// A request's body and how its length is told to the origin.
pub enum RequestBody {
    /// No body and no field about one.
    Empty,
    /// Content-Length: so many bytes; a stream of any other length is an error.
    Sized(u64, BodyStream),
    /// Transfer-Encoding: chunked.
    Chunked(BodyStream),
}

impl RequestBody {
    /// Writes the field line that announces the body.
    pub(super) fn write_framing_line(&self, head: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::Sized(bytes, _) => {
                // Writing to memory does not fail.
                let _ = write!(head, "content-length: {bytes}\r\n");
            }
            Self::Chunked(_) => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
    }
}

/// How far the upload is after it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client has not sent the next piece.
    AwaitsClient,
    /// The origin does not take more for now.
    AwaitsOrigin,
    /// All is written.
    Done,
}

/// Why the upload stopped.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The client's side broke off.
    Client(UploadError),
    /// The connection takes no more; an answer may still come on it.
    Origin(io::Error),
}

/// What is to be written to the origin: the head, then the body as the client sends it.
pub(super) struct Upload {
    /// Encoded and not written yet: at most the head, and one piece with its chunk's frame.
    outgoing: VecDeque<Bytes>,
    /// Something was written, or is about to.
    has_left: bool,
    /// Turns left before the head leaves alone.
    turns: u8,
    body: RequestBody,
}

/// How often the head waits for what the client has sent already, which then leaves with it: a write costs more than all
/// else here. The server polls a handler twice before it hands on what it has read behind a request's head.
const TURNS: u8 = 2;

/// Most slices outgoing at once: head, chunk size, piece, end of chunk.
const MAX_SLICES: usize = 4;

impl Upload {
    pub(super) fn new(head: Bytes, body: RequestBody) -> Self {
        let mut outgoing = VecDeque::with_capacity(MAX_SLICES);
        outgoing.push_back(head);
        Self {
            outgoing,
            has_left: false,
            turns: TURNS,
            body,
        }
    }

    /// True when everything was handed to the connection.
    pub(super) fn is_done(&self) -> bool {
        self.outgoing.is_empty()
            && matches!(self.body, RequestBody::Empty | RequestBody::Sized(0, _))
    }

    /// Forgets what is left.
    pub(super) fn abandon(&mut self) {
        self.outgoing.clear();
        self.body = RequestBody::Empty;
    }

    /// Writes as much as client and origin allow. `wrote` is called after each write.
    pub(super) fn drive(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        mut wrote: impl FnMut(),
    ) -> Result<Progress, Stopped> {
        if !self.has_left {
            match self.next_piece(cx) {
                Poll::Ready(Err(error)) => return Err(Stopped::Client(error)),
                Poll::Pending if self.turns > 0 => {
                    self.turns -= 1;
                    cx.waker().wake_by_ref();
                    return Ok(Progress::AwaitsClient);
                }
                Poll::Ready(Ok(())) | Poll::Pending => self.has_left = true,
            }
        }
        loop {
            while !self.outgoing.is_empty() {
                match self.write(cx, stream) {
                    Poll::Ready(Ok(())) => wrote(),
                    Poll::Ready(Err(error)) => return Err(Stopped::Origin(error)),
                    Poll::Pending => return Ok(Progress::AwaitsOrigin),
                }
            }
            let progress = match self.next_piece(cx) {
                Poll::Ready(Err(error)) => return Err(Stopped::Client(error)),
                Poll::Ready(Ok(())) if !self.outgoing.is_empty() => continue,
                Poll::Ready(Ok(())) => Progress::Done,
                Poll::Pending => Progress::AwaitsClient,
            };
            // What TLS holds back must leave before anything is waited for.
            return match Pin::new(stream).poll_flush(cx) {
                Poll::Ready(Ok(())) => Ok(progress),
                Poll::Ready(Err(error)) => Err(Stopped::Origin(error)),
                Poll::Pending => Ok(Progress::AwaitsOrigin),
            };
        }
    }

    fn write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        for (slice, bytes) in slices.iter_mut().zip(&self.outgoing) {
            *slice = IoSlice::new(bytes);
        }
        let mut written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
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

    /// Encodes the client's next piece, or the end of its body. Afterwards nothing outgoing means the end.
    fn next_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        loop {
            let piece = match &mut self.body {
                RequestBody::Empty => return Poll::Ready(Ok(())),
                // All has come; that the client also says so is not waited for.
                RequestBody::Sized(0, body) => match body.as_mut().poll_next(cx) {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => return Poll::Ready(Ok(())),
                },
                RequestBody::Sized(_, body) | RequestBody::Chunked(body) => {
                    ready!(body.as_mut().poll_next(cx))
                }
            };
            match piece {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Poll::Ready(self.encode(bytes)),
                Some(Err(error)) => return Poll::Ready(Err(UploadError::Client(error))),
                None => return Poll::Ready(self.finish()),
            }
        }
    }

    fn encode(&mut self, bytes: Bytes) -> Result<(), UploadError> {
        match &mut self.body {
            RequestBody::Sized(left, _) => {
                *left = left
                    .checked_sub(bytes.len() as u64)
                    .ok_or(UploadError::Long)?;
                self.outgoing.push_back(bytes);
            }
            RequestBody::Chunked(_) => {
                self.outgoing
                    .push_back(Bytes::from(format!("{:x}\r\n", bytes.len())));
                self.outgoing.push_back(bytes);
                self.outgoing.push_back(Bytes::from_static(b"\r\n"));
            }
            RequestBody::Empty => {}
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), UploadError> {
        match &self.body {
            RequestBody::Sized(missing_bytes @ 1.., _) => {
                return Err(UploadError::Short {
                    missing_bytes: *missing_bytes,
                });
            }
            RequestBody::Chunked(_) => self.outgoing.push_back(Bytes::from_static(b"0\r\n\r\n")),
            RequestBody::Sized(..) | RequestBody::Empty => {}
        }
        self.body = RequestBody::Empty;
        Ok(())
    }
}
