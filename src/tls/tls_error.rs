//! Why certificates are refused.

use std::{io, path::PathBuf};

use bytesize::ByteSize;

use super::local::LocalError;

/// The largest file that is read.
pub(super) const MAX_FILE: ByteSize = ByteSize::mib(1);

/// Why certificates are refused. `Display` and its sources form one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The error of reading it.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any certificate.
    #[error("{} is larger than {MAX_FILE}; is it the right file?", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// The file has no certificate.
    #[error("{} has no certificate (-----BEGIN CERTIFICATE-----){hint}", file.display())]
    WithoutCertificate {
        /// The file.
        file: PathBuf,
        /// What it has instead, and what would be right.
        hint: &'static str,
    },
    /// The file has no private key.
    #[error("{} has no private key (-----BEGIN PRIVATE KEY-----){hint}", file.display())]
    WithoutKey {
        /// The file.
        file: PathBuf,
        /// What it has instead, and what would be right.
        hint: &'static str,
    },
    /// The private key is encrypted.
    #[error(
        "the private key in {file} is encrypted; write it without its passphrase, readable by the proxy alone: \
         (umask 077; openssl pkey -in {file} -out {file}.plain)",
        file = file.display()
    )]
    EncryptedKey {
        /// The file.
        file: PathBuf,
    },
    /// The file is not valid PEM.
    #[error("{} is not valid PEM: {problem}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A certificate is malformed, or of a kind that no client accepts.
    #[error("certificate {position} in {} is invalid", file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// Its position in the file, counted from 1.
        position: usize,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
    /// The private key has an algorithm that is not supported, or is malformed.
    #[error(
        "the private key in {} cannot be used; RSA with 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 are supported",
        file.display()
    )]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The key is for another certificate.
    #[error(
        "the private key in {} is not for the certificate in {}: their public keys differ",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The key is for another certificate of the same file.
    #[error(
        "{} begins with another certificate than the server's, which is certificate {position}: put that one first",
        certificate.display()
    )]
    Order {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The position of the certificate that the key is for, counted from 1.
        position: usize,
    },
    /// There is no certificate for this machine.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// No certificate is given.
    #[error("no certificate is given: use --tls-cert FILE and --tls-key FILE")]
    NoCertificate,
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}
