//! Asks a forward proxy for a connection to the origin (RFC 9110, 9.3.6).

use std::io;

use actix_web::http::{StatusCode, header};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::headers::write_header_line;

use super::{error::ProxyProblem, forward_proxy::ForwardProxy};

/// The longest head of a response to CONNECT, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// The most headers of a response to CONNECT.
const MAX_HEADERS: usize = 100;

/// Makes `stream` a connection to `authority`, a host with its port. The caller limits the time.
///
/// # Errors
/// The proxy refuses, or its response is not valid.
pub(super) async fn connect_through(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &ForwardProxy,
    authority: &str,
) -> Result<(), ProxyProblem> {
    let closed = |source| ProxyProblem::Closed { source };
    stream
        .write_all(&connect_request(proxy, authority))
        .await
        .map_err(closed)?;
    let mut received = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut received).await.map_err(closed)? == 0 {
            return Err(closed(io::ErrorKind::UnexpectedEof.into()));
        }
        if received.len() > MAX_HEAD_BYTES {
            return Err(ProxyProblem::Malformed);
        }
        if let Some(outcome) = outcome(&received)? {
            return outcome;
        }
    }
}

fn connect_request(proxy: &ForwardProxy, authority: &str) -> Vec<u8> {
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    if let Some(authorization) = proxy.authorization() {
        write_header_line(&mut request, &header::PROXY_AUTHORIZATION, authorization);
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// What the proxy has answered; `None` while the head of its final response is not complete.
fn outcome(received: &[u8]) -> Result<Option<Result<(), ProxyProblem>>, ProxyProblem> {
    let mut rest = received;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(rest) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(ProxyProblem::Malformed),
        };
        rest = &rest[length..];
        let code = response.code.unwrap_or_default();
        let status = StatusCode::from_u16(code).map_err(|_| ProxyProblem::Malformed)?;
        return match status.as_u16() {
            100 | 102..=199 => continue,
            // The origin's first bytes come after ours: the proxy must not send any before them.
            200..=299 if rest.is_empty() => Ok(Some(Ok(()))),
            101 | 200..=299 => Err(ProxyProblem::Malformed),
            _ => Ok(Some(Err(ProxyProblem::Refused { status }))),
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn proxy(url: &str) -> ForwardProxy {
        ForwardProxy::parse(url).unwrap()
    }

    /// How a CONNECT ends that the proxy answers with this, in pieces of this size.
    async fn answered(answer: &[u8], piece_bytes: usize) -> Result<(), ProxyProblem> {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        for piece in answer.chunks(piece_bytes) {
            theirs.write_all(piece).await.unwrap();
        }
        theirs.shutdown().await.unwrap();
        connect_through(&mut ours, &proxy("http://proxy.test"), "origin.test:443").await
    }

    #[test]
    fn the_request_names_host_and_port_and_has_the_credentials() {
        let request = connect_request(&proxy("http://me:secret@proxy.test"), "origin.test:443");
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n\
             proxy-authorization: Basic bWU6c2VjcmV0\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_2xx_opens_the_connection_however_it_is_split() {
        for answer in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200 OK\r\nVia: 1.1 p\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 \r\n\r\n",
        ] {
            for piece_bytes in [1, 7, 1000] {
                answered(answer.as_bytes(), piece_bytes).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn other_answers_are_errors_that_say_what_came() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(20_000));
        for (answer, said) in [
            (
                "HTTP/1.1 407 X\r\nA: b\r\n\r\nbody",
                "407 Proxy Authentication Required",
            ),
            ("HTTP/1.1 403 No\r\n\r\n", "403 Forbidden"),
            ("HTTP/1.1 502 \r\n\r\n", "502 Bad Gateway"),
            ("SSH-2.0-OpenSSH\r\n", "did not send a valid HTTP response"),
            (
                "HTTP/1.1 200 OK\r\n\r\nearly",
                "did not send a valid HTTP response",
            ),
            (
                "HTTP/1.1 101 X\r\n\r\n",
                "did not send a valid HTTP response",
            ),
            (long.as_str(), "did not send a valid HTTP response"),
            ("HTTP/1.1 200 OK\r\n", "closed the connection"),
            ("", "closed the connection"),
        ] {
            let error = answered(answer.as_bytes(), 1000).await.unwrap_err();
            assert!(error.to_string().contains(said), "{answer:.40}: {error}");
        }
    }
}
