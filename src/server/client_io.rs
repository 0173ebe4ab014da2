//! A client's connection beneath actix-http: one request at a time, with limits of its own.
//!
//! actix-http's own timers are off: it takes a connection for idle while a body is still being written beneath it. This
//! stream limits the time between requests, for each head, and for a client that does not read its response. It passes a
//! head on when it is complete and checked. It also writes interim responses and zero-copy bodies, which actix-http does
//! not support.

mod body;
mod departure;
mod head;
mod refusal;
#[cfg(test)]
mod tests;
mod tunnel;

use std::{
    future::Future as _,
    io,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::{Sleep, sleep};
use actix_server::GracefulShutdownSignal;
use bytes::{Buf as _, Bytes, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub(super) use self::refusal::LINGER;
use self::{
    body::OutgoingBody,
    departure::Departure,
    refusal::{Lingering, RefusedHead},
};
use super::{own_names::OwnNames, request_bounds::RequestBounds};
use crate::proxy::{Connection, RefusalLog, Tunnel};

/// The stream of one client, as actix-http reads and writes it.
pub(super) struct ClientIo {
    stream: TcpStream,
    connection: Connection,
    names: OwnNames,
    limits: Limits,
    /// The address of the client; `None` if it is not known.
    peer: Option<IpAddr>,
    refusals: Rc<RefusalLog>,
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
    /// The tunnel that the connection has become; `None` before that, and after its end.
    tunnel: Option<Box<Tunnel>>,
    stopping: GracefulShutdownSignal,
    /// The response was complete before its request was. It has announced the end of the connection.
    responded_early: bool,
    /// Limits the rest of such a request: actix-http would read a chunked one for as long as it lasts.
    rest_timer: Option<Pin<Box<Sleep>>>,
    /// The head that arrives, as long as it is not complete; empty if it arrives in one piece.
    head: Vec<u8>,
    /// What is left to pass on of a complete head that did not arrive in one piece, or was rewritten.
    passing: Bytes,
    /// `None` as long as no head was refused.
    refused: Option<RefusedHead>,
    /// The client may still send, and should get its last response all the same.
    lingers: bool,
    lingering: Lingering,
    /// Runs while a request is awaited, and starts again when its head begins.
    request_timer: Pin<Box<Sleep>>,
    /// Runs while the client does not read.
    stall_timer: Option<Pin<Box<Sleep>>>,
}

/// Time limits for a client.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte; for the first request also until then.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Between two writes that the client accepts, and for the rest of a request after its response.
    pub(super) stall: Duration,
}

/// Most bytes read ahead while a response is in progress.
const MAX_AHEAD_BYTES: usize = 16 * 1024;
impl ClientIo {
    /// `ahead` was read from `stream` already, and `peer` is on its other side, if that is known. With `any_name` a URL of any
    /// host is one of this proxy.
    pub(super) fn new(
        (stream, peer): (TcpStream, Option<IpAddr>),
        any_name: bool,
        limits: Limits,
        (refusals, stopping): (Rc<RefusalLog>, GracefulShutdownSignal),
        ahead: BytesMut,
    ) -> Self {
        // Small writes go out at once. The connection also works where the option cannot be set.
        let _ = stream.set_nodelay(true);
        Self {
            names: OwnNames::new(&stream, any_name),
            stream,
            peer,
            connection: Connection::default(),
            limits,
            refusals,
            bounds: RequestBounds::head(),
            requests: 0,
            ahead,
            departure: Departure::default(),
            interim: Bytes::new(),
            outgoing: None,
            tunnel: None,
            stopping,
            responded_early: false,
            rest_timer: None,
            head: Vec::new(),
            passing: Bytes::new(),
            refused: None,
            lingers: false,
            lingering: Lingering::default(),
            request_timer: Box::pin(sleep(limits.head)),
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
        self.await_next_request();
        if matches!(self.bounds, RequestBounds::Complete) && !self.connection.is_responding() {
            return Poll::Ready(NextRead::End);
        }
        match self.bounds {
            RequestBounds::Decoding | RequestBounds::Complete => Poll::Pending,
            RequestBounds::Lost => Poll::Ready(NextRead::End),
            _ => Poll::Ready(NextRead::Bytes),
        }
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
        let is_head = matches!(self.bounds, RequestBounds::Head(_));
        let read = &buffer.filled()[filled..];
        let own = self.bounds.take(read);
        if matches!(self.bounds, RequestBounds::Lost) {
            // The handler gets the end of the body, and says what is wrong with it.
            self.connection.set_body_malformed();
            self.lingers = true;
            buffer.set_filled(filled);
            return Ok(());
        }
        if own < read.len() {
            let rest = self.ahead.split();
            self.ahead.extend_from_slice(&read[own..]);
            self.ahead.unsplit(rest);
            buffer.set_filled(filled + own);
        }
        match is_head {
            true => self.pass_head_on(buffer, filled),
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
        if self.is_tunnel() {
            return Poll::Pending;
        }
        if self.refused.is_some() {
            return self.poll_refused(context);
        }
        if !self.passing.is_empty() {
            self.pass_rest_of_head_on(buffer);
            return Poll::Ready(Ok(()));
        }
        match self.poll_next_read() {
            Poll::Ready(NextRead::Bytes) => {}
            Poll::Ready(NextRead::End) => return Poll::Ready(Ok(())),
            Poll::Pending => {
                return self.poll_departure(context);
            }
        }
        if let Poll::Ready(failed) = self.poll_rest_limit(context) {
            return Poll::Ready(failed);
        }
        loop {
            match self.poll_bytes(context, buffer) {
                Poll::Pending => return self.poll_request_limit(context),
                Poll::Ready(Ok(())) if buffer.filled().len() > filled => {
                    self.pass_on(buffer, filled)?;
                }
                ended => return ended,
            }
            if self.refused.is_some() {
                return self.poll_refused(context);
            }
            self.pass_rest_of_head_on(buffer);
            let is_lost = matches!(self.bounds, RequestBounds::Lost);
            if is_lost || buffer.filled().len() > filled {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refused.is_none()
            && let Some(refusal) = self.replaced_refusal(bytes)
        {
            self.refuse(refusal, &[])?;
        }
        if self.refused.is_some() {
            // actix-http drops this stream when the response is written, so the end of the connection is awaited here.
            ready!(self.poll_refused(context))?;
            return self.poll_linger(context).map_ok(|()| bytes.len());
        }
        let polled = match self.poll_preceding(context) {
            Poll::Ready(Ok(())) => self.poll_head(context, bytes),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        };
        self.limit_stall(polled, context)
    }

    /// actix-http calls this whenever its task runs and it has nothing left to write. So interim responses are written here
    /// while the handler has no response yet, the time limit for the rest of an answered request begins here, and so does a
    /// tunnel.
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
        self.drive_tunnel(context);
        self.await_next_request();
        self.wake_after_request_limit(context);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_linger(context)
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
