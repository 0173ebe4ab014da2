//! The response to a head that is not passed on, and the end of its connection.

use std::{
    io::{self, Write as _},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::StatusCode;
use actix_rt::time::{Sleep, sleep};
use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::ClientIo;
use crate::{
    error::FORWARDED_METHODS,
    proxy::RefusalEntry,
    server::request_head::{self, HeadRefusal},
};

/// How long a connection stays open for a client that still sends after the last response. Data that arrives at a closed
/// connection would reset it, and the client might lose the response.
pub(in crate::server) const LINGER: Duration = Duration::from_secs(2);

/// A response to a head that is not passed on.
pub(super) struct RefusedHead {
    /// The bytes that are still to be written.
    response: Bytes,
    /// How many of them are the body.
    body_bytes: usize,
    /// `None` once the response is written.
    entry: Option<RefusalEntry>,
}

impl RefusedHead {
    /// Notes that so many bytes were written.
    fn written(&mut self, bytes: usize) {
        let body_left = |response: &Bytes| response.len().min(self.body_bytes);
        let body_before = body_left(&self.response);
        self.response.advance(bytes);
        let body_written = body_before - body_left(&self.response);
        if let Some(entry) = &self.entry {
            entry.sent(body_written);
        }
        if self.response.is_empty()
            && let Some(entry) = self.entry.take()
        {
            entry.ended();
        }
    }
}

/// Waits for the client to close its side.
#[derive(Default)]
pub(super) struct Lingering {
    is_shut_down: bool,
    /// `None` before it begins.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    /// True if nothing more is written.
    pub(super) fn is_shut_down(&self) -> bool {
        self.is_shut_down
    }
}

impl ClientIo {
    /// Refuses the head that arrives, unless the client has not read the last response. `head` is empty if it is not known.
    pub(super) fn refuse(&mut self, refusal: HeadRefusal, head: &[u8]) -> io::Result<()> {
        if self.refused.is_some() {
            return Ok(());
        }
        if self.stall_timer.is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, refusal));
        }
        // The request line of any other refused head says nothing certain.
        let request = match refusal {
            HeadRefusal::Connect | HeadRefusal::OtherHost => request_head::method_and_target(head),
            _ => None,
        };
        let request = request.as_ref();
        let entry = self.refusals.refused(
            refusal.status(),
            request.map(|(method, target)| (&**method, &**target)),
            &refusal.to_string(),
            self.peer,
        );
        let is_head = head.trim_ascii_start().starts_with(b"HEAD ");
        let (response, body_bytes) = response(refusal, is_head, &entry);
        self.refused = Some(RefusedHead {
            response,
            body_bytes,
            entry: Some(entry),
        });
        self.lingers = true;
        Ok(())
    }

    /// Writes the response to a refused head.
    pub(super) fn poll_refused(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.poll_write_refused(context);
        self.limit_stall(polled, context)
    }

    fn poll_write_refused(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(refused) = &mut self.refused
            && !refused.response.is_empty()
        {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write(context, &refused.response))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            refused.written(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the connection: nothing more is written, and what the client still sends is read and dropped, for a limited
    /// time.
    pub(super) fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.lingering.is_shut_down {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.lingering.is_shut_down = true;
        }
        if !self.lingers {
            return Poll::Ready(Ok(()));
        }
        let limit = self
            .lingering
            .limit
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        if limit.as_mut().poll(context).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The response, and how many bytes of it are the body.
fn response(refusal: HeadRefusal, is_head: bool, entry: &RefusalEntry) -> (Bytes, usize) {
    let status = refusal.status();
    let mut sentence = format!("{refusal}.\n");
    sentence[..1].make_ascii_uppercase();
    let length = sentence.len();
    if is_head {
        sentence.clear();
    }
    let allow = match status {
        StatusCode::METHOD_NOT_ALLOWED => format!("allow: {FORWARDED_METHODS}\r\n"),
        _ => String::new(),
    };
    let mut response = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(
        response,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n{allow}x-cache: MISS\r\ncache-status: caching-proxy\r\n"
    );
    entry.write_id(&mut response);
    let _ = write!(response, "\r\n{sentence}");
    (response.into(), sentence.len())
}
