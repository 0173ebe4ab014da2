//! The stream awc reads from and writes to: an origin's connection, with HTTP/1 seen to on the way.
//!
//! awc takes interim responses for final ones, ends of connections for ends of bodies, and waits for bodies that
//! 204 and 304 do not have. Here the origin's head is read and kept for the caller, and awc is given a head of our
//! own instead that says nothing but the framing, in the form awc gets right:
//!
//! | origin's body           | awc is told              |
//! |-------------------------|--------------------------|
//! | none, or of length 0    | `204`                    |
//! | Content-Length          | `content-length`         |
//! | chunked                 | `transfer-encoding`      |
//! | until close             | HTTP/1.0 without a length |
//!
//! The body then passes as it came, followed to its end; an early end is an error. The upload does not go through
//! awc, which would hold it back until 8 KiB have gathered and would not look at the answer meanwhile: it is driven
//! from here, whenever awc reads.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::net::{ActixStream, Ready};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{
    error::OriginError,
    exchange::{Afterwards, Exchange, Plan},
    framing::{Follower, Head, Persistence},
    heads::{self, HeadSearch},
    idle::Parking,
    stream::OriginStream,
    upload::{Progress, Stopped},
};

/// A connection to the origin as awc sees it.
pub(super) struct OriginIo {
    /// None between exchanges, and once the connection must not be used again.
    stream: Option<OriginStream>,
    /// Where the stream is between exchanges.
    parking: Parking,
    /// Exchanges begun.
    served: u64,
    state: State,
    /// The request's head as awc writes it.
    request_head: BytesMut,
    /// Read from the origin and not passed on: the head while it is not whole, then what came behind it.
    received: BytesMut,
    /// Our own head for awc.
    framing_head: Bytes,
}

enum State {
    /// Between exchanges.
    Idle,
    /// Before the final response's head.
    Head {
        exchange: Exchange,
        plan: Plan,
        search: HeadSearch,
    },
    /// Within the response's body.
    Body {
        exchange: Exchange,
        follower: Follower,
        afterwards: Afterwards,
    },
}

impl OriginIo {
    pub(super) fn new(stream: OriginStream, idle_limit: Duration) -> Self {
        Self {
            stream: Some(stream),
            parking: Parking::new(idle_limit),
            served: 0,
            state: State::Idle,
            request_head: BytesMut::new(),
            received: BytesMut::new(),
            framing_head: Bytes::new(),
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        match &self.state {
            State::Idle => None,
            State::Head { exchange, .. } | State::Body { exchange, .. } => Some(exchange),
        }
    }

    fn begin(&mut self) -> io::Result<()> {
        self.stream = self.stream.take().or_else(|| self.parking.leave());
        if self.stream.is_none() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let exchange = Exchange::current()
            .ok_or_else(|| io::Error::other("a request outside of any exchange"))?;
        let plan = exchange.begin(self.served);
        self.served += 1;
        self.framing_head.clear();
        self.state = State::Head {
            exchange,
            plan,
            search: HeadSearch::default(),
        };
        Ok(())
    }

    /// Ends the exchange by a failure, which closes the connection.
    fn fail(&mut self, failure: OriginError) -> io::Error {
        if let Some(exchange) = self.exchange() {
            exchange.fail(failure);
            exchange.with_upload(|upload| upload.abandon());
        }
        self.stream = None;
        self.state = State::Idle;
        self.received.clear();
        // awc's own reading of the error is not used; any error keeps it from pooling the connection.
        io::ErrorKind::UnexpectedEof.into()
    }

    /// Ends the exchange with a whole response.
    fn complete(&mut self, cx: &mut Context<'_>, afterwards: Afterwards) {
        let mut reusable = afterwards == Afterwards::Keep && self.received.is_empty();
        if let Some(exchange) = self.exchange() {
            // An upload that nobody waits for any more would be read as the next request.
            reusable &= exchange.upload_is_done();
            exchange.set_whole();
        }
        self.state = State::Idle;
        self.received.clear();
        match self.stream.take() {
            Some(stream) if reusable => self.parking.park(stream),
            Some(mut stream) => {
                // Tells TLS peers that this is the end and no attack; whoever does not take it at once misses it.
                let _ = Pin::new(&mut stream).poll_shutdown(cx);
            }
            None => {}
        }
    }

    /// Drives the upload, as far as it goes without waiting.
    fn drive_upload(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let (Some(exchange), Some(stream)) = (self.exchange().cloned(), self.stream.as_mut())
        else {
            return Ok(());
        };
        let mut wrote = false;
        let driven = exchange.with_upload(|upload| upload.drive(cx, stream, || wrote = true));
        if wrote {
            exchange.took();
        }
        match driven {
            Ok(progress) => exchange.set_awaits_client(progress == Progress::AwaitsClient),
            Err(Stopped::Client(source)) => return Err(self.fail(OriginError::Upload { source })),
            // The origin stopped reading; it may have said why.
            Err(Stopped::Origin(error)) => {
                log::debug!("the origin takes no more of the request: {error}");
                exchange.set_awaits_client(false);
                exchange.with_upload(|upload| upload.abandon());
                match &mut self.state {
                    State::Head {
                        plan: Plan { afterwards, .. },
                        ..
                    }
                    | State::Body { afterwards, .. } => *afterwards = Afterwards::Close,
                    State::Idle => {}
                }
            }
        }
        Ok(())
    }

    /// Reads into `buf`; answers how many bytes came.
    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        limit: u64,
    ) -> Poll<io::Result<usize>> {
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let before = buf.filled().len();
        ready!(Pin::new(&mut stream.take(limit)).poll_read(cx, buf))?;
        let count = buf.filled().len() - before;
        if count > 0
            && let Some(exchange) = self.exchange()
        {
            exchange.received();
        }
        Poll::Ready(Ok(count))
    }

    /// Reads until the final head is whole. `scratch` is room to read into; nothing stays there.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let State::Head { plan, search, .. } = &mut self.state else {
                return Poll::Ready(Ok(()));
            };
            match search.take(&mut self.received, &plan.method, plan.interim.as_ref()) {
                Ok(Some(head)) => {
                    self.accept(cx, head);
                    return Poll::Ready(Ok(()));
                }
                Ok(None) => {}
                Err(source) => {
                    return Poll::Ready(Err(self.fail(OriginError::Malformed { source })));
                }
            }
            let before = scratch.filled().len();
            match ready!(self.poll_stream(cx, scratch, u64::MAX)) {
                Ok(0) => return Poll::Ready(Err(self.fail(OriginError::cut()))),
                Ok(_) => {
                    self.received.extend_from_slice(&scratch.filled()[before..]);
                    scratch.set_filled(before);
                }
                Err(source) => return Poll::Ready(Err(self.fail(OriginError::Cut { source }))),
            }
        }
    }

    /// Takes the final head: keeps it for the caller and tells awc the framing.
    fn accept(&mut self, cx: &mut Context<'_>, head: Box<Head>) {
        let State::Head { exchange, plan, .. } = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        let mut afterwards = plan.afterwards;
        if head.persistence == Persistence::Close {
            afterwards = Afterwards::Close;
        }
        // RFC 9110, 10.1.1 and RFC 9112, 9.5: an error answer ends the upload; an origin that answers while it
        // reads, as an echo does, gets all of it.
        if (head.status.is_client_error() || head.status.is_server_error())
            && !exchange.upload_is_done()
        {
            exchange.with_upload(|upload| upload.abandon());
            exchange.set_awaits_client(false);
            afterwards = Afterwards::Close;
        }
        self.framing_head = heads::framing_head(head.framing);
        let follower = Follower::new(head.framing);
        exchange.set_head(head);
        self.state = State::Body {
            exchange,
            follower,
            afterwards,
        };
        if follower.is_done() {
            self.complete(cx, afterwards);
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let State::Body {
            mut follower,
            afterwards,
            ..
        } = self.state
        else {
            return Poll::Ready(Ok(()));
        };
        let before = buf.filled().len();
        if self.received.is_empty() {
            // What lies behind a body of known length stays unread, for the check before the next exchange to find.
            let limit = if let Follower::Length(left) = follower {
                left
            } else {
                u64::MAX
            };
            match ready!(self.poll_stream(cx, buf, limit)) {
                Ok(0) if buf.remaining() == 0 => return Poll::Ready(Ok(())),
                Ok(0) if follower == Follower::UntilClose => {
                    self.complete(cx, Afterwards::Close);
                    return Poll::Ready(Ok(()));
                }
                Ok(0) => return Poll::Ready(Err(self.fail(OriginError::cut()))),
                Ok(_) => {}
                Err(source) => return Poll::Ready(Err(self.fail(OriginError::Cut { source }))),
            }
        } else {
            let count = buf.remaining().min(self.received.len());
            buf.put_slice(&self.received[..count]);
            self.received.advance(count);
        }
        let count = buf.filled().len() - before;
        let used = match follower.feed(&buf.filled()[before..]) {
            Ok(used) => used,
            Err(source) => return Poll::Ready(Err(self.fail(OriginError::Malformed { source }))),
        };
        if let State::Body { follower: kept, .. } = &mut self.state {
            *kept = follower;
        }
        if follower.is_done() {
            // Surplus bytes answer no request of ours: they go nowhere, and neither does the connection.
            let surplus = used < count;
            buf.set_filled(before + used);
            self.complete(
                cx,
                if surplus {
                    Afterwards::Close
                } else {
                    afterwards
                },
            );
        }
        Poll::Ready(Ok(()))
    }

    /// awc asks before each reuse if the connection is still good: pending means yes.
    fn poll_idle(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if let Some(mut stream) = self.stream.take().or_else(|| self.parking.leave())
            && stream.is_quiet()
            && Pin::new(&mut stream).poll_read(cx, buf).is_pending()
        {
            // In use from here on, or dropped by awc.
            self.stream = Some(stream);
            return Poll::Pending;
        }
        buf.set_filled(before);
        Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
    }
}

impl AsyncRead for OriginIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.drive_upload(cx)?;
        if matches!(this.state, State::Head { .. }) {
            ready!(this.poll_head(cx, buf))?;
        }
        if !this.framing_head.is_empty() {
            let count = buf.remaining().min(this.framing_head.len());
            buf.put_slice(&this.framing_head.split_to(count));
            return Poll::Ready(Ok(()));
        }
        match this.state {
            State::Idle => this.poll_idle(cx, buf),
            State::Head { .. } | State::Body { .. } => this.poll_body(cx, buf),
        }
    }
}

impl AsyncWrite for OriginIo {
    /// awc writes nothing but heads of requests; the first byte begins an exchange.
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if matches!(this.state, State::Idle) {
            this.begin()?;
        }
        this.request_head.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let State::Head { exchange, plan, .. } = &this.state
            && !this.request_head.is_empty()
        {
            let head = heads::mended_request_head(this.request_head.split(), plan);
            exchange.with_upload(|upload| upload.push_head(head));
            this.drive_upload(cx)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Some(stream) => Pin::new(stream).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl ActixStream for OriginIo {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some(stream) => ActixStream::poll_read_ready(stream.tcp(), cx),
            None => Poll::Ready(Ok(Ready::READABLE)),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        match &self.stream {
            Some(stream) => ActixStream::poll_write_ready(stream.tcp(), cx),
            None => Poll::Ready(Ok(Ready::WRITABLE)),
        }
    }
}

impl fmt::Debug for OriginIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginIo")
            .field("stream", &self.stream)
            .field("served", &self.served)
            .finish_non_exhaustive()
    }
}
