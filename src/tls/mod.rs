//! TLS towards clients: certificates, the choice between them, and reading them again while the proxy runs.
//!
//! TLS towards origins is in [`origin`](crate::origin). The handshakes with clients are in [`server`](crate::server).
//!
//! | file | what it holds |
//! |---|---|
//! | `server_tls` | [`ServerTls`]: the settings of rustls, and reading the certificates again |
//! | `certificate` | one certificate with its key, from PEM files |
//! | `certificate_set` | the certificates in force, and which of them a client gets |
//! | `file_stamp` | whether a file has changed |
//! | `local/` | the certificate for this machine, which the proxy makes |
//! | `tls_error` | why certificates are refused |
//! | `validity` | from when until when a certificate is valid |

mod certificate;
mod certificate_set;
mod file_stamp;
mod local;
mod server_tls;
mod tls_error;
mod validity;

pub use self::{
    certificate_set::CertificateExpiry, local::LocalError, server_tls::ServerTls,
    tls_error::TlsError,
};

#[cfg(test)]
mod tests;
