//! The sockets that a server accepts from.

use std::{net::TcpListener, sync::Arc};

use rustls::ServerConfig;

/// Listening sockets, by what clients speak there.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For HTTP without TLS.
    pub plain: Vec<TcpListener>,
    /// For HTTP over TLS.
    pub tls: Vec<TcpListener>,
    /// Certificates and protocols of TLS; needed if there is a socket for it.
    pub server_tls: Option<Arc<ServerConfig>>,
    /// What becomes of requests without TLS.
    pub plain_requests: PlainRequests,
}

/// What becomes of requests without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainRequests {
    /// They are served, and refused on a port for TLS.
    #[default]
    Serve,
    /// They are redirected to https.
    Redirect {
        /// The port of TLS; `None` if it is the one that the request came to.
        tls_port: Option<u16>,
    },
}

impl From<Vec<TcpListener>> for Listeners {
    fn from(plain: Vec<TcpListener>) -> Self {
        Self {
            plain,
            ..Self::default()
        }
    }
}
