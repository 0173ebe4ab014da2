//! The certificate for this machine, for development: `--tls` without a certificate.
//!
//! It is made at each start, its key is only in memory, and it is signed by an authority of this user alone: that of mkcert
//! where it is installed, else one of our own.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the certificate, made and signed |
//! | `authority` | the authority that signs it |
//! | `dates` | from when until when it is valid |
//! | `local_error` | why there is no such certificate |
//! | `local_names` | the names and addresses that it is for |
//! | `own_authority` | the authority of our own, made once |
//! | `places` | the directories of authorities |
//! | `private_directory` | files that only their user may read |
//! | `trust` | the commands that make this user's programs trust it |

mod authority;
mod dates;
mod local_error;
mod local_names;
mod own_authority;
mod places;
mod private_directory;
mod trust;

use std::{sync::Arc, time::Duration};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    crypto::ring::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime},
    sign::SigningKey,
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

pub use self::local_error::LocalError;
use self::{authority::Authority, dates::DAY};
pub(super) use self::{local_names::LocalNames, places::Places};
use crate::policy::Time;

/// How long a certificate is valid. Browsers accept up to 397 days.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// A certificate is made again so long before its end.
pub(super) const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate for this machine.
#[derive(Debug)]
pub(super) struct LocalCertificate {
    pub(super) certificate: CertificateDer<'static>,
    /// One for `*.localhost`. It is apart, because some clients refuse a certificate with a wildcard that short altogether.
    pub(super) wildcard: CertificateDer<'static>,
    /// The key of both.
    pub(super) key: Arc<dyn SigningKey>,
    /// What makes this user's programs trust it. `None` if mkcert has done that.
    pub(super) advice: Option<String>,
    /// Why an authority or a name was left out; for the log.
    pub(super) remarks: Vec<String>,
}

impl LocalCertificate {
    /// Makes a certificate for these names, and the authority if there is none.
    pub(super) fn make(places: &Places, names: &LocalNames, now: Time) -> Result<Self, LocalError> {
        let mut remarks = Vec::new();
        let authority = Authority::find(places, names.machine(), now, &mut remarks)?;
        let key = KeyPair::generate().map_err(LocalError::Sign)?;
        let all = signed(&authority, &key, names.all(), now)?;
        let certificate = match verified(&authority, &all, now) {
            Ok(()) => all,
            // The authority may be for fewer names: it was made when the machine had another one.
            Err(error) => {
                let few = signed(&authority, &key, names.always(), now)?;
                verified(&authority, &few, now)?;
                remarks.push(format!(
                    "the certificate for localhost is not for {}: the authority in {} must not sign for that ({error}); \
                     remove its directory to have a new one made",
                    names.others_in_words(),
                    authority.file.display()
                ));
                few
            }
        };
        let wildcard = vec![local_names::wildcard()?];
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Self {
            certificate,
            wildcard: signed(&authority, &key, wildcard, now)?,
            key: any_supported_type(&der).map_err(LocalError::Key)?,
            advice: authority.advice(),
            remarks,
        })
    }
}

fn signed(
    authority: &Authority,
    key: &KeyPair,
    names: Vec<SanType>,
    now: Time,
) -> Result<CertificateDer<'static>, LocalError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(rcgen::DnType::CommonName, local_names::LOCALHOST);
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // Containers and virtual machines may have clocks that are slow.
    let end = now.saturating_add(LIFETIME).min(authority.not_after);
    dates::set_validity(&mut params, now.saturating_sub(DAY), end);
    let certificate = params.signed_by(key, &authority.issuer);
    Ok(certificate.map_err(LocalError::Sign)?.der().clone())
}

/// Checks that a client which trusts the authority accepts the certificate: the authority's key is the one of its
/// certificate, and it may sign for these names (RFC 5280, 4.2.1.10).
fn verified(
    authority: &Authority,
    certificate: &CertificateDer<'_>,
    now: Time,
) -> Result<(), LocalError> {
    let anchor = anchor_from_trusted_cert(&authority.certificate).map_err(LocalError::Verify)?;
    let certificate = EndEntityCert::try_from(certificate).map_err(LocalError::Verify)?;
    let algorithms = default_provider().signature_verification_algorithms.all;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_seconds()));
    let usage = KeyUsage::server_auth();
    certificate
        .verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None)
        .map(drop)
        .map_err(LocalError::Verify)
}
