//! Writes stored bodies from where they lie in memory, after the heads that actix-http writes.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite as _;

use super::ClientIo;
use crate::proxy::ZeroCopyBody;

/// Most pieces in one write; most pieces are 128 KiB.
const MAX_PIECES: usize = 16;
/// Most writes to one client in a row, so that other clients do not wait too long.
const MAX_WRITES: usize = 4;

/// A body that is being written.
pub(super) struct OutgoingBody {
    body: Box<ZeroCopyBody>,
    /// Its head is written: nothing may be written before the rest of it.
    head_written: bool,
}

impl ClientIo {
    /// Takes the body that the handler has prepared, if there is one.
    fn take_outgoing(&mut self) {
        if self.outgoing.is_none()
            && let Some(body) = self.connection.take_zero_copy()
        {
            self.outgoing = Some(OutgoingBody {
                body,
                head_written: false,
            });
        }
    }

    /// Writes the rest of a body whose head is written.
    pub(super) fn poll_rest_of_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.outgoing {
            Some(outgoing) if outgoing.head_written => self.poll_outgoing(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes `head`, and with it as much of the body after it as possible. Returns how much of `head` was written.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        head: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take_outgoing();
        let stream = Pin::new(&mut self.stream);
        let Some(outgoing) = &mut self.outgoing else {
            return stream.poll_write(context, head);
        };
        let mut pieces = [IoSlice::new(&[]); 1 + MAX_PIECES];
        pieces[0] = IoSlice::new(head);
        let count = outgoing.body.fill_io_slices(&mut pieces[1..]);
        let written = ready!(stream.poll_write_vectored(context, &pieces[..=count]))?;
        let Some(body_bytes) = written.checked_sub(head.len()) else {
            return Poll::Ready(Ok(written));
        };
        outgoing.head_written = true;
        self.count_written(context, body_bytes);
        Poll::Ready(Ok(head.len()))
    }

    /// Writes the body, after a head that is already written.
    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_outgoing();
        match &mut self.outgoing {
            Some(outgoing) => outgoing.head_written = true,
            None => return Poll::Ready(Ok(())),
        }
        self.poll_outgoing(context)
    }

    fn poll_outgoing(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..MAX_WRITES {
            let Some(outgoing) = &self.outgoing else {
                return Poll::Ready(Ok(()));
            };
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            let count = outgoing.body.fill_io_slices(&mut pieces);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &pieces[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.stall_timer = None;
            self.count_written(context, written);
        }
        if self.outgoing.is_none() {
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts `written` bytes of the body, and ends it after the last.
    fn count_written(&mut self, context: &Context<'_>, written: usize) {
        let Some(outgoing) = &mut self.outgoing else {
            return;
        };
        outgoing.body.written(written);
        if outgoing.body.is_complete() {
            if outgoing.body.is_awaited() {
                context.waker().wake_by_ref();
            }
            self.connection.zero_copy_sent();
            self.outgoing = None;
        }
    }
}
