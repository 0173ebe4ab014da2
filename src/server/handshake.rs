//! TLS handshakes with clients.
//!
//! One costs a hundred times as much as a hit. So a worker computes a few of them at most before it looks at its other
//! connections again, and holds the state of a limited number. With one more the oldest ends: clients that leave their
//! handshakes open keep nobody out, because one that goes on needs its place for two round trips only.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    pin::pin,
    task::Poll,
    time::Duration,
};

use rustls::{AlertDescription, Error, server::Acceptor};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, SemaphorePermit, oneshot},
    task::yield_now,
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use crate::{observe::HandshakeEnd, tls::ServerTls};

/// Most handshakes of a worker that have begun. The first message of a client may have 64 KiB.
const MAX_BEGUN: usize = 512;
/// Most handshakes that a worker computes in a row.
const MAX_IN_A_ROW: usize = 4;
/// How many bytes a connection holds that are encrypted and not sent.
const MAX_HELD_BYTES: usize = 64 * 1024;
/// RFC 8446, 5.1: the first byte of a record with a handshake message.
const HANDSHAKE_RECORD: u8 = 0x16;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("the client closed the connection")]
    Ended,
    #[error("it took too long")]
    Late,
    #[error("the proxy stops")]
    Stopping,
    #[error("too many others have begun since")]
    Displaced,
    #[error("the client does not accept the certificate ({0:?})")]
    CertificateRefused(AlertDescription),
    #[error("client and proxy have no version, cipher or protocol of TLS in common: {0}")]
    NothingInCommon(Error),
    #[error("{0}")]
    Invalid(io::Error),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
        match tls {
            Some(Error::AlertReceived(alert)) if is_about_certificate(*alert) => {
                Self::CertificateRefused(*alert)
            }
            Some(tls @ (Error::PeerIncompatible(_) | Error::NoApplicationProtocol)) => {
                Self::NothingInCommon(tls.clone())
            }
            Some(_) => Self::Invalid(error),
            None => Self::Ended,
        }
    }
}

impl HandshakeError {
    /// How it is counted.
    pub(super) fn end(&self) -> HandshakeEnd {
        match self {
            Self::Ended | Self::Stopping => HandshakeEnd::Closed,
            Self::Late | Self::Displaced => HandshakeEnd::Late,
            Self::CertificateRefused(_) => HandshakeEnd::CertificateRefused,
            Self::NothingInCommon(_) => HandshakeEnd::NothingInCommon,
            Self::Invalid(_) => HandshakeEnd::Invalid,
        }
    }

    /// Logs it. Port scans and health checks fail all the time, so that is worth nothing but a line for those who look.
    pub(super) fn log(&self, client: IpAddr) {
        match self {
            Self::Ended | Self::Stopping | Self::Displaced | Self::Invalid(_) => {
                log::debug!("no TLS connection with {client}: {self}");
            }
            Self::Late | Self::CertificateRefused(_) | Self::NothingInCommon(_) => {
                log::info!("no TLS connection with {client}: {self}");
            }
        }
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // The signature of the authority does not verify.
            | AlertDescription::DecryptError
    )
}

/// A connection to a port for TLS.
pub(super) enum Greeted {
    /// The handshake is complete.
    Tls(Box<TlsStream<TcpStream>>),
    /// The client speaks something else. Nothing was read.
    Other(TcpStream),
}

/// The handshakes of one worker.
pub(super) struct Handshakes {
    tls: ServerTls,
    /// For the first byte, and for the handshake.
    limit: Duration,
    begun: HandshakePlaces,
    turns: Semaphore,
}

impl Handshakes {
    pub(super) fn new(tls: ServerTls, limit: Duration) -> Self {
        Self {
            tls,
            limit,
            begun: HandshakePlaces::default(),
            turns: Semaphore::new(MAX_IN_A_ROW),
        }
    }

    /// Performs the handshake on a new connection. `stopped` ends it.
    ///
    /// # Errors
    /// It fails, or takes too long.
    pub(super) async fn greet(
        &self,
        tcp: TcpStream,
        stopped: impl Future<Output = ()>,
    ) -> Result<Greeted, HandshakeError> {
        tokio::select! {
            greeted = self.perform(tcp) => greeted,
            () = stopped => Err(HandshakeError::Stopping),
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, HandshakeError> {
        let done = timeout(self.limit, work).await;
        done.map_err(|_| HandshakeError::Late)
    }

    async fn perform(&self, tcp: TcpStream) -> Result<Greeted, HandshakeError> {
        let mut first = [0];
        if self.in_time(tcp.peek(&mut first)).await?? == 0 {
            return Err(HandshakeError::Ended);
        }
        if first != [HANDSHAKE_RECORD] {
            return Ok(Greeted::Other(tcp));
        }
        // A client that has sent nothing takes no place.
        let mut place = self.begun.take();
        tokio::select! {
            tls = self.in_time(self.shake_hands(tcp)) => Ok(Greeted::Tls(Box::new(tls??))),
            () = place.lost() => Err(HandshakeError::Displaced),
        }
    }

    async fn shake_hands(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), tcp).await?;
        let turn = permit(&self.turns).await;
        // This signs, and the first poll sends the result.
        let accept = start.into_stream_with(self.tls.server_config(), |tls| {
            tls.set_buffer_limit(Some(MAX_HELD_BYTES));
        });
        let mut accept = pin!(accept);
        let first = poll_fn(|context| Poll::Ready(accept.as_mut().poll(context))).await;
        // The poll of this thread finds what other connections have to do.
        yield_now().await;
        drop(turn);
        match first {
            Poll::Ready(done) => done,
            Poll::Pending => accept.await,
        }
    }
}

/// The places of the handshakes that have begun.
#[derive(Default)]
struct HandshakePlaces {
    /// By their order. Dropped, a sender tells its handshake that it has lost its place.
    taken: RefCell<BTreeMap<u64, oneshot::Sender<()>>>,
    next: Cell<u64>,
}

impl HandshakePlaces {
    /// A place, in that of the oldest handshake if there are too many.
    fn take(&self) -> HandshakePlace<'_> {
        let number = self.next.get();
        self.next.set(number + 1);
        let (taken, lost) = oneshot::channel();
        let mut places = self.taken.borrow_mut();
        if places.len() >= MAX_BEGUN {
            places.pop_first();
        }
        places.insert(number, taken);
        HandshakePlace {
            places: self,
            number,
            lost,
        }
    }
}

/// The place of one handshake.
struct HandshakePlace<'p> {
    places: &'p HandshakePlaces,
    number: u64,
    lost: oneshot::Receiver<()>,
}

impl HandshakePlace<'_> {
    /// Resolves when it is taken away.
    async fn lost(&mut self) {
        let _ = (&mut self.lost).await;
    }
}

impl Drop for HandshakePlace<'_> {
    fn drop(&mut self) {
        self.places.taken.borrow_mut().remove(&self.number);
    }
}

/// The next permit; `None` is none at all, for the semaphore is never closed.
async fn permit(semaphore: &Semaphore) -> Option<SemaphorePermit<'_>> {
    semaphore.acquire().await.ok()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn one_handshake_too_many_takes_the_place_of_the_oldest() {
        let places = HandshakePlaces::default();
        let mut taken: Vec<_> = (0..MAX_BEGUN).map(|_| places.take()).collect();
        assert!(taken[0].lost().now_or_never().is_none());
        // A place that is given back is free.
        taken.pop();
        taken.push(places.take());
        assert!(taken[0].lost().now_or_never().is_none());
        let _one_more = places.take();
        assert!(taken[0].lost().now_or_never().is_some());
        assert!(taken[1].lost().now_or_never().is_none());
        assert_eq!(places.taken.borrow().len(), MAX_BEGUN);
        drop(taken);
        assert_eq!(places.taken.borrow().len(), 1);
    }
}
