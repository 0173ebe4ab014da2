//! Bytes in both directions between a client and the origin, and the time limits of a tunnel.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use futures_core::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use super::pipe::{Pipe, PipeFault};
use crate::observe::TunnelEnd;

/// How long a tunnel may be quiet of which one side has ended.
const HALF_CLOSED_LIMIT: Duration = Duration::from_secs(30);
/// How long a tunnel may be quiet while the proxy stops.
const QUIET_STOP_LIMIT: Duration = Duration::from_secs(1);
/// How long a tunnel may last while the proxy stops. The proxy waits a little longer for its connections.
const STOP_LIMIT: Duration = Duration::from_secs(8);

/// Both directions between a client and an origin that is connected by `O`.
pub(super) struct Relay<O> {
    origin: O,
    to_origin: Pipe,
    to_client: Pipe,
    idle: Duration,
    /// When bytes passed last.
    active_at: Instant,
    timer: Pin<Box<Sleep>>,
    /// Resolves when the proxy begins to stop; `None` after that.
    stopping: Option<LocalBoxFuture<'static, ()>>,
    /// When the proxy began to stop; `None` as long as it does not.
    stopped_at: Option<Instant>,
    /// What happened first to end the tunnel; `None` as long as both sides are open.
    end: Option<TunnelEnd>,
}

impl<O: AsyncRead + AsyncWrite + Unpin> Relay<O> {
    /// `received` came from the origin before. Without a byte in either direction for `idle` the tunnel ends.
    pub(super) fn new(origin: O, received: BytesMut, idle: Duration) -> Self {
        Self {
            origin,
            to_origin: Pipe::new(BytesMut::new()),
            to_client: Pipe::new(received),
            idle,
            active_at: Instant::now(),
            timer: Box::pin(sleep(idle)),
            stopping: None,
            stopped_at: None,
            end: None,
        }
    }

    /// The client has sent `received` before. `stopping` resolves when the proxy begins to stop.
    pub(super) fn begin(&mut self, received: BytesMut, stopping: LocalBoxFuture<'static, ()>) {
        self.to_origin.hold(received);
        self.stopping = Some(stopping);
        self.active_at = Instant::now();
    }

    /// Bytes that were passed on to the origin, and to the client.
    pub(super) fn passed_bytes(&self) -> (u64, u64) {
        let (up, down) = (&self.to_origin, &self.to_client);
        (up.passed_bytes(), down.passed_bytes())
    }

    /// Passes on as many bytes as possible. Ready when both sides have ended, or a time limit has passed.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Poll<TunnelEnd> {
        let before = self.passed_bytes();
        let ended = self.poll_pipes(context, client);
        if self.passed_bytes() != before {
            self.active_at = Instant::now();
        }
        if let Poll::Ready(end) = ended {
            return Poll::Ready(end);
        }
        let end = ready!(self.poll_limits(context));
        // The client is told by its own connection. TLS has a message for it, which is sent if that is possible at once.
        let _ = Pin::new(&mut self.origin).poll_shutdown(context);
        Poll::Ready(end)
    }

    fn poll_pipes(
        &mut self,
        context: &mut Context<'_>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Poll<TunnelEnd> {
        loop {
            let up = self.to_origin.poll(context, client, &mut self.origin);
            let down = self.to_client.poll(context, &mut self.origin, client);
            if let Poll::Ready(Err(fault)) = up {
                self.up_failed(fault);
            }
            if let Poll::Ready(Err(fault)) = down {
                self.down_failed(fault);
            }
            if !self.to_origin.is_open() {
                self.end.get_or_insert(TunnelEnd::Client);
            }
            if !self.to_client.is_open() {
                self.end.get_or_insert(TunnelEnd::Origin);
            }
            match (up, down) {
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {
                    return Poll::Ready(self.end.unwrap_or(TunnelEnd::Origin));
                }
                (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {}
                _ => return Poll::Pending,
            }
        }
    }

    /// A side that takes no more bytes may still have sent some, so the other direction goes on until it ends.
    fn up_failed(&mut self, fault: PipeFault) {
        match fault {
            PipeFault::Input => {
                self.end.get_or_insert(TunnelEnd::ClientReset);
                self.to_client.close();
            }
            PipeFault::Output => {
                self.end.get_or_insert(TunnelEnd::OriginReset);
            }
        }
    }

    fn down_failed(&mut self, fault: PipeFault) {
        match fault {
            PipeFault::Input => {
                self.end.get_or_insert(TunnelEnd::OriginReset);
                self.to_origin.close();
            }
            PipeFault::Output => {
                self.end.get_or_insert(TunnelEnd::ClientReset);
            }
        }
    }

    /// Ready when the tunnel has been quiet for too long, or has to end because the proxy stops.
    fn poll_limits(&mut self, context: &mut Context<'_>) -> Poll<TunnelEnd> {
        if let Some(stopping) = &mut self.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            self.stopping = None;
            self.stopped_at = Some(Instant::now());
        }
        let deadline = self.deadline();
        loop {
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if deadline <= Instant::now() {
                return Poll::Ready(match self.stopped_at {
                    Some(_) => TunnelEnd::Stop,
                    None => self.end.unwrap_or(TunnelEnd::Idle),
                });
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    fn deadline(&self) -> Instant {
        let is_whole = self.to_origin.is_open() && self.to_client.is_open();
        let quiet = match is_whole {
            true => self.idle,
            false => self.idle.min(HALF_CLOSED_LIMIT),
        };
        match self.stopped_at {
            None => self.active_at + quiet,
            Some(stopped_at) => {
                let quiet_until = self.active_at + quiet.min(QUIET_STOP_LIMIT);
                quiet_until.min(stopped_at + STOP_LIMIT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use socket2::SockRef;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        net::{TcpListener, TcpStream},
    };

    use super::{super::pipe::BUFFER_BYTES, *};

    const NEVER: Duration = Duration::from_secs(3600);
    const ROOM_BYTES: usize = 64;

    /// A relay that has begun, the client's connection that it reads, and the far ends of client and origin.
    struct Ends {
        relay: Relay<DuplexStream>,
        accepted: DuplexStream,
        client: DuplexStream,
        origin: DuplexStream,
    }

    impl Ends {
        fn new(idle: Duration) -> Self {
            let (near, origin) = duplex(ROOM_BYTES);
            let (accepted, client) = duplex(ROOM_BYTES);
            let mut relay = Relay::new(near, BytesMut::from("from the origin"), idle);
            relay.begin(BytesMut::from("from the client"), Box::pin(pending()));
            Self {
                relay,
                accepted,
                client,
                origin,
            }
        }
    }

    async fn ended<O: AsyncRead + AsyncWrite + Unpin>(
        relay: &mut Relay<O>,
        client: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> TunnelEnd {
        poll_fn(|context| relay.poll(context, client)).await
    }

    async fn rest(stream: &mut DuplexStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn what_was_read_before_goes_first_and_an_end_leaves_the_other_direction_open() {
        let mut ends = Ends::new(NEVER);
        let script = async {
            ends.client.write_all(b", and more").await.unwrap();
            ends.client.shutdown().await.unwrap();
            assert_eq!(rest(&mut ends.origin).await, "from the client, and more");
            ends.origin.write_all(b", and the last").await.unwrap();
            ends.origin.shutdown().await.unwrap();
            assert_eq!(
                rest(&mut ends.client).await,
                "from the origin, and the last"
            );
        };
        let (end, ()) = tokio::join!(ended(&mut ends.relay, &mut ends.accepted), script);
        assert_eq!(end, TunnelEnd::Client);
        assert_eq!(ends.relay.passed_bytes(), (25, 29));
    }

    #[tokio::test]
    async fn a_side_that_takes_no_bytes_stops_the_other() {
        let mut ends = Ends::new(NEVER);
        let mut sent = 0;
        poll_fn(|context| {
            loop {
                let polled = ends.relay.poll(context, &mut ends.accepted);
                assert!(polled.is_pending());
                match Pin::new(&mut ends.origin).poll_write(context, &[b'x'; ROOM_BYTES]) {
                    Poll::Ready(written) => sent += written.unwrap(),
                    Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
        assert!(sent <= BUFFER_BYTES + 3 * ROOM_BYTES, "{sent} bytes");
        // The other direction is not stopped.
        let mut bytes = [0; 15];
        ends.origin.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"from the client");
        // Nothing is lost.
        drop(ends.origin);
        let script = async {
            let received = rest(&mut ends.client).await.len();
            ends.client.shutdown().await.unwrap();
            received
        };
        let (_, received) = tokio::join!(ended(&mut ends.relay, &mut ends.accepted), script);
        assert_eq!(received, "from the origin".len() + sent);
    }

    #[tokio::test]
    async fn a_quiet_tunnel_ends_and_the_origin_is_told() {
        let mut ends = Ends::new(Duration::from_millis(20));
        let end = ended(&mut ends.relay, &mut ends.accepted).await;
        assert_eq!(end, TunnelEnd::Idle);
        assert_eq!(rest(&mut ends.origin).await, "from the client");
    }

    #[tokio::test]
    async fn bytes_of_one_side_put_the_end_of_a_quiet_tunnel_off() {
        let mut ends = Ends::new(NEVER);
        let mut deadline = ends.relay.deadline();
        for side in [&mut ends.origin, &mut ends.client] {
            side.write_all(b"ping").await.unwrap();
            poll_fn(|context| {
                let polled = ends.relay.poll(context, &mut ends.accepted);
                assert!(polled.is_pending());
                Poll::Ready(())
            })
            .await;
            assert!(ends.relay.deadline() > deadline);
            deadline = ends.relay.deadline();
        }
    }

    #[tokio::test]
    async fn a_quiet_tunnel_ends_soon_when_the_proxy_stops() {
        let mut ends = Ends::new(NEVER);
        ends.relay.begin(BytesMut::new(), Box::pin(ready(())));
        let end = ended(&mut ends.relay, &mut ends.accepted).await;
        assert_eq!(end, TunnelEnd::Stop);
        assert!(ends.relay.active_at.elapsed() >= QUIET_STOP_LIMIT);
    }

    /// The two ends of a TCP connection.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await;
        (near.unwrap(), listener.accept().await.unwrap().0)
    }

    fn reset(stream: TcpStream) {
        let socket = SockRef::from(&stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    #[tokio::test]
    async fn a_reset_of_the_client_ends_the_tunnel() {
        let (near, mut origin) = connection().await;
        let (mut accepted, client) = connection().await;
        let mut relay = Relay::new(near, BytesMut::new(), NEVER);
        reset(client);
        let end = ended(&mut relay, &mut accepted).await;
        assert_eq!(end, TunnelEnd::ClientReset);
        assert_eq!(origin.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_reset_of_the_origin_ends_the_tunnel_after_what_was_sent_before() {
        let (near, mut origin) = connection().await;
        let (mut accepted, mut client) = connection().await;
        let mut relay = Relay::new(near, BytesMut::new(), NEVER);
        origin.write_all(b"last").await.unwrap();
        let script = async {
            let mut bytes = [0; 4];
            client.read_exact(&mut bytes).await.unwrap();
            reset(origin);
            assert_eq!(client.read(&mut bytes).await.unwrap(), 0);
        };
        let (end, ()) = tokio::join!(ended(&mut relay, &mut accepted), script);
        assert_eq!(end, TunnelEnd::OriginReset);
    }
}
