//! Which connections are reused, and which requests are repeated.

use std::pin::pin;

use actix_web::http::Method;
use futures_util::StreamExt;

use super::peer::*;
use crate::origin::*;

const FIRST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst";
const SECOND: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond";

#[test]
fn connections_are_reused() {
    run(async {
        let test = TestOrigin::new().await;
        let script = async {
            let mut peer = test.accept().await;
            for _ in 0..3 {
                peer.respond(FIRST).await;
            }
        };
        let client = async {
            for _ in 0..3 {
                assert_eq!(ask(&test.origin, get("/")).await.unwrap().body, "first");
            }
        };
        tokio::join!(client, script);
    });
}

#[test]
fn a_caller_that_stops_at_the_last_byte_leaves_the_connection_reusable() {
    run(async {
        let test = TestOrigin::new().await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(FIRST).await;
            peer.respond(SECOND).await;
        };
        let client = async {
            let response = test.origin.forward(get("/1")).await.unwrap();
            let mut body = pin!(response.body);
            let mut count = 0;
            while count < 5 {
                count += body.next().await.unwrap().unwrap().len();
            }
            assert_eq!(ask(&test.origin, get("/2")).await.unwrap().body, "second");
        };
        tokio::join!(client, script);
    });
}

/// The first response must not leave its connection for the second request.
async fn not_reused(first: &str, body: &str) {
    let test = TestOrigin::new().await;
    let script = async {
        let mut peer = test.accept().await;
        peer.respond(first).await;
        let mut other = test.accept().await;
        other.respond(SECOND).await;
        peer.gone().await;
    };
    let client = async {
        assert_eq!(ask(&test.origin, get("/1")).await.unwrap().body, body);
        assert_eq!(ask(&test.origin, get("/2")).await.unwrap().body, "second");
    };
    tokio::join!(client, script);
}

#[test]
fn unsafe_connections_are_not_reused() {
    run(async {
        for first in [
            // Bytes after a body of known length, after the last chunk; two framings; no persistence.
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirstHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nfirst\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nfirst",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nfirst",
        ] {
            not_reused(first, "first").await;
        }
        not_reused(
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil",
            "",
        )
        .await;
    });
}

#[test]
fn unsolicited_bytes_on_an_idle_connection_are_not_a_response() {
    run(async {
        let test = TestOrigin::new().await;
        let (sent, may_ask) = tokio::sync::oneshot::channel();
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(FIRST).await;
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                .await;
            sent.send(()).unwrap();
            let mut other = test.accept().await;
            other.respond(SECOND).await;
        };
        let client = async {
            assert_eq!(ask(&test.origin, get("/1")).await.unwrap().body, "first");
            may_ask.await.unwrap();
            let response = ask(&test.origin, request(Method::POST, "/2"))
                .await
                .unwrap();
            assert_eq!(response.body, "second");
        };
        tokio::join!(client, script);
    });
}

#[test]
fn a_body_dropped_early_closes_its_connection() {
    run(async {
        let test = TestOrigin::with(|config| config.max_connections = 1).await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\npart")
                .await;
            peer.gone().await;
            let mut other = test.accept().await;
            other.respond(SECOND).await;
        };
        let client = async {
            let response = test.origin.forward(get("/1")).await.unwrap();
            drop(response);
            assert_eq!(ask(&test.origin, get("/2")).await.unwrap().body, "second");
        };
        tokio::join!(client, script);
    });
}

/// Responds once, reads a second request, and closes without a response: no check of the idle connection can see it.
async fn close_at_second_request(test: &TestOrigin) {
    let mut peer = test.accept().await;
    peer.respond(FIRST).await;
    peer.head().await;
    peer.close().await;
}

#[test]
fn idempotent_requests_are_repeated_once_on_a_new_connection() {
    run(async {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::DELETE] {
            let test = TestOrigin::new().await;
            let script = async {
                close_at_second_request(&test).await;
                let mut fresh = test.accept().await;
                assert!(fresh.head().await.contains("x: 1\r\n"));
                fresh.send("HTTP/1.1 204 No Content\r\n\r\n").await;
                fresh.gone().await;
            };
            let client = async {
                ask(&test.origin, get("/1")).await.unwrap();
                let mut again = request(method, "/2");
                again.headers = headers(&[("x", "1")]).into();
                assert_eq!(ask(&test.origin, again).await.unwrap().status, 204);
            };
            tokio::join!(client, script);
        }
    });
}

#[test]
fn a_408_that_closes_an_idle_connection_is_not_the_response_to_a_request() {
    const IDLE_TIMEOUT: &str =
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    run(async {
        let test = TestOrigin::new().await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(FIRST).await;
            peer.respond(IDLE_TIMEOUT).await;
            peer.close().await;
            let mut other = test.accept().await;
            other.respond(SECOND).await;
            // On a new connection it is the response.
            let mut other = test.accept().await;
            other.respond(IDLE_TIMEOUT).await;
        };
        let client = async {
            ask(&test.origin, get("/1")).await.unwrap();
            assert_eq!(ask(&test.origin, get("/2")).await.unwrap().body, "second");
            assert_eq!(ask(&test.origin, get("/3")).await.unwrap().status, 408);
        };
        tokio::join!(client, script);
    });
}

#[test]
fn a_repeated_request_is_not_repeated_again() {
    run(async {
        let test = TestOrigin::new().await;
        let script = async {
            close_at_second_request(&test).await;
            let mut fresh = test.accept().await;
            fresh.head().await;
            fresh.close().await;
        };
        let client = async {
            ask(&test.origin, get("/1")).await.unwrap();
            assert_eq!(
                ask(&test.origin, get("/2")).await.unwrap_err().kind(),
                OriginErrorKind::Cut
            );
        };
        tokio::join!(client, script);
    });
}

#[test]
fn no_other_request_is_repeated() {
    run(async {
        let post = || request(Method::POST, "/2");
        let put = || {
            let mut put = request(Method::PUT, "/2");
            put.body = RequestBody::Sized(2, pieces(&["hi"]));
            put
        };
        let makers: [&dyn Fn() -> OriginRequest; 2] = [&post, &put];
        for unsafe_request in makers {
            let test = TestOrigin::new().await;
            let client = async {
                ask(&test.origin, get("/1")).await.unwrap();
                assert_eq!(
                    ask(&test.origin, unsafe_request())
                        .await
                        .unwrap_err()
                        .kind(),
                    OriginErrorKind::Cut
                );
            };
            tokio::join!(client, close_at_second_request(&test));
        }
        // Not on a new connection, and not after a response has begun.
        let test = TestOrigin::new().await;
        assert_eq!(
            test.answer(Method::GET, b"").await.unwrap_err().kind(),
            OriginErrorKind::Cut
        );
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(FIRST).await;
            peer.respond("HTTP/1.1 2").await;
            peer.close().await;
        };
        let client = async {
            ask(&test.origin, get("/1")).await.unwrap();
            assert_eq!(
                ask(&test.origin, get("/2")).await.unwrap_err().kind(),
                OriginErrorKind::Cut
            );
        };
        tokio::join!(client, script);
    });
}

#[test]
fn a_connection_closed_while_idle_is_seen_before_a_post() {
    run(async {
        let test = TestOrigin::new().await;
        let (closed, may_ask) = tokio::sync::oneshot::channel();
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(FIRST).await;
            peer.close().await;
            closed.send(()).unwrap();
            let mut other = test.accept().await;
            other.respond(SECOND).await;
        };
        let client = async {
            ask(&test.origin, get("/1")).await.unwrap();
            may_ask.await.unwrap();
            assert_eq!(
                ask(&test.origin, request(Method::POST, "/2"))
                    .await
                    .unwrap()
                    .body,
                "second"
            );
        };
        tokio::join!(client, script);
    });
}
