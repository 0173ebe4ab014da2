//! What is counted of the connections of clients: [`ClientCells`] for each worker, and [`ClientTotals`], their sum.

use std::sync::atomic::AtomicU64;

use actix_web::http::Version;

use super::cells;
use crate::headers::ClientScheme;

const PROTOCOLS: usize = ClientProtocol::ALL.len();
const ENDS: usize = HandshakeEnd::ALL.len();

const REQUEST: usize = 0;
const HANDSHAKE: usize = REQUEST + PROTOCOLS;
const PLAIN_CONNECTION: usize = HANDSHAKE + ENDS;
const ALL: usize = PLAIN_CONNECTION + 1;

/// What a client speaks on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProtocol {
    /// HTTP/1.1 or HTTP/1.0, without TLS.
    Http1,
    /// The same over TLS.
    Http1Tls,
    /// HTTP/2 without TLS.
    Http2,
    /// The same over TLS.
    Http2Tls,
}

impl ClientProtocol {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Http1, Self::Http1Tls, Self::Http2, Self::Http2Tls];

    /// That of a request of this version over this scheme.
    pub(crate) fn of(version: Version, scheme: ClientScheme) -> Self {
        match (version == Version::HTTP_2, scheme) {
            (false, ClientScheme::Http) => Self::Http1,
            (false, ClientScheme::Https) => Self::Http1Tls,
            (true, ClientScheme::Http) => Self::Http2,
            (true, ClientScheme::Https) => Self::Http2Tls,
        }
    }

    /// The protocol by its name in TLS (RFC 7301), and `tls` or `plain`.
    pub const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Http1 => ("http/1.1", "plain"),
            Self::Http1Tls => ("http/1.1", "tls"),
            Self::Http2 => ("h2", "plain"),
            Self::Http2Tls => ("h2", "tls"),
        }
    }
}

/// How a TLS handshake with a client has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// The connection has TLS.
    Complete,
    /// The client has closed the connection, or the proxy stops.
    Closed,
    /// It took too long.
    Late,
    /// The client does not accept the certificate.
    CertificateRefused,
    /// Client and proxy have no version, cipher or protocol in common.
    NothingInCommon,
    /// The client has broken the rules of TLS.
    Invalid,
    /// The client does not speak TLS.
    NotTls,
}

impl HandshakeEnd {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 7] = [
        Self::Complete,
        Self::Closed,
        Self::Late,
        Self::CertificateRefused,
        Self::NothingInCommon,
        Self::Invalid,
        Self::NotTls,
    ];

    /// The name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Closed => "closed",
            Self::Late => "late",
            Self::CertificateRefused => "certificate-refused",
            Self::NothingInCommon => "nothing-in-common",
            Self::Invalid => "invalid",
            Self::NotTls => "not-tls",
        }
    }
}

/// The counts of one worker.
#[derive(Debug)]
pub(super) struct ClientCells([AtomicU64; ALL]);

impl Default for ClientCells {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; ALL])
    }
}

impl ClientCells {
    #[inline]
    pub(super) fn requested(&self, protocol: ClientProtocol) {
        cells::add(&self.0, REQUEST + protocol as usize, 1);
    }

    pub(super) fn shaken_hands(&self, end: HandshakeEnd) {
        cells::add(&self.0, HANDSHAKE + end as usize, 1);
    }

    pub(super) fn connected_plain(&self) {
        cells::add(&self.0, PLAIN_CONNECTION, 1);
    }
}

/// The sum of the counts of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientTotals([u64; ALL]);

impl ClientTotals {
    pub(super) fn add(&mut self, cells: &ClientCells) {
        cells::add_all(&mut self.0, &cells.0);
    }

    pub(super) fn subtract(&mut self, earlier: &Self) {
        cells::subtract(&mut self.0, &earlier.0);
    }

    /// Requests by protocol.
    pub fn requests(&self) -> impl Iterator<Item = (ClientProtocol, u64)> + '_ {
        let counts = self.0.iter().skip(REQUEST).copied();
        ClientProtocol::ALL.into_iter().zip(counts)
    }

    /// TLS handshakes by their end.
    pub fn handshakes(&self) -> impl Iterator<Item = (HandshakeEnd, u64)> + '_ {
        let counts = self.0.iter().skip(HANDSHAKE).copied();
        HandshakeEnd::ALL.into_iter().zip(counts)
    }

    /// Connections without TLS.
    pub fn plain_connections(&self) -> u64 {
        self.0[PLAIN_CONNECTION]
    }

    /// Connections with TLS.
    pub fn tls_connections(&self) -> u64 {
        self.0[HANDSHAKE + HandshakeEnd::Complete as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_and_each_end_of_a_handshake_is_counted_by_itself() {
        let cells = ClientCells::default();
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            for scheme in [ClientScheme::Http, ClientScheme::Https] {
                cells.requested(ClientProtocol::of(version, scheme));
            }
        }
        for (index, end) in HandshakeEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, index);
            cells.shaken_hands(end);
        }
        cells.connected_plain();
        let mut totals = ClientTotals::default();
        totals.add(&cells);
        let requests: Vec<u64> = totals.requests().map(|(_, count)| count).collect();
        assert_eq!(requests, [2, 2, 1, 1]);
        assert!(totals.handshakes().all(|(_, count)| count == 1));
        assert_eq!(
            (totals.plain_connections(), totals.tls_connections()),
            (1, 1)
        );
        let names: std::collections::BTreeSet<_> = ClientProtocol::ALL
            .into_iter()
            .map(ClientProtocol::names)
            .collect();
        assert_eq!(names.len(), PROTOCOLS);
    }
}
