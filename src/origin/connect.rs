//! Connects to the origin: name resolution, TCP, TLS; or its Unix socket.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{
    Destination, OriginUrl,
    error::{OriginError, Phase, ProxyProblem, WaitLimit},
    forward_proxy::ForwardProxy,
    heads::ProxiedRequests,
    proxy_connect::connect_through,
    resolver::Resolver,
    socket_path::SocketPath,
    stream::OriginStream,
};

/// Head start of an address before the next one is tried beside it (RFC 8305, 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How long a connection to a Unix socket waits before it tries again, if the socket has too many waiting connections.
const BACKLOG_DELAY: Duration = Duration::from_millis(10);

/// Opens connections to one origin.
pub(super) struct Dialer {
    url: OriginUrl,
    tls: Option<Arc<ClientConfig>>,
    /// The proxy that leads to the origin, and its name for errors. `None`: the origin is reached directly.
    proxy: Option<(ForwardProxy, Arc<str>)>,
    /// Looks up the host that connections are opened to: the proxy, else the origin.
    resolver: Resolver,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionUse {
    /// Requests, which a proxy may read.
    Requests,
    /// Something else after a request: a proxy must pass on all bytes.
    Tunnel,
}

impl Dialer {
    pub(super) fn new(destination: Destination) -> Self {
        let Destination { url, tls, proxy } = destination;
        let proxy = proxy.map(|proxy| {
            let name = proxy.to_string();
            (proxy, Arc::from(name))
        });
        let (host, port) = peer(&url, proxy.as_ref());
        let resolver = Resolver::new(host, port);
        Self {
            url,
            tls,
            proxy,
            resolver,
        }
    }

    /// The URL of the proxy without credentials; `None` if there is none.
    pub(super) fn proxy_name(&self) -> Option<Arc<str>> {
        self.proxy.as_ref().map(|(_, name)| Arc::clone(name))
    }

    /// The origin.
    pub(super) fn url(&self) -> &OriginUrl {
        &self.url
    }

    /// How requests are written for the proxy on connections for this use; `None` if they are written as for the origin.
    pub(super) fn proxied_requests(&self, used_for: ConnectionUse) -> Option<ProxiedRequests<'_>> {
        let (proxy, _) = self.proxy.as_ref()?;
        let is_read = !self.url.is_tls() && used_for == ConnectionUse::Requests;
        is_read.then(|| ProxiedRequests {
            authority: self.url.authority(),
            authorization: proxy.authorization(),
        })
    }

    /// Opens a connection within a limit, with TLS for an https origin.
    pub(super) async fn dial_within(
        &self,
        limit: WaitLimit,
        used_for: ConnectionUse,
    ) -> Result<OriginStream, OriginError> {
        match timeout(limit.time, self.dial(used_for)).await {
            Ok(dialed) => dialed,
            Err(_) => Err(OriginError::Timeout {
                phase: Phase::Connecting,
                limit,
                proxy: self.proxy_name(),
            }),
        }
    }

    async fn dial(&self, used_for: ConnectionUse) -> Result<OriginStream, OriginError> {
        if let Some(socket) = self.url.socket() {
            return dial_socket(socket).await;
        }
        let addresses = self.resolve().await?;
        let mut tcp = match first_to_connect(interleaved(addresses)).await {
            Ok(tcp) => tcp,
            Err(source) => {
                self.resolver.doubt();
                return Err(self.unreachable(source));
            }
        };
        if let Some((proxy, name)) = &self.proxy
            && (self.url.is_tls() || used_for == ConnectionUse::Tunnel)
        {
            let connected = connect_through(&mut tcp, proxy, &self.url.host_with_port()).await;
            connected.map_err(|source| through(name, source))?;
        }
        if self.url.is_tls() {
            self.handshake(tcp).await
        } else {
            Ok(OriginStream::plain(tcp))
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, OriginError> {
        let (host, port) = peer(&self.url, self.proxy.as_ref());
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let addresses = self.resolver.addresses(Instant::now()).await;
        let addresses = addresses.map_err(|source| match &self.proxy {
            Some((_, name)) => through(name, ProxyProblem::UnknownHost { source }),
            None => OriginError::UnknownHost {
                host: host.to_owned(),
                source,
            },
        })?;
        Ok(addresses.to_vec())
    }

    fn unreachable(&self, source: io::Error) -> OriginError {
        match &self.proxy {
            Some((_, name)) => through(name, ProxyProblem::Unreachable { source }),
            None => OriginError::Unreachable {
                authority: self.url.authority(),
                source,
            },
        }
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<OriginStream, OriginError> {
        let failed = |source| OriginError::Tls {
            host: self.url.host().to_owned(),
            source,
        };
        let config = self
            .tls
            .as_ref()
            .ok_or_else(|| failed(io::Error::other("TLS is not set up")))?;
        let name = ServerName::try_from(self.url.host().to_owned()).map_err(|_| {
            failed(io::Error::other(
                "it is not a name that a certificate can have",
            ))
        })?;
        let tls = TlsConnector::from(Arc::clone(config))
            .connect(name, tcp)
            .await
            .map_err(failed)?;
        Ok(OriginStream::tls(tls))
    }
}

/// The host and port that connections are opened to.
fn peer<'a>(url: &'a OriginUrl, proxy: Option<&'a (ForwardProxy, Arc<str>)>) -> (&'a str, u16) {
    match proxy {
        Some((proxy, _)) => (proxy.host(), proxy.port()),
        None => (url.host(), url.port()),
    }
}

/// The proxy of this name has failed.
pub(super) fn through(name: &Arc<str>, source: ProxyProblem) -> OriginError {
    OriginError::Proxy {
        proxy: Arc::clone(name),
        source,
    }
}

/// Connects to a Unix socket. The system refuses a connection at once while the socket has too many that wait; then it is
/// tried again, until the caller gives up.
async fn dial_socket(socket: &SocketPath) -> Result<OriginStream, OriginError> {
    loop {
        match UnixStream::connect(socket.as_path()).await {
            Ok(stream) => return Ok(OriginStream::unix(stream)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BACKLOG_DELAY).await,
            Err(source) => {
                return Err(OriginError::Unreachable {
                    authority: socket.to_string(),
                    source,
                });
            }
        }
    }
}

/// Alternates the two address families, beginning with that of the first address (RFC 8305, 4).
fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        match (first.next(), second.next()) {
            (None, None) => return turns,
            (a, b) => turns.extend(a.into_iter().chain(b)),
        }
    }
}

/// Tries the addresses, each with a head start over the next. Returns the first connection.
async fn first_to_connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        let added = waiting
            .next()
            .map(|address| attempts.push(TcpStream::connect(address)));
        let outcome = match added {
            Some(()) => match timeout(ATTEMPT_DELAY, attempts.next()).await {
                Ok(outcome) => outcome,
                Err(_) => continue,
            },
            None => attempts.next().await,
        };
        match outcome {
            Some(Ok(tcp)) => {
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Some(Err(error)) => failure = Some(error),
            None => return Err(failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_alternate_and_the_first_address_stays_first() {
        let parse = |list: &[&str]| {
            list.iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<SocketAddr>>()
        };
        assert_eq!(
            interleaved(parse(&[
                "[::1]:1",
                "[::2]:1",
                "[::3]:1",
                "1.1.1.1:1",
                "2.2.2.2:1"
            ])),
            parse(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"])
        );
        assert_eq!(
            interleaved(parse(&["1.1.1.1:1", "[::1]:1"])),
            parse(&["1.1.1.1:1", "[::1]:1"])
        );
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_refuses() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let (_held, closed) = crate::origin::tests::refusing();
        let tcp = first_to_connect(vec![closed, open]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), open);
        assert!(tcp.nodelay().unwrap());
        let refused = first_to_connect(vec![closed, closed]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
