//! A connection from its beginning to its end.

use std::{io, rc::Rc};

use actix_http::Request;
use actix_service::Service;
use actix_web::{body::MessageBody, dev::ServiceResponse};
use bytes::BytesMut;

use super::{
    accept::Accepted,
    client_service::ClientService,
    http1::{self, Served},
    http2,
    opening::{OpenedConnection, Opening},
};

/// Waits for what precedes the first request, and serves the connection in the version of HTTP that its client speaks.
///
/// # Errors
/// The connection has ended early. The log says why, where that is worth a line.
pub(super) async fn serve<S, B>(
    opening: Rc<Opening>,
    service: Rc<ClientService<S>>,
    accepted: Accepted,
) -> io::Result<()>
where
    S: Service<Request, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    let opened = opening.open(accepted, &service.stopping).await?;
    let OpenedConnection {
        stream,
        peer,
        requests,
    } = opened;
    let (stream, read) = match stream.speaks_http2() {
        true => (stream, BytesMut::new()),
        false => {
            let from = (peer, requests);
            let served = http1::serve(Rc::clone(&service), stream, from, BytesMut::new());
            match served.await? {
                Served::Ended => return Ok(()),
                Served::Http2(stream, read) => (stream, read),
            }
        }
    };
    let scheme = stream.scheme();
    // In a box: most connections are not of HTTP/2, and the future is large.
    Box::pin(http2::serve(service, stream, (peer, scheme), read)).await
}
