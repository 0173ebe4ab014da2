//! Bodies that are written as they lie in memory, behind heads that come from actix-http.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite as _;

use super::ClientIo;
use crate::proxy::ZeroCopyBody;

/// How many pieces are written at once: mostly 128 KiB each.
const MAX_PIECES: usize = 16;
/// How often in a row one client is written to; then others have their turn.
const MAX_WRITES: usize = 4;

/// The body that is being written.
pub(super) struct Leaving {
    outgoing: Box<ZeroCopyBody>,
    /// Its head is out, so that nothing may come before the rest of it.
    begun: bool,
}

impl ClientIo {
    /// Takes up the body that was handed over.
    fn take_up(&mut self) {
        if self.leaving.is_none()
            && let Some(outgoing) = self.connection.take_zero_copy()
        {
            self.leaving = Some(Leaving {
                outgoing,
                begun: false,
            });
        }
    }

    /// Writes what is left of a body whose head is out.
    pub(super) fn poll_begun(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.leaving {
            Some(leaving) if leaving.begun => self.poll_leaving(context),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Writes `head`, and as much of the body that follows it as goes with it. Says how much of `head` was written.
    pub(super) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        head: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take_up();
        let stream = Pin::new(&mut self.stream);
        let Some(leaving) = &mut self.leaving else {
            return stream.poll_write(context, head);
        };
        let mut pieces = [IoSlice::new(&[]); 1 + MAX_PIECES];
        pieces[0] = IoSlice::new(head);
        let count = leaving.outgoing.fill_io_slices(&mut pieces[1..]);
        let written = ready!(stream.poll_write_vectored(context, &pieces[..=count]))?;
        let Some(of_body) = written.checked_sub(head.len()) else {
            return Poll::Ready(Ok(written));
        };
        leaving.begun = true;
        self.note(context, of_body);
        Poll::Ready(Ok(head.len()))
    }

    /// Writes the body that follows what is out already.
    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.take_up();
        match &mut self.leaving {
            Some(leaving) => leaving.begun = true,
            None => return Poll::Ready(Ok(())),
        }
        self.poll_leaving(context)
    }

    fn poll_leaving(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..MAX_WRITES {
            let Some(leaving) = &self.leaving else {
                return Poll::Ready(Ok(()));
            };
            let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
            let count = leaving.outgoing.fill_io_slices(&mut pieces);
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write_vectored(context, &pieces[..count]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.stall = None;
            self.note(context, written);
        }
        if self.leaving.is_none() {
            return Poll::Ready(Ok(()));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes that so much of the body was written.
    fn note(&mut self, context: &Context<'_>, written: usize) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        leaving.outgoing.written(written);
        if leaving.outgoing.is_complete() {
            if leaving.outgoing.is_awaited() {
                context.waker().wake_by_ref();
            }
            self.connection.zero_copy_sent();
            self.leaving = None;
        }
    }
}
