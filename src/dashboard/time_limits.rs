//! How long a request and its connection may take.
//!
//! A connection is for one request. Its head, its body and what follows have a limit each; and whatever a client makes of
//! that, its connection ends. Only event streams go on.

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

use super::guard::write_fields;

/// The parts of a connection's life that are waited for: head, answer, end.
const PARTS: u32 = 3;

/// The limit of each part.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestTimeout(pub(super) Duration);

impl RequestTimeout {
    /// The limit of a connection.
    fn in_all(self) -> Duration {
        self.0 * PARTS
    }
}

/// Ends a connection that lasts too long, unless it is let go or over by then.
pub(super) struct ConnectionDeadline(RefCell<Option<oneshot::Sender<()>>>);

impl ConnectionDeadline {
    /// Puts a new connection on one.
    pub(super) fn put_on(connection: &dyn Any, data: &mut Extensions, patience: RequestTimeout) {
        let stream = connection.downcast_ref::<TcpStream>();
        let Some(Ok(socket)) = stream.map(|stream| SockRef::from(stream).try_clone()) else {
            return;
        };
        let (leash, let_go) = oneshot::channel();
        data.insert(Self(RefCell::new(Some(leash))));
        actix_web::rt::spawn(async move {
            if timeout(patience.in_all(), let_go).await.is_err() {
                // It fails when the client has gone: nothing is to be ended then.
                drop(socket.shutdown(std::net::Shutdown::Both));
            }
        });
    }

    /// From here on the connection of this request lasts as long as both ends like.
    pub(super) fn let_go(request: &HttpRequest) {
        if let Some(Self(leash)) = request.conn_data() {
            drop(leash.take());
        }
    }
}

/// Answers 408 to a request that does not get as far as its answer's head in time, mostly because of its body.
pub(super) async fn limit(
    patience: Data<RequestTimeout>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    match timeout(patience.0, next.call(request)).await {
        Ok(response) => Ok(response?.map_into_boxed_body()),
        Err(_) => {
            let mut late = HttpResponse::RequestTimeout()
                .content_type("text/plain; charset=utf-8")
                .force_close()
                .body("The request did not arrive whole in time.\n");
            write_fields(late.headers_mut());
            Err(InternalError::from_response("a request took too long", late).into())
        }
    }
}
