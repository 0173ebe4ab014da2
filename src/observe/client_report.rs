//! [`ClientReport`]: the connections of clients, for `stats` and the dashboard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::client_counters::{ClientTotals, HandshakeEnd};

/// The connections of clients, and what they speak.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientReport {
    /// Connections without TLS.
    pub plain_connections: u64,
    /// Connections with TLS.
    pub tls_connections: u64,
    /// Requests by version of HTTP and by layer, such as `h2 tls` or `http/1.1 plain`. Those that were refused or redirected
    /// to https are left out, and what did not occur.
    pub requests: BTreeMap<String, u64>,
    /// TLS handshakes that failed, by reason. Those that did not occur are left out.
    pub failed_handshakes: BTreeMap<String, u64>,
}

impl ClientReport {
    pub(super) fn of(totals: &ClientTotals) -> Self {
        let requests = totals.requests().map(|(protocol, count)| {
            let (version, layer) = protocol.names();
            (format!("{version} {layer}"), count)
        });
        let failed = totals
            .handshakes()
            .filter(|(end, _)| *end != HandshakeEnd::Complete)
            .map(|(end, count)| (end.as_str().to_owned(), count));
        let occurred = |(_, count): &(String, u64)| *count > 0;
        Self {
            plain_connections: totals.plain_connections(),
            tls_connections: totals.tls_connections(),
            requests: requests.filter(occurred).collect(),
            failed_handshakes: failed.filter(occurred).collect(),
        }
    }
}
