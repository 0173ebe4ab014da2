//! Signs certificates for this machine, and checks that clients accept them.

use std::time::Duration;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, UnixTime},
};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{
    authority::Authority,
    dates::{DAY, set_validity},
    local_error::LocalError,
    local_names::LOCALHOST,
};
use crate::policy::Time;

/// How long a certificate is valid. Browsers accept up to 397 days.
const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A certificate of a server for these names, made at `now`.
pub(super) fn signed(
    authority: &Authority,
    key: &KeyPair,
    names: Vec<SanType>,
    now: Time,
) -> Result<CertificateDer<'static>, LocalError> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names;
    let mut subject = rcgen::DistinguishedName::new();
    subject.push(rcgen::DnType::CommonName, LOCALHOST);
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    // Containers and virtual machines may have clocks that are slow.
    let end = now.saturating_add(LIFETIME).min(authority.not_after);
    set_validity(&mut params, now.saturating_sub(DAY), end);
    let certificate = params.signed_by(key, &authority.issuer);
    Ok(certificate.map_err(LocalError::Sign)?.der().clone())
}

/// Checks that a client which trusts the authority accepts the certificate: the authority's key is the one of its
/// certificate, and it may sign for these names (RFC 5280, 4.2.1.10).
pub(super) fn verified(
    authority: &Authority,
    certificate: &CertificateDer<'_>,
    now: Time,
) -> Result<(), webpki::Error> {
    let anchor = anchor_from_trusted_cert(&authority.certificate)?;
    let certificate = EndEntityCert::try_from(certificate)?;
    let algorithms = default_provider().signature_verification_algorithms.all;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_seconds()));
    let usage = KeyUsage::server_auth();
    certificate
        .verify_for_usage(algorithms, &[anchor], &[], time, usage, None, None)
        .map(drop)
}
