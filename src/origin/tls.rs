//! TLS towards the origin: whom it trusts, and what its failures mean.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use webpki::{EndEntityCert, KeyUsage};

/// Why the certificates to trust could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The file of `--origin-ca` could not be read, or is not PEM.
    #[error("cannot read certificates from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What reading it said.
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
        /// Which one, counted from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
    /// Neither the system nor the configuration names a certificate to trust.
    #[error("this system has no trusted certificates: name the origin's with --origin-ca FILE")]
    NoRoots,
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] TlsError),
}

/// TLS for an https origin: the system's roots and the certificates in `origin_ca` (PEM). An origin that presents
/// exactly one of the latter is accepted too, whoever signed it; names and dates count for all.
///
/// # Errors
/// `origin_ca` cannot be read or holds no valid certificate; or there is nothing to trust at all.
pub fn tls_config(origin_ca: Option<&Path>) -> Result<Arc<ClientConfig>, CaError> {
    let pinned = origin_ca
        .map(read_certificates)
        .transpose()?
        .unwrap_or_default();
    let mut roots = RootCertStore::empty();
    // A broken certificate among the system's is none of the user's business.
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

/// Chains to a trusted root; or is itself one of the pinned certificates.
#[derive(Debug)]
struct OriginVerifier {
    /// None when there is no root to chain to.
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
        // webpki offers no reading of the dates alone. It checks them first of all, so a verification that has no
        // roots to find fails over the dates, or gets as far as one of the two objections that pinning answers:
        // that the certificate names itself an authority, or that nobody known signed it.
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
            .map_err(|_| invalid(CertificateError::NotValidForName))?;
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

/// The certificate of a development server mostly calls itself an authority as well.
fn is_self_signed(error: &rustls::OtherError) -> bool {
    let error = error.0.downcast_ref::<webpki::Error>();
    error == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Why a handshake failed, in words for somebody who does not know TLS.
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
        TlsError::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name".to_owned()
            }
            // The second: whoever signed it goes by the name of somebody trusted.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate is signed by nobody this system trusts (--origin-ca FILE names more)".to_owned()
            }
            CertificateError::Other(other) if is_self_signed(other) => {
                "its certificate is signed by nobody this system trusts (--origin-ca FILE names more)".to_owned()
            }
            _ => "its certificate is invalid".to_owned(),
        },
        TlsError::InvalidMessage(_) => "it does not speak TLS (an http:// origin?)".to_owned(),
        other => other.to_string(),
    }
}
