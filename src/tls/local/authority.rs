//! The authority that signs a certificate for this machine.

use std::{
    io::{Error as IoError, ErrorKind},
    path::{Path, PathBuf},
};

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use webpki::EndEntityCert;

use super::{dates::DAY, local_error::LocalError, own_authority, places::Places, trust};
use crate::{policy::Time, regular_file::read_regular, tls::validity::Validity};

/// The files of mkcert in its directory.
const MKCERT_CERTIFICATE: &str = "rootCA.pem";
const MKCERT_KEY: &str = "rootCA-key.pem";
/// The largest file of an authority, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// An authority with its key.
#[derive(Debug)]
pub(super) struct Authority {
    /// The file of its certificate.
    pub(super) file: PathBuf,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) not_after: Time,
    /// It is mkcert's, which makes browsers trust it.
    is_of_mkcert: bool,
}

impl Authority {
    /// That of mkcert. `None` if mkcert is not installed for this user, or its key is elsewhere.
    pub(super) fn of_mkcert(places: &Places, now: Time) -> Result<Option<Self>, LocalError> {
        let Some(directory) = places.mkcert.as_deref() else {
            return Ok(None);
        };
        let file = directory.join(MKCERT_CERTIFICATE);
        let Some(certificate) = read_if_there(&file)? else {
            return Ok(None);
        };
        let Some(key) = read_if_there(&directory.join(MKCERT_KEY))? else {
            return Ok(None);
        };
        let mut authority = Self::new(file, &certificate, &key, now)?;
        authority.is_of_mkcert = true;
        Ok(Some(authority))
    }

    /// That of our own, which is made if there is none, on a machine of this name.
    pub(super) fn own(places: &Places, machine: &str, now: Time) -> Result<Self, LocalError> {
        let directory = places.own.as_deref().ok_or(LocalError::NoDirectory)?;
        let (certificate, key) = own_authority::read_or_make(directory, machine, now)?;
        let file = directory.join(own_authority::CERTIFICATE);
        Self::new(file, &certificate, &key, now)
    }

    /// An authority of these texts in PEM.
    fn new(file: PathBuf, certificate: &str, key: &str, now: Time) -> Result<Self, LocalError> {
        let malformed = |source| LocalError::Malformed {
            file: file.clone(),
            source,
        };
        let key = KeyPair::from_pem(key).map_err(malformed)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(malformed)?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes());
        let certificate =
            certificate.map_err(|_| malformed(rcgen::Error::CouldNotParseCertificate))?;
        let not_after = end_of(&certificate).map_err(malformed)?;
        match not_after > now.saturating_add(DAY) {
            true => Ok(Self {
                file,
                certificate,
                issuer,
                not_after,
                is_of_mkcert: false,
            }),
            false => Err(LocalError::Expired { file }),
        }
    }

    /// What makes this user's programs trust it. `None` if mkcert has done that.
    pub(super) fn advice(&self) -> Option<String> {
        (!self.is_of_mkcert).then(|| trust::advice(&self.file))
    }
}

/// The last moment at which an authority is valid.
pub(super) fn end_of(certificate: &CertificateDer<'_>) -> Result<Time, rcgen::Error> {
    let parsed = EndEntityCert::try_from(certificate);
    let validity = parsed.and_then(|parsed| Validity::of(&parsed));
    let validity = validity.map_err(|_| rcgen::Error::CouldNotParseCertificate)?;
    Ok(validity.not_after)
}

/// The text of a file. `None` if there is no such file.
fn read_if_there(path: &Path) -> Result<Option<String>, LocalError> {
    let bytes = match read_regular(path, MAX_FILE_BYTES) {
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => {
            Err(IoError::other("it is larger than 64 KiB"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read,
    };
    let text = bytes.and_then(|it| String::from_utf8(it).map_err(IoError::other));
    text.map(Some).map_err(|source| LocalError::Io {
        path: path.to_owned(),
        source,
    })
}
