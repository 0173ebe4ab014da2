//! A scripted origin, and helpers that send requests to it.

use std::{net::SocketAddr, pin::pin, time::Duration};

use actix_web::http::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{headers::ResponseHeaders, origin::*};

/// A timeout that never fires in a test.
pub(super) const PATIENT: Duration = Duration::from_secs(60);
/// A timeout that a test waits for, long enough for a busy machine.
pub(super) const HASTY: Duration = Duration::from_secs(1);

/// Runs a test in an actix system, which awc needs.
pub(super) fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

/// A listener, and an [`Origin`] that forwards to it.
pub(super) struct TestOrigin {
    pub(super) listener: TcpListener,
    pub(super) origin: Origin,
}

impl TestOrigin {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut OriginConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut config = config(&url);
        change(&mut config);
        Self {
            listener,
            origin: Origin::new(config),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> Peer<TcpStream> {
        Peer(self.listener.accept().await.unwrap().0)
    }

    /// Sends `response` to one request on a new connection, and closes the connection. Returns the response as it was read.
    pub(super) async fn answer(
        &self,
        method: Method,
        response: &[u8],
    ) -> Result<FullResponse, OriginError> {
        let script = async {
            let mut peer = self.accept().await;
            peer.respond(response).await;
            peer.close().await;
        };
        tokio::join!(ask(&self.origin, request(method, "/")), script).0
    }
}

/// A port that refuses connections while its socket is held: the port is bound, and nothing listens on it.
pub(in crate::origin) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub(super) fn config(url: &str) -> OriginConfig {
    OriginConfig::new(Destination::direct(url.parse().unwrap()), PATIENT, 8)
}

/// The origin's end of a connection.
pub(super) struct Peer<S>(pub(super) S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads up to the end of a head.
    pub(super) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.expect("the head of a request"));
        }
        String::from_utf8(head).unwrap()
    }

    pub(super) async fn exactly(&mut self, expected: &str) {
        let mut bytes = vec![0; expected.len()];
        self.0.read_exact(&mut bytes).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), expected);
    }

    /// Reads the head of a request, and sends `response`.
    pub(super) async fn respond(&mut self, response: impl AsRef<[u8]>) {
        self.head().await;
        self.send(response).await;
    }

    /// Reads until the other side closes.
    pub(super) async fn gone(&mut self) {
        let mut sink = [0; 4096];
        while !matches!(self.0.read(&mut sink).await, Ok(0) | Err(_)) {}
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    pub(super) async fn close(mut self) {
        let _ = self.0.shutdown().await;
    }
}

/// A response with its body read to the end.
#[derive(Debug)]
pub(super) struct FullResponse {
    pub(super) status: u16,
    pub(super) headers: ResponseHeaders,
    pub(super) framing: BodyFraming,
    pub(super) body: String,
}

pub(super) fn request(method: Method, target: &str) -> OriginRequest {
    OriginRequest {
        method,
        target: target.to_owned(),
        headers: RequestHeaders::default(),
        body: RequestBody::Empty,
        expectation: Expectation::Nothing,
        interim: None,
    }
}

pub(super) fn get(target: &str) -> OriginRequest {
    request(Method::GET, target)
}

/// The values of a header, in their order.
pub(super) fn values(headers: &ResponseHeaders, name: &'static str) -> Vec<String> {
    let name = HeaderName::from_static(name);
    let values = headers.get_all(&name);
    values
        .map(|value| str::from_utf8(value).unwrap().to_owned())
        .collect()
}

pub(super) fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
}

pub(super) async fn ask(
    origin: &Origin,
    request: OriginRequest,
) -> Result<FullResponse, OriginError> {
    whole(origin.forward(request).await?).await
}

pub(super) async fn whole(response: OriginResponse) -> Result<FullResponse, OriginError> {
    let OriginResponse {
        status,
        headers,
        framing,
        body,
        ..
    } = response;
    let mut body = pin!(body);
    let mut content = Vec::new();
    while let Some(piece) = body.next().await {
        content.extend_from_slice(&piece?);
    }
    let body = String::from_utf8(content).unwrap();
    Ok(FullResponse {
        status: status.as_u16(),
        headers,
        framing,
        body,
    })
}

/// A client's body of these pieces.
pub(super) fn pieces(list: &[&'static str]) -> BodyStream {
    let items: Vec<_> = list
        .iter()
        .map(|piece| Ok(Bytes::from_static(piece.as_bytes())))
        .collect();
    Box::pin(futures_util::stream::iter(items))
}
