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
//! | `deadline` | the time limit for the next request |
//! | `buffers` | the buffers that the connections of one worker share |

mod buffers;
mod deadline;
mod departure;
mod head;
mod output;
mod received_body;
mod refusal;
mod respond;
mod response_head;
#[cfg(test)]
mod tests;

use std::{io, net::SocketAddr, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use actix_rt::time::Sleep;
use actix_service::Service;
use actix_web::{body::MessageBody, dev::ServiceResponse};
use bytes::BytesMut;
use futures_util::future::LocalBoxFuture;

pub(super) use self::buffers::SpareBuffers;
#[cfg(test)]
pub(super) use self::received_body::ReceivedBody;
use self::{deadline::Deadline, departure::Departure, head::NextHead, output::Output};
use super::{
    client_stream::ClientStream, opening::Admission, request_head::HeadRefusal,
    stop_signal::StopSignal,
};
use crate::proxy::{Connection, RefusalLog, Shared};

/// Time limits for a client.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// For the head of a request, from its first byte; for the first request also until then.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Between two writes that the client accepts.
    pub(super) stall: Duration,
    /// For the first byte of a TLS connection, until a handshake may begin, and for the handshake: so long for each.
    pub(super) handshake: Duration,
}

/// What the connections of one worker share.
pub(super) struct Http1Service<S> {
    pub(super) app: S,
    pub(super) limits: Limits,
    pub(super) refusals: RefusalLog,
    pub(super) stopping: StopSignal,
    pub(super) shared: Arc<Shared>,
    /// With this a URL of any host is one of this proxy.
    pub(super) any_name: bool,
    pub(super) buffers: Rc<SpareBuffers>,
}

/// A connection that is served.
struct Http1<S> {
    service: Rc<Http1Service<S>>,
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

impl<S, B> Http1Service<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    /// Serves a connection until it ends. `input` was read from it already.
    ///
    /// # Errors
    /// The client has left, or a time limit has passed.
    pub(super) async fn serve(
        self: Rc<Self>,
        stream: ClientStream,
        (peer, requests): (SocketAddr, Admission),
        input: BytesMut,
    ) -> io::Result<()> {
        let connection = Http1 {
            stream,
            peer,
            requests,
            connection: Connection::default(),
            input,
            output: Output::new(Rc::clone(&self.buffers)),
            deadline: Deadline::after(self.limits.head),
            stopping: None,
            departure: Departure::default(),
            stall: None,
            service: self,
        };
        connection.run().await
    }
}

impl<S, B> Http1<S>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody + 'static,
{
    async fn run(mut self) -> io::Result<()> {
        loop {
            let head = match self.next_head().await? {
                NextHead::Complete(head) => head,
                NextHead::Refused(refusal, head) => return self.refuse(refusal, &head).await,
                NextHead::End => {
                    self.stream.close();
                    return Ok(());
                }
            };
            if self.requests != Admission::Served {
                return self.refuse(HeadRefusal::HttpsOnly, &head).await;
            }
            let (request, fields) = match self.request(&head) {
                Ok(request) => request,
                Err(refusal) => return self.refuse(refusal, &head).await,
            };
            // Its memory is that of the headers now.
            drop(head);
            match self.respond(request, fields).await? {
                AfterResponse::KeepAlive => self.deadline.restart(self.service.limits.idle),
                AfterResponse::End => {
                    self.stream.close();
                    return Ok(());
                }
                AfterResponse::Linger => return self.linger().await,
            }
        }
    }
}
