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
//! | `name_signer` | certificates for names below localhost |
//! | `own_authority` | the authority of our own, made once |
//! | `places` | the directories of authorities |
//! | `private_directory` | files that only their user may read |
//! | `signing` | certificates, signed and checked |
//! | `trust` | the commands that make this user's programs trust it |

mod authority;
mod dates;
mod local_error;
mod local_names;
mod name_signer;
mod own_authority;
mod places;
mod private_directory;
mod signing;
mod trust;

use std::{sync::Arc, time::Duration};

use rcgen::KeyPair;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::SigningKey,
};

pub use self::local_error::LocalError;
use self::{
    authority::Authority,
    signing::{signed, verified},
};
pub(super) use self::{local_names::LocalNames, name_signer::NameSigner, places::Places};
use crate::{error::Chain, policy::Time};

/// A certificate is made again so long before its end.
pub(super) const RENEWAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A certificate for this machine.
#[derive(Debug)]
pub(super) struct LocalCertificate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: Arc<dyn SigningKey>,
    /// Makes certificates for names below localhost, with the same key.
    pub(super) signer: NameSigner,
    /// What makes this user's programs trust it. `None` if mkcert has done that.
    pub(super) advice: Option<String>,
    /// Why an authority or a name was left out; for the log.
    pub(super) remarks: Vec<String>,
}

impl LocalCertificate {
    /// Makes a certificate for these names, by the authority of mkcert if it can be used, else by that of our own, which is
    /// made if there is none.
    pub(super) fn make(places: &Places, names: &LocalNames, now: Time) -> Result<Self, LocalError> {
        let by_mkcert = match Authority::of_mkcert(places, now) {
            Ok(Some(authority)) => Self::by(authority, names, now).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        let remark = match by_mkcert {
            Ok(Some(made)) => return Ok(made),
            Ok(None) => None,
            Err(error) => {
                let why = Chain(&error);
                Some(format!("the authority of mkcert cannot be used: {why}"))
            }
        };
        let authority = Authority::own(places, names.machine(), now)?;
        let mut made = Self::by(authority, names, now)?;
        made.remarks.extend(remark);
        Ok(made)
    }

    /// Makes a certificate that this authority signs.
    fn by(authority: Authority, names: &LocalNames, now: Time) -> Result<Self, LocalError> {
        let mut remarks = Vec::new();
        let key = KeyPair::generate().map_err(LocalError::Sign)?;
        let all = signed(&authority, &key, names.all(), now)?;
        let certificate = match verified(&authority, &all, now) {
            Ok(()) => all,
            // The authority may be for fewer names: it was made when the machine had another one.
            Err(error) => {
                let few = signed(&authority, &key, names.always(), now)?;
                verified(&authority, &few, now).map_err(|source| LocalError::Verify {
                    file: authority.file.clone(),
                    source,
                })?;
                remarks.push(format!(
                    "the certificate for localhost is not for {}: the authority in {} must not sign for that ({error}); \
                     remove its directory to have a new one made",
                    names.others_in_words(),
                    authority.file.display()
                ));
                few
            }
        };
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let signing_key = any_supported_type(&der).map_err(LocalError::Key)?;
        Ok(Self {
            certificate,
            key: Arc::clone(&signing_key),
            advice: authority.advice(),
            signer: NameSigner::new(authority, (key, signing_key), now),
            remarks,
        })
    }
}
