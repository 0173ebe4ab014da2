//! An HTTP/2 client, whose frames `h2` writes, and the bytes of frames for tests that send other ones.

use std::{
    future::{Future, poll_fn},
    sync::mpsc,
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Method, Request, Response};
use tokio::{net::TcpStream, runtime, time::timeout};

use crate::{
    client::{Client, latin1},
    harness::TestProxy,
    waiting::DEADLINE,
};

/// What a client sends before its first frame, and an empty SETTINGS.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A frame (RFC 9113, 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head[..], payload].concat()
}

/// HEADERS of a GET for `/`, whose Host is `a`, and which ends its stream.
pub(crate) fn get_frame(stream: u32) -> Vec<u8> {
    // RFC 7541, appendix A: 2 is GET, 4 is /, 6 is http, 1 is :authority.
    frame(1, 5, stream, b"\x82\x84\x86\x41\x01a")
}

/// A connection that raw frames are sent on. The proxy has sent its first frames.
pub(crate) fn raw(proxy: &TestProxy) -> Client {
    let mut client = proxy.connect();
    client.send(PREFACE);
    // The proxy acknowledges the SETTINGS.
    client.wait_for(&latin1(&frame(4, 1, 0, b"")));
    client
}

/// A connection of its own.
pub(crate) struct Http2Client {
    requests: SendRequest<Bytes>,
}

/// A request whose response is awaited.
pub(crate) struct Http2Request {
    response: ResponseFuture,
    /// Where its body is sent.
    pub(crate) body: SendStream<Bytes>,
}

/// A response whose body may be still to come.
pub(crate) struct Http2Response {
    head: Response<RecvStream>,
}

/// How a response ended.
pub(crate) type Http2Ending = Result<(), Option<Reason>>;

/// Waits for `future`, but not for ever.
#[track_caller]
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let runtime = runtime::Builder::new_current_thread().enable_time().build();
    runtime
        .unwrap()
        .block_on(async { timeout(DEADLINE, future).await })
        .expect("within the time limit")
}

impl Http2Client {
    /// Connects with the settings of `h2`.
    pub(crate) fn connect(proxy: &TestProxy) -> Self {
        let port = proxy.port;
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (requests, connection) = h2::client::handshake(stream).await.unwrap();
                give.send(requests).unwrap();
                // It ends with the proxy, or with the test.
                let _ = connection.await;
            });
        });
        let requests = take.recv_timeout(DEADLINE).expect("the proxy accepts");
        Self { requests }
    }

    /// Sends a GET, and waits for the whole response.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> (Http2Response, String) {
        let mut response = self.request(Method::GET, target, &[], None).response();
        let (body, end) = response.body();
        assert_eq!(end, Ok(()), "{target}");
        (response, body)
    }

    /// Sends a request with these headers. A body follows unless it is `None`.
    #[track_caller]
    pub(crate) fn request(
        &self,
        method: Method,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&'static str>,
    ) -> Http2Request {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://proxy.test{target}").parse().unwrap();
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        self.send(request, body)
    }

    /// The same with any head.
    #[track_caller]
    pub(crate) fn send(&self, request: Request<()>, body: Option<&'static str>) -> Http2Request {
        let mut requests = wait(self.requests.clone().ready()).unwrap();
        let sent = requests.send_request(request, body.is_none());
        let (response, mut stream) = sent.unwrap();
        if let Some(body) = body
            && !body.is_empty()
        {
            stream
                .send_data(Bytes::from_static(body.as_bytes()), false)
                .unwrap();
        }
        Http2Request {
            response,
            body: stream,
        }
    }

    /// True if the proxy takes no more requests on this connection.
    pub(crate) fn is_ended(&self) -> bool {
        wait(self.requests.clone().ready()).is_err()
    }
}

impl Http2Request {
    /// Ends the body.
    pub(crate) fn end(mut self) -> Self {
        self.body.send_data(Bytes::new(), true).unwrap();
        self
    }

    /// Waits for an interim response.
    #[track_caller]
    pub(crate) fn interim(&mut self) -> Response<()> {
        let interim = wait(poll_fn(|context| self.response.poll_informational(context)));
        interim.expect("an interim response").unwrap()
    }

    /// Waits for the head of the response.
    #[track_caller]
    pub(crate) fn response(self) -> Http2Response {
        self.result().unwrap()
    }

    /// The same; an error if there is none.
    #[track_caller]
    pub(crate) fn result(self) -> Result<Http2Response, h2::Error> {
        let head = wait(self.response)?;
        Ok(Http2Response { head })
    }
}

impl Http2Response {
    pub(crate) fn status(&self) -> u16 {
        self.head.status().as_u16()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.head.headers()
    }

    /// The value of a header; empty without it.
    pub(crate) fn field(&self, name: &str) -> &str {
        let value = self.headers().get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// Waits for the next bytes of the body; `None` at its end.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let body = self.head.body_mut();
        let next = wait(poll_fn(|context| body.poll_data(context)));
        if let Some(Ok(bytes)) = &next {
            body.flow_control().release_capacity(bytes.len()).unwrap();
        }
        next
    }

    /// Waits for the whole body, and says how it ends.
    #[track_caller]
    pub(crate) fn body(&mut self) -> (String, Http2Ending) {
        let mut body = String::new();
        loop {
            match self.next() {
                Some(Ok(bytes)) => body.push_str(&latin1(&bytes)),
                Some(Err(error)) => return (body, Err(error.reason())),
                None => return (body, Ok(())),
            }
        }
    }
}
