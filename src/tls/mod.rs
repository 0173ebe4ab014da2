//! TLS towards clients: certificates, the choice between them, and reading them again while the proxy runs.
//!
//! TLS towards origins is in [`origin`](crate::origin). The handshakes with clients are in [`server`](crate::server).
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | [`ServerTls`]: the certificates in force and the settings of rustls |
//! | `certificate` | one certificate with its key, from PEM files |
//! | `certificate_set` | the certificates in force, and which of them a client gets |
//! | `tls_error` | why certificates are refused |
//! | `validity` | from when until when a certificate is valid |

mod certificate;
mod certificate_set;
mod tls_error;
mod validity;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{ServerConfig, crypto::ring, server::NoServerSessionStorage};

use self::{
    certificate::Certificate,
    certificate_set::{CertificateSet, SniResolver},
};
pub use self::{certificate_set::CertificateExpiry, tls_error::TlsError};
use crate::{config::TlsSettings, policy::Time};

/// The protocols that a client may choose (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS towards clients: the certificates in force, and the settings of rustls. Clones share one state.
#[derive(Clone)]
pub struct ServerTls(Arc<TlsState>);

struct TlsState {
    config: Arc<ServerConfig>,
    resolver: Arc<SniResolver>,
    /// Certificates are read by one thread at a time. No handshake waits for it.
    loading: Mutex<()>,
}

impl ServerTls {
    /// Reads the certificates. One that has expired is used, and logged as an error.
    ///
    /// # Errors
    /// A file cannot be read, has no usable certificate or key, or the key is for another certificate.
    pub fn load(settings: &TlsSettings, now: Time) -> Result<Self, TlsError> {
        let set = read_all(settings)?;
        set.log_expired(now);
        let resolver = Arc::new(SniResolver::new(set));
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as Arc<_>);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // A session is resumed by a ticket, whose key changes every six hours. So nothing is kept for a session: a table of
        // sessions would be a lock for all handshakes of TLS 1.2.
        config.ticketer = ring::Ticketer::new().map_err(TlsError::Setup)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self(Arc::new(TlsState {
            config: Arc::new(config),
            resolver,
            loading: Mutex::new(()),
        })))
    }

    /// The settings of rustls: TLS 1.2 and 1.3, and HTTP/2 before HTTP/1.1. They stay the same over a reload; handshakes that
    /// begin after it use the new certificates.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config)
    }

    /// Reads the certificates again. Connections and tickets stay valid.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; the certificates in force stay.
    pub fn reload(&self, settings: &TlsSettings, now: Time) -> Result<(), TlsError> {
        let _one_at_a_time = self
            .0
            .loading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let set = read_all(settings)?;
        set.log_expired(now);
        self.0.resolver.replace(set);
        Ok(())
    }

    /// Until when each certificate is valid, the default one first.
    pub fn expiry(&self) -> Vec<CertificateExpiry> {
        self.0.resolver.expiry()
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ServerTls")
            .field(&self.expiry())
            .finish()
    }
}

fn read_all(settings: &TlsSettings) -> Result<CertificateSet, TlsError> {
    let certificates: Vec<Certificate> = settings
        .certificates()
        .map(Certificate::read)
        .collect::<Result<_, _>>()?;
    CertificateSet::new(certificates).ok_or(TlsError::NoCertificate)
}

#[cfg(test)]
mod tests;
