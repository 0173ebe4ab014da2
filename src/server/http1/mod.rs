//! HTTP/1.1 with one client: heads in, responses out, one request at a time.
//!
//! Beneath the application, in the place of actix-http's dispatcher: that one frames pipelined responses by the method of
//! the request decoded last, takes a connection for idle while a body is written, and knows no interim responses.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the connection, and its loop: a head, a request, a response |
//! | `head` | waits for the next head; `request_head` beside this folder checks and parses it |
//! | `received_body` | the body of a request, as it arrives |
//! | `respond` | the wait for the application, and the response that is sent |
//! | `response_head`, `output` | how a response is written |
//! | `departure` | whether the client is still there |
//! | `refusal` | responses to heads that are refused, and the end of a connection |

mod departure;
mod head;
mod output;
mod received_body;
mod refusal;
mod respond;
mod response_head;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, pin::Pin, rc::Rc};

use actix_rt::time::Sleep;
use actix_service::Service;
use actix_web::{body::MessageBody, dev::ServiceResponse};
use bytes::BytesMut;
use futures_util::future::LocalBoxFuture;

#[cfg(test)]
pub(super) use self::received_body::ReceivedBody;
use self::{departure::Departure, head::NextHead, output::Output};
use super::{
    client_service::ClientService, client_stream::ClientStream, deadline::Deadline,
    opening::Admission, request_head::HTTP2_PREFACE_HEAD,
};
use crate::proxy::Connection;

/// A connection that is served.
struct Http1<S> {
    service: Rc<ClientService<S>>,
    stream: ClientStream,
    peer: SocketAddr,
    requests: Admission,
    /// What the handler shares with this.
    connection: Connection,
    /// What was received and not used: the next request, or a part of it.
    input: BytesMut,
    /// What is to be written.
    output: Output,
    /// For the next request.
    deadline: Deadline,
    /// Resolves when the proxy begins to stop; `None` as long as the connection has not waited for a request.
    stopping: Option<LocalBoxFuture<'static, ()>>,
    departure: Departure,
    /// Runs while the client does not take what is written.
    stall: Option<Pin<Box<Sleep>>>,
}

/// What becomes of a connection after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterResponse {
    /// It is used again.
    KeepAlive,
    /// It ends.
    End,
    /// It ends, and the client still sends: a part of its request, or requests that get no response.
    Linger,
}

/// How a connection has ended, as far as HTTP/1.1 is concerned.
pub(super) enum Served {
    /// It has ended.
    Ended,
    /// It goes on in HTTP/2 (RFC 9113, 3.3: prior knowledge). What was read of it begins with the preface.
    Http2(ClientStream, BytesMut),
}

/// Serves a connection until it ends. `input` was read from it already.
///
/// # Errors
/// The client has left, or a time limit has passed.
pub(super) async fn serve<S, B>(
    service: Rc<ClientService<S>>,
    stream: ClientStream,
    (peer, requests): (SocketAddr, Admission),
    input: BytesMut,
) -> io::Result<Served>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    let connection = Http1 {
        peer,
        requests,
        connection: Connection::new(stream.scheme()),
        input,
        output: Output::new(Rc::clone(&service.output_buffers)),
        deadline: Deadline::after(service.limits.head),
        stopping: None,
        departure: Departure::default(),
        stall: None,
        stream,
        service,
    };
    connection.run().await
}

impl<S, B> Http1<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    async fn run(mut self) -> io::Result<Served> {
        let mut is_first = true;
        loop {
            let head = match self.next_head().await? {
                NextHead::Complete(head)
                    if is_first
                        && self.requests == Admission::Served
                        && *head == *HTTP2_PREFACE_HEAD =>
                {
                    let mut read = BytesMut::from(&*head);
                    read.unsplit(self.input);
                    return Ok(Served::Http2(self.stream, read));
                }
                NextHead::Complete(head) => head,
                NextHead::Refused(refusal, head) => {
                    self.refuse(refusal, &head).await?;
                    return Ok(Served::Ended);
                }
                NextHead::End => {
                    self.stream.close();
                    return Ok(Served::Ended);
                }
            };
            is_first = false;
            if self.requests != Admission::Served {
                self.send_to_https(head).await?;
                return Ok(Served::Ended);
            }
            let (request, fields) = match self.request(&head) {
                Ok(request) => request,
                Err(refusal) => {
                    self.refuse(refusal, &head).await?;
                    return Ok(Served::Ended);
                }
            };
            // Its memory is that of the headers now.
            drop(head);
            match self.respond(request, fields).await? {
                AfterResponse::KeepAlive => self.deadline.restart(self.service.limits.idle),
                AfterResponse::End => {
                    self.stream.close();
                    return Ok(Served::Ended);
                }
                AfterResponse::Linger => {
                    self.linger().await?;
                    return Ok(Served::Ended);
                }
            }
        }
    }
}
