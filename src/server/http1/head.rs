//! Waits for the head of the next request.

use std::{
    future::{Future as _, poll_fn},
    io, mem,
    pin::pin,
    task::{Context, Poll},
};

use actix_http::{HttpMessage as _, Request};
use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use super::{
    super::{
        own_names::OwnNames,
        request_head::{self, ConnectionFields, HeadRefusal, HeadScan, MAX_HEAD_BYTES},
    },
    Http1,
};

/// How much room is made for a head, in bytes.
pub(super) const HEAD_ROOM: usize = 4 * 1024;

/// What came in the place of the next head.
pub(super) enum NextHead {
    /// A head, with the empty lines before it and the one that ends it.
    Complete(Bytes),
    /// What arrived of a head that is refused; empty if it says nothing.
    Refused(HeadRefusal, Bytes),
    /// Nothing: the client has left or was idle for too long, or the proxy stops.
    End,
}

impl<S> Http1<S> {
    /// Waits for the next head.
    ///
    /// # Errors
    /// The connection was reset.
    pub(super) async fn next_head(&mut self) -> io::Result<NextHead> {
        let mut scan = HeadScan::default();
        let mut scanned = 0;
        loop {
            let end = scan.end(&self.input[scanned..]);
            if let Some(end) = end {
                let head = self.input.split_to(scanned + end).freeze();
                return Ok(match head.len() > MAX_HEAD_BYTES {
                    true => NextHead::Refused(HeadRefusal::TooLarge, Bytes::new()),
                    false => NextHead::Complete(head),
                });
            }
            if self.input.len() > MAX_HEAD_BYTES {
                return Ok(NextHead::Refused(HeadRefusal::TooLarge, Bytes::new()));
            }
            if request_head::is_tls(self.input.iter().copied()) {
                return Ok(NextHead::Refused(HeadRefusal::Tls, Bytes::new()));
            }
            let had_begun = has_begun(&self.input[..scanned]);
            scanned = self.input.len();
            let has_begun = has_begun(&self.input);
            if has_begun && !had_begun {
                self.deadline.restart(self.service.limits.head);
            }
            match poll_fn(|context| self.poll_head_bytes(context)).await {
                HeadBytes::Read(Ok(1..)) => {}
                HeadBytes::Read(Ok(0)) | HeadBytes::Stopping => return Ok(NextHead::End),
                HeadBytes::Read(Err(error)) => return Err(error),
                HeadBytes::Late if has_begun => {
                    return Ok(NextHead::Refused(
                        HeadRefusal::Late,
                        self.input.split().freeze(),
                    ));
                }
                HeadBytes::Late => return Ok(NextHead::End),
            }
        }
    }

    fn poll_head_bytes(&mut self, context: &mut Context<'_>) -> Poll<HeadBytes> {
        if let Poll::Ready(read) = self.poll_read(context, HEAD_ROOM) {
            return Poll::Ready(HeadBytes::Read(read));
        }
        if self.poll_stopping(context).is_ready() {
            return Poll::Ready(HeadBytes::Stopping);
        }
        self.deadline.poll(context).map(|()| HeadBytes::Late)
    }

    /// Ready when the proxy begins to stop.
    fn poll_stopping(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let stopping = self.stopping.get_or_insert_with(|| {
            let signal = self.service.stopping.clone();
            Box::pin(async move { signal.notified().await })
        });
        stopping.as_mut().poll(context)
    }

    /// Reads what has arrived into the input. 0 is the end of what the client sends.
    /// `room` is how many bytes the input is made to have room for when it is almost full.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        if self.input.capacity() == 0 {
            self.input = self.service.input_buffers.take();
        }
        if self.input.capacity() - self.input.len() < room / 4 {
            self.input.reserve(room);
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(context);
        if self.input.is_empty() {
            self.service.input_buffers.give(mem::take(&mut self.input));
        }
        read
    }

    /// The request with this head. Its body is still to come.
    ///
    /// # Errors
    /// The head is refused.
    pub(super) fn request(&self, head: &Bytes) -> Result<(Request, ConnectionFields), HeadRefusal> {
        let (mut request, fields, lines) = request_head::request(head, |scheme, authority| {
            OwnNames::new(&self.stream, self.service.any_name).include(scheme, authority)
        })?;
        request.head_mut().peer_addr = Some(self.peer);
        self.connection.receive_header_lines(lines);
        request.extensions_mut().insert(self.connection.clone());
        Ok((request, fields))
    }
}

/// What ended the wait for bytes of a head.
enum HeadBytes {
    Read(io::Result<usize>),
    Late,
    Stopping,
}

/// True if `head` is more than the empty lines that may precede a request.
fn has_begun(head: &[u8]) -> bool {
    !head.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}
