//! A server that answers what it wants.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::sync::Notify;

use super::{Instance, RedisServer, settings, timing, until};
use crate::redis::{RedisSettings, check, connect::Connector, url::RedisUrl};

/// A server that answers the first piece of a request with some bytes, and each other piece with others. It counts its
/// connections.
fn server_that_says(first: &'static [u8], answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else {
                return;
            };
            counted.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut request = [0; 4096];
                let mut answers = std::iter::once(first).chain(std::iter::repeat(answer));
                while stream.read(&mut request).is_ok_and(|length| length > 0)
                    && stream.write_all(answers.next().unwrap()).is_ok()
                {}
            });
        }
    });
    (url, connections)
}

#[tokio::test]
async fn whatever_a_server_answers_it_is_not_used() {
    let answers: [&[u8]; 8] = [
        b"garbage\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$2000000000\r\n",
        b"*2000000000\r\n",
        b"%1\r\n+server\r\n+other\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"\xff\xfe\x00\r\n",
    ];
    for answer in answers {
        let (url, connections) = server_that_says(answer, answer);
        let mut timing = timing();
        timing.connect = Duration::from_millis(300);
        timing.answer = Duration::from_millis(300);
        let one = Instance::open(settings(&url, "1"), timing);
        until(|| connections.load(Ordering::SeqCst) > 3).await;
        assert!(!one.redis.is_usable());
        assert!(one.beginnings().is_empty());
        assert!(one.redis.stats().bypassed.is_some());
    }
}

#[tokio::test]
async fn a_reply_that_is_too_long_ends_the_connection_before_it_has_come() {
    for answer in [&b"$2000000000\r\nx"[..], b"*2000000000\r\n"] {
        let (url, _) = server_that_says(b"%0\r\n+OK\r\n+OK\r\n", answer);
        let url: RedisUrl = url.parse().unwrap();
        let connector = Connector {
            url: url.clone(),
            tls: None,
            limit: Duration::from_secs(5),
        };
        let lost = Arc::new(Notify::new());
        let connected = connector.connect(&url.places[0], &lost, None).await;
        let connection = connected.unwrap();
        assert!(connection.send(&redis::cmd("PING")).await.is_err());
        lost.notified().await;
    }
}

/// Passes bytes on, in both directions, over TLS on the side of the client.
fn tls_before(server: &RedisServer) -> (String, Arc<rustls::ClientConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.into())
        .unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let socket = server.socket();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, socket) = (acceptor.clone(), socket.clone());
            tokio::spawn(async move {
                let Ok(client) = acceptor.accept(stream).await else {
                    return;
                };
                let server = tokio::net::UnixStream::connect(socket).await.unwrap();
                let (mut from_client, mut to_client) = tokio::io::split(client);
                let (mut from_server, mut to_server) = tokio::io::split(server);
                tokio::join!(
                    async { drop(tokio::io::copy(&mut from_client, &mut to_server).await) },
                    async { drop(tokio::io::copy(&mut from_server, &mut to_client).await) }
                );
            });
        }
    });
    (format!("rediss://localhost:{port}"), Arc::new(client))
}

#[tokio::test]
#[ignore = "needs redis-server: cargo test -- --include-ignored"]
async fn redis_is_reached_over_tls_and_its_certificate_is_checked() {
    let server = RedisServer::start();
    let (url, tls) = tls_before(&server);
    let with_tls = |url: &str| RedisSettings {
        tls: Some(tls.clone()),
        ..settings(url, "1")
    };
    let one = Instance::open(with_tls(&url), timing());
    one.is_ready().await;
    one.put(one.record("/a", &vec![b'x'; 1_000_000])).await;
    assert_eq!(one.body("/a").await.map(|body| body.len()), Some(1_000_000));
    let wrong_name = url.replace("localhost", "127.0.0.1");
    let error = check(&wrong_name.parse().unwrap(), "test", Some(tls.clone())).await;
    assert!(error.unwrap_err().to_string().contains("certificate"));
    let missing = crate::redis::Redis::open(settings(&url, "1"));
    assert!(missing.is_err());
}
