//! Certificates for names below localhost, made when a client asks for one.
//!
//! `*.localhost` in a certificate would be shorter, but neither browsers nor OpenSSL accept a wildcard for all of a top-level
//! domain.

use std::{collections::HashMap, fmt, sync::Arc};

use arc_swap::ArcSwap;
use rcgen::KeyPair;
use rustls::sign::{CertifiedKey, SigningKey};

use super::{authority::Authority, local_names::dns_name, signing::signed};
use crate::policy::Time;

/// The end of the names.
const BELOW_LOCALHOST: &str = ".localhost";
/// The most names. Each costs a signature and some memory, and any client can ask for one.
const MAX_NAMES: usize = 100;

/// Makes certificates for names below localhost. No handshake waits for another one.
pub(in crate::tls) struct NameSigner {
    authority: Authority,
    key: KeyPair,
    /// The same key, as rustls takes it.
    signing_key: Arc<dyn SigningKey>,
    /// The certificates are made as at this time, so they end with the one for localhost.
    now: Time,
    made: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
}

impl NameSigner {
    pub(super) fn new(
        authority: Authority,
        (key, signing_key): (KeyPair, Arc<dyn SigningKey>),
        now: Time,
    ) -> Self {
        Self {
            authority,
            key,
            signing_key,
            now,
            made: ArcSwap::default(),
        }
    }

    /// The certificate for a name, in lower case. `None` if it is not below localhost, cannot be signed, or if there have been
    /// too many names.
    pub(in crate::tls) fn certificate_for(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let made = self.made.load();
        if let Some(known) = made.get(name) {
            return Some(Arc::clone(known));
        }
        if !name.ends_with(BELOW_LOCALHOST) || made.len() >= MAX_NAMES {
            return None;
        }
        let names = vec![dns_name(name).ok()?];
        let certificate = signed(&self.authority, &self.key, names, self.now).ok()?;
        let key = CertifiedKey::new(vec![certificate], Arc::clone(&self.signing_key));
        let key = Arc::new(key);
        self.made.rcu(|made| {
            let mut made = HashMap::clone(made);
            made.insert(name.to_owned(), Arc::clone(&key));
            made
        });
        Some(key)
    }
}

impl fmt::Debug for NameSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made.load();
        let names: Vec<_> = made.keys().collect();
        formatter.debug_tuple("NameSigner").field(&names).finish()
    }
}
