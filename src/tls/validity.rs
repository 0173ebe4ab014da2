//! From when until when a certificate is valid.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, Error as WebpkiError, KeyUsage};

use crate::policy::Time;

/// 10000-01-01: no certificate is valid as long (RFC 5280, 4.1.2.5), in seconds since 1970.
const AFTER_ALL: u64 = 253_402_300_800;

/// From when until when a certificate is valid (RFC 5280, 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// The first moment.
    pub(super) not_before: Time,
    /// The last moment.
    pub(super) not_after: Time,
}

impl Validity {
    /// The dates of a certificate.
    ///
    /// # Errors
    /// The dates are malformed.
    pub(super) fn of(certificate: &EndEntityCert<'_>) -> Result<Self, WebpkiError> {
        // webpki has no other access to the dates: the errors of a verification at a time outside of them name them. It
        // checks them before it looks for the issuer.
        let not_after = match verify_at(certificate, AFTER_ALL) {
            Err(WebpkiError::CertExpired { not_after, .. }) => not_after,
            Err(other) => return Err(other),
            Ok(()) => return Err(WebpkiError::InvalidCertValidity),
        };
        let not_before = match verify_at(certificate, 0) {
            Err(WebpkiError::CertNotValidYet { not_before, .. }) => not_before,
            // Valid since 1970.
            _ => UnixTime::since_unix_epoch(Duration::ZERO),
        };
        let time = |at: UnixTime| Time::from_unix_millis(at.as_secs().saturating_mul(1000));
        Ok(Self {
            not_before: time(not_before),
            not_after: time(not_after),
        })
    }
}

fn verify_at(certificate: &EndEntityCert<'_>, seconds: u64) -> Result<(), WebpkiError> {
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let usage = KeyUsage::server_auth();
    let verified = certificate.verify_for_usage(&[], &[], &[], time, usage, None, None);
    verified.map(drop)
}
