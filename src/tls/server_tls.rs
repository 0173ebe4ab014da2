//! The certificates in force and the settings of rustls, and reading the certificates again.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rustls::{ServerConfig, crypto::ring, server::NoServerSessionStorage};

use super::{
    certificate::Certificate,
    certificate_set::{CertificateExpiry, CertificateSet, SniResolver, date},
    file_stamp::{FileStamp, stamps},
    local::{LocalCertificate, LocalNames, Places, RENEWAL},
    tls_error::TlsError,
};
use crate::{config::TlsSettings, error::Chain, policy::Time};

/// The protocols that a client may choose (RFC 7301), the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How often the files are looked at. A change that was half done when it was noticed is in force at the second look.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often the log has the certificates that end soon, and how often a local certificate is made again at most: its
/// authority may end as soon as it does.
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// TLS towards clients: the certificates in force, and the settings of rustls. Clones share one state.
#[derive(Clone)]
pub struct ServerTls(Arc<TlsState>);

struct TlsState {
    config: Arc<ServerConfig>,
    resolver: Arc<SniResolver>,
    places: Places,
    /// Certificates are read by one thread at a time. No handshake waits for it.
    reading: Mutex<ReadState>,
}

/// What the certificates in force were read from.
struct ReadState {
    /// What makes this user's programs trust a local certificate.
    advice: Option<String>,
    /// When they were read, or made.
    since: Time,
    settings: TlsSettings,
    /// What the files looked like before they were read.
    stamps: Vec<FileStamp>,
    /// The last attempt to read changed files, if it has failed.
    failure: Option<ReadFailure>,
    /// When the log last had the certificates that end soon.
    warned: Time,
}

/// A failed attempt to read files.
struct ReadFailure {
    stamps: Vec<FileStamp>,
    is_logged: bool,
}

impl ServerTls {
    /// Reads the certificates, or makes the one for this machine if there are none. One that has expired is used, and logged as
    /// an error.
    ///
    /// # Errors
    /// A file cannot be read, has no usable certificate or key, or the key is for another certificate. There is no place for
    /// the authority of a local certificate.
    pub fn load(settings: &TlsSettings, now: Time) -> Result<Self, TlsError> {
        Self::load_with(settings, Places::of_user(), now)
    }

    pub(super) fn load_with(
        settings: &TlsSettings,
        places: Places,
        now: Time,
    ) -> Result<Self, TlsError> {
        let stamps = stamps(settings);
        let (set, advice) = read_all(settings, &places, now)?;
        set.log_expiring(now);
        let resolver = Arc::new(SniResolver::new(set));
        let config = server_config(Arc::clone(&resolver)).map_err(TlsError::Setup)?;
        Ok(Self(Arc::new(TlsState {
            config: Arc::new(config),
            resolver,
            places,
            reading: Mutex::new(ReadState {
                advice,
                since: now,
                settings: settings.clone(),
                stamps,
                failure: None,
                warned: now,
            }),
        })))
    }

    /// Reads the certificates as a start does, and says how long each is valid; nothing if the proxy would make one. Changes
    /// nothing.
    ///
    /// # Errors
    /// As [`ServerTls::load`].
    pub fn check(settings: &TlsSettings, now: Time) -> Result<Vec<String>, TlsError> {
        let set = read_files(settings)?;
        Ok(set.map_or_else(Vec::new, |set| set.states(now)))
    }

    /// The settings of rustls: TLS 1.2 and 1.3, and HTTP/2 before HTTP/1.1. They stay the same over a reload; handshakes that
    /// begin after it use the new certificates.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config)
    }

    /// Reads the certificates again, as these settings name them; a local one stays. Connections and tickets stay valid.
    /// Returns the certificates that were not in force before.
    ///
    /// # Errors
    /// As [`ServerTls::load`]; the certificates in force stay.
    pub fn reload(
        &self,
        settings: &TlsSettings,
        now: Time,
    ) -> Result<Vec<CertificateExpiry>, TlsError> {
        let mut reading = self.0.reading();
        if is_local(settings) && is_local(&reading.settings) {
            return Ok(Vec::new());
        }
        let stamps = stamps(settings);
        let read = read_all(settings, &self.0.places, now)?;
        reading.settings = settings.clone();
        Ok(self.0.put_in_force(&mut reading, read, stamps, now))
    }

    /// Until when each certificate is valid, the default one first.
    pub fn expiry(&self) -> Vec<CertificateExpiry> {
        self.0.resolver.in_force().expiry()
    }

    /// How long the certificate that ends first is still valid, for messages.
    pub fn remaining(&self, now: Time) -> String {
        self.0.resolver.in_force().remaining(now)
    }

    /// The command that makes this user's programs trust the local certificate. `None` if the certificates are from files, or
    /// if mkcert has done that.
    pub fn advice(&self) -> Option<String> {
        self.0.reading().advice.clone()
    }

    /// Starts a thread that reads certificates again within 5 seconds when their files change, makes a local certificate again
    /// before its end, and warns each day from 14 days before the end of one. The thread ends after the last clone of this.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn watch(&self, clock: fn() -> Time) -> io::Result<()> {
        let state = Arc::downgrade(&self.0);
        let watch = move || {
            while let Some(state) = state.upgrade() {
                state.look(clock());
                drop(state);
                thread::sleep(INTERVAL);
            }
        };
        let thread = thread::Builder::new().name("certificates".to_owned());
        thread.spawn(watch).map(drop)
    }

    /// What the thread does each time.
    #[cfg(test)]
    pub(super) fn look(&self, now: Time) {
        self.0.look(now);
    }

    /// Whether the error of reading changed files is in the log. `None` if there was no error.
    #[cfg(test)]
    pub(super) fn is_failure_logged(&self) -> Option<bool> {
        let reading = self.0.reading();
        reading.failure.as_ref().map(|failure| failure.is_logged)
    }
}

impl TlsState {
    fn reading(&self) -> MutexGuard<'_, ReadState> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, now: Time) {
        let mut reading = self.reading();
        let stamps = stamps(&reading.settings);
        if stamps != reading.stamps || self.is_renewal_due(&reading, now) {
            if !reading.has_failed_for_good(&stamps) {
                match read_all(&reading.settings, &self.places, now) {
                    Ok(read) => drop(self.put_in_force(&mut reading, read, stamps, now)),
                    Err(error) => self.note_failure(&mut reading, &error, stamps, now),
                }
            }
        } else {
            // What was there before is there again.
            reading.failure = None;
        }
        if now.millis_since(reading.warned) >= DAY_MILLIS {
            reading.warned = now;
            self.resolver.in_force().log_expiring(now);
        }
    }

    /// True for a local certificate that ends soon and was not made today.
    fn is_renewal_due(&self, reading: &ReadState, now: Time) -> bool {
        let soon = now.saturating_add(RENEWAL);
        is_local(&reading.settings)
            && now.millis_since(reading.since) >= DAY_MILLIS
            && self.resolver.in_force().ends_before(soon)
    }

    fn put_in_force(
        &self,
        reading: &mut ReadState,
        (set, advice): (CertificateSet, Option<String>),
        stamps: Vec<FileStamp>,
        now: Time,
    ) -> Vec<CertificateExpiry> {
        (reading.stamps, reading.since, reading.failure) = (stamps, now, None);
        let new = self.resolver.replace(set);
        for CertificateExpiry {
            title, not_after, ..
        } in &new
        {
            let end = date(*not_after);
            log::info!("new TLS certificate for {title}, valid until {end}");
        }
        if advice != reading.advice {
            if let Some(advice) = &advice {
                log::info!("{advice}");
            }
            reading.advice = advice;
        }
        if !new.is_empty() {
            reading.warned = now;
            self.resolver.in_force().log_expiring(now);
        }
        new
    }

    /// Logs an error once, and only when the files have not changed since the look before: until then they may be half written.
    fn note_failure(
        &self,
        reading: &mut ReadState,
        error: &TlsError,
        stamps: Vec<FileStamp>,
        now: Time,
    ) {
        let last = reading.failure.take();
        let last = last.filter(|last| last.stamps == stamps);
        let is_again = last.is_some();
        if is_again && !last.is_some_and(|last| last.is_logged) {
            let remaining = self.resolver.in_force().remaining(now);
            log::error!(
                "the TLS certificates have changed and cannot be used, so the old ones stay in force ({remaining}): {}",
                Chain(error)
            );
        }
        reading.failure = Some(ReadFailure {
            stamps,
            is_logged: is_again,
        });
    }
}

impl ReadState {
    /// True if files that look like this cannot be used, and that is in the log.
    fn has_failed_for_good(&self, stamps: &[FileStamp]) -> bool {
        let failure = self.failure.as_ref();
        failure.is_some_and(|it| it.is_logged && it.stamps == stamps && !stamps.is_empty())
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expiry = self.expiry();
        formatter.debug_tuple("ServerTls").field(&expiry).finish()
    }
}

/// True if the proxy makes the certificate.
fn is_local(settings: &TlsSettings) -> bool {
    settings.certificates().next().is_none()
}

fn server_config(resolver: Arc<SniResolver>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A session is resumed by a ticket, whose key changes every six hours. So nothing is kept for a session: a table of
    // sessions would be a lock for all handshakes of TLS 1.2.
    config.ticketer = ring::Ticketer::new()?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The certificates that the settings name. `None` if they name none.
fn read_files(settings: &TlsSettings) -> Result<Option<CertificateSet>, TlsError> {
    let certificates = settings.certificates().map(Certificate::read);
    let certificates = certificates.collect::<Result<_, _>>()?;
    Ok(CertificateSet::new(certificates))
}

/// The certificates that the settings name, or the local one, with what makes this user's programs trust that.
fn read_all(
    settings: &TlsSettings,
    places: &Places,
    now: Time,
) -> Result<(CertificateSet, Option<String>), TlsError> {
    if let Some(set) = read_files(settings)? {
        return Ok((set, None));
    }
    let names = LocalNames::of(settings.bind);
    let made = LocalCertificate::make(places, &names, now)?;
    for remark in &made.remarks {
        log::warn!("{remark}");
    }
    let origin = Path::new("made by the proxy");
    let certificate = Certificate::new(vec![made.certificate], made.key, origin)?;
    let set = CertificateSet::new(vec![certificate]).ok_or(TlsError::NoCertificate)?;
    Ok((set.with_signer(made.signer), made.advice))
}
