//! Silence, refusal and the limit of connections.

use std::{
    pin::{Pin, pin},
    task::Poll,
};

use actix_web::http::Method;
use bytes::Bytes;
use futures_util::{StreamExt, stream::poll_fn};
use tokio::{
    net::TcpStream,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::Instant,
};

use super::peer::*;
use crate::origin::*;

fn phase_of(error: &OriginError) -> Phase {
    match error {
        OriginError::Timeout { phase, limit, .. } if *limit == WaitLimit::timeout(HASTY) => *phase,
        other => panic!("{other}"),
    }
}

#[test]
fn silence_before_the_first_byte_times_out() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            peer.gone().await;
        };
        let silent = tokio::join!(ask(&test.origin, get("/")), script)
            .0
            .unwrap_err();
        assert_eq!(
            (silent.kind(), phase_of(&silent)),
            (OriginErrorKind::Timeout, Phase::FirstByte)
        );
    });
}

#[test]
fn a_head_that_never_ends_times_out() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 200 OK\r\nA: ").await;
            let mut pace = tokio::time::interval(HASTY / 10);
            loop {
                pace.tick().await;
                peer.send("a").await;
            }
        };
        let dripping = tokio::select! {
            response = ask(&test.origin, get("/")) => response.unwrap_err(),
            () = script => unreachable!(),
        };
        assert_eq!(dripping.kind(), OriginErrorKind::Timeout);
    });
}

#[test]
fn silence_within_a_body_times_out() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
                .await;
            peer.gone().await;
        };
        let silent = tokio::join!(ask(&test.origin, get("/")), script)
            .0
            .unwrap_err();
        assert_eq!(phase_of(&silent), Phase::Body);
    });
}

#[test]
fn event_streams_may_pause() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\ndata: 1\n\n",
        )
        .await;
            peer
        };
        let client = async {
            let response = test.origin.forward(get("/")).await.unwrap();
            let mut body = pin!(response.body);
            assert_eq!(body.next().await.unwrap().unwrap(), "data: 1\n\n");
            // Waits longer than the limit.
            tokio::time::timeout(HASTY * 3, body.next())
                .await
                .unwrap_err();
        };
        tokio::join!(client, script);
    });
}

#[test]
fn a_silent_handshake_times_out_as_connecting() {
    run(async {
        let test = TestOrigin::with(|config| {
            config.timeout = HASTY;
            config.destination.url = OriginUrl::parse(
                &config
                    .destination
                    .url
                    .to_string()
                    .replace("http:", "https:"),
            )
            .unwrap();
            let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), certificate.cert.pem()).unwrap();
            config.destination.tls = Some(tls_config(Some(file.path())).unwrap());
        })
        .await;
        let script = async { test.accept().await.gone().await };
        let silent = tokio::join!(ask(&test.origin, get("/")), script)
            .0
            .unwrap_err();
        assert_eq!(phase_of(&silent), Phase::Connecting);
    });
}

#[test]
fn a_slow_client_is_not_the_origin_s_silence() {
    run(async {
        let test = TestOrigin::with(|config| config.timeout = HASTY).await;
        let (early, is_early) = oneshot::channel();
        let (limit_passed, has_passed) = oneshot::channel();
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            peer.exactly("early, ").await;
            early.send(()).unwrap();
            test.accept().await.gone().await;
            peer.exactly("late").await;
            peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        // The client takes longer than the limit for the origin: a request that is sent meanwhile reaches it.
        let silent = async {
            is_early.await.unwrap();
            let silent = ask(&test.origin, get("/")).await.unwrap_err();
            assert_eq!(phase_of(&silent), Phase::FirstByte);
            limit_passed.send(()).unwrap();
        };
        let mut put = request(Method::PUT, "/");
        let late = futures_util::stream::once(async {
            has_passed.await.unwrap();
            Ok(Bytes::from_static(b"late"))
        });
        put.body = RequestBody::Sized(11, Box::pin(pieces(&["early, "]).chain(late)));
        let response = tokio::join!(ask(&test.origin, put), script, silent).0;
        assert_eq!(response.unwrap().status, 204);
    });
}

#[test]
fn refused_connections_and_unknown_hosts_are_unreachable() {
    run(async {
        let (_held, address) = refusing();
        let origin = Origin::new(config(&format!("http://{address}")));
        let refused = ask(&origin, get("/")).await.unwrap_err();
        assert_eq!(refused.kind(), OriginErrorKind::Unreachable);
        assert!(
            refused
                .to_string()
                .ends_with("cannot be reached: connection refused"),
            "{refused}"
        );

        // A label of 64 letters is refused by the resolver itself, without a network.
        let unknown = Origin::new(config(&format!("http://{}.invalid", "a".repeat(64))));
        let unknown = ask(&unknown, get("/")).await.unwrap_err();
        assert!(
            matches!(unknown, OriginError::UnknownHost { .. }),
            "{unknown}"
        );
        assert_eq!(unknown.kind(), OriginErrorKind::Unreachable);
    });
}

#[test]
fn too_many_connections_are_refused_after_a_bounded_wait() {
    run(async {
        let test = TestOrigin::with(|config| {
            config.timeout = HASTY;
            config.max_connections = 1;
        })
        .await;
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
                .await;
            peer
        };
        let (held, _peer) = tokio::join!(test.origin.forward(get("/")), script);
        let busy = ask(&test.origin, get("/")).await.unwrap_err();
        assert_eq!(busy.kind(), OriginErrorKind::Busy);
        drop(held);
        let again = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        assert_eq!(
            tokio::join!(ask(&test.origin, get("/")), again)
                .0
                .unwrap()
                .status,
            204
        );
    });
}

/// A POST of three bytes, which the test sends.
fn post_by_hand() -> (UnboundedSender<&'static str>, OriginRequest) {
    let (sender, mut receiver) = unbounded_channel();
    let body = poll_fn(move |cx| {
        let piece: Poll<Option<&str>> = receiver.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| Ok(Bytes::from_static(piece.as_bytes()))))
    });
    let mut post = request(Method::POST, "/");
    post.body = RequestBody::Sized(3, Box::pin(body));
    (sender, post)
}

/// Waits until a body of which "a" has come is on its way to the origin.
async fn begun(test: &TestOrigin, mut response: Pin<&mut impl Future>) -> Peer<TcpStream> {
    let arrived = async {
        let mut peer = test.accept().await;
        peer.head().await;
        peer.exactly("a").await;
        peer
    };
    tokio::select! {
        biased;
        _ = &mut response => panic!("a response to half a request"),
        peer = arrived => peer,
    }
}

#[test]
fn a_body_that_has_come_whole_waits_for_no_slow_one() {
    run(async {
        let test = TestOrigin::with(|config| config.max_connections = 2).await;
        let (slow, post) = post_by_hand();
        slow.send("a").unwrap();
        let mut slow_response = pin!(ask(&test.origin, post));
        let _slow_peer = begun(&test, slow_response.as_mut()).await;
        let (whole, post) = post_by_hand();
        whole.send("abc").unwrap();
        let script = async {
            let mut peer = test.accept().await;
            peer.head().await;
            peer.exactly("abc").await;
            peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        let begin = Instant::now();
        let (answered, ()) = tokio::join!(ask(&test.origin, post), script);
        assert_eq!(answered.unwrap().status, 204);
        // A slow body would give way after a second.
        assert!(begin.elapsed() < HASTY);
    });
}

#[test]
fn slow_bodies_leave_half_of_the_connections_to_other_requests() {
    run(async {
        let test = TestOrigin::with(|config| {
            // The wait ends before a slow body has to give way.
            config.timeout = HASTY / 2;
            config.max_connections = 2;
        })
        .await;
        let (slow, post) = post_by_hand();
        slow.send("a").unwrap();
        let mut slow_response = pin!(ask(&test.origin, post));
        let mut slow_peer = begun(&test, slow_response.as_mut()).await;
        let (other, post) = post_by_hand();
        other.send("ab").unwrap();
        let busy = ask(&test.origin, post).await.unwrap_err();
        assert!(
            matches!(busy, OriginError::BusyUploading { max_uploads: 1 }),
            "{busy}"
        );
        assert_eq!(busy.kind(), OriginErrorKind::Busy);
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 204 No Content\r\n\r\n").await;
            peer
        };
        let (answered, mut peer) = tokio::join!(ask(&test.origin, get("/")), script);
        assert_eq!(answered.unwrap().status, 204);
        // The body is whole: it is only the response that is awaited.
        slow.send("bc").unwrap();
        let arrived = slow_peer.exactly("bc");
        tokio::select! {
            biased;
            _ = &mut slow_response => panic!("a response before it was sent"),
            () = arrived => {}
        };
        let (other, post) = post_by_hand();
        other.send("ab").unwrap();
        let script = async {
            assert!(peer.head().await.starts_with("POST / "));
            peer.exactly("ab").await;
            other.send("c").unwrap();
            peer.exactly("c").await;
            peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        let (answered, ()) = tokio::join!(ask(&test.origin, post), script);
        assert_eq!(answered.unwrap().status, 204);
    });
}

#[test]
fn the_body_that_is_furthest_behind_gives_way_to_another() {
    run(async {
        let test = TestOrigin::with(|config| config.max_connections = 4).await;
        let begin = || {
            let (client, post) = post_by_hand();
            client.send("a").unwrap();
            (client, Box::pin(ask(&test.origin, post)))
        };
        let (_slowest, mut slowest) = begin();
        let mut slowest_peer = begun(&test, slowest.as_mut()).await;
        // It is waited for later than the first one.
        let (slow, mut slow_response) = begin();
        let (other, mut other_response) = begin();
        let given_way = async {
            let gone = slowest_peer.gone();
            let failed = tokio::join!(&mut slowest, gone).0.unwrap_err();
            assert!(failed.is_client_silent(), "{failed}");
            assert!(failed.to_string().contains("its place"), "{failed}");
            slow.send("bc").unwrap();
            other.send("bc").unwrap();
            for _ in 0..2 {
                let mut peer = test.accept().await;
                peer.head().await;
                peer.exactly("abc").await;
                peer.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                    .await;
            }
        };
        let (slow, other, ()) = tokio::join!(&mut slow_response, &mut other_response, given_way);
        assert_eq!((slow.unwrap().status, other.unwrap().status), (204, 204));
    });
}

#[test]
fn a_body_takes_a_connection_when_its_first_bytes_have_come() {
    run(async {
        let test = TestOrigin::with(|config| {
            config.timeout = HASTY;
            config.max_connections = 1;
        })
        .await;
        let (client, post) = post_by_hand();
        let mut posting = pin!(ask(&test.origin, post));
        let script = async {
            let mut peer = test.accept().await;
            peer.respond("HTTP/1.1 204 No Content\r\n\r\n").await;
            peer
        };
        let getting = async { tokio::join!(ask(&test.origin, get("/")), script) };
        let (answered, mut peer) = tokio::select! {
            biased;
            _ = &mut posting => panic!("a response without a body"),
            answered = getting => answered,
        };
        assert_eq!(answered.unwrap().status, 204);
        client.send("abc").unwrap();
        let script = async {
            assert!(peer.head().await.starts_with("POST / "));
            peer.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        };
        assert_eq!(tokio::join!(posting, script).0.unwrap().status, 204);
    });
}
