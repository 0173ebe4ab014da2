//! The response to a head that is refused, and the end of a connection.

use std::{
    future::{Future as _, poll_fn},
    io::{self, Write as _},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::StatusCode;
use actix_rt::time::sleep;
use bytes::Bytes;
use tokio::io::AsyncWrite as _;

use super::{Http1, head::HEAD_ROOM};
use crate::{
    error::FORWARDED_METHODS,
    proxy::RefusalEntry,
    server::request_head::{self, HeadRefusal},
};

/// How long a connection stays open for a client that still sends after the last response. Data that arrives at a closed
/// connection would reset it, and the client might lose the response.
const LINGER: Duration = Duration::from_secs(2);

impl<S> Http1<S> {
    /// Refuses a head, and ends the connection. `head` is empty if it is not known.
    pub(super) async fn refuse(mut self, refusal: HeadRefusal, head: &[u8]) -> io::Result<()> {
        // The request line of any other refused head says nothing certain.
        let request = match refusal {
            HeadRefusal::Connect | HeadRefusal::OtherHost => request_head::method_and_target(head),
            _ => None,
        };
        let request = request.as_ref();
        let entry = self.service.refusals.refused(
            refusal.status(),
            request.map(|(method, target)| (&**method, &**target)),
            &refusal.to_string(),
            Some(self.peer.ip()),
        );
        let is_head = head.trim_ascii_start().starts_with(b"HEAD ");
        let (head, sentence) = response(refusal, is_head, &entry);
        self.output.push(head);
        self.output.push(sentence.clone());
        poll_fn(|context| self.poll_write_all(context)).await?;
        entry.sent(sentence.len());
        entry.ended();
        self.linger().await
    }

    /// Ends the connection, and reads and drops what the client still sends, for a limited time.
    pub(super) async fn linger(&mut self) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await?;
        let mut limit = pin!(sleep(LINGER));
        poll_fn(|context| match limit.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Ok(())),
            Poll::Pending => self.poll_discard(context),
        })
        .await
    }

    /// True if the client has sent something that was not used.
    pub(super) async fn has_input(&mut self) -> bool {
        let is_read = |read| matches!(read, Poll::Ready(Ok(1..)));
        !self.input.is_empty()
            || poll_fn(|context| Poll::Ready(is_read(self.poll_read(context, HEAD_ROOM)))).await
    }

    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.input.clear();
            if ready!(self.poll_read(context, HEAD_ROOM))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// The head of the response, and its body.
fn response(refusal: HeadRefusal, is_head: bool, entry: &RefusalEntry) -> (Bytes, Bytes) {
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
    let mut head = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(
        head,
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n{allow}x-cache: MISS\r\ncache-status: caching-proxy\r\n"
    );
    entry.write_id(&mut head);
    head.extend_from_slice(b"\r\n");
    (head.into(), sentence.into())
}
