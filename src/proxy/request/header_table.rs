//! What the names of request headers mean under one configuration.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use actix_web::http::header::HeaderName;

use crate::{config::Config, headers, policy};

/// Clients can send any number of names. This many are remembered.
const MAX_NAMES: usize = 256;

/// What each header name means. A name is compared with the configured patterns once.
pub(crate) struct HeaderTable {
    config: Arc<Config>,
    meanings: RefCell<HashMap<HeaderName, HeaderMeaning>>,
}

/// What a request header means by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderMeaning {
    /// It is not forwarded: only infrastructure may set it, or it matches `drop_headers`.
    pub(crate) is_dropped: bool,
    /// It is forwarded as it came, unless Connection names it, and affects neither the key nor whether the cache is used.
    /// Of Cookie this says nothing.
    pub(crate) is_plain: bool,
    /// It is a part of the identity. Of Cookie this is false: the cookies decide.
    pub(crate) is_credential: bool,
}

impl HeaderTable {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            config: Arc::clone(config),
            meanings: RefCell::default(),
        }
    }

    /// What a header name means.
    pub(crate) fn meaning(&self, name: &HeaderName) -> HeaderMeaning {
        let mut meanings = self.meanings.borrow_mut();
        if let Some(meaning) = meanings.get(name) {
            return *meaning;
        }
        let is_dropped =
            headers::is_unkeyed(name) || self.config.drop_headers.matches(name.as_str());
        // Rules have the identity headers of the whole configuration.
        let is_credential = policy::is_credential(&self.config.policy, name);
        let meaning = HeaderMeaning {
            is_dropped,
            is_plain: headers::is_forwarded(name)
                && !is_dropped
                && !is_credential
                && !policy::is_method_override(name),
            is_credential,
        };
        if meanings.len() < MAX_NAMES {
            meanings.insert(name.clone(), meaning);
        }
        meaning
    }

    /// Whether headers with this name are not forwarded.
    pub(crate) fn is_dropped(&self, name: &HeaderName) -> bool {
        self.meaning(name).is_dropped
    }

    /// Whether headers with this name are a part of the identity.
    pub(crate) fn is_credential(&self, name: &HeaderName) -> bool {
        self.meaning(name).is_credential
    }
}
