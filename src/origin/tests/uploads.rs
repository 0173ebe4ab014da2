//! Bodies of requests as the origin receives them.

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use actix_http::{body::MessageBody as _, error::PayloadError};
use actix_web::http::Method;
use bytes::Bytes;
use futures_util::{StreamExt, stream::unfold};
use tokio::{
    io::AsyncWrite,
    sync::mpsc::{Sender, channel},
};

use super::peer::*;
use crate::origin::{
    upload::{Upload, UploadProgress},
    *,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn post(body: RequestBody) -> OriginRequest {
    let mut post = request(Method::POST, "/");
    post.headers = headers(&[("host", "h")]).into();
    post.body = body;
    post
}

/// A client's body whose pieces the test sends.
fn piecemeal() -> (Sender<&'static str>, BodyStream) {
    let (sender, receiver) = channel(8);
    let stream = unfold(receiver, |mut receiver| async move {
        receiver
            .recv()
            .await
            .map(|piece: &str| (Ok(Bytes::from_static(piece.as_bytes())), receiver))
    });
    (sender, Box::pin(stream))
}

/// Checks the request as the origin reads it.
async fn uploaded(body: RequestBody, expected: &str) {
    let test = TestOrigin::new().await;
    let script = async {
        let mut peer = test.accept().await;
        peer.exactly(expected).await;
        peer.send(OK).await;
        // The next request follows directly on the connection.
        assert!(peer.head().await.starts_with("GET /next"));
        peer.send(OK).await;
    };
    let client = async {
        ask(&test.origin, post(body)).await.unwrap();
        ask(&test.origin, get("/next")).await.unwrap();
    };
    tokio::join!(client, script);
}

#[test]
fn bodies_keep_their_framing() {
    run(async {
        let head = "POST / HTTP/1.1\r\nhost: h\r\n";
        uploaded(RequestBody::Empty, &format!("{head}\r\n")).await;
        uploaded(
            RequestBody::Sized(0, pieces(&[])),
            &format!("{head}content-length: 0\r\n\r\n"),
        )
        .await;
        uploaded(
            RequestBody::Sized(5, pieces(&["he", "", "llo"])),
            &format!("{head}content-length: 5\r\n\r\nhello"),
        )
        .await;
        let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
        uploaded(
            RequestBody::Chunked(pieces(&["he", "", "llo"])),
            &format!("{chunked}2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        )
        .await;
        uploaded(
            RequestBody::Chunked(pieces(&[])),
            &format!("{chunked}0\r\n\r\n"),
        )
        .await;
    });
}

#[test]
fn small_pieces_arrive_at_once() {
    run(async {
        let test = TestOrigin::new().await;
        let (client_body, body) = piecemeal();
        let script = async {
            let mut peer = test.accept().await;
            assert!(peer.head().await.contains("transfer-encoding: chunked"));
            client_body.send("a").await.unwrap();
            peer.exactly("1\r\na\r\n").await;
            client_body.send("bc").await.unwrap();
            peer.exactly("2\r\nbc\r\n").await;
            drop(client_body);
            peer.exactly("0\r\n\r\n").await;
            peer.send(OK).await;
        };
        tokio::join!(ask(&test.origin, post(RequestBody::Chunked(body))), script)
            .0
            .unwrap();
    });
}

#[test]
fn large_uploads_arrive_completely() {
    run(async {
        let piece: &'static str = "0123456789abcdef".repeat(4096).leak();
        let body = futures_util::stream::iter(
            (0..64).map(move |_| Ok(Bytes::from_static(piece.as_bytes()))),
        );
        let total = 64 * piece.len();
        let test = TestOrigin::new().await;
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            for _ in 0..64 {
                peer.exactly(piece).await;
            }
            peer.send(OK).await;
        };
        let sized = RequestBody::Sized(total as u64, Box::pin(body));
        tokio::join!(ask(&test.origin, post(sized)), script)
            .0
            .unwrap();
    });
}

#[test]
fn an_early_refusal_is_delivered_and_the_upload_abandoned() {
    run(async {
        for ending in [
            "Content-Length: 5\r\n\r\nlarge",
            "Connection: close\r\n\r\nlarge",
        ] {
            let test = TestOrigin::new().await;
            let (client_body, body) = piecemeal();
            let script = async {
                let mut peer = test.accept().await;
                peer.head().await;
                client_body.send("some").await.unwrap();
                peer.exactly("some").await;
                // The client sends no more bytes, and the proxy does not wait for them.
                peer.send(format!("HTTP/1.1 413 Content Too Large\r\n{ending}"))
                    .await;
                if ending.contains("close") {
                    peer.close().await;
                } else {
                    peer.gone().await;
                }
            };
            let response = tokio::join!(
                ask(&test.origin, post(RequestBody::Sized(1 << 40, body))),
                script
            )
            .0
            .unwrap();
            assert_eq!((response.status, response.body.as_str()), (413, "large"));
        }
    });
}

#[test]
fn an_early_refusal_survives_an_origin_that_stops_reading_or_resets() {
    run(async {
        for resets in [false, true] {
            let test = TestOrigin::new().await;
            let endless =
                futures_util::stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 65536])));
            let script = async {
                let mut peer = test.accept().await;
                peer.respond("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
                    .await;
                // Dropped with the upload unread, the connection is reset.
                (!resets).then_some(peer)
            };
            let endless = RequestBody::Sized(1 << 40, Box::pin(endless));
            let response = tokio::join!(ask(&test.origin, post(endless)), script)
                .0
                .unwrap();
            assert_eq!((response.status, response.body.as_str()), (413, "large"));
        }
    });
}

#[test]
fn a_whole_body_needs_no_end_from_the_client() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let (client_body, body) = piecemeal();
        client_body.send("whole").await.unwrap();
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            peer.exactly("whole").await;
            peer.gone().await;
        };
        let silent = tokio::join!(ask(&test.origin, post(RequestBody::Sized(5, body))), script)
            .0
            .unwrap_err();
        assert_eq!(silent.kind(), OriginErrorKind::Timeout);
    });
}

#[test]
fn a_connection_with_an_unfinished_upload_is_not_reused() {
    run(async {
        let test = TestOrigin::new().await;
        let (client_body, body) = piecemeal();
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(OK).await;
            peer.gone().await;
            let mut other = test.accept().await;
            other.respond(OK).await;
        };
        let client = async {
            ask(&test.origin, post(RequestBody::Sized(5, body)))
                .await
                .unwrap();
            assert!(client_body.is_closed());
            ask(&test.origin, get("/next")).await.unwrap();
        };
        tokio::join!(client, script);
    });
}

#[test]
fn an_origin_may_respond_during_the_upload() {
    run(async {
        let test = TestOrigin::new().await;
        let (client_body, body) = piecemeal();
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            peer.exactly("ping").await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nping")
                .await;
            peer.exactly("pong").await;
            peer.send("pong").await;
            peer
        };
        let client = async {
            client_body.send("ping").await.unwrap();
            let response = test
                .origin
                .forward(post(RequestBody::Sized(8, body)))
                .await
                .unwrap();
            let mut body = pin!(response.body);
            assert_eq!(body.next().await.unwrap().unwrap(), "ping");
            client_body.send("pong").await.unwrap();
            drop(client_body);
            assert_eq!(body.next().await.unwrap().unwrap(), "pong");
            assert!(body.next().await.is_none());
        };
        tokio::join!(client, script);
    });
}

#[test]
fn an_incomplete_body_of_the_client_is_an_upload_error() {
    run(async {
        let broken: Vec<Result<Bytes, PayloadError>> = vec![
            Ok(Bytes::from_static(b"he")),
            Err(PayloadError::Io(io::ErrorKind::UnexpectedEof.into())),
        ];
        for body in [
            RequestBody::Chunked(Box::pin(futures_util::stream::iter(broken))),
            RequestBody::Sized(5, pieces(&["he"])),
            RequestBody::Sized(5, pieces(&["hello!"])),
        ] {
            let test = TestOrigin::new().await;
            let script = async {
                // How much was written before does not matter.
                test.accept().await.gone().await;
            };
            let failure = tokio::join!(ask(&test.origin, post(body)), script)
                .0
                .unwrap_err();
            assert_eq!(failure.kind(), OriginErrorKind::Upload, "{failure}");
        }
    });
}

/// Accepts and records every write.
#[derive(Default)]
struct Writes(Vec<Vec<u8>>);

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let bytes = written.len();
        self.get_mut().0.push(written);
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn the_head_waits_for_bytes_that_the_server_is_about_to_pass_on() {
    let (sender, body) = piecemeal();
    let mut upload = Upload::new(
        Bytes::from_static(b"head "),
        RequestBody::Chunked(body).boxed(),
        Expectation::Nothing,
    );
    let mut writes = Writes::default();
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..2 {
        upload.drive(cx, &mut writes, || ()).unwrap();
        assert!(writes.0.is_empty());
    }
    sender.try_send("ab").unwrap();
    upload.drive(cx, &mut writes, || ()).unwrap();
    assert_eq!(writes.0, [b"head 2\r\nab\r\n".to_vec()]);
}

#[test]
fn the_head_does_not_wait_for_a_client_that_sends_nothing() {
    let (_sender, body) = piecemeal();
    let mut upload = Upload::new(
        Bytes::from_static(b"head "),
        RequestBody::Chunked(body).boxed(),
        Expectation::Nothing,
    );
    let mut writes = Writes::default();
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..3 {
        upload.drive(cx, &mut writes, || ()).unwrap();
    }
    assert_eq!(writes.0, [b"head ".to_vec()]);
}

#[test]
fn bytes_already_sent_go_out_with_the_head_and_later_bytes_by_themselves() {
    let (sender, body) = piecemeal();
    let head = Bytes::from_static(b"head ");
    let mut upload = Upload::new(
        head,
        RequestBody::Chunked(body).boxed(),
        Expectation::Nothing,
    );
    let mut writes = Writes::default();
    let cx = &mut Context::from_waker(Waker::noop());
    sender.try_send("ab").unwrap();
    assert_eq!(
        upload.drive(cx, &mut writes, || ()).unwrap(),
        UploadProgress::AwaitsClient
    );
    sender.try_send("c").unwrap();
    drop(sender);
    assert_eq!(
        upload.drive(cx, &mut writes, || ()).unwrap(),
        UploadProgress::Done
    );
    let written = ["head 2\r\nab\r\n", "1\r\nc\r\n", "0\r\n\r\n"];
    assert_eq!(writes.0, written.map(|text| text.as_bytes().to_vec()));
}
