//! The response to a head that is refused, and the end of a connection.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::timeout;
use bytes::Bytes;
use tokio::io::AsyncWrite as _;

use super::{Http1, head::HEAD_ROOM};
use crate::server::{
    opening::Admission, redirect::https_url, refused::Refused, request_head::HeadRefusal,
};

/// How long a connection stays open for a client that still sends after the last response. Data that arrives at a closed
/// connection would reset it, and the client might lose the response.
const LINGER: Duration = Duration::from_secs(2);

impl<S> Http1<S> {
    /// Refuses a head, and ends the connection. `head` is empty if it is not known.
    pub(super) async fn refuse(self, refusal: HeadRefusal, head: &[u8]) -> io::Result<()> {
        let refused = Refused::new(&self.service.refusals, refusal, head, self.peer);
        self.end_with(refused).await
    }

    /// Redirects the request with this head to https, or refuses it where that is not possible, and ends the connection.
    pub(super) async fn send_to_https(self, head: Bytes) -> io::Result<()> {
        let Admission::Redirected { tls_port } = self.requests else {
            return self.refuse(HeadRefusal::HttpsOnly, &head).await;
        };
        let request = match self.request(&head) {
            Ok((request, _)) => request,
            Err(refusal) => return self.refuse(refusal, &head).await,
        };
        let local_port = self.stream.local_addr().map_or(0, |address| address.port());
        match https_url(&request, local_port, tls_port) {
            None => self.refuse(HeadRefusal::NoHostForRedirect, &head).await,
            Some(url) => {
                let refusals = &self.service.refusals;
                let redirected = Refused::redirected(refusals, &url, &head, self.peer);
                self.end_with(redirected).await
            }
        }
    }

    async fn end_with(mut self, refused: Refused) -> io::Result<()> {
        let status = format!("HTTP/1.1 {}\r\n", refused.status);
        for part in [
            status.as_bytes(),
            &refused.lines,
            b"Connection: close\r\n\r\n",
        ] {
            self.output.extend(part);
        }
        self.output.push(refused.sentence.clone());
        poll_fn(|context| self.poll_write_all(context)).await?;
        refused.entry.sent(refused.sentence.len());
        refused.entry.ended();
        self.linger().await
    }

    /// Ends the connection, and reads and drops what the client still sends, for a limited time.
    pub(super) async fn linger(&mut self) -> io::Result<()> {
        let ending = async {
            poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await?;
            poll_fn(|context| self.poll_discard(context)).await
        };
        // TLS writes that it ends, which a client that does not read may hold up too.
        timeout(LINGER, ending).await.unwrap_or(Ok(()))
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
