//! The lines about clients: their connections, and the certificates that they get.

use caching_proxy::observe::{CertificateReport, ClientReport, grouped};

use crate::{
    commands::text::{self, noun},
    terminal::counted,
};

/// `None` if no client has tried TLS.
pub(super) fn clients_line(clients: &ClientReport) -> Option<String> {
    let failed: u64 = clients.failed_handshakes.values().sum();
    let text = || {
        let failed = match failed {
            0 => String::new(),
            failed => format!(
                "; {} failed",
                counted(failed, "TLS handshake", "TLS handshakes")
            ),
        };
        format!(
            "Clients    {:>8}   {} with TLS, {} without{failed}",
            grouped(clients.tls_connections),
            noun(clients.tls_connections, "connection"),
            grouped(clients.plain_connections),
        )
    };
    (clients.tls_connections + failed > 0).then(text)
}

/// The certificate that ends first. `None` without TLS.
pub(super) fn certificate_line(certificates: &[CertificateReport]) -> Option<String> {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    let first = certificates.iter().min_by_key(|it| it.seconds_left)?;
    let name = text::plain(&first.name);
    let left = match first.seconds_left {
        0 => return Some(format!("HTTPS       expired   the certificate for {name}")),
        seconds => counted(seconds / DAY_SECONDS, "day", "days"),
    };
    Some(format!(
        "HTTPS      {left:>8}   until the certificate for {name} expires"
    ))
}
