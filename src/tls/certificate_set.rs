//! The certificates in force, and which of them a client gets.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{certificate::Certificate, local::NameSigner, validity::Validity};
use crate::policy::Time;

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// From so long before its end on, the end of a certificate is logged each day.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Until when a certificate is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The first host name that the certificate is for, or its file if it is for none.
    pub name: String,
    /// Its file, or who has made it.
    pub source: String,
    /// That name and the file, for messages.
    pub title: String,
    /// The last moment at which it is valid.
    pub not_after: Time,
}

impl CertificateExpiry {
    fn of(certificate: &Certificate) -> Self {
        Self {
            name: certificate.name().to_owned(),
            source: certificate.source.clone(),
            title: certificate.title.clone(),
            not_after: certificate.validity.not_after,
        }
    }
}

/// Certificates by the names that they are for.
#[derive(Debug)]
pub(super) struct CertificateSet {
    /// At least one. The first is for clients that name no server, or one that no certificate is for.
    certificates: Vec<Certificate>,
    /// Positions in `certificates` by host name, `*` included.
    by_name: HashMap<String, Vec<usize>>,
    /// Makes certificates for names below localhost. `None` if the certificates are from files.
    signer: Option<NameSigner>,
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
            signer: None,
        })
    }

    /// The same, with certificates for names below localhost.
    pub(super) fn with_signer(self, signer: NameSigner) -> Self {
        Self {
            signer: Some(signer),
            ..self
        }
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
        if exact.is_none()
            && let Some((signer, name)) = self.signer.as_ref().zip(server_name)
            && let Some(made) = signer.certificate_for(name)
        {
            return Some(made);
        }
        let named = exact.or_else(wildcard).into_iter().flatten();
        let named = named.filter_map(|index| self.certificates.get(*index));
        let mut keys = named.chain(&self.certificates).map(|it| &it.key);
        keys.find(|it| it.key.choose_scheme(schemes).is_some())
            .cloned()
    }

    /// Until when each is valid, the default one first.
    pub(super) fn expiry(&self) -> Vec<CertificateExpiry> {
        self.certificates
            .iter()
            .map(CertificateExpiry::of)
            .collect()
    }

    /// The certificates that `other` does not have.
    fn not_in(&self, other: &Self) -> impl Iterator<Item = &Certificate> {
        let is_new = |it: &&Certificate| !other.certificates.iter().any(|old| old.is_same(it));
        self.certificates.iter().filter(is_new)
    }

    /// Logs the certificates that are not valid now, or will end soon.
    pub(super) fn log_expiring(&self, now: Time) {
        for certificate in &self.certificates {
            let title = &certificate.title;
            let Validity {
                not_before,
                not_after,
            } = certificate.validity;
            let end = date(not_after);
            if not_after < now {
                log::error!(
                    "the TLS certificate for {title} expired on {end}: clients refuse it until it is replaced"
                );
            } else if not_before > now {
                log::warn!(
                    "the TLS certificate for {title} is valid from {} on: clients refuse it until then",
                    date(not_before)
                );
            } else if not_after < now.saturating_add(SOON) {
                let days = days_left(not_after, now);
                log::warn!("the TLS certificate for {title} expires on {end}, in {days}: renew it");
            }
        }
    }

    /// True if one ends before `time`.
    pub(super) fn ends_before(&self, time: Time) -> bool {
        let mut certificates = self.certificates.iter();
        certificates.any(|it| it.validity.not_after < time)
    }

    /// How long the certificate that ends first is still valid.
    pub(super) fn remaining(&self, now: Time) -> String {
        let first = self.certificates.iter();
        let Some(first) = first.min_by_key(|it| it.validity.not_after) else {
            return String::new();
        };
        state(first, now)
    }

    /// How long each certificate is valid, the default one first.
    pub(super) fn states(&self, now: Time) -> Vec<String> {
        let certificates = self.certificates.iter();
        certificates.map(|it| state(it, now)).collect()
    }
}

/// How long a certificate is valid.
fn state(certificate: &Certificate, now: Time) -> String {
    let (title, end) = (&certificate.title, certificate.validity.not_after);
    match end < now {
        true => format!("{title} expired on {}", date(end)),
        false => {
            let (date, days) = (date(end), days_left(end, now));
            format!("{title} is valid until {date}, for {days} more")
        }
    }
}

fn days_left(end: Time, now: Time) -> String {
    match end.millis_since(now) / DAY_MILLIS {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
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

    /// Handshakes that begin from now on use these certificates. Returns those that were not in force before.
    pub(super) fn replace(&self, set: CertificateSet) -> Vec<CertificateExpiry> {
        let set = Arc::new(set);
        let old = self.0.swap(Arc::clone(&set));
        set.not_in(&old).map(CertificateExpiry::of).collect()
    }

    /// The certificates in force.
    pub(super) fn in_force(&self) -> Arc<CertificateSet> {
        self.0.load_full()
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
