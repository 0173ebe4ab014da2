//! A client's connection: one request at a time, within limits that actix-http does not have.
//!
//! actix-http limits the time for the first head of a connection and the time between requests. Here are the others:
//! the head of every later request, and a client that does not take what it asked for. Nor does it know of interim
//! responses: they are written here, between what it writes.

mod body;

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::StatusCode;
use actix_rt::time::{Sleep, sleep};
use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use self::body::Leaving;
use super::request_bounds::Bounds;
use crate::proxy::{self, Connection};

/// The stream of one client.
pub(super) struct ClientIo {
    stream: TcpStream,
    connection: Connection,
    limits: Limits,
    bounds: Bounds,
    /// How many requests had been handled when `bounds` last began a new one.
    requests: u64,
    /// What has come of the next request while this one is answered; no more than one read brings.
    ahead: BytesMut,
    /// What is left of interim responses that are being written.
    interim: Bytes,
    /// The body that follows what actix-http writes, or what is left of it.
    leaving: Option<Leaving>,
    /// An answer was complete before its request was: it said that the connection ends with it.
    answered_early: bool,
    /// For the rest of such a request: actix-http reads the rest of a chunked one as long as it may come.
    rest: Option<Pin<Box<Sleep>>>,
    /// How much has come of the head that is arriving.
    head_bytes: usize,
    head: Option<Pin<Box<Sleep>>>,
    stall: Option<Pin<Box<Sleep>>>,
}

/// How long a client may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte.
    pub(super) head: Duration,
    /// Between two pieces that it takes of an answer, and for all that comes of a request after its answer.
    pub(super) stall: Duration,
}

/// The longest head of a request, in bytes: many clients may send one at the same time.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// What is read of a client while its answer is under way, at most, in bytes.
const MAX_AHEAD_BYTES: usize = 16 * 1024;
const HEAD_TOO_LARGE: &str = "the head of the request is larger than 64 KiB";
const HEAD_TOO_LARGE_ANSWER: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 47\r\nconnection: close\r\n\
    x-cache: MISS\r\ncache-status: caching-proxy\r\n\r\n\
    The head of the request is larger than 64 KiB.\n";

impl ClientIo {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        // Answers leave at once. Where the option can not be set the connection works all the same.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            connection: Connection::default(),
            limits,
            bounds: Bounds::head(),
            requests: 0,
            ahead: BytesMut::new(),
            interim: Bytes::new(),
            leaving: None,
            answered_early: false,
            rest: None,
            head_bytes: 0,
            head: None,
            stall: None,
        }
    }

    /// What the handler knows the connection by.
    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Moves on as far as the handler has.
    fn move_on(&mut self) {
        if matches!(self.bounds, Bounds::Decoding) && self.connection.requests() > self.requests {
            self.requests = self.connection.requests();
            self.head = None;
            self.bounds = Bounds::after_head(self.connection.framing());
        }
        if matches!(self.bounds, Bounds::Sized(_) | Bounds::Chunked(_))
            && !self.connection.is_responding()
        {
            self.answered_early = true;
        }
    }

    /// Pending while nothing more may be handed to actix-http.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        self.move_on();
        if matches!(self.bounds, Bounds::Complete) && !self.connection.is_responding() {
            if self.answered_early {
                return Poll::Ready(Turn::End);
            }
            self.bounds = Bounds::head();
            self.head_bytes = 0;
        }
        match self.bounds {
            Bounds::Decoding | Bounds::Complete => {
                // What the client sends next wakes this task; what it has sent already has to wait for the handler.
                if !self.ahead.is_empty() || self.stream.poll_read_ready(context).is_ready() {
                    self.connection.wake_on_progress(context.waker());
                }
                Poll::Pending
            }
            _ => Poll::Ready(Turn::Bytes),
        }
    }

    /// While an answer may pause for ever, only the client's end of the connection tells that nobody waits for it.
    fn poll_departure(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.connection.is_open_ended() && self.ahead.len() < MAX_AHEAD_BYTES {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.ahead.extend_from_slice(buffer.filled());
        }
        match self.connection.is_open_ended() {
            // Whoever sends on and on could not be seen to leave.
            true => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            false => Poll::Pending,
        }
    }

    /// Refuses a head that does not end, in actix-http's place, which would take twice as much.
    fn limit_head(&mut self, own: usize) -> io::Result<()> {
        self.head_bytes += own;
        if self.head_bytes <= MAX_HEAD_BYTES {
            return Ok(());
        }
        // Nothing else is being written, unless the client is in arrears with the last answer.
        if self.stall.is_none() {
            let _ = self.stream.try_write(HEAD_TOO_LARGE_ANSWER);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            proxy::log_unread(status, HEAD_TOO_LARGE);
        }
        let kind = io::ErrorKind::InvalidData;
        Err(io::Error::new(kind, HEAD_TOO_LARGE))
    }

    fn poll_bytes(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..length]);
        self.ahead.advance(length);
        Poll::Ready(Ok(()))
    }

    /// Hands on what belongs to this request, and keeps the rest of `buffer` for later.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>, filled: usize) -> io::Result<()> {
        let read = &buffer.filled()[filled..];
        let is_head = matches!(self.bounds, Bounds::Head(_));
        let own = self.bounds.take(read);
        if matches!(self.bounds, Bounds::Lost) {
            let kind = io::ErrorKind::InvalidData;
            return Err(io::Error::new(
                kind,
                "the request's body is not framed as it says",
            ));
        }
        if own < read.len() {
            let rest = self.ahead.split();
            self.ahead.extend_from_slice(&read[own..]);
            self.ahead.unsplit(rest);
            buffer.set_filled(filled + own);
        }
        // actix-http has a limit of its own for the first head, and most others come in one piece.
        match self.bounds {
            Bounds::Head(_) if self.requests > 0 && self.head.is_none() => {
                self.head = Some(Box::pin(sleep(self.limits.head)));
            }
            Bounds::Head(_) => {}
            _ => self.head = None,
        }
        match is_head {
            true => self.limit_head(own),
            false => Ok(()),
        }
    }

    fn poll_rest_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.rest {
            Some(limit) => limit.as_mut().poll(context).map(|()| {
                Err(timed_out(
                    "the client does not complete the request that was answered",
                ))
            }),
            None => Poll::Pending,
        }
    }

    fn poll_head_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.head {
            Some(limit) => limit
                .as_mut()
                .poll(context)
                .map(|()| Err(timed_out("the client does not complete its request's head"))),
            None => Poll::Pending,
        }
    }

    /// Writes the interim responses that have come. Until they are out whole, nothing else may follow.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.interim.is_empty() {
                match self.connection.take_interim() {
                    Some(heads) => self.interim = heads.into(),
                    None => return Poll::Ready(Ok(())),
                }
            }
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.interim.advance(written);
            self.stall = None;
        }
    }

    /// Logs an answer that actix-http gives by itself, to what it could not read or what did not come in time. Nothing
    /// else is written while a head is arriving but the end of the answer before it, and that is marked as ours.
    fn log_own_answer(&self, bytes: &[u8]) {
        let is_unread = self.head_bytes > 0
            && matches!(self.bounds, Bounds::Head(_) | Bounds::Decoding)
            && self.connection.requests() == self.requests
            && !self.connection.is_responding();
        if !is_unread {
            return;
        }
        let status = bytes
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let Some(status) = status.and_then(|digits| StatusCode::from_bytes(digits).ok()) else {
            return;
        };
        if memchr::memmem::find(bytes, b"\r\nx-cache: ").is_none() {
            proxy::log_unread(
                status,
                match status {
                    StatusCode::REQUEST_TIMEOUT => "the head of the request did not come in time",
                    _ => "what came is not a request in HTTP/1.1",
                },
            );
        }
    }

    /// Writes what has to be out before anything that actix-http writes.
    fn poll_before(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(context))?;
        self.poll_begun(context)
    }

    fn limit_stall<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall = None;
            return polled;
        }
        let limit = self.limits.stall;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
        stall
            .as_mut()
            .poll(context)
            .map(|()| Err(timed_out("the client takes nothing of its answer")))
    }
}

/// What actix-http gets to read next.
enum Turn {
    /// What the client sends.
    Bytes,
    /// Nothing more: the connection is over.
    End,
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        match self.poll_turn(context) {
            Poll::Ready(Turn::Bytes) => {}
            Poll::Ready(Turn::End) => return Poll::Ready(Ok(())),
            Poll::Pending => {
                return match self.poll_departure(context) {
                    Poll::Pending => self.poll_head_limit(context),
                    left => left,
                };
            }
        }
        if let Poll::Ready(failed) = self.poll_rest_limit(context) {
            return Poll::Ready(failed);
        }
        match self.poll_bytes(context, buffer) {
            Poll::Pending => self.poll_head_limit(context),
            Poll::Ready(Ok(())) => Poll::Ready(self.hand_on(buffer, filled)),
            failed => failed,
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match self.poll_before(context) {
            Poll::Ready(Ok(())) => {
                let polled = self.poll_head(context, bytes);
                if polled.is_ready() {
                    self.log_own_answer(bytes);
                }
                polled
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.limit_stall(polled, context)
    }

    /// actix-http gets here whenever its task runs and it has nothing left to write, so that this is also the place
    /// from which interim responses leave while a handler has no answer yet, and where the time begins for the rest of
    /// a request that was answered.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed(context.waker());
        self.move_on();
        if self.answered_early && self.rest.is_none() {
            self.rest = Some(Box::pin(sleep(self.limits.stall)));
        }
        if let Poll::Ready(failed) = self.poll_rest_limit(context) {
            return Poll::Ready(failed);
        }
        let polled = match self.poll_interim(context) {
            Poll::Ready(Ok(())) => self.poll_body(context),
            polled => polled,
        };
        ready!(self.limit_stall(polled, context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Drop for ClientIo {
    fn drop(&mut self) {
        // It knows the connection, which would keep it.
        drop(self.connection.take_zero_copy());
        if self.connection.is_broken() {
            // A reset, so that the client does not take the end of the connection for the end of the body.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
