//! The limit between requests.

use std::{future::poll_fn, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{cache::WorkerCacheMode, config::Config, origin::OriginUrl, server::Server};

const PIECE: &[u8] = &[b'x'; 64 * 1024];

/// Writes pieces until the client has to read. Returns how many bytes were written.
async fn fill(io: &mut ClientIo) -> usize {
    let mut written = 0;
    poll_fn(|context| {
        loop {
            match Pin::new(&mut *io).poll_write(context, PIECE) {
                Poll::Ready(bytes) => written += bytes.unwrap(),
                Poll::Pending => return Poll::Ready(()),
            }
        }
    })
    .await;
    written
}

/// What a read gives when the limit between requests has passed; pending if the connection stays open.
async fn read_after_limit(io: &mut ClientIo) -> Poll<usize> {
    poll_fn(|context| io.request_timer.as_mut().poll(context)).await;
    poll_fn(|context| {
        let mut bytes = [0; 8];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut *io).poll_read(context, &mut buffer);
        Poll::Ready(read.map(|read| {
            read.unwrap();
            buffer.filled().len()
        }))
    })
    .await
}

#[test]
fn a_client_that_still_reads_its_response_is_not_idle() {
    actix_rt::System::new().block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let limit = Duration::from_millis(1);
        let limits = Limits {
            head: limit,
            idle: limit,
            stall: Duration::from_secs(3600),
        };
        let refusals = RefusalLog::new(Rc::default(), None, None);
        let stopping = actix_server::Server::build().graceful_shutdown_signal();
        let of_worker = (Rc::new(refusals), stopping);
        let mut io = ClientIo::new((stream, None), false, limits, of_worker, BytesMut::new());
        let mut written = fill(&mut io).await;
        for _ in 0..3 {
            assert!(read_after_limit(&mut io).await.is_pending());
        }
        // The client reads, so the last piece leaves.
        let reads = async {
            let mut bytes = vec![0; written];
            client.read_exact(&mut bytes).await.unwrap();
        };
        let (rest, ()) = tokio::join!(io.write(PIECE), reads);
        written = rest.unwrap();
        assert!(written > 0);
        assert_eq!(read_after_limit(&mut io).await, Poll::Ready(0));
        drop(io);
        assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), written);
    });
}

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
