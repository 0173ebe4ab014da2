//! Responses of the origin as the caller receives them.

use std::{cell::RefCell, rc::Rc};

use actix_web::http::{Method, StatusCode, header::HeaderName};

use super::peer::*;
use crate::{headers::ResponseHeaders, origin::*};

async fn answered(method: Method, response: impl AsRef<[u8]>) -> Result<FullResponse, OriginError> {
    TestOrigin::new()
        .await
        .answer(method, response.as_ref())
        .await
}

#[test]
fn bodies_of_all_framings_arrive() {
    run(async {
        let large = "x".repeat(300_000);
        for (response, framing, body) in [
            (
                "Content-Length: 5\r\n\r\nhello".to_owned(),
                BodyFraming::Length(5),
                "hello",
            ),
            (
                "Content-Length: 0\r\n\r\n".to_owned(),
                BodyFraming::Length(0),
                "",
            ),
            (
                format!("Content-Length: 300000\r\n\r\n{large}"),
                BodyFraming::Length(300_000),
                &large,
            ),
            (
                "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: u\r\n\r\n"
                    .to_owned(),
                BodyFraming::Chunked,
                "hello!",
            ),
            (
                format!(
                    "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
                    large.len()
                ),
                BodyFraming::Chunked,
                &large,
            ),
            (
                "\r\nuntil close".to_owned(),
                BodyFraming::UntilClose,
                "until close",
            ),
            (format!("\r\n{large}"), BodyFraming::UntilClose, &large),
        ] {
            let response = answered(Method::GET, format!("HTTP/1.1 200 OK\r\n{response}"))
                .await
                .unwrap();
            assert_eq!((response.framing, response.body.as_str()), (framing, body));
        }
    });
}

#[test]
fn http_1_0_bodies_arrive() {
    run(async {
        assert_eq!(
            answered(Method::GET, "HTTP/1.0 200 OK\r\n\r\nold")
                .await
                .unwrap()
                .body,
            "old"
        );
        assert_eq!(
            answered(
                Method::GET,
                "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"
            )
            .await
            .unwrap()
            .body,
            "old"
        );
    });
}

#[test]
fn cut_bodies_are_errors_in_every_framing() {
    run(async {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "",
        ] {
            let cut = answered(Method::GET, response).await.unwrap_err();
            assert_eq!(cut.kind(), OriginErrorKind::Cut, "{response:?}: {cut}");
        }
    });
}

#[test]
fn invalid_responses_are_refused() {
    run(async {
        for response in [
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\n\r\nraw",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        ] {
            let refused = answered(Method::GET, response).await.unwrap_err();
            assert_eq!(
                refused.kind(),
                OriginErrorKind::Malformed,
                "{response:?}: {refused}"
            );
        }
    });
}

#[test]
fn headers_arrive_as_the_origin_sent_them() {
    run(async {
        let response = b"HTTP/1.1 499 Odd\r\nSet-Cookie: a=1\r\nX: \xfc\r\nSet-Cookie: b=2\r\nContent-Length: 1, 1\r\n\r\nx";
        let response = answered(Method::GET, response).await.unwrap();
        assert_eq!(response.status, 499);
        let lines: Vec<_> = response.headers.iter().collect();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"Set-Cookie", b"a=1"),
            (b"X", b"\xfc"),
            (b"Set-Cookie", b"b=2"),
            (b"Content-Length", b"1"),
        ];
        assert_eq!(lines, expected);
    });
}

/// Sends two requests on one connection. The first response must not leak into the second.
async fn request_twice(method: Method, first: &str) -> FullResponse {
    let test = TestOrigin::new().await;
    let script = async {
        let mut peer = test.accept().await;
        peer.respond(first).await;
        peer.respond("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
            .await;
    };
    let client = async {
        let first = ask(&test.origin, request(method, "/1")).await.unwrap();
        assert_eq!(ask(&test.origin, get("/2")).await.unwrap().body, "second");
        first
    };
    tokio::join!(client, script).0
}

#[test]
fn interim_responses_are_taken_out_and_the_connection_stays_in_step() {
    run(async {
        let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
        for before in [
            early.to_owned(),
            early.repeat(5),
            format!("HTTP/1.1 100 Continue\r\n\r\n{early}"),
        ] {
            let first = request_twice(
                Method::GET,
                &format!("{before}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"),
            )
            .await;
            assert_eq!((first.status, first.body.as_str()), (200, "first"));
            assert!(values(&first.headers, "link").is_empty());
        }
    });
}

type Interim = Rc<RefCell<Vec<(StatusCode, ResponseHeaders)>>>;

/// A GET, and the interim responses before its response.
fn with_interim() -> (OriginRequest, Interim) {
    let interim = Interim::default();
    let mut request = get("/");
    request.interim = Some(InterimSink::new({
        let interim = Rc::clone(&interim);
        move |status, fields| interim.borrow_mut().push((status, fields))
    }));
    (request, interim)
}

fn codes(interim: &Interim) -> Vec<u16> {
    let interim = interim.borrow();
    interim.iter().map(|(status, _)| status.as_u16()).collect()
}

#[test]
fn interim_responses_are_received_as_they_arrive_with_their_headers() {
    run(async {
        let test = TestOrigin::new().await;
        let (request, interim) = with_interim();
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
                .await;
            peer.send(b"HTTP/1.1 103 \r\nLink: </a>\r\nX: \xfc\r\nLink: </b>\r\n\r\n")
                .await;
            // The final head waits for this.
            while interim.borrow().len() < 2 {
                tokio::task::yield_now().await;
            }
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
                .await;
        };
        let (whole, ()) = tokio::join!(ask(&test.origin, request), script);
        assert_eq!(whole.unwrap().headers.len(), 1);
        assert_eq!(codes(&interim), [102, 103]);
        let (_, fields) = &interim.borrow()[1];
        assert_eq!(values(fields, "link"), ["</a>", "</b>"]);
        assert_eq!(
            fields.get(&HeaderName::from_static("x")),
            Some(&b"\xfc"[..])
        );
    });
}

#[test]
fn interim_responses_are_received_on_the_second_connection_when_the_first_was_stale() {
    run(async {
        let test = TestOrigin::new().await;
        let (request, interim) = with_interim();
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
            peer.head().await;
            peer.close().await;
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 103 \r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
                .await;
        };
        let client = async {
            ask(&test.origin, get("/")).await.unwrap();
            assert_eq!(ask(&test.origin, request).await.unwrap().status, 204);
        };
        tokio::join!(client, script);
        assert_eq!(codes(&interim), [103]);
    });
}

#[test]
fn interim_responses_are_bounded() {
    run(async {
        let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(33);
        assert_eq!(
            answered(Method::GET, flood).await.unwrap_err().kind(),
            OriginErrorKind::Malformed
        );
    });
}

#[test]
fn an_interim_response_that_is_not_http_is_refused() {
    run(async {
        let odd = "HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\nHTTP/1.1 204 \r\n\r\n";
        assert_eq!(
            answered(Method::GET, odd).await.unwrap_err().kind(),
            OriginErrorKind::Malformed
        );
    });
}

#[test]
fn single_bytes_make_the_same_response() {
    run(async {
        let response = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                    5;x=y\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        let test = TestOrigin::new().await;
        let script = async {
            let mut peer = test.accept().await;
            peer.0.set_nodelay(true).unwrap();
            peer.head().await;
            for byte in response.bytes() {
                peer.send([byte]).await;
                tokio::task::yield_now().await;
            }
            peer.respond("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        let client = async {
            assert_eq!(
                ask(&test.origin, get("/1")).await.unwrap().body,
                "hello world"
            );
            assert_eq!(ask(&test.origin, get("/2")).await.unwrap().status, 204);
        };
        tokio::join!(client, script);
    });
}

#[test]
fn bodiless_responses_with_a_length_neither_hang_nor_lose_it() {
    run(async {
        for (method, first, status) in [
            (
                Method::HEAD,
                "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
                200,
            ),
            (
                Method::GET,
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n",
                304,
            ),
            (
                Method::GET,
                "HTTP/1.1 204 No Content\r\nContent-Length: 500\r\n\r\n",
                204,
            ),
        ] {
            let first = request_twice(method, first).await;
            assert_eq!(
                (first.status, first.framing, first.body.as_str()),
                (status, BodyFraming::None, "")
            );
            assert_eq!(values(&first.headers, "content-length"), ["500"]);
        }
        let head = answered(
            Method::HEAD,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        .await
        .unwrap();
        assert_eq!(head.framing, BodyFraming::None);
    });
}
