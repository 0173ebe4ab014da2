//! What is reported of certificates.

use serde::{Deserialize, Serialize};

use crate::{policy::Time, tls::CertificateExpiry};

/// A certificate that the proxy shows to clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateReport {
    /// The first host name that it is for, or its file if it is for none.
    pub name: String,
    /// Its file, or who has made it.
    #[serde(default)]
    pub source: String,
    /// Until when it is valid, in milliseconds since the epoch.
    pub not_after: u64,
    /// The seconds until then; 0 if that is in the past.
    pub seconds_left: u64,
}

impl CertificateReport {
    /// The certificate as it is at `now`.
    pub fn new(expiry: CertificateExpiry, now: Time) -> Self {
        Self {
            name: expiry.name,
            source: expiry.source,
            not_after: expiry.not_after.unix_millis(),
            seconds_left: expiry.not_after.millis_since(now) / 1000,
        }
    }
}
