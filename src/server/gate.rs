//! What a connection has to begin with.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_rt::net::TcpStream;
use bytes::BytesMut;

use super::proxy_protocol::{self, Preamble, PreambleError};
use crate::config::{Deployment, TrustedProxies};

/// Admits connections. Clones are the same gate.
#[derive(Clone)]
pub(super) enum Gate {
    /// Each connection begins with a request.
    Open,
    /// Each connection begins with a header of the PROXY protocol, from one of these peers, within a time limit.
    ProxyProtocol(Arc<TrustedProxies>, Duration),
}

impl Gate {
    pub(super) fn new(deployment: &Deployment, limit: Duration) -> Self {
        match deployment.proxy_protocol {
            true => Self::ProxyProtocol(Arc::new(deployment.trusted_proxies.clone()), limit),
            false => Self::Open,
        }
    }

    /// The address of the client, which is `None` if the system does not tell it, and what was read of the first request.
    /// `stopped` ends the wait.
    ///
    /// # Errors
    /// The connection is to be closed. The log says why.
    pub(super) async fn admit(
        &self,
        stream: &mut TcpStream,
        stopped: impl Future<Output = ()>,
    ) -> io::Result<(Option<SocketAddr>, BytesMut)> {
        let peer = stream.peer_addr().ok().map(canonical);
        let Self::ProxyProtocol(trusted, limit) = self else {
            return Ok((peer, BytesMut::new()));
        };
        let read = tokio::select! {
            read = proxy_protocol::read(stream, trusted, *limit) => read,
            () = stopped => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match read {
            Ok(Preamble { source, rest }) => Ok((source.map(canonical).or(peer), rest)),
            Err(error) => {
                let who = peer.map_or("a client".to_owned(), |peer| peer.ip().to_string());
                match error {
                    // Health checks of load balancers look like this.
                    PreambleError::Ended | PreambleError::Read(_) => {
                        log::debug!("closed a connection from {who}: {error}");
                    }
                    _ => log::warn!("closed a connection from {who}: {error}"),
                }
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

/// The address as an IPv4 one if it is one that is mapped into IPv6, as those of clients are on a socket for both families.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
