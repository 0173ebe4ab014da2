//! The certificates in force, and which of them a client gets.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Certificate;
use crate::policy::Time;

/// Until when a certificate is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The first host name that the certificate is for, and its file.
    pub title: String,
    /// The last moment at which it is valid.
    pub not_after: Time,
}

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct CertificateSet {
    /// At least one. The first is for clients that name no server, or one that no certificate is for.
    certificates: Vec<Certificate>,
    /// Positions in `certificates` by host name, `*` included.
    by_name: HashMap<String, Vec<usize>>,
}

impl CertificateSet {
    /// `None` if there are no certificates.
    pub(super) fn new(certificates: Vec<Certificate>) -> Option<Self> {
        if certificates.is_empty() {
            return None;
        }
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.host_names {
                by_name.entry(name.clone()).or_default().push(index);
            }
        }
        Some(Self {
            certificates,
            by_name,
        })
    }

    /// The certificate for a client that asks for `server_name` (in lower case) and can check signatures of these schemes:
    /// one of that name, else one of a wildcard that includes it (RFC 6125, 6.4.3), else the first. Of several, the first
    /// whose key the client supports. `None` if it supports none.
    fn choose(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let exact = server_name.and_then(|name| self.by_name.get(name));
        let wildcard = || {
            let (_, parent) = server_name?.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let named = exact.or_else(wildcard).into_iter().flatten();
        let named = named.filter_map(|index| self.certificates.get(*index));
        let mut keys = named.chain(&self.certificates).map(|it| &it.key);
        keys.find(|it| it.key.choose_scheme(schemes).is_some())
            .cloned()
    }

    /// Logs the certificates that are not valid now.
    pub(super) fn log_expired(&self, now: Time) {
        for Certificate {
            title, validity, ..
        } in &self.certificates
        {
            if validity.not_after < now {
                let date = date(validity.not_after);
                log::error!(
                    "the TLS certificate for {title} expired on {date}: clients refuse it until it is replaced"
                );
            } else if validity.not_before > now {
                let date = date(validity.not_before);
                log::warn!(
                    "the TLS certificate for {title} is valid from {date} on: clients refuse it until then"
                );
            }
        }
    }
}

/// A day, as 2026-01-31.
pub(super) fn date(time: Time) -> String {
    let seconds = i64::try_from(time.unix_seconds()).unwrap_or(i64::MAX);
    match chrono::DateTime::from_timestamp(seconds, 0) {
        Some(time) => time.format("%Y-%m-%d").to_string(),
        None => "a date after all years".to_owned(),
    }
}

/// Gives each client its certificate. A handshake waits for nobody.
pub(super) struct SniResolver(ArcSwap<CertificateSet>);

impl SniResolver {
    pub(super) fn new(set: CertificateSet) -> Self {
        Self(ArcSwap::from_pointee(set))
    }

    /// Handshakes that begin from now on use these certificates.
    pub(super) fn replace(&self, set: CertificateSet) {
        self.0.store(Arc::new(set));
    }

    pub(super) fn expiry(&self) -> Vec<CertificateExpiry> {
        let set = self.0.load();
        let expiry = set.certificates.iter().map(|it| CertificateExpiry {
            title: it.title.clone(),
            not_after: it.validity.not_after,
        });
        expiry.collect()
    }
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.0.load();
        set.choose(client_hello.server_name(), client_hello.signature_schemes())
    }
}

impl fmt::Debug for SniResolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("SniResolver")
            .field(&self.0.load())
            .finish()
    }
}
