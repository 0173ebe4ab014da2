//! The sockets of a proxy: those that it opens, and those that it gets from one whose port it takes over.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use caching_proxy::{config::Config, dashboard, server::Listeners};

use crate::failure::Failure;

/// Listening sockets of another process, by their addresses.
#[derive(Debug, Default)]
pub(crate) struct GivenSockets(Vec<TcpListener>);

impl From<Vec<TcpListener>> for GivenSockets {
    fn from(sockets: Vec<TcpListener>) -> Self {
        Self(sockets)
    }
}

impl GivenSockets {
    /// Takes the socket of this address.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let is_at = |socket: &TcpListener| socket.local_addr().is_ok_and(|own| own == address);
        let index = self.0.iter().position(is_at)?;
        Some(self.0.swap_remove(index))
    }
}

/// The sockets of a proxy.
#[derive(Debug)]
pub(crate) struct OpenedSockets {
    /// Those for clients.
    pub(crate) clients: Listeners,
    /// That of --dashboard.
    pub(crate) dashboard: Option<TcpListener>,
    /// That of --metrics.
    pub(crate) metrics: Option<TcpListener>,
}

impl OpenedSockets {
    /// Opens those of --dashboard and --metrics, unless they are given.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub(crate) fn open(
        config: &Config,
        clients: Listeners,
        given: &mut GivenSockets,
    ) -> Result<Self, Failure> {
        let mut open = |address| match given.take(address) {
            Some(socket) => Ok(socket),
            None => dashboard::listen(address),
        };
        let failed = |address| move |cause| Failure::Dashboard { address, cause };
        let dashboard = config
            .dashboard
            .map(|address| open(address).map_err(failed(address)));
        let failed = |address| move |cause| Failure::Metrics { address, cause };
        let metrics = config
            .deployment
            .metrics
            .map(|address| open(address).map_err(failed(address)));
        Ok(Self {
            clients,
            dashboard: dashboard.transpose()?,
            metrics: metrics.transpose()?,
        })
    }

    /// Duplicates of all, for a process that takes over.
    ///
    /// # Errors
    /// There are too many open files.
    pub(crate) fn duplicates(&self) -> io::Result<Vec<TcpListener>> {
        let Listeners { plain, tls, .. } = &self.clients;
        let all = plain.iter().chain(tls);
        let all = all.chain(&self.dashboard).chain(&self.metrics);
        all.map(TcpListener::try_clone).collect()
    }
}
