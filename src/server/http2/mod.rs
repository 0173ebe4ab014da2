//! HTTP/2 with one client: many requests at a time, each in a stream of its own.
//!
//! `h2` has the frames, their compression and the windows. Above it, each request is written as a head of HTTP/1.1 and goes
//! through the same checks as one of HTTP/1.1. One task has a connection and all its streams, so these end with it.
//!
//! What a client can make this proxy keep is bounded: requests at a time, the size of heads, bytes of requests that the
//! application has not read, and bytes of responses that the client has not taken. A client that reads one response slowly
//! stalls that response alone.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the connection, and its streams |
//! | `stream` | a request, and its response |
//! | `request_text` | the head of a request as HTTP/1.1 |
//! | `response_fields`, `fields` | the head of a response, and of interim responses |
//! | `content_sender`, `output_credit` | the body of a response, and how much of all bodies may wait |
//! | `wire` | the bytes beneath the frames |
//! | `frame_filter`, `path_encoding`, `hpack` | encode characters in paths that `h2` refuses |
//! | `frame_watch`, `reset_watch` | notice clients that send too many frames without use, or reset too many requests |

mod content_sender;
mod fields;
mod frame_filter;
mod frame_watch;
mod hpack;
mod output_credit;
mod path_encoding;
mod request_text;
mod reset_watch;
mod response_fields;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::Request;
use actix_rt::time::{Instant, Sleep, sleep, timeout};
use actix_service::Service;
use actix_web::{body::MessageBody, dev::ServiceResponse};
use bytes::BytesMut;
use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use h2::{Reason, server};
use tokio::io::{AsyncRead, AsyncWrite};

use self::{
    output_credit::{OutputCredit, OutputPiece},
    reset_watch::ResetWatch,
    stream::{StreamContext, StreamEnd},
    wire::Wire,
};
use super::{client_service::ClientService, deadline::Deadline, stop_signal::StopSignal};
use crate::proxy::ClientScheme;

/// Most requests of one client at a time.
const MAX_STREAMS: u32 = 128;
/// Largest head of a request, with what RFC 9113, 6.5.2 adds to each field, in bytes.
const MAX_HEAD_BYTES: u32 = 64 * 1024;
/// How many bytes of one request the client may send before the application reads them.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same of all requests.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How many bytes of one response wait to be written, at most.
const MAX_STREAM_OUTPUT: usize = 256 * 1024;
/// How many streams are remembered that were reset by this proxy, and by the client before they were looked at.
const MAX_RESET_STREAMS: usize = 64;
/// How many errors in streams end the connection.
const MAX_STREAM_ERRORS: usize = 256;
/// How often the task of a connection goes round before other connections have their turn.
const MAX_ROUNDS: usize = 4;
/// The same for requests that it takes in one round.
const MAX_IN_A_ROW: usize = 32;
/// How long a connection that ends waits for the client's part of it.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection until it ends. `read` was read from it already.
///
/// # Errors
/// The client has left, a time limit has passed, or what the client sends is not HTTP/2.
pub(super) async fn serve<S, B, T>(
    service: Rc<ClientService<S>>,
    stream: T,
    (peer, scheme): (SocketAddr, ClientScheme),
    read: BytesMut,
) -> io::Result<()>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let limits = service.limits;
    let wire = Wire::new(
        stream,
        read,
        Rc::clone(&service.output_buffers),
        limits.stall,
    );
    let signal = service.stopping.clone();
    let h2 = handshake(&wire, limits.head, &signal).await?;
    let below = wire.clone();
    let connection = Http2 {
        h2,
        wire,
        streams: FuturesUnordered::new(),
        idle: Deadline::after(limits.idle),
        idle_limit: limits.idle,
        stopping: Some(Box::pin(async move { signal.no_more_wanted().await })),
        linger: None,
        unsent: None,
        is_ending: false,
        resets: ResetWatch::new(Instant::now()),
        context: Rc::new(StreamContext {
            service,
            peer,
            scheme,
            credit: OutputCredit::default(),
            head: RefCell::default(),
            spare: RefCell::default(),
        }),
    };
    let ended = connection.run().await;
    if ended.is_ok() {
        // The client has been told; how its side ends does not matter.
        let _ = timeout(LINGER, below.discard_rest()).await;
    }
    if let Err(error) = &ended {
        match error.kind() {
            io::ErrorKind::InvalidData => {
                log::info!("closed an HTTP/2 connection from {}: {error}", peer.ip());
            }
            _ => log::debug!("closed an HTTP/2 connection from {}: {error}", peer.ip()),
        }
    }
    ended
}

/// The limits of each connection. `frame_filter` relies on those that are left as they are in `h2`: for the size of a frame, and
/// of the table of fields.
fn settings() -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(MAX_STREAM_OUTPUT)
        .max_concurrent_reset_streams(MAX_RESET_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(Some(MAX_STREAM_ERRORS));
    builder
}

/// Exchanges the first frames, within `limit` and before `stopping`.
async fn handshake<T: AsyncRead + AsyncWrite + Unpin>(
    wire: &Wire<T>,
    limit: Duration,
    stopping: &StopSignal,
) -> io::Result<server::Connection<Wire<T>, OutputPiece>> {
    let mut handshake = settings().handshake(wire.clone());
    let mut stopping = pin!(stopping.notified());
    let shaken = poll_fn(|context| {
        let shaken = Pin::new(&mut handshake).poll(context);
        match wire.poll_write_collected(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ if shaken.is_pending() && stopping.as_mut().poll(context).is_ready() => {
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
            _ => shaken.map_err(io_error),
        }
    });
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    timeout(limit, shaken).await.map_err(late)?
}

/// A connection that is served.
struct Http2<S, T> {
    h2: server::Connection<Wire<T>, OutputPiece>,
    wire: Wire<T>,
    streams: FuturesUnordered<LocalBoxFuture<'static, StreamEnd>>,
    context: Rc<StreamContext<S>>,
    /// Runs while there are no streams.
    idle: Deadline,
    idle_limit: Duration,
    /// Resolves when no more requests are wanted here; `None` once it has.
    stopping: Option<LocalBoxFuture<'static, ()>>,
    /// Runs when the connection ends, while there are no streams; `None` at other times.
    linger: Option<Pin<Box<Sleep>>>,
    /// Runs while no stream is left and the client takes no bytes, with how many pieces were written when it began; `None` at
    /// other times.
    unsent: Option<(u64, Pin<Box<Sleep>>)>,
    /// The client was told to make no more requests here.
    is_ending: bool,
    resets: ResetWatch,
}

impl<S, B, T> Http2<S, T>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
    T: AsyncRead + AsyncWrite + Unpin,
{
    async fn run(mut self) -> io::Result<()> {
        poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rounds = 0;
        let mut has_ended = false;
        while !has_ended
            && (self.poll_requests(context, &mut has_ended)? | self.poll_streams(context))
        {
            rounds += 1;
            if rounds == MAX_ROUNDS {
                context.waker().wake_by_ref();
                break;
            }
        }
        match self.wire.poll_write_collected(context) {
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) if has_ended => return Poll::Ready(Ok(())),
            _ => {}
        }
        self.poll_end(context)
    }

    /// Takes the requests that have arrived. Returns true if there were any. Sets `has_ended` at the end of the connection.
    fn poll_requests(
        &mut self,
        context: &mut Context<'_>,
        has_ended: &mut bool,
    ) -> io::Result<bool> {
        let mut has_any = false;
        for _ in 0..MAX_IN_A_ROW {
            let accepted = self.h2.poll_accept(context);
            if let Some(problem) = self.abuse() {
                return Err(self.refuse_more(context, problem));
            }
            match accepted {
                Poll::Pending => return Ok(has_any),
                Poll::Ready(None) => {
                    *has_ended = true;
                    return Ok(false);
                }
                Poll::Ready(Some(Err(error))) => return Err(io_error(error)),
                Poll::Ready(Some(Ok((request, client)))) => {
                    if !std::mem::replace(&mut has_any, true) {
                        self.idle.restart(self.idle_limit);
                    }
                    let shared = Rc::clone(&self.context);
                    let mut stream: LocalBoxFuture<'static, StreamEnd> =
                        Box::pin(stream::respond(shared, request, client));
                    // Most hits are responded to at once, and need no task of their own.
                    match stream.as_mut().poll(context) {
                        Poll::Ready(end) => self.stream_ended(end),
                        Poll::Pending => self.streams.push(stream),
                    }
                }
            }
        }
        Ok(has_any)
    }

    /// Goes on with the requests in progress. Returns true if any has ended.
    fn poll_streams(&mut self, context: &mut Context<'_>) -> bool {
        let mut has_any = false;
        while let Poll::Ready(Some(end)) = self.streams.poll_next_unpin(context) {
            has_any = true;
            self.stream_ended(end);
        }
        if has_any {
            self.idle.restart(self.idle_limit);
        }
        has_any
    }

    fn stream_ended(&mut self, end: StreamEnd) {
        if end == StreamEnd::Left {
            self.resets.left(Instant::now());
        }
    }

    /// Why the connection ends because of what the client does too often; `None` if it does not.
    fn abuse(&self) -> Option<String> {
        let frames = self.wire.flood();
        let frames = frames.map(|name| format!("the client sends too many {name} frames"));
        let resets = self.resets.are_too_many();
        frames.or_else(|| resets.then(|| "the client resets too many requests".to_owned()))
    }

    /// Tells the client to stop, and ends the connection.
    fn refuse_more(&mut self, context: &mut Context<'_>, problem: String) -> io::Error {
        self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        // The client is told if it reads; it is not waited for.
        let _ = self.h2.poll_closed(context);
        let _ = self.wire.poll_write_collected(context);
        io::Error::new(io::ErrorKind::InvalidData, problem)
    }

    /// Ends the connection when it is idle for too long, or when the proxy stops. Requests in progress go on.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            self.stopping = None;
            self.begin_end(context);
        }
        if !self.streams.is_empty() {
            (self.linger, self.unsent) = (None, None);
            return Poll::Pending;
        }
        if let Some(written) = self.context.credit.progress() {
            return self.poll_unsent(context, written);
        }
        self.unsent = None;
        if self.wire.has_collected() {
            // That has a time limit of its own.
            return Poll::Pending;
        }
        if !self.is_ending {
            if self.idle.poll(context).is_pending() {
                return Poll::Pending;
            }
            self.begin_end(context);
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        linger.as_mut().poll(context).map(Ok)
    }

    /// Waits for the client to take the last bytes of responses, of which `written` pieces were written so far. Fails if it
    /// takes none for too long.
    fn poll_unsent(&mut self, context: &mut Context<'_>, written: u64) -> Poll<io::Result<()>> {
        self.idle.restart(self.idle_limit);
        let limit = self.context.service.limits.stall;
        let start = || (written, Box::pin(sleep(limit)));
        let (before, timer) = self.unsent.get_or_insert_with(start);
        loop {
            ready!(timer.as_mut().poll(context));
            if std::mem::replace(before, written) == written {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(Instant::now() + limit);
        }
    }

    /// Tells the client to make no more requests here.
    fn begin_end(&mut self, context: &Context<'_>) {
        self.is_ending = true;
        self.h2.graceful_shutdown();
        context.waker().wake_by_ref();
    }
}

fn io_error(error: h2::Error) -> io::Error {
    match error.is_io() {
        true => error
            .into_io()
            .unwrap_or_else(|| io::ErrorKind::Other.into()),
        false => io::Error::new(io::ErrorKind::InvalidData, error),
    }
}
