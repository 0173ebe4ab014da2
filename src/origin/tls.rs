//! TLS towards the origin: trusted certificates, and errors in plain words.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError,
    RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use webpki::{EndEntityCert, KeyUsage};

/// Why the trusted certificates could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file of `--origin-ca` could not be read, or is not PEM.
    #[error("cannot read certificates from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of reading it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate (-----BEGIN CERTIFICATE-----)", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in the file is broken.
    #[error("certificate {position} in {} is invalid: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Its position in the file, counted from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
    /// Neither the system nor the configuration has a trusted certificate.
    #[error("this system has no trusted certificates: name the origin's with --origin-ca FILE")]
    NoRoots,
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] TlsError),
}

/// TLS settings for an https origin. The system's roots and the certificates in `origin_ca` (PEM) are trusted. An origin
/// whose own certificate is in `origin_ca` is accepted too, whoever signed it. Names and dates are always checked.
///
/// # Errors
/// `origin_ca` cannot be read or has no valid certificate, or no certificate is trusted at all.
pub fn tls_config(origin_ca: Option<&Path>) -> Result<Arc<ClientConfig>, CaError> {
    let pinned = origin_ca
        .map(read_certificates)
        .transpose()?
        .unwrap_or_default();
    let mut roots = RootCertStore::empty();
    // Broken certificates among the system's are skipped: the user cannot mend them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(pinned.iter().cloned());
    if roots.is_empty() && pinned.is_empty() {
        return Err(CaError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(CaError::Setup)?;
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OriginVerifier::new(roots, pinned, provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let unreadable = |source| CaError::Read {
        path: path.to_owned(),
        source,
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    if certificates.is_empty() {
        return Err(CaError::Empty {
            path: path.to_owned(),
        });
    }
    for (index, certificate) in certificates.iter().enumerate() {
        EndEntityCert::try_from(certificate).map_err(|source| CaError::Certificate {
            path: path.to_owned(),
            position: index + 1,
            source,
        })?;
    }
    Ok(certificates)
}

/// Accepts certificates that chain to a trusted root, and the pinned certificates themselves.
#[derive(Debug)]
struct OriginVerifier {
    /// `None` if there is no trusted root.
    chains: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl OriginVerifier {
    fn new(
        roots: RootCertStore,
        pinned: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let chains =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .ok();
        Self {
            chains,
            pinned,
            provider,
        }
    }

    fn verify_pinned(
        &self,
        certificate: &CertificateDer<'_>,
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let invalid = |error| TlsError::InvalidCertificate(error);
        let parsed = EndEntityCert::try_from(certificate)
            .map_err(|_| invalid(CertificateError::BadEncoding))?;
        // webpki cannot check the dates alone, but it checks them first. So a verification without roots either fails
        // because of the dates, or for one of the two reasons that do not matter for a pinned certificate: it is a
        // certificate of an authority, or its signer is not known.
        let algorithms = self.provider.signature_verification_algorithms.all;
        match parsed.verify_for_usage(
            algorithms,
            &[],
            &[],
            now,
            KeyUsage::server_auth(),
            None,
            None,
        ) {
            Ok(_) | Err(webpki::Error::UnknownIssuer | webpki::Error::CaUsedAsEndEntity) => {}
            Err(webpki::Error::CertExpired { .. }) => {
                return Err(invalid(CertificateError::Expired));
            }
            Err(webpki::Error::CertNotValidYet { .. }) => {
                return Err(invalid(CertificateError::NotValidYet));
            }
            Err(_) => return Err(invalid(CertificateError::ApplicationVerificationFailure)),
        }
        parsed
            .verify_is_valid_for_subject_name(server_name)
            .map_err(|error| {
                invalid(match error {
                    webpki::Error::CertNotValidForName(names) => {
                        CertificateError::NotValidForNameContext {
                            expected: names.expected,
                            presented: names.presented,
                        }
                    }
                    _ => CertificateError::NotValidForName,
                })
            })?;
        Ok(ServerCertVerified::assertion())
    }
}

impl ServerCertVerifier for OriginVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        if self.pinned.iter().any(|pinned| pinned == end_entity) {
            return self.verify_pinned(end_entity, server_name, now);
        }
        match &self.chains {
            Some(chains) => chains.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            ),
            None => Err(TlsError::InvalidCertificate(
                CertificateError::UnknownIssuer,
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

const UNTRUSTED: &str =
    "its certificate is not signed by a trusted CA (add one with --origin-ca FILE)";

/// True for a certificate of an authority, as most self-signed certificates of development servers are.
fn is_self_signed(error: &rustls::OtherError) -> bool {
    let error = error.0.downcast_ref::<webpki::Error>();
    error == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Why a handshake failed, in words that need no knowledge of TLS.
pub(super) fn plain_reason(error: &io::Error) -> String {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                "it closed the connection during the handshake".to_owned()
            }
            _ => error.to_string(),
        };
    };
    match tls {
        TlsError::InvalidCertificate(certificate) => certificate_fault(certificate).to_owned(),
        TlsError::InvalidMessage(_) => "it does not speak TLS (an http:// origin?)".to_owned(),
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(
            AlertDescription::HandshakeFailure
            | AlertDescription::ProtocolVersion
            | AlertDescription::InsufficientSecurity,
        ) => "it supports no TLS version, cipher or signature algorithm that this proxy supports \
             (TLS 1.2 and 1.3; RSA, ECDSA with P-256 or P-384, Ed25519)"
            .to_owned(),
        other => other.to_string(),
    }
}

/// Why a certificate is not accepted.
fn certificate_fault(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet"
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "its certificate has no subjectAltName, and a host name in its subject does not count"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another host name"
        }
        // BadSignature: the signer has the name of a trusted authority, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => UNTRUSTED,
        CertificateError::Other(other) if is_self_signed(other) => UNTRUSTED,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate has a key or a signature of an algorithm that this proxy does not support \
             (it supports RSA, ECDSA with P-256 or P-384, and Ed25519)"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers"
        }
        _ => "its certificate is invalid",
    }
}

#[cfg(test)]
mod tests {
    use rustls::PeerIncompatible;

    use super::*;

    #[test]
    fn an_algorithm_that_is_not_supported_is_named_as_such() {
        let certificate = CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: Vec::new(),
            supported_algorithms: Vec::new(),
        };
        for (error, words) in [
            (
                TlsError::InvalidCertificate(certificate),
                "an algorithm that this proxy does not support",
            ),
            (
                TlsError::AlertReceived(AlertDescription::HandshakeFailure),
                "no TLS version, cipher or signature algorithm that this proxy supports",
            ),
            (
                TlsError::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon),
                "no TLS version, cipher or signature algorithm that this proxy supports",
            ),
        ] {
            let reason = plain_reason(&io::Error::other(error));
            assert!(reason.contains(words), "{reason}");
        }
    }
}
