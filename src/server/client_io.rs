//! A client's connection, with the limits that actix-http does not have.
//!
//! actix-http limits the time for the first head of a connection and the time between requests. Here are the others:
//! the head of every later request, and a client that does not take what it asked for.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::time::{Sleep, sleep};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{policy::RequestContent, proxy::Connection};

/// The stream of one client, with its limits.
pub(super) struct ClientIo {
    stream: TcpStream,
    connection: Connection,
    limits: Limits,
    head: Option<Deadline>,
    stall: Option<Deadline>,
    /// Whether the bytes read so far end as a head ends.
    ends_head: bool,
}

/// How long a client may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte.
    pub(super) head: Duration,
    /// Between two pieces that it takes of an answer.
    pub(super) stall: Duration,
}

struct Deadline {
    sleep: Pin<Box<Sleep>>,
    /// How many requests the connection had brought when the head began to arrive.
    requests: u64,
}

impl ClientIo {
    pub(super) fn new(stream: TcpStream, limits: Limits) -> Self {
        // Answers leave at once. Where the option can not be set the connection works all the same.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            connection: Connection::default(),
            limits,
            head: None,
            stall: None,
            ends_head: true,
        }
    }

    /// What the handler knows the connection by.
    pub(super) fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// The first head has a limit in actix-http; while an answer is under way nothing is expected.
    fn awaits_later_head(&self) -> bool {
        self.connection.requests() > 0 && !self.connection.is_answering()
    }

    /// True when a part of a head came together with the request before it.
    fn holds_part_of_head(&self) -> bool {
        !self.ends_head
            && self.awaits_later_head()
            && self.connection.last_content() == RequestContent::None
    }

    fn limit_head(&mut self) {
        let requests = self.connection.requests();
        if self
            .head
            .as_ref()
            .is_none_or(|deadline| deadline.requests != requests)
        {
            self.head = Some(Deadline {
                sleep: Box::pin(sleep(self.limits.head)),
                requests,
            });
        }
    }

    fn poll_head_limit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.holds_part_of_head() {
            self.limit_head();
        }
        let requests = self.connection.requests();
        match &mut self.head {
            Some(deadline) if deadline.requests == requests => {
                deadline.sleep.as_mut().poll(context)
            }
            _ => {
                self.head = None;
                Poll::Pending
            }
        }
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
        let deadline = self.stall.get_or_insert_with(|| Deadline {
            sleep: Box::pin(sleep(limit)),
            requests: 0,
        });
        match deadline.sleep.as_mut().poll(context) {
            Poll::Ready(()) => {
                Poll::Ready(Err(timed_out("the client takes nothing of its answer")))
            }
            Poll::Pending => Poll::Pending,
        }
    }
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
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() {
            return match self.poll_head_limit(context) {
                Poll::Ready(()) => Poll::Ready(Err(timed_out(
                    "the client does not complete its request's head",
                ))),
                Poll::Pending => Poll::Pending,
            };
        }
        if let Some(read) = buffer
            .filled()
            .get(filled..)
            .filter(|read| !read.is_empty())
        {
            self.ends_head = read.ends_with(b"\n\r\n") || read.ends_with(b"\n\n");
            if self.awaits_later_head() {
                self.limit_head();
            }
        }
        polled
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit_stall(polled, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An answer ends with a flush. If a part of the next head is here already, nothing else starts its limit; once
        // passed, it is found when the task reads.
        let _ = self.poll_head_limit(context);
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
