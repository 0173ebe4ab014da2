//! A connection before its first request: the header of the PROXY protocol, and the TLS handshake.

use std::{io, net::SocketAddr, rc::Rc};

use super::{
    accept::Accepted,
    client_stream::ClientStream,
    gate::Gate,
    handshake::{Greeted, HandshakeError, Handshakes},
    listeners::PlainRequests,
    stop_signal::StopSignal,
};
use crate::observe::{HandshakeEnd, WorkerCounters};

/// What the new connections of one worker pass.
pub(super) struct Opening {
    pub(super) gate: Gate,
    /// How many listeners are for plain HTTP. They come first.
    pub(super) plain_listeners: usize,
    /// `None` without listeners for TLS.
    pub(super) handshakes: Option<Handshakes>,
    pub(super) plain_requests: PlainRequests,
    pub(super) counters: Rc<WorkerCounters>,
}

/// A connection that may send requests.
pub(super) struct OpenedConnection {
    pub(super) stream: ClientStream,
    /// The address of the client.
    pub(super) peer: SocketAddr,
    pub(super) requests: Admission,
}

/// What becomes of the requests of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// They are served.
    Served,
    /// They came without TLS, and are redirected to https.
    Redirected {
        /// The port of TLS.
        tls_port: u16,
    },
    /// They came without TLS to a port for TLS, and are refused.
    Refused,
}

impl Opening {
    /// Waits for what precedes the first request. `stopping` ends the wait.
    ///
    /// # Errors
    /// The connection is to be closed. The log says why.
    pub(super) async fn open(
        &self,
        accepted: Accepted,
        stopping: &StopSignal,
    ) -> io::Result<OpenedConnection> {
        let Accepted {
            stream: mut tcp,
            peer,
            listener,
        } = accepted;
        let peer = self.gate.admit(&mut tcp, peer, stopping.notified()).await?;
        let plain = |tcp, requests| OpenedConnection {
            stream: ClientStream::Plain(tcp),
            peer,
            requests,
        };
        let handshakes = match &self.handshakes {
            Some(handshakes) if listener >= self.plain_listeners => handshakes,
            _ => {
                self.counters.connected_plain();
                return Ok(plain(tcp, self.plain_requests.into()));
            }
        };
        // In a box: the future is large, and connections without TLS do not need it.
        let greeted = Box::pin(handshakes.greet(tcp, stopping.notified()));
        match greeted.await {
            Ok(Greeted::Tls(tls)) => {
                self.counters.shaken_hands(HandshakeEnd::Complete);
                Ok(OpenedConnection {
                    stream: ClientStream::Tls(tls),
                    peer,
                    requests: Admission::Served,
                })
            }
            Ok(Greeted::Other(tcp)) => {
                self.counters.shaken_hands(HandshakeEnd::NotTls);
                Ok(plain(tcp, Admission::Refused))
            }
            Err(error) => {
                self.counters.shaken_hands(error.end());
                error.log(peer.ip());
                Err(closed(error))
            }
        }
    }
}

impl From<PlainRequests> for Admission {
    fn from(requests: PlainRequests) -> Self {
        match requests {
            PlainRequests::Serve => Self::Served,
            PlainRequests::Redirect { tls_port } => Self::Redirected { tls_port },
        }
    }
}

fn closed(error: HandshakeError) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, error)
}
