//! The limits of a connection without requests.

use std::{sync::Arc, time::Duration};

use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use crate::{
    cache::WorkerCacheMode,
    config::Config,
    origin::OriginUrl,
    server::{Limits, Server},
};

/// A server with these limits, and a connection to it.
async fn connected(head: Duration, idle: Duration) -> (Server, TcpStream) {
    let config = Config::for_origin(OriginUrl::parse("http://127.0.0.1:1").unwrap());
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let limits = Limits {
        head,
        idle,
        stall: LONG,
        handshake: LONG,
    };
    let options = (WorkerCacheMode::On, limits);
    let server =
        Server::start_with_limits(Arc::new(config), None, vec![listener], options).unwrap();
    (server, TcpStream::connect(address).await.unwrap())
}

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_connection_ends_cleanly_when_it_was_without_requests_for_too_long() {
    actix_rt::System::new().block_on(async {
        let (server, stream) = connected(LONG, SHORT).await;
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let ended = timeout(Duration::from_secs(20), connection).await;
        ended.expect("the connection is still open").unwrap();
        drop(requests);
        server.stop().await;
    });
}

#[test]
fn a_client_that_sends_no_preface_is_not_waited_for() {
    use tokio::io::AsyncWriteExt as _;
    actix_rt::System::new().block_on(async {
        let (server, mut stream) = connected(SHORT, LONG).await;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.unwrap();
        let mut received = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut received)).await;
        read.expect("the connection is still open").ok();
        server.stop().await;
    });
}
