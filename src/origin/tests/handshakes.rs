//! WebSocket handshakes, and connections that no longer carry HTTP.

use std::sync::Arc;

use actix_web::http::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Semaphore, oneshot},
};

use super::peer::*;
use crate::origin::*;

const ACCEPTED: &str = "HTTP/1.1 101 \r\nUpgrade: websocket\r\nX: y\r\n\r\n";

async fn offered(origin: &Origin) -> Result<HandshakeResponse, OriginError> {
    let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
    origin.offer_websocket(get("/ws"), permit).await
}

#[test]
fn an_accepted_handshake_gives_the_connection_and_what_came_with_the_101() {
    run(async {
        // All requests that are allowed are in progress.
        let origin = TestOrigin::with(|config| config.max_connections = 1).await;
        let (is_busy, busy) = oneshot::channel();
        let script = async {
            let mut request = origin.accept().await;
            request.head().await;
            is_busy.send(()).unwrap();
            let mut peer = origin.accept().await;
            let head = peer.head().await;
            assert!(head.starts_with("GET /ws HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nconnection: Upgrade\r\n"), "{head}");
            assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
            peer.send(format!("{ACCEPTED}frame")).await;
            peer.exactly("hello").await;
        };
        let client = async {
            busy.await.unwrap();
            let Ok(HandshakeResponse::Accepted(mut switched)) = offered(&origin.origin).await
            else {
                panic!("it is not accepted");
            };
            assert_eq!(switched.received, "frame");
            assert_eq!(values(&switched.headers, "x"), ["y"]);
            switched.stream.write_all(b"hello").await.unwrap();
            assert_eq!(switched.stream.read(&mut [0]).await.unwrap(), 0);
        };
        let request = ask(&origin.origin, get("/busy"));
        let (request, (), ()) = tokio::join!(request, client, script);
        assert!(matches!(request, Err(OriginError::Cut { .. })));
    });
}

#[test]
fn the_connection_of_a_refused_handshake_is_used_for_nothing_else() {
    run(async {
        let origin = TestOrigin::new().await;
        let script = async {
            let mut peer = origin.accept().await;
            peer.respond("HTTP/1.1 403 \r\nContent-Length: 2\r\n\r\nno")
                .await;
            peer.gone().await;
        };
        let client = async {
            let Ok(HandshakeResponse::Refused(response)) = offered(&origin.origin).await else {
                panic!("it is not refused");
            };
            whole(response).await.unwrap()
        };
        let (response, ()) = tokio::join!(client, script);
        assert_eq!((response.status, response.body.as_str()), (403, "no"));
        assert_eq!(response.framing, BodyFraming::Length(2));
    });
}

#[test]
fn a_101_to_what_the_request_does_not_offer_is_an_error() {
    run(async {
        for (sent, expected) in [
            (
                "HTTP/1.1 101 \r\nUpgrade: foo\r\n\r\n",
                Malformed::OtherProtocol,
            ),
            ("HTTP/1.1 101 \r\n\r\n", Malformed::OtherProtocol),
        ] {
            let origin = TestOrigin::new().await;
            let script = async {
                let mut peer = origin.accept().await;
                peer.respond(sent).await;
                peer.gone().await;
            };
            let (response, ()) = tokio::join!(offered(&origin.origin), script);
            let error = response.unwrap_err();
            assert!(
                matches!(error, OriginError::Malformed { source } if source == expected),
                "{error}"
            );
        }
        assert_eq!(
            TestOrigin::new()
                .await
                .answer(Method::GET, ACCEPTED.as_bytes())
                .await
                .unwrap_err()
                .to_string(),
            "the origin's response is not valid HTTP: it switches protocols without a request to do so"
        );
    });
}
