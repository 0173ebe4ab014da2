//! The heads of requests: each is passed on when it is complete and checked, or refused.

use std::{
    future::Future as _,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::Instant;
use tokio::io::ReadBuf;

use super::{
    super::{
        request_bounds::RequestBounds,
        request_head::{self, HeadRefusal, HeadVerdict, MAX_HEAD_BYTES},
    },
    ClientIo,
};

impl ClientIo {
    /// Passes on what is left of a head.
    pub(super) fn pass_rest_of_head_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let length = self.passing.len().min(buffer.remaining());
        buffer.put_slice(&self.passing.split_to(length));
    }

    /// Begins with the next request if the last one is answered, unless its response has announced the end of the connection.
    pub(super) fn await_next_request(&mut self) {
        let is_answered = matches!(self.bounds, RequestBounds::Complete)
            && !self.connection.is_responding()
            && !self.responded_early;
        if is_answered {
            self.bounds = RequestBounds::head();
            self.restart_request_timer(self.limits.idle);
        }
    }

    /// Wakes the task when a request has been awaited for too long: nothing else does while a connection is idle.
    pub(super) fn wake_after_request_limit(&mut self, context: &mut Context<'_>) {
        let is_awaited = matches!(self.bounds, RequestBounds::Head(_))
            && self.refused.is_none()
            && !self.lingering.is_shut_down();
        if is_awaited && self.request_timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    /// Limits the wait for the next request, or for the rest of its head.
    pub(super) fn restart_request_timer(&mut self, limit: Duration) {
        self.request_timer.as_mut().reset(Instant::now() + limit);
    }

    /// Passes on the head of which `buffer` has the next piece, if that completes it and nothing is wrong with it. A head
    /// that arrives in one piece and is not rewritten stays in `buffer`.
    pub(super) fn pass_head_on(
        &mut self,
        buffer: &mut ReadBuf<'_>,
        filled: usize,
    ) -> io::Result<()> {
        let piece = &buffer.filled()[filled..];
        if self.head.len() + piece.len() > MAX_HEAD_BYTES {
            buffer.set_filled(filled);
            return self.refuse(HeadRefusal::TooLarge, &[]);
        }
        if request_head::is_tls(self.head.iter().chain(piece).copied()) {
            buffer.set_filled(filled);
            return self.refuse(HeadRefusal::Tls, &[]);
        }
        let is_complete = matches!(self.bounds, RequestBounds::Decoding);
        if is_complete && self.head.is_empty() {
            let verdict = self.checked(piece);
            if verdict != HeadVerdict::Unchanged {
                self.head.extend_from_slice(piece);
                buffer.set_filled(filled);
                return self.pass_verdict_on(verdict);
            }
            return Ok(());
        }
        let has_begun = has_begun(&self.head);
        self.head.extend_from_slice(piece);
        buffer.set_filled(filled);
        if is_complete {
            return self.pass_verdict_on(self.checked(&self.head));
        }
        if !has_begun && self::has_begun(&self.head) {
            self.restart_request_timer(self.limits.head);
        }
        Ok(())
    }

    fn checked(&self, head: &[u8]) -> HeadVerdict {
        request_head::check(head, |scheme, authority| {
            self.names.include(scheme, authority)
        })
    }

    /// Passes `head` on as the verdict about it says.
    fn pass_verdict_on(&mut self, verdict: HeadVerdict) -> io::Result<()> {
        let head = std::mem::take(&mut self.head);
        match verdict {
            HeadVerdict::Unchanged => self.passing = head.into(),
            HeadVerdict::Rewritten(head) => self.passing = head.into(),
            HeadVerdict::Refused(refusal) => return self.refuse(refusal, &head),
        }
        Ok(())
    }

    /// Ends the wait for a request that takes too long: with a response if its head has begun, else silently.
    pub(super) fn poll_request_limit(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !matches!(self.bounds, RequestBounds::Head(_)) {
            return Poll::Pending;
        }
        ready!(self.request_timer.as_mut().poll(context));
        if self.stall_timer.is_some() {
            // The client is still reading the last response.
            self.restart_request_timer(self.limits.idle);
            return self.poll_request_limit(context);
        }
        if has_begun(&self.head) {
            let head = std::mem::take(&mut self.head);
            self.refuse(HeadRefusal::Late, &head)?;
            return self.poll_refused(context);
        }
        Poll::Ready(Ok(()))
    }

    /// The response of ours in the place of the one that `bytes` are; `None` if `bytes` are not a response that actix-http
    /// makes itself, to a head that it refuses. While a head is decoded, the only other bytes written are the end of the
    /// previous response, which the condition excludes.
    pub(super) fn replaced_refusal(&self, bytes: &[u8]) -> Option<HeadRefusal> {
        let is_unread = matches!(self.bounds, RequestBounds::Decoding)
            && self.connection.requests() == self.requests
            && !self.connection.is_responding()
            && self.stall_timer.is_none();
        let status = bytes.strip_prefix(b"HTTP/1.")?.get(1..5)?;
        match (is_unread, status) {
            (true, b" 400") => Some(HeadRefusal::Malformed),
            (true, b" 431") => Some(HeadRefusal::TooLarge),
            _ => None,
        }
    }
}

/// True if `head` is more than the empty lines that may precede a request.
fn has_begun(head: &[u8]) -> bool {
    !head.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}
