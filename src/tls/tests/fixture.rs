//! Certificates in files, and handshakes in memory.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, ProtocolVersion,
    ServerConfig, ServerConnection, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use crate::{
    config::{BindAddress, CertificateFiles, TlsSettings},
    policy::Time,
    tls::ServerTls,
};

/// A day on which the certificates of [`params`] are valid.
pub(super) const NOW: Time = Time::from_unix_millis(1_796_000_000_000);

/// A directory with certificates.
pub(super) struct Files(tempfile::TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a self-signed certificate for these names to `name.pem` and `name.key`.
    pub(super) fn certificate(&self, name: &str, host_names: &[&str]) -> CertificateFiles {
        self.write_self_signed(name, params(host_names))
    }

    /// Writes a self-signed certificate to `name.pem` and its key to `name.key`.
    pub(super) fn write_self_signed(
        &self,
        name: &str,
        params: CertificateParams,
    ) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        self.write(&format!("{name}.pem"), certificate.pem());
        self.write(&format!("{name}.key"), key.serialize_pem());
        self.files(name)
    }

    pub(super) fn files(&self, name: &str) -> CertificateFiles {
        CertificateFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
        }
    }
}

/// Valid in 2026, on [`NOW`].
pub(super) fn params(host_names: &[&str]) -> CertificateParams {
    let names: Vec<String> = host_names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    params
}

pub(super) fn settings(listed: Vec<CertificateFiles>) -> TlsSettings {
    TlsSettings {
        given: None,
        listed,
        bind: BindAddress::default(),
        port: None,
        redirect_http: false,
    }
}

pub(super) fn load(listed: Vec<CertificateFiles>) -> ServerTls {
    ServerTls::load(&settings(listed), NOW).unwrap()
}

/// The first certificate in a file.
pub(super) fn first_in(file: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file).unwrap()
}

/// A client that trusts any certificate, and remembers sessions.
pub(super) fn client(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_of(rustls::crypto::ring::default_provider(), versions)
}

/// The same, with other algorithms.
pub(super) fn client_of(
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(provider);
    let verifier = Arc::new(TrustAny(Arc::clone(&provider)));
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth()
}

/// Trusts any certificate whose key signs the handshake.
#[derive(Debug)]
struct TrustAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.0.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What a client has after a handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) version: ProtocolVersion,
    pub(super) kind: HandshakeKind,
    pub(super) protocol: Option<Vec<u8>>,
}

/// A handshake of `client`, which asks for `server_name`, an address if it names none.
pub(super) fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    server_name: &str,
) -> Result<Handshake, rustls::Error> {
    let name = ServerName::try_from(server_name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    converse(&mut client, &mut server)?;
    Ok(Handshake {
        certificate: client.peer_certificates().unwrap()[0].clone().into_owned(),
        version: client.protocol_version().unwrap(),
        kind: client.handshake_kind().unwrap(),
        protocol: client.alpn_protocol().map(<[u8]>::to_vec),
    })
}

/// Carries bytes between the two until neither has any.
pub(super) fn converse(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> Result<(), rustls::Error> {
    while client.wants_write() || server.wants_write() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}
