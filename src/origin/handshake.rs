//! WebSocket handshakes (RFC 6455, 4): a request after which the connection may carry another protocol.

use actix_web::http::{
    StatusCode,
    header::{self, HeaderValue},
};
use bytes::BytesMut;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    Expectation, Origin, OriginRequest, OriginResponse, RequestBody,
    error::OriginError,
    framing::UpgradeOffer,
    stream::OriginStream,
    transfer::{TransferRequest, TransferState},
};
use crate::headers::ResponseHeaders;

/// The origin's response to a handshake.
#[derive(Debug)]
pub enum HandshakeResponse {
    /// A 101 to WebSocket.
    Accepted(SwitchedConnection),
    /// Any other final response.
    Refused(OriginResponse),
}

impl HandshakeResponse {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Accepted(_) => StatusCode::SWITCHING_PROTOCOLS,
            Self::Refused(response) => response.status,
        }
    }
}

/// A connection that no longer carries HTTP.
#[derive(Debug)]
pub struct SwitchedConnection {
    /// The headers of the 101, as received.
    pub headers: ResponseHeaders,
    /// The connection.
    pub stream: OriginStream,
    /// Bytes of the other protocol that came with the 101.
    pub received: BytesMut,
    /// Counts the connection as in use.
    pub permit: OwnedSemaphorePermit,
}

impl Origin {
    /// Sends a WebSocket handshake on a new connection and waits for the head of the response. The connection counts
    /// against the limit that `permit` belongs to, and not against that of requests. The body of `request` is not sent.
    ///
    /// # Errors
    /// No head of a final response arrived, or it is a 101 to another protocol.
    pub async fn offer_websocket(
        &self,
        request: OriginRequest,
        permit: OwnedSemaphorePermit,
    ) -> Result<HandshakeResponse, OriginError> {
        let uri = self.uri(request.target)?;
        let mut headers = request.headers;
        let upgrade = HeaderValue::from_static("websocket");
        headers.make_mut().insert(header::UPGRADE, upgrade);
        let state = TransferState::new(TransferRequest {
            headers,
            expectation: Expectation::Nothing,
            offer: UpgradeOffer::WebSocket,
            interim: request.interim,
        });
        let line = (request.method, uri);
        let response = self.0.client.send(line, RequestBody::Empty, &state).await?;
        Ok(match state.take_switched() {
            Some((stream, received)) => HandshakeResponse::Accepted(SwitchedConnection {
                headers: state.take_headers(),
                stream,
                received,
                permit,
            }),
            None => HandshakeResponse::Refused(self.response(response, state, permit)),
        })
    }
}
