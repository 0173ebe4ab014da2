//! One request: the wait for the response of the application, and the response as it is sent.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use actix_http::{Request, error::PayloadError};
use actix_rt::time::sleep;
use actix_service::Service;
use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, Version},
};
use bytes::Bytes;

use super::{AfterResponse, Http1, received_body::ReceivedBody, response_head};
use crate::{
    proxy::Tunnel,
    server::{
        content::{ContentEnd, ContentProgress, ResponseFraming},
        request_head::ConnectionFields,
    },
};

/// As long as fewer bytes wait to be written, the body is asked for more.
const MIN_WAITING_BYTES: usize = 96 * 1024;
/// How much room is made for the body of a request, in bytes.
const BODY_ROOM: usize = 32 * 1024;
/// Most writes to one client in a row, so that other clients do not wait too long.
const MAX_WRITES: usize = 4;

/// What a request says about its response.
struct Asked {
    method: Method,
    version: Version,
    keep_alive: bool,
}

impl<S, B> Http1<S>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    /// Passes a request to the application, and its response to the client.
    ///
    /// # Errors
    /// The client has left, or does not read; or the response was cut.
    pub(super) async fn respond(
        &mut self,
        mut request: Request,
        fields: ConnectionFields,
    ) -> io::Result<AfterResponse> {
        let asked = Asked {
            method: request.method().clone(),
            version: request.version(),
            keep_alive: fields.keep_alive,
        };
        let (mut body, payload) = ReceivedBody::new(fields.framing);
        body.feed(&mut self.input);
        *request.payload() = payload;
        self.departure.begin();
        self.connection
            .begin(asked.version, fields.expects_continue);
        let service = std::rc::Rc::clone(&self.service);
        let response = service.app.call(request);
        let response = match self.awaited(response, &mut body).await? {
            Ok(response) => {
                let (request, response) = response.into_parts();
                drop(request);
                response.map_body(|_, body| body.boxed())
            }
            Err(error) => error.error_response(),
        };
        if let Some(heads) = self.connection.response_begins() {
            self.output.extend(&heads);
        }
        self.send(&asked, response, &mut body).await
    }

    /// Waits for the response. Meanwhile the body of the request is read, interim responses are written, and the client may
    /// leave.
    async fn awaited<F: Future>(
        &mut self,
        response: F,
        body: &mut ReceivedBody,
    ) -> io::Result<F::Output> {
        let mut response = pin!(response);
        poll_fn(|context| {
            if let Poll::Ready(response) = response.as_mut().poll(context) {
                return Poll::Ready(Ok(response));
            }
            self.connection.wake_on_interim(context.waker());
            if let Poll::Ready(error) = self.poll_interim(context) {
                return Poll::Ready(Err(error));
            }
            self.poll_input(context, body).map(Err)
        })
        .await
    }

    /// Writes the interim responses that have arrived. Ready when the client has left.
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if let Some(heads) = self.connection.take_interim() {
            self.output.extend(&heads);
        }
        match self.poll_write_all(context) {
            Poll::Ready(Err(error)) => Poll::Ready(error),
            _ => Poll::Pending,
        }
    }

    /// Reads the body of the request, or else what shows that the client has left. Ready when it has left.
    fn poll_input(
        &mut self,
        context: &mut Context<'_>,
        body: &mut ReceivedBody,
    ) -> Poll<io::Error> {
        while body.is_arriving() {
            if !body.takes_more(context) {
                return self.poll_reset(context);
            }
            match ready!(self.poll_read(context, BODY_ROOM)) {
                Ok(0) => body.fail(PayloadError::Incomplete(None)),
                Ok(_) => body.feed(&mut self.input),
                Err(error) => return Poll::Ready(error),
            }
        }
        self.poll_departure(context)
    }

    /// Sends the response.
    async fn send(
        &mut self,
        asked: &Asked,
        response: HttpResponse,
        body: &mut ReceivedBody,
    ) -> io::Result<AfterResponse> {
        let tunnel = self.connection.take_tunnel();
        let (response, content) = response.into_parts();
        let head = response.head();
        let size = content.size();
        let framing = ResponseFraming::of((&asked.method, asked.version), head.status, size);
        let is_last = self.is_last(body).await;
        let closes = head.connection_type() == actix_http::ConnectionType::Close
            || framing == ResponseFraming::UntilClose
            || is_last
            || !body.is_complete();
        let keep_alive = asked.keep_alive && !closes;
        let sent = self.connection.take_headers();
        let buffer = self.output.head();
        let headers = (&sent, head);
        response_head::write(buffer, headers, asked.version, (size, framing), keep_alive);
        drop((sent, response));
        match framing {
            ResponseFraming::None => {
                drop(content);
                self.flush(body).await?;
            }
            _ => self.send_content(content, framing, body).await?,
        }
        if let Some(tunnel) = tunnel {
            self.drive(tunnel).await;
            return Ok(AfterResponse::End);
        }
        Ok(match body.is_complete() {
            true if keep_alive => AfterResponse::KeepAlive,
            true if !self.has_input().await => AfterResponse::End,
            _ => AfterResponse::Linger,
        })
    }

    /// Whether the proxy ends the connection after this response. After a hand-over it first serves what the client has sent.
    async fn is_last(&mut self, body: &ReceivedBody) -> bool {
        self.service.shared.is_stopping()
            && (self.service.stopping.is_given() || !body.is_complete() || !self.has_input().await)
    }

    /// Sends the body, and the head that waits before it.
    async fn send_content<C: MessageBody>(
        &mut self,
        content: C,
        framing: ResponseFraming,
        body: &mut ReceivedBody,
    ) -> io::Result<()> {
        let content = match content.try_into_bytes() {
            Ok(bytes) => {
                self.push_content(bytes, framing);
                self.end_content(framing);
                return self.flush(body).await;
            }
            Err(content) => content,
        };
        // It is dropped at its end, before its last bytes are written: then its log line comes before those of the requests that
        // the client makes when it has the last byte.
        let mut content = pin!(Some(content));
        let mut progress = ContentProgress::new(framing);
        poll_fn(|context| {
            for _ in 0..MAX_WRITES {
                while let Some(given) = content.as_mut().as_pin_mut()
                    && (self.output.len() < MIN_WAITING_BYTES || progress.left == Some(0))
                    && self.poll_content(context, given, &mut progress).is_ready()
                {
                    if progress.end.is_some() {
                        content.set(None);
                    }
                }
                if self.output.is_empty() {
                    if progress.end.is_some() {
                        return Poll::Ready(Ok(()));
                    }
                    return self.poll_input(context, body).map(Err);
                }
                match self.poll_write(context) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return self.poll_input(context, body).map(Err),
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await?;
        match progress.end {
            Some(ContentEnd::Whole) => Ok(()),
            Some(ContentEnd::Cut) | None => {
                if framing == ResponseFraming::UntilClose {
                    // The client does not mistake a reset for the end of the body.
                    self.stream.reset_on_drop();
                }
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    /// Takes the next bytes of a body, or its end. Pending if there is neither yet.
    fn poll_content<C: MessageBody>(
        &mut self,
        context: &mut Context<'_>,
        content: Pin<&mut C>,
        progress: &mut ContentProgress,
    ) -> Poll<()> {
        match progress.next(ready!(content.poll_next(context))) {
            Some(bytes) => self.push_content(bytes, progress.framing),
            None if progress.end == Some(ContentEnd::Whole) => self.end_content(progress.framing),
            None => {}
        }
        Poll::Ready(())
    }

    /// Writes everything that waits.
    async fn flush(&mut self, body: &mut ReceivedBody) -> io::Result<()> {
        poll_fn(|context| match self.poll_write_all(context) {
            Poll::Pending => self.poll_input(context, body).map(Err),
            written => written,
        })
        .await
    }

    fn push_content(&mut self, bytes: Bytes, framing: ResponseFraming) {
        if framing != ResponseFraming::Chunked {
            self.output.push(bytes);
        } else if !bytes.is_empty() {
            self.output
                .extend(format!("{:x}\r\n", bytes.len()).as_bytes());
            self.output.push(bytes);
            self.output.extend(b"\r\n");
        }
    }

    fn end_content(&mut self, framing: ResponseFraming) {
        if framing == ResponseFraming::Chunked {
            self.output.extend(b"0\r\n\r\n");
        }
    }
}

impl<S> Http1<S> {
    /// Writes everything that waits, as far as the client takes it.
    pub(super) fn poll_write_all(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            ready!(self.poll_write(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes once. Fails if the client does not read for too long.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.output.poll_write(context, &mut self.stream) {
            Poll::Ready(written) => {
                self.stall = None;
                Poll::Ready(written)
            }
            Poll::Pending => {
                let limit = self.service.limits.stall;
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
                ready!(stall.as_mut().poll(context));
                let problem = "the client does not read its response";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
            }
        }
    }

    /// Passes bytes through the tunnel in both directions until it ends.
    async fn drive(&mut self, mut tunnel: Box<Tunnel>) {
        let stopping = self.service.stopping.clone();
        let stopping = Box::pin(async move { stopping.notified().await });
        tunnel.begin(self.input.split(), stopping);
        poll_fn(|context| tunnel.poll(context, &mut self.stream)).await;
    }
}
