//! What a connection has to begin with.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use actix_rt::net::TcpStream;

use super::proxy_protocol::{self, PreambleError};
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

    /// The address of the client, which is that of the connection's `peer` unless a header says another one. Nothing behind
    /// that header is read. `stopped` ends the wait.
    ///
    /// # Errors
    /// The connection is to be closed. The log says why.
    pub(super) async fn admit(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
        stopped: impl Future<Output = ()>,
    ) -> io::Result<SocketAddr> {
        let peer = canonical(peer);
        let Self::ProxyProtocol(trusted, limit) = self else {
            return Ok(peer);
        };
        let read = tokio::select! {
            read = proxy_protocol::read(stream, peer, trusted, *limit) => read,
            () = stopped => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match read {
            Ok(source) => Ok(source.map_or(peer, canonical)),
            Err(error) => {
                let who = peer.ip();
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
