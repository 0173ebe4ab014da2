//! A client's connection beneath actix-http: one request at a time, with the limits that actix-http does not have.
//!
//! actix-http limits the time for the first head of a connection and the time between requests. This stream limits the
//! time for the head of every later request, and for a client that does not read its response. It also writes interim
//! responses and zero-copy bodies, which actix-http does not support.

mod body;
mod departure;

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

use self::{body::OutgoingBody, departure::Departure};
use super::request_bounds::RequestBounds;
use crate::proxy::{self, Connection};

/// The stream of one client, as actix-http reads and writes it.
pub(super) struct ClientIo {
    stream: TcpStream,
    connection: Connection,
    limits: Limits,
    bounds: RequestBounds,
    /// How many requests the handler had seen when `bounds` last began a new one.
    requests: u64,
    /// Bytes of the next request that arrived during this one; no more than one read brings.
    ahead: BytesMut,
    departure: Departure,
    /// Interim responses that are being written, without the bytes that are written already.
    interim: Bytes,
    /// The zero-copy body that is being written; `None` if there is none.
    outgoing: Option<OutgoingBody>,
    /// The response was complete before its request was. It has announced the end of the connection.
    responded_early: bool,
    /// Limits the rest of such a request: actix-http would read a chunked one for as long as it lasts.
    rest_timer: Option<Pin<Box<Sleep>>>,
    /// Bytes of the current head so far.
    head_bytes: usize,
    /// Runs while a head arrives.
    head_timer: Option<Pin<Box<Sleep>>>,
    /// Runs while the client does not read.
    stall_timer: Option<Pin<Box<Sleep>>>,
}

/// Time limits for a client.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte.
    pub(super) head: Duration,
    /// Between two writes that the client accepts, and for the rest of a request after its response.
    pub(super) stall: Duration,
}

/// Longest head of a request, in bytes. Many clients may send one at the same time.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most bytes read ahead while a response is in progress.
const MAX_AHEAD_BYTES: usize = 16 * 1024;
const HEAD_TOO_LARGE: &str = "the request line and headers are larger than 64 KiB";
const HEAD_TOO_LARGE_RESPONSE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 53\r\nconnection: close\r\n\
    x-cache: MISS\r\ncache-status: caching-proxy\r\n\r\n\
    The request line and headers are larger than 64 KiB.\n";

impl ClientIo {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        // Small writes go out at once. The connection also works where the option cannot be set.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            connection: Connection::default(),
            limits,
            bounds: RequestBounds::head(),
            requests: 0,
            ahead: BytesMut::new(),
            departure: Departure::default(),
            interim: Bytes::new(),
            outgoing: None,
            responded_early: false,
            rest_timer: None,
            head_bytes: 0,
            head_timer: None,
            stall_timer: None,
        }
    }

    /// The state that this stream shares with the handler.
    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// Updates `bounds` by the progress of the handler.
    fn follow_handler(&mut self) {
        if matches!(self.bounds, RequestBounds::Decoding)
            && self.connection.requests() > self.requests
        {
            self.requests = self.connection.requests();
            self.head_timer = None;
            self.bounds = RequestBounds::after_head(self.connection.framing());
        }
        if matches!(
            self.bounds,
            RequestBounds::Sized(_) | RequestBounds::Chunked(_)
        ) && !self.connection.is_responding()
        {
            self.responded_early = true;
        }
    }

    /// What actix-http may read next; pending while it may read nothing.
    fn poll_next_read(&mut self) -> Poll<NextRead> {
        self.follow_handler();
        if matches!(self.bounds, RequestBounds::Complete) && !self.connection.is_responding() {
            if self.responded_early {
                return Poll::Ready(NextRead::End);
            }
            self.bounds = RequestBounds::head();
            self.head_bytes = 0;
        }
        match self.bounds {
            RequestBounds::Decoding | RequestBounds::Complete => Poll::Pending,
            _ => Poll::Ready(NextRead::Bytes),
        }
    }

    /// Refuses a head that is too long. actix-http's own limit is twice as high.
    fn limit_head(&mut self, own: usize) -> io::Result<()> {
        self.head_bytes += own;
        if self.head_bytes <= MAX_HEAD_BYTES {
            return Ok(());
        }
        // Nothing else is being written, unless the client has not read the last response.
        if self.stall_timer.is_none() {
            let _ = self.stream.try_write(HEAD_TOO_LARGE_RESPONSE);
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

    /// Leaves in `buffer` what belongs to this request. The rest goes into `ahead`.
    fn pass_on(&mut self, buffer: &mut ReadBuf<'_>, filled: usize) -> io::Result<()> {
        let read = &buffer.filled()[filled..];
        let is_head = matches!(self.bounds, RequestBounds::Head(_));
        let own = self.bounds.take(read);
        if matches!(self.bounds, RequestBounds::Lost) {
            let kind = io::ErrorKind::InvalidData;
            return Err(io::Error::new(
                kind,
                "the chunked coding of the request's body is invalid",
            ));
        }
        if own < read.len() {
            let rest = self.ahead.split();
            self.ahead.extend_from_slice(&read[own..]);
            self.ahead.unsplit(rest);
            buffer.set_filled(filled + own);
        }
        // actix-http limits the first head itself. Most others arrive in one piece and need no timer.
        match self.bounds {
            RequestBounds::Head(_) if self.requests > 0 && self.head_timer.is_none() => {
                self.head_timer = Some(Box::pin(sleep(self.limits.head)));
            }
            RequestBounds::Head(_) => {}
            _ => self.head_timer = None,
        }
        match is_head {
            true => self.limit_head(own),
            false => Ok(()),
        }
    }

    fn poll_rest_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.rest_timer {
            Some(limit) => limit.as_mut().poll(context).map(|()| {
                Err(timed_out(
                    "the client did not complete its request in time after the response",
                ))
            }),
            None => Poll::Pending,
        }
    }

    fn poll_head_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.head_timer {
            Some(limit) => limit.as_mut().poll(context).map(|()| {
                Err(timed_out(
                    "the client did not complete the head of its request in time",
                ))
            }),
            None => Poll::Pending,
        }
    }

    /// Writes the interim responses that have arrived. Nothing else may be written until they are complete.
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
            self.stall_timer = None;
        }
    }

    /// Logs a response that actix-http makes itself, to an invalid head or one that did not arrive in time. While a head
    /// arrives, the only other bytes written are the end of the previous response, which the condition excludes.
    fn log_error_response(&self, bytes: &[u8]) {
        let is_unread = self.head_bytes > 0
            && matches!(
                self.bounds,
                RequestBounds::Head(_) | RequestBounds::Decoding
            )
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
                    StatusCode::REQUEST_TIMEOUT => "the request headers did not arrive in time",
                    _ => "not an HTTP/1.1 request",
                },
            );
        }
    }

    /// Writes what must precede the bytes of actix-http.
    fn poll_preceding(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(context))?;
        self.poll_rest_of_body(context)
    }

    fn limit_stall<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall_timer = None;
            return polled;
        }
        let limit = self.limits.stall;
        let stall = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(sleep(limit)));
        stall
            .as_mut()
            .poll(context)
            .map(|()| Err(timed_out("the client does not read its response")))
    }
}

/// What actix-http may read next.
enum NextRead {
    /// Bytes from the client.
    Bytes,
    /// The end of the connection.
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
        match self.poll_next_read() {
            Poll::Ready(NextRead::Bytes) => {}
            Poll::Ready(NextRead::End) => return Poll::Ready(Ok(())),
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
            Poll::Ready(Ok(())) => Poll::Ready(self.pass_on(buffer, filled)),
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
        let polled = match self.poll_preceding(context) {
            Poll::Ready(Ok(())) => {
                let polled = self.poll_head(context, bytes);
                if polled.is_ready() {
                    self.log_error_response(bytes);
                }
                polled
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.limit_stall(polled, context)
    }

    /// actix-http calls this whenever its task runs and it has nothing left to write. So interim responses are written here
    /// while the handler has no response yet, and the time limit for the rest of an answered request begins here.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed(context.waker());
        self.follow_handler();
        if self.responded_early && self.rest_timer.is_none() {
            self.rest_timer = Some(Box::pin(sleep(self.limits.stall)));
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
        // The body holds the connection: without this they would keep each other alive.
        drop(self.connection.take_zero_copy());
        if self.connection.is_broken() {
            // A reset, so that the client does not mistake the end of the connection for the end of the body.
            let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
        }
    }
}
