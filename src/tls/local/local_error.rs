//! Why there is no certificate for this machine.

use std::{io, path::PathBuf};

/// Why there is no certificate for this machine. `Display` and its sources form one sentence.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The environment names no directory for data.
    #[error(
        "--tls makes a certificate authority, and there is no directory for it: set HOME or XDG_DATA_HOME, \
         or use --tls-cert FILE and --tls-key FILE"
    )]
    NoDirectory,
    /// A file or directory cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// Somebody else could read or replace a file.
    #[error("{} is not safe for the key of an authority: {problem}", path.display())]
    Unsafe {
        /// The file or directory.
        path: PathBuf,
        /// Why, and what would be right.
        problem: &'static str,
    },
    /// An authority's file is malformed.
    #[error("{} has no usable authority; remove its directory to have a new one made", file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// An authority has expired, or will within a day.
    #[error("the authority in {} has expired; remove its directory to have a new one made", file.display())]
    Expired {
        /// The file.
        file: PathBuf,
    },
    /// A key or certificate cannot be made.
    #[error("the certificate for localhost cannot be made")]
    Sign(#[source] rcgen::Error),
    /// The key that was made cannot be used.
    #[error("the key of the certificate for localhost cannot be used")]
    Key(#[source] rustls::Error),
    /// Clients would refuse what an authority signs, because its key is another one for instance.
    #[error(
        "clients would refuse a certificate of the authority in {}; remove its directory to have a new one made",
        file.display()
    )]
    Verify {
        /// The file of the authority's certificate.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: webpki::Error,
    },
}
