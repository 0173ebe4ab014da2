//! The limit between requests.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    cache::WorkerCacheMode,
    config::Config,
    origin::OriginUrl,
    server::{Limits, Server},
};

#[test]
fn a_connection_is_closed_when_it_was_idle_for_too_long_after_a_response() {
    actix_rt::System::new().block_on(async {
        let config = Config::for_origin(OriginUrl::parse("http://127.0.0.1:1").unwrap());
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits {
            head: Duration::from_secs(3600),
            idle: Duration::from_millis(50),
            stall: Duration::from_secs(3600),
            handshake: Duration::from_secs(3600),
        };
        let options = (WorkerCacheMode::On, limits);
        let server =
            Server::start_with_limits(Arc::new(config), None, vec![listener], options).unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        // The proxy answers this itself.
        let request = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut received = Vec::new();
        let read = client.read_to_end(&mut received);
        let read = tokio::time::timeout(Duration::from_secs(20), read).await;
        assert!(read.is_ok(), "the connection is still open");
        assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
        server.stop().await;
    });
}
