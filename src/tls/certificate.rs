//! One certificate with its key, from PEM files.

use std::{path::Path, sync::Arc};

use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{Error as PemError, PemObject as _},
    },
    sign::CertifiedKey,
};
use webpki::{EndEntityCert, Error as WebpkiError};

use super::{
    tls_error::{MAX_FILE, TlsError},
    validity::Validity,
};
use crate::{config::CertificateFiles, regular_file::read_regular};

/// The first byte of certificates and keys in DER, and of PKCS#12.
const DER_SEQUENCE: u8 = 0x30;

/// A certificate with its issuers and its key.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// The host names that it is for, in lower case; the first label may be `*`. Addresses are left out: no client sends one as
    /// its server name (RFC 6066, 3).
    pub(super) host_names: Vec<String>,
    pub(super) validity: Validity,
    /// Its file, or who has made it.
    pub(super) source: String,
    /// What messages call it.
    pub(super) title: String,
}

impl Certificate {
    /// The first host name that it is for, or its file.
    pub(super) fn name(&self) -> &str {
        self.host_names.first().unwrap_or(&self.title)
    }

    /// True if both are the same certificate of a server.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key.cert.first() == other.key.cert.first()
    }

    /// Reads a certificate and its key.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        let CertificateFiles { certificate, key } = files;
        let chain = chain(certificate, &read_limited(certificate)?)?;
        let private_key = private_key(key, &read_limited(key)?)?;
        let signing = any_supported_type(&private_key).map_err(|source| TlsError::Key {
            file: key.clone(),
            source,
        })?;
        let is_for = |it: &CertificateDer<'static>| {
            CertifiedKey::new(vec![it.clone()], Arc::clone(&signing))
                .keys_match()
                .is_ok()
        };
        match chain.iter().position(is_for) {
            Some(0) => Self::new(chain, signing, certificate),
            Some(index) => Err(TlsError::Order {
                certificate: certificate.clone(),
                position: index + 1,
            }),
            None => Err(TlsError::Mismatch {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
        }
    }

    /// A certificate of this chain, the server's first, whose key fits. `file` is where it is from.
    pub(super) fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn rustls::sign::SigningKey>,
        file: &Path,
    ) -> Result<Self, TlsError> {
        let Some(first) = chain.first() else {
            return Err(TlsError::NoCertificate);
        };
        let invalid = |source| TlsError::Certificate {
            file: file.to_owned(),
            position: 1,
            source,
        };
        let parsed = EndEntityCert::try_from(first).map_err(invalid)?;
        let validity = Validity::of(&parsed).map_err(invalid)?;
        let host_names = parsed.valid_dns_names();
        let host_names: Vec<String> = host_names.map(str::to_ascii_lowercase).collect();
        let source = file.display().to_string();
        let title = match host_names.first() {
            Some(name) => format!("{name} ({source})"),
            None => source.clone(),
        };
        Ok(Self {
            host_names,
            validity,
            source,
            title,
            key: Arc::new(CertifiedKey::new(chain, key)),
        })
    }
}

/// The bytes of a file of at most [`MAX_FILE`].
fn read_limited(file: &Path) -> Result<Vec<u8>, TlsError> {
    let bytes = read_regular(file, MAX_FILE.0).map_err(|source| TlsError::Read {
        file: file.to_owned(),
        source,
    })?;
    match bytes.len() as u64 > MAX_FILE.0 {
        true => Err(TlsError::TooLarge {
            file: file.to_owned(),
        }),
        false => Ok(bytes),
    }
}

/// The certificates in a file; at least one.
fn chain(file: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let chain = chain.map_err(|error| malformed(file, &error))?;
    if chain.is_empty() {
        let hint = match () {
            () if bytes.is_empty() => ": it is empty",
            () if has(bytes, "-----BEGIN CERTIFICATE REQUEST-----") => {
                ": it has a certificate request, which a CA has to sign first"
            }
            () if has(bytes, "PRIVATE KEY-----") => {
                ": it has a private key, which belongs in --tls-key"
            }
            () if bytes.first() == Some(&DER_SEQUENCE) => {
                ": it seems to be DER or PKCS#12; convert it to PEM with openssl x509 or openssl pkcs12"
            }
            () => "",
        };
        return Err(TlsError::WithoutCertificate {
            file: file.to_owned(),
            hint,
        });
    }
    for (index, certificate) in chain.iter().enumerate() {
        match EndEntityCert::try_from(certificate) {
            // Some old roots are of version 1, and some servers send them.
            Err(WebpkiError::UnsupportedCertVersion) if index > 0 => {}
            Err(source) => {
                return Err(TlsError::Certificate {
                    file: file.to_owned(),
                    position: index + 1,
                    source,
                });
            }
            Ok(_) => {}
        }
    }
    Ok(chain)
}

/// The first private key in a file: PKCS#8, PKCS#1 or SEC1.
fn private_key(file: &Path, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    let is_encrypted =
        has(bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || has(bytes, "Proc-Type: 4,ENCRYPTED");
    match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted => Err(TlsError::EncryptedKey {
            file: file.to_owned(),
        }),
        Err(PemError::NoItemsFound) => Err(TlsError::WithoutKey {
            file: file.to_owned(),
            hint: match () {
                () if bytes.is_empty() => ": it is empty",
                () if has(bytes, "-----BEGIN CERTIFICATE-----") => {
                    ": it has a certificate, which belongs in --tls-cert"
                }
                () if bytes.first() == Some(&DER_SEQUENCE) => {
                    ": it seems to be DER or PKCS#12; convert it to PEM with openssl pkey or openssl pkcs12"
                }
                () => "",
            },
        }),
        Err(error) => Err(malformed(file, &error)),
    }
}

fn malformed(file: &Path, error: &PemError) -> TlsError {
    TlsError::Pem {
        file: file.to_owned(),
        problem: match error {
            PemError::MissingSectionEnd { .. } => {
                "a -----BEGIN line has no -----END line, so the file is not whole"
            }
            PemError::IllegalSectionStart { .. } => "a -----BEGIN line is malformed",
            PemError::Base64Decode(_) => "a section is not base64",
            _ => "it is malformed",
        },
    }
}

fn has(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}
