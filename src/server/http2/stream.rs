//! One request: the wait for the response of the application, and the response as it is sent.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use actix_http::{HttpMessage as _, Payload, Request, error::PayloadError};
use actix_service::Service;
use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::ServiceResponse,
    http::{Method, Version},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use h2::{RecvStream, server::SendResponse};

use super::{
    content_sender::{ContentSender, Left},
    fields,
    output_credit::{OutputCredit, OutputPiece},
    request_text, response_fields,
};
use crate::{
    proxy::{ClientScheme, Connection, RequestFraming},
    server::{
        client_service::ClientService,
        content::{ContentEnd, ContentProgress, ResponseFraming},
        refused::Refused,
        request_head::{self, ConnectionFields, HeadRefusal},
    },
};

/// Most interim responses to one request. Those beyond are dropped.
const MAX_INTERIM: usize = 64;
/// How much room is made for the heads of requests, in bytes.
const HEAD_ROOM: usize = 4 * 1024;
/// Most connections to the handler that are used again.
const MAX_SPARE: usize = 8;

/// What the streams of a connection share.
pub(super) struct StreamContext<S> {
    pub(super) service: Rc<ClientService<S>>,
    pub(super) peer: SocketAddr,
    pub(super) scheme: ClientScheme,
    pub(super) credit: OutputCredit,
    /// Where the head of the next request is written.
    pub(super) head: RefCell<BytesMut>,
    /// Each stream has one of its own. They know the headers of the last request, which are mostly those of the next.
    pub(super) spare: RefCell<Vec<Connection>>,
}

/// How a stream has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The response was sent, or was cut for a reason that is not the client's.
    Responded,
    /// The client has reset the stream, or does not read its response.
    Left,
}

/// A connection to the handler that is used again when its stream has ended.
struct Lent<'c, S> {
    context: &'c StreamContext<S>,
    connection: Connection,
}

impl<S> Drop for Lent<'_, S> {
    fn drop(&mut self) {
        let mut spare = self.context.spare.borrow_mut();
        if spare.len() < MAX_SPARE {
            spare.push(self.connection.clone());
        }
    }
}

/// Passes a request to the application, and its response to the client.
pub(super) async fn respond<S, B>(
    context: Rc<StreamContext<S>>,
    request: http::Request<RecvStream>,
    mut client: SendResponse<OutputPiece>,
) -> StreamEnd
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let connection = context.spare.borrow_mut().pop();
    let connection = connection.unwrap_or_else(|| Connection::new(context.scheme));
    let lent = Lent {
        context: &context,
        connection,
    };
    let connection = &lent.connection;
    let responded = match request_of(&context, connection, request) {
        Ok((request, fields)) => {
            let method = request.method().clone();
            connection.begin(Version::HTTP_2, fields.expects_continue);
            let response = context.service.app.call(request);
            match awaited(response, connection, &mut client).await {
                Err(left) => Err(left),
                Ok(response) => {
                    let response = match response {
                        Ok(response) => {
                            let (request, response) = response.into_parts();
                            drop(request);
                            response.map_body(|_, body| body.boxed())
                        }
                        Err(error) => error.error_response(),
                    };
                    send(&context, connection, client, (&method, response)).await
                }
            }
        }
        Err((refusal, head)) => refuse(&context, client, refusal, &head).await,
    };
    match responded {
        Ok(()) => StreamEnd::Responded,
        Err(Left) => StreamEnd::Left,
    }
}

/// The request as the application gets it.
///
/// # Errors
/// The head is refused. What is known of it comes with the reason.
fn request_of<S>(
    context: &StreamContext<S>,
    connection: &Connection,
    request: http::Request<RecvStream>,
) -> Result<(Request, ConnectionFields), (HeadRefusal, Bytes)> {
    let (parts, received) = request.into_parts();
    let has_content = !received.is_end_stream();
    let head = {
        let mut into = context.head.borrow_mut();
        if into.capacity() < HEAD_ROOM / 4 {
            into.reserve(HEAD_ROOM);
        }
        let written = request_text::write(&parts, has_content, &mut into);
        let head = into.split().freeze();
        written.map_err(|refusal| (refusal, head.clone()))?;
        head
    };
    // The target is no URL, so whose it would be does not matter.
    let parsed = request_head::request(&head, |_, _| false);
    let (mut request, fields, lines) = parsed.map_err(|refusal| (refusal, head.clone()))?;
    connection.receive_header_lines(lines);
    let parsed = request.head_mut();
    parsed.version = Version::HTTP_2;
    parsed.peer_addr = Some(context.peer);
    request.extensions_mut().insert(connection.clone());
    if fields.framing != RequestFraming::None {
        *request.payload() = Payload::Stream {
            payload: Box::pin(ArrivingContent(received)),
        };
    }
    Ok((request, fields))
}

/// The body of a request as the application reads it. The client may send more when it has read.
struct ArrivingContent(RecvStream);

impl Stream for ArrivingContent {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_data(context).map(|received| {
            let received = received?.and_then(|bytes| {
                self.0.flow_control().release_capacity(bytes.len())?;
                Ok(bytes)
            });
            Some(received.map_err(|_| PayloadError::Incomplete(None)))
        })
    }
}

/// Waits for the response. Meanwhile interim responses are sent, and the client may leave.
async fn awaited<F: Future>(
    response: F,
    connection: &Connection,
    client: &mut SendResponse<OutputPiece>,
) -> Result<F::Output, Left> {
    let mut response = pin!(response);
    let mut interim_left = MAX_INTERIM;
    let response = poll_fn(|context| {
        if let Poll::Ready(response) = response.as_mut().poll(context) {
            return Poll::Ready(Ok(response));
        }
        connection.wake_on_interim(context.waker());
        send_interim(connection.take_interim(), client, &mut interim_left);
        client.poll_reset(context).map(|_| Err(Left))
    })
    .await?;
    send_interim(connection.response_begins(), client, &mut interim_left);
    Ok(response)
}

fn send_interim(heads: Option<Vec<u8>>, client: &mut SendResponse<OutputPiece>, left: &mut usize) {
    let Some(heads) = heads else {
        return;
    };
    for response in fields::interim(&heads).into_iter().take(*left) {
        *left -= 1;
        // It fails when the client has left, which is noticed elsewhere.
        let _ = client.send_informational(response);
    }
}

/// Sends the response to a request with this method.
async fn send<S>(
    context: &StreamContext<S>,
    connection: &Connection,
    mut client: SendResponse<OutputPiece>,
    (method, response): (&Method, HttpResponse),
) -> Result<(), Left> {
    let (response, content) = response.into_parts();
    let head = response.head();
    let size = content.size();
    let framing = ResponseFraming::of((method, Version::HTTP_2), head.status, size);
    let sent = connection.take_headers();
    let head = response_fields::of(&sent, head, size);
    drop((response, sent));
    if framing == ResponseFraming::None {
        drop(content);
        return client.send_response(head, true).map(drop).map_err(|_| Left);
    }
    let stream = client.send_response(head, false).map_err(|_| Left)?;
    let limit = context.service.limits.stall;
    let mut body = ContentSender::new(stream, context.credit.clone(), limit);
    let content = match content.try_into_bytes() {
        Ok(bytes) => return body.send(bytes, true).await,
        Err(content) => content,
    };
    let mut body = body.arriving();
    // It is dropped at its end, before its last bytes are sent: then its log line comes before those of the requests that the
    // client makes when it has the last byte.
    let mut content = pin!(Some(content));
    let mut progress = ContentProgress::new(framing);
    let mut waiting = None;
    while let Some(given) = content.as_mut().as_pin_mut() {
        // Whether it is the last piece is known when the next one was asked for.
        if progress.left != Some(0)
            && let Some(bytes) = waiting.take()
        {
            body.send(bytes, false).await?;
            continue;
        }
        let next = body.next(given).await?;
        if let Some(bytes) = progress.next(next)
            && !bytes.is_empty()
        {
            waiting = Some(bytes);
        }
        if progress.end.is_some() {
            content.set(None);
        }
    }
    match progress.end {
        Some(ContentEnd::Whole) => body.send(waiting.unwrap_or_default(), true).await,
        Some(ContentEnd::Cut) | None => {
            body.cut().await;
            Ok(())
        }
    }
}

/// Refuses a request with this head, which is empty if it is not known.
async fn refuse<S>(
    context: &StreamContext<S>,
    mut client: SendResponse<OutputPiece>,
    refusal: HeadRefusal,
    head: &[u8],
) -> Result<(), Left> {
    let refused = Refused::new(&context.service.refusals, refusal, head, context.peer);
    let mut response = http::Response::new(());
    if let Ok(status) = http::StatusCode::from_u16(refused.status.as_u16()) {
        *response.status_mut() = status;
    }
    *response.headers_mut() = fields::of_lines(&refused.lines);
    let ends = refused.sentence.is_empty();
    let stream = client.send_response(response, ends).map_err(|_| Left)?;
    if !ends {
        let limit = context.service.limits.stall;
        let mut body = ContentSender::new(stream, context.credit.clone(), limit);
        body.send(refused.sentence.clone(), true).await?;
    }
    refused.entry.sent(refused.sentence.len());
    refused.entry.ended();
    Ok(())
}
