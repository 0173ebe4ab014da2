//! The sockets that a server accepts from.

use std::net::TcpListener;

use crate::tls::ServerTls;

/// Listening sockets, by what clients speak there.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For HTTP without TLS.
    pub plain: Vec<TcpListener>,
    /// For HTTP over TLS.
    pub tls: Vec<TcpListener>,
    /// The certificates; needed if there is a socket for TLS.
    pub server_tls: Option<ServerTls>,
    /// What becomes of requests without TLS.
    pub plain_requests: PlainRequests,
}

/// What becomes of requests without TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainRequests {
    /// They are served.
    #[default]
    Serve,
    /// They are redirected to https.
    Redirect {
        /// The port of TLS.
        tls_port: u16,
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
