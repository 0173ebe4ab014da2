//! A connection to the origin beneath HTTP: TCP, TLS over TCP, or a Unix socket.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::Instant,
};
use tokio_rustls::client::TlsStream;

/// A connection to the origin. With TLS, an end without close_notify is an error: the connection may have been cut.
#[derive(Debug)]
pub struct OriginStream {
    layers: StreamLayers,
    opened: Instant,
}

#[derive(Debug)]
enum StreamLayers {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

impl OriginStream {
    /// A connection without TLS that was opened just now.
    pub(super) fn plain(tcp: TcpStream) -> Self {
        Self::opened_at(Instant::now(), StreamLayers::Plain(tcp))
    }

    /// A connection with TLS that was opened just now.
    pub(super) fn tls(tls: TlsStream<TcpStream>) -> Self {
        Self::opened_at(Instant::now(), StreamLayers::Tls(Box::new(tls)))
    }

    /// A connection to a Unix socket that was opened just now.
    pub(super) fn unix(unix: UnixStream) -> Self {
        Self::opened_at(Instant::now(), StreamLayers::Unix(unix))
    }

    fn opened_at(opened: Instant, layers: StreamLayers) -> Self {
        Self { layers, opened }
    }

    /// When it was opened.
    pub(super) fn opened(&self) -> Instant {
        self.opened
    }

    pub(super) fn socket(&self) -> SockRef<'_> {
        match &self.layers {
            StreamLayers::Plain(tcp) => SockRef::from(tcp),
            StreamLayers::Tls(tls) => SockRef::from(tls.get_ref().0),
            StreamLayers::Unix(unix) => SockRef::from(unix),
        }
    }

    /// True if an idle connection is still open and has no bytes to read. Asks the system itself, without waiting: tokio
    /// learns of a closed connection only when its reactor runs next.
    pub(super) fn is_quiet(&mut self, cx: &mut Context<'_>) -> bool {
        if let StreamLayers::Tls(tls) = &mut self.layers {
            // Pending TLS bytes may be a session ticket. This read processes it, and yields no content.
            let polled = Pin::new(tls).poll_read(cx, &mut ReadBuf::new(&mut [0]));
            if polled.is_ready() {
                return false;
            }
        }
        let peeked = self.socket().peek(&mut [MaybeUninit::uninit()]);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Resets the connection.
    pub(super) fn reset(self) {
        // Where the option cannot be set, the connection is closed.
        let _ = self.socket().set_linger(Some(Duration::ZERO));
    }

    /// Closes the connection, with close_notify for TLS if it can be written at once.
    pub fn close(mut self) {
        let _ = Pin::new(&mut self).poll_shutdown(&mut Context::from_waker(Waker::noop()));
    }
}

impl AsyncRead for OriginStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layers {
            StreamLayers::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            StreamLayers::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            StreamLayers::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for OriginStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layers {
            StreamLayers::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            StreamLayers::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
            StreamLayers::Unix(unix) => Pin::new(unix).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layers {
            StreamLayers::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            StreamLayers::Tls(tls) => Pin::new(tls).poll_flush(cx),
            StreamLayers::Unix(unix) => Pin::new(unix).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().layers {
            StreamLayers::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            StreamLayers::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            StreamLayers::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().layers {
            StreamLayers::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            StreamLayers::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            StreamLayers::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::{TcpListener, TcpStream as StdStream},
    };

    use super::*;

    fn pair() -> (OriginStream, StdStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            OriginStream::plain(TcpStream::from_std(ours).unwrap()),
            listener.accept().unwrap().0,
        )
    }

    #[tokio::test]
    async fn a_closed_connection_and_unsolicited_bytes_are_seen_before_the_reactor_runs() {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut ours, theirs) = pair();
        assert!(ours.is_quiet(&mut cx));
        drop(theirs);
        assert!(!ours.is_quiet(&mut cx));

        let (mut ours, mut theirs) = pair();
        theirs.write_all(b"?").unwrap();
        assert!(!ours.is_quiet(&mut cx));
    }
}
