//! Timeouts of requests and connections.
//!
//! A connection is for one request. Each part of the request has a timeout, and so has the whole connection, whatever the
//! client does. Only event streams go on.

use std::{any::Any, cell::RefCell, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{Extensions, ServiceRequest, ServiceResponse},
    error::InternalError,
    middleware::Next,
    rt::net::TcpStream,
    web::Data,
};
use socket2::SockRef;
use tokio::{sync::oneshot, time::timeout};

use super::guard::insert_security_headers;

/// The parts of a connection that have a timeout: request headers, response, close.
const PARTS: u32 = 3;

/// The timeout of each part.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimeout(pub(super) Duration);

impl RequestTimeout {
    /// The timeout of the whole connection.
    fn of_connection(self) -> Duration {
        self.0 * PARTS
    }
}

/// Ends a connection that lasts too long, unless the deadline is lifted.
pub(super) struct ConnectionDeadline(RefCell<Option<oneshot::Sender<()>>>);

impl ConnectionDeadline {
    /// Sets the deadline of a new connection.
    pub(super) fn set(connection: &dyn Any, data: &mut Extensions, limit: RequestTimeout) {
        let stream = connection.downcast_ref::<TcpStream>();
        let Some(Ok(socket)) = stream.map(|stream| SockRef::from(stream).try_clone()) else {
            return;
        };
        let (deadline, lifted) = oneshot::channel();
        data.insert(Self(RefCell::new(Some(deadline))));
        actix_web::rt::spawn(async move {
            if timeout(limit.of_connection(), lifted).await.is_err() {
                // An error means that the client has closed the connection already.
                drop(socket.shutdown(std::net::Shutdown::Both));
            }
        });
    }

    /// Lifts the deadline of the connection of this request.
    pub(super) fn lift(request: &HttpRequest) {
        if let Some(Self(deadline)) = request.conn_data() {
            drop(deadline.take());
        }
    }
}

/// Middleware: responds with 408 if there is no response in time, mostly because the body of the request did not arrive.
pub(super) async fn limit(
    limit: Data<RequestTimeout>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match timeout(limit.0, next.call(request)).await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => {
            let mut late = HttpResponse::RequestTimeout()
                .content_type("text/plain; charset=utf-8")
                .force_close()
                .body("The request did not arrive whole in time.\n");
            insert_security_headers(late.headers_mut());
            Err(InternalError::from_response("a request took too long", late).into())
        }
    }
}
